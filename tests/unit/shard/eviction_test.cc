// Which keys are chosen: near to the true order, and only those that may go.
#include "shard/eviction.h"

#include <set>

#include "../commands/fixture.h"
#include "ring/slot.h"

using namespace gyre;
using By = EvictionPolicy::By;

namespace {

struct Full : test::Node1 {
  explicit Full(bool replicas = false) : test::Node1(replicas), evictor(space, random) {
    space.access().set(now, options.memory.access);
  }
  void pass(std::int64_t ms) {
    now += ms;
    space.access().set(now, options.memory.access);
  }
  void remove(const Victim& v) { space.forget(v.slot, v.db, v.key, v.hash); }
  std::optional<Victim> next(const EvictionPolicy& policy) { return evictor.next(policy, now, {}); }

  Evictor evictor;
};

int number_of(const Victim& v) {
  return std::stoi(v.key.substr(1));
}

}  // namespace

TEST_CASE("eviction: none, and nothing to evict") {
  Full node;
  CHECK_FALSE(node.next({.by = By::access}));
  CHECK_FALSE(node.next({.by = By::ttl, .volatile_only = true}));
  node("SET a 1");
  CHECK_FALSE(node.next({.by = By::none}));
  CHECK_FALSE(node.next({.by = By::random, .volatile_only = true}));
  const auto only = node.next({.by = By::random});
  REQUIRE(only);
  CHECK(only->key == "a");
  node.remove(*only);
  CHECK(node("GET a") == "$-1");
  CHECK(node.space.memory_used() == 0);
  CHECK_FALSE(node.next({.by = By::access}));
}

TEST_CASE("eviction: what was not used for longest goes first, nearly") {
  Full node;
  for (int i = 0; i < 2000; ++i) {
    node("SET k" + std::to_string(i) + " v");
    if (i % 10 == 9) node.pass(1000);
  }
  // The first half is used again, in another database one more.
  for (int i = 0; i < 1000; ++i) node("GET k" + std::to_string(i));
  int used = 0, young = 0;
  for (int i = 0; i < 500; ++i) {
    const auto v = node.next({.by = By::access});
    REQUIRE(v);
    used += number_of(*v) < 1000;
    young += number_of(*v) >= 1700;
    node.remove(*v);
  }
  CHECK(used == 0);
  CHECK(young < 40);  // at random: 75
}

TEST_CASE("eviction: a candidate that is used meanwhile stays") {
  Full node;
  for (int i = 0; i < 5; ++i) node("SET k" + std::to_string(i) + " v");
  node.pass(60'000);
  const auto first = node.next({.by = By::access, .samples = 64});
  REQUIRE(first);
  node.remove(*first);
  for (int i = 0; i < 4; ++i) node("GET k" + std::to_string(i));
  if (first->key != "k4") {
    const auto second = node.next({.by = By::access, .samples = 64});
    REQUIRE(second);
    CHECK(second->key == "k4");
  }
}

TEST_CASE("eviction: by uses, of keys that expire, by their expiry") {
  Full node;
  node.options.memory.access.frequency = true;
  node.pass(0);
  for (int i = 0; i < 400; ++i) node("SET k" + std::to_string(i) + " v");
  for (int times = 0; times < 200; ++times) {
    for (int i = 0; i < 400; i += 4) node("GET k" + std::to_string(i));
  }
  int used = 0;
  for (int i = 0; i < 150; ++i) {
    const auto v = node.next({.by = By::access});
    REQUIRE(v);
    used += number_of(*v) % 4 == 0;
    node.remove(*v);
  }
  CHECK(used <= 2);

  for (int i = 1000; i < 1300; ++i)
    node("SET k" + std::to_string(i) + " v PX " + std::to_string(1000 * (i - 900)));
  for (const By by : {By::access, By::random, By::ttl}) {
    const auto v = node.next({.by = by, .volatile_only = true});
    REQUIRE(v);
    CHECK(number_of(*v) >= 1000);
  }
  int late = 0;
  for (int i = 0; i < 100; ++i) {
    const auto v = node.next({.by = By::ttl, .volatile_only = true});
    REQUIRE(v);
    late += number_of(*v) >= 1200;
    node.remove(*v);
  }
  CHECK(late < 5);
}

TEST_CASE("eviction: nothing of evicted keys is left in the queue of expiries") {
  Full node;
  for (int i = 0; i < 5000; ++i) node("SET k" + std::to_string(i) + " v EX 1000");
  while (const auto v = node.next({.by = By::random})) node.remove(*v);
  CHECK(node.space.counts({0}).keys == 0);
  CHECK(node.space.memory_used() < 8192);
}

TEST_CASE("eviction: only slots that may, in few keys of many, and of all databases") {
  Full node(true);
  for (int i = 0; i < 3000; ++i) node("SET k" + std::to_string(i) + " v");
  const Evictor::May none = [](Slot) { return false; };
  CHECK_FALSE(node.evictor.next({.by = By::access}, node.now, none));
  const Slot slot = key_slot("k77");
  const auto v = [&]() -> std::optional<Victim> {
    for (int i = 0; i < 100; ++i) {
      const auto found =
          node.evictor.next({.by = By::access}, node.now, [slot](Slot s) { return s == slot; });
      if (found) return found;
    }
    return std::nullopt;
  }();
  REQUIRE(v);
  CHECK(v->slot == slot);
  CHECK(node.evictor.next_in(slot, {.by = By::random}, node.now)->slot == slot);
  for (int i = 0; i < 3000; ++i) node("DEL k" + std::to_string(i));
  for (int i = 0; i < 40; ++i) CHECK_FALSE(node.next({.by = By::access}));  // tombstones stay
  node.db = {3};
  node("SET x 1");
  std::set<std::string> found;
  for (int i = 0; i < 40; ++i) {
    if (const auto x = node.next({.by = By::random})) found.insert(x->key);
  }
  CHECK(found == std::set<std::string>{"x"});
}
