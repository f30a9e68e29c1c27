// Record: all that is known of one key, as a Node whose value is a string or a boxed Collection.
//
// Four shapes (record/node.h has the layout):
//   string      Node.version is the base's version. Unless `floored`, the floor is just below it,
//               as an overwrite leaves it; then only key and value take memory.
//   collection  Node.version is the newest version of anything in it; the floor is the
//               Collection's.
//   none        Nothing above the floor is left (a deleted key); Node.version is the floor.
//   stub        What an expired record leaves on a ring: none and `floored`, with its expiry
//               register, which lies above the floor. Node.version is the newest version of
//               anything that it held. Its value: the floor, the type as a byte, and the type's
//               claim where that is not the newest version (record_claim). The elements themselves
//               were dropped, so whoever revives it has to learn them from a replica that still
//               has them (record/apply.h).
//
// "Live" means that a client can see it, expiry aside.
#pragma once

#include "record/collection.h"
#include "record/effect.h"
#include "record/node.h"

namespace gyre {

// The raw type, also of a collection whose elements are all tombstones.
inline TypeId stored_type(const Node& n) {
  return static_cast<TypeId>(n.type());
}

inline Collection* collection_of(const Node& n) {
  GYRE_ASSERT(n.has(Node::boxed));
  Collection* c;
  std::memcpy(&c, n.value().data(), sizeof c);
  return c;
}

inline void set_collection(Node& n, Collection* c) {
  GYRE_ASSERT(n.has(Node::boxed));
  std::memcpy(n.value_data(), &c, sizeof c);
}

// The record expired long ago and its elements were dropped.
inline bool record_stub(const Node& n) {
  return stored_type(n) == TypeId::none && n.has(Node::floored);
}

// The string's cell: base and sums. Only for string records.
inline Cell string_cell(const Node& n) {
  std::string_view stored = n.value();
  if (n.has(Node::floored)) stored.remove_prefix(8);
  return {n.version, n.has(Node::tombstone), n.has(Node::sums), stored};
}

inline bool record_live(const Node& n) {
  switch (stored_type(n)) {
    case TypeId::none:
      return false;
    case TypeId::string:
      return !n.has(Node::tombstone) || n.has(Node::sums);
    default:
      return collection_of(n)->live() > 0;
  }
}

// The type that a client sees: none when nothing is live.
inline TypeId record_type(const Node& n) {
  return record_live(n) ? stored_type(n) : TypeId::none;
}

inline bool record_expired(const Node& n, UnixMs now) {
  if (!n.has(Node::has_expiry)) return false;
  const Expiry e = n.expiry();
  return e.at_ms != 0 && e.at_ms <= now;
}

// What a passed expiry covers: all that was stamped before its instant, or before the register.
// What is newer was written by a node that did not know of it, as to a new key, and outlives it
// (CommandContext and Write stamp nothing above the register that they know).
inline Version expiry_floor(const Expiry& e) {
  const std::uint64_t instant = Version::at_ms(e.at_ms).bits;
  // Of the last node number but one, which is never stamped: no overwrite's floor lies there.
  return std::max(e.version, Version{instant > 2 ? instant - 2 : 0});
}

// What something claims its record's type with: the version that a floor must reach to kill it. Of
// a sum that is its opening and not its latest change, else a claim could outlive what it is for,
// and the order of effects would decide.
inline Version claim_of(const Change& c) {
  return c.sum ? c.sum : c.version;
}
struct TypeClaim {
  TypeId type = TypeId::none;
  Version version{};  // the highest of it; zero: nothing lies above the floor, and there is no type
};
TypeClaim record_claim(const Node& n);

Version record_floor(const Node& n);
// The newest version of anything in the record: elements, also dropped ones, floor, expiry
// register.
Version record_newest(const Node& n);

// The record has an expiry, and holds something that outlives it.
inline bool record_outlives(const Node& n) {
  if (!n.has(Node::has_expiry)) return false;
  const Expiry e = n.expiry();
  return e.at_ms != 0 && record_newest(n) > expiry_floor(e);
}

// Frees the record with all its elements.
void destroy_record(Slabs& slabs, Node* n);
// Memory that the record takes, roughly for collections.
std::size_t record_bytes(const Node& n);

// The record as an effect: header, and the elements at or above `since` (all when zero). The views
// live until the record changes. The version is the record's newest; there is no base. It is
// `whole` when no element was left out; of a stub it is `expired`.
void record_effect(const Node& n, DbIndex db, Version since, Effect& out);

// The digest of the whole record: floor, expiry and the sum of its elements' (id, version,
// tombstone), bound to the key; of a stub floor, expiry and newest version. Equal records have
// equal digests on every node.
std::uint64_t record_digest(const Node& n, DbIndex db);
// The parts it is the sum of, for incremental use.
std::uint64_t digest_seed(std::string_view key, DbIndex db);
std::uint64_t header_digest(std::uint64_t seed, Version floor, const Expiry& expiry);
std::uint64_t cell_digest(std::uint64_t seed, std::string_view id, const Cell& cell);

}  // namespace gyre
