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
#include "base/prefetch.h"
#include "persist/store_batch.h"
#include "record/apply.h"
#include "record/node_table.h"
#include "record/restamp.h"
#include "record/version.h"
#include "shard/access.h"
#include "shard/key_waits.h"
#include "shard/leaf_sums.h"
#include "shard/tracked_keys.h"

namespace gyre {

struct KeySpaceOptions {
  Slot first{0};
  std::size_t slots = slots_total;  // [first, first + slots)
  std::size_t databases = 16;
  bool persist = false;
  bool keep_tombstones = false;  // replication factor over 1
  std::uint16_t clock_node = 0;
  // With keep_tombstones: an expired record drops its elements when its expiry is older than this.
  std::int64_t stub_grace_ms = 0;
  // With keep_tombstones: sums of counters opened so long before T are closed (record/purge.h).
  std::int64_t sum_life_ms = 120'000;
};

struct DbCounts {
  std::uint64_t keys = 0;
  std::uint64_t expires = 0;
  std::uint64_t tombstones = 0;  // records that are only remembered
};

// Where a walk over all tables is: a slot counted from the first, a table of it, a group of that, a
// node of the group and how far its collection was seen.
struct MovePlace {
  std::size_t slot = 0, table = 0, group = 0, node = 0;
  std::uint64_t inside = 0;
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

  // Where a lookup ended: it is not made again for the merge that follows, when nothing was merged
  // anywhere since.
  class Found {
   public:
    Found() = default;
    Node* node() const { return at_ ? *at_ : nullptr; }

   private:
    friend class KeySpace;
    Found(Node** at, DbIndex db, std::uint64_t changes) : at_(at), changes_(changes), db_(db) {}
    Node** at_ = nullptr;
    std::uint64_t changes_ = 0;  // as tables_changed_; 0: none
    DbIndex db_{};
  };
  Found locate(Slot slot, DbIndex db, std::string_view key, std::uint64_t hash) const {
    const NodeTable* table = table_of(slot, db);
    return {table ? table->find(key, hash) : nullptr, db, tables_changed_};
  }
  // The record, dead or alive, or nullptr. The pointer holds until the next merge into this slot.
  Node* find(Slot slot, DbIndex db, std::string_view key, std::uint64_t hash) const {
    return locate(slot, db, key, hash).node();
  }
  // That of database 0, which stays where it is.
  const NodeTable& first_table(Slot slot) const { return slots_[index_of(slot)].records; }
  // Three steps to a record that is not in the cache yet, each for the next: its slot, its group,
  // itself.
  void prefetch_slot(Slot slot) const {
    prefetch(&slots_[index_of(slot)]);
    if (leaves_.empty()) return;
    prefetch(&leaves_[index_of(slot)]);
    prefetch(&agreements_[index_of(slot)]);
  }
  void prefetch_group(Slot slot, DbIndex db, std::uint64_t hash) const {
    prefetch_leaf(slot, hash);
    if (const NodeTable* table = table_of(slot, db)) table->prefetch_group(hash);
  }
  void prefetch_leaf(Slot slot, std::uint64_t hash) const {
    if (!leaves_.empty()) leaves_[index_of(slot)].prefetch_for(hash);
  }
  void prefetch_node(Slot slot, DbIndex db, std::uint64_t hash) const {
    if (const NodeTable* table = table_of(slot, db)) table->prefetch_node(hash);
  }

  // Merges an effect into its record. The result is valid until the next merge. `store` false: what
  // comes from the store itself.
  const ApplyResult& merge(Slot slot, std::uint64_t hash, const Effect& effect, bool store = true);
  // Where its record was found just now.
  const ApplyResult& merge(Slot slot, std::uint64_t hash, const Effect& effect, const Found& found);
  // A new value for the string that was found: what merging an overwrite comes to where nothing of
  // its effect is needed (no replicas). False: nothing was done, it must be merged.
  bool overwrite_in_place(Slot slot, std::string_view key, const Found& found,
                          std::string_view value, Version version) {
    if (options_.keep_tombstones || found.changes_ != tables_changed_ || data(slot).others ||
        tracked_.any())
      return false;
    Node* const n = found.node();
    if (!n || !takes_in_place(*n, value.size(), version)) return false;
    put_in_place(*n, value, version);
    if (!access_.frequency()) access_.begin(*n);
    if (options_.persist) write_header_row(slot, found.db_, key, *n);
    return true;
  }
  // Raises the floor of (slot, db): everything at or below it is dead. Returns the records dropped.
  std::size_t raise_floor(Slot slot, DbIndex db, Version floor, bool store = true);
  Version slot_floor(Slot slot, DbIndex db) const;
  // What a record that is not there may have been, at most: its tombstone is purged or covered.
  Version absent_since(Slot slot, DbIndex db) const {
    const Version floor = slot_floor(slot, db);
    return std::max(floor, repaired(slot));
  }
  // Above everything that the slot holds, in all databases; walks it.
  Version slot_newest(Slot slot) const;

