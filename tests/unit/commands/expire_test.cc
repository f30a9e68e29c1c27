#include "fixture.h"

using gyre::test::Node1;

TEST_CASE("expire: times to live") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("TTL a") == ":-2");
    CHECK(node("EXPIRE a 10") == ":0");
    node("SADD a x");
    CHECK(node("TTL a") == ":-1");
    CHECK(node("EXPIRETIME a") == ":-1");
    CHECK(node("PERSIST a") == ":0");
    CHECK(node("EXPIRE a 10") == ":1");
    node.now += 500;
    CHECK(node("TTL a") == ":10");
    node.now += 1;
    CHECK(node("TTL a") == ":9");
    CHECK(node("PTTL a") == ":9499");
    CHECK(node("PEXPIRETIME a") == ":1700000010000");
    CHECK(node("EXPIRETIME a") == ":1700000010");
    CHECK(node("PERSIST a") == ":1");
    CHECK(node("PTTL a") == ":-1");
    CHECK(node("PEXPIRE a 100") == ":1");
    CHECK(node("EXPIREAT a 1800000000") == ":1");
    CHECK(node("EXPIRETIME a") == ":1800000000");
    CHECK(node("PEXPIREAT a 1700000001000") == ":1");
    CHECK(node("SCARD a") == ":1");
    node.now = 1'700'000'001'000;
    CHECK(node("SCARD a") == ":0");
    CHECK(node("TTL a") == ":-2");
    CHECK(node("PERSIST a") == ":0");
    // What is written to an expired key begins anew.
    CHECK(node("SADD a y") == ":1");
    CHECK(node("SMEMBERS a") == "*1 $1 y");
    CHECK(node("TTL a") == ":-1");
  }
}

TEST_CASE("expire: a time in the past removes") {
  for (const bool ring : {false, true}) {
    for (const char* line : {"EXPIRE a 0", "EXPIRE a -1", "PEXPIRE a -5", "EXPIREAT a 1",
                             "PEXPIREAT a 0", "PEXPIREAT a 1700000000000"}) {
      Node1 node(ring);
      node("SET a 1");
      CHECK(node(line) == ":1");
      CHECK(node("EXISTS a") == ":0");
      CHECK(node.space.counts({0}).keys == 0);
      CHECK(node.space.counts({0}).expires == 0);
    }
  }
}

TEST_CASE("expire: conditions") {
  Node1 node;
  node("SET a 1");
  CHECK(node("EXPIRE a 10 XX") == ":0");
  CHECK(node("EXPIRE a 10 GT") == ":0");
  CHECK(node("EXPIRE a 10 LT") == ":1");
  CHECK(node("EXPIRE a 20 NX") == ":0");
  CHECK(node("EXPIRE a 20 LT") == ":0");
  CHECK(node("EXPIRE a 20 gt xx") == ":1");
  CHECK(node("EXPIRE a 20 GT") == ":0");
  CHECK(node("EXPIRE a 15 XX LT") == ":1");
  CHECK(node("TTL a") == ":15");
  CHECK(node("PERSIST a") == ":1");
  CHECK(node("EXPIRE a 5 NX") == ":1");
  CHECK(node("EXPIRE a -1 GT") == ":0");
  CHECK(node("EXPIRE a -1 LT") == ":1");
  CHECK(node("EXISTS a") == ":0");
}

TEST_CASE("expire: errors") {
  Node1 node;
  node("SET a 1");
  CHECK(node("EXPIRE a x") == "-ERR value is not an integer or out of range");
  CHECK(node("EXPIRE a 1 NX XX") ==
        "-ERR NX and XX, GT or LT options at the same time are not compatible");
  CHECK(node("EXPIRE a 1 GT LT") == "-ERR GT and LT options at the same time are not compatible");
  CHECK(node("EXPIRE a 1 QQ") == "-ERR Unsupported option QQ");
  CHECK(node("EXPIRE a 9223372036854775807") == "-ERR invalid expire time in 'expire' command");
  CHECK(node("PEXPIRE a 9223372036854775807") == "-ERR invalid expire time in 'pexpire' command");
  CHECK(node("EXPIREAT a 9223372036854775807") == "-ERR invalid expire time in 'expireat' command");
  CHECK(node("EXPIRE a -9223372036854775808") == "-ERR invalid expire time in 'expire' command");
  CHECK(node("PEXPIREAT a 9223372036854775807") == ":1");
  CHECK(node("EXPIRETIME a") == ":9223372036854776");
}
