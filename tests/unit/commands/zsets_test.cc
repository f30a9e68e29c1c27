#include <cmath>
#include <iterator>
#include <map>
#include <set>

#include "base/numbers.h"
#include "fixture.h"
#include "types/zset_collection.h"

using gyre::format_double;
using gyre::Random;
using gyre::test::Node1;

namespace {

bool consistent(Node1& node, const std::string& key) {
  gyre::Random random{1};
  std::string out;
  gyre::Reply reply(out, 2);
  gyre::CommandContext ctx({}, reply, node.db, node.now, node, nullptr, random, node.options);
  const gyre::KeyRef found = ctx.find(key);
  return !found.exists() ||
         static_cast<const gyre::ZsetCollection*>(found.collection())->consistent();
}

// The replies of a range as the model sees them.
using Order = std::set<std::pair<double, std::string>>;
template <class It>
std::string reply_of(It from, It to) {
  std::string out;
  std::size_t n = 0;
  for (It at = from; at != to; ++at, ++n) {
    const std::string score = format_double(at->first);
    out += " $" + std::to_string(at->second.size()) + " " + at->second;
    out += " $" + std::to_string(score.size()) + " " + score;
  }
  return "*" + std::to_string(2 * n) + out;
}

}  // namespace

TEST_CASE("zsets: ZADD and its options") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("ZADD z 1 a 2 b 3 a") == ":2");
    CHECK(node("ZSCORE z a") == "$1 3");
    CHECK(node("ZADD z CH 3 a 5 b 6 c") == ":2");
    CHECK(node("ZADD z NX 9 a 9 d") == ":1");
    CHECK(node("ZADD z XX CH 4 a 9 e") == ":1");
    CHECK(node("ZADD z GT CH 3 a 7 b 1 f") == ":2");
    CHECK(node("ZADD z LT CH 3 a 8 b") == ":1");
    CHECK(node("ZADD z INCR 1.5 a") == "$3 4.5");
    CHECK(node("ZADD z NX INCR 1 a") == "$-1");
    CHECK(node("ZADD z XX INCR 1 none") == "$-1");
    CHECK(node("ZADD z GT INCR -1 a") == "$-1");
    CHECK(node("ZSCORE z a", 3) == ",4.5");
    CHECK(node("ZADD z NX XX 1 a") == "-ERR XX and NX options at the same time are not compatible");
    CHECK(node("ZADD z GT LT 1 a") ==
          "-ERR GT, LT, and/or NX options at the same time are not compatible");
    CHECK(node("ZADD z INCR 1 a 2 b") ==
          "-ERR INCR option supports a single increment-element pair");
    CHECK(node("ZADD z 1") == "-ERR wrong number of arguments");
    CHECK(node("ZADD z 1 a 2") == "-ERR syntax error");
    CHECK(node("ZADD z nan a") == "-ERR value is not a valid float");
    CHECK(node("ZADD none XX 1 a") == ":0");
    CHECK(node.space.counts({0}).keys == 1);
    CHECK(consistent(node, "z"));
  }
}

TEST_CASE("zsets: increments") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("ZINCRBY z 1.25 a") == "$4 1.25");
    CHECK(node("ZINCRBY z -3 a") == "$5 -1.75");
    CHECK(node("ZADD z 10 a") == ":0");
    CHECK(node("ZINCRBY z 1 a") == "$2 11");
    CHECK(node("ZINCRBY z inf a") == "$3 inf");
    CHECK(node("ZINCRBY z -inf a") == "-ERR resulting score is not a number (NaN)");
    CHECK(node("ZINCRBY z x a") == "-ERR value is not a valid float");
    CHECK(node("ZINCRBY z CH x") == "-ERR syntax error");  // as Redis, a word of ZADD
    CHECK(node("ZREM z a") == ":1");
    CHECK(node("ZINCRBY z 2 a") == "$1 2");
    CHECK(node("SET s 1") == "+OK");
    CHECK(node("ZINCRBY s 1 a").starts_with("-WRONGTYPE"));
    CHECK(consistent(node, "z"));
  }
}

TEST_CASE("zsets: on a ring a write that changes nothing is stamped, alone it is not") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    node("ZADD z 1 a");
    CHECK(node("ZADD z 1 a") == ":0");
    CHECK(node.wrote == ring);
    CHECK(node("ZREM z none") == ":0");
    CHECK(node.wrote == ring);
    CHECK(node("ZADD z NX 1 a") == ":0");
    CHECK(!node.wrote);
    CHECK(node("ZADD z GT 1 a") == ":0");
    CHECK(!node.wrote);
  }
}