  const NodeTable* table_of(Slot slot, DbIndex db) const {
    const SlotData& s = slots_[static_cast<std::size_t>(slot.value - options_.first.value)];
    if (db.value == 0) return s.records.size() ? &s.records : nullptr;
    return other_table(s, db);
  }

  // Every table of the slot: f(DbIndex, const NodeTable&); in the order of the databases, which two
  // replicas share.
  template <class F>
  void for_each_table(Slot slot, F f) const {
    const SlotData& s = slots_[index_of(slot)];
    if (s.records.size()) f(DbIndex{0}, s.records);
    if (!s.others) return;
    for (std::size_t db = 1; db <= options_.databases; ++db) {
      const DbIndex index =
          db < options_.databases ? DbIndex{static_cast<std::uint8_t>(db)} : prepared_db;
      if (const NodeTable* table = other_table(s, index)) f(index, *table);
    }
  }

  template <class F>
  void for_each_record(Slot slot, F f) const {
    for_each_table(slot, [&](DbIndex db, const NodeTable& table) {
      table.for_each([&](Node* n) {
        f(db, n);
        return true;
      });
    });
  }

  const DbCounts& counts(DbIndex db) const { return counts_[db.value]; }
  std::size_t databases() const { return options_.databases; }
  // One that records may be of: a client's, or the node's own.
  bool has_database(DbIndex db) const { return db.value < options_.databases || db == prepared_db; }
  std::uint64_t slot_digest(Slot slot) const {
    return slots_[static_cast<std::size_t>(slot.value - options_.first.value)].digest;
  }
  std::size_t keys_in(Slot slot, DbIndex db, UnixMs now) const;

  // ---- agreement with other replicas (rings only; files agreement.cc, and sync/ above)

  // What a slot has settled with its other replicas.
  struct Agreement {
    Version repaired{};   // T: every replica has confirmed everything up to here; purged here
    Version confirmed{};  // the last T that this replica has confirmed
    // The lowest version merged since the slot was last compared for a round.
    Version low{};
    std::uint32_t dead = 0;  // tombstones and dead records merged since the last purge, about
    bool partial = false;    // lacks acknowledged state, and did so before a restart as well
    Version open_sum{};      // not above the lowest id of a counter's sum that was not folded yet
  };
  // With one replica there is nothing to settle.
  const Agreement& agreement(Slot slot) const {
    static constexpr Agreement nothing{};
    return agreements_.empty() ? nothing : agreements_[index_of(slot)];
  }
  Version repaired(Slot slot) const {
    return agreements_.empty() ? Version{} : agreements_[index_of(slot)].repaired;
  }
  const LeafSums& leaves(Slot slot) const { return leaves_[index_of(slot)]; }
  // From now on `low` tells what was merged behind a comparison.
  void watch_merges(Slot slot) { agreements_[index_of(slot)].low = {~std::uint64_t{0}}; }
  // Remembers, durably with the turn, that this replica holds everything up to here.
  void confirm(Slot slot, Version upto);
  // T: forgets what all replicas know, in the same turn. Never goes back.
  void set_repaired(Slot slot, Version upto);
  // Sums of counters whose ids lie at or below it are closed by then: a node goes on with one for
  // half of their life, and stamps such a write again for another quarter at most, so every replica
  // that agrees up to T holds their last change.
  Version closed_sums(Version upto) const {
    return Version::below_ms(upto.ms() - options_.sum_life_ms);
  }
  bool sum_open(Version id, Version now) const {
    return now.ms() - id.ms() <= options_.sum_life_ms / 2;
  }
  bool sum_may_be_stamped_again(Version id, Version now) const {
    return now.ms() - id.ms() <= options_.sum_life_ms / 4 * 3;
  }
  // This copy lacks state that others have acknowledged: what it holds up to `upto`, others may
  // have purged, so it goes; the rest comes by comparing. Returns the records touched.
  std::size_t start_over(Slot slot, Version upto);
  void set_partial(Slot slot, bool partial);
  void load_agreement(Slot slot, Version repaired, Version confirmed, bool partial);
  // Recomputes the slot's digest and leaves from its records; false when what is kept differs.
  bool verify_digest(Slot slot) const;
  std::size_t records_in(Slot slot) const;

