// Commands over many slots: KEYS, SCAN, DBSIZE, RANDOMKEY, FLUSHDB, FLUSHALL.
//
// walk() splits this shard's slots by who acts for them, runs the part of this node here and sends
// the others a Walk; the results are joined. A slot for which nobody can be reached makes the walk
// fail. A part of a walk that meets prepared parts of transactions waits until they are settled:
// the client may have been told of them, and would miss what they have written.

#include <algorithm>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/probe.h"
#include "coordination/engine.h"
#include "ring/slot.h"

namespace gyre {
namespace {

// Longer than a part stays prepared where nobody dies. After that the walk shows what is there.
constexpr std::int64_t behind_parts_ms = 1000;

std::string bitmap(const SlotSet& slots) {
  std::string out(slots_total / 8, '\0');
  for (std::size_t s = 0; s < slots_total; ++s) {
    if (slots.test(s)) out[s / 8] = static_cast<char>(out[s / 8] | (1 << (s % 8)));
  }
  return out;
}

// Whether the flush reaches this database: none that is empty, apart from the first and the one
// named.
bool flushes(const WalkRequest& request, DbIndex db, const DbCounts& counts) {
  return request.all_dbs ? db.value == 0 || counts.keys + counts.tombstones > 0 : db == request.db;
}

}  // namespace

void Engine::walk(WalkRequest&& request) {
  if (held_) [[unlikely]] {
    auto kept = std::make_shared<WalkRequest>(std::move(request));
    held_tasks_.push_back([this, kept] { walk(std::move(*kept)); });
    return;
  }
  std::map<std::uint16_t, SlotSet> by_node;
  Walking w;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    const NodeIndex acting = alone_ ? options_.self : acting_node(slot);
    if (acting.value >= peers_.size()) {
      w.result.failed = true;
      continue;
    }
    by_node[acting.value].set(slot.value);
  }
  const std::uint64_t id = next_id_++ << 8 | options_.shard.value;
  w.request = std::move(request);
  w.at = clock_.steady_ms();
  if (w.result.failed || by_node.empty()) return end_walk(std::move(w));
  w.left = 1;  // held while the parts go out
  for (const auto& [node, slots] : by_node) {
    const NodeIndex peer{node};
    if (peer == options_.self) continue;
    std::vector<bool> shards(peers_[node].view.threads);
    for (std::size_t s = 0; s < slots_total; ++s) {
      if (slots.test(s)) shards[shard_at(peer, {static_cast<std::uint16_t>(s)})] = true;
    }
    w.slots[node] = bitmap(slots);
    for (std::size_t shard = 0; shard < shards.size(); ++shard) {
      if (!shards[shard]) continue;
      w.asked.push_back({peer, static_cast<std::uint16_t>(shard), false});
      ask_walk(w, id, w.asked.back(), stamps_of(peer));
      ++w.left;
    }
  }
  const auto own = by_node.find(options_.self.value);
  const WalkRequest copy = w.request;
  walks_.emplace(id, std::move(w));
  if (own == by_node.end()) return walk_part_done(id, {});
  walk_slots(copy, own->second, id);
}

void Engine::walk_slots(const WalkRequest& request, const SlotSet& slots, std::uint64_t id) {
  if (request.what == WalkKind::flush) return flush_here(request, slots, id);
  if (space_.parts_touched()) look_at_parts();
  if (auto parts = holds_.prepared(slots); !parts.empty()) {
    metrics_.walks_waited.add();
    walks_behind_parts_.push_back(
        {id, slots, std::move(parts), clock_.steady_ms() + behind_parts_ms});
    return;
  }
  WalkResult part;
  walk_here(request, slots, part);
  walk_part_done(id, std::move(part));
}

bool Engine::go_on_walks() {
  if (walks_behind_parts_.empty()) [[likely]]
    return false;
  const SteadyMs now = clock_.steady_ms();
  std::vector<WalkBehindParts> go_on;
  std::erase_if(walks_behind_parts_, [&](WalkBehindParts& w) {
    std::erase_if(w.parts, [&](const auto& part) {
      const auto prepared = holds_.prepared(part.first);
      return std::find(prepared.begin(), prepared.end(), part.second) == prepared.end();
    });
    if (!w.parts.empty() && now < w.until) return false;
    go_on.push_back(std::move(w));
    return true;
  });
  for (const WalkBehindParts& w : go_on) {
    const auto at = walks_.find(w.id);
    if (at == walks_.end()) continue;  // it has failed meanwhile
    WalkResult part;
    walk_here(at->second.request, w.slots, part);
    walk_part_done(w.id, std::move(part));
  }
  return !go_on.empty();
}

