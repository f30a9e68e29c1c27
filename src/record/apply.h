// apply: the only merge in the house.
//
// Client writes, replication, hints, read repair, sync and recovery all go through it. It is
// commutative, associative and idempotent (tests/unit/record/apply_test.cc draws random effects of
// every type); it knows no type, only cells (record/cell.h) and floors (design, section 5):
//
//   floor     the higher; what lies at or below it is dead
//   type      belongs to the highest version above the floor; the floor rises to the highest
//   version
//             of any other type
//   expiry    the register with the higher version, if above the floor
//   element   the higher version; counter sums by their ids
//
// Stubs of expired records (design, section 5) are the one exception, because a replica that has
// dropped the elements cannot merge with what revives them. They keep their type and its claim, so
// that types are settled with them as with what they stand for (record_claim); then:
//
//   record      effect      merged register is        outcome
//   stub        any         dead, floor >= newest     nothing is missing: an ordinary merge
//   stub        normal      the stub's own            stays a stub, newest rises: what was written
//                                                     is as expired as the rest. What outlives the
//                                                     expiry (expiry_floor): the floor rises to
//                                                     what that covers, and the rest is an ordinary
//                                                     merge
//   stub        normal      another, or dead          `whole`: the effect's content. Else `hollow`:
//                                                     the record stays as it was, and whoever sent
//                                                     the effect is asked for all of it
//   stub        expired     one of the two            a stub, newest the higher
//   any, none   expired     the effect's              a stub: it expired long enough ago
//   everywhere.
//                                                     What outlives the expiry stays, as above
//   any, none   expired     another, or dead          the floor alone is merged
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "record/record.h"

namespace gyre {

struct ApplyOptions {
  // False where nobody else needs to learn of removals (replication factor 1): a removed element
  // and a dead record then leave nothing.
  bool keep_tombstones = false;
  bool digests = false;  // compute digest_delta
  Version floor{};       // of the record's slot and database (FLUSHALL, FLUSHDB)
};

struct ApplyOutcome {
  bool changed = false;         // anything at all
  bool header_changed = false;  // type, floor or expiry changed, or the record is new
  bool floor_raised = false, expiry_changed = false;
  bool wiped = false;       // every element that was there before is gone (a range delete on disk)
  bool hollow = false;      // not merged: the record is a stub and the effect not whole
  bool stubbed = false;     // the record became a stub
  bool in_place = false;    // a live string got a new value, and nothing else of it changed
  bool stands = true;       // each change stands now, or under a later write of its own node
  Version newest_before{};  // of the record; zero when there was none
  bool live_before = false, live_after = false;
  UnixMs expiry_before = 0, expiry_after = 0;
  std::uint64_t digest_delta = 0;
};

// Kept from merge to merge, for the room of its lists.
struct ApplyResult : ApplyOutcome {
  std::vector<std::uint32_t> taken;  // indexes into effect.changes that changed an element
  std::vector<std::string> removed;  // ids of elements of which a floor dropped something

  void clear() {
    static_cast<ApplyOutcome&>(*this) = {};
    taken.clear();
    removed.clear();
  }
};

// The commonest merge: a live string without expiry gets a newer value that takes the same block.
// Where no floor of its slot lies above the record and nobody asks for digests, that is all.
inline bool takes_in_place(const Node& n, std::size_t value_size, Version version) {
  constexpr unsigned shapes =
      Node::has_expiry | Node::boxed | Node::tombstone | Node::sums | Node::floored;
  return stored_type(n) == TypeId::string && (n.flags() & shapes) == 0 && version > n.version &&
         n.fits(value_size, 0);
}
inline void put_in_place(Node& n, std::string_view value, Version version) {
  n.version = version;
  n.resize_in_place(value.size());
  std::memcpy(n.value_data(), value.data(), value.size());
}

// Merges `effect` into `record` (nullptr: there is none) and returns the record, perhaps in another
// allocation; the old pointer is then no longer valid. Without keep_tombstones it returns nullptr
// when nothing is left. No view in the effect points into this record. The effect was checked by
// valid_effect() if it came from outside.
Node* apply(Node* record, const Effect& effect, const ApplyOptions& options, Slabs& slabs,
            ApplyResult& result);

// Whether a decoded effect makes sense: ids of the type's shape, no change at or above its
// version's bound. Effects from peers and from disk are checked before they are believed.
bool valid_effect(const Effect& effect);

}  // namespace gyre
