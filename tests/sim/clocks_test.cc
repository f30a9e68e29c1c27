// A node whose clock is wrong: what it may not do, and what may not count on it.
#include <doctest/doctest.h>

#include "three_nodes.h"

using namespace gyre;
using namespace gyre::sim;

namespace {

constexpr std::int64_t ten_minutes = 600'000;
const Levels one{.write = {Level::one}, .read = {Level::one}};

}  // namespace

TEST_CASE("clocks: a node with a clock that is off serves through others") {
  for (const std::int64_t off : {ten_minutes, -ten_minutes}) {
    ThreeNodes ring(1);
    const std::size_t odd = ring.acting("k");
    ring.nodes[odd]->kill(false);
    ring.nodes[odd]->clock().jumped_ms = off;
    ring.nodes[odd]->start();
    ring.run(7 * second);
    CHECK(ring.nodes[odd]->serving());
    CHECK(ring.nodes[odd]->metrics().clock_fenced.get() == 1);
    CHECK(ring.ask(odd, {"SET", "k", "v"}) == "+OK\r\n");
    CHECK(ring.ask((odd + 1) % 3, {"GET", "k"}) == "$1\r\nv\r\n");
    // One that is behind takes no stamp of the others for right; they refuse nothing.
    for (std::size_t i = 1; i < 3; ++i)
      CHECK(ring.nodes[(odd + i) % 3]->metrics().skew_refused.get() == 0);
    // Set right, it is fit a second later and has what it missed.
    ring.nodes[odd]->clock().jumped_ms = 0;
    ring.run(4 * second);
    CHECK(ring.nodes[odd]->read({0}, {"GET", "k"}) == "$1\r\nv\r\n");
    CHECK(ring.ask(odd, {"SET", "k", "w"}) == "+OK\r\n");
    ring.run(second);
    for (const auto& node : ring.nodes) CHECK(node->read({0}, {"GET", "k"}) == "$1\r\nw\r\n");
  }
}

TEST_CASE("clocks: a replica that holds something stamped far ahead does not count for a write") {
  ThreeNodes ring(1);
  const std::size_t acts = ring.acting("k"), odd = (acts + 1) % 3, third = (acts + 2) % 3;
  // It starts with a wrong clock while nobody can tell it.
  ring.nodes[odd]->kill(false);
  ring.nodes[odd]->clock().jumped_ms = ten_minutes;
  ring.cut_off(odd, true);
  ring.nodes[odd]->start();
  ring.run(7 * second);
  REQUIRE(ring.ask(odd, {"SET", "k", "ahead"}, one) == "+OK\r\n");
  ring.cut_off(odd, false);
  ring.run(3 * second);
  ring.nodes[third]->kill(false);
  ring.run(1 * second);
  CHECK(ring.ask(acts, {"SET", "k", "v"}).starts_with("-NOQUORUM"));
  ring.nodes[third]->start();
  ring.run(1 * second);
  CHECK(ring.ask(acts, {"SET", "k", "w"}) == "+OK\r\n");
}
