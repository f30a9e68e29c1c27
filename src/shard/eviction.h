// Eviction: which key goes when memory is full.
//
// A few keys are drawn at random (maxmemory-samples) and join the best sixteen drawn before; the
// one that would be missed least goes, if that is still so when its turn comes. So neither lists
// nor heaps of keys are kept, and the choice comes near to the true one (the idea is that of
// Redis).
//
//   keys of all    drawn from a random slot of the shard
//   volatile       drawn from the queue of expiries
//
// Where few of the keys may go (a node acts for some of its slots only, most of the others are
// tombstones), a step of a walk over the slots finds one.
// Bounds: draws and steps of one call; `none` may therefore be wrong for keys that are rare, and is
// asked again.
// Threading: its shard's thread alone.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "shard/keyspace.h"

namespace gyre {

struct EvictionPolicy {
  enum class By : std::uint8_t { none, access, random, ttl };
  By by = By::none;
  bool volatile_only = false;
  std::size_t samples = 5;
};

struct Victim {
  Slot slot{};
  DbIndex db{};
  std::uint64_t hash = 0;
  std::string key;
};

class Evictor {
 public:
  // Whose keys may go; empty: of every slot.
  using May = std::function<bool(Slot)>;

  Evictor(KeySpace& space, Random& random) : space_(space), random_(random) {}

  std::optional<Victim> next(const EvictionPolicy& policy, UnixMs now, const May& may);
  // The one among a few keys of a slot.
  std::optional<Victim> next_in(Slot slot, const EvictionPolicy& policy, UnixMs now);

 private:
  static constexpr std::size_t pool_max = 16;
  static constexpr std::size_t walk_slots = 512;
  struct Candidate {
    std::uint64_t score = 0;  // the higher, the sooner it goes
    Victim of;
  };

  std::uint64_t score_of(const Node& n, const EvictionPolicy& policy) const;
  bool suits(const Node* n, const EvictionPolicy& policy, UnixMs now) const;
  void draw(const EvictionPolicy& policy, UnixMs now, const May& may);
  void join(std::uint64_t score, const KeySpace::Place& place);
  std::optional<Victim> walk(const EvictionPolicy& policy, UnixMs now, const May& may);

  KeySpace& space_;
  Random& random_;
  EvictionPolicy of_;            // that the pool was filled for
  std::vector<Candidate> pool_;  // the best last
  std::size_t walk_at_ = 0;
};

}  // namespace gyre
