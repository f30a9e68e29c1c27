#include <set>

#include "fixture.h"

using gyre::test::Node1;

namespace {

// The bulk strings of a reply in readable form.
std::multiset<std::string> members(const std::string& reply) {
  std::istringstream in(reply);
  std::multiset<std::string> out;
  bool header = true;
  for (std::string w; in >> w; header = !header) {
    if (w[0] == '*' || w[0] == '~') {
      header = false;
    } else if (!header) {
      out.insert(w);
    }
  }
  return out;
}
using Set = std::multiset<std::string>;

}  // namespace

TEST_CASE("sets: members") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("SMEMBERS s") == "*0");
    CHECK(node("SADD s a b a") == ":2");
    CHECK(node("SADD s a") == ":0");
    CHECK(node.wrote == ring);
    CHECK(node("SADD s c b") == ":1");
    CHECK(node("SCARD s") == ":3");
    CHECK(node("SMEMBERS s") == "*3 $1 a $1 b $1 c");
    CHECK(node("SMEMBERS s", 3) == "~3 $1 a $1 b $1 c");
    CHECK(node("SISMEMBER s b") == ":1");
    CHECK(node("SMISMEMBER s a x") == "*2 :1 :0");
    CHECK(node("SREM s a a x") == ":1");
    CHECK(node("SREM s b c") == ":2");
    CHECK(node("SCARD s") == ":0");
    CHECK(node.space.counts({0}).keys == 0);
    CHECK(node.space.counts({0}).tombstones == (ring ? 1u : 0u));
    CHECK(node("SET s x") == "+OK");
    CHECK(node("SADD s x") == "-WRONGTYPE Operation against a key holding the wrong kind of value");
  }
}

TEST_CASE("sets: SPOP and SRANDMEMBER") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("SPOP s") == "$-1");
    CHECK(node("SPOP s", 3) == "_");
    CHECK(node("SPOP s 3") == "*0");
    CHECK(node("SPOP s -1") == "-ERR value is out of range, must be positive");
    CHECK(node("SPOP s x") == "-ERR value is out of range, must be positive");
    CHECK(node("SPOP s 1 2") == "-ERR syntax error");
    CHECK(node("SRANDMEMBER s") == "$-1");
    CHECK(node("SRANDMEMBER s 3") == "*0");
    for (const int n : {3, 1000}) {
      std::set<std::string> left;
      for (int i = 0; i < n; ++i) {
        node("SADD s " + std::to_string(i));
        left.insert(std::to_string(i));
      }
      CHECK(members(node("SRANDMEMBER s -50")).size() == 50);
      const auto some = members(node("SRANDMEMBER s 200"));
      CHECK(std::set<std::string>(some.begin(), some.end()).size() ==
            static_cast<std::size_t>(n < 200 ? n : 200));
      CHECK(left.erase(*members("*1 " + node("SPOP s")).begin()) == 1);
      while (!left.empty()) {
        const auto popped = members(node("SPOP s 7"));
        REQUIRE_FALSE(popped.empty());
        for (const std::string& m : popped) REQUIRE(left.erase(m) == 1);
        CHECK(node("SCARD s") == ":" + std::to_string(left.size()));
      }
      CHECK(node("SPOP s 7") == "*0");
      CHECK(node.space.counts({0}).keys == 0);
    }
  }
}

TEST_CASE("sets: SMOVE") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("SADD a 1 2") == ":2");
    CHECK(node("SADD b 2") == ":1");
    CHECK(node("SMOVE a b 1") == ":1");
    CHECK(node("SMOVE a b 1") == ":0");
    CHECK_FALSE(node.wrote);
    CHECK(node("SMOVE a b 2") == ":1");
    CHECK(node("SCARD a") == ":0");
    CHECK(members(node("SMEMBERS b")) == Set{"1", "2"});
    CHECK(node("SMOVE b b 1") == ":1");
    CHECK(node("SMOVE b b 9") == ":0");
    CHECK(node("SMOVE none b 1") == ":0");
    CHECK(node("SET x 1") == "+OK");
    CHECK(node("SMOVE b x 1") ==
          "-WRONGTYPE Operation against a key holding the wrong kind of value");
  }
}

