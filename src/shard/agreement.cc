// Agreement with other replicas: T, confirmations, purging, leaf sums. See design, sections 8
// and 9.

#include <algorithm>

#include "base/hash.h"
#include "record/purge.h"
#include "shard/keyspace.h"
#include "shard/rows.h"

namespace gyre {

void KeySpace::note_merge(Slot slot, const Effect& effect, const ApplyResult& r,
                          const Node* record) {
  Agreement& a = agreements_[index_of(slot)];
  std::uint64_t low = ~std::uint64_t{0};
  bool removes = record && !r.live_after;
  const auto note = [&](Version v) {
    if (v > a.repaired) low = std::min(low, v.bits);
  };
  for (const std::uint32_t i : r.taken) {
    note(effect.changes[i].version);
    removes |= effect.changes[i].tombstone;
    if (const Version sum = effect.changes[i].sum; sum && (!a.open_sum || sum < a.open_sum))
      a.open_sum = sum;
  }
  if (record && r.floor_raised) note(record_floor(*record));
  if (record && r.expiry_changed && record->has(Node::has_expiry)) {
    note(record->expiry().version);
    removes |= record->expiry().at_ms == 0;
  }
  // What a stub has learned of beside that: that there was something, and when.
  if (record && record_stub(*record) && record_newest(*record) > r.newest_before)
    note(record_newest(*record));
  a.low.bits = std::min(a.low.bits, low);
  // What it has confirmed is no longer all that it holds up to there.
  if (low <= a.confirmed.bits) a.confirmed = a.repaired;
  a.dead += removes;
  if (!r.live_before && record && leaves_[index_of(slot)].crowded(records_in(slot)))
    grow_leaves(slot);
}

std::size_t KeySpace::records_in(Slot slot) const {
  const SlotData& s = slots_[index_of(slot)];
  std::size_t n = s.records.size();
  if (s.others) {
    for (const auto& [db, table] : s.others->tables) n += table.size();
  }
  return n;
}

void KeySpace::grow_leaves(Slot slot) {
  LeafSums& leaves = leaves_[index_of(slot)];
  leaves.reset(leaves.bits() + 1);
  for_each_record(
      slot, [&](DbIndex db, Node* n) { leaves.add(key_hash(n->key()), record_digest(*n, db)); });
}

bool KeySpace::verify_digest(Slot slot) const {
  const LeafSums& kept = leaves_[index_of(slot)];
  LeafSums fresh;
  fresh.reset(kept.bits());
  std::uint64_t sum = 0;
  for (std::size_t db = 0; db < options_.databases; ++db) {
    const DbIndex index{static_cast<std::uint8_t>(db)};
    if (const Version floor = slot_floor(slot, index))
      sum += hash64(floor_row(slot, index), floor.bits);
  }
  for_each_record(slot, [&](DbIndex db, Node* n) {
    const std::uint64_t digest = record_digest(*n, db);
    fresh.add(key_hash(n->key()), digest);
    sum += digest;
  });
  return sum == slot_digest(slot) && fresh.at(kept.bits()) == kept.at(kept.bits());
}

// ---- T

void KeySpace::write_agreement(Slot slot) {
  if (!options_.persist) return;
  const Agreement& a = agreements_[index_of(slot)];
  row_value_.clear();
  put_be64(row_value_, a.repaired.bits);
  put_be64(row_value_, a.confirmed.bits);
  put_u8(row_value_, a.partial);
  rows_.put(agreement_row(slot), row_value_);
}

void KeySpace::confirm(Slot slot, Version upto) {
  Agreement& a = agreements_[index_of(slot)];
  if (upto <= a.confirmed) return;
  a.confirmed = upto;
  write_agreement(slot);
}

void KeySpace::set_repaired(Slot slot, Version upto) {
  Agreement& a = agreements_[index_of(slot)];
  if (upto <= a.repaired) return;
  a.repaired = upto;
  a.confirmed = std::max(a.confirmed, upto);
  write_agreement(slot);
  purge(slot, upto);
}

void KeySpace::set_partial(Slot slot, bool partial) {
  Agreement& a = agreements_[index_of(slot)];
  if (a.partial == partial) return;
  a.partial = partial;
  write_agreement(slot);
}

void KeySpace::load_agreement(Slot slot, Version repaired, Version confirmed, bool partial) {
  if (agreements_.empty()) return;
  Agreement& a = agreements_[index_of(slot)];
  a.repaired = repaired;
  a.confirmed = confirmed;
  a.partial = partial;
}

void KeySpace::purge(Slot slot, Version upto) {
  Agreement& a = agreements_[index_of(slot)];
  a.dead = 0;
  a.open_sum = {};
  const PurgeBound bound{upto, closed_sums(upto)};
  PurgeResult result;
  std::vector<std::string> keys;
  std::vector<DbIndex> tables;
  for_each_table(slot, [&](DbIndex db, const NodeTable&) { tables.push_back(db); });
  for (const DbIndex index : tables) {
    NodeTable& table = table_for_write(slot, index);
    keys.clear();
    table.for_each([&](Node* n) {
      if (const Version sum = oldest_open_sum(*n, bound.sums);
          sum && (!a.open_sum || sum < a.open_sum))
        a.open_sum = sum;
      if (purgeable(*n, bound)) {
        keys.emplace_back(n->key());
      } else if (!record_live(*n)) {
        ++a.dead;
      }
      if (n->has(Node::boxed)) a.dead += collection_of(*n)->tombstones() > 0;
      return true;
    });
    for (const std::string& key : keys) {
      const std::uint64_t hash = key_hash(key);
      Node** at = table.find(key, hash);
      const bool was_live = record_live(**at), boxed = (*at)->has(Node::boxed);
      Node* left = purge_record(*at, index, bound, slabs_, result);
      add_digest(slot, hash, result.digest_delta);
      DbCounts& c = counts_[index.value];
      c.tombstones -= !was_live;
      if (left) {
        *at = left;
        c.tombstones += !record_live(*left);
      } else {
        table.erase(at);
      }
      if (!options_.persist) continue;
      row_prefix(row_key_, slot, index, key);
      const std::size_t prefix = row_key_.size();
      if (!left && boxed) {
        rows_.erase_range(row_key_, row_key_ + '\xff');
        continue;
      }
      row_key_.push_back(1);
      for (const std::string& id : result.changed) {
        row_key_.resize(prefix + 1);
        row_key_.append(id);
        Cell cell;
        if (left && left->has(Node::boxed) && collection_of(*left)->find(id, cell)) {
          element_value(row_value_, cell);
          rows_.put(row_key_, row_value_);
        } else {
          rows_.erase(row_key_);
        }
      }
      row_key_.resize(prefix);
      row_key_.push_back(0);
      if (!left) {
        rows_.erase(row_key_);
      } else if (result.header_changed) {
        header_value(row_value_, *left);
        rows_.put(row_key_, row_value_);
      }
    }
  }
}

std::size_t KeySpace::start_over(Slot slot, Version upto) {
  Agreement& a = agreements_[index_of(slot)];
  a.repaired = a.confirmed = upto;
  a.low = {};
  a.partial = true;
  write_agreement(slot);
  // Rebuilds each record from what lies above the bound.
  std::size_t touched = 0;
  std::vector<std::pair<DbIndex, std::string>> keys;
  for_each_record(slot, [&](DbIndex db, Node* n) { keys.emplace_back(db, n->key()); });
  for (const auto& [db, key] : keys) {
    const std::uint64_t hash = key_hash(key);
    NodeTable& table = table_for_write(slot, db);
    Node** at = table.find(key, hash);
    Effect rest;
    record_effect(**at, db, {}, rest);
    const std::size_t elements = rest.changes.size();
    const bool left = strip_known(rest, upto);
    if (left && rest.changes.size() == elements) continue;
    ++touched;
    // The effect's views live in the record: they are copied by their wire form.
    std::string bytes;
    encode_effect(bytes, rest);
    add_digest(slot, hash, 0 - record_digest(**at, db));
    drop(slot, db, table, at, true);
    if (!left) continue;
    Reader in(bytes);
    Effect again;
    GYRE_ASSERT(decode_effect(in, again));
    merge(slot, hash, again);
  }
  return touched;
}

}  // namespace gyre
