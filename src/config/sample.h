// The commented sample file, conf/gyre.conf, from the table of options.
#pragma once

#include <string>

namespace gyre {

// The whole text. Every option stands commented out with its default.
std::string sample_config();

}  // namespace gyre
