// ListCollection: the elements of a list, in order.
//
// Ids are positions with the version of their push (types/list_id.h), packed into chunks
// (types/list_chunk.h) under a tree (types/list_tree.h). Removed elements stay in place as
// tombstones where replicas need them; ranks count live elements only.
//
// A push at either end, a pop, an element by rank or by id: O(log n). Effects of other replicas
// arrive in any order and go where their ids belong. Threading: the shard's thread alone.
#pragma once

#include <new>
#include <utility>

#include "record/collection.h"
#include "types/list_tree.h"

namespace gyre {

// A live element, and the way to its neighbours. Valid until the list changes.
class ListWalk {
 public:
  bool valid() const { return valid_; }
  std::string_view payload() const { return entry_.payload; }
  const ListEntry& entry() const { return entry_; }
  // The id, kept in this object.
  std::string_view id() { return entry_.id(id_); }
  // To the neighbour that is live; no longer valid when there is none.
  void next();
  void previous();

 private:
  friend class ListCollection;
  const ListTree* tree_ = nullptr;
  ListPath path_;
  ListState before_{};
  ListEntry entry_;
  bool valid_ = false;
  char id_[list_plain_id_bytes];
};

class ListCollection final : public Collection {
 public:
  static Collection* make(Slabs& slabs) {
    return ::new (slabs.allocate(sizeof(ListCollection))) ListCollection(slabs);
  }
  // Gives the object back to the Slabs that it came from.
  static void operator delete(ListCollection* self, std::destroying_delete_t);
  explicit ListCollection(Slabs& slabs);

  CellMerge merge(const Change& change, bool keep_tombstones) override;
  bool find(std::string_view id, Cell& cell) const override;
  bool for_each(const std::function<bool(const ElementView&)>& f) const override;
  bool makes_ids() const override { return true; }
  void drop_below(Version floor,
                  const std::function<void(std::string_view, bool)>& dropped) override;
  void drop_tombstone(std::string_view id) override;
  std::size_t live() const override { return live_; }
  std::size_t tombstones() const override { return tombstones_; }
  std::size_t bytes() const override;
  // The nodes above the chunks stay where they are.
  MoveStep move_blocks(std::uint64_t from, std::size_t limit) override;
  Collection* move_object() override;

  // The element of this rank from the front; not valid when there are not so many.
  ListWalk at(std::size_t rank) const;
  // How many live elements lie before an id, whether it is there or not.
  std::size_t rank(std::string_view id) const;
  // Calls f(const ListEntry&) for every element in order, tombstones too, without making ids; false
  // stops.
  template <class F>
  bool each_entry(F&& f) const {
    return each_entry(tree_, f);
  }
  // The numbers of pushes before the first and behind the last element; more values of one command
  // step on from there, away from the list.
  std::uint64_t number_before_first() const;
  std::uint64_t number_after_last() const;

 private:
  template <class F>
  static bool each_entry(const ListTree& tree, F&& f) {
    if (tree.empty()) return true;
    ListPath path;
    tree.first(path);
    do {
      const ListChunk& chunk = *path.chunk;
      ListState before = chunk.start();
      ListEntry entry;
      for (std::uint32_t offset = 0; offset < chunk.used(); offset += entry.size) {
        chunk.read(offset, before, entry);
        before = entry.state();
        if (!f(std::as_const(entry))) return false;
      }
    } while (tree.next(path));
    return true;
  }
  void insert(const ListKey& key, const ListEntry& entry);
  void look_for_place(const ListKey& key, ListPath& path, ListPlace& place) const;
  void insert_at(const ListKey& key, const ListEntry& entry, ListPath& path, ListPlace& place);
  void erase(ListPath& path, const ListPlace& place);
  void append(const ListEntry& entry);
  void count(const ListEntry& entry, int by);

  ListTree tree_;
  std::uint32_t live_ = 0, tombstones_ = 0;
};

}  // namespace gyre
