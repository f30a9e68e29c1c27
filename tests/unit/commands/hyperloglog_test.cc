#include "types/hyperloglog.h"

#include "fixture.h"

using gyre::test::Node1;
namespace hll = gyre::hll;

TEST_CASE("hyperloglog: counting") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("PFCOUNT h") == ":0");
    CHECK(node("PFADD h") == ":1");
    CHECK(node("PFADD h") == ":0");
    CHECK(node("PFCOUNT h") == ":0");
    CHECK(node("PFADD h a b c") == ":1");
    CHECK(node("PFADD h a b c") == ":0");
    CHECK(node("PFCOUNT h") == ":3");
    CHECK(node("PFADD other c d") == ":1");
    CHECK(node("PFCOUNT h other nothing") == ":4");
    CHECK(node("PFMERGE all h other nothing") == "+OK");
    CHECK(node("PFCOUNT all") == ":4");
    CHECK(node("PFMERGE h") == "+OK");
    CHECK(node("PFCOUNT h") == ":3");
    CHECK(node("PFDEBUG DECODE nothing") == "-ERR The specified key does not exist");
    CHECK(node("PFDEBUG WHAT h") == "-ERR Unknown PFDEBUG subcommand 'WHAT'");
    CHECK(node("PFDEBUG ENCODING h") == "+sparse");
    CHECK(node("PFDEBUG TODENSE h") == ":1");
    CHECK(node("PFDEBUG TODENSE h") == ":0");
    CHECK(node("PFDEBUG ENCODING h") == "+dense");
    CHECK(node("PFDEBUG DECODE h") == "-ERR HLL encoding is not sparse");
    CHECK(node("PFCOUNT h") == ":3");
    CHECK(node("STRLEN h") == ":12304");
    CHECK(node("PFADD h a") == ":0");
    CHECK(node.wrote == ring);
    CHECK(node("PFADD h a e") == ":1");
    CHECK(node("PFSELFTEST") == "+OK");
  }
}

TEST_CASE("hyperloglog: the count that is kept, and the expiry") {
  Node1 node;
  node("PFADD h a b c");
  CHECK(node("GETBIT h 120") == ":1");
  CHECK(node("EXPIRE h 100") == ":1");
  CHECK(node("PFCOUNT h") == ":3");
  CHECK(node("GETBIT h 120") == ":0");
  node("PFADD h a b c");
  CHECK(node("GETBIT h 120") == ":0");
  node("PFADD h 1 2 3");
  CHECK(node("GETBIT h 120") == ":1");
  CHECK(node("TTL h") == ":100");
  Node1 ring(true);
  ring("PFADD h a b c");
  CHECK(ring("PFCOUNT h") == ":3");
  CHECK_FALSE(ring.wrote);
}

TEST_CASE("hyperloglog: what is none") {
  Node1 node;
  node("RPUSH list x");
  CHECK(node("PFADD list a").starts_with("-WRONGTYPE Operation"));
  node("SET s text");
  CHECK(node("PFADD s a") == "-WRONGTYPE Key is not a valid HyperLogLog string value.");
  CHECK(node("PFCOUNT s").starts_with("-WRONGTYPE Key"));
  node("PFADD h a b c");
  CHECK(node("PFMERGE h s").starts_with("-WRONGTYPE Key"));
  CHECK(node("PFMERGE s h").starts_with("-WRONGTYPE Key"));
  // A dense one of another size, an encoding that is none.
  CHECK(node.run({"SETRANGE", "h", "4", std::string(1, '\0')}) == ":" + node("STRLEN h").substr(1));
  CHECK(node("PFCOUNT h").starts_with("-WRONGTYPE Key"));
  CHECK(node("SETRANGE h 4 x") == node("STRLEN h"));
  CHECK(node("PFCOUNT h").starts_with("-WRONGTYPE Key"));
}

TEST_CASE("hyperloglog: corrupt runs") {
  Node1 node;
  const char* corrupt = "-INVALIDOBJ Corrupted HLL object detected";
  node("PFADD h a b c");
  node("APPEND h hello");
  CHECK(node("PFCOUNT h") == corrupt);
  CHECK(node("PFCOUNT h h") == corrupt);
  CHECK(node("PFMERGE to h") == corrupt);
  CHECK(node("PFDEBUG GETREG h") == corrupt);
  CHECK(node("PFDEBUG TODENSE h") == corrupt);
  // No run at all, and half of one.
  const std::string header = hll::empty().substr(0, 15) + '\x80';
  node.run({"SET", "e", header});
  CHECK(node("PFADD e a") == corrupt);
  CHECK(node("PFCOUNT e") == corrupt);
  node.run({"SET", "e", header + '\x7f'});
  CHECK(node("PFADD e a") == corrupt);
  CHECK(node("PFCOUNT e") == corrupt);
}

TEST_CASE("hyperloglog: mutated values never reach outside") {
  gyre::Random random(7);
  for (int round = 0; round < 20'000; ++round) {
    std::string value = hll::empty();
    for (std::uint64_t n = random.below(40); n > 0; --n)
      hll::add(value, std::to_string(random.next()), 3000);
    for (std::uint64_t n = random.below(4) + 1; n > 0; --n)
      value[random.below(value.size())] = static_cast<char>(random.next());
    if (random.below(3) == 0) value.resize(random.below(value.size() + 1));
    if (!hll::recognised(value)) continue;
    hll::Registers registers{};
    const bool whole = hll::merge_into(registers, value);
    if (hll::is_sparse(value)) hll::runs_text(value);
    std::string dense = value;
    CHECK(hll::make_dense(dense) == whole);
    for (int i = 0; i < 5; ++i) {
      if (hll::add(value, std::to_string(random.next()), random.below(200)) ==
          hll::Outcome::corrupt)
        CHECK_FALSE(whole);
    }
  }
}

TEST_CASE("hyperloglog: sparse becomes dense") {
  std::string value = hll::empty();
  int added = 0;
  while (hll::is_sparse(value)) hll::add(value, std::to_string(added++), 3000);
  CHECK(added > 500);
  CHECK(value.size() == hll::dense_bytes);
  hll::Registers registers{};
  REQUIRE(hll::merge_into(registers, value));
  const auto count = static_cast<double>(hll::estimate(registers));
  CHECK(count == doctest::Approx(added).epsilon(0.03));
  // Past 32 a register does not fit a run.
  value = hll::empty();
  CHECK(hll::raise(value, 5, 33, 3000) == hll::Outcome::changed);
  CHECK_FALSE(hll::is_sparse(value));
}
