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
  const std::uint64_t id = ring.start(acts, {"SET", "k", "v"});
  ring.run(3 * second);  // it is not merged there, so nothing is said
  CHECK(ring.answer(id).starts_with("-NOQUORUM"));
  ring.nodes[third]->start();
  ring.run(3 * second);
  CHECK(ring.ask(acts, {"SET", "k", "w"}) == "+OK\r\n");
}

TEST_CASE("clocks: what all others refused is stamped again with the right time") {
  for (const bool restarts : {false, true}) {
    CAPTURE(restarts);
    ThreeNodes ring(2);
    const std::size_t acts = ring.acting("{k}"), odd = (acts + 1) % 3, third = (acts + 2) % 3;
    REQUIRE(ring.ask(acts, {"RPUSH", "{k}list", "a"}) == ":1\r\n");
    REQUIRE(ring.ask(acts, {"INCRBY", "{k}n", "5"}) == ":5\r\n");
    REQUIRE(ring.ask(acts, {"SET", "{k}gone", "x"}) == "+OK\r\n");
    REQUIRE(ring.ask(acts, {"SET", "{k}late", "before"}) == "+OK\r\n");
    ring.run(second);
    // It starts with a wrong clock while nobody can tell it, and is written to.
    ring.nodes[odd]->kill(false);
    ring.nodes[odd]->clock().jumped_ms = ten_minutes;
    ring.cut_off(odd, true);
    ring.nodes[odd]->start();
    ring.run(7 * second);
    CHECK(ring.ask(odd, {"RPUSH", "{k}list", "b", "c"}, one) == ":3\r\n");
    CHECK(ring.ask(odd, {"INCRBY", "{k}n", "2"}, one) == ":7\r\n");
    CHECK(ring.ask(odd, {"INCRBY", "{k}n", "3"}, one) == ":10\r\n");
    CHECK(ring.ask(odd, {"DEL", "{k}gone"}, one) == ":1\r\n");
    CHECK(ring.ask(odd, {"HSET", "{k}hash", "f", "1", "g", "2"}, one) == ":2\r\n");
    CHECK(ring.ask(odd, {"HDEL", "{k}hash", "g"}, one) == ":1\r\n");
    CHECK(ring.ask(odd, {"PEXPIRE", "{k}hash", "9000000"}, one) == ":1\r\n");
    CHECK(ring.ask(odd, {"SET", "{k}late", "ahead"}, one) == "+OK\r\n");
    ring.run(second);
    if (restarts) ring.nodes[odd]->kill(false);
    ring.nodes[odd]->clock().jumped_ms = 0;
    if (restarts) ring.nodes[odd]->start();
    ring.cut_off(odd, false);
    ring.run(10 * second);
    CHECK(ring.nodes[odd]->metrics().stamped_again.get() == 5);
    for (const std::size_t node : {odd, acts, third}) {
      CAPTURE(node);
      const auto reads = [&](std::vector<std::string> args) {
        return ring.nodes[node]->read({0}, std::move(args));
      };
      CHECK(reads({"LRANGE", "{k}list", "0", "-1"}) == "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n");
      CHECK(reads({"GET", "{k}n"}) == "$2\r\n10\r\n");
      CHECK(reads({"EXISTS", "{k}gone"}) == ":0\r\n");
      CHECK(reads({"HGETALL", "{k}hash"}) == "*2\r\n$1\r\nf\r\n$1\r\n1\r\n");
      CHECK(reads({"GET", "{k}late"}) == "$5\r\nahead\r\n");
      CHECK(record_newest(*ring.record(node, "{k}n")).ms() <= ring.nodes[odd]->clock().wall_ms());
    }
    // It acts again, and nobody refuses it.
    const std::uint64_t refused = ring.nodes[acts]->metrics().skew_refused.get();
    const Levels all{.write = {Level::all}};
    CHECK(ring.ask(odd, {"INCRBY", "{k}n", "1"}, all) == ":11\r\n");
    CHECK(ring.ask(odd, {"SET", "{k}late", "after"}, all) == "+OK\r\n");
    CHECK(ring.nodes[acts]->metrics().skew_refused.get() == refused);
    KeySpace& space = ring.nodes[odd]->worker(0).space();
    CHECK(space.verify_digest(key_slot("{k}n")));
    CHECK(space.clock().peek(0).ms() <= ring.nodes[odd]->clock().wall_ms() + 500);
  }
}

// By the time that a clock which was set back has stayed right for a second, the others may accept
// what they refused: it must be put right before (simulator, seed 166).
TEST_CASE("clocks: what all others refused does not cover what came after it") {
  for (const std::int64_t ahead : {3000, 4000, 5000}) {
    CAPTURE(ahead);
    ThreeNodes ring(3);
    const std::size_t acts = ring.acting("{k}"), odd = (acts + 1) % 3, third = (acts + 2) % 3;
    REQUIRE(ring.ask(acts, {"SET", "{k}", "before"}) == "+OK\r\n");
    ring.run(second);
    ring.nodes[odd]->kill(false);
    ring.nodes[odd]->clock().jumped_ms = ahead;
    ring.cut_off(odd, true);
    ring.nodes[odd]->start();
    ring.run(7 * second);
    CHECK(ring.ask(odd, {"SET", "{k}", "ahead"}, one) == "+OK\r\n");
    ring.cut_off(odd, false);
    ring.run(ahead * ms - 2300 * ms);
    ring.nodes[odd]->clock().jumped_ms = 0;
    ring.run(300 * ms);
    REQUIRE(ring.ask(acts, {"SET", "{k}", "after"}) == "+OK\r\n");
    ring.run(10 * second);
    for (const std::size_t node : {odd, acts, third}) {
      CAPTURE(node);
      CHECK(ring.nodes[node]->read({0}, {"GET", "{k}"}) == "$5\r\nafter\r\n");
    }
  }
}
