// Text files that people write and the server writes anew: the configuration, the users.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gyre {

// Written beside, forced to the disk, and renamed over it: a crash leaves the old file or the new
// one. The mode stays; a new file is its owner's only. Errors: io.
Result<void> replace_file(const std::string& path, std::string_view text);

}  // namespace gyre