TEST_CASE("sets: algebra") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    node("SADD a 1 2 3 4");
    node("SADD b 3 4 5");
    node("SADD c 4");
    CHECK(members(node("SINTER a b")) == Set{"3", "4"});
    CHECK(node("SINTER a b c", 3) == "~1 $1 4");
    CHECK(node("SINTER a none") == "*0");
    CHECK(members(node("SUNION a b none")) == Set{"1", "2", "3", "4", "5"});
    CHECK(members(node("SDIFF a b")) == Set{"1", "2"});
    CHECK(node("SDIFF a a") == "*0");
    CHECK(node("SDIFF none a") == "*0");
    CHECK(node("SINTERCARD 2 a b") == ":2");
    CHECK(node("SINTERCARD 2 a b LIMIT 1") == ":1");
    CHECK(node("SINTERCARD 2 a b LIMIT 0") == ":2");
    CHECK(node("SINTERCARD 0 a") == "-ERR numkeys should be greater than 0");
    CHECK(node("SINTERCARD 3 a b") == "-ERR Number of keys can't be greater than number of args");
    CHECK(node("SINTERCARD 1 a LIMIT -1") == "-ERR LIMIT can't be negative");
    CHECK(node("SINTERCARD 1 a b") == "-ERR syntax error");
    // The destination is a source, too.
    CHECK(node("SUNIONSTORE a a b") == ":5");
    CHECK(members(node("SMEMBERS a")) == Set{"1", "2", "3", "4", "5"});
    CHECK(node("SDIFFSTORE a a b") == ":2");
    CHECK(node("SINTERSTORE a a b") == ":0");
    CHECK(node("SCARD a") == ":0");
    CHECK(node("SET str 1") == "+OK");
    CHECK(node("SUNION b str") ==
          "-WRONGTYPE Operation against a key holding the wrong kind of value");
    CHECK(node("SUNIONSTORE str b c") == ":3");
    CHECK(members(node("SMEMBERS str")) == Set{"3", "4", "5"});
  }
}

TEST_CASE("sets: SSCAN sees all while the set changes") {
  Node1 node;
  CHECK(node("SSCAN s 0") == "*2 $1 0 *0");
  for (int i = 0; i < 2000; ++i) node("SADD s stays" + std::to_string(i));
  std::set<std::string> seen;
  std::string cursor = "0";
  int n = 0;
  do {
    std::istringstream in(node("SSCAN s " + cursor + " COUNT 50"));
    std::string w;
    in >> w >> w >> cursor >> w;
    while (in >> w >> w) seen.insert(w);
    for (int i = 0; i < 40; ++i) node("SADD s more" + std::to_string(n++));
    REQUIRE(n < 100000);
  } while (cursor != "0");
  for (int i = 0; i < 2000; ++i) REQUIRE(seen.count("stays" + std::to_string(i)) == 1);
  CHECK(node("SSCAN s 0 MATCH stays77 COUNT 100000") == "*2 $1 0 *1 $7 stays77");
}

TEST_CASE("sets: SINTERCARD's keys") {
  const gyre::CommandSpec* spec = gyre::find_command("SINTERCARD");
  REQUIRE(bool(spec));
  const auto keys = [&](std::vector<std::string_view> args) {
    std::vector<std::size_t> at;
    gyre::for_each_key(*spec, gyre::Args(args), [&](std::size_t i) { at.push_back(i); });
    return at;
  };
  CHECK(keys({"sintercard", "2", "a", "b", "limit", "1"}) == std::vector<std::size_t>{2, 3});
  CHECK(keys({"sintercard", "9", "a"}).empty());
  CHECK(keys({"sintercard", "x", "a"}).empty());
}
