// Restamp: new versions in place of those above a limit, in the same order.
//
// For what a node stamped so far ahead that all others refused it (design, section 4). Whoever has
// such state collects its versions, draws a new one for each, and rewrites:
//
//     Restamp again(limit, index);
//     again.collect(effect);          // every record, as an effect
//     again.draw(clock, time);
//     again.rewrite(effect);
//
// The order of any two versions stays, so floors, openings of sums and tombstones go on covering
// what they covered. Ids of list elements keep the version they were pushed with: it only tells
// them apart. Pure. Threading: none of its own.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "record/effect.h"
#include "record/version.h"

namespace gyre {

class Restamp {
 public:
  // `index`: of the node in the ring, whose stamps they are.
  Restamp(Version limit, std::uint16_t index) : limit_(limit), index_(index) {}

  void collect(const Effect& effect);
  void collect(Version v);
  // The highest version met that stays as it is.
  Version highest_kept() const { return highest_kept_; }

  // When it was: what the old ones say less `ahead_ms`, and never later than now. After the clock
  // was set right the stamps went on from where they were, so above that mark it is now.
  struct Time {
    UnixMs wall = 0;
    std::int64_t ahead_ms = 0;
    Version set_back_at{};
  };
  // Once, after all was collected.
  void draw(HybridClock& clock, const Time& time);
  // The lowest of the new ones; something was collected.
  Version lowest() const { return versions_.front().second; }

  // A version that was not collected (other replicas' states may hold it) goes just below the next
  // that was, if it is of the same node.
  Version operator()(Version v) const;
  void rewrite(Effect& effect) const;

 private:
  Version limit_;
  std::uint16_t index_;
  Version highest_kept_{};
  Time time_;
  std::vector<std::pair<Version, Version>> versions_;  // old and new, ascending
};

}  // namespace gyre
