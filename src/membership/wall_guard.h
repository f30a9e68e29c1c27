// WallGuard: which time a node goes by, and whether its clock is right enough to act.
//
// Every clock is told as its *base*: what it shows less this node's monotonic clock at the same
// moment. A base stands still while nobody sets the clock, so bases that were read at different
// moments compare.
//
//     following --(the wall clock jumps beyond the bound)--> on the monotonic clock alone
//               <--(it is back, or more than half of the peers heard show the new time too)--
//
// The bound is max-clock-skew. Beside the time that a node goes by, peers tell what their machine's
// clock shows: after a jump of the whole ring's clocks nobody goes by the new time yet, but all see
// it.
//
// Self-fencing: a node whose time is further than a quarter of the bound from the median of the
// clocks known, its own among them, is not fit to act. Of an even number the lower of the middle
// two is the median: so of two clocks the one ahead is off. It is fit again after a second within
// the limit. Alone it is always fit.
//
// A host calls start() when its process starts, tick() every few ms with what it has heard (the
// detector's clocks), and reads wall_ms() through GuardedClock wherever a time is needed. Pure.
// Threading: one thread, but for wall_ms() and what is atomic.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"

namespace gyre {

class WallGuard {
 public:
  struct Options {
    std::int64_t bound_ms = 500;
    std::size_t nodes = 1;              // of the ring
    std::int64_t start_wait_ms = 5000;  // for a majority's clocks
    std::int64_t fit_after_ms = 1000;   // within the limit
  };
  // A peer's clock, read lately.
  struct PeerClock {
    std::int64_t base_ms = 0;          // of the time it goes by
    std::int64_t machine_base_ms = 0;  // of its machine's clock
  };

  explicit WallGuard(const Options& options) : options_(options) {}

  void set_bound(std::int64_t ms) { options_.bound_ms = ms; }
  void start(UnixMs wall, SteadyMs steady);
  void tick(UnixMs wall, SteadyMs steady, std::span<const PeerClock> peers);

  // The time to go by. Any thread.
  UnixMs wall_ms(SteadyMs steady) const { return steady + base_.load(std::memory_order_relaxed); }
  std::int64_t base_ms() const { return base_.load(std::memory_order_relaxed); }
  // The machine's clock less the time it goes by: 0 unless it jumped. Any thread.
  std::int64_t jump_ms() const { return jump_.load(std::memory_order_relaxed); }
  // From the median; 0 when there is nobody to compare with. Any thread.
  std::int64_t off_ms() const { return off_.load(std::memory_order_relaxed); }
  // Its clock allows it to act. Any thread.
  bool fit() const { return fit_.load(std::memory_order_relaxed); }

  // It may stamp: clocks were compared with a majority of the ring, or the wait is over. Once true
  // it stays so.
  bool compared() const { return compared_; }
  std::uint64_t jumps() const { return jumps_; }
  std::uint64_t fenced() const { return fenced_; }  // how often it became unfit
  // Of a sorted list that is not empty.
  static std::int64_t lower_median(std::span<const std::int64_t> sorted) {
    return sorted[(sorted.size() - 1) / 2];
  }

 private:
  void follow(std::int64_t machine_base, std::span<const PeerClock> peers);
  void judge(SteadyMs now, std::span<const PeerClock> peers);

  Options options_;
  std::atomic<std::int64_t> base_{0}, jump_{0}, off_{0};
  std::atomic<bool> fit_{true};
  bool compared_ = false, jumped_ = false;
  SteadyMs started_ = 0;
  SteadyMs within_since_ = 0;  // 0: not within
  std::uint64_t jumps_ = 0, fenced_ = 0;
  std::vector<std::int64_t> sorted_;
};

// The clock of a node on a ring: monotonic time as it comes, wall time by the guard.
class GuardedClock final : public Clock {
 public:
  GuardedClock(const Clock& machine, const WallGuard& guard) : machine_(machine), guard_(guard) {}
  UnixMs wall_ms() const override { return guard_.wall_ms(machine_.steady_ms()); }
  SteadyMs steady_ms() const override { return machine_.steady_ms(); }
  std::int64_t steady_us() const override { return machine_.steady_us(); }

 private:
  const Clock& machine_;
  const WallGuard& guard_;
};

}  // namespace gyre
