// Comparing slots with other replicas, to become sure of them and to heal what differs.
//
// Happy path: a comparison asks a peer for up to `slots_at_once` slots by digest -> equal ones are
// compared at once; for others the peer lists (key hash, digest) -> what is missing or differs here
// is fetched and merged -> compared. A slot is sure when N - W + 1 replicas were compared, itself
// counted when it is known; it is known when so many others that know were compared, or all N - 1
// (design, sections 4 and 6). Pull only: the peer does the same for itself. A broken link ends a
// comparison; it is begun again.

#include <algorithm>

#include "base/hash.h"
#include "coordination/engine.h"
#include "ring/slot.h"

namespace gyre {
namespace {

constexpr std::size_t slots_at_once = 4096;
constexpr std::size_t keys_per_fetch = 256;
constexpr std::int64_t compare_timeout_ms = 10'000;
constexpr std::int64_t compare_again_ms = 200;

}  // namespace

void Engine::make_unsure(Slot slot) {
  if (n_ == 1) return;
  SlotState& s = state(slot);
  s.sure = false;
  s.compared = s.compared_known = s.agreed = 0;
  ++s.doubts;
}

std::size_t Engine::slots_differing() const {
  std::size_t n = hints_.marks_total();
  if (alone_) return n;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    if (!holds(slot)) continue;
    n += !slots_[i].known ||
         (!slots_[i].sure && slots_[i].acting && acting_node(slot) == options_.self);
  }
  return n;
}

void Engine::compare_some(SteadyMs now) {
  std::vector<std::uint64_t> old;
  for (const auto& [id, c] : compares_) {
    if (now - c.at > compare_timeout_ms) old.push_back(id);
  }
  for (const std::uint64_t id : old) end_compare(id);
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    Peer& p = peers_[i];
    if (!p.view.up || p.comparing || now < p.compare_at) continue;
    start_compare({static_cast<std::uint16_t>(i)});
  }
}

void Engine::start_compare(NodeIndex peer) {
  std::map<std::uint16_t, Compare> by_shard;
  std::size_t count = 0;
  for (std::size_t i = 0; i < slots_.size() && count < slots_at_once; ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    const SlotState& s = slots_[i];
    const int position = replica_index(slot, peer);
    if (position < 0 || !holds(slot)) continue;
    const int bit = 1 << position;
    // To be known is for every replica; to be sure only for who acts. While another node does, its
    // peers never agree that it is this one.
    const bool for_known = !s.known && !(s.compared_known & bit);
    const bool for_sure = s.acting && !s.sure && !(s.compared_known & s.agreed & bit) &&
                          acting_node(slot) == options_.self;
    if (!for_known && !for_sure && !(s.must & bit)) continue;
    // Who does not know itself is asked again only as long as that may help.
    Compare& c = by_shard[shard_at(peer, slot)];
    c.slots.push_back({slot.value, space_.slot_digest(slot)});
    ++count;
  }
  Peer& p = peers_[peer.value];
  p.compare_at = clock_.steady_ms() + compare_again_ms;
  for (auto& [shard, m] : by_shard) {
    Comparing c{.peer = peer, .at = clock_.steady_ms()};
    for (const auto& s : m.slots) c.doubts.emplace(s.slot, state({s.slot}).doubts);
    m.id = next_id_++ << 8 | options_.shard.value;
    m.from_shard = options_.shard.value;
    compares_.emplace(m.id, std::move(c));
    p.comparing = true;
    send(peer, shard, m);
  }
}

void Engine::on_compare(NodeIndex from, const Compare& m) {
  CompareAnswer answer;
  answer.id = m.id;
  for (const SlotDigest& theirs : m.slots) {
    const Slot slot{theirs.slot};
    if (theirs.slot >= slots_total || !space_.owns(slot) || !holds(slot)) continue;
    metrics_.slots_compared.add();
    SlotDifference d;
    d.slot = theirs.slot;
    d.known = state(slot).known;
    d.elsewhere = acting_node(slot) != from;
    d.same = space_.slot_digest(slot) == theirs.digest;
    if (d.same) {
      hints_.clear_mark(from, slot, space_.rows());
    } else {
      for (std::size_t db = 0; db < space_.databases(); ++db) {
        const DbIndex index{static_cast<std::uint8_t>(db)};
        if (const Version floor = space_.slot_floor(slot, index))
          d.floors.push_back({index.value, floor});
        const NodeTable* table = space_.table_of(slot, index);
        if (!table) continue;
        table->for_each([&](Node* n) {
          d.keys.push_back({index.value, hash64(n->key()), record_digest(*n, index)});
          return true;
        });
      }
    }
    answer.slots.push_back(std::move(d));
  }
  send(from, m.from_shard, answer);
}