  // A record drawn at random; no node: none was found, which may be chance where most slots are
  // empty, or most expiries outdated.
  struct Place {
    Slot slot{};
    DbIndex db{};
    std::uint64_t hash = 0;
    Node* node = nullptr;
  };
  Place draw(Random& random) const;
  Place draw_in(Slot slot, Random& random) const;
  Place draw_expiring(Random& random) const;
  // Removes a record for good; not where there are replicas, which would bring it back.
  void forget(Slot slot, DbIndex db, std::string_view key, std::uint64_t hash);

  // Who waits for keys of this shard; told of every change.
  KeyWaits& waits() { return waits_; }
  TrackedKeys& tracked() { return tracked_; }

  // Parts of transactions that were merged, their slots and keys, since they were taken last.
  using PartsTouched = std::vector<std::pair<Slot, std::string>>;
  PartsTouched take_parts_touched() { return std::exchange(parts_touched_, {}); }
  bool parts_touched() const { return !parts_touched_.empty(); }

  AccessClock& access() { return access_; }
  const AccessClock& access() const { return access_; }

  // Removes up to `limit` records whose expiry has passed, calling expired(slot, db, key) for each.
  // With replicas they stay, hidden, until that is stub_grace_ms ago; then a stub is left of them.
  std::size_t expire_due(UnixMs now, std::size_t limit,
                         const std::function<void(Slot, DbIndex, std::string_view)>& expired);

  // Whether expire_due() has called its function for a record with this expiry.
  bool expiry_told(UnixMs at) const { return at <= expired_upto_; }

  // Of a record that outlives its expiry, which has passed: what that covers goes. Every replica
  // does so by itself.
  void end_expiry(Slot slot, std::uint64_t hash, DbIndex db, const Node& record);

  // Stamps again whatever lies above the limit, and sets the clock back: later stamps lie above
  // `above` and all that is there. Walks all records: for a node whose clock was wrong. Told of
  // each key, or of a slot's floor (no key).
  using StampedAgain = std::function<void(Slot, DbIndex, std::string_view key)>;
  Restamp stamp_again(Version limit, Version above, const Restamp::Time& time,
                      const StampedAgain& told);

  // A clock that was ahead made stubs of records that live on elsewhere: those that hold nothing
  // above `upto` are dropped, and their slots, now partial, told.
  std::vector<Slot> drop_early_stubs(UnixMs wall, Version upto);

  // Merges that changed something, and keys that a flush removed, so far; not what was loaded.
  std::uint64_t changes() const { return changes_; }
  // Records that became stubs so far.
  std::uint64_t stubs_made() const { return stubs_made_; }

  // A walk over all blocks that may be moved, in pieces (shard/defrag.h): from `place` on about
  // `steps` of them, each that is moved counting for several. At the end place.slot is
  // slot_count(). Keys and elements that come or move meanwhile may be missed.
  struct Moves {
    std::uint64_t moved = 0, left = 0;
  };
  Moves move_records(MovePlace& place, std::uint64_t steps);

  // The rows written since the last take, for the store.
  StoreBatch& rows() { return rows_; }
  Slabs& slabs() { return slabs_; }
  // Room for the changes of one effect after the other.
  std::vector<Change> lend_changes() { return std::move(spare_changes_); }
  void return_changes(std::vector<Change>&& changes) {
    if (changes.capacity() > Effect::spare_changes) return;
    changes.clear();
    spare_changes_ = std::move(changes);
  }
  HybridClock& clock() { return clock_; }
  const HybridClock& clock() const { return clock_; }
  // Bytes of all records, their tables and the queue of expiries.
  std::size_t memory_used() const { return slabs_.used() + due_.capacity() * sizeof(Due); }

