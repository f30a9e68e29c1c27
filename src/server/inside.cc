#include "server/inside.h"

#include <algorithm>

#include "coordination/engine.h"

namespace gyre {
namespace {

constexpr unsigned count_slots_every = 10;  // updates: counting them touches every slot

}  // namespace

void PeerProgress::join(const PeerProgress& shard) {
  last_completed = std::min(last_completed, shard.last_completed);
  rounds = std::min(rounds, shard.rounds);
  slots_left += shard.slots_left;
  running |= shard.running;
}

PeerProgress PublishedInside::Peer::progress() const {
  return {last_completed.load(std::memory_order_relaxed), rounds.load(std::memory_order_relaxed),
          slots_left.load(std::memory_order_relaxed), running.load(std::memory_order_relaxed)};
}

void PublishedInside::update(Engine& engine) {
  constexpr auto relaxed = std::memory_order_relaxed;
  const Hints& hints = engine.hints();
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    const NodeIndex n{static_cast<std::uint16_t>(i)};
    Peer& p = peers_[i];
    p.hints.store(hints.pending(n), relaxed);
    p.oldest_hint_ms.store(hints.oldest_ms(n), relaxed);
    p.hints_dropped.store(hints.dropped_for(n), relaxed);
    p.marks.store(hints.marks_count(n), relaxed);
    const SyncProgress& sync = engine.sync().progress(n);
    p.last_completed.store(sync.last_completed, relaxed);
    p.rounds.store(sync.rounds, relaxed);
    p.slots_left.store(sync.slots_left, relaxed);
    p.running.store(sync.running, relaxed);
  }
  const KeySpace& space = engine.space();
  if (!space.options().keep_tombstones || updates_++ % count_slots_every != 0) return;
  std::uint64_t purgeable = 0;
  for (std::size_t i = 0; i < space.slot_count(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space.first_slot().value + i)};
    purgeable += space.agreement(slot).dead > 0;
  }
  slots_purgeable_.store(purgeable, relaxed);
}

}  // namespace gyre
