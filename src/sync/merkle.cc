#include "sync/merkle.h"

#include <algorithm>
#include <set>

#include "base/hash.h"
#include "base/log.h"
#include "base/probe.h"
#include "ring/slot.h"

namespace gyre {
namespace {

constexpr std::size_t leaves_at_once = 512;
constexpr std::size_t records_at_once = 512;
constexpr std::size_t answer_bytes = std::size_t{512} << 10;
constexpr std::uint64_t large_elements = 512;  // records with more are compared by parts
constexpr std::size_t parts_total = 256;
constexpr std::size_t changes_at_once = 512;
constexpr std::uint16_t group_slots = 128;
constexpr std::int64_t look_again_ms = 1200;

std::size_t part_of(std::string_view id) {
  return static_cast<std::size_t>(hash64(id) >> 56);
}
bool has_bit(std::string_view bits, std::size_t i) {
  return (static_cast<unsigned char>(bits[i / 8]) >> (i % 8) & 1) != 0;
}

template <class F>
void each_cell(const Node& n, F&& f) {
  if (stored_type(n) == TypeId::string) return f(std::string_view(), string_cell(n));
  if (!n.has(Node::boxed)) return;
  collection_of(n)->for_each([&](const ElementView& e) {
    f(e.id, e.cell);
    return true;
  });
}

// A cell's digest, of its base and those of its sums that lie at or below the bound.
std::uint64_t cell_digest_upto(std::uint64_t seed, std::string_view id, const Cell& cell,
                               Version upto) {
  if (!upto || cell.newest() <= upto) return cell_digest(seed, id, cell);
  if (!cell.has_sums) return 0;
  CellState part = CellState::of(cell);
  if (part.version > upto) part.version = {};
  std::erase_if(part.sums, [upto](const auto& s) { return s.version > upto; });
  const std::string stored = part.stored();
  return cell_digest(seed, id, {part.version, part.tombstone, part.has_sums(), stored});
}

}  // namespace

std::uint64_t digest_upto(const Node& n, DbIndex db, Version upto) {
  if (!upto || record_newest(n) <= upto) return record_digest(n, db);
  const std::uint64_t seed = digest_seed(n.key(), db);
  const Version floor = record_floor(n);
  const Expiry expiry = n.has(Node::has_expiry) ? n.expiry() : Expiry{};
  std::uint64_t sum = 0;
  if (floor && floor <= upto) sum += header_digest(seed, floor, {});
  if (expiry.version && expiry.version <= upto) sum += header_digest(seed, {}, expiry);
  each_cell(n, [&](std::string_view id, const Cell& cell) {
    sum += cell_digest_upto(seed, id, cell, upto);
  });
  return sum;
}

MerkleSync::MerkleSync(const SyncOptions& options, std::size_t nodes, KeySpace& space,
                       const Clock& clock, Metrics& metrics, SyncHost& host, std::uint64_t first_id)
    : options_(options),
      space_(space),
      clock_(clock),
      metrics_(metrics),
      host_(host),
      next_id_(first_id),
      pairs_(nodes),
      busy_(space.slot_count()) {
  for (Pair& p : pairs_) p.patience_ms = options_.timeout_ms;
}

std::vector<std::uint64_t> MerkleSync::start(NodeIndex peer, const std::vector<Slot>& slots,
                                             Purpose purpose, Version round, bool first_look) {
  std::map<std::uint16_t, Compare> by_thread;
  for (const Slot slot : slots) {
    by_thread[host_.thread_of(peer, slot)].slots.push_back(
        {slot.value, space_.repaired(slot), space_.slot_digest(slot)});
  }
  std::vector<std::uint64_t> ids;
  for (auto& [thread, m] : by_thread) {
    const std::uint64_t id = new_id();
    Comparison& c = comparisons_[id];
    c.peer = peer;
    c.thread = thread;
    c.purpose = purpose;
    c.first_look = first_look;
    for (const SlotDigest& s : m.slots) {
      c.slots.push_back({s.slot});
      ++busy_[static_cast<std::size_t>(s.slot - space_.first_slot().value)];
    }
    c.at = clock_.steady_ms();
    if (purpose == Purpose::round) c.upto = round;
    if (purpose == Purpose::heal) c.upto = Version::below_ms(clock_.wall_ms() - options_.young_ms);
    m.leaves = !first_look;
    if (purpose == Purpose::round) m.round = round;
    ids.push_back(id);
    ask(c, id, m);
  }
  return ids;
}

void MerkleSync::adopt(Slot slot, Version repaired) {
  if (repaired <= space_.repaired(slot)) return;
  if (space_.agreement(slot).confirmed >= repaired) return space_.set_repaired(slot, repaired);
  space_.start_over(slot, repaired);
  host_.lost_state(slot);
}

MerkleSync::Comparison* MerkleSync::answered(NodeIndex from, std::uint64_t id) {
  const auto at = comparisons_.find(id);
  if (at == comparisons_.end() || at->second.peer != from || !at->second.waiting) return nullptr;
  less_patience(pairs_[from.value], at->second.at);
  at->second.at = clock_.steady_ms();
  at->second.waiting = false;
  return &at->second;
}

// An answer that came in much less than what is allowed: the next one is waited for less long.
void MerkleSync::less_patience(Pair& p, SteadyMs asked_at) {
  if (4 * (clock_.steady_ms() - asked_at) < p.patience_ms)
    p.patience_ms = std::max(options_.timeout_ms, p.patience_ms / 2);
}

// ---- slots

void MerkleSync::on_compare(NodeIndex from, const Compare& m) {
  CompareAnswer answer;
  answer.id = m.id;
  std::deque<std::string> kept;
  const Version latest = space_.clock().peek(clock_.wall_ms() + options_.max_skew_ms);
  for (const SlotDigest& theirs : m.slots) {
    const Slot slot{theirs.slot};
    if (!both_hold(slot, from)) continue;
    metrics_.slots_compared.add();
    if (theirs.repaired <= latest) adopt(slot, theirs.repaired);
    SlotDifference d;
    d.slot = theirs.slot;
    d.known = host_.knows(slot);
    d.elsewhere = host_.elsewhere(slot, from);
    if (!d.elsewhere) host_.agreed(slot, from);
    d.repaired = space_.repaired(slot);
    d.same = space_.slot_digest(slot) == theirs.digest;
    if (m.round && d.known) space_.watch_merges(slot);
    if (d.same) {
      host_.equal(from, slot);
    } else if (m.leaves) {
      for (std::size_t db = 0; db < space_.databases(); ++db) {
        const DbIndex index{static_cast<std::uint8_t>(db)};
        if (const Version floor = space_.slot_floor(slot, index))
          d.floors.push_back({index.value, floor});
      }
      const LeafSums& leaves = space_.leaves(slot);
      std::string& bytes = kept.emplace_back();
      for (const std::uint64_t sum : leaves.at(leaves.bits())) put_be64(bytes, sum);
      d.leaves = bytes;
    }
    answer.slots.push_back(std::move(d));
  }
  send(from, m.from_shard, answer);
}

void MerkleSync::on_compare_answer(NodeIndex from, const CompareAnswer& m) {
  Comparison* c = answered(from, m.id);
  if (!c) return;
  const Version latest = space_.clock().peek(clock_.wall_ms() + options_.max_skew_ms);
  for (const SlotDifference& d : m.slots) {
    const Slot slot{d.slot};
    if (!both_hold(slot, from)) continue;
    if (d.repaired <= latest) adopt(slot, d.repaired);
    const SyncHost::Outcome outcome{.known = d.known, .elsewhere = d.elsewhere};
    if (d.same) {
      host_.equal(from, slot);
      host_.compared(m.id, from, slot, outcome);
      continue;
    }
    metrics_.compare_differences.add();
    if (c->first_look) {
      pairs_[from.value].again.push_back(slot);
      continue;
    }
    for (const DbFloor& f : d.floors) {
      if (f.db < space_.databases() && f.floor <= latest) space_.raise_floor(slot, {f.db}, f.floor);
    }
    c->open.emplace(d.slot, outcome);
    compare_leaves(*c, d);
    push_floors(*c, d);
  }
  advance(m.id);
}

void MerkleSync::compare_leaves(Comparison& c, const SlotDifference& d) {
  const std::size_t count = d.leaves.size() / 8;
  if (count < (1u << LeafSums::first_bits) || (count & (count - 1)) != 0 ||
      count > (1u << LeafSums::max_bits)) {
    c.open.erase(d.slot);
    return;
  }
  const LeafSums& own = space_.leaves({d.slot});
  const auto their_bits = static_cast<unsigned>(__builtin_ctzll(count));
  const unsigned bits = std::min(own.bits(), their_bits);
  std::vector<std::uint64_t> sums(std::size_t{1} << bits);
  Reader in(d.leaves);
  for (std::size_t i = 0; i < count; ++i) sums[i >> (their_bits - bits)] += in.be64();
  const std::vector<std::uint64_t> mine = own.at(bits);
  ListLeaves::Leaves leaves{.slot = d.slot, .bits = static_cast<std::uint8_t>(bits), .leaves = {}};
  for (std::uint32_t i = 0; i < sums.size(); ++i) {
    if (sums[i] != mine[i]) leaves.leaves.push_back(i);
  }
  if (!leaves.leaves.empty()) c.todo.push_back(std::move(leaves));
}

// Floors of databases that only this node has.
void MerkleSync::push_floors(Comparison& c, const SlotDifference& d) {
  for (std::size_t db = 0; db < space_.databases(); ++db) {
    const DbIndex index{static_cast<std::uint8_t>(db)};
    const Version floor = space_.slot_floor({d.slot}, index);
    const auto theirs = std::find_if(d.floors.begin(), d.floors.end(),
                                     [db](const DbFloor& f) { return f.db == db; });
    if (!floor || (theirs != d.floors.end() && theirs->floor >= floor)) continue;
    Effect effect;
    std::string key;
    put_be16(key, d.slot);
    effect.key = key;
    effect.db = index;
    effect.slot_floor = true;
    effect.version = effect.floor = floor;
    encode_effect(c.push, effect);
    ++c.push_count;
  }
}

// ---- leaves

Node* MerkleSync::record_of(const Name& name) const {
  const auto [slot, db, hash] = name;
  Node* found = nullptr;
  if (const NodeTable* table = space_.table_of({slot}, {db})) {
    table->walk(hash, [&found, wanted = hash](Node* n) {
      if (key_hash(n->key()) == wanted) found = n;
    });
  }
  return found;
}

std::map<MerkleSync::Name, MerkleSync::Listed> MerkleSync::list(const ListLeaves::Leaves& leaves,
                                                                Version upto) const {
  std::map<Name, Listed> out;
  std::vector<bool> asked(std::size_t{1} << leaves.bits);
  for (const std::uint32_t i : leaves.leaves) {
    if (i < asked.size()) asked[i] = true;
  }
  space_.for_each_record({leaves.slot}, [&](DbIndex db, Node* n) {
    const std::uint64_t hash = key_hash(n->key());
    if (!asked[LeafSums::leaf_of(hash, leaves.bits)]) return;
    const std::uint64_t digest = digest_upto(*n, db, upto);
    if (digest == 0) return;
    std::uint64_t elements = 1;
    if (n->has(Node::boxed)) {
      const Collection* c = collection_of(*n);
      elements = c->live() + c->tombstones();
    }
    out.emplace(Name(leaves.slot, db.value, hash), Listed{digest, elements, record_newest(*n)});
  });
  return out;
}

void MerkleSync::on_list_leaves(NodeIndex from, const ListLeaves& m) {
  ListLeavesAnswer answer;
  answer.id = m.id;
  std::deque<std::string> kept;
  for (const ListLeaves::Leaves& leaves : m.slots) {
    if (!both_hold({leaves.slot}, from) || leaves.bits < LeafSums::first_bits ||
        leaves.bits > LeafSums::max_bits)
      continue;
    std::string& bytes = kept.emplace_back();
    for (const auto& [name, listed] : list(leaves, m.upto)) {
      put_u8(bytes, std::get<1>(name));
      put_be64(bytes, std::get<2>(name));
      put_be64(bytes, listed.digest);
      put_varint(bytes, listed.elements);
      put_be64(bytes, listed.newest.bits);
    }
    answer.slots.push_back({leaves.slot, bytes});
  }
  send(from, m.from_shard, answer);
}

void MerkleSync::on_list_leaves_answer(NodeIndex from, const ListLeavesAnswer& m) {
  Comparison* c = answered(from, m.id);
  if (!c) return;
  for (const ListLeaves::Leaves& asked : c->listing) {
    const auto answered = std::find_if(m.slots.begin(), m.slots.end(),
                                       [&](const auto& k) { return k.slot == asked.slot; });
    if (answered == m.slots.end()) {
      c->open.erase(asked.slot);  // nothing can be said about it
      continue;
    }
    std::map<Name, Listed> own = list(asked, c->upto);
    Reader in(answered->keys);
    bool differed = false;
    while (in.left() > 0) {
      const std::uint8_t db = in.u8();
      const std::uint64_t hash = in.be64(), digest = in.be64();
      std::uint64_t elements = in.varint(), here = 0;
      const Version newest{in.be64()};
      if (!in.ok() || !space_.has_database({db})) break;
      const Name name(asked.slot, db, hash);
      if (const auto mine = own.find(name); mine != own.end()) {
        here = mine->second.digest;
        elements = std::max(elements, mine->second.elements);
        own.erase(mine);
      }
      if (here == digest) continue;
      differed = true;
      // All of theirs lies below the floor here (overwritten, or deleted): none of it is needed.
      const Node* const mine = here != 0 ? record_of(name) : nullptr;
      if (mine && elements <= large_elements && record_floor(*mine) >= newest) {
        push_record(*c, name);
        continue;
      }
      c->theirs.emplace(name, digest);
      (elements > large_elements ? c->large : c->want).push_back(name);
    }
    for (const auto& [name, listed] : own) {
      differed = true;
      if (listed.elements > large_elements) {
        c->large.push_back(name);
      } else {
        push_record(*c, name);
      }
    }
    if (const auto open = c->open.find(asked.slot); differed && open != c->open.end())
      open->second.differed = true;
  }
  c->listing.clear();
  advance(m.id);
}

// ---- records

std::uint32_t MerkleSync::put_pieces(std::string& to, const Node& n, DbIndex db,
                                     std::string_view parts) {
  Effect effect;
  record_effect(n, db, {}, effect);
  if (parts.empty() && effect.changes.size() <= changes_at_once) {
    encode_effect(to, effect);
    return 1;
  }
  // The header goes with each piece.
  std::uint32_t count = 0;
  Effect piece = effect;
  const auto flush = [&] {
    encode_effect(to, piece);
    ++count;
    piece.changes.clear();
  };
  piece.changes.clear();
  for (const Change& change : effect.changes) {
    if (!parts.empty() && !has_bit(parts, part_of(change.id))) continue;
    piece.changes.push_back(change);
    if (piece.changes.size() >= changes_at_once) flush();
  }
  if (count == 0 || !piece.changes.empty()) flush();
  return count;
}

void MerkleSync::push_record(Comparison& c, const Name& name, std::string_view parts) {
  if (const Node* n = record_of(name)) {
    c.push_count += put_pieces(c.push, *n, {std::get<1>(name)}, parts);
    const Slot slot{std::get<0>(name)};
    c.push_bounds.emplace(slot.value, space_.repaired(slot));
    metrics_.sync_keys_pushed.add();
  }
}

void MerkleSync::on_fetch_many(NodeIndex from, const FetchMany& m) {
  FetchManyAnswer answer;
  answer.id = m.id;
  std::string bytes;
  const bool in_parts = m.parts.size() == parts_total / 8;
  for (const RecordName& r : m.records) {
    if (bytes.size() > answer_bytes) break;
    ++answer.taken;
    if (!both_hold({r.slot}, from) || !space_.has_database({r.db})) continue;
    const Node* n = record_of({r.slot, r.db, r.hash.bits});
    if (!n) continue;
    answer.count += put_pieces(bytes, *n, {r.db}, in_parts ? m.parts : std::string_view());
    if (answer.bounds.empty() || answer.bounds.back().slot != r.slot)
      answer.bounds.push_back({r.slot, space_.repaired({r.slot})});
  }
  answer.effects = bytes;
  send(from, m.from_shard, answer);
}

void MerkleSync::on_fetch_many_answer(NodeIndex from, const FetchManyAnswer& m) {
  Comparison* c = answered(from, m.id);
  if (!c) return;
  Reader in(m.effects);
  Effect effect;
  for (std::uint32_t i = 0; i < m.count; ++i) {
    if (!decode_effect(in, effect)) {
      LOG_SELDOM(warning, "what %u sent of a slot's records could not be read", from.value);
      break;
    }
    bool changed = false;
    if (effect.slot_floor || !both_hold(key_slot(effect.key), from)) continue;
    if (!host_.merge_synced(effect, bound_of(m.bounds, key_slot(effect.key)), changed)) {
      // For its clock: the slot counts as compared when that is over (simulator, seed 870).
      c->open.erase(key_slot(effect.key).value);
    } else if (changed) {
      metrics_.sync_keys_repaired.add();
    }
  }
  if (std::exchange(c->in_parts, false)) return advance(m.id);
  // None taken: the peer will not answer for the rest.
  std::size_t taken = m.taken == 0 ? records_at_once : m.taken;
  for (; taken > 0 && !c->want.empty(); --taken) {
    const Name name = c->want.front();
    c->want.pop_front();
    // What this node has beyond it goes back.
    const Node* n = record_of(name);
    const auto theirs = c->theirs.find(name);
    if (n && theirs != c->theirs.end() &&
        digest_upto(*n, {std::get<1>(name)}, c->upto) != theirs->second)
      push_record(*c, name);
    c->theirs.erase(name);
  }
  advance(m.id);
}

// ---- large records

std::vector<std::uint64_t> MerkleSync::part_sums(const Name& name, Version upto) const {
  std::vector<std::uint64_t> sums(parts_total);
  const Node* n = record_of(name);
  if (!n) return sums;
  const std::uint64_t seed = digest_seed(n->key(), {std::get<1>(name)});
  each_cell(*n, [&](std::string_view id, const Cell& cell) {
    sums[part_of(id)] += cell_digest_upto(seed, id, cell, upto);
  });
  return sums;
}

void MerkleSync::on_list_parts(NodeIndex from, const ListParts& m) {
  ListPartsAnswer answer;
  answer.id = m.id;
  std::string bytes;
  if (space_.has_database({m.record.db}) && both_hold({m.record.slot}, from)) {
    for (const std::uint64_t sum :
         part_sums({m.record.slot, m.record.db, m.record.hash.bits}, m.upto))
      put_be64(bytes, sum);
  }
  answer.sums = bytes;
  send(from, m.from_shard, answer);
}

void MerkleSync::on_list_parts_answer(NodeIndex from, const ListPartsAnswer& m) {
  Comparison* c = answered(from, m.id);
  if (!c) return;
  GYRE_PROBE(large_record);
  const Name name = c->parts_of;
  const std::vector<std::uint64_t> sums = part_sums(name, c->upto);
  std::string parts(parts_total / 8, '\0');
  Reader in(m.sums);
  for (std::size_t i = 0; i < parts_total && m.sums.size() == parts_total * 8; ++i) {
    if (in.be64() != sums[i]) parts[i / 8] = static_cast<char>(parts[i / 8] | 1 << (i % 8));
  }
  // Both ways, also when no part differs: then the headers do.
  push_record(*c, name, parts);
  FetchMany fetch;
  const auto [slot, db, hash] = name;
  fetch.records.push_back({slot, db, {hash}});
  fetch.parts = parts;
  c->in_parts = true;
  ask(*c, m.id, fetch);
}

// ---- the next step of a comparison

void MerkleSync::advance(std::uint64_t id) {
  const auto at = comparisons_.find(id);
  if (at == comparisons_.end() || at->second.waiting) return;
  Comparison& c = at->second;
  const SteadyMs now = clock_.steady_ms();
  c.at = now;
  if (now < c.resume_at) return;  // tick() goes on
  const bool drained = c.want.empty() && c.large.empty() && c.todo.empty();
  if (c.push_count > 0 && (drained || c.push.size() > answer_bytes)) {
    const std::string bytes = std::exchange(c.push, {});
    Repair m;
    m.synced = true;
    m.count = std::exchange(c.push_count, 0u);
    for (const auto& [slot, repaired] : std::exchange(c.push_bounds, {}))
      m.bounds.push_back({slot, repaired});
    m.effects = bytes;
    if (c.purpose != Purpose::sureness && options_.rate_bytes > 0)
      c.resume_at = now + static_cast<std::int64_t>(bytes.size() * 1000 / options_.rate_bytes);
    return ask(c, id, m);
  }
  if (!c.want.empty()) {
    FetchMany m;
    for (const auto& [slot, db, hash] : c.want) {
      m.records.push_back({slot, db, {hash}});
      if (m.records.size() >= records_at_once) break;
    }
    return ask(c, id, m);
  }
  if (!c.large.empty()) {
    c.parts_of = c.large.front();
    c.large.pop_front();
    const auto [slot, db, hash] = c.parts_of;
    ListParts m;
    m.upto = c.upto;
    m.record = {slot, db, {hash}};
    return ask(c, id, m);
  }
  if (!c.todo.empty()) {
    c.listing.clear();
    c.theirs.clear();
    for (std::size_t leaves = 0; !c.todo.empty() && leaves < leaves_at_once;) {
      leaves += c.todo.front().leaves.size();
      c.listing.push_back(std::move(c.todo.front()));
      c.todo.pop_front();
    }
    ListLeaves m;
    m.upto = c.upto;
    m.slots = c.listing;
    return ask(c, id, m);
  }
  end(id, false);
}

bool MerkleSync::on_push_ack(NodeIndex from, std::uint64_t id) {
  if (!comparisons_.contains(id)) return false;
  if (answered(from, id)) advance(id);
  return true;
}

void MerkleSync::end(std::uint64_t id, bool failed) {
  auto node = comparisons_.extract(id);
  if (node.empty()) return;
  const Comparison& c = node.mapped();
  for (const Slot s : c.slots)
    --busy_[static_cast<std::size_t>(s.value - space_.first_slot().value)];
  if (!failed) {
    for (const auto& [slot, outcome] : c.open) host_.compared(id, c.peer, {slot}, outcome);
  }
  host_.ended(id, c.peer, failed);
}

void MerkleSync::peer_down(NodeIndex peer) {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, c] : comparisons_) {
    if (c.peer == peer) ids.push_back(id);
  }
  for (const std::uint64_t id : ids) end(id, true);
  Pair& p = pairs_[peer.value];
  p.questions.clear();
  p.again.clear();
  p.progress.running = false;
}

