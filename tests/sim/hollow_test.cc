// A replica that was away while a key was made to live on, and has dropped its elements meanwhile,
// asks for the whole record before it acks what it missed.
#include <doctest/doctest.h>

#include "../unit/effort.h"
#include "record/record.h"
#include "three_nodes.h"

using namespace gyre;
using namespace gyre::sim;

TEST_CASE("hollow: what revives a dropped record comes with all of it") {
  for (std::uint64_t seed = 1; seed <= test::effort(5); ++seed) {
    ThreeNodes ring(seed);
    CAPTURE(seed);
    const std::size_t acts = ring.acting("k"), away = (acts + 1) % 3, other = (acts + 2) % 3;
    REQUIRE(ring.ask(acts, {"HSET", "k", "f", "1", "g", "2"}) == ":2\r\n");
    REQUIRE(ring.ask(acts, {"PEXPIRE", "k", "3000"}) == ":1\r\n");
    ring.cut_off(away, true);
    REQUIRE(ring.ask(acts, {"PERSIST", "k"}) == ":1\r\n");
    ring.run(8 * second);
    REQUIRE(ring.record(away, "k") != nullptr);
    CHECK(record_stub(*ring.record(away, "k")));
    CHECK(ring.nodes[away]->metrics().expired_stubs.get() == 1);
    CHECK(ring.nodes[away]->read({0}, {"HGET", "k", "g"}) == "$-1\r\n");
    CHECK(ring.nodes[other]->read({0}, {"HGET", "k", "g"}) == "$1\r\n2\r\n");
    ring.cut_off(away, false);
    ring.run(8 * second);
    CHECK(ring.asked() > 0);
    for (const auto& node : ring.nodes) {
      CHECK(node->waiting() == "");
      CHECK(node->read({0}, {"HGET", "k", "g"}) == "$1\r\n2\r\n");
      CHECK(node->worker(0).space().slot_digest(key_slot("k")) ==
            ring.nodes[acts]->worker(0).space().slot_digest(key_slot("k")));
    }
  }
}

TEST_CASE("hollow: a write that finds a stub is acknowledged once the record is whole") {
  for (std::uint64_t seed = 1; seed <= test::effort(5); ++seed) {
    ThreeNodes ring(seed);
    CAPTURE(seed);
    const std::size_t acts = ring.acting("k"), early = (acts + 1) % 3, away = (acts + 2) % 3;
    REQUIRE(ring.ask(acts, {"HSET", "k", "f", "1", "g", "2"}) == ":2\r\n");
    REQUIRE(ring.ask(acts, {"PEXPIRE", "k", "4000"}) == ":1\r\n");
    // A clock that runs ahead, by steps that its guard follows, drops the elements long before
    // their time.
    for (int i = 0; i < 15; ++i) {
      ring.nodes[early]->clock().offset_ms += 400;
      ring.run(40 * ms);
    }
    ring.run(1 * second);
    REQUIRE(record_stub(*ring.record(early, "k")));
    ring.cut_off(away, true);
    ring.run(1 * second);
    const std::uint64_t before = ring.asked();
    // Two of three have to have it, and one of them has only a stub.
    CHECK(ring.ask(acts, {"PERSIST", "k"}) == ":1\r\n");
    CHECK(ring.asked() == before + 1);
    CHECK(ring.nodes[early]->read({0}, {"HGET", "k", "g"}) == "$1\r\n2\r\n");
  }
}

TEST_CASE("hollow: a stub of a clock that was ahead is dropped when the clock is set back") {
  ThreeNodes ring(1);
  const std::size_t acts = ring.acting("k"), early = (acts + 1) % 3;
  REQUIRE(ring.ask(acts, {"HSET", "k", "f", "1", "g", "2"}) == ":2\r\n");
  REQUIRE(ring.ask(acts, {"PEXPIRE", "k", "60000"}) == ":1\r\n");
  // It starts ahead, and nobody can tell it.
  ring.nodes[early]->kill(false);
  ring.nodes[early]->clock().jumped_ms = 120'000;
  ring.cut_off(early, true);
  ring.nodes[early]->start();
  ring.run(7 * second);
  REQUIRE(record_stub(*ring.record(early, "k")));
  ring.cut_off(early, false);
  ring.nodes[early]->clock().jumped_ms = 0;
  ring.run(8 * second);
  for (const auto& node : ring.nodes) {
    CHECK(node->waiting() == "");
    CHECK(node->read({0}, {"HGET", "k", "g"}) == "$1\r\n2\r\n");
    CHECK(node->worker(0).space().slot_digest(key_slot("k")) ==
          ring.nodes[acts]->worker(0).space().slot_digest(key_slot("k")));
  }
}
