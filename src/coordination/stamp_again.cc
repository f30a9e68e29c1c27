// A clock of this node that was ahead: what follows from it for its stamps (record/restamp.h).
//
// While others would refuse what it stamps, it stamps nothing and confirms no T; a record that
// holds such stamps takes nothing in. Vitals tells when the clock was set back, and when all others
// answer and its time is right: then everything of it is stamped again, hinted, and the clock goes
// back.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/log.h"
#include "base/probe.h"
#include "coordination/engine.h"

namespace gyre {

void Engine::clock_set_back() {
  set_back_at_ = space_.clock().peek(0);
  drop_early_stubs();
}

void Engine::drop_early_stubs() {
  const UnixMs wall = clock_.wall_ms();
  const Version others = Version::at_ms(wall + options_.max_skew_ms);  // what they may hold as well
  for (const Slot slot : space_.drop_early_stubs(wall, others)) lost_state(slot);
}

void Engine::stamp_again() {
  const auto done = [](const Turn& t) { return t.persisted || t.empty(); };
  if (!std::all_of(turns_.begin(), turns_.end(), done)) return;
  const UnixMs wall = clock_.wall_ms();
  // Time has gone by since it was asked for.
  const UnixMs later_than =
      std::max(std::exchange(stamp_again_ms_, 0), wall + options_.max_skew_ms);
  for (Turn& t : turns_) give_up(t);
  drop_settled();
  const Version limit = Version::at_ms(later_than + 1).before(),
                above = Version::at_ms(later_than - options_.max_skew_ms);
  std::vector<std::pair<Slot, std::pair<DbIndex, std::string>>> keys;
  const Version mark = set_back_at_ ? set_back_at_ : space_.clock().started();
  const Restamp::Time time{.wall = wall, .ahead_ms = stamped_ahead_ms_, .set_back_at = mark};
  const Restamp again =
      space_.stamp_again(limit, above, time, [&](Slot slot, DbIndex db, std::string_view key) {
        keys.push_back({slot, {db, std::string(key)}});
      });
  drop_early_stubs();
  if (keys.empty()) return;
  Slot told{slots_total};
  for (const auto& [slot, name] : keys) {
    if (options_.watch && slot != told) options_.watch->stamped_again(slot, again);
    told = slot;
    for (const NodeIndex peer : ring_->replicas(slot)) {
      if (peer == options_.self) continue;
      if (name.second.empty()) {
        hints_.mark(peer, slot, space_.rows());
      } else {
        hints_.note(peer, slot, name.first, name.second, again.lowest(), wall, space_.rows());
      }
    }
  }
  metrics_.stamped_again.add(keys.size());
  GYRE_PROBE(stamped_again);
  LOG_WARNING(
      "%zu keys were stamped again: their stamps were so far ahead that all others refused "
      "them",
      keys.size());
}

// The record holds what will be stamped again (Vitals::stamps_ahead): merged now, what came later
// in truth would fall to it for good.
bool Engine::holds_far_ahead(const Effect& effect, Slot slot) const {
  if (!stamps_ahead()) return false;
  const Node* n = space_.find(slot, effect.db, effect.key, key_hash(effect.key));
  return n && record_newest(*n).ms() > others_accept_ms();
}

UnixMs Engine::others_accept_ms() const {
  return clock_.wall_ms() + others_ahead_ms_ + 2 * options_.max_skew_ms + clock_bound_ahead_ms;
}

}  // namespace gyre
