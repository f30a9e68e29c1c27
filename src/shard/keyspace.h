// KeySpace: the slots of one shard in memory, and the one place where records change.
//
// Every change is merge(): apply, then the table, the counts, the expiry queue, the slot's digest
// and the rows for the store. Commands reach it through CommandContext (shard/command.h);
// replication, hints, repair, sync and recovery call it directly.
//
// Ownership: owns all records. Threading: its shard's thread alone, or another one while the whole
// node is held by a barrier (design, section 11).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "persist/store_batch.h"
#include "record/apply.h"
#include "record/node_table.h"
#include "record/version.h"

namespace gyre {

struct KeySpaceOptions {
  Slot first{0};
  std::size_t slots = slots_total;  // [first, first + slots)
  std::size_t databases = 16;
  bool persist = false;
  bool keep_tombstones = false;  // replication factor over 1
  std::uint16_t clock_node = 0;
};

struct DbCounts {
  std::uint64_t keys = 0;
  std::uint64_t expires = 0;
  std::uint64_t tombstones = 0;  // records that are only remembered
};

class KeySpace {
 public:
  explicit KeySpace(const KeySpaceOptions& options);
  KeySpace(const KeySpace&) = delete;
  KeySpace& operator=(const KeySpace&) = delete;
  ~KeySpace();

  bool owns(Slot slot) const {
    return slot.value >= options_.first.value &&
           slot.value - options_.first.value < static_cast<int>(options_.slots);
  }
  Slot first_slot() const { return options_.first; }
  std::size_t slot_count() const { return options_.slots; }
  const KeySpaceOptions& options() const { return options_; }

  // The record, dead or alive, or nullptr. The pointer holds until the next merge into this slot.
  Node* find(Slot slot, DbIndex db, std::string_view key, std::uint64_t hash) const {
    const NodeTable* table = table_of(slot, db);
    if (!table) return nullptr;
    Node** at = table->find(key, hash);
    return at ? *at : nullptr;
  }
  void prefetch_group(Slot slot, DbIndex db, std::uint64_t hash) const {
    if (const NodeTable* table = table_of(slot, db)) table->prefetch_group(hash);
  }
  void prefetch_node(Slot slot, DbIndex db, std::uint64_t hash) const {
    if (const NodeTable* table = table_of(slot, db)) table->prefetch_node(hash);
  }

  // Merges an effect into its record. The result is valid until the next merge. `store` false: what
  // comes from the store itself.
  const ApplyResult& merge(Slot slot, std::uint64_t hash, const Effect& effect, bool store = true);
  // Raises the floor of (slot, db): everything at or below it is dead. Returns the records dropped.
  std::size_t raise_floor(Slot slot, DbIndex db, Version floor, bool store = true);
  Version slot_floor(Slot slot, DbIndex db) const;
  // Above everything that the slot holds, in all databases; walks it.
  Version slot_newest(Slot slot) const;

  const NodeTable* table_of(Slot slot, DbIndex db) const {
    const SlotData& s = slots_[static_cast<std::size_t>(slot.value - options_.first.value)];
    if (db.value == 0) return s.records.size() ? &s.records : nullptr;
    return other_table(s, db);
  }

  const DbCounts& counts(DbIndex db) const { return counts_[db.value]; }
  std::size_t databases() const { return options_.databases; }
  std::uint64_t slot_digest(Slot slot) const {
    return slots_[static_cast<std::size_t>(slot.value - options_.first.value)].digest;
  }
  std::size_t keys_in(Slot slot, DbIndex db, UnixMs now) const;

  // Removes up to `limit` records whose expiry has passed, calling expired(slot, db, key) for each;
  // with replicas their bytes stay until T covers them, and they only stop being counted.
  std::size_t expire_due(UnixMs now, std::size_t limit,
                         const std::function<void(Slot, DbIndex, std::string_view)>& expired);

  // The rows written since the last take, for the store.
  StoreBatch& rows() { return rows_; }
  Slabs& slabs() { return slabs_; }
  HybridClock& clock() { return clock_; }
  std::size_t memory_used() const { return slabs_.used(); }

  // Called with every version merged, so that the clock's stamps lie above them.
  void see(Version v) { clock_.see(v); }

 private:
  struct Others {
    std::vector<std::pair<DbIndex, NodeTable>> tables;
    std::vector<std::pair<DbIndex, Version>> floors;
  };
  struct SlotData {
    NodeTable records;  // database 0
    std::unique_ptr<Others> others;
    std::uint64_t digest = 0;
  };
  struct Due {
    UnixMs at_ms;
    std::uint64_t hash;
    Slot slot;
    DbIndex db;
    bool operator>(const Due& o) const { return at_ms > o.at_ms; }
  };

  SlotData& data(Slot slot) {
    return slots_[static_cast<std::size_t>(slot.value - options_.first.value)];
  }
  static const NodeTable* other_table(const SlotData& s, DbIndex db);
  NodeTable& table_for_write(Slot slot, DbIndex db);
  void write_rows(Slot slot, const Effect& effect, const Node* record, const ApplyResult& r);
  void count(DbIndex db, const ApplyResult& r, bool was_record, bool is_record);
  void queue_expiry(const Due& due);
  void drop(Slot slot, DbIndex db, NodeTable& table, Node** at, bool store);

  KeySpaceOptions options_;
  Slabs slabs_;
  std::vector<SlotData> slots_;
  std::array<DbCounts, 256> counts_{};
  HybridClock clock_;
  StoreBatch rows_;
  ApplyResult result_;
  std::vector<Due> due_;  // a heap, soonest first; entries that no longer match are skipped
  std::string row_key_, row_value_;
};

}  // namespace gyre
