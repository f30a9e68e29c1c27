// Small files that say who we are: identity, ring, clock bound.
//
// A write goes beside (path.new), is synced, takes the name by rename, and the folder is synced;
// the previous content stays as path.old. So there is a whole file at every moment, and one more
// when the disk damages the newest.
//
//   0          8         12        20        28
//   +----------+---------+---------+---------+-----------+
//   | kind     | format  | length  | hash64  | content   |   big-endian; hash of kind, format,
//   +----------+---------+---------+---------+-----------+   length and content
//
// Threading: none of its own; one writer of a path at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gyre {

struct SmallFile {
  std::string content;
  std::uint32_t format = 0;
  bool previous =
      false;  // the newest was damaged or gone: this is path.old; the caller should say so
};

// kind: 1 .. 8 characters, names what is in the file ("identity"). Errors: io; the old content
// stands.
Result<void> write_small_file(const std::string& path, std::string_view kind, std::uint32_t format,
                              std::string_view content);

// Nothing when neither the file nor a previous one exists. Errors: corrupt (damaged, and no whole
// previous one; or another kind of file), config (written in a format above max_format), io.
Result<std::optional<SmallFile>> read_small_file(const std::string& path, std::string_view kind,
                                                 std::uint32_t max_format);

}  // namespace gyre
