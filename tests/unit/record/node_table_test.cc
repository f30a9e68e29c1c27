// NodeTable against std::map, and what its walks promise while it grows and shrinks.
#include "record/node_table.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "../effort.h"
#include "base/clock.h"

using namespace gyre;

namespace {

struct Table {
  ~Table() {
    table.for_each([this](Node* n) {
      Node::release(slabs, n);
      return true;
    });
  }
  bool add(const std::string& key) {
    const std::uint64_t hash = key_hash(key);
    if (table.find(key, hash)) return false;
    Node* n = Node::make(slabs, key, 0, 0, 0, {1});
    Node** at = table.insert(n, hash);
    CHECK(*at == n);
    return true;
  }
  bool remove(const std::string& key) {
    Node** at = table.find(key, key_hash(key));
    if (!at) return false;
    Node* n = *at;
    table.erase(at);
    Node::release(slabs, n);
    return true;
  }
  Slabs slabs;
  NodeTable table{slabs};
};

}  // namespace

TEST_CASE("node table: as a map") {
  for (std::uint64_t seed = 1; seed <= test::effort(60); ++seed) {
    Random random(seed);
    Table t;
    std::set<std::string> model;
    const std::uint64_t keys = 1 + random.below(600);
    for (int step = 0; step < 2500; ++step) {
      const std::string key = std::to_string(random.below(keys));
      // Phases of growth and of decline.
      if (random.below(10) < ((step / 500) % 2 ? 3u : 7u)) {
        REQUIRE(t.add(key) == model.insert(key).second);
      } else {
        REQUIRE(t.remove(key) == (model.erase(key) == 1));
      }
      if (random.below(50) == 0) t.table.shrink();
      REQUIRE(t.table.size() == model.size());
    }
    INFO("seed " << seed);
    std::set<std::string> found;
    t.table.for_each([&](Node* n) { return found.emplace(n->key()).second; });
    CHECK(found == model);
    for (std::uint64_t k = 0; k < keys; ++k) {
      const std::string key = std::to_string(k);
      REQUIRE((t.table.find(key, key_hash(key)) != nullptr) == model.contains(key));
    }
  }
}

TEST_CASE("node table: a walk sees what stays, whatever comes and goes") {
  for (std::uint64_t seed = 1; seed <= test::effort(40); ++seed) {
    Random random(seed);
    Table t;
    const std::uint64_t stay = 1 + random.below(300);
    for (std::uint64_t i = 0; i < stay; ++i) t.add("stays" + std::to_string(i));
    std::set<std::string> seen;
    std::uint64_t cursor = 0, steps = 0, other = 0;
    const bool grows = random.below(2) != 0;
    if (!grows) {
      while (other < 3000) t.add("goes" + std::to_string(other++));
    }
    do {
      cursor = t.table.walk(cursor, [&](Node* n) { seen.emplace(n->key()); });
      for (int i = 0; i < 20; ++i) {
        if (grows && other < 3000) t.add("comes" + std::to_string(other++));
        if (!grows && other > 0) t.remove("goes" + std::to_string(--other));
      }
      if (!grows) t.table.shrink();
      REQUIRE(++steps < 10000);
    } while (cursor != 0);
    INFO("seed " << seed);
    for (std::uint64_t i = 0; i < stay; ++i) REQUIRE(seen.contains("stays" + std::to_string(i)));
  }
}

TEST_CASE("node table: a walk that nothing disturbs sees each once") {
  Table t;
  for (int i = 0; i < 5000; ++i) t.add(std::to_string(i));
  std::map<std::string, int> seen;
  std::uint64_t cursor = 0;
  do {
    cursor = t.table.walk(cursor, [&](Node* n) { ++seen[std::string(n->key())]; });
  } while (cursor != 0);
  CHECK(seen.size() == 5000);
  for (const auto& [key, times] : seen) REQUIRE(times == 1);
}

TEST_CASE("node table: random draws reach all alike") {
  Table t;
  for (int i = 0; i < 50; ++i) t.add(std::to_string(i));
  Random random(7);
  std::map<std::string_view, int> drawn;
  for (int i = 0; i < 50000; ++i) ++drawn[t.table.random(random)->key()];
  CHECK(drawn.size() == 50);
  for (const auto& [key, times] : drawn) {
    CHECK(times > 800);
    CHECK(times < 1200);
  }
}

TEST_CASE("node table: little room beside the pointers") {
  Table t;
  for (int i = 0; i < 100000; ++i) t.add(std::to_string(i));
  CHECK(t.table.bytes() < 16u * 100000);
  for (int i = 100; i < 100000; ++i) {
    t.remove(std::to_string(i));
    t.table.shrink();
  }
  CHECK(t.table.size() == 100);
  CHECK(t.table.bytes() < 9000);
  for (int i = 0; i < 100; ++i) t.remove(std::to_string(i));
  CHECK(t.table.bytes() == 0);
}

TEST_CASE("node: sizes and flags") {
  Slabs slabs;
  for (const std::size_t key_size : {0u, 1u, 0xfffeu, 0xffffu, 0x12345u}) {
    for (const std::uint8_t flags : {std::uint8_t{0}, std::uint8_t{Node::has_expiry}}) {
      const std::string key(key_size, 'k');
      Node* n = Node::make(slabs, key, 5, 3, flags, {77});
      std::memcpy(n->value_data(), "value", 5);
      if (flags) n->set_expiry({1234, {88}});
      CHECK(n->key() == key);
      CHECK(n->value() == "value");
      CHECK(n->type() == 3);
      CHECK(n->expiry() == (flags ? Expiry{1234, {88}} : Expiry{}));
      CHECK(n->has(Node::long_sizes) == (key_size > 0xffff));
      CHECK(n->fits(5, flags));
      CHECK_FALSE(n->fits(5, flags ^ Node::has_expiry));
      const std::size_t room = Slabs::rounded(n->bytes()) - n->bytes();
      CHECK(n->fits(5 + room, flags));
      CHECK_FALSE(n->fits(5 + room + 1, flags));
      Node::release(slabs, n);
    }
  }
  CHECK(slabs.used() == 0);
}
