#include "fixture.h"

using gyre::DbIndex;
using gyre::test::Node1;

TEST_CASE("keys: removing and counting") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    node("MSET a 1 b 2 c 3");
    CHECK(node("EXISTS a b a x") == ":3");
    CHECK(node("TOUCH a x") == ":1");
    CHECK(node("TYPE a") == "+string");
    CHECK(node("TYPE x") == "+none");
    CHECK(node("DEL a a x") == ":1");
    CHECK(node("UNLINK b c") == ":2");
    CHECK(node("EXISTS a b c") == ":0");
    CHECK(node.space.counts({0}).keys == 0);
  }
}

TEST_CASE("keys: a key that is not here gets a floor on a ring alone") {
  Node1 ring(true);
  CHECK(ring("DEL x") == ":0");
  CHECK(ring.wrote);
  CHECK(ring.space.counts({0}).tombstones == 1);
  Node1 alone(false);
  CHECK(alone("DEL x") == ":0");
  CHECK(!alone.wrote);
  CHECK(alone.space.counts({0}).tombstones == 0);
}

TEST_CASE("keys: two databases change places") {
  Node1 node;
  node("SET a 1 PX 5000");
  node("RPUSH l x y");
  node.db = {3};
  node("SET a three");
  node("HSET h f v");
  node.db = {0};
  CHECK(node("SWAPDB 0 3") == "+OK");
  CHECK(node("GET a") == "$5 three");
  CHECK(node("HGET h f") == "$1 v");
  CHECK(node("EXISTS l") == ":0");
  CHECK(node.space.counts({0}).keys == 2);
  CHECK(node.space.counts({3}).keys == 2);
  node.db = {3};
  CHECK(node("GET a") == "$1 1");
  CHECK(node("LRANGE l 0 -1") == "*2 $1 x $1 y");
  CHECK(node("PTTL a") == ":5000");
  CHECK(node("SWAPDB 3 3") == "+OK");
  CHECK(node("SWAPDB x 3") == "-ERR invalid first DB index");
  CHECK(node("SWAPDB 3 x") == "-ERR invalid second DB index");
  CHECK(node("SWAPDB 3 16") == "-ERR DB index is out of range");
  Node1 ring(true);
  CHECK(ring("SWAPDB 0 1").starts_with("-ERR SWAPDB inside of MULTI or a script"));
}

TEST_CASE("keys: an expired key counts as absent and goes") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    node("SET a 1 PX 100");
    node.now += 100;
    CHECK(node("EXISTS a") == ":0");
    CHECK(node("TYPE a") == "+none");
    CHECK(node("RENAME a b") == "-ERR no such key");
    CHECK(node("DEL a") == ":0");
    CHECK(node.space.counts({0}).keys == 0);
  }
}

TEST_CASE("keys: rename") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("RENAME a b") == "-ERR no such key");
    CHECK(node("RENAME a a") == "-ERR no such key");
    CHECK(node("RENAMENX a b") == "-ERR no such key");
    node("SET a 1");
    CHECK(node("RENAME a a") == "+OK");
    CHECK(node("RENAMENX a a") == ":0");
    CHECK(node("RENAME a b") == "+OK");
    CHECK(node("GET b") == "$1 1");
    CHECK(node("EXISTS a") == ":0");
    node("SET a 2");
    CHECK(node("RENAMENX a b") == ":0");
    CHECK(node("RENAMENX a c") == ":1");
    CHECK(node("MGET a b c") == "*3 $-1 $1 1 $1 2");
    // The expiry goes along, and what the other had is gone.
    node("EXPIRE b 10");
    CHECK(node("RENAME b c") == "+OK");
    CHECK(node("PTTL c") == ":10000");
    node("SET d 1");
    CHECK(node("RENAME d c") == "+OK");
    CHECK(node("TTL c") == ":-1");
    CHECK(node.space.counts({0}).keys == 1);
    CHECK(node.space.counts({0}).expires == 0);
  }
}