// `clock`: what the peer is expected to stamp now.
void Engine::ask_walk(Walking& w, std::uint64_t id, const Walking::Asked& part, UnixMs clock) {
  Walk m;
  m.id = id;
  m.from_shard = options_.shard.value;
  m.what = static_cast<std::uint8_t>(w.request.what);
  m.db = w.request.db.value;
  m.all_dbs = w.request.all_dbs;
  m.write_level = w.request.write_level.value;
  if (w.request.what == WalkKind::flush) {
    // A flush that is held up must not run after its client has heard that it failed.
    m.ceiling_ms = clock + std::min(host_.give_up_ms(part.peer), options_.max_skew_ms / 2);
    UnixMs& highest = peers_[part.peer.value].highest_ceiling;
    highest = std::max(highest, m.ceiling_ms);
  }
  m.place = w.request.place;
  m.count = w.request.count;
  m.pattern = w.request.pattern;
  m.type = w.request.type;
  m.slots = w.slots[part.peer.value];
  send(part.peer, part.shard, m);
}

void Engine::walk_alone(const WalkRequest& request, WalkResult& part) {
  GYRE_ASSERT(alone_);
  if (request.what != WalkKind::flush) return walk_here(request, {}, part);
  part.failed = disk_failing_;
  if (part.failed) return;
  const Version version = space_.clock().stamp(clock_.wall_ms());
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    for (std::size_t db = 0; db < space_.databases(); ++db) {
      const DbIndex index{static_cast<std::uint8_t>(db)};
      if (flushes(request, index, space_.counts(index))) space_.raise_floor(slot, index, version);
    }
  }
}

void Engine::walk_here(const WalkRequest& request, const SlotSet& slots, WalkResult& part) {
  const UnixMs now = clock_.wall_ms();
  const SlotSet* filter = alone_ ? nullptr : &slots;
  const auto keep = [&](std::string_view key) { part.keys.emplace_back(key); };
  switch (request.what) {
    case WalkKind::count:
      part.count = count_keys(space_, request.db, filter, now);
      break;
    case WalkKind::keys:
      keys_matching(space_, request.db, filter, request.pattern, now, keep);
      break;
    case WalkKind::random: {
      part.count = space_.counts(request.db).keys;
      if (auto key = random_key(space_, request.db, filter, now, random_))
        part.keys.push_back(std::move(*key));
      break;
    }
    case WalkKind::scan: {
      ScanFilter wanted;
      if (!request.pattern.empty()) wanted.match = request.pattern;
      if (!request.type.empty()) wanted.type = request.type;
      ScanPlace from = place_of(request.place);
      if (from.slot < space_.first_slot()) from = {space_.first_slot(), 0, false};
      const Slot last{
          static_cast<std::uint16_t>(space_.first_slot().value + space_.slot_count() - 1)};
      const ScanPlace next =
          scan_part(space_, request.db, from, last, filter, request.count, wanted, now, keep);
      part.next = next.done ? 0 : cursor_of(next);
      break;
    }
    default:
      part.failed = true;
  }
}

void Engine::flush_here(const WalkRequest& request, const SlotSet& slots, std::uint64_t id) {
  const int need = request.write_level.of(n_);
  if (disk_failing_) return walk_part_done(id, WalkResult{.failed = true});
  Turn& turn = open_turn();
  if (!turn.first) turn.first = space_.clock().peek(clock_.wall_ms());
  // All parts of one level wait for the worst slot: one operation per replica set would be finer,
  // but a flush is rare.
  const Version version = space_.clock().stamp(clock_.wall_ms());
  Effect floor;
  std::string name;
  std::vector<Slot> operations;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    if (!slots.test(slot.value)) continue;
    if (!alone_) begin_acting(slot);
    for (std::size_t db = 0; db < space_.databases(); ++db) {
      const DbIndex index{static_cast<std::uint8_t>(db)};
      if (!flushes(request, index, space_.counts(index))) continue;
      space_.raise_floor(slot, index, version);
      if (alone_) continue;
      floor.clear();
      name.clear();
      put_be16(name, slot.value);
      floor.slot_floor = true;
      floor.db = index;
      floor.key = name;
      floor.version = floor.floor = version;
      record_effect(slot, floor, no_operation);
    }
    const auto replicas = ring_->replicas(slot);
    const bool listed = std::any_of(operations.begin(), operations.end(), [&](Slot s) {
      const auto other = ring_->replicas(s);
      return std::equal(replicas.begin(), replicas.end(), other.begin(), other.end());
    });
    if (!listed) operations.push_back(slot);
  }
  turn.last = std::max(turn.last, version);
  // One operation for each set of replicas.
  auto& walking = walks_.at(id);
  walking.left += operations.size();
  for (const Slot slot : operations) {
    const std::uint64_t op = next_id_++ << 8 | options_.shard.value;
    flushes_.emplace(op, std::pair(id, WalkResult{}));
    turn.operations.push_back({.ticket = {.id = op}, .reply = {}, .slot = slot, .need = need});
  }
  walk_part_done(id, {});
}

