#include "membership/wall_guard.h"

#include <algorithm>
#include <cstdlib>

#include "base/log.h"

namespace gyre {

void WallGuard::start(UnixMs wall, SteadyMs steady) {
  base_ = wall - steady;
  started_ = steady;
}

void WallGuard::tick(UnixMs wall, SteadyMs steady, std::span<const PeerClock> peers) {
  follow(wall - steady, peers);
  if (!compared_) {
    compared_ =
        peers.size() + 1 >= options_.nodes / 2 + 1 || steady - started_ > options_.start_wait_ms;
  }
  judge(steady, peers);
}

void WallGuard::follow(std::int64_t machine_base, std::span<const PeerClock> peers) {
  const std::int64_t jump = machine_base - base_;
  const bool far = std::abs(jump) > options_.bound_ms;
  if (far && !jumped_) {
    ++jumps_;
    LOG_WARNING(
        "the wall clock jumped by %lld ms; this node goes on by the monotonic one until "
        "its peers show the new time",
        static_cast<long long>(jump));
  }
  bool confirmed = false;
  if (far && !peers.empty()) {
    const auto agree =
        static_cast<std::size_t>(std::count_if(peers.begin(), peers.end(), [&](const PeerClock& p) {
          return std::abs(p.machine_base_ms - machine_base) <= options_.bound_ms / 2;
        }));
    confirmed = agree * 2 > peers.size();
    if (confirmed) LOG_WARNING("the peers show the new time too; this node goes by it");
  }
  jumped_ = far && !confirmed;
  if (!jumped_) base_ = machine_base;
  jump_ = jumped_ ? jump : 0;
}

void WallGuard::judge(SteadyMs now, std::span<const PeerClock> peers) {
  sorted_.assign(1, base_);
  for (const PeerClock& p : peers) sorted_.push_back(p.base_ms);
  std::sort(sorted_.begin(), sorted_.end());
  const std::int64_t off = base_ - lower_median(sorted_);
  off_ = off;
  if (std::abs(off) > options_.bound_ms / 4) {
    within_since_ = 0;
    if (!fit_) return;
    fit_ = false;
    ++fenced_;
    LOG_WARNING(
        "this node's clock is %lld ms %s the median of %zu clocks: it does not act as a "
        "primary until it is right",
        static_cast<long long>(std::abs(off)), off > 0 ? "ahead of" : "behind", sorted_.size());
    return;
  }
  if (fit_) return;
  if (within_since_ == 0) within_since_ = now;
  if (now - within_since_ < options_.fit_after_ms) return;
  fit_ = true;
  LOG_NOTICE("this node's clock is right again: it may act");
}

}  // namespace gyre
