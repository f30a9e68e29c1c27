#include <iterator>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/clock.h"
#include "types/order_tree.h"

namespace {

using namespace gyre;

Node* make_node(Slabs& slabs, double score, const std::string& member) {
  Node* n = Node::make(slabs, member, 8, 0, 0, Version{1});
  store_be64(n->value_data(), std::bit_cast<std::uint64_t>(score));
  return n;
}

// A tree beside the std::set that it must equal.
struct Pair {
  Slabs slabs;
  OrderTree tree{slabs};
  struct Less {
    bool operator()(const Node* a, const Node* b) const {
      return std::pair(node_score(*a), a->key()) < std::pair(node_score(*b), b->key());
    }
  };
  std::set<Node*, Less> model;

  ~Pair() {
    for (Node* n : model) Node::release(slabs, n);
    tree.clear();
    CHECK(slabs.used() == 0);
  }
  void insert(double score, const std::string& member) {
    Node* n = make_node(slabs, score, member);
    if (model.insert(n).second) {
      tree.insert(n);
    } else {
      Node::release(slabs, n);
    }
  }
  void erase(std::set<Node*, Less>::iterator at) {
    Node* n = *at;
    tree.erase(n);
    model.erase(at);
    Node::release(slabs, n);
  }
  std::size_t rank_of(double score) const {
    return tree.rank([&](double s, const Node&) { return s < score; });
  }
  bool same() const {
    if (!tree.consistent() || tree.size() != model.size()) return false;
    auto at = model.begin();
    if (model.empty()) return true;
    for (auto p = tree.at(0); p; p.forward(), ++at) {
      if (&p.node() != *at) return false;
    }
    for (auto p = tree.at(tree.size() - 1); p; p.backward()) {
      if (&p.node() != *--at) return false;
    }
    return at == model.begin();
  }
};

}  // namespace

TEST_CASE("order tree: random changes against a std::set") {
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    Random random(seed);
    Pair p;
    // Grows, holds, shrinks to nothing.
    for (int step = 0; step < 12000; ++step) {
      const std::uint64_t grow = step < 5000 ? 80 : step < 7000 ? 50 : 15;
      if (p.model.empty() || random.below(100) < grow) {
        p.insert(static_cast<double>(random.below(200)), "m" + std::to_string(random.below(5000)));
      } else {
        p.erase(p.model.lower_bound(*std::next(
            p.model.begin(),
            static_cast<std::ptrdiff_t>(random.below(std::min<std::size_t>(p.model.size(), 40))))));
      }
      if (step % 500 == 0) REQUIRE(p.same());
      if (step % 10 == 0 && !p.model.empty()) {
        const auto score = static_cast<double>(random.below(202)) - 1;
        std::size_t expected = 0;
        for (const Node* n : p.model) expected += node_score(*n) < score;
        REQUIRE(p.rank_of(score) == expected);
        const std::size_t rank = random.below(p.model.size());
        REQUIRE(&p.tree.at(rank).node() ==
                *std::next(p.model.begin(), static_cast<std::ptrdiff_t>(rank)));
      }
    }
    REQUIRE(p.same());
    while (!p.model.empty()) p.erase(std::prev(p.model.end()));
    CHECK(p.same());
  }
}

TEST_CASE("order tree: ordered loads fill their pages") {
  for (const bool upward : {true, false}) {
    Pair p;
    for (int i = 0; i < 20000; ++i) p.insert(upward ? i : -i, "m");
    CHECK(p.same());
    CHECK(p.tree.bytes() < std::size_t{20000} * 12);
  }
}

TEST_CASE("order tree: a node in another allocation") {
  Pair p;
  for (int i = 0; i < 1000; ++i) p.insert(i % 7, "m" + std::to_string(i));
  std::vector<Node*> all(p.model.begin(), p.model.end());
  for (Node* old : all) {
    Node* fresh = make_node(p.slabs, node_score(*old), std::string(old->key()));
    p.tree.replace(old, fresh);
    p.model.erase(old);
    p.model.insert(fresh);
    Node::release(p.slabs, old);
  }
  CHECK(p.same());
}
