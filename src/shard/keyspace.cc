#include "shard/keyspace.h"

#include <algorithm>

#include "base/hash.h"
#include "shard/rows.h"

namespace gyre {

KeySpace::KeySpace(const KeySpaceOptions& options) : options_(options), clock_(options.clock_node) {
  slots_.reserve(options.slots);
  for (std::size_t i = 0; i < options.slots; ++i) slots_.emplace_back(slabs_);
  GYRE_ASSERT(options.first.value + options.slots <= slots_total);
  GYRE_ASSERT(0 < options.databases && options.databases <= databases_max);
  if (options.keep_tombstones) {
    agreements_.resize(options.slots);
    leaves_.resize(options.slots);
  }
}

KeySpace::~KeySpace() {
  const auto drop_all = [this](NodeTable& table) {
    table.for_each([this](Node* n) {
      destroy_record(slabs_, n);
      return true;
    });
  };
  for (SlotData& s : slots_) {
    drop_all(s.records);
    if (!s.others) continue;
    for (auto& [db, table] : s.others->tables) drop_all(table);
  }
}

const NodeTable* KeySpace::other_table(const SlotData& s, DbIndex db) {
  if (!s.others) return nullptr;
  for (const auto& [index, table] : s.others->tables) {
    if (index == db) return &table;
  }
  return nullptr;
}

NodeTable& KeySpace::other_table_for_write(Slot slot, DbIndex db) {
  SlotData& s = data(slot);
  if (!s.others) s.others = std::make_unique<Others>();
  for (auto& [index, table] : s.others->tables) {
    if (index == db) return table;
  }
  return s.others->tables.emplace_back(db, NodeTable(slabs_)).second;
}

Version KeySpace::slot_floor(Slot slot, DbIndex db) const {
  const SlotData& s = slots_[static_cast<std::size_t>(slot.value - options_.first.value)];
  if (!s.others) return {};
  for (const auto& [index, floor] : s.others->floors) {
    if (index == db) return floor;
  }
  return {};
}

Version KeySpace::slot_newest(Slot slot) const {
  Version newest{};
  for (std::size_t db = 0; db < options_.databases; ++db)
    newest = std::max(newest, slot_floor(slot, {static_cast<std::uint8_t>(db)}));
  for_each_record(slot, [&](DbIndex, Node* n) { newest = std::max(newest, record_newest(*n)); });
  return newest;
}

std::size_t KeySpace::keys_in(Slot slot, DbIndex db, UnixMs now) const {
  const NodeTable* table = table_of(slot, db);
  if (!table) return 0;
  if (!options_.keep_tombstones) return table->size();
  std::size_t keys = 0;
  table->for_each([&](Node* n) {
    keys += record_live(*n) && !record_expired(*n, now);
    return true;
  });
  return keys;
}

const ApplyResult& KeySpace::merge(Slot slot, std::uint64_t hash, const Effect& effect,
                                   bool store) {
  NodeTable& table = table_for_write(slot, effect.db);
  return merge_at(table, table.find(effect.key, hash), slot, hash, effect, store);
}

const ApplyResult& KeySpace::merge(Slot slot, std::uint64_t hash, const Effect& effect,
                                   const Found& found) {
  if (found.changes_ != tables_changed_ || found.db_ != effect.db) return merge(slot, hash, effect);
  return merge_at(table_for_write(slot, effect.db), found.at_, slot, hash, effect, true);
}

inline const ApplyResult& KeySpace::merge_at(NodeTable& table, Node** at, Slot slot,
                                             std::uint64_t hash, const Effect& effect, bool store) {
  ApplyOptions how{.keep_tombstones = options_.keep_tombstones,
                   .digests = options_.keep_tombstones};
  if (data(slot).others) how.floor = slot_floor(slot, effect.db);
  const bool was_record = at != nullptr;
  Node* record = apply(at ? *at : nullptr, effect, how, slabs_, result_);
  if (result_.in_place) {
    changes_ += store;
    clock_.see(record->version);
    if (!access_.frequency()) access_.begin(*record);
    if (store && options_.persist) write_rows(slot, effect, record, result_);
    if (effect.db == prepared_db) [[unlikely]]
      parts_touched_.emplace_back(slot, effect.key);
    tracked_.changed(effect.key);
    return result_;
  }
  if (record) {
    if (at) {
      *at = record;
    } else {
      table.insert(record, hash);
    }
    if (result_.live_after && (!result_.live_before || !access_.frequency()))
      access_.begin(*record);
  } else if (at) {
    table.erase(at);
  }
  clock_.see(record ? std::max(effect.version, record->version) : effect.newest());
  if (how.digests && result_.changed) {
    add_digest(slot, hash, result_.digest_delta);
    note_merge(slot, effect, result_, record);
  }
  changes_ += store && result_.changed;
  stubs_made_ += result_.stubbed;
  count(effect.db, result_, was_record, record != nullptr);
  // Also when what was merged outlives an expiry that may have been dealt with already.
  if (result_.expiry_after != 0 && (result_.expiry_after != result_.expiry_before ||
                                    (result_.changed && record_outlives(*record)))) {
    queue_expiry({result_.expiry_after, hash, slot, effect.db});
  }
  if (store && options_.persist && (result_.changed || (was_record && !record)))
    write_rows(slot, effect, record, result_);
  waits_.changed(effect.db, hash);
  if (effect.db == prepared_db) [[unlikely]]
    parts_touched_.emplace_back(slot, effect.key);
  if (result_.changed) tracked_.changed(effect.key);
  return result_;
}

void KeySpace::count(DbIndex db, const ApplyResult& r, bool was_record, bool is_record) {
  DbCounts& c = counts_[db.value];
  c.keys += static_cast<std::uint64_t>(r.live_after) - static_cast<std::uint64_t>(r.live_before);
  c.expires += static_cast<std::uint64_t>(r.live_after && r.expiry_after != 0) -
               static_cast<std::uint64_t>(r.live_before && r.expiry_before != 0);
  c.tombstones += static_cast<std::uint64_t>(is_record && !r.live_after) -
                  static_cast<std::uint64_t>(was_record && !r.live_before);
}

void KeySpace::write_header_row(Slot slot, DbIndex db, std::string_view key, const Node& record) {
  row_prefix(row_key_, slot, db, key);
  header_value(row_value_, record);
  row_key_.push_back(0);
  rows_.put(row_key_, row_value_);
}

void KeySpace::write_rows(Slot slot, const Effect& effect, const Node* record,
                          const ApplyResult& r) {
  row_prefix(row_key_, slot, effect.db, effect.key);
  const std::size_t prefix = row_key_.size();
  if (r.wiped || !record) {
    if (r.wiped) {
      std::string last = row_key_ + '\xff';
      row_key_.push_back(1);
      rows_.erase_range(row_key_, last);
      row_key_.resize(prefix);
    }
    if (!record) {
      row_key_.push_back(0);
      rows_.erase(row_key_);
      if (r.wiped || r.taken.empty() || effect.type == TypeId::string) return;
      // The last elements of a collection went one by one; what is left on disk are these rows.
      row_key_.back() = 1;
      for (const std::uint32_t i : r.taken) {
        row_key_.resize(prefix + 1);
        rows_.erase(row_key_.append(effect.changes[i].id));
      }
      return;
    }
  }
  if (r.header_changed) {
    header_value(row_value_, *record);
    row_key_.push_back(0);
    rows_.put(row_key_, row_value_);
    row_key_.resize(prefix);
  }
  if (!record->has(Node::boxed)) return;
  const Collection* c = collection_of(*record);
  const auto write_element = [&](std::string_view id) {
    row_key_.resize(prefix);
    row_key_.push_back(1);
    row_key_.append(id);
    Cell cell;
    if (c->find(id, cell)) {
      element_value(row_value_, cell);
      rows_.put(row_key_, row_value_);
    } else {
      rows_.erase(row_key_);
    }
  };
  for (const std::string& id : r.removed) write_element(id);
  for (const std::uint32_t i : r.taken) write_element(effect.changes[i].id);
}

std::size_t KeySpace::raise_floor(Slot slot, DbIndex db, Version floor, bool store) {
  if (floor <= slot_floor(slot, db)) return 0;
  waits_.all_changed();
  tracked_.all_changed();
  std::size_t dropped = 0;
  if (options_.keep_tombstones) {
    SlotData& s = data(slot);
    if (!s.others) s.others = std::make_unique<Others>();
    auto& floors = s.others->floors;
    auto at =
        std::find_if(floors.begin(), floors.end(), [&](const auto& f) { return f.first == db; });
    if (at == floors.end()) at = floors.insert(floors.end(), {db, {}});
    const std::string name = floor_row(slot, db);
    s.digest += hash64(name, floor.bits) - (at->second ? hash64(name, at->second.bits) : 0);
    at->second = floor;
    clock_.see(floor);
    Agreement& a = agreements_[index_of(slot)];
    a.low = std::min(a.low, floor);
    if (floor <= a.confirmed) a.confirmed = a.repaired;
    if (store && options_.persist) {
      row_value_.clear();
      put_be64(row_value_, floor.bits);
      rows_.put(name, row_value_);
    }
  }
  if (!table_of(slot, db)) return 0;
  // What lies wholly at or below the floor goes; the rest, newer, learns of the floor by apply.
  NodeTable& table = table_for_write(slot, db);
  NodeTable old(slabs_);
  old.swap(table);
  std::vector<std::string> newer;
  const bool all_on_disk = store && options_.persist;
  old.for_each([&](Node* n) {
    const std::uint64_t hash = key_hash(n->key());
    // A stub whose register dies has nothing left to say: who still has what it dropped shows it in
    // the next comparison.
    const bool dies =
        record_newest(*n) <= floor || (record_stub(*n) && n->expiry().version <= floor);
    if (!dies) {
      newer.emplace_back(n->key());
      table.insert(n, hash);
      return true;
    }
    DbCounts& c = counts_[db.value];
    const bool live = record_live(*n);
    c.keys -= live;
    c.tombstones -= !live;
    c.expires -= live && n->has(Node::has_expiry) && n->expiry().at_ms != 0;
    if (options_.keep_tombstones) add_digest(slot, hash, 0 - record_digest(*n, db));
    if (all_on_disk) {
      row_prefix(row_key_, slot, db, n->key());
      rows_.erase_range(row_key_, row_key_ + '\xff');
    }
    destroy_record(slabs_, n);
    ++dropped;
    changes_ += store && live;
    return true;
  });
  for (const std::string& key : newer) {
    Effect header;
    header.db = db;
    header.key = key;
    header.floor = header.version = floor;
    merge(slot, key_hash(key), header, store);
  }
  return dropped;
}

// A record with what its collection holds from place.inside on; that is 0 again when all was seen.
void KeySpace::move_record(Node*& node, MovePlace& place, std::uint64_t limit, Moves& moves) {
  const bool boxed = node->has(Node::boxed);
  if (place.inside == 0) {
    ++(Node::move_if_draining(slabs_, node) ? moves.moved : moves.left);
    if (boxed) set_collection(*node, collection_of(*node)->move_object());
  }
  if (!boxed) {
    place.inside = 0;
    return;
  }
  const MoveStep step = collection_of(*node)->move_blocks(place.inside, limit);
  moves.moved += step.moved;
  moves.left += step.left;
  place.inside = step.next;
}

KeySpace::Moves KeySpace::move_records(MovePlace& place, std::uint64_t steps) {
  constexpr std::uint64_t steps_of_a_slot = 2, steps_of_a_move = 4;
  Moves moves;
  std::uint64_t done = 0;
  ++tables_changed_;
  for (; place.slot < slots_.size(); place = {.slot = place.slot + 1}) {
    if (done >= steps) return moves;
    SlotData& s = slots_[place.slot];
    done += steps_of_a_slot;
    const std::size_t tables = 1 + (s.others ? s.others->tables.size() : 0);
    for (; place.table < tables; place = {.slot = place.slot, .table = place.table + 1}) {
      NodeTable& table = place.table == 0 ? s.records : s.others->tables[place.table - 1].second;
      if (place.group == 0 && place.node == 0 && place.inside == 0 && table.tighten()) {
        ++moves.moved;
        done += table.size();
      }
      for (; place.group < table.groups(); ++place.group, place.node = 0) {
        std::size_t at = 0;
        table.for_group(place.group, [&](Node*& node) {
          if (at++ != place.node || done >= steps) return;
          const Moves before = moves;
          move_record(node, place, steps - done, moves);
          const std::uint64_t moved = moves.moved - before.moved;
          done += moves.left - before.left + moved * (1 + steps_of_a_move);
          if (place.inside == 0) ++place.node;
        });
        if (done >= steps) return moves;
      }
    }
  }
  return moves;
}

std::uint64_t KeySpace::expiring() const {
  std::uint64_t keys = 0;
  for (std::size_t db = 0; db < options_.databases; ++db) keys += counts_[db].expires;
  return keys;
}

void KeySpace::queue_expiry(const Due& due) {
  // The first after a flush: all that the queue still says is of keys that are gone.
  if (!options_.keep_tombstones && due_.size() > 64 && expiring() <= 1)
    std::vector<Due>().swap(due_);
  due_.push_back(due);
  std::push_heap(due_.begin(), due_.end(), std::greater<>());
  // Renewed expiries leave entries behind; past twice what can be due they are swept out.
  const std::uint64_t expires = expiring();
  if (due_.size() < 2 * expires + 4096) return;
  std::erase_if(due_, [this](const Due& d) { return !find_due(d); });
  // Equal entries of one key are one.
  std::sort(due_.begin(), due_.end(), [](const Due& a, const Due& b) {
    return std::tie(a.at_ms, a.hash, a.slot, a.db, a.stub) <
           std::tie(b.at_ms, b.hash, b.slot, b.db, b.stub);
  });
  due_.erase(std::unique(due_.begin(), due_.end(),
                         [](const Due& a, const Due& b) {
                           return a.at_ms == b.at_ms && a.hash == b.hash && a.slot == b.slot &&
                                  a.db == b.db && a.stub == b.stub;
                         }),
             due_.end());
}

std::size_t KeySpace::expire_due(
    UnixMs now, std::size_t limit,
    const std::function<void(Slot, DbIndex, std::string_view)>& expired) {
  std::size_t done = 0;
  while (!due_.empty() && due_.front().at_ms <= now && done < limit) {
    const Due due = due_.front();
    std::pop_heap(due_.begin(), due_.end(), std::greater<>());
    due_.pop_back();
    const Node* record = find_due(due);
    if (!record) continue;
    ++done;
    if (due.stub) {
      make_stub(due, *record);
      continue;
    }
    expired(due.slot, due.db, record->key());
    waits_.changed(due.db, due.hash);
    tracked_.expired(record->key());
    if (options_.keep_tombstones && record_outlives(*record)) {
      end_expiry(due.slot, due.hash, due.db, *record);
    } else if (options_.keep_tombstones) {
      queue_expiry({due.at_ms + options_.stub_grace_ms, due.hash, due.slot, due.db, true});
    } else {
      NodeTable& table = table_for_write(due.slot, due.db);
      drop(due.slot, due.db, table, table.find(record->key(), due.hash), true);
    }
  }
  expired_upto_ = due_.empty() || due_.front().at_ms > now ? now : due_.front().at_ms - 1;
  return done;
}

// The live record that the entry was made for, if it still has that expiry.
Node* KeySpace::find_due(const Due& due) const {
  const NodeTable* table = table_of(due.slot, due.db);
  if (!table) return nullptr;
  const UnixMs expiry = due.at_ms - (due.stub ? options_.stub_grace_ms : 0);
  Node* found = nullptr;
  table->walk(due.hash, [&](Node* n) {
    if (!found && n->has(Node::has_expiry) && n->expiry().at_ms == expiry && record_live(*n) &&
        key_hash(n->key()) == due.hash)
      found = n;
  });
  return found;
}

void KeySpace::end_expiry(Slot slot, std::uint64_t hash, DbIndex db, const Node& record) {
  GYRE_ASSERT(record_outlives(record));
  const std::string key(record.key());
  Effect header;
  header.db = db;
  header.key = key;
  header.floor = header.version = expiry_floor(record.expiry());
  merge(slot, hash, header);
}

// By merging what its stub would say: another replica's stub does the same to it.
void KeySpace::make_stub(const Due& due, const Node& record) {
  const std::string key(record.key());
  Effect stub;
  stub.db = due.db;
  stub.key = key;
  stub.version = record_newest(record);
  stub.floor = record_floor(record);
  stub.expiry = record.expiry();
  stub.expired = true;
  const TypeClaim claim = record_claim(record);
  stub.type = claim.type;
  stub.claim = claim.version;
  merge(due.slot, due.hash, stub);
}

void KeySpace::drop(Slot slot, DbIndex db, NodeTable& table, Node** at, bool store) {
  GYRE_ASSERT(at != nullptr);
  Node* n = *at;
  DbCounts& c = counts_[db.value];
  const bool live = record_live(*n);
  c.keys -= live;
  c.tombstones -= !live;
  c.expires -= live && n->has(Node::has_expiry) && n->expiry().at_ms != 0;
  if (store && options_.persist) {
    row_prefix(row_key_, slot, db, n->key());
    if (n->has(Node::boxed)) {
      rows_.erase_range(row_key_, row_key_ + '\xff');
    } else {
      row_key_.push_back(0);
      rows_.erase(row_key_);
    }
  }
  if (waits_.any()) waits_.changed(db, key_hash(n->key()));
  table.erase(at);
  destroy_record(slabs_, n);
}

}  // namespace gyre