// ---- the background

void MerkleSync::tick() {
  const SteadyMs now = clock_.steady_ms();
  std::vector<std::uint64_t> old, held;
  std::set<std::uint16_t> slow;
  for (const auto& [id, c] : comparisons_) {
    if (c.waiting && now - c.at > pairs_[c.peer.value].patience_ms) {
      old.push_back(id);
      slow.insert(c.peer.value);
    } else if (!c.waiting && now >= c.resume_at) {
      held.push_back(id);
    }
  }
  for (const std::uint16_t peer : slow) {
    std::int64_t& patience = pairs_[peer].patience_ms;
    patience = std::min(2 * patience, options_.slow_timeout_ms);
  }
  for (const std::uint64_t id : old) end(id, true);
  for (const std::uint64_t id : held) advance(id);
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    const NodeIndex peer{static_cast<std::uint16_t>(i)};
    const Pair& p = pairs_[i];
    const bool own = options_.interval_ms > 0 && options_.self.value < peer.value;
    if ((own || p.kicked || p.progress.running) && host_.reachable(peer)) background(peer);
  }
}

void MerkleSync::kick(NodeIndex peer) {
  Pair& p = pairs_[peer.value];
  p.next_at = 0;
  p.kicked = true;
  if (!p.progress.running && host_.reachable(peer)) background(peer);
}