TEST_CASE("keys: counters are copied as their totals") {
  Node1 node(true);
  node("INCRBY n 5");
  node("INCRBY n 6");
  node("HINCRBY h f 3");
  node("HSET h g text");
  node("HSET h gone 1");
  node("HDEL h gone");
  CHECK(node("COPY n m") == ":1");
  CHECK(node("INCRBY m 1") == ":12");
  CHECK(node("GET n") == "$2 11");
  CHECK(node("COPY h i") == ":1");
  CHECK(node("HINCRBY i f 1") == ":4");
  CHECK(node("HGET h f") == "$1 3");
  CHECK(node("HLEN i") == ":2");
  CHECK(node("HGET i g") == "$4 text");
  CHECK(node("HGET i gone") == "$-1");
  // Over a key of another type, and over one that has more.
  node("SADD i2 x");
  CHECK(node("COPY h i2") == ":0");
  CHECK(node("COPY h i2 REPLACE") == ":1");
  CHECK(node("TYPE i2") == "+hash");
  node("HSET i more 1");
  CHECK(node("RENAME h i") == "+OK");
  CHECK(node("HLEN i") == ":2");
  CHECK(node("EXISTS h") == ":0");
}

TEST_CASE("keys: copy and move between databases") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    node("SADD s a b c");
    node("EXPIRE s 100");
    CHECK(node("COPY s s") == "-ERR source and destination objects are the same");
    CHECK(node("COPY s t DB 99") == "-ERR DB index is out of range");
    CHECK(node("COPY s t DB -1") == "-ERR DB index is out of range");
    CHECK(node("COPY s t DB x") == "-ERR value is not an integer or out of range");
    CHECK(node("COPY s t DB 99999999999") ==
          "-ERR value is out of range, value must between -2147483648 and 2147483647");
    CHECK(node("COPY s t DB") == "-ERR syntax error");
    CHECK(node("COPY x t") == ":0");
    CHECK(node("COPY s s DB 1") == ":1");
    CHECK(node("COPY s s DB 1") == ":0");
    CHECK(node("COPY s s DB 1 REPLACE") == ":1");
    CHECK(node("MOVE s 0") == "-ERR source and destination objects are the same");
    CHECK(node("MOVE s 16") == "-ERR DB index is out of range");
    CHECK(node("MOVE s 1") == ":0");
    CHECK(node("MOVE x 1") == ":0");
    CHECK(node("MOVE s 2") == ":1");
    CHECK(node("EXISTS s") == ":0");
    for (const DbIndex db : {DbIndex{1}, DbIndex{2}}) {
      node.db = db;
      CHECK(node("SCARD s") == ":3");
      CHECK(node("TTL s") == ":100");
    }
    CHECK(node.space.counts({0}).keys == 0);
    CHECK(node.space.counts({2}).expires == 1);
  }
}

TEST_CASE("keys: lists and sorted sets are copied in their order") {
  for (const bool ring : {false, true}) {
    for (const int size : {5, 1000}) {
      Node1 node(ring);
      for (int i = 0; i < size; ++i) {
        node("RPUSH l " + std::to_string(i));
        node("ZADD z " + std::to_string(i % 7) + " m" + std::to_string(i));
      }
      node("LPUSH l first");
      node("LPOP l");
      node("ZINCRBY z 0.5 m3");
      node("ZINCRBY z 2 m3");
      node("ZREM z m4");
      const std::string list = node("LRANGE l 0 -1"), zset = node("ZRANGE z 0 -1 WITHSCORES");
      CHECK(node("COPY l k") == ":1");
      CHECK(node("LRANGE k 0 -1") == list);
      CHECK(node("RENAME z y") == "+OK");
      CHECK(node("ZRANGE y 0 -1 WITHSCORES") == zset);
      CHECK(node("ZINCRBY y 1 m3") == "$3 6.5");
      // The copy is a list like any other.
      CHECK(node("LPUSH k a") == ":" + std::to_string(size + 1));
      CHECK(node("RPOP k") ==
            "$" + std::to_string(std::to_string(size - 1).size()) + " " + std::to_string(size - 1));
      CHECK(node("LINDEX k 0") == "$1 a");
      CHECK(node("LRANGE l 0 -1") == list);
    }
  }
}