void Engine::on_compare_answer(NodeIndex from, const CompareAnswer& m) {
  const auto at = compares_.find(m.id);
  if (at == compares_.end() || at->second.peer != from) return;
  Comparing& c = at->second;
  for (const SlotDifference& d : m.slots) {
    const Slot slot{d.slot};
    if (d.slot >= slots_total || !space_.owns(slot)) continue;
    if (d.same) {
      compared(c, slot, d);
      continue;
    }
    metrics_.compare_differences.add();
    for (const DbFloor& f : d.floors) {
      if (f.db < space_.databases() &&
          f.floor.ms() <= space_.clock().peek(clock_.wall_ms()).ms() + options_.max_skew_ms) {
        space_.raise_floor(slot, {f.db}, f.floor);
      }
    }
    // Own digests by (db, key hash).
    std::unordered_map<std::uint64_t, std::uint64_t> own;
    for (std::size_t db = 0; db < space_.databases(); ++db) {
      const DbIndex index{static_cast<std::uint8_t>(db)};
      if (const NodeTable* table = space_.table_of(slot, index)) {
        table->for_each([&](Node* n) {
          own.emplace(hash64(n->key()) + db, record_digest(*n, index));
          return true;
        });
      }
    }
    FetchMany fetch;
    const auto flush = [&] {
      if (fetch.keys.empty()) return;
      fetch.id = next_id_++ << 8 | options_.shard.value;
      fetch.from_shard = options_.shard.value;
      fetch.slot = d.slot;
      fetches_.emplace(fetch.id, std::pair(m.id, d.slot));
      ++c.fetches;
      send(from, shard_at(from, slot), fetch);
      fetch.keys.clear();
    };
    for (const KeyDigest& k : d.keys) {
      const auto mine = own.find(k.key_hash + k.db);
      if (mine != own.end() && mine->second == k.digest) continue;
      fetch.keys.push_back(k);
      if (fetch.keys.size() >= keys_per_fetch) flush();
    }
    flush();
    SlotDifference settled;
    settled.slot = d.slot;
    settled.known = d.known;
    settled.elsewhere = d.elsewhere;
    c.settled.push_back(std::move(settled));
  }
  if (c.fetches == 0) end_compare(m.id);
}

void Engine::on_fetch_many(NodeIndex from, const FetchMany& m) {
  const Slot slot{m.slot};
  if (m.slot >= slots_total || !space_.owns(slot) || !holds(slot)) return;
  FetchManyAnswer answer;
  answer.id = m.id;
  std::string bytes;
  Effect effect;
  std::unordered_map<std::uint64_t, bool> wanted;
  for (const KeyDigest& k : m.keys) wanted.emplace(k.key_hash + k.db, true);
  for (std::size_t db = 0; db < space_.databases(); ++db) {
    const DbIndex index{static_cast<std::uint8_t>(db)};
    const NodeTable* table = space_.table_of(slot, index);
    if (!table) continue;
    table->for_each([&](Node* n) {
      if (!wanted.contains(hash64(n->key()) + db)) return true;
      gyre::record_effect(*n, index, {}, effect);
      encode_effect(bytes, effect);
      ++answer.count;
      return true;
    });
  }
  answer.effects = bytes;
  send(from, m.from_shard, answer);
}

void Engine::on_fetch_many_answer(NodeIndex from, const FetchManyAnswer& m) {
  const auto fetch = fetches_.find(m.id);
  if (fetch == fetches_.end()) return;
  const std::uint64_t id = fetch->second.first;
  fetches_.erase(fetch);
  const auto at = compares_.find(id);
  if (at == compares_.end() || at->second.peer != from) return;
  Reader in(m.effects);
  Effect effect;
  for (std::uint32_t i = 0; i < m.count && decode_effect(in, effect); ++i) {
    const ApplyResult* r = nullptr;
    merge_from_peer(effect, r);
  }
  if (--at->second.fetches == 0) end_compare(id);
}

void Engine::end_compare(std::uint64_t id) {
  auto node = compares_.extract(id);
  if (node.empty()) return;
  Comparing& c = node.mapped();
  if (c.fetches == 0) {
    for (const SlotDifference& d : c.settled) compared(c, {d.slot}, d);
  }
  std::erase_if(fetches_, [id](const auto& f) { return f.second.first == id; });
  const bool more = std::any_of(compares_.begin(), compares_.end(),
                                [&](const auto& o) { return o.second.peer == c.peer; });
  if (!more) peers_[c.peer.value].comparing = false;
}

void Engine::compared(const Comparing& c, Slot slot, const SlotDifference& answer) {
  SlotState& s = state(slot);
  const int position = replica_index(slot, c.peer);
  const auto began = c.doubts.find(slot.value);
  if (position < 0 || began == c.doubts.end() || began->second != s.doubts) return;
  const auto bit = static_cast<std::uint8_t>(1 << position);
  s.must &= static_cast<std::uint8_t>(~bit);
  s.compared |= bit;
  if (answer.known) s.compared_known |= bit;
  // Who sends commands elsewhere lets others act after this comparison: it counts when that is
  // over.
  s.agreed = static_cast<std::uint8_t>(answer.elsewhere ? s.agreed & ~bit : s.agreed | bit);
  const auto count = [](int bits) { return __builtin_popcount(static_cast<unsigned>(bits)); };
  if (!s.known && (count(s.compared_known) >= sure_quorum() || count(s.compared) >= n_ - 1))
    s.known = true;
  if (s.known && (count(s.compared_known & s.agreed) + 1 >= sure_quorum() ||
                  count(s.compared & s.agreed) >= n_ - 1))
    s.sure = true;
}

void Engine::peer_doubts(NodeIndex peer) {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    if (slots_[i].acting && replica_index(slot, peer) >= 0) make_unsure(slot);
  }
}

void Engine::on_acted(NodeIndex from, const Acted& m) {
  for (const std::uint16_t s : m.slots) {
    if (s >= slots_total || !space_.owns({s}) || !holds({s})) continue;
    make_unsure({s});
    if (const int position = replica_index({s}, from); position >= 0) {
      state({s}).must |= static_cast<std::uint8_t>(1 << position);
    }
  }
}

// Tells a peer in which slots it may have missed something from this node.
void Engine::send_acted(NodeIndex peer, const std::vector<std::uint16_t>& slots) {
  // Shares of the slots belong to threads of the peer.
  std::map<std::uint16_t, Acted> by_shard;
  for (const std::uint16_t s : slots) by_shard[shard_at(peer, {s})].slots.push_back(s);
  for (const auto& [shard, part] : by_shard) send(peer, shard, part);
}

}  // namespace gyre