void MerkleSync::background(NodeIndex peer) {
  Pair& p = pairs_[peer.value];
  const SteadyMs now = clock_.steady_ms();
  if (!p.progress.running) {
    if (now < p.next_at) return;
    p.next_at = now + options_.interval_ms;
    p.kicked = false;
    p.progress.running = true;
    p.progress.slots_left = 0;
    p.again.clear();
    p.again_at = 0;
    std::map<std::uint16_t, CompareRanges::Range> by_thread;
    for (std::size_t i = 0; i < space_.slot_count(); ++i) {
      const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
      auto& r = by_thread[host_.thread_of(peer, slot)];
      if (r.count++ == 0) r.first = slot.value;
    }
    std::vector<CompareRanges::Range> ranges;
    for (const auto& [thread, r] : by_thread) ranges.push_back(r);
    return ask_ranges(peer, ranges);
  }
  if (!p.questions.empty()) {
    if (now - p.asked_at <= p.patience_ms) return;
    p.patience_ms = std::min(2 * p.patience_ms, options_.slow_timeout_ms);
    p.questions.clear();
    p.progress.running = false;
    return;
  }
  const bool busy = std::any_of(comparisons_.begin(), comparisons_.end(), [&](const auto& e) {
    return e.second.peer == peer && e.second.purpose == Purpose::heal;
  });
  if (busy) return;
  if (p.again.empty()) {
    p.progress.running = false;
    p.progress.last_completed = now;
    ++p.progress.rounds;
    metrics_.sync_rounds.add();
    return;
  }
  if (p.again_at == 0) p.again_at = now + look_again_ms;
  if (now < p.again_at) return;
  p.again_at = 0;
  p.progress.slots_left = p.again.size();
  std::vector<Slot> slots;
  slots.swap(p.again);
  start(peer, slots, Purpose::heal, {}, false);
}

