// Transactions over several slots while who coordinates them, or who acts for one of the slots,
// dies at any moment in between: all or nothing, and soon.
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/probe.h"
#include "three_nodes.h"

using namespace gyre;
using namespace gyre::sim;

namespace {

// Keys that two nodes act for.
std::pair<std::string, std::string> keys_of(const ThreeNodes& ring, std::size_t first,
                                            std::size_t second, int i) {
  std::string a = "a" + std::to_string(i), b = "b" + std::to_string(i);
  while (ring.acting(a) != first) a += 'x';
  while (ring.acting(b) != second) b += 'x';
  return {a, b};
}

}  // namespace

TEST_CASE("spanning: all or nothing, whoever dies at whatever moment") {
  const std::uint64_t settled = probe_count(Probe::part_settled);
  int there = 0, not_there = 0;
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    ThreeNodes ring(seed);
    for (int i = 0; i < 60; ++i) {
      CAPTURE(seed);
      CAPTURE(i);
      // Who coordinates dies, or who acts for the second key.
      const std::size_t from = 0, dies = i % 2 == 0 ? 0 : 2;
      const auto [a, b] = keys_of(ring, 1, 2, i);
      ring.start(from, {"MSETNX", a, "1", b, "2"});
      ring.run(static_cast<Us>(i) * 40);
      ring.nodes[dies]->kill(false);
      ring.run(4 * second);
      const std::string one = ring.ask(1, {"GET", a}), two = ring.ask(1, {"GET", b});
      const bool none = one == "$-1\r\n" && two == "$-1\r\n";
      const bool both = one == "$1\r\n1\r\n" && two == "$1\r\n2\r\n";
      CAPTURE(one);
      CAPTURE(two);
      CHECK((none || both));
      ++(both ? there : not_there);
      ring.nodes[dies]->start();
      ring.run(8 * second);
      CHECK(ring.ask(dies, {"GET", a}) == one);
      CHECK(ring.ask(dies, {"GET", b}) == two);
    }
  }
  // The moments were before, between and after.
  CHECK(there > 5);
  CHECK(not_there > 5);
  CHECK(probe_count(Probe::part_settled) > settled);
}

// Nobody knows whether what was on its way to the dead node is prepared: those who act then agree,
// and it counts or begins again.
TEST_CASE("spanning: who coordinates answers, though a node dies that acts for a part") {
  const std::uint64_t unknown = probe_count(Probe::spanning_unknown);
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    ThreeNodes ring(seed);
    for (int i = 0; i < 60; ++i) {
      CAPTURE(seed);
      CAPTURE(i);
      const auto [a, b] = keys_of(ring, 1, 2, i);
      const std::uint64_t id = ring.start(0, {"MSETNX", a, "1", b, "2"});
      ring.run(static_cast<Us>(i) * 40);
      ring.nodes[2]->kill(false);
      ring.run(2 * second);
      CHECK(ring.answer(id) == ":1\r\n");
      CHECK(ring.ask(1, {"GET", a}) == "$1\r\n1\r\n");
      CHECK(ring.ask(1, {"GET", b}) == "$1\r\n2\r\n");
      ring.nodes[2]->start();
      ring.run(8 * second);
    }
  }
  CHECK(probe_count(Probe::spanning_unknown) > unknown + 5);
}

