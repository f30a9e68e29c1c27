// Defrag: gives back memory that lies scattered between live blocks, as `activedefrag` asks for.
//
// Where the slabs hold enough that is of no use to anybody, those with the fewest blocks are chosen
// to drain (base/slabs.h), as many as the others have room for. Then a walk over all records moves
// those that lie in one, the tables of the keys, and what collections hold
// (Collection::move_blocks; streams stay where they are). A walk that gave little back makes the
// next one wait longer.
//
// Threading: the shard's. tick() is called between commands: who keeps a Node* across one must not.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "shard/keyspace.h"

namespace gyre {

struct DefragOptions {
  bool on = true;
  std::uint64_t ignore_bytes = 1 << 20;  // less than that is not worth it
  // Where so much more is reserved than is in use, in %, it begins with the least effort, in % of a
  // core, about; from the upper threshold on it is the most.
  std::uint64_t threshold_lower = 2, threshold_upper = 100;
  std::uint64_t cycle_min = 1, cycle_max = 25;
};

class Defrag {
 public:
  explicit Defrag(KeySpace& space) : space_(space) {}

  // Some steps of it, according to the time that has passed since the last call.
  void tick(const DefragOptions& options, SteadyMs now);
  bool running() const { return state_ != State::rests; }
  std::uint64_t moved() const { return moved_; }  // blocks and tables so far
  std::uint64_t left() const { return left_; }    // blocks that stayed where they were

 private:
  enum class State : std::uint8_t { rests, chooses, walks };
  // % of waste, or 0 where there is too little of it.
  std::uint64_t waste(const DefragOptions& options) const;
  void choose();
  void rest(SteadyMs now);

  KeySpace& space_;
  State state_ = State::rests;
  std::size_t next_class_ = 0;
  std::size_t chosen_ = 0;
  MovePlace place_{};
  SteadyMs ticked_ = 0, wakes_ = 0;
  std::int64_t rest_ms_ = rest_min_ms;
  std::uint64_t moved_ = 0, left_ = 0;

  static constexpr std::int64_t rest_min_ms = 5000, rest_max_ms = 600'000;
};

}  // namespace gyre
