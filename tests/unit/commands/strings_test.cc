#include "fixture.h"

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
