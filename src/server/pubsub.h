// Pub/sub on one node: who of its clients listens to what.
//
//   ChannelDirectory  one per node: of each channel and pattern, how many clients listen, and on
//                     which threads
//   Subscribers       one per thread: of each channel and pattern, its clients, longest first
//   Subscriptions     one per client that has ever subscribed: its names
//
// A message is published on any thread: the directory tells how many it is for and on which
// threads they are; this thread's get it at once, the others' by one piece of mail for each
// thread. So the count is known without asking anybody, inside EXEC too, and what one client
// publishes reaches each subscriber in order (server/worker_pubsub.cc).
//
// Bounds: names per client: subscriptions-max; bytes that a subscriber does not read:
//         client-output-buffer-limit pubsub.
// Threading: the directory any; its locks (one per part of the channels, one for all patterns) are
//            taken by who subscribes and publishes, never by a command on keys, and not at all
//            while nobody listens. The others: their worker's thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/glob.h"
#include "base/ids.h"
#include "shard/publisher.h"

namespace gyre {

class Connection;

enum class Listening : std::uint8_t { channel, pattern, shard };
inline constexpr std::size_t listening_kinds = 3;

struct NameHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view name) const;
};
template <class T>
using ByName = std::unordered_map<std::string, T, NameHash, std::equal_to<>>;

class ChannelDirectory {
 public:
  struct Reach {
    std::uint64_t clients = 0;
    std::uint64_t threads = 0;  // a bit for each
  };

  // One client more, or less, of this thread. alone: it is the thread's only one.
  void add(Listening what, std::string_view name, ShardIndex thread, bool alone);
  void remove(Listening what, std::string_view name, ShardIndex thread, bool alone);

  // Whom a message is for.
  Reach reach(ChannelKind kind, std::string_view channel) const;
  // Clients that listen to exactly this channel, shard channel or pattern.
  std::uint64_t clients(Listening what, std::string_view name) const;
  std::size_t count(Listening what) const {
    return counts_[static_cast<std::size_t>(what)].load(std::memory_order_relaxed);
  }
  // The channels, or patterns, that match; all when the pattern is "*".
  std::vector<std::string> names(Listening what, std::string_view pattern) const;

 private:
  static constexpr std::size_t parts = 64;
  struct Part {
    mutable std::mutex mutex;
    ByName<Reach> channels, shards;
    ByName<Reach>& of(Listening what) { return what == Listening::shard ? shards : channels; }
  };
  const Part& part(std::string_view name) const { return parts_[NameHash{}(name) % parts]; }
  Part& part(std::string_view name) { return parts_[NameHash{}(name) % parts]; }
  void change(ByName<Reach>& map, Listening what, std::string_view name, ShardIndex thread,
              bool more, bool alone);

  std::array<Part, parts> parts_;
  mutable std::shared_mutex patterns_mutex_;
  ByName<Reach> patterns_;
  std::array<std::atomic<std::size_t>, listening_kinds> counts_{};
};

struct Subscriptions {
  explicit Subscriptions(Connection* of) : connection(of) {}
  Connection* connection;
  std::array<std::set<std::string, std::less<>>, listening_kinds> names;

  const std::set<std::string, std::less<>>& of(Listening what) const {
    return names[static_cast<std::size_t>(what)];
  }
  std::size_t count(Listening what) const { return of(what).size(); }
  std::size_t total() const { return names[0].size() + names[1].size() + names[2].size(); }
  // What SUBSCRIBE and its kin answer: channels and patterns together, shard channels apart.
  std::size_t told(Listening what) const {
    return what == Listening::shard ? names[2].size() : names[0].size() + names[1].size();
  }
};

class Subscribers {
 public:
  Subscribers(ChannelDirectory& directory, ShardIndex thread)
      : directory_(directory), thread_(thread) {}

  // False: it listened already, or did not.
  bool add(Subscriptions& s, Listening what, std::string_view name);
  bool remove(Subscriptions& s, Listening what, std::string_view name);
  void remove_all(Subscriptions& s);

  // f(Subscriptions&, pattern): whom a message is for; no pattern: by the channel itself.
  // First those of the channel, then pattern by pattern. f must not change who listens.
  template <class F>
  void for_each(ChannelKind kind, std::string_view channel, F&& f) const {
    const auto& exact = of(kind == ChannelKind::shard ? Listening::shard : Listening::channel);
    if (const auto at = exact.find(channel); at != exact.end()) {
      for (Subscriptions* s : at->second) f(*s, std::optional<std::string_view>());
    }
    if (kind == ChannelKind::shard) return;
    for (const auto& [pattern, clients] : of(Listening::pattern)) {
      if (!glob_match(pattern, channel)) continue;
      for (Subscriptions* s : clients) f(*s, std::optional<std::string_view>(pattern));
    }
  }

 private:
  using Lists = ByName<std::vector<Subscriptions*>>;
  const Lists& of(Listening what) const { return lists_[static_cast<std::size_t>(what)]; }
  void leave(Subscriptions& s, Listening what, std::string_view name);

  ChannelDirectory& directory_;
  const ShardIndex thread_;
  std::array<Lists, listening_kinds> lists_;
};

}  // namespace gyre
