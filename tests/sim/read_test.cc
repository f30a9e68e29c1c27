// What a read at a quorum tells is held by a quorum when it is told.
#include <doctest/doctest.h>

#include "three_nodes.h"

using namespace gyre;
using namespace gyre::sim;

TEST_CASE("reads: a quorum holds what a read at a quorum has told") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    ThreeNodes ring(seed, 0);  // no hints: only the read brings it
    CAPTURE(seed);
    const std::size_t acts = ring.acting("k"), other = (acts + 1) % 3, third = (acts + 2) % 3;
    REQUIRE(ring.ask(acts, {"SET", "k", "old"}) == "+OK\r\n");
    ring.run(second);
    ring.cut_off(acts, true);
    ring.run(second);
    REQUIRE(ring.ask(acts, {"SET", "k", "new"}, {.write = {Level::one}, .read = {Level::one}}) ==
            "+OK\r\n");
    for (const std::size_t node : {other, third}) {
      REQUIRE(ring.nodes[node]->read({0}, {"GET", "k"}) == "$3\r\nold\r\n");
    }
    // One link is back; the third stays away.
    ring.network.block(acts, other, false);
    ring.network.block(other, acts, false);
    std::string reply;
    for (int i = 0; i < 200 && !reply.starts_with('$'); ++i) {
      ring.run(10 * ms);
      reply = ring.ask(acts, {"GET", "k"}, {.write = {Level::quorum}, .read = {Level::quorum}});
    }
    CHECK(reply == "$3\r\nnew\r\n");
    CHECK(ring.nodes[other]->read({0}, {"GET", "k"}) == reply);
    CHECK(ring.nodes[third]->read({0}, {"GET", "k"}) == "$3\r\nold\r\n");
  }
}
