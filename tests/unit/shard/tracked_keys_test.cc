#include "shard/tracked_keys.h"

#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace gyre;

namespace {

constexpr TrackingClient ann{.client = 1}, bob{.client = 2}, quiet{.client = 3, .noloop = true};

// Who is told what, as "client:key key", "client:*" for all.
std::vector<std::string> told(TrackedKeys& keys) {
  std::vector<std::string> lines;
  for (const TrackedKeys::Told& t : keys.take()) {
    std::string line = std::to_string(t.reader.client) + ":" + (t.all ? "*" : "");
    for (const std::string& key : t.keys) line += (line.back() == ':' ? "" : " ") + key;
    lines.push_back(line);
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}
using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("tracked keys: who has read a key hears of its next change, once") {
  TrackedKeys keys;
  keys.changed("a");
  CHECK(!keys.any());
  CHECK(!keys.ready());
  keys.remember("a", ann, false);
  keys.remember("a", ann, false);
  keys.remember("a", bob, false);
  keys.remember("b", bob, false);
  CHECK(keys.keys() == 2);
  CHECK(keys.items() == 3);
  keys.changed("c");
  CHECK(!keys.ready());
  keys.changed("a");
  keys.changed("a");
  CHECK(keys.ready());
  CHECK(told(keys) == Lines{"1:a", "2:a"});
  CHECK(!keys.ready());
  CHECK(keys.items() == 1);
  keys.changed("b");
  CHECK(told(keys) == Lines{"2:b"});
  CHECK(!keys.any());
}

TEST_CASE("tracked keys: NOLOOP leaves out one's own changes, and forgets all the same") {
  TrackedKeys keys;
  keys.remember("a", quiet, false);
  keys.remember("a", ann, false);
  keys.set_acting(quiet.client);
  keys.changed("a");
  CHECK(told(keys) == Lines{"1:a"});
  keys.set_acting(0);
  keys.changed("a");
  CHECK(told(keys).empty());
  // Whether it was one's own doing is said: a blocking command's reply comes first.
  keys.remember("a", ann, false);
  keys.set_acting(ann.client);
  keys.changed("a");
  const auto own = keys.take();
  REQUIRE(own.size() == 1);
  CHECK(own[0].own);
}

TEST_CASE("tracked keys: another node reads as one client, and hears of no lost link") {
  const TrackingClient node = TrackingClient::of_peer(4);
  CHECK(node.is_peer());
  CHECK(node.peer() == 4);
  CHECK(!ann.is_peer());
  TrackedKeys keys;
  keys.remember("a", ann, false);
  keys.remember("a", node, false);
  keys.remember("a", node, false);
  CHECK(keys.items() == 2);
  keys.lost_sight();
  const auto all = keys.take();
  REQUIRE(all.size() == 1);
  CHECK(all[0].all);
  CHECK(all[0].reader.client == ann.client);
  CHECK(keys.items() == 1);
  keys.changed("a");
  const auto heard = keys.take();
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].reader.peer() == 4);
  CHECK(!keys.any());
  CHECK(keys.items() == 0);
}

TEST_CASE("tracked keys: prefixes hear of every change below them, together") {
  TrackedKeys keys;
  keys.add_prefix("user:", ann);
  keys.add_prefix("", quiet);
  CHECK(keys.prefixes() == 2);
  keys.set_acting(quiet.client);
  keys.changed("user:1");
  keys.changed("other");
  keys.changed("user:2");
  keys.changed("user:1");
  CHECK(told(keys) == Lines{"1:user:1 user:2"});
  keys.set_acting(0);
  keys.changed("other");
  keys.changed("user:1");
  CHECK(told(keys) == Lines{"1:user:1", "3:other user:1"});
  // Partly another's doing: told.
  keys.set_acting(quiet.client);
  keys.changed("x");
  keys.set_acting(0);
  keys.changed("x");
  CHECK(told(keys) == Lines{"3:x"});
  keys.remove_prefixes(quiet.client);
  keys.changed("other");
  CHECK(told(keys).empty());
  keys.remove_prefixes(ann.client);
  CHECK(!keys.any());
}

TEST_CASE("tracked keys: who has seen that a key expired is told of its next life only") {
  TrackedKeys keys;
  keys.remember("a", ann, false);
  keys.remember("a", bob, true);  // its read shows it
  CHECK(told(keys) == Lines{"1:a"});
  keys.expired("a");
  CHECK(told(keys).empty());
  CHECK(keys.items() == 1);
  keys.changed("a");
  CHECK(told(keys) == Lines{"2:a"});
  keys.remember("b", ann, false);
  keys.expired("b");
  CHECK(told(keys) == Lines{"1:b"});
  CHECK(!keys.any());
}

TEST_CASE("tracked keys: all of them, each client once") {
  TrackedKeys keys;
  keys.remember("a", ann, false);
  keys.remember("b", ann, false);
  keys.add_prefix("x", bob);
  keys.all_changed();
  keys.all_changed();
  CHECK(told(keys) == Lines{"1:*", "2:*"});
  CHECK(keys.keys() == 0);
  CHECK(keys.prefixes() == 1);
}

TEST_CASE("tracked keys: the bound") {
  TrackedKeys keys;
  keys.set_limit(10);
  for (int i = 0; i < 100; ++i) keys.remember("k" + std::to_string(i), ann, false);
  CHECK(keys.keys() == 10);
  CHECK(told(keys).size() == 90);
  keys.set_limit(4);
  CHECK(keys.keys() == 4);
  CHECK(told(keys).size() == 6);
  keys.set_limit(TrackedKeys::unbounded);
  for (int i = 0; i < 100; ++i) keys.remember("m" + std::to_string(i), ann, false);
  CHECK(keys.keys() == 104);
  CHECK(told(keys).empty());
  keys.set_limit(0);
  CHECK(keys.keys() == 0);
  CHECK(told(keys).size() == 104);
  for (int i = 0; i < 10; ++i) keys.remember("n" + std::to_string(i), ann, false);
  CHECK(keys.keys() == 1);
  CHECK(told(keys).size() == 9);
}
