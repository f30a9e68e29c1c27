// What was stamped far ahead, stamped again (record/restamp.h).

#include <algorithm>

#include "base/hash.h"
#include "shard/keyspace.h"
#include "shard/rows.h"

namespace gyre {

Restamp KeySpace::stamp_again(Version limit, Version above, const Restamp::Time& time,
                              const StampedAgain& told) {
  GYRE_ASSERT(options_.keep_tombstones);
  Restamp again(limit, static_cast<std::uint16_t>(clock_.node() >> 3));
  Effect effect;
  std::vector<Slot> slots;
  Version agreed{};
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(options_.first.value + i)};
    Agreement& a = agreements_[i];
    if (a.confirmed > limit) {  // of a round that never ended
      a.confirmed = a.repaired;
      write_agreement(slot);
    }
    const Version newest = slot_newest(slot);
    if (newest <= limit) {
      again.collect(newest);
      continue;
    }
    slots.push_back(slot);
    agreed = std::max(agreed, a.confirmed);
    for_each_record(slot, [&](DbIndex db, Node* n) {
      record_effect(*n, db, {}, effect);
      again.collect(effect);
    });
    for (std::size_t db = 0; db < options_.databases; ++db)
      again.collect(slot_floor(slot, {static_cast<std::uint8_t>(db)}));
  }
  clock_.set_back(std::max(again.highest_kept(), above));
  clock_.set_started(clock_.peek(time.wall));
  // Not at or below what others may have purged up to.
  HybridClock then(clock_.node());
  then.see(agreed);
  again.draw(then, time);
  clock_.see(then.peek(0));
  for (const Slot slot : slots) restamp(slot, limit, again, told);
  return again;
}

std::vector<Slot> KeySpace::drop_early_stubs(UnixMs wall, Version upto) {
  std::vector<Slot> slots;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(options_.first.value + i)};
    std::vector<std::pair<DbIndex, std::string>> keys;
    for_each_record(slot, [&](DbIndex db, Node* n) {
      if (record_stub(*n) && n->expiry().at_ms > wall && record_newest(*n) <= upto)
        keys.emplace_back(db, n->key());
    });
    for (const auto& [db, key] : keys) {
      const std::uint64_t hash = key_hash(key);
      NodeTable& table = table_for_write(slot, db);
      Node** at = table.find(key, hash);
      add_digest(slot, hash, 0 - record_digest(**at, db));
      drop(slot, db, table, at, true);
    }
    if (keys.empty()) continue;
    set_partial(slot, true);
    slots.push_back(slot);
  }
  return slots;
}

void KeySpace::restamp(Slot slot, Version limit, const Restamp& again, const StampedAgain& told) {
  // The floors first: they are merged into every record.
  for (std::size_t i = 0; i < options_.databases; ++i) {
    const DbIndex db{static_cast<std::uint8_t>(i)};
    const Version floor = slot_floor(slot, db);
    if (floor <= limit || again(floor) == floor) continue;
    auto& floors = data(slot).others->floors;
    const auto at =
        std::find_if(floors.begin(), floors.end(), [&](const auto& f) { return f.first == db; });
    data(slot).digest -= hash64(floor_row(slot, db), floor.bits);
    floors.erase(at);
    raise_floor(slot, db, again(floor));
    told(slot, db, {});
  }
  std::vector<std::pair<DbIndex, std::string>> keys;
  for_each_record(slot, [&](DbIndex db, Node* n) {
    if (record_newest(*n) > limit) keys.emplace_back(db, n->key());
  });
  Effect effect;
  for (const auto& [db, key] : keys) {
    const std::uint64_t hash = key_hash(key);
    NodeTable& table = table_for_write(slot, db);
    Node** at = table.find(key, hash);
    record_effect(**at, db, {}, effect);
    std::string bytes;
    encode_effect(bytes, effect);
    Reader in(bytes);
    GYRE_ASSERT(decode_effect(in, effect));
    add_digest(slot, hash, 0 - record_digest(**at, db));
    drop(slot, db, table, at, true);
    again.rewrite(effect);
    merge(slot, hash, effect);
    told(slot, db, key);
  }
}

}  // namespace gyre
