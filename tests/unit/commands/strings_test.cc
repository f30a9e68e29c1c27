#include "base/hash.h"
#include "fixture.h"
#include "ring/slot.h"

using gyre::test::Node1;

TEST_CASE("strings: set and get") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("GET a") == "$-1");
    CHECK(node("SET a 1") == "+OK");
    CHECK(node("GET a") == "$1 1");
    CHECK(node("SET a 2 NX") == "$-1");
    CHECK(node("SET b 2 XX") == "$-1");
    CHECK(node("SET a 3 XX GET") == "$1 1");
    CHECK(node("GET a") == "$1 3");
    CHECK(node("GETDEL a") == "$1 3");
    CHECK(node("GET a") == "$-1");
    CHECK(node.space.counts({0}).keys == 0);
    CHECK(node.space.counts({0}).tombstones == (ring ? 1u : 0u));
    CHECK(node("APPEND a xy") == ":2");
    CHECK(node("APPEND a z") == ":3");
    CHECK(node("SETRANGE a 5 q") == ":6");
    CHECK(node("STRLEN a") == ":6");
    CHECK(node("GETRANGE a 0 1") == "$2 xy");
  }
}

// As redis-server answers them (make compat-random).
TEST_CASE("strings: words of SET and GETEX") {
  Node1 node;
  for (const char* wrong : {"PX PX 100", "PX x KEEPTTL", "EX 0 PX 1", "EX", "NX XX", "PERSIST"})
    CHECK(node(std::string("SET a 1 ") + wrong) == "-ERR syntax error");
  CHECK(node("SET a 1 EX 100 EX 200") == "+OK");
  CHECK(node("TTL a") == ":200");
  CHECK(node("SET a 1 EX x GET") == "-ERR value is not an integer or out of range");
  CHECK(node("SET a 1 EX 0 GET") == "-ERR invalid expire time in 'set' command");
  CHECK(node("SET a 1 GET NX EX 5 GET") == "$1 1");
  CHECK(node("GETEX a EX 10 EX 20") == "$1 1");
  CHECK(node("TTL a") == ":20");
  CHECK(node("GETEX a PERSIST PERSIST") == "$1 1");
  CHECK(node("TTL a") == ":-1");
  CHECK(node("GETEX none EX x") == "$-1");
  CHECK(node("GETEX a EX x") == "-ERR value is not an integer or out of range");
  CHECK(node("GETEX none NX") == "-ERR syntax error");
}

TEST_CASE("strings: counters") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("INCR n") == ":1");
    CHECK(node("INCRBY n 9") == ":10");
    CHECK(node("DECR n") == ":9");
    CHECK(node("GET n") == "$1 9");
    CHECK(node("SET n 5") == "+OK");
    CHECK(node("INCR n") == ":6");
    CHECK(node("INCRBYFLOAT n 0.5") == "$3 6.5");
    CHECK(node("GET n") == "$3 6.5");
    CHECK(node("INCR n") == "-ERR value is not an integer or out of range");
    CHECK(node("GETDEL n") == "$3 6.5");
    CHECK(node("INCR n") == ":1");
    CHECK(node("SET n 9223372036854775807") == "+OK");
    CHECK(node("INCR n") == "-ERR increment or decrement would overflow");
  }
}

TEST_CASE("strings: expiry") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("SET a 1 PX 100") == "+OK");
    node.now += 99;
    CHECK(node("GET a") == "$1 1");
    CHECK(node("INCR a") == ":2");
    node.now += 1;
    CHECK(node("GET a") == "$-1");
    CHECK(node("INCR a") == ":1");
    node.now += 1000;
    CHECK(node("GET a") == "$1 1");
    CHECK(node("SET a 1 EX 0") == "-ERR invalid expire time in 'set' command");
  }
}

namespace {

struct Nobody final : gyre::EffectSink {
  void made(gyre::Slot, std::uint64_t, const gyre::Effect&, const gyre::ApplyResult&) override {}
};

}  // namespace

