#include "fixture.h"

using gyre::test::Node1;

TEST_CASE("sort: lists, sets and sorted sets") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    node("RPUSH l 3 1 10 2");
    CHECK(node("SORT l") == "*4 $1 1 $1 2 $1 3 $2 10");
    CHECK(node("SORT_RO l DESC") == "*4 $2 10 $1 3 $1 2 $1 1");
    CHECK(node("SORT l ALPHA") == "*4 $1 1 $2 10 $1 2 $1 3");
    CHECK(node("SORT l LIMIT 1 2") == "*2 $1 2 $1 3");
    CHECK(node("SORT l LIMIT -1 -1 DESC") == "*4 $2 10 $1 3 $1 2 $1 1");
    CHECK(node("SORT l BY nosort DESC") == "*4 $1 2 $2 10 $1 1 $1 3");
    CHECK(node("SORT l GET # GET #").starts_with("*8 $1 1 $1 1 $1 2"));
    CHECK(node("SORT l STORE to") == ":4");
    CHECK(node("LRANGE to 0 -1") == "*4 $1 1 $1 2 $1 3 $2 10");
    CHECK(node("SORT l STORE l") == ":4");
    CHECK(node("LRANGE l 0 -1") == "*4 $1 1 $1 2 $1 3 $2 10");
    CHECK(node("SORT nothing STORE to") == ":0");
    CHECK(node("EXISTS to") == ":0");
    CHECK(node("SORT_RO l STORE to") == "-ERR syntax error");
    CHECK(node("SORT l LIMIT a b") == "-ERR value is not an integer or out of range");
    node("SADD s b a c");
    CHECK(node("SORT s") == "-ERR One or more scores can't be converted into double");
    CHECK(node("SORT s ALPHA DESC") == "*3 $1 c $1 b $1 a");
    CHECK(node("SORT s BY nosort STORE to") == ":3");
    CHECK(node("LRANGE to 0 -1") == "*3 $1 a $1 b $1 c");
    node("ZADD z 1 c 2 b 3 a");
    CHECK(node("SORT z ALPHA") == "*3 $1 a $1 b $1 c");
    CHECK(node("SORT z BY nosort DESC LIMIT 0 2") == "*2 $1 a $1 b");
    node("HSET h a b");
    CHECK(node("SORT h").starts_with("-WRONGTYPE"));
    CHECK(node("RPUSH list x") == ":1");
    node("SET string x");
    CHECK(node("SORT string").starts_with("-WRONGTYPE"));
  }
}

TEST_CASE("sort: keys that patterns lead to") {
  Node1 node;
  node("RPUSH l 1 2 3");
  node("MSET w1 30 w2 20 w3 10 n1 one n3 three");
  node("HSET h1 by c to eins");
  node("HSET h2 by a");
  CHECK(node("SORT l BY w*") == "*3 $1 3 $1 2 $1 1");
  CHECK(node("SORT l BY w* GET # GET n* GET h*->to") ==
        "*9 $1 3 $5 three $-1 $1 2 $-1 $-1 $1 1 $3 one $4 eins");
  CHECK(node("SORT l BY h*->by ALPHA") == "*3 $1 3 $1 2 $1 1");
  CHECK(node("SORT l GET nostar") == "*3 $-1 $-1 $-1");
  CHECK(node("SORT l GET n* STORE to") == ":3");
  CHECK(node("LRANGE to 0 -1") == "*3 $3 one $0  $5 three");
  node("SET w2 text");
  CHECK(node("SORT l BY w*") == "-ERR One or more scores can't be converted into double");
  Node1 ring(true);
  ring("RPUSH l 1 2 3");
  CHECK(ring("SORT l BY w*") == "-ERR BY option of SORT denied in cluster mode.");
  CHECK(ring("SORT l GET w*") == "-ERR GET option of SORT denied in cluster mode.");
  CHECK(ring("SORT l BY w DESC") == "*3 $1 3 $1 2 $1 1");
}

TEST_CASE("sort: which keys it names") {
  const auto keys = [](std::vector<std::string_view> words) {
    std::vector<std::size_t> at;
    gyre::for_each_key(*gyre::find_command("SORT"), words, [&](std::size_t i) { at.push_back(i); });
    return at;
  };
  CHECK(keys({"SORT", "a"}) == std::vector<std::size_t>{1});
  CHECK(keys({"SORT", "a", "BY", "store", "STORE", "b", "STORE", "c"}) ==
        std::vector<std::size_t>{1, 7});
  CHECK(keys({"SORT", "a", "LIMIT", "0", "store", "GET", "x"}) == std::vector<std::size_t>{1});
  const auto wanders = [](std::vector<std::string_view> words) {
    return gyre::find_command("SORT")->wanders(words);
  };
  CHECK(wanders({"SORT", "a", "GET", "x*"}));
  CHECK(wanders({"SORT", "a", "STORE", "b", "BY", "x*"}));
  CHECK_FALSE(wanders({"SORT", "a", "BY", "x", "GET", "#", "STORE", "b*"}));
}
