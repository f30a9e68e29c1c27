// AclLog: what was denied lately, newest first (ACL LOG).
//
// The same denial of the same user within a minute is one entry with a count. One log per node; its
// lock is taken for denials and readers only.
//
// Bounds: acllog-max-len entries. Threading: any.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace gyre {

struct AclEntry {
  std::string_view reason{};   // "command", "key", "channel", "auth"
  std::string_view context{};  // "toplevel", "multi", "lua"
  std::string object{}, user{};
  std::string client{};  // its line of CLIENT LIST; the last one's
  UnixMs at_ms = 0;
  std::uint64_t count = 1;
};

class AclLog {
 public:
  void note(AclEntry entry, std::size_t max);
  // The newest entries, at most `count`.
  std::vector<AclEntry> newest(std::size_t count) const;
  void clear();

 private:
  mutable std::mutex mutex_;
  std::deque<AclEntry> entries_;
};

}  // namespace gyre