std::uint64_t MerkleSync::range_sum(std::uint16_t first, std::uint16_t count,
                                    NodeIndex peer) const {
  std::uint64_t sum = 0;
  for (std::uint32_t s = first; s < std::uint32_t{first} + count && s < slots_total; ++s) {
    const Slot slot{static_cast<std::uint16_t>(s)};
    // Bound to its slot, so that equal changes of two do not cancel out.
    if (both_hold(slot, peer)) sum += space_.slot_digest(slot) * (2 * std::uint64_t{s} + 1);
  }
  return sum;
}

void MerkleSync::ask_ranges(NodeIndex peer, const std::vector<CompareRanges::Range>& ranges) {
  Pair& p = pairs_[peer.value];
  std::map<std::uint16_t, CompareRanges> by_thread;
  for (CompareRanges::Range r : ranges) {
    r.sum = {range_sum(r.first, r.count, peer)};
    by_thread[host_.thread_of(peer, {r.first})].ranges.push_back(r);
  }
  p.asked_at = clock_.steady_ms();
  for (auto& [thread, m] : by_thread) {
    m.id = new_id();
    m.from_shard = options_.shard.value;
    p.questions.emplace(m.id, m.ranges);
    send(peer, thread, m);
  }
}

void MerkleSync::on_compare_ranges(NodeIndex from, const CompareRanges& m) {
  CompareRangesAnswer answer;
  answer.id = m.id;
  for (std::size_t i = 0; i < m.ranges.size() && i < slots_total; ++i) {
    const CompareRanges::Range& r = m.ranges[i];
    if (range_sum(r.first, r.count, from) != r.sum)
      answer.differ.push_back(static_cast<std::uint16_t>(i));
  }
  send(from, m.from_shard, answer);
}