TEST_CASE("zsets: ranges") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    node("ZADD z 1 a 2 b 2 c 3 d");
    CHECK(node("ZRANGE z 1 -2") == "*2 $1 b $1 c");
    CHECK(node("ZRANGE z 0 0 WITHSCORES", 3) == "*1 *2 $1 a ,1");
    CHECK(node("ZRANGE z 0 1 REV WITHSCORES") == "*4 $1 d $1 3 $1 c $1 2");
    CHECK(node("ZRANGE z (1 2 BYSCORE LIMIT 1 5") == "*1 $1 c");
    CHECK(node("ZRANGE z 2 (1 BYSCORE REV") == "*2 $1 c $1 b");
    CHECK(node("ZRANGE z [b (d BYLEX") == "*2 $1 b $1 c");
    CHECK(node("ZRANGE z 0 -1 LIMIT 0 1") ==
          "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
    CHECK(node("ZRANGE z - + BYLEX WITHSCORES") ==
          "-ERR syntax error, WITHSCORES not supported in combination with BYLEX");
    CHECK(node("ZRANGEBYSCORE z x 2") == "-ERR min or max is not a float");
    CHECK(node("ZRANGEBYLEX z a b") == "-ERR min or max not valid string range item");
    CHECK(node("ZREVRANGEBYSCORE z +inf 2 LIMIT 1 1") == "*1 $1 c");
    CHECK(node("ZCOUNT z 2 (3") == ":2");
    CHECK(node("ZLEXCOUNT z - [b") == ":2");
    CHECK(node("ZRANK z c") == ":2");
    CHECK(node("ZREVRANK z c") == ":1");
    CHECK(node("ZRANK z x") == "$-1");
    CHECK(node("ZMSCORE z a x") == "*2 $1 1 $-1");
    CHECK(node("ZRANGESTORE z z 1 2") == ":2");
    CHECK(node("ZRANGE z 0 -1") == "*2 $1 b $1 c");
    CHECK(node("ZREMRANGEBYRANK z 0 0") == ":1");
    CHECK(node("ZREMRANGEBYSCORE z 5 9") == ":0");
    CHECK(node("ZREMRANGEBYLEX z [c +") == ":1");
    CHECK(node("ZCARD z") == ":0");
    CHECK(node.space.counts({0}).keys == 0);
  }
}

TEST_CASE("zsets: pops, random members, scan") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    node("ZADD z 1 a 2 b 3 c 4 d 5 e");
    CHECK(node("ZPOPMIN z") == "*2 $1 a $1 1");
    CHECK(node("ZPOPMAX z 1", 3) == "*1 *2 $1 e ,5");
    CHECK(node("ZPOPMAX z", 3) == "*2 $1 d ,4");
    CHECK(node("ZPOPMIN z 0") == "*0");
    CHECK(node("ZPOPMIN z -1") == "-ERR value is out of range, must be positive");
    CHECK(node("ZMPOP 2 none z MIN COUNT 5") == "*2 $1 z *2 *2 $1 b $1 2 *2 $1 c $1 3");
    CHECK(node("ZMPOP 2 none z MIN") == "*-1");
    CHECK(node("ZMPOP 1 z MIN COUNT") == "-ERR syntax error");
    CHECK(node("ZMPOP 1 z MIN COUNT COUNT 3") == "-ERR count should be greater than 0");
    CHECK(node("ZMPOP 1 z MIN COUNT 3 COUNT 3") == "-ERR syntax error");
    CHECK(node("ZMPOP 0 z MIN") == "-ERR numkeys should be greater than 0");
    CHECK(node("ZRANDMEMBER z") == "$-1");
    CHECK(node("ZRANDMEMBER z 2") == "*0");
    CHECK(node("ZRANDMEMBER z -9223372036854775807") == "*0");
    node("ZADD z 1 a");
    CHECK(node("ZRANDMEMBER z") == "$1 a");
    CHECK(node("ZRANDMEMBER z -9223372036854775807") == "-ERR value is out of range");
    CHECK(node("ZRANDMEMBER z -3") == "*3 $1 a $1 a $1 a");
    CHECK(node("ZRANDMEMBER z 3 WITHSCORES", 3) == "*1 *2 $1 a ,1");
    CHECK(node("ZSCAN z 0") == "*2 $1 0 *2 $1 a $1 1");
    for (int i = 0; i < 1000; ++i) node("ZADD big " + std::to_string(i) + " m" + std::to_string(i));
    const std::string picked = node("ZRANDMEMBER big 900");
    CHECK(picked.starts_with("*900 "));
    CHECK(node("ZRANDMEMBER big 20").starts_with("*20 "));
    CHECK(node("ZSCAN big 0 COUNT 2000").starts_with("*2 $1 0 *2000 "));
    CHECK(node("ZSCAN big 0 COUNT 2000 MATCH m99?").starts_with("*2 $1 0 *20 "));
  }
}

