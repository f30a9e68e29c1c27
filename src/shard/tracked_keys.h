// TrackedKeys: which clients may hold what they read of this shard in a cache of their own (CLIENT
// TRACKING), and whom to tell of a key that has changed.
//
// A client that reads a key is remembered with it (remember) until the key changes, once; one that
// tracks in broadcasting mode is told of every change below its prefixes. KeySpace notes each
// change of a record; while nobody tracks that is one comparison. take() hands out who is to be
// told what: the worker does that behind each command, and carries it to the clients' threads
// (server/tracking.cc). As in Redis databases are not told apart: a key is its name.
//
// A client that has gone, or tracks no more, stays until its keys change: whoever tells it finds
// out.
//
// On a ring the thread of a key's slot at the client's node remembers, and notes the changes that
// reach the replica there. Where there is none, the node that acts remembers the client's node as a
// reader (of_peer), and tells it once; the prefixes of such a node's clients it has as well.
//
// Bounds: tracking-table-max-keys, divided among the shards (Worker::bound_tracking); beyond it
// some key's clients are told as if it had changed. Threading: as KeySpace.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/hash.h"

namespace gyre {

// A client that tracks.
struct TrackingClient {
  std::uint64_t client = 0;  // 0: none
  std::uint16_t thread = 0;
  bool noloop = false;  // is not told of what it changed itself

  // Another node, some client of which has read.
  static TrackingClient of_peer(std::uint16_t node) { return {.client = peer_bit | node}; }
  bool is_peer() const { return (client & peer_bit) != 0; }
  std::uint16_t peer() const { return static_cast<std::uint16_t>(client); }
  static constexpr std::uint64_t peer_bit = std::uint64_t{1} << 63;
};

class TrackedKeys {
 public:
  struct Told {
    TrackingClient reader;
    bool all = false;        // every key of the shard
    bool broadcast = false;  // for its prefixes, not for what it has read
    bool own = false;        // by its own command
    std::vector<std::string> keys{};
  };

  // expired: the key's time was over when it was read, which those who read it before hear now.
  void remember(std::string_view key, const TrackingClient& reader, bool expired);
  void add_prefix(std::string_view prefix, const TrackingClient& reader);
  void remove_prefixes(std::uint64_t client);
  // Whose command runs from now on; 0: of nobody who tracks.
  void set_acting(std::uint64_t client) { acting_ = client; }
  // What is above it goes. The newest key is remembered for a while even with a limit of 0.
  static constexpr std::size_t unbounded = std::numeric_limits<std::size_t>::max();
  void set_limit(std::size_t keys);

  void changed(std::string_view key) {
    if (any_) [[unlikely]]
      note(key);
  }
  // It goes because its time is over.
  void expired(std::string_view key) {
    if (any_) [[unlikely]]
      note_expiry(key);
  }
  void all_changed();
  // All may have, at other nodes: of what these were told nothing is lost.
  void lost_sight();

  bool ready() const { return ready_; }
  std::vector<Told> take();

  bool any() const { return any_; }
  std::size_t keys() const { return readers_.size(); }
  std::size_t items() const { return items_; }  // keys by clients
  std::size_t prefixes() const { return prefixes_.size(); }

 private:
  struct KeyHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view key) const { return key_hash(key); }
  };
  struct Reading {
    TrackingClient client{};
    bool expired = false;  // it saw that the key's time was over
  };
  using ByKey = std::unordered_map<std::string, std::vector<Reading>, KeyHash, std::equal_to<>>;
  struct Below {
    std::string key;
    std::uint64_t by = 0;
  };

  void note(std::string_view key);
  void note_prefixes(std::string_view key);
  void note_expiry(std::string_view key);
  void tell_of_expiry(ByKey::iterator at);
  void tell(const std::string& key, const TrackingClient& client);
  void forget(ByKey::iterator at);
  void tell_of_all(const TrackingClient& reader);
  void look_again() { any_ = !readers_.empty() || !prefixes_.empty(); }

  ByKey readers_;
  std::size_t items_ = 0, limit_ = 1'000'000;
  std::map<std::string, std::vector<TrackingClient>, std::less<>> prefixes_;
  std::map<std::string, std::vector<Below>> below_;  // changed, by prefix
  std::vector<Told> told_;
  std::uint64_t acting_ = 0;
  bool any_ = false, ready_ = false;
};

}  // namespace gyre
