#include "shard/defrag.h"

#include <algorithm>

namespace gyre {
namespace {

// What one percent of a core does in a millisecond, and the most that a call does: a quarter of a
// millisecond or so.
constexpr std::uint64_t steps_per_ms = 100, steps_max = 5000;
constexpr std::size_t slabs_at_once = 2000;
constexpr std::int64_t most_between_ticks = 100;

}  // namespace

std::uint64_t Defrag::waste(const DefragOptions& options) const {
  const Slabs& slabs = space_.slabs();
  const std::uint64_t bytes = slabs.waste(), of = std::max<std::size_t>(slabs.used(), 1);
  const std::uint64_t percent = bytes * 100 / of;
  return bytes < options.ignore_bytes || percent < options.threshold_lower
             ? 0
             : std::max<std::uint64_t>(percent, 1);
}

void Defrag::tick(const DefragOptions& options, SteadyMs now) {
  const std::int64_t passed = std::clamp<std::int64_t>(now - ticked_, 0, most_between_ticks);
  ticked_ = now;
  if (state_ == State::rests) {
    if (now < wakes_ || !options.on) return;
    wakes_ = now + rest_min_ms;
    if (waste(options) == 0) return;
    state_ = State::chooses;
    next_class_ = 0;
  }
  if (!options.on) return rest(now);
  if (state_ == State::chooses) return choose();
  // Between the two thresholds the effort grows from the one to the other.
  const std::uint64_t low = options.threshold_lower,
                      high = std::max(options.threshold_upper, low + 1),
                      at = std::clamp(waste(options), low, high),
                      most = std::max(options.cycle_max, options.cycle_min),
                      percent = options.cycle_min +
                                (most - options.cycle_min) * (at - low) / (high - low);
  const std::uint64_t steps =
      std::min(static_cast<std::uint64_t>(passed) * percent * steps_per_ms, steps_max);
  const KeySpace::Moves moves = space_.move_records(place_, steps);
  moved_ += moves.moved;
  left_ += moves.left;
  if (place_.slot == space_.slot_count() || space_.slabs().draining() == 0) rest(now);
}

void Defrag::choose() {
  Slabs& slabs = space_.slabs();
  for (std::size_t looked = 0; next_class_ < Slabs::classes && looked < slabs_at_once;
       ++next_class_)
    looked += 1 + slabs.drain_class(next_class_, slabs_at_once);
  if (next_class_ < Slabs::classes) return;
  chosen_ = slabs.draining();
  place_ = {};
  state_ = State::walks;
}

void Defrag::rest(SteadyMs now) {
  Slabs& slabs = space_.slabs();
  const bool fruitful = slabs.draining() < chosen_ - chosen_ / 4;
  slabs.stop_draining();
  slabs.drop_spare();
  rest_ms_ = fruitful ? rest_min_ms : std::min(rest_ms_ * 2, rest_max_ms);
  wakes_ = now + rest_ms_;
  state_ = State::rests;
}

}  // namespace gyre