TEST_CASE("zsets: algebra") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    node("ZADD a 1 x 2 y 3 z");
    node("ZADD b 10 y 20 z 30 w");
    CHECK(node("ZUNION 2 a b WITHSCORES") == "*8 $1 x $1 1 $1 y $2 12 $1 z $2 23 $1 w $2 30");
    CHECK(node("ZINTER 2 a b WEIGHTS 2 1 AGGREGATE MAX WITHSCORES") == "*4 $1 y $2 10 $1 z $2 20");
    CHECK(node("ZDIFF 2 a b") == "*1 $1 x");
    CHECK(node("ZINTERCARD 2 a b LIMIT 1") == ":1");
    CHECK(node("ZUNIONSTORE a 2 a b") == ":4");
    CHECK(node("ZSCORE a z") == "$2 23");
    CHECK(node("ZINTERSTORE a 2 a none") == ":0");
    CHECK(node("ZCARD a") == ":0");
    CHECK(node("ZDIFFSTORE c 2 b a") == ":3");
    CHECK(node("ZUNION 0 a") == "-ERR at least 1 input key is needed for 'zunion' command");
    CHECK(node("ZUNION 2 b c WEIGHTS 1 x") == "-ERR weight value is not a float");
    CHECK(node("ZUNION 3 b c") == "-ERR syntax error");
    CHECK(node("ZINTERCARD 1 b LIMIT -1") == "-ERR LIMIT can't be negative");
    node("SET s 1");
    CHECK(node("ZUNION 2 b s").starts_with("-WRONGTYPE"));
    CHECK(node("ZUNIONSTORE s 1 b") == ":3");
    CHECK(node("ZRANK s w") == ":2");
    // Sets take part with scores of 1.
    if (node("SADD t w q") == ":2") {
      CHECK(node("ZUNION 2 b t WITHSCORES") == "*8 $1 q $1 1 $1 y $2 10 $1 z $2 20 $1 w $2 31");
      CHECK(node("ZDIFF 2 t b") == "*1 $1 q");
    }
  }
}

TEST_CASE("zsets: where the keys of numbered commands are") {
  const auto keys = [](std::vector<std::string_view> args) {
    std::vector<std::size_t> out;
    for_each_key(*gyre::find_command(args[0]), gyre::Args(args),
                 [&](std::size_t i) { out.push_back(i); });
    return out;
  };
  CHECK(keys({"ZUNION", "2", "a", "b", "WITHSCORES"}) == std::vector<std::size_t>{2, 3});
  CHECK(keys({"ZINTERSTORE", "d", "1", "a"}) == std::vector<std::size_t>{1, 3});
  CHECK(keys({"ZMPOP", "9", "a", "MIN"}).empty());
  CHECK(keys({"ZUNIONSTORE", "d", "2", "a"}).empty());
  CHECK(keys({"ZRANGESTORE", "d", "s", "0", "1"}) == std::vector<std::size_t>{1, 2});
}

TEST_CASE("zsets: random commands against a std::set") {
  for (const std::uint64_t members : {30u, 600u}) {
    for (const bool ring : {false, true}) {
      Node1 node(ring);
      Random random(members + ring);
      std::map<std::string, double> scores;
      const auto draw_score = [&] { return static_cast<double>(random.below(400)) / 8 - 20; };
      for (int step = 0; step < 6000; ++step) {
        const std::string member = "m" + std::to_string(random.below(members));
        const double score = draw_score();
        const bool there = scores.contains(member);
        switch (random.below(8)) {
          case 0:
          case 1:
          case 2:
            REQUIRE(node.run({"ZADD", "z", format_double(score), member}) == (there ? ":0" : ":1"));
            scores[member] = score;
            break;
          case 3:
            scores[member] += score;
            REQUIRE(node.run({"ZINCRBY", "z", format_double(score), member})
                        .ends_with(" " + format_double(scores[member])));
            break;
          case 4:
            REQUIRE(node.run({"ZREM", "z", member}) == (there ? ":1" : ":0"));
            scores.erase(member);
            break;
          case 5:
            REQUIRE(node.run({"ZADD", "z", "GT", "XX", format_double(score), member}) == ":0");
            if (there) scores[member] = std::max(scores[member], score);
            break;
          default:
            break;
        }
        if (step % 20 != 0) continue;
        Order order;
        for (const auto& [m, s] : scores) order.emplace(s, m);
        double low = draw_score(), high = draw_score();
        if (low > high) std::swap(low, high);
        const auto from = order.lower_bound({low, ""});
        const auto to = order.lower_bound({std::nextafter(high, 1e9), ""});
        const std::string a = format_double(low), b = format_double(high);
        REQUIRE(node.run({"ZRANGEBYSCORE", "z", a, b, "WITHSCORES"}) == reply_of(from, to));
        REQUIRE(node.run({"ZREVRANGEBYSCORE", "z", b, a, "WITHSCORES"}) ==
                reply_of(std::make_reverse_iterator(to), std::make_reverse_iterator(from)));
        REQUIRE(node("ZCARD z") == ":" + std::to_string(order.size()));
        REQUIRE(consistent(node, "z"));
        if (step % 1000 == 0 && !order.empty()) {
          REQUIRE(node("ZPOPMIN z") == reply_of(order.begin(), std::next(order.begin())));
          scores.erase(order.begin()->second);
        }
      }
    }
  }
}
