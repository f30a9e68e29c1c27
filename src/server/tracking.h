// ClientTracking: how one client asked to be told of changes to what it may have cached (CLIENT
// TRACKING). What it has read is with the shards (shard/tracked_keys.h); the way of an invalidation
// from there to the client is server/worker_tracking.cc.
//
// Threading: its client's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "shard/tracked_keys.h"

namespace gyre {

struct ClientTracking {
  enum class Caching : std::uint8_t { unsaid, yes, no };

  bool bcast = false, optin = false, optout = false, noloop = false;
  Caching caching = Caching::unsaid;  // of the next command, or transaction
  // To whom invalidations go instead, and on which thread that client is; 0: to itself.
  std::uint64_t redirect = 0;
  std::uint16_t redirect_thread = 0;
  bool broken = false;  // that client has gone
  std::set<std::string, std::less<>> prefixes;
  // What its blocking command has changed: told behind the reply, which is not there yet.
  std::vector<TrackedKeys::Told> behind_reply;

  // Whether what the next command reads is remembered.
  bool remembers() const {
    if (bcast) return false;
    return optin ? caching == Caching::yes : !(optout && caching == Caching::no);
  }
};

// What all clients of this node track by prefix, for the nodes that have replicas which it has not:
// they tell it of changes there (SettingKind::prefixes). Threading: any.
class TrackedPrefixes {
 public:
  using Prefixes = std::set<std::string, std::less<>>;
  // changed() gets all of them, one behind the other as put_bytes() writes; nothing: there are
  // none. Until it is set nothing is counted.
  void on_change(std::function<void(std::optional<std::string>)> changed) {
    changed_ = std::move(changed);
  }
  void add(const Prefixes& prefixes);
  void remove(const Prefixes& prefixes);
  void say_again();

 private:
  void say() const;

  std::mutex mutex_;
  std::map<std::string, std::size_t> clients_;  // by prefix
  std::function<void(std::optional<std::string>)> changed_;
};

}  // namespace gyre
