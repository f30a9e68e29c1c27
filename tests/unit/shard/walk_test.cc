#include "shard/walk.h"

#include <map>
#include <set>

#include <doctest/doctest.h>

#include "base/hash.h"
#include "commands/table.h"
#include "ring/slot.h"
#include "shard/command.h"

using namespace gyre;

namespace {

constexpr UnixMs now = 1'700'000'000'000;
constexpr Slot last_slot{slots_total - 1};

// A key space that is written without commands.
struct Keys {
  explicit Keys(bool replicas = false)
      : space(KeySpaceOptions{.keep_tombstones = replicas, .clock_node = 8}) {}

  void put(const std::string& key, DbIndex db = {0}, UnixMs expires = 0) {
    write(key, db, false, expires);
  }
  void remove(const std::string& key, DbIndex db = {0}) { write(key, db, true, 0); }
  void write(const std::string& key, DbIndex db, bool removed, UnixMs expires) {
    Effect e;
    e.db = db;
    e.key = key;
    e.version = space.clock().stamp(now);
    e.type = removed ? TypeId::none : TypeId::string;
    e.floor = removed ? e.version : e.version.before();
    if (expires) e.expiry = {expires, e.version};
    if (!removed) e.changes.push_back({{}, e.version, {}, false, "v"});
    space.merge(key_slot(key), key_hash(key), e);
  }
  // Scans to the end through cursors, with `between` called after each part; counts what it sees.
  template <class F>
  std::map<std::string, int> scan(DbIndex db, std::size_t count, F&& between,
                                  ScanFilter filter = {}, const SlotSet* slots = nullptr) {
    std::map<std::string, int> seen;
    std::uint64_t cursor = 0;
    int parts = 0;
    do {
      const ScanPlace next =
          scan_part(space, db, place_of(cursor), last_slot, slots, count, filter, now,
                    [&](std::string_view key) { ++seen[std::string(key)]; });
      CHECK((next.done || place_of(cursor_of(next)) == next));
      const std::uint64_t following = cursor_of(next);
      CHECK((following == 0 || following > cursor));
      CHECK(following < std::uint64_t{1} << 63);
      cursor = following;
      between();
      REQUIRE(++parts < 100'000);
    } while (cursor != 0);
    return seen;
  }
  std::map<std::string, int> scan(DbIndex db, std::size_t count, ScanFilter filter = {}) {
    return scan(
        db, count, [] {}, filter);
  }

  KeySpace space;
};

std::string key(int i) {
  return "key:" + std::to_string(i);
}
// All in one slot, so that its table grows.
std::string together(int i) {
  return "{t}" + std::to_string(i);
}

}  // namespace

TEST_CASE("walk: a scan gives every key once, in any step and any layout") {
  for (const std::size_t count : {1u, 10u, 1000u}) {
    Keys keys;
    for (int i = 0; i < 3000; ++i) keys.put(i % 2 ? key(i) : together(i));
    const auto seen = keys.scan({0}, count);
    CHECK(seen.size() == 3000);
    for (const auto& [name, times] : seen) REQUIRE(times == 1);
  }
}

TEST_CASE("walk: a scan misses no key that stays while others come and go") {
  for (const bool replicas : {false, true}) {
    for (const std::uint64_t seed : {1u, 2u, 3u, 4u}) {
      Random random(seed);
      Keys keys(replicas);
      // The slot's table holds the stayers and a crowd that grows a hundredfold and shrinks again.
      for (int i = 0; i < 200; ++i) keys.put(together(i)), keys.put(key(i));
      int next = 1000, gone = 1000;
      const bool grows = seed % 2;
      if (!grows) {
        for (; next < 20'000; ++next) keys.put(together(next));
      }
      const auto seen = keys.scan({0}, 5, [&] {
        for (int n = 0; n < 40; ++n) {
          if (grows && next < 20'000) keys.put(together(next++));
          if (gone < next && random.below(grows ? 4 : 1) == 0) keys.remove(together(gone++));
        }
      });
      for (int i = 0; i < 200; ++i) {
        REQUIRE(seen.contains(together(i)));
        REQUIRE(seen.at(together(i)) == 1);
        REQUIRE(seen.contains(key(i)));
      }
    }
  }
}

TEST_CASE("walk: a part ends near its count") {
  Keys keys;
  for (int i = 0; i < 20'000; ++i) keys.put(together(i));
  std::size_t got = 0;
  const ScanPlace next = scan_part(keys.space, {0}, {}, last_slot, nullptr, 10, {}, now,
                                   [&](std::string_view) { ++got; });
  CHECK(got >= 10);
  CHECK(got <= 40);
  CHECK(!next.done);
  CHECK(next.slot == key_slot("{t}"));
}

TEST_CASE("walk: databases, filters, expired and removed keys") {
  Keys keys(true);
  for (int i = 0; i < 100; ++i) keys.put(key(i), {0});
  for (int i = 0; i < 50; ++i) keys.put("other:" + std::to_string(i), {3});
  keys.remove(key(7));
  keys.put(key(8), {0}, now);
  keys.put(key(9), {0}, now + 1);
  CHECK(keys.scan({0}, 10).size() == 98);
  CHECK(keys.scan({3}, 10).size() == 50);
  CHECK(keys.scan({1}, 10).empty());
  CHECK(keys.scan({0}, 10, {.match = "key:1?"}).size() == 10);
  CHECK(keys.scan({0}, 10, {.match = ""}).empty());
  CHECK(keys.scan({0}, 10, {.type = "STRING"}).size() == 98);
  CHECK(keys.scan({0}, 10, {.type = "hash"}).empty());
  CHECK(count_keys(keys.space, {0}, nullptr, now) == 98);
  CHECK(count_keys(keys.space, {3}, nullptr, now) == 50);

  SlotSet some;
  some.set(key_slot(key(1)).value);
  some.set(key_slot(key(8)).value);
  const auto seen = keys.scan(
      {0}, 1, [] {}, {}, &some);
  CHECK(seen.contains(key(1)));
  CHECK(!seen.contains(key(8)));
  CHECK(count_keys(keys.space, {0}, &some, now) == seen.size());

  std::set<std::string> matched;
  keys_matching(keys.space, {0}, nullptr, "key:*", now,
                [&](std::string_view k) { matched.emplace(k); });
  CHECK(matched.size() == 98);
  matched.clear();
  keys_matching(keys.space, {0}, &some, "*", now, [&](std::string_view k) { matched.emplace(k); });
  CHECK(matched.size() == seen.size());
}

TEST_CASE("walk: a space that has part of the slots, and parts that end early") {
  KeySpace space(KeySpaceOptions{.first = {1000}, .slots = 500, .clock_node = 8});
  std::size_t put = 0;
  for (int i = 0; put < 50; ++i) {
    const std::string name = key(i);
    if (!space.owns(key_slot(name))) continue;
    Effect e;
    e.key = name;
    e.type = TypeId::string;
    e.version = space.clock().stamp(now);
    e.floor = e.version.before();
    e.changes.push_back({{}, e.version, {}, false, "v"});
    space.merge(key_slot(name), key_hash(name), e);
    ++put;
  }
  std::size_t got = 0;
  const KeySink sink = [&](std::string_view) { ++got; };
  CHECK(scan_part(space, {0}, {}, last_slot, nullptr, 1000, {}, now, sink).done);
  CHECK(got == 50);
  got = 0;
  CHECK(scan_part(space, {0}, {}, {999}, nullptr, 1000, {}, now, sink).done);
  CHECK(scan_part(space, {0}, {.slot = {1500}}, last_slot, nullptr, 1000, {}, now, sink).done);
  CHECK(got == 0);
  CHECK(scan_part(space, {0}, {}, {1249}, nullptr, 1000, {}, now, sink).done);
  CHECK(scan_part(space, {0}, {.slot = {1250}}, last_slot, nullptr, 1000, {}, now, sink).done);
  CHECK(got == 50);
  CHECK(count_keys(space, {0}, nullptr, now) == 50);
}

TEST_CASE("walk: any number is a cursor") {
  Keys keys;
  for (int i = 0; i < 100; ++i) keys.put(key(i));
  Random random(1);
  for (int i = 0; i < 1000; ++i) {
    std::uint64_t cursor = random.next() >> random.below(64);
    for (int parts = 0;; ++parts) {
      const ScanPlace next = scan_part(keys.space, {0}, place_of(cursor), last_slot, nullptr, 10,
                                       {}, now, [](std::string_view) {});
      if (next.done) break;
      cursor = cursor_of(next);
      REQUIRE(parts < 200);
    }
  }
  CHECK(cursor_of({.done = true}) == 0);
  CHECK(place_of(0) == ScanPlace{});
}

TEST_CASE("walk: random keys") {
  Keys keys(true);
  Random random(7);
  CHECK(!random_key(keys.space, {0}, nullptr, now, random));
  for (int i = 0; i < 10; ++i) keys.put(i < 5 ? together(i) : key(i));
  std::map<std::string, int> drawn;
  for (int i = 0; i < 2000; ++i) ++drawn[random_key(keys.space, {0}, nullptr, now, random).value()];
  CHECK(drawn.size() == 10);
  for (const auto& [name, times] : drawn) {
    CHECK(times > 120);
    CHECK(times < 300);
  }
  // One visible key among many dead ones is still found.
  for (int i = 100; i < 2000; ++i) keys.put(key(i)), keys.remove(key(i));
  for (int i = 0; i < 10; ++i) keys.put(i < 5 ? together(i) : key(i), {0}, now);
  CHECK(!random_key(keys.space, {0}, nullptr, now, random));
  keys.put("one");
  CHECK(random_key(keys.space, {0}, nullptr, now, random) == "one");
  SlotSet none;
  CHECK(!random_key(keys.space, {0}, &none, now, random));
}

TEST_CASE("walk: flushing a slot") {
  for (const bool replicas : {false, true}) {
    Keys keys(replicas);
    for (int i = 0; i < 100; ++i)
      keys.put(together(i)), keys.put(key(i)), keys.put(together(i), {2});
    const Slot slot = key_slot("{t}");
    CHECK(flush(keys.space, slot, {0}, keys.space.clock().stamp(now)) == 100);
    CHECK(count_keys(keys.space, {0}, nullptr, now) == 100);
    CHECK(count_keys(keys.space, {2}, nullptr, now) == 100);
    CHECK(keys.scan({0}, 10).size() == 100);
    keys.put(together(1));
    CHECK(count_keys(keys.space, {0}, nullptr, now) == 101);
  }
}
