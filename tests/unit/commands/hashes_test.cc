#include "base/hash.h"
#include "fixture.h"
#include "ring/slot.h"

using gyre::test::Node1;

TEST_CASE("hashes: fields") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("HGET h f") == "$-1");
    CHECK(node("HSET h f 1 g 2") == ":2");
    CHECK(node("HSET h f 3 i 4 i 5") == ":1");
    CHECK(node("HGET h i") == "$1 5");
    CHECK(node("HMGET h f nope g") == "*3 $1 3 $-1 $1 2");
    CHECK(node("HGETALL h") == "*6 $1 f $1 3 $1 g $1 2 $1 i $1 5");
    CHECK(node("HGETALL h", 3) == "%3 $1 f $1 3 $1 g $1 2 $1 i $1 5");
    CHECK(node("HKEYS h") == "*3 $1 f $1 g $1 i");
    CHECK(node("HVALS h") == "*3 $1 3 $1 2 $1 5");
    CHECK(node("HLEN h") == ":3");
    CHECK(node("HSTRLEN h f") == ":1");
    CHECK(node("HSTRLEN h nope") == ":0");
    CHECK(node("HEXISTS h f") == ":1");
    CHECK(node("HSETNX h f 9") == ":0");
    CHECK(node("HSETNX h k 9") == ":1");
    CHECK(node("HDEL h k k nope") == ":1");
    CHECK(node("HMSET h f 4") == "+OK");
    CHECK(node("HMSET h f 4 g") == "-ERR wrong number of arguments for 'hmset' command");
    CHECK(node("HDEL h f g i") == ":3");
    CHECK(node("HGETALL h") == "*0");
    CHECK(node("HGETALL h", 3) == "%0");
    CHECK(node.space.counts({0}).keys == 0);
    CHECK(node.space.counts({0}).tombstones == (ring ? 1u : 0u));
    CHECK(node("SET h x") == "+OK");
    CHECK(node("HSET h f 1") ==
          "-WRONGTYPE Operation against a key holding the wrong kind of value");
    CHECK(node("HGET h f") == "-WRONGTYPE Operation against a key holding the wrong kind of value");
  }
}

TEST_CASE("hashes: a field named twice gets its last value, few fields or many") {
  Node1 node;
  std::vector<std::string> words = {"HSET", "h"};
  for (int i = 0; i < 300; ++i) {
    words.push_back("f" + std::to_string(i % 100));
    words.push_back(std::to_string(i));
  }
  CHECK(node.run(words) == ":100");
  CHECK(node("HGET h f0") == "$3 200");
  CHECK(node("HGET h f99") == "$3 299");
}

TEST_CASE("hashes: a removal on a ring is stamped, also of what is not there") {
  Node1 alone, ring(true);
  alone("HDEL h f");
  CHECK_FALSE(alone.wrote);
  CHECK(ring("HDEL h f") == ":0");
  CHECK(ring.wrote);
  CHECK(ring.space.counts({0}).tombstones == 1);
  CHECK(ring("HSET h f 1") == ":1");
  CHECK(ring.space.counts({0}).keys == 1);
}

TEST_CASE("hashes: counters") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("HINCRBY h n 5") == ":5");
    CHECK(node("HINCRBY h n -7") == ":-2");
    CHECK(node("HGET h n") == "$2 -2");
    CHECK(node("HGETALL h") == "*2 $1 n $2 -2");
    CHECK(node("HSTRLEN h n") == ":2");
    CHECK(node("HSET h n 9223372036854775807 s abc") == ":1");
    CHECK(node("HINCRBY h n 1") == "-ERR increment or decrement would overflow");
    CHECK(node("HINCRBY h s 1") == "-ERR hash value is not an integer");
    CHECK(node("HINCRBY h s x") == "-ERR value is not an integer or out of range");
    CHECK(node("HINCRBYFLOAT h s 1") == "-ERR hash value is not a float");
    CHECK(node("HINCRBYFLOAT h f 1.5") == "$3 1.5");
    CHECK(node("HINCRBYFLOAT h f 1.5") == "$1 3");
    CHECK(node("HINCRBYFLOAT h f inf") == "-ERR value is NaN or Infinity");
    CHECK(node("HINCRBYFLOAT h f x") == "-ERR value is not a valid float");
    CHECK(node("HDEL h n f s") == ":3");
    CHECK(node("HINCRBY h n 1") == ":1");
    CHECK(node("HGETALL h") == "*2 $1 n $1 1");
  }
}

TEST_CASE("hashes: an expired one starts anew") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("HSET h f 1 g 2") == ":2");
    const auto key = std::string("h");
    {
      gyre::Effect e;
      e.key = key;
      e.type = gyre::TypeId::hash;
      e.version = node.space.clock().stamp(node.now);
      e.expiry = {node.now + 10, e.version};
      node.space.merge(gyre::key_slot(key), gyre::key_hash(key), e);
    }
    CHECK(node("HLEN h") == ":2");
    node.now += 11;
    CHECK(node("HLEN h") == ":0");
    CHECK(node("HGET h f") == "$-1");
    CHECK(node("HSET h k 1") == ":1");
    CHECK(node("HGETALL h") == "*2 $1 k $1 1");
  }
}

TEST_CASE("hashes: at random") {
  Node1 node;
  CHECK(node("HRANDFIELD h") == "$-1");
  CHECK(node("HRANDFIELD h 3") == "*0");
  CHECK(node("HSET h f 1 g 2") == ":2");
  CHECK(node("HRANDFIELD h 5") == "*2 $1 f $1 g");
  CHECK(node("HRANDFIELD h 5 WITHVALUES") == "*4 $1 f $1 1 $1 g $1 2");
  CHECK(node("HRANDFIELD h 5 WITHVALUES", 3) == "*2 *2 $1 f $1 1 *2 $1 g $1 2");
  CHECK(node("HRANDFIELD h -3").substr(0, 2) == "*3");
  CHECK(node("HRANDFIELD h 0") == "*0");
  CHECK(node("HRANDFIELD h 1 x") == "-ERR syntax error");
  CHECK(node("HRANDFIELD h x") == "-ERR value is not an integer or out of range");
  CHECK(node("HRANDFIELD h -9223372036854775807 WITHVALUES") == "-ERR value is out of range");
  CHECK(node("HRANDFIELD h -9223372036854775807") == "-ERR value is out of range");
}

TEST_CASE("hashes: HSCAN") {
  Node1 node;
  CHECK(node("HSCAN h 0 NONSENSE") == "*2 $1 0 *0");
  CHECK(node("HSCAN h x") == "-ERR invalid cursor");
  CHECK(node("HSET h f 1 g 2") == ":2");
  CHECK(node("HSCAN h 0") == "*2 $1 0 *4 $1 f $1 1 $1 g $1 2");
  CHECK(node("HSCAN h 0 MATCH f*") == "*2 $1 0 *2 $1 f $1 1");
  CHECK(node("HSCAN h 0 COUNT 0") == "-ERR syntax error");
  CHECK(node("HSCAN h 0 COUNT") == "-ERR syntax error");
  CHECK(node("HSCAN h 0 TYPE hash") == "-ERR syntax error");
}
