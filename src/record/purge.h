// Purge: forgetting what every replica knows.
//
// T of a slot (repaired-upto, design, section 9) says that all replicas hold the same state up to
// it. What only has to be remembered for others then goes: tombstones at or below T, records of
// which nothing newer is left, floors and cleared expiry registers at or below T. It is a function
// of the record's state alone, so replicas that purge to the same T stay equal.
//
// Counter sums that are closed (their ids lie sum_life_ms below T: nobody adds to them any more)
// are folded into the base, which takes the last of their ids as its version: what counts above it
// still does, and they are dead wherever they turn up again.
//
// What lies at or below T and comes from another node afterwards is known here already, or was
// purged: strip_known() takes it out of an effect before it is merged.
#pragma once

#include <string>
#include <vector>

#include "record/record.h"

namespace gyre {

struct PurgeBound {
  Version upto{};  // T
  Version sums{};  // sums whose ids lie at or below it are closed
};

struct PurgeResult {
  bool gone = false;                 // the record is; its Node was released
  bool header_changed = false;       // floor, expiry register or shape
  std::vector<std::string> changed;  // ids of elements that are gone or stand otherwise now
  std::uint64_t digest_delta = 0;
};

// Whether purge_record may change something. Cheap but for collections with tombstones or numbers.
bool purgeable(const Node& record, const PurgeBound& bound);
// The lowest id of a sum above the bound; zero: the record has none.
Version oldest_open_sum(const Node& record, Version closed);
// Returns the record, perhaps in another allocation; nullptr when it is gone.
Node* purge_record(Node* record, DbIndex db, const PurgeBound& bound, Slabs& slabs,
                   PurgeResult& result);

// Takes what lies at or below T out of an effect. False when nothing is left. Not for a `whole` one
// that meets a stub: what its replica has dropped may well be older.
bool strip_known(Effect& effect, Version upto);

}  // namespace gyre
