#include "fixture.h"

using gyre::test::Node1;

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
      const std::string payload = node.payload_of(key);
      CHECK(node.run({"RESTORE", key, "0", payload}) == "-BUSYKEY Target key name already exists.");
      CHECK(node.run({"RESTORE", "copy", "0", payload, "REPLACE"}) == "+OK");
      CHECK(ask("copy") == ask(key));
      CHECK(node.payload_of("copy") == payload);
    }
    CHECK(node.payload_of("long").size() < 2000);
    CHECK(node("DUMP nothing") == "$-1");
  }
}

TEST_CASE("dump: a stream with all that hangs on it") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    for (int i = 1; i <= 250; ++i)
      node("XADD s " + std::to_string(i) + " f " + std::to_string(i) + (i % 9 ? " g x" : ""));
    node("XADD s 300 long " + std::string(6000, 'y'));
    node("XDEL s 7 300");
    node("XTRIM s MAXLEN 240");
    node("XGROUP CREATE s first 20");
    node("XGROUP CREATE s second $");
    node("XREADGROUP GROUP first b COUNT 3 STREAMS s >");
    node("XREADGROUP GROUP first a COUNT 3 STREAMS s >");
    node("XGROUP CREATECONSUMER s second idle");
    const std::string payload = node.payload_of("s");
    CHECK(node.run({"RESTORE", "t", "0", payload}) == "+OK");
    CHECK(node("XINFO STREAM t FULL COUNT 0") == node("XINFO STREAM s FULL COUNT 0"));
    CHECK(node.payload_of("t") == payload);
    CHECK(node("XADD t 300 a b").starts_with("-ERR The ID"));
    CHECK(node("XGROUP CREATE e g 5 MKSTREAM") == "+OK");
    CHECK(node.run({"RESTORE", "f", "0", node.payload_of("e")}) == "+OK");
    CHECK(node("XINFO STREAM f FULL") == node("XINFO STREAM e FULL"));
  }
}

// From Redis' own tests, dumped by Redis 5: six entries, one removed, trimmed to two.
TEST_CASE("restore: a stream of an older server") {
  constexpr std::string_view hex =
      "0f011000000000000000010000000000000000c3404a405716570000002300020104010101846461"
      "746105000103010020010381610204200a0001400a0062600a0002400a0063600a4022018164200a"
      "4039200a0065600a0005400a0066200a00ff02060002026731050004000000000000000100000000"
      "000000003ef783437a01000001000000000000000200000000000000003ef783437a010000010000"
      "00000000000400000000000000003ef783437a01000001000000000000000500000000000000003e"
      "f783437a0100000101036331313ef783437a01000004000000000000000100000000000000000000"
      "00000000000200000000000000000000000000000004000000000000000000000000000000050000"
      "0000000000000267320000000009003d52ef6867521dfa";
  std::string payload;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    payload.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  Node1 node;
  CHECK(node.run({"RESTORE", "x", "0", payload}) == "+OK");
  CHECK(node("XRANGE x - +") == "*2 *2 $3 5-0 *2 $4 data $1 e *2 $3 6-0 *2 $4 data $1 f");
  CHECK(node("XINFO STREAM x").find("max-deleted-entry-id $3 0-0 $13 entries-added :2") !=
        std::string::npos);
  const std::string groups = node("XINFO GROUPS x");
  CHECK(groups.find("last-delivered-id $3 5-0 $12 entries-read :1 $3 lag :1") != std::string::npos);
  CHECK(groups.find("last-delivered-id $3 0-0 $12 entries-read :0 $3 lag :2") != std::string::npos);
  CHECK(node("XPENDING x g1") == "*4 :4 $3 1-0 $3 5-0 *1 *2 $3 c11 $1 4");
  // What does not fit together is refused.
  for (std::size_t cut = 1; cut < payload.size(); cut += 7) {
    const std::string part = payload.substr(0, payload.size() - cut);
    CHECK(node.run({"RESTORE", "y", "0", part}).starts_with("-ERR"));
  }
}

TEST_CASE("restore: options") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    node("SET a x");
    const std::string p = node.payload_of("a");
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
