#include "types/order_tree.h"

#include <cstring>

namespace gyre {
namespace {

// Neighbours become one page when together they fill no more than this, so that a page that was
// joined is not split by the next insert.
constexpr unsigned leaf_joined_max = OrderTree::leaf_max * 3 / 4;
constexpr unsigned inner_joined_max = OrderTree::inner_max * 3 / 4;

// Moves n items inside or between arrays of plain data.
template <class T>
void shift(T* to, const T* from, unsigned n) {
  std::memmove(static_cast<void*>(to), from, n * sizeof(T));
}

}  // namespace

// The last child whose first element does not lie above the key; the first one for what lies below
// all.
unsigned OrderTree::child_for(const Inner& inner, const Key& key) {
  const unsigned n = partition(inner.size, [&](unsigned i) {
    if (inner.score[i] != key.score) return inner.score[i] < key.score;
    return inner.first[i]->key() <= key.member;
  });
  return n == 0 ? 0 : n - 1;
}

unsigned OrderTree::place_in(const Leaf& leaf, const Key& key) {
  return partition(leaf.size,
                   [&](unsigned i) { return key.above(node_score(*leaf.at[i]), *leaf.at[i]); });
}

unsigned OrderTree::size_of(const void* page, unsigned height) {
  return height == 0 ? static_cast<const Leaf*>(page)->size : static_cast<const Inner*>(page)->size;
}

void OrderTree::move_entries(Inner& to, unsigned at, const Inner& from, unsigned first,
                             unsigned n) {
  shift(to.score + at, from.score + first, n);
  shift(to.first + at, from.first + first, n);
  shift(to.child + at, from.child + first, n);
  shift(to.count + at, from.count + first, n);
}

// ---- insert

void OrderTree::insert(Node* node) {
  ++size_;
  if (!root_) {
    auto* leaf = static_cast<Leaf*>(new_page());
    leaf->prev = leaf->next = nullptr;
    leaf->size = 1;
    leaf->at[0] = node;
    root_ = leaf;
    height_ = 0;
    return;
  }
  void* right = insert_below(root_, height_, key_of(*node), node);
  if (!right) return;
  auto* top = static_cast<Inner*>(new_page());
  top->size = 2;
  top->child[0] = root_;
  top->child[1] = right;
  ++height_;
  describe_child(*top, 0, height_);
  describe_child(*top, 1, height_);
  root_ = top;
}

// Inserts below a page; returns the page's new right neighbour when it was split.
void* OrderTree::insert_below(void* page, unsigned height, const Key& key, Node* node) {
  if (height == 0) return insert_in_leaf(*static_cast<Leaf*>(page), key, node);
  auto& inner = *static_cast<Inner*>(page);
  const unsigned c = child_for(inner, key);
  void* right = insert_below(inner.child[c], height - 1, key, node);
  if (right) {
    describe_child(inner, c, height);
    return insert_child(inner, c + 1, right, height);
  }
  ++inner.count[c];
  if (c == 0 && key.below(inner.score[0], *inner.first[0])) {
    inner.score[0] = key.score;
    inner.first[0] = node;
  }
  return nullptr;
}

void* OrderTree::insert_in_leaf(Leaf& leaf, const Key& key, Node* node) {
  const unsigned i = place_in(leaf, key);
  if (leaf.size < leaf_max) {
    shift(leaf.at + i + 1, leaf.at + i, leaf.size - i);
    leaf.at[i] = node;
    ++leaf.size;
    return nullptr;
  }
  // At either end of the whole order the full leaf stays full: loads come in order of score.
  unsigned kept = leaf_max / 2 + 1;
  if (i == leaf_max && !leaf.next) kept = leaf_max;
  if (i == 0 && !leaf.prev) kept = 0;
  auto* right = static_cast<Leaf*>(new_page());
  right->prev = &leaf;
  right->next = leaf.next;
  if (leaf.next) leaf.next->prev = right;
  leaf.next = right;
  right->size = leaf_max - kept;
  shift(right->at, leaf.at + kept, right->size);
  leaf.size = kept;
  Leaf& to = i <= kept && kept < leaf_max ? leaf : *right;
  const unsigned at = &to == &leaf ? i : i - kept;
  shift(to.at + at + 1, to.at + at, to.size - at);
  to.at[at] = node;
  ++to.size;
  return right;
}

// Reads the first element and the count of a child anew.
void OrderTree::describe_child(Inner& inner, unsigned at, unsigned height) {
  if (height == 1) {
    const auto& leaf = *static_cast<const Leaf*>(inner.child[at]);
    inner.first[at] = leaf.at[0];
    inner.score[at] = node_score(*leaf.at[0]);
    inner.count[at] = leaf.size;
    return;
  }
  const auto& child = *static_cast<const Inner*>(inner.child[at]);
  inner.first[at] = child.first[0];
  inner.score[at] = child.score[0];
  std::uint32_t count = 0;
  for (unsigned i = 0; i < child.size; ++i) count += child.count[i];
  inner.count[at] = count;
}

void* OrderTree::insert_child(Inner& inner, unsigned at, void* child, unsigned height) {
  Inner* to = &inner;
  Inner* right = nullptr;
  if (inner.size == inner_max) {
    const unsigned kept = at == inner_max ? inner_max - 2 : inner_max / 2;
    right = static_cast<Inner*>(new_page());
    right->size = inner_max - kept;
    move_entries(*right, 0, inner, kept, right->size);
    inner.size = kept;
    if (at > kept) {
      to = right;
      at -= kept;
    }
  }
  move_entries(*to, at + 1, *to, at, to->size - at);
  ++to->size;
  to->child[at] = child;
  describe_child(*to, at, height);
  return right;
}

// ---- erase

void OrderTree::erase(Node* node) {
  GYRE_ASSERT(root_ != nullptr);
  erase_below(root_, height_, key_of(*node), node);
  --size_;
  while (height_ > 0 && static_cast<Inner*>(root_)->size == 1) {
    void* child = static_cast<Inner*>(root_)->child[0];
    release(root_);
    root_ = child;
    --height_;
  }
  if (size_ == 0) clear();
}

void OrderTree::erase_below(void* page, unsigned height, const Key& key, const Node* node) {
  if (height == 0) {
    auto& leaf = *static_cast<Leaf*>(page);
    const unsigned i = place_in(leaf, key);
    GYRE_ASSERT(i < leaf.size && leaf.at[i] == node);
    --leaf.size;
    shift(leaf.at + i, leaf.at + i + 1, leaf.size - i);
    return;
  }
  auto& inner = *static_cast<Inner*>(page);
  const unsigned c = child_for(inner, key);
  erase_below(inner.child[c], height - 1, key, node);
  --inner.count[c];
  const unsigned left = size_of(inner.child[c], height - 1);
  if (left == 0) {
    drop_child(inner, c, height);
    return;
  }
  if (inner.first[c] == node) describe_child(inner, c, height);
  if (left * 2 >= (height == 1 ? leaf_max : inner_max)) return;
  if (c + 1 < inner.size && join(inner, c, height)) return;
  if (c > 0) join(inner, c - 1, height);
}

// Takes an empty child away.
void OrderTree::drop_child(Inner& inner, unsigned at, unsigned height) {
  if (height == 1) {
    auto* leaf = static_cast<Leaf*>(inner.child[at]);
    if (leaf->prev) leaf->prev->next = leaf->next;
    if (leaf->next) leaf->next->prev = leaf->prev;
  }
  release(inner.child[at]);
  --inner.size;
  move_entries(inner, at, inner, at + 1, inner.size - at);
}

// Moves the right neighbour's entries into `left` and takes the neighbour away, when both fit.
bool OrderTree::join(Inner& inner, unsigned left, unsigned height) {
  const unsigned total =
      size_of(inner.child[left], height - 1) + size_of(inner.child[left + 1], height - 1);
  if (total > (height == 1 ? leaf_joined_max : inner_joined_max)) return false;
  if (height == 1) {
    auto& a = *static_cast<Leaf*>(inner.child[left]);
    const auto& b = *static_cast<const Leaf*>(inner.child[left + 1]);
    shift(a.at + a.size, b.at, b.size);
    a.size = total;
  } else {
    auto& a = *static_cast<Inner*>(inner.child[left]);
    const auto& b = *static_cast<const Inner*>(inner.child[left + 1]);
    move_entries(a, a.size, b, 0, b.size);
    a.size = total;
  }
  inner.count[left] += inner.count[left + 1];
  drop_child(inner, left + 1, height);
  return true;
}

// ---- the rest

void OrderTree::replace(Node* old, Node* fresh) {
  const Key key = key_of(*old);
  void* page = root_;
  for (unsigned h = height_; h > 0; --h) {
    auto& inner = *static_cast<Inner*>(page);
    const unsigned c = child_for(inner, key);
    if (inner.first[c] == old) inner.first[c] = fresh;
    page = inner.child[c];
  }
  auto& leaf = *static_cast<Leaf*>(page);
  const unsigned i = place_in(leaf, key);
  GYRE_ASSERT(i < leaf.size && leaf.at[i] == old);
  leaf.at[i] = fresh;
}

OrderTree::Place OrderTree::at(std::size_t rank) const {
  GYRE_ASSERT(rank < size_);
  const void* page = root_;
  for (unsigned h = height_; h > 0; --h) {
    const auto& inner = *static_cast<const Inner*>(page);
    unsigned i = 0;
    while (rank >= inner.count[i]) rank -= inner.count[i++];
    page = inner.child[i];
  }
  return {static_cast<const Leaf*>(page), static_cast<unsigned>(rank)};
}

void OrderTree::clear() {
  if (root_) release_below(root_, height_);
  root_ = nullptr;
  size_ = 0;
  height_ = 0;
}

void OrderTree::release_below(void* page, unsigned height) {
  if (height > 0) {
    const auto& inner = *static_cast<const Inner*>(page);
    for (unsigned i = 0; i < inner.size; ++i) release_below(inner.child[i], height - 1);
  }
  release(page);
}

// ---- for tests

bool OrderTree::consistent() const {
  if (!root_) return size_ == 0 && pages_ == 0;
  std::size_t total = 0;
  const Leaf* last = nullptr;
  if (!consistent_below(root_, height_, last, total)) return false;
  if (total != size_ || last->next) return false;
  const Node* before = nullptr;
  std::size_t seen = 0;
  for (Place p = at(0); p; p.forward(), ++seen) {
    const Node& n = p.node();
    if (before && !key_of(n).above(node_score(*before), *before)) return false;
    before = &n;
  }
  return seen == size_;
}

bool OrderTree::consistent_below(const void* page, unsigned height, const Leaf*& before,
                                 std::size_t& total) const {
  if (height == 0) {
    const auto* leaf = static_cast<const Leaf*>(page);
    if (leaf->size == 0 || leaf->size > leaf_max || leaf->prev != before) return false;
    if (before && before->next != leaf) return false;
    before = leaf;
    total += leaf->size;
    return true;
  }
  const auto& inner = *static_cast<const Inner*>(page);
  if (inner.size == 0 || inner.size > inner_max) return false;
  for (unsigned i = 0; i < inner.size; ++i) {
    std::size_t below = 0;
    if (!consistent_below(inner.child[i], height - 1, before, below)) return false;
    Inner fresh = inner;
    describe_child(fresh, i, height);
    if (fresh.first[i] != inner.first[i] || fresh.score[i] != inner.score[i]) return false;
    if (below != inner.count[i]) return false;
    total += below;
  }
  return true;
}

}  // namespace gyre
