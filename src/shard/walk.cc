#include "shard/walk.h"

#include <algorithm>

#include "base/glob.h"
#include "base/hash.h"
#include "base/numbers.h"

namespace gyre {
namespace {

constexpr unsigned hash_bits = 49;  // of a cursor; 14 for the slot above them
constexpr unsigned low_bits = 64 - hash_bits;
constexpr std::uint64_t low_mask = (std::uint64_t{1} << low_bits) - 1;

bool visible(const Node& n, UnixMs now) {
  return record_live(n) && !record_expired(n, now);
}

// Calls f(slot, table) for each table that has records, until f returns false.
template <class F>
void for_each_table(const KeySpace& space, DbIndex db, const SlotSet* slots, F&& f) {
  const std::size_t first = space.first_slot().value;
  for (std::size_t s = first; s < first + space.slot_count(); ++s) {
    if (slots && !slots->test(s)) continue;
    const Slot slot{static_cast<std::uint16_t>(s)};
    const NodeTable* table = space.table_of(slot, db);
    if (table && table->size() > 0 && !f(slot, *table)) return;
  }
}

// One step of a walk through a table, from `from` on: gives out the nodes of one group and answers
// where the next begins; 0 at the table's end.
template <class F>
std::uint64_t step(const NodeTable& table, std::uint64_t from, F&& f) {
  // When the table changed its size the group may begin before `from`; that part was given out.
  std::uint64_t next = table.walk(from, [&](Node* n) {
    if (from == 0 || key_hash(n->key()) >= from) f(n);
  });
  if ((next & low_mask) == 0) return next;
  // Rounded up to what a cursor holds, with what lies between; a group spans far more than that
  // (2^32 hashes at least), so this stays inside it. Rounded down, the next step would be this one
  // again, for ever.
  const std::uint64_t rounded = (next | low_mask) + 1;
  table.walk(next, [&](Node* n) {
    const std::uint64_t hash = key_hash(n->key());
    if (hash >= next && hash < rounded) f(n);
  });
  return rounded;
}

}  // namespace

std::size_t count_keys(const KeySpace& space, DbIndex db, const SlotSet* slots, UnixMs now) {
  const bool expired_stay = space.options().keep_tombstones && space.counts(db).expires > 0;
  if (!slots && !expired_stay) return space.counts(db).keys;
  std::size_t keys = 0;
  for_each_table(space, db, slots, [&](Slot slot, const NodeTable&) {
    keys += space.keys_in(slot, db, now);
    return true;
  });
  return keys;
}

void keys_matching(const KeySpace& space, DbIndex db, const SlotSet* slots,
                   std::string_view pattern, UnixMs now, const KeySink& f) {
  const bool all = pattern == "*";
  for_each_table(space, db, slots, [&](Slot, const NodeTable& table) {
    return table.for_each([&](Node* n) {
      if (visible(*n, now) && (all || glob_match(pattern, n->key()))) f(n->key());
      return true;
    });
  });
}

bool ScanFilter::takes(const Node& record) const {
  if (type.data() && !equals_ignore_case(type, type_spec(record_type(record)).name)) return false;
  return !match.data() || glob_match(match, record.key());
}

// NOLINTNEXTLINE(readability-function-size): SCAN has these parameters
ScanPlace scan_part(const KeySpace& space, DbIndex db, ScanPlace from, Slot last,
                    const SlotSet* slots, std::size_t count, const ScanFilter& filter, UnixMs now,
                    const KeySink& f) {
  const std::size_t first_owned = space.first_slot().value;
  const std::size_t end =
      std::min<std::size_t>(last.value + std::size_t{1}, first_owned + space.slot_count());
  std::size_t seen = 0;
  std::uint64_t hash = from.slot.value >= first_owned ? from.hash : 0;
  for (std::size_t s = std::max<std::size_t>(from.slot.value, first_owned); s < end;
       ++s, hash = 0) {
    if (slots && !slots->test(s)) continue;
    const Slot slot{static_cast<std::uint16_t>(s)};
    if (seen >= count && seen > 0) return {.slot = slot, .hash = hash};
    const NodeTable* table = space.table_of(slot, db);
    if (!table || table->size() == 0) continue;
    do {
      if (seen >= count && seen > 0) return {.slot = slot, .hash = hash};
      hash = step(*table, hash, [&](Node* n) {
        ++seen;
        if (visible(*n, now) && filter.takes(*n)) f(n->key());
      });
    } while (hash != 0);
  }
  return {.slot = last, .hash = 0, .done = true};
}

std::uint64_t cursor_of(const ScanPlace& place) {
  if (place.done) return 0;
  GYRE_ASSERT((place.hash & low_mask) == 0);
  return std::uint64_t{place.slot.value} << hash_bits | place.hash >> low_bits;
}

ScanPlace place_of(std::uint64_t cursor) {
  const std::uint64_t slot = cursor >> hash_bits;
  if (slot >= slots_total) return {.slot = Slot{slots_total - 1}, .done = true};
  return {.slot = Slot{static_cast<std::uint16_t>(slot)}, .hash = cursor << low_bits};
}

std::optional<std::string> random_key(const KeySpace& space, DbIndex db, const SlotSet* slots,
                                      UnixMs now, Random& random) {
  std::uint64_t records = 0;
  for_each_table(space, db, slots, [&](Slot, const NodeTable& table) {
    records += table.size();
    return true;
  });
  if (records == 0) return std::nullopt;
  // Dead and expired records take part in the draw; a few rounds almost always find a visible one.
  for (int round = 0; round < 32; ++round) {
    std::uint64_t rank = random.below(records);
    const Node* drawn = nullptr;
    for_each_table(space, db, slots, [&](Slot, const NodeTable& table) {
      if (rank >= table.size()) {
        rank -= table.size();
        return true;
      }
      drawn = table.random([&] { return random.next(); });
      return false;
    });
    if (drawn && visible(*drawn, now)) return std::string(drawn->key());
  }
  // Few are visible: take one of them evenly, at the price of looking at all.
  std::optional<std::string> chosen;
  std::uint64_t candidates = 0;
  for_each_table(space, db, slots, [&](Slot, const NodeTable& table) {
    return table.for_each([&](Node* n) {
      if (visible(*n, now) && random.below(++candidates) == 0) chosen.emplace(n->key());
      return true;
    });
  });
  return chosen;
}

std::size_t flush(KeySpace& space, Slot slot, DbIndex db, Version version) {
  return space.raise_floor(slot, db, version);
}

}  // namespace gyre
