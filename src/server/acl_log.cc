#include "server/acl_log.h"

#include <algorithm>
#include <cstdlib>

namespace gyre {
namespace {

constexpr UnixMs same_within_ms = 60'000;
constexpr std::ptrdiff_t looked_at = 10;  // as Redis: a like one further back is not found

bool alike(const AclEntry& a, const AclEntry& b) {
  return a.reason == b.reason && a.context == b.context && a.object == b.object &&
         a.user == b.user && std::abs(a.at_ms - b.at_ms) <= same_within_ms;
}

}  // namespace

void AclLog::note(AclEntry entry, std::size_t max) {
  const std::lock_guard lock(mutex_);
  const auto end =
      entries_.begin() + std::min(looked_at, static_cast<std::ptrdiff_t>(entries_.size()));
  const auto like = std::find_if(entries_.begin(), end,
                                 [&](const AclEntry& other) { return alike(other, entry); });
  if (like != end) {
    entry.count = like->count + 1;
    entries_.erase(like);
  }
  entries_.push_front(std::move(entry));
  if (entries_.size() > max) entries_.resize(max);
}

std::vector<AclEntry> AclLog::newest(std::size_t count) const {
  const std::lock_guard lock(mutex_);
  const std::size_t n = std::min(count, entries_.size());
  return {entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(n)};
}

void AclLog::clear() {
  const std::lock_guard lock(mutex_);
  entries_.clear();
}

}  // namespace gyre
