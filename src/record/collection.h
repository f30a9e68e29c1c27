// Collection: the elements of one record that is not a string.
//
// What apply needs of every type: merge a change by its id, drop what a floor covers, walk. A type
// keeps its local indexes (order of scores, positions) inside these calls; they are never
// replicated. Ownership: a boxed Node points at its Collection; destroy() gives everything back to
// the Slabs. Threading: the shard's thread alone.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "record/cell.h"
#include "record/effect.h"

namespace gyre {

struct ElementView {
  std::string_view id;
  Cell cell;
};

class Collection {
 public:
  virtual ~Collection() = default;

  // Merges one change above the floor. `keep_tombstones` false: a removal forgets the element.
  // When `before`/`after` digests are asked for by apply, it calls find() around this.
  virtual CellMerge merge(const Change& change, bool keep_tombstones) = 0;
  // The element as it stands, also a tombstone; false when there is none.
  virtual bool find(std::string_view id, Cell& cell) const = 0;
  // Calls f for every element, tombstones too; f returns false to stop. f must not change anything.
  // An id that is made for the call (makes_ids) is gone when f returns.
  virtual bool for_each(const std::function<bool(const ElementView&)>& f) const = 0;
  virtual bool makes_ids() const { return false; }
  // Forgets what lies at or below the floor; calls dropped(id, still_there) for each element
  // changed.
  virtual void drop_below(Version floor,
                          const std::function<void(std::string_view, bool)>& dropped) = 0;
  // Forgets a removed base that every replica knows (record/purge.h); sums above it stay.
  virtual void drop_tombstone(std::string_view id) = 0;
  // What a cell with sums is as a payload; nothing when it is no number.
  virtual std::optional<std::string> total(const Cell& cell) const { return cell_total(cell); }
  virtual std::size_t live() const = 0;  // elements that can be read
  virtual std::size_t tombstones() const = 0;
  virtual std::size_t bytes() const = 0;  // memory, roughly
  // One step of a walk over its blocks that moves those whose slab is to become empty
  // (Slabs::drains), each with an element or a few of them: about `limit` blocks from `from` on, 0
  // the first. Elements that come or go between two steps may be missed.
  virtual MoveStep move_blocks([[maybe_unused]] std::uint64_t from,
                               [[maybe_unused]] std::size_t limit) {
    return {};
  }
  // The object itself; where it is now.
  virtual Collection* move_object() { return this; }

  Version floor{};  // of the record
};

// What the types give to the record room, joined in types/types.cc.
struct TypeSpec {
  std::string_view name;              // TYPE's answer
  Collection* (*make)(Slabs& slabs);  // nullptr for types that are not collections
};
const TypeSpec& type_spec(TypeId type);

}  // namespace gyre
