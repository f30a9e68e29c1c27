// Walk: what fans out over slots (DBSIZE, KEYS, SCAN, RANDOMKEY, FLUSHALL), for one KeySpace.
//
// A walk goes through the slots in ascending order and within a slot in the order of the keys'
// hashes (NodeTable::walk), so a place {slot, hash} splits all keys into those before and those
// after, however much the tables grow or shrink between two calls. Hence SCAN's promise: a key that
// is there from start to end is given out, and exactly once while it keeps its name. Nodes that
// share a table seed share the meaning of a place.
//
//   cursor:  | 0 | 14 bits: slot | 49 bits: the hash's high bits |     0: the start, and the end
//
// A part only stops where the hash's low 15 bits are zero, so a cursor loses nothing of its place.
// Threading: that of the KeySpace. What f is given lives until the space changes; f must not change
// it.
#pragma once

#include <bitset>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "shard/keyspace.h"

namespace gyre {

// The slots that somebody may see; nullptr: all of them.
using SlotSet = std::bitset<slots_total>;
using KeySink = std::function<void(std::string_view key)>;

// Keys that a client can see. On a ring this looks at every record when a filter or an expiry is
// there; otherwise it costs nothing.
std::size_t count_keys(const KeySpace& space, DbIndex db, const SlotSet* slots, UnixMs now);

void keys_matching(const KeySpace& space, DbIndex db, const SlotSet* slots,
                   std::string_view pattern, UnixMs now, const KeySink& f);

// Where a walk goes on: at the first key of `slot` whose hash is not below `hash`.
struct ScanPlace {
  Slot slot{};
  std::uint64_t hash = 0;
  bool done = false;  // nothing is left up to the last slot

  bool operator==(const ScanPlace&) const = default;
};

struct ScanFilter {
  std::string_view match{};  // a pattern; a view without data: any key
  std::string_view type{};   // as TYPE names it, in any case of letters; without data: any
  bool takes(const Node& record) const;
};

// Looks at about `count` records (at least one group of them, if any is left) from `from` on, up to
// the slot `last` and including it, and gives out those that are visible and pass the filter.
ScanPlace scan_part(const KeySpace& space, DbIndex db, ScanPlace from, Slot last,
                    const SlotSet* slots, std::size_t count, const ScanFilter& filter, UnixMs now,
                    const KeySink& f);

std::uint64_t cursor_of(const ScanPlace& place);
// Any number is a cursor; those that nobody gave out mean some place too.
ScanPlace place_of(std::uint64_t cursor);

// A visible key, each with about the same probability; nothing when there is none.
std::optional<std::string> random_key(const KeySpace& space, DbIndex db, const SlotSet* slots,
                                      UnixMs now, Random& random);

// FLUSHDB for one slot: everything at or below `version` is dead. Returns the records dropped.
std::size_t flush(KeySpace& space, Slot slot, DbIndex db, Version version);

}  // namespace gyre
