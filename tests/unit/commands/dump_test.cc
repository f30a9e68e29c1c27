#include "fixture.h"

using gyre::test::Node1;

namespace {

std::string payload_of(Node1& node, const std::string& key) {
  const std::string reply = node.raw({"DUMP", key});
  const std::size_t from = reply.find("\r\n") + 2;
  return reply.substr(from, reply.size() - from - 2);
}

}  // namespace

TEST_CASE("dump: every type comes back") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    node("SET s text");
    node("INCRBY n 5");
    node("RPUSH l a b a 7");
    node("SADD set 1 x");
    node("HSET h f v g 12");
    node("HINCRBY h g 1");
    node("ZADD z 1.5 a -inf b");
    node("ZINCRBY z 1 a");
    node.run({"SET", "long", std::string(100'000, 'x')});
    const std::pair<const char*, const char*> questions[] = {
        {"s", "GET @"},        {"n", "GET @"},     {"l", "LRANGE @ 0 -1"},
        {"set", "SMEMBERS @"}, {"h", "HGETALL @"}, {"z", "ZRANGE @ 0 -1 WITHSCORES"},
        {"long", "GET @"}};
    for (const auto& [key, question] : questions) {
      const auto ask = [&, text = std::string(question)](const std::string& of) {
        std::string line = text;
        return node(line.replace(line.find('@'), 1, of));
      };
      const std::string payload = payload_of(node, key);
      CHECK(node.run({"RESTORE", key, "0", payload}) == "-BUSYKEY Target key name already exists.");
      CHECK(node.run({"RESTORE", "copy", "0", payload, "REPLACE"}) == "+OK");
      CHECK(ask("copy") == ask(key));
      CHECK(payload_of(node, "copy") == payload);
    }
    CHECK(payload_of(node, "long").size() < 2000);
    CHECK(node("DUMP nothing") == "$-1");
  }
}

TEST_CASE("restore: options") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    node("SET a x");
    const std::string p = payload_of(node, "a");
    CHECK(node.run({"RESTORE", "b", "5000", p}) == "+OK");
    CHECK(node("PTTL b") == ":5000");
    CHECK(node.run({"RESTORE", "b", std::to_string(node.now + 7), p, "ABSTTL", "replace"}) ==
          "+OK");
    CHECK(node("PTTL b") == ":7");
    CHECK(node.run({"RESTORE", "b", std::to_string(node.now - 7), p, "ABSTTL", "REPLACE"}) ==
          "+OK");
    CHECK(node("EXISTS b") == ":0");
    CHECK(node.run({"RESTORE", "b", "0", p, "IDLETIME", "10"}) == "+OK");
    CHECK(node("TTL b") == ":-1");
    CHECK(node.run({"RESTORE", "c", "0", p, "FREQ", "256"}) ==
          "-ERR Invalid FREQ value, must be >= 0 and <= 255");
    CHECK(node.run({"RESTORE", "c", "0", p, "FREQ", "1", "IDLETIME", "1"}) == "-ERR syntax error");
    CHECK(node.run({"RESTORE", "c", "0", p, "IDLETIME", "-1"}) ==
          "-ERR Invalid IDLETIME value, must be >= 0");
    CHECK(node.run({"RESTORE", "c", "-1", p}) == "-ERR Invalid TTL value, must be >= 0");
    CHECK(node.run({"RESTORE", "c", "x", p}).starts_with("-ERR value is not an integer"));
    CHECK(node.run({"RESTORE", "c", "0", p + "x"}) ==
          "-ERR DUMP payload version or checksum are wrong");
    CHECK(node.run({"RESTORE", "c", "9223372036854775807", p}) == "+OK");
    CHECK(node("EXISTS c") == ":1");
  }
}