void MerkleSync::on_compare_ranges_answer(NodeIndex from, const CompareRangesAnswer& m) {
  Pair& p = pairs_[from.value];
  auto node = p.questions.extract(m.id);
  if (node.empty()) return;
  less_patience(p, p.asked_at);
  const std::vector<CompareRanges::Range>& asked = node.mapped();
  std::vector<CompareRanges::Range> smaller;
  std::vector<Slot> slots;
  for (const std::uint16_t i : m.differ) {
    if (i >= asked.size()) continue;
    const std::uint32_t first = asked[i].first, end = first + asked[i].count;
    if (asked[i].count > group_slots) {
      for (std::uint32_t s = first; s < end; s += group_slots) {
        const auto count =
            static_cast<std::uint16_t>(std::min<std::uint32_t>(group_slots, end - s));
        smaller.push_back({static_cast<std::uint16_t>(s), count, 0});
      }
      continue;
    }
    for (std::uint32_t s = first; s < end; ++s) {
      const Slot slot{static_cast<std::uint16_t>(s)};
      if (both_hold(slot, from)) slots.push_back(slot);
    }
  }
  if (!smaller.empty()) ask_ranges(from, smaller);
  if (!slots.empty()) start(from, slots, Purpose::heal, {}, true);
}

}  // namespace gyre