TEST_CASE("keys: OBJECT ENCODING is a rule over the value") {
  Node1 node;
  const auto encoding = [&](const std::string& key) { return node("OBJECT ENCODING " + key); };
  CHECK(encoding("x") == "$-1");
  node("MSET i 123 j 0123 k 9223372036854775808");
  CHECK(encoding("i") == "$3 int");
  CHECK(encoding("j") == "$6 embstr");
  CHECK(encoding("k") == "$6 embstr");
  node("SET l " + std::string(44, 'x'));
  CHECK(encoding("l") == "$6 embstr");
  node("SET l " + std::string(45, 'x'));
  CHECK(encoding("l") == "$3 raw");
  node.options.hash_max_listpack_entries = 2;
  node("HSET h a 1 b 2");
  CHECK(encoding("h") == "$8 listpack");
  node("HSET h c 3");
  CHECK(encoding("h") == "$9 hashtable");
  node("HSET g a " + std::string(64, 'x'));
  CHECK(encoding("g") == "$8 listpack");
  node("HSET g a " + std::string(65, 'x'));
  CHECK(encoding("g") == "$9 hashtable");
  node("SADD s 1 2");
  CHECK(encoding("s") == "$6 intset");
  node("SADD s x");
  CHECK(encoding("s") == "$9 hashtable");
  node("SADD t 1 2 3");
  node("RPUSH list a");
  CHECK(encoding("list") == "$9 quicklist");
  node("ZADD z 1 a 2 b");
  CHECK(encoding("z") == "$8 listpack");
  node.options.zset_max_listpack_value = 0;
  CHECK(encoding("z") == "$8 skiplist");
  node.options.set_max_intset_entries = 2;
  CHECK(encoding("t") == "$9 hashtable");
}

TEST_CASE("keys: OBJECT and MEMORY otherwise") {
  Node1 node;
  node("SET a 1");
  CHECK(node("OBJECT REFCOUNT a") == ":2147483647");
  node("SET large 10000");
  CHECK(node("OBJECT REFCOUNT large") == ":1");
  node.options.memory.limit = 1 << 30;
  node.options.memory.policy.by = gyre::EvictionPolicy::By::access;
  CHECK(node("OBJECT REFCOUNT a") == ":1");
  node.options.memory = {};
  CHECK(node("OBJECT REFCOUNT x") == "$-1");
  CHECK(node("OBJECT FREQ x") == "$-1");
  CHECK(node("OBJECT FREQ a").starts_with("-ERR An LFU maxmemory policy is not selected"));
  node.space.access().set(node.now, {});
  node("GET a");
  node.space.access().set(node.now + 9000, {});
  CHECK(node("OBJECT IDLETIME a") == ":9");
  for (const char* look : {"EXISTS a", "TYPE a", "TTL a", "MEMORY USAGE a"}) node(look);
  CHECK(node("OBJECT IDLETIME a") == ":9");
  node("TOUCH a");
  CHECK(node("OBJECT IDLETIME a") == ":0");
  node.space.access().set(node.now + 9000, {.frequency = true});
  CHECK(node("OBJECT IDLETIME a").starts_with("-ERR An LFU maxmemory policy is selected"));
  node("SET b 1");
  CHECK(node("OBJECT FREQ b") == ":5");
  node.space.access().set(node.now, {});
  CHECK(node("OBJECT HELP").starts_with("*11 +OBJECT <subcommand>"));
  CHECK(node("MEMORY USAGE a").starts_with(":"));
  CHECK(node("MEMORY USAGE a SAMPLES 5").starts_with(":"));
  CHECK(node("MEMORY USAGE a SAMPLES -1") == "-ERR syntax error");
  CHECK(node("MEMORY USAGE a SAMPLES") == "-ERR syntax error");
  CHECK(node("MEMORY USAGE x") == "$-1");
}