  // Every record of a database, dead or alive: f(Node&).
  template <class F>
  void for_each_of(DbIndex db, F f) const {
    for (std::size_t i = 0; i < options_.slots; ++i) {
      const Slot slot{static_cast<std::uint16_t>(options_.first.value + i)};
      if (const NodeTable* table = table_of(slot, db)) {
        table->for_each([&](Node* n) {
          f(*n);
          return true;
        });
      }
    }
  }

  // Called with every version merged, so that the clock's stamps lie above them.
  void see(Version v) { clock_.see(v); }

 private:
  struct Others {
    std::vector<std::pair<DbIndex, NodeTable>> tables;
    std::vector<std::pair<DbIndex, Version>> floors;
  };
  struct SlotData {
    explicit SlotData(Slabs& slabs) : records(slabs) {}
    NodeTable records;  // database 0
    std::unique_ptr<Others> others;
    std::uint64_t digest = 0;
  };
  struct Due {
    UnixMs at_ms;  // of the record's expiry; of one that is to become a stub: later by the grace
    std::uint64_t hash;
    Slot slot;
    DbIndex db;
    bool stub = false;
    bool operator>(const Due& o) const { return at_ms > o.at_ms; }
  };

  static constexpr std::size_t draws_at_random = 64;

  void move_record(Node*& node, MovePlace& place, std::uint64_t limit, Moves& moves);
  std::size_t index_of(Slot slot) const {
    return static_cast<std::size_t>(slot.value - options_.first.value);
  }
  SlotData& data(Slot slot) { return slots_[index_of(slot)]; }
  // Every change of a record's digest goes through here.
  void add_digest(Slot slot, std::uint64_t hash, std::uint64_t delta) {
    data(slot).digest += delta;
    leaves_[index_of(slot)].add(hash, delta);
  }
  // What was merged, for `low` and `dead`.
  void note_merge(Slot slot, const Effect& effect, const ApplyResult& r, const Node* record);
  void write_agreement(Slot slot);
  void purge(Slot slot, Version upto);
  void grow_leaves(Slot slot);
  static const NodeTable* other_table(const SlotData& s, DbIndex db);
  // Whoever changes a table, if only where a record hangs, gets it here.
  NodeTable& table_for_write(Slot slot, DbIndex db) {
    ++tables_changed_;
    return db.value == 0 ? data(slot).records : other_table_for_write(slot, db);
  }
  NodeTable& other_table_for_write(Slot slot, DbIndex db);
  const ApplyResult& merge_at(NodeTable& table, Node** at, Slot slot, std::uint64_t hash,
                              const Effect& effect, bool store);
  void write_header_row(Slot slot, DbIndex db, std::string_view key, const Node& record);
  void write_rows(Slot slot, const Effect& effect, const Node* record, const ApplyResult& r);
  void count(DbIndex db, const ApplyResult& r, bool was_record, bool is_record);
  std::uint64_t expiring() const;  // live keys with an expiry, in all databases
  void queue_expiry(const Due& due);
  Node* find_due(const Due& due) const;
  void make_stub(const Due& due, const Node& record);
  void restamp(Slot slot, Version limit, const Restamp& again, const StampedAgain& told);
  void drop(Slot slot, DbIndex db, NodeTable& table, Node** at, bool store);

  KeySpaceOptions options_;
  Slabs slabs_;
  std::vector<SlotData> slots_;
  std::vector<Agreement> agreements_;  // these two are empty without keep_tombstones
  std::vector<LeafSums> leaves_;
  std::array<DbCounts, 256> counts_{};
  HybridClock clock_;
  AccessClock access_;
  KeyWaits waits_;
  TrackedKeys tracked_;
  PartsTouched parts_touched_;
  StoreBatch rows_;
  ApplyResult result_;
  std::uint64_t tables_changed_ = 1;
  std::uint64_t changes_ = 0, stubs_made_ = 0;
  UnixMs expired_upto_ = 0;
  std::vector<Due> due_;  // a heap, soonest first; entries that no longer match are skipped
  std::string row_key_, row_value_;
  std::vector<Change> spare_changes_;
};

}  // namespace gyre
