// A node that is back for one of the others only: who acted in its place, and cannot see it yet,
// hears from the one that both see that it is no longer the one who knows.
#include <array>

#include <doctest/doctest.h>

#include "three_nodes.h"

using namespace gyre;
using namespace gyre::sim;

namespace {

// Its key's first replica is cut off, the second acts for it and is only read from; then the link
// between the first and the third is back. Returns how often the second told the past.
int stale_reads(std::uint64_t seed, Us before_writing) {
  ThreeNodes ring(seed);
  const auto replicas = ring.replicas("k");
  const std::size_t first = replicas[0], second_one = replicas[1], third = replicas[2];
  REQUIRE(ring.ask(first, {"SET", "k", "0"}) == "+OK\r\n");
  ring.run(second);
  ring.cut_off(first, true);
  ring.run(8 * second);
  REQUIRE(ring.ask(second_one, {"GET", "k"}) == "$1\r\n0\r\n");
  ring.network.block(first, third, false);
  ring.network.block(third, first, false);
  ring.run(before_writing);
  int stale = 0, written = 0;
  for (int i = 0; i < 200 && written < 20; ++i) {
    const std::string value = std::to_string(i);
    if (ring.ask(first, {"SET", "k", value}) != "+OK\r\n") {
      ring.run(10 * ms);
      continue;
    }
    ++written;
    // Never below what was acknowledged; a question that finds nobody to ask is no answer.
    const std::string reply = ring.ask(second_one, {"GET", "k"});
    stale += reply.starts_with('$') && reply.find("\n" + value + "\r") == std::string::npos;
    ring.run(5 * ms);
  }
  CHECK(written == 20);
  return stale;
}

}  // namespace

TEST_CASE("half back: who acted meanwhile does not tell the past") {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    for (const Us wait : std::array<Us, 5>{0, 300 * ms, second, 3 * second, 6 * second}) {
      CAPTURE(seed);
      CAPTURE(wait);
      CHECK(stale_reads(seed, wait) == 0);
    }
  }
}
