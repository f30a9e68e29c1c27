#include "types/list_tree.h"

#include <algorithm>
#include <new>
#include <utility>

namespace gyre {
namespace {

std::uint32_t live_of(const ListInner& node) {
  std::uint32_t live = 0;
  for (unsigned i = 0; i < node.n; ++i) live += node.live[i];
  return live;
}

// Copies `count` children of `from` over those of `to`; the two may be the same node.
void copy_children(ListInner& to, unsigned to_at, const ListInner& from, unsigned from_at,
                   unsigned count) {
  std::memmove(to.child + to_at, from.child + from_at, count * sizeof to.child[0]);
  std::memmove(to.number + to_at, from.number + from_at, count * sizeof to.number[0]);
  std::memmove(to.live + to_at, from.live + from_at, count * sizeof to.live[0]);
}

void put_child(ListInner& node, unsigned at, const ListChild& child) {
  copy_children(node, at + 1, node, at, node.n - at);
  node.child[at] = child.at;
  node.number[at] = child.number;
  node.live[at] = child.live;
  ++node.n;
}

void take_child(ListInner& node, unsigned at) {
  copy_children(node, at, node, at + 1, node.n - at - 1);
  --node.n;
}

std::uint64_t first_number(const ListChunk& chunk) {
  ListEntry entry;
  chunk.read(0, chunk.start(), entry);
  return entry.number;
}

}  // namespace

ListInner* ListTree::new_node() {
  bytes_ += sizeof(ListInner);
  return new (slabs_->allocate(sizeof(ListInner))) ListInner;
}

void ListTree::free_node(ListInner* node) {
  bytes_ -= sizeof(ListInner);
  slabs_->release(node, sizeof(ListInner));
}

void ListTree::release_below(void* child, unsigned level) {
  if (level == height_) return ListChunk::release(*slabs_, static_cast<ListChunk*>(child));
  auto* node = static_cast<ListInner*>(child);
  for (unsigned i = 0; i < node->n; ++i) release_below(node->child[i], level + 1);
  free_node(node);
}

void ListTree::clear() {
  if (root_) release_below(root_, 0);
  root_ = nullptr;
  height_ = 0;
  bytes_ = 0;
}

void ListTree::swap(ListTree& other) {
  std::swap(slabs_, other.slabs_);
  std::swap(root_, other.root_);
  std::swap(bytes_, other.bytes_);
  std::swap(height_, other.height_);
}

// ---- the way down and along

std::size_t ListTree::live_before(const ListPath& path) const {
  std::size_t live = 0;
  for (unsigned level = 0; level < height_; ++level) {
    for (std::uint32_t i = 0; i < path.at[level]; ++i) live += path.node[level]->live[i];
  }
  return live;
}

void ListTree::down(ListPath& path, unsigned level, void* from, bool to_last) const {
  for (; level < height_; ++level) {
    auto* node = static_cast<ListInner*>(from);
    path.node[level] = node;
    path.at[level] = to_last ? node->n - 1 : 0;
    from = node->child[path.at[level]];
  }
  path.chunk = static_cast<ListChunk*>(from);
}

const ListChunk* ListTree::leftmost(const void* child, unsigned level) const {
  for (; level < height_; ++level) child = static_cast<const ListInner*>(child)->child[0];
  return static_cast<const ListChunk*>(child);
}

void ListTree::seek(const ListKey& key, ListPath& path) const {
  void* child = root_;
  for (unsigned level = 0; level < height_; ++level) {
    auto* node = static_cast<ListInner*>(child);
    // The ends first: that is where lists change.
    unsigned i = node->n == 1 || key.number < node->number[1] ? 0 : node->n - 1;
    for (; i > 0; --i) {
      if (node->number[i] < key.number) break;
      if (node->number[i] > key.number) continue;
      ListEntry entry;
      const ListChunk* chunk = leftmost(node->child[i], level + 1);
      chunk->read(0, chunk->start(), entry);
      if (compare(entry, key) <= 0) break;
    }
    path.node[level] = node;
    path.at[level] = i;
    child = node->child[i];
  }
  path.chunk = static_cast<ListChunk*>(child);
}

std::uint32_t ListTree::seek(std::size_t rank, ListPath& path) const {
  void* child = root_;
  for (unsigned level = 0; level < height_; ++level) {
    auto* node = static_cast<ListInner*>(child);
    unsigned i = 0;
    while (rank >= node->live[i]) {
      rank -= node->live[i++];
      GYRE_ASSERT(i < node->n);
    }
    path.node[level] = node;
    path.at[level] = i;
    child = node->child[i];
  }
  path.chunk = static_cast<ListChunk*>(child);
  return static_cast<std::uint32_t>(rank);
}

bool ListTree::step(ListPath& path, bool forward) const {
  for (unsigned level = height_; level-- > 0;) {
    const ListInner& node = *path.node[level];
    if (forward ? path.at[level] + 1 == node.n : path.at[level] == 0) continue;
    forward ? ++path.at[level] : --path.at[level];
    down(path, level + 1, node.child[path.at[level]], !forward);
    return true;
  }
  return false;
}

// ---- changes

void ListTree::changed(ListPath& path, ListChunk* chunk, std::uint32_t live_before,
                       std::uint32_t bytes_before) {
  bytes_ = bytes_ - bytes_before + chunk->bytes();
  const std::uint32_t grown = chunk->live() - live_before;  // modulo 2^32, as the counts
  for (unsigned level = 0; level < height_; ++level)
    path.node[level]->live[path.at[level]] += grown;
  path.chunk = chunk;
  if (height_ == 0) {
    root_ = chunk;
  } else {
    path.node[height_ - 1]->child[path.at[height_ - 1]] = chunk;
  }
}

bool ListTree::move_if_draining(ListPath& path) {
  ListChunk* const old = path.chunk;
  ListChunk* const fresh = slabs_->copy_if_draining(old, old->bytes());
  if (!fresh) return false;
  changed(path, fresh, old->live(), old->bytes());
  ListChunk::release(*slabs_, old);
  return true;
}

// Puts a child into a full node, which gives its right part to a new one; returns that.
ListInner* ListTree::split_put(ListInner& node, unsigned at, const ListChild& child) {
  // At its ends the node stays whole: pushes go on there, and half a node would remain each time.
  const unsigned half = at == node.n ? node.n : at == 0 ? 0 : node.n / 2;
  ListInner* right = new_node();
  right->n = node.n - half;
  copy_children(*right, 0, node, half, right->n);
  node.n = half;
  const bool to_left = at <= half && at != ListInner::fanout;
  put_child(to_left ? node : *right, to_left ? at : at - half, child);
  return right;
}

void ListTree::insert(ListPath& path, ListChunk* chunk, bool after) {
  bytes_ += chunk->bytes();
  if (!root_) {
    root_ = chunk;
    return;
  }
  void* child = chunk;
  std::uint64_t number = first_number(*chunk);
  std::uint32_t live = chunk->live();
  for (unsigned level = 0; level < height_; ++level) path.node[level]->live[path.at[level]] += live;
  if (height_ > 0) {
    // Undone where the chunk's neighbour hangs: it is counted by itself.
    path.node[height_ - 1]->live[path.at[height_ - 1]] -= live;
  }
  for (unsigned level = height_; level-- > 0;) {
    ListInner* node = path.node[level];
    unsigned at = path.at[level];
    if (level == height_ - 1 && !after) {
      // What stood first gets a neighbour before it, so its number begins to count.
      node->number[at] = first_number(*path.chunk);
    } else {
      ++at;
    }
    if (node->n < ListInner::fanout) return put_child(*node, at, {child, number, live});
    ListInner* right = split_put(*node, at, {child, number, live});
    child = right;
    number = right->number[0];
    live = live_of(*right);
    if (level > 0) path.node[level - 1]->live[path.at[level - 1]] -= live;
  }
  // The root was split, or was a chunk.
  GYRE_ASSERT(height_ + 1 < ListPath::max_height);
  auto* top = new_node();
  auto* old = static_cast<ListChunk*>(root_);
  if (height_ > 0) {
    put_child(*top, 0, {root_, 0, live_of(*static_cast<ListInner*>(root_))});
    put_child(*top, 1, {child, number, live});
  } else {
    put_child(*top, 0, {old, first_number(*old), old->live()});
    put_child(*top, after ? 1 : 0, {child, number, live});
  }
  root_ = top;
  ++height_;
}

void ListTree::erase(ListPath& path) {
  ListChunk* chunk = path.chunk;
  bytes_ -= chunk->bytes();
  for (unsigned level = 0; level < height_; ++level)
    path.node[level]->live[path.at[level]] -= chunk->live();
  unhang(path);
  ListChunk::release(*slabs_, chunk);
}

// Takes the last step of the path out of its node, and what gets empty above.
void ListTree::unhang(ListPath& path) {
  unsigned level = height_;
  while (level > 0) {
    ListInner* node = path.node[level - 1];
    take_child(*node, path.at[level - 1]);
    if (node->n > 0) break;
    free_node(node);
    --level;
  }
  if (level == 0) {
    root_ = nullptr;
    height_ = 0;
    return;
  }
  if (level > 1) merge_nodes(path, level - 1);
  while (height_ > 0 && static_cast<ListInner*>(root_)->n == 1) {
    auto* top = static_cast<ListInner*>(root_);
    root_ = top->child[0];
    free_node(top);
    --height_;
  }
}

// Joins the node of this level with its right neighbour when they fill half a node together, so
// that a list that shrinks everywhere does not keep its nodes.
void ListTree::merge_nodes(ListPath& path, unsigned level) {
  ListInner* parent = path.node[level - 1];
  unsigned at = path.at[level - 1];
  if (at + 1 == parent->n) {
    if (at == 0) return;
    --at;
  }
  auto* left = static_cast<ListInner*>(parent->child[at]);
  auto* right = static_cast<ListInner*>(parent->child[at + 1]);
  if (left->n + right->n > ListInner::fanout / 2) return;
  const unsigned joint = left->n;
  copy_children(*left, joint, *right, 0, right->n);
  left->number[joint] = parent->number[at + 1];
  left->n += right->n;
  parent->live[at] += parent->live[at + 1];
  take_child(*parent, at + 1);
  free_node(right);
}

void ListTree::join_small(ListPath& path) {
  if (height_ == 0) return;
  ListInner* node = path.node[height_ - 1];
  unsigned& at = path.at[height_ - 1];
  if (at + 1 == node->n) {
    if (at == 0) return;
    --at;
  }
  auto* left = static_cast<ListChunk*>(node->child[at]);
  auto* right = static_cast<ListChunk*>(node->child[at + 1]);
  if (left->used() + right->used() > ListChunk::max_bytes / 2) return;
  const std::uint32_t before = left->bytes() + right->bytes();
  if (!ListChunk::join(*slabs_, left, right)) return;
  bytes_ = bytes_ - before + left->bytes();
  node->child[at] = left;
  node->live[at] = left->live();
  ++at;
  unhang(path);
}

}  // namespace gyre
