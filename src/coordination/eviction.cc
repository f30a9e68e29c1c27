// Memory: what goes when maxmemory is reached.
//
// Happy path: a write that needs memory asks make_room(); where the node's threads together hold
// more than the limit, this one evicts until its share of the excess is gone. The work of a turn is
// bounded: what its writes have added may always be evicted twice over, beyond that a number of
// keys (maxmemory-eviction-tenacity); the rest goes in the turns that follow.
//
// Evicted is deleted. Where this node alone holds the key, nothing is left of it. On a ring whoever
// acts for the slot raises the key's floor, as DEL does, and nobody waits for the others to know; a
// replica that holds something newer keeps it (acks.cc: no operation, no stamping again). What a
// node holds for others counts against its limit as well: it asks those who act for its largest
// slots to evict there.
//
// Failure modes: nothing is left that may go: make_room() says so, and the write is refused.

#include <algorithm>
#include <map>
#include <utility>

#include "coordination/engine.h"

namespace gyre {

// Evicted keys of a ring leave tombstones, which go when a round has purged them, within seconds.
// Evicting more for their sake would be too much, so they do not count by then, up to a part.
std::uint64_t Engine::going_anyway() const {
  if (n_ == 1) return 0;
  constexpr std::uint64_t tombstone_bytes = 40, most_of_limit = 16;
  std::uint64_t tombstones = 0;
  for (std::size_t db = 0; db < space_.databases(); ++db)
    tombstones += space_.counts({static_cast<std::uint8_t>(db)}).tombstones;
  return std::min(tombstones * tombstone_bytes, command_options_.memory.limit / most_of_limit);
}

// How many bytes this thread has to give up: its share of what is too much.
std::uint64_t Engine::memory_excess() const {
  const std::uint64_t own = space_.memory_used(), all = own + memory_elsewhere_;
  const std::uint64_t counted = all - std::min(all, going_anyway());
  const std::uint64_t limit = command_options_.memory.limit;
  if (counted <= limit) return 0;
  const double share = static_cast<double>(own) / static_cast<double>(all);
  return static_cast<std::uint64_t>(static_cast<double>(counted - limit) * share) + 1;
}

bool Engine::evict_excess() {
  constexpr std::uint64_t bytes_a_key = 64;
  const std::uint64_t own = space_.memory_used();
  const std::uint64_t grown = own - std::min(own, std::exchange(memory_seen_, own));
  std::uint64_t free_keys = 4 + 2 * grown / bytes_a_key;
  // Who is asked needs a moment: until then a part above the limit is let in.
  const auto others_help = [this] {
    constexpr std::uint64_t part_of_limit = 8;
    const auto up = [](const Peer& p) { return p.view.up; };
    return n_ > 1 && memory_excess() < command_options_.memory.limit / part_of_limit &&
           std::any_of(peers_.begin(), peers_.end(), up);
  };
  bool evicted = false;
  memory_full_ = false;
  while (memory_excess() > 0) {
    if (free_keys == 0 && evictions_left_ == 0) break;
    --(free_keys > 0 ? free_keys : evictions_left_);
    if (!evict_one()) {
      memory_full_ = !evicted && !others_help();
      break;
    }
    evicted = true;
  }
  memory_seen_ = space_.memory_used();
  return !memory_full_;
}

bool Engine::may_evict(Slot slot) const {
  const SlotState& s = state(slot);
  return s.acting && s.sure && acting_node(slot) == options_.self && !holds_.busy(slot);
}

bool Engine::evict_one() {
  if (disk_failing_ || (!alone_ && stamps_ahead())) return false;
  const Evictor::May may = n_ == 1 ? Evictor::May() : [this](Slot slot) { return may_evict(slot); };
  const auto victim = evictor_.next(command_options_.memory.policy, clock_.wall_ms(), may);
  if (victim) evict(*victim);
  return victim.has_value();
}

void Engine::evict(const Victim& v) {
  if (!space_.options().keep_tombstones) {
    space_.forget(v.slot, v.db, v.key, v.hash);
  } else {
    Effect gone;
    gone.db = v.db;
    gone.key = v.key;
    gone.floor = gone.version = space_.clock().stamp(clock_.wall_ms());
    Turn& turn = open_turn();
    if (!turn.first) turn.first = gone.version;
    space_.merge(v.slot, v.hash, gone);
    record_effect(v.slot, gone, no_operation);
    turn.last = space_.clock().peek(0);
  }
  metrics_.evicted_keys.add();
  if (command_options_.notify & event::evicted)
    publish_event(host_, command_options_.notify, "evicted", v.key,
                  command_options_.databases.name(v.db));
}

// ---- what is held for others

void Engine::tick_memory() {
  if (command_options_.memory.limit == 0) return;
  evict_excess();
  const std::uint64_t excess = memory_excess();
  if (n_ > 1 && excess > 0) ask_to_evict(excess);
}

void Engine::tick_defrag(SteadyMs now) {
  const std::uint64_t moved = defrag_.moved(), left = defrag_.left();
  defrag_.tick(command_options_.memory.defrag, now);
  metrics_.active_defrag_hits.add(defrag_.moved() - moved);
  metrics_.active_defrag_misses.add(defrag_.left() - left);
  metrics_.active_defrag_running.set(defrag_.running());
}

// Each tick while there is too much: the answer is what goes meanwhile. Slots are drawn by their
// live records, because the largest ones by all their records may hold nothing but tombstones by
// now.
void Engine::ask_to_evict(std::uint64_t excess) {
  constexpr int draws = 256;
  constexpr std::size_t slots_max = 64;
  std::map<std::uint16_t, std::size_t> drawn;
  for (int i = 0; i < draws; ++i) {
    const KeySpace::Place place = space_.draw(random_);
    if (place.node && record_live(*place.node) && !state(place.slot).acting)
      drawn.emplace(place.slot.value, space_.records_in(place.slot));
  }
  std::vector<std::pair<std::size_t, std::uint16_t>> held;
  for (const auto& [slot, records] : drawn) held.emplace_back(records, slot);
  const std::size_t asked = std::min(held.size(), slots_max);
  std::partial_sort(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(asked), held.end(),
                    std::greater<>());
  held.resize(asked);
  std::map<std::pair<NodeIndex, std::uint16_t>, Evict> by_thread;
  for (const auto& [records, s] : held) {
    const NodeIndex acting = acting_node({s});
    if (acting.value >= peers_.size() || acting == options_.self || !peers_[acting.value].view.up)
      continue;
    by_thread[{acting, shard_at(acting, {s})}].slots.push_back(s);
  }
  for (auto& [to, m] : by_thread) {
    m.bytes = excess * m.slots.size() / asked + 1;
    send(to.first, to.second, m);
  }
}

// By this node's own policy; where that is none, nothing goes.
void Engine::on_evict(NodeIndex from, const Evict& m) {
  constexpr std::size_t keys_max = 1000;
  const MemoryOptions& memory = command_options_.memory;
  if (disk_failing_ || stamps_ahead()) return;
  std::vector<Slot> slots;
  for (const std::uint16_t s : m.slots) {
    if (s < slots_total && space_.owns({s}) && replica_index({s}, from) >= 0 && may_evict({s}))
      slots.push_back({s});
  }
  std::uint64_t freed = 0;
  std::size_t keys = 0;
  while (!slots.empty() && freed < m.bytes && keys < keys_max) {
    const std::size_t before = keys;
    for (const Slot slot : slots) {
      if (freed >= m.bytes || keys >= keys_max) break;
      const auto victim = evictor_.next_in(slot, memory.policy, clock_.wall_ms());
      if (!victim) continue;
      freed += record_bytes(*space_.find(slot, victim->db, victim->key, victim->hash));
      evict(*victim);
      ++keys;
    }
    if (keys == before) break;
  }
}

}  // namespace gyre