// Simulator, seed 356: a node that has just started takes itself for the one who acts for its slots
// while the others do not see it yet. What it prepares they declare void, at the same moment.
TEST_CASE("spanning: two act for one of the slots, and its replicas agree on one outcome") {
  const std::uint64_t settled = probe_count(Probe::part_settled);
  int there = 0;
  std::uint64_t void_ones = 0;  // it begins again then
  ThreeNodes ring(1);
  for (int i = 0; i < 40; ++i) {
    CAPTURE(i);
    std::string a = "a" + std::to_string(i), b = "b" + std::to_string(i);
    while (ring.acting(a) != 0) a += 'x';
    while (ring.replicas(b) != std::array<std::size_t, 3>{2, 1, 0}) b += 'x';
    ring.nodes[2]->kill(false);
    ring.run(3 * second);
    ring.ask(1, {"GET", b});  // it acts for the slot from now on, and is sure of it soon
    ring.run(3 * second);
    ring.ask(0, {"GET", b});
    ring.nodes[2]->start();
    // Node 1 acts for the slot in the eyes of node 0, which asks it, maybe before either has heard
    // of what node 2 prepares.
    ring.network.set_delay(2, 0, 1'000, 60'000);
    ring.network.set_delay(2, 1, 50'000, 300'000);
    ring.run(100'000 + static_cast<Us>(i) * 10'000);
    const std::uint64_t id = ring.start(2, {"MSETNX", a, "1", b, "2"});
    ring.run(2 * second);
    ring.network.set_delay(2, 0, 50, 300);
    ring.network.set_delay(2, 1, 50, 300);
    ring.run(3 * second);
    const std::string one = ring.ask(1, {"GET", a}), two = ring.ask(1, {"GET", b});
    const bool none = one == "$-1\r\n" && two == "$-1\r\n";
    const bool both = one == "$1\r\n1\r\n" && two == "$1\r\n2\r\n";
    const std::string reply = ring.answer(id);
    CAPTURE(one);
    CAPTURE(two);
    CAPTURE(reply);
    CHECK((none || both));
    if (reply == ":1\r\n") CHECK(both);
    there += both;
    void_ones += ring.nodes[2]->metrics().spanning_again.get();
    for (const std::size_t node : {0u, 2u}) {
      CHECK(ring.ask(node, {"GET", a}) == one);
      CHECK(ring.ask(node, {"GET", b}) == two);
    }
  }
  CHECK(there > 5);
  CHECK(void_ones > 3);
  CHECK(probe_count(Probe::part_settled) > settled + 5);
}

TEST_CASE("spanning: those who meet take turns, and nobody waits for ever") {
  ThreeNodes ring(1);
  std::vector<std::string> keys;
  for (int i = 0; i < 5; ++i) keys.push_back("k" + std::to_string(i));
  std::vector<std::uint64_t> ids;
  for (int round = 0; round < 30; ++round) {
    for (std::size_t from = 0; from < 3; ++from) {
      // Every one wants all, each in another order.
      std::vector<std::string> words{"MSETNX"};
      for (std::size_t k = 0; k < keys.size(); ++k) {
        words.push_back(keys[(k + from + static_cast<std::size_t>(round)) % keys.size()]);
        words.push_back(std::to_string(ids.size()));
      }
      ids.push_back(ring.start(from, words));
    }
    ring.run(100);
  }
  int made = 0;
  for (const std::uint64_t id : ids) {
    const std::string reply = ring.answer(id);
    REQUIRE((reply == ":1\r\n" || reply == ":0\r\n"));
    made += reply == ":1\r\n";
  }
  CHECK(made == 1);
  const std::string first = ring.ask(0, {"GET", keys[0]});
  for (const std::string& k : keys) CHECK(ring.ask(1, {"GET", k}) == first);
}

TEST_CASE("spanning: nothing is left of transactions that have ended") {
  ThreeNodes ring(3);
  for (int i = 0; i < 50; ++i) {
    const auto [a, b] = keys_of(ring, 1, 2, i);
    REQUIRE(ring.ask(0, {"MSETNX", a, "1", b, "2"}) == ":1\r\n");
  }
  ring.run(30 * second);
  for (const auto& node : ring.nodes) {
    std::size_t parts = 0;
    node->worker(0).space().for_each_of(prepared_db, [&](Node&) { ++parts; });
    CHECK(parts == 0);
    CHECK(node->waiting() == "");
  }
}

// Its client has the answer when all parts are prepared. They are carried out later.
TEST_CASE("spanning: KEYS, SCAN and DBSIZE show what its client was told") {
  ThreeNodes ring(4);
  std::uint64_t waited = 0;
  for (int i = 0; i < 30; ++i) {
    CAPTURE(i);
    const auto [a, b] = keys_of(ring, 1, 2, i);
    const std::uint64_t id = ring.start(0, {"MSETNX", a, "1", b, "2"});
    ring.run(20);
    ring.network.set_delay(0, 2, 500, 5000);
    REQUIRE(ring.answer(id) == ":1\r\n");
    CHECK(ring.ask(static_cast<std::size_t>(i) % 3, {"DBSIZE"}) ==
          ":" + std::to_string(2 * (i + 1)) + "\r\n");
    CHECK(ring.ask(static_cast<std::size_t>(i + 1) % 3, {"KEYS", b}).ends_with(b + "\r\n"));
    ring.network.set_delay(0, 2, 50, 300);
  }
  for (const auto& node : ring.nodes) waited += node->metrics().walks_waited.get();
  CHECK(waited > 5);
}