void Engine::on_walk(NodeIndex from, const Walk& m) {
  Walking w;
  w.request.ticket = {
      .remote = true, .shard = m.from_shard, .peer = from, .connection = 0, .id = m.id};
  w.at = clock_.steady_ms();
  const UnixMs stamps = space_.clock().peek(clock_.wall_ms()).ms();
  if (m.ceiling_ms && stamps > m.ceiling_ms) {
    metrics_.late_answers.add();
    GYRE_PROBE(late);
    WalkAnswer late;
    late.id = m.id;
    late.shard = options_.shard.value;
    late.failed = late.late = true;
    late.clock_ms = stamps;
    return send(from, m.from_shard, late);
  }
  if (m.what >= static_cast<std::uint8_t>(WalkKind::end) || m.db >= space_.databases() ||
      m.slots.size() != slots_total / 8 || !serving_) {
    w.result.failed = true;
    return end_walk(std::move(w));
  }
  w.request.what = static_cast<WalkKind>(m.what);
  w.request.db = {m.db};
  w.request.all_dbs = m.all_dbs;
  w.request.write_level = {m.write_level};
  w.request.place = m.place;
  w.request.count = m.count;
  w.request.pattern.assign(m.pattern);
  w.request.type.assign(m.type);
  SlotSet slots;
  for (std::size_t s = 0; s < slots_total; ++s) {
    const Slot slot{static_cast<std::uint16_t>(s)};
    if ((static_cast<unsigned char>(m.slots[s / 8]) >> (s % 8) & 1) && space_.owns(slot) &&
        holds(slot))
      slots.set(s);
  }
  w.left = 1;
  const std::uint64_t id = next_id_++ << 8 | options_.shard.value;
  const WalkRequest copy = w.request;
  walks_.emplace(id, std::move(w));
  walk_slots(copy, slots, id);
}

void Engine::on_walk_answer(NodeIndex from, const WalkAnswer& m) {
  const auto at = walks_.find(m.id);
  if (at == walks_.end()) return;
  Walking& w = at->second;
  const auto asked = std::find_if(w.asked.begin(), w.asked.end(), [&](const auto& a) {
    return a.peer == from && a.shard == m.shard;
  });
  if (asked == w.asked.end()) return;
  // As a forwarded command: once more by the clock that it named, and no higher than skew allows.
  if (m.late && !asked->again && m.clock_ms <= clock_.wall_ms() + options_.max_skew_ms) {
    asked->again = true;
    return ask_walk(w, m.id, *asked, m.clock_ms);
  }
  w.asked.erase(asked);
  WalkResult part;
  part.failed = m.failed;
  part.count = m.count;
  part.next = m.next;
  for (const auto& k : m.keys) part.keys.emplace_back(k);
  walk_part_done(m.id, std::move(part));
}

void join_random(WalkResult& all, WalkResult&& part, Random& random) {
  all.failed |= part.failed;
  all.count += part.count;
  if (part.keys.empty()) return;
  if (all.keys.empty() || random.below(std::max<std::uint64_t>(all.count, 1)) < part.count)
    all.keys = std::move(part.keys);
}

void Engine::walk_part_done(std::uint64_t id, WalkResult&& part) {
  const auto at = walks_.find(id);
  if (at == walks_.end()) return;
  Walking& w = at->second;
  WalkResult& all = w.result;
  if (w.request.what == WalkKind::random) {
    join_random(all, std::move(part), random_);
  } else {
    all.failed |= part.failed;
    all.count += part.count;
    if (part.next != 0 && (all.next == 0 || part.next < all.next)) all.next = part.next;
    all.keys.insert(all.keys.end(), std::make_move_iterator(part.keys.begin()),
                    std::make_move_iterator(part.keys.end()));
  }
  if (--w.left > 0) return;
  Walking done = std::move(w);
  walks_.erase(at);
  end_walk(std::move(done));
}

void Engine::end_walk(Walking&& w) {
  if (w.request.what == WalkKind::scan && w.result.next != 0) {
    // Parts went further than the slowest: what lies past the next place comes again.
    const ScanPlace next = place_of(w.result.next);
    std::erase_if(w.result.keys, [&](const std::string& key) {
      const Slot slot = key_slot(key);
      return slot > next.slot || (slot == next.slot && key_hash(key) >= next.hash);
    });
  }
  const Ticket ticket = w.request.ticket;
  if (!ticket.remote) return host_.walked(ticket, std::move(w.result));
  WalkAnswer answer;
  answer.id = ticket.id;
  answer.shard = options_.shard.value;
  answer.failed = w.result.failed;
  answer.count = w.result.count;
  answer.next = w.result.next;
  for (const std::string& k : w.result.keys) answer.keys.push_back(k);
  send(ticket.peer, ticket.shard, answer);
}

}  // namespace gyre
