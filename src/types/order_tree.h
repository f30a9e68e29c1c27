// OrderTree: the order of a sorted set's members, with ranks.
//
// A B+-tree over pointers to Nodes, ordered by (score, member). A leaf is 61 pointers between links
// to its neighbours, so a range is one descent and then a walk. Above the leaves each child is kept
// with its first element, that element's score and the number of elements below it: a descent reads
// scores in place and touches a Node only where scores are equal, and a rank is a sum on the way.
//
//   leaf    | prev | next | size | 61 Node* |                                    512 bytes
//   inner   | size | 18 scores | 18 first Node* | 18 children | 18 counts |      512 bytes
//
// The score is read from the Node: the first 8 bytes of its value, the IEEE bits big-endian. It
// must not change while the Node is in the tree. The tree does not own the Nodes. Invariants: all
// leaves are equally deep; no page is empty, but the tree may be. Source: order-statistics trees
// (Cormen et al., chapter 14) on the pages of a B+-tree.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "record/node.h"

namespace gyre {

// The score of a Node that is in order.
inline double node_score(const Node& n) {
  return std::bit_cast<double>(load_be64(n.value().data()));
}

class OrderTree {
 public:
  static constexpr unsigned leaf_max = 61;
  static constexpr unsigned inner_max = 18;

  struct Leaf {
    Leaf* prev;
    Leaf* next;
    std::uint32_t size;
    Node* at[leaf_max];
  };
  // Where an element is. Valid until the tree changes.
  struct Place {
    const Leaf* leaf = nullptr;
    unsigned index = 0;

    explicit operator bool() const { return leaf != nullptr; }
    Node& node() const { return *leaf->at[index]; }
    void forward() {
      if (++index < leaf->size) return;
      leaf = leaf->next;
      index = 0;
    }
    void backward() {
      if (index-- > 0) return;
      leaf = leaf->prev;
      index = leaf ? leaf->size - 1 : 0;
    }
  };

  explicit OrderTree(Slabs& slabs) : slabs_(slabs) {}
  OrderTree(const OrderTree&) = delete;
  OrderTree& operator=(const OrderTree&) = delete;
  ~OrderTree() { clear(); }

  std::size_t size() const { return size_; }
  std::size_t bytes() const { return pages_ * sizeof(Leaf); }

  // No element with this score and member is there yet.
  void insert(Node* node);
  // The node is there, with the score that it was inserted with.
  void erase(Node* node);
  // Puts `fresh` where `old` is: the same score and member in another allocation.
  void replace(Node* old, Node* fresh);
  void clear();

  // How many elements lie before a border: before(score, node) is true for a run from the first
  // element on and false for the rest.
  template <class Before>
  std::size_t rank(Before&& before) const {
    if (!root_) return 0;
    std::size_t passed = 0;
    const void* page = root_;
    for (unsigned h = height_; h > 0; --h) {
      const auto& inner = *static_cast<const Inner*>(page);
      const unsigned n = partition(
          inner.size, [&](unsigned i) { return before(inner.score[i], *inner.first[i]); });
      if (n == 0) return passed;
      for (unsigned i = 0; i + 1 < n; ++i) passed += inner.count[i];
      page = inner.child[n - 1];
    }
    const auto& leaf = *static_cast<const Leaf*>(page);
    return passed + partition(leaf.size, [&](unsigned i) {
             return before(node_score(*leaf.at[i]), *leaf.at[i]);
           });
  }
  // The element of a rank below size().
  Place at(std::size_t rank) const;

  // Walks the whole tree and tells whether its invariants hold; for tests.
  bool consistent() const;

 private:
  struct Inner {
    std::uint32_t size;
    double score[inner_max];
    Node* first[inner_max];
    void* child[inner_max];
    std::uint32_t count[inner_max];
  };
  static_assert(sizeof(Leaf) == 512 && sizeof(Inner) <= sizeof(Leaf));

  // What an element is found by.
  struct Key {
    double score;
    std::string_view member;
    bool above(double s, const Node& n) const {
      return s < score || (s == score && n.key() < member);
    }
    bool below(double s, const Node& n) const {
      return score < s || (score == s && member < n.key());
    }
  };
  static Key key_of(const Node& n) { return {node_score(n), n.key()}; }

  // The number of indexes in [0, n) for which f holds; f holds for a run from 0 on.
  template <class F>
  static unsigned partition(unsigned n, F&& f) {
    unsigned low = 0;
    while (n > 0) {
      const unsigned half = n / 2;
      if (f(low + half)) {
        low += half + 1;
        n -= half + 1;
      } else {
        n = half;
      }
    }
    return low;
  }
  static unsigned child_for(const Inner& inner, const Key& key);
  static unsigned place_in(const Leaf& leaf, const Key& key);
  static unsigned size_of(const void* page, unsigned height);
  static void move_entries(Inner& to, unsigned at, const Inner& from, unsigned first, unsigned n);

  void* new_page() {
    ++pages_;
    return slabs_.allocate(sizeof(Leaf));
  }
  void release(void* page) {
    --pages_;
    slabs_.release(page, sizeof(Leaf));
  }
  void release_below(void* page, unsigned height);

  void* insert_below(void* page, unsigned height, const Key& key, Node* node);
  void* insert_in_leaf(Leaf& leaf, const Key& key, Node* node);
  void* insert_child(Inner& inner, unsigned at, void* child, unsigned height);
  static void describe_child(Inner& inner, unsigned at, unsigned height);
  void erase_below(void* page, unsigned height, const Key& key, const Node* node);
  void drop_child(Inner& inner, unsigned at, unsigned height);
  bool join(Inner& inner, unsigned left, unsigned height);
  bool consistent_below(const void* page, unsigned height, const Leaf*& before,
                        std::size_t& total) const;

  Slabs& slabs_;
  void* root_ = nullptr;
  std::size_t size_ = 0;
  std::size_t pages_ = 0;
  unsigned height_ = 0;  // of inner pages above the leaves
};

}  // namespace gyre