// With a sink every write is an effect that is merged; without, an overwrite may be done in place.
TEST_CASE("strings: what is overwritten in place is as if it had been merged") {
  using namespace gyre;
  Nobody nobody;
  Node1 merged(KeySpaceOptions{.persist = true, .clock_node = 8});
  Node1 direct(KeySpaceOptions{.persist = true, .clock_node = 8});
  merged.sink = &nobody;
  Random random(7);
  const auto below = [&](std::uint64_t n) { return static_cast<std::size_t>(random.below(n)); };
  for (int i = 0; i < 20'000; ++i) {
    const std::string key = "k" + std::to_string(below(40));
    const std::size_t size = below(8) == 0 ? below(70'000) : below(40);
    const std::string value(size, static_cast<char>('a' + below(26)));
    std::vector<std::string> words{"SET", key, value};
    switch (below(12)) {
      case 0:
        words = {"DEL", key};
        break;
      case 1:
        words = {"SET", key, value, "PX", std::to_string(1 + below(50))};
        break;
      case 2:
        words = {"APPEND", key, value.substr(0, 20)};
        break;
      case 3:
        words = {"MSET", key, value, "k1", "2", key, "last"};
        break;
      case 4:
        words = {"GETSET", key, value};
        break;
      case 5:
        words = {"RPUSH", key, value.substr(0, 20)};
        break;
      case 6:
        words = {"SET", key, std::to_string(below(1000))};
        break;
      case 7:
        words = {"INCR", key};
        break;
      case 8:
        words = {"SET", key, value, "KEEPTTL"};
        break;
      default:
        break;
    }
    merged.now = direct.now += static_cast<UnixMs>(below(3));
    REQUIRE(merged.raw(words) == direct.raw(words));
    REQUIRE(merged.wrote == direct.wrote);
    const Node* const a = merged.space.find(key_slot(key), {0}, key, key_hash(key));
    const Node* const b = direct.space.find(key_slot(key), {0}, key, key_hash(key));
    REQUIRE((a == nullptr) == (b == nullptr));
    if (a) {
      REQUIRE(a->version == b->version);
      REQUIRE(a->access() == b->access());
    }
    REQUIRE(merged.space.memory_used() == direct.space.memory_used());
    REQUIRE(merged.space.rows().take() == direct.space.rows().take());
  }
  CHECK(merged.space.counts({0}).keys == direct.space.counts({0}).keys);
}

// On a ring a counter is a base and the sums of those who count, on one node a number.
TEST_CASE("strings: counters answer on a ring as on one node, whatever was added") {
  Node1 alone, ring(true);
  gyre::Random random{7};
  const char* const numbers[] = {"1",    "-1",  "0.1", "-2.25", "1e3", "9223372036854775807",
                                 "17.5", "0.5", "3",   "1e17",  "01",  "-9223372036854775808"};
  const char* const words[] = {"INCR k",       "DECR k",     "INCRBY k #",    "INCRBYFLOAT k #",
                               "SET k #",      "APPEND k #", "HINCRBY h f #", "HINCRBYFLOAT h f #",
                               "HSET h f #",   "GET k",      "HGET h f",      "DEL k",
                               "GETSET k #",   "HDEL h f",   "STRLEN k",      "INCRBYFLOAT k #",
                               "HINCRBY h f #"};
  for (int i = 0; i < 20'000; ++i) {
    std::string line = words[random.below(std::size(words))];
    if (const std::size_t at = line.find('#'); at != std::string::npos)
      line.replace(at, 1, numbers[random.below(std::size(numbers))]);
    CAPTURE(i);
    CAPTURE(line);
    ring.now = alone.now += static_cast<gyre::UnixMs>(random.below(20'000));
    REQUIRE(ring(line) == alone(line));
    REQUIRE(ring("GET k") == alone("GET k"));
    REQUIRE(ring("HGET h f") == alone("HGET h f"));
  }
}
