// ListTree: the chunks of one list in order, found by id or by rank in O(log n).
//
// A B+-tree over ListChunks with up to 24 children a node. A node knows of each child how many live
// elements are below it and a number that its ids are not below; where an id has exactly that
// number, the child's first id decides. The number of a node's first child is never looked at, so
// what is put before everything needs no correction above. A list of one chunk has no nodes.
//
// Nodes split in the middle, but at their ends where a list is built by pushes, which leaves full
// ones. Ownership: owns nodes and chunks; all memory is the Slabs'. Threading: the shard's thread
// alone.
#pragma once

#include <cstdint>

#include "types/list_chunk.h"

namespace gyre {

struct ListInner {
  static constexpr unsigned fanout = 24;
  std::uint32_t n = 0;
  std::uint32_t live[fanout];
  void* child[fanout];
  std::uint64_t number[fanout];
};
static_assert(sizeof(ListInner) <= Slabs::largest);

// What a node knows of a child.
struct ListChild {
  void* at;
  std::uint64_t number;
  std::uint32_t live;
};

// The way from the root to a chunk. Valid until the tree changes by anything but through this path.
struct ListPath {
  static constexpr unsigned max_height = 14;  // 12^13 chunks
  ListChunk* chunk = nullptr;
  ListInner* node[max_height];
  std::uint32_t at[max_height];
};

class ListTree {
 public:
  explicit ListTree(Slabs& slabs) : slabs_(&slabs) {}
  ListTree(const ListTree&) = delete;
  ListTree& operator=(const ListTree&) = delete;
  ~ListTree() { clear(); }

  Slabs& slabs() const { return *slabs_; }
  bool empty() const { return root_ == nullptr; }
  bool single() const { return height_ == 0; }
  std::size_t bytes() const { return bytes_; }
  void clear();
  void swap(ListTree& other);

  // The tree is not empty in these.
  void first(ListPath& path) const { down(path, 0, root_, false); }
  void last(ListPath& path) const { down(path, 0, root_, true); }
  // The chunk in which the key is or belongs.
  void seek(const ListKey& key, ListPath& path) const;
  // The chunk with the live element of this rank; returns its rank there. rank < live elements.
  std::uint32_t seek(std::size_t rank, ListPath& path) const;
  // The live elements in the chunks before the path's.
  std::size_t live_before(const ListPath& path) const;
  bool next(ListPath& path) const { return step(path, true); }
  bool previous(ListPath& path) const { return step(path, false); }

  // The path's chunk was replaced or changed: hangs `chunk` there and corrects the counts.
  // `live_before` and `bytes_before` are what it had.
  void changed(ListPath& path, ListChunk* chunk, std::uint32_t live_before,
               std::uint32_t bytes_before);
  // Moves the path's chunk if its slab is to become empty; whether it was.
  bool move_if_draining(ListPath& path);
  // A new chunk beside the path's; the path is no longer valid. Into an empty tree: the path is not
  // read.
  void insert_after(ListPath& path, ListChunk* chunk) { insert(path, chunk, true); }
  void insert_before(ListPath& path, ListChunk* chunk) { insert(path, chunk, false); }
  // Takes the path's chunk out and releases it; the path is no longer valid.
  void erase(ListPath& path);
  // Joins the path's chunk with a neighbour when both are small; the path is no longer valid.
  void join_small(ListPath& path);

 private:
  void down(ListPath& path, unsigned level, void* from, bool to_last) const;
  bool step(ListPath& path, bool forward) const;
  const ListChunk* leftmost(const void* child, unsigned level) const;
  void insert(ListPath& path, ListChunk* chunk, bool after);
  ListInner* split_put(ListInner& node, unsigned at, const ListChild& child);
  void unhang(ListPath& path);
  void merge_nodes(ListPath& path, unsigned level);
  void release_below(void* child, unsigned level);
  ListInner* new_node();
  void free_node(ListInner* node);

  Slabs* slabs_;
  void* root_ = nullptr;  // a ListChunk when height_ is 0, else a ListInner
  std::size_t bytes_ = 0;
  unsigned height_ = 0;  // nodes above the chunks
};

}  // namespace gyre
