// Defrag: what deletes and values of other sizes leave scattered is moved together, a few keys at a
// time, and nothing else is seen of it.
#include "shard/defrag.h"

#include <map>
#include <string>

#include <doctest/doctest.h>

#include "../commands/fixture.h"

using namespace gyre;
using namespace gyre::test;

namespace {

constexpr DefragOptions settings{.on = true,
                                 .ignore_bytes = 1,
                                 .threshold_lower = 2,
                                 .threshold_upper = 100,
                                 .cycle_min = 1,
                                 .cycle_max = 25};

class Scattered final : public Node1 {
 public:
  explicit Scattered(bool replicas) : Node1(replicas), defrag(space) {}

  void set(int key, std::size_t size) {
    const std::string name = "key:" + std::to_string(key);
    std::string& value = values[name];
    value.assign(size, static_cast<char>('a' + key % 26));
    (*this)("SET " + name + " " + value);
  }
  void del(int key) {
    const std::string name = "key:" + std::to_string(key);
    (*this)("DEL " + name);
    values.erase(name);
  }
  // Until it rests; how long that took.
  SteadyMs defragment(const DefragOptions& how = settings) {
    const SteadyMs began = clock;
    do {
      defrag.tick(how, clock += 20);
    } while (defrag.running() && clock < began + 600'000);
    return clock - began;
  }
  void check() {
    for (const auto& [name, value] : values)
      REQUIRE((*this)("GET " + name) == "$" + std::to_string(value.size()) + " " + value);
    CHECK((*this)("HGETALL hash") == "*2 $1 f $1 v");
    for (std::size_t s = 0; space.options().keep_tombstones && s < slots_total; s += 7)
      REQUIRE(space.verify_digest({static_cast<std::uint16_t>(s)}));
  }

  Defrag defrag;
  SteadyMs clock = 1'000'000;
  std::map<std::string, std::string> values;
};

}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(GYRE_NO_SLABS)
TEST_CASE("defrag: gives back what deletes left between the keys that stay") {
  for (const bool replicas : {false, true}) {
    CAPTURE(replicas);
    Scattered node(replicas);
    node("HSET hash f v");
    for (int i = 0; i < 40'000; ++i) node.set(i, 100);
    // Most of them get shorter: their old places are free, one here and one there.
    for (int i = 0; i < 40'000; ++i) {
      if (i % 5 != 0) node.set(i, 20);
    }
    const std::size_t waste = node.space.slabs().waste(), used = node.space.memory_used();
    REQUIRE(waste > 2'000'000);
    const SteadyMs took = node.defragment();
    CHECK(took > 200);  // not all at once
    CHECK(took < 30'000);
    CHECK(node.space.slabs().waste() < waste / 8);
    CHECK(node.space.memory_used() <= used);
    CHECK(node.defrag.moved() > 5000);
    node.check();
    // Nothing is left to be done, and it says so at once.
    const std::uint64_t moved = node.defrag.moved();
    node.clock += 60'000;
    node.defragment();
    CHECK(node.defrag.moved() < moved + 1000);
    CHECK(node.space.slabs().draining() == 0);
  }
}

TEST_CASE("defrag: commands between its steps see and leave everything as it is") {
  Scattered node(true);
  Random random(7);
  node("HSET hash f v");
  for (int i = 0; i < 20'000; ++i) node.set(i, 100);
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 3000; ++i) {
      const int key = static_cast<int>(random.below(20'000));
      random.below(10) < 3 ? node.del(key) : node.set(key, 20 + random.below(300));
      if (i % 20 == 0) node.defrag.tick(settings, node.clock += 20);
    }
    node.clock += 5000;
    node.check();
  }
  CHECK(node.defrag.moved() > 1000);
}

// Collections small and large of every type that can move, and what a client reads of them.
TEST_CASE("defrag: what collections hold moves as well, a few elements at a time") {
  for (const bool replicas : {false, true}) {
    CAPTURE(replicas);
    Scattered node(replicas);
    node("HSET hash f v");
    const auto text = [](char c, std::size_t n) { return std::string(n, c); };
    constexpr int small = 6000, large = 20'000;
    const auto name = [](const char* type, int i) { return type + std::to_string(i); };
    for (int i = 0; i < small; ++i) {
      for (int e = 0; e < 3; ++e) {
        const std::string element = std::to_string(e) + text('e', 30);
        node("HSET " + name("h", i) + " " + element + " " + text('v', 40));
        node("SADD " + name("s", i) + " " + element);
        node("RPUSH " + name("l", i) + " " + element);
        node("ZADD " + name("z", i) + " " + std::to_string(e) + " " + element);
      }
    }
    for (int i = 0; i < large; ++i) {
      const std::string element = std::to_string(i) + text('e', 80);
      node("HSET H " + element + " v");
      node("ZADD Z " + std::to_string(i % 100) + " " + element);
      node("RPUSH L " + element);
    }
    for (int i = 0; i < small; ++i) {
      if (i % 6 == 0) continue;
      for (const char* type : {"h", "s", "l", "z"}) node("DEL " + name(type, i));
    }
    for (int i = 0; i < large; ++i) {
      if (i % 6 == 0) continue;
      const std::string element = std::to_string(i) + text('e', 80);
      node("HDEL H " + element);
      node("ZREM Z " + element);
    }
    for (int i = 0; i < large / 2; ++i) node("LPOP L");
    const auto read = [&] {
      std::string all;
      for (int i = 0; i < small; i += 6) {
        all += node("HGETALL " + name("h", i)) + node("SMEMBERS " + name("s", i)) +
               node("LRANGE " + name("l", i) + " 0 -1") +
               node("ZRANGE " + name("z", i) + " 0 -1 WITHSCORES");
      }
      // The order of a large hash is nobody's promise.
      return all + node("HLEN H") + node("HGET H 6" + text('e', 80)) +
             node("ZRANGE Z 0 -1 WITHSCORES") + node("ZRANK Z 6000" + text('e', 80)) +
             node("LRANGE L 0 -1") + node("LINDEX L 77");
    };
    const std::string before = read();
    const std::size_t waste = node.space.slabs().waste(), used = node.space.memory_used();
    REQUIRE(waste > 5'000'000);
    node.defragment();
    CHECK(node.space.slabs().waste() < waste / 3);
    CHECK(node.defrag.moved() > 5000);
    CHECK(node.space.memory_used() <= used);
    CHECK(bool(read() == before));
    node.check();
  }
}

TEST_CASE("defrag: off it does nothing, and ends what it was doing") {
  Scattered node(false);
  node("HSET hash f v");
  for (int i = 0; i < 20'000; ++i) node.set(i, 100);
  for (int i = 0; i < 20'000; ++i) {
    if (i % 5 != 0) node.del(i);
  }
  DefragOptions off = settings;
  off.on = false;
  node.defragment(off);
  CHECK(node.defrag.moved() == 0);
  for (int i = 0; i < 10; ++i) node.defrag.tick(settings, node.clock += 20);
  REQUIRE(node.defrag.running());
  REQUIRE(node.space.slabs().draining() > 0);
  node.defrag.tick(off, node.clock += 20);
  CHECK_FALSE(node.defrag.running());
  CHECK(node.space.slabs().draining() == 0);
  // Too little is left alone.
  DefragOptions high = settings;
  high.ignore_bytes = 100'000'000;
  node.clock += 60'000;
  const std::uint64_t moved = node.defrag.moved();
  node.defragment(high);
  CHECK(node.defrag.moved() == moved);
  node.check();
}
#endif
