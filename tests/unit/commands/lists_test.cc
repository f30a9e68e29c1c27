#include <algorithm>
#include <deque>
#include <map>

#include "../effort.h"
#include "fixture.h"

using gyre::test::Node1;

TEST_CASE("lists: pushes and pops") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("LPUSHX l a") == ":0");
    CHECK(node("RPUSH l a b c") == ":3");
    CHECK(node("LPUSH l x y") == ":5");
    CHECK(node("RPUSHX l d") == ":6");
    CHECK(node("LRANGE l 0 -1") == "*6 $1 y $1 x $1 a $1 b $1 c $1 d");
    CHECK(node("LRANGE l -2 100") == "*2 $1 c $1 d");
    CHECK(node("LRANGE l 4 2") == "*0");
    CHECK(node("LRANGE l 100 -9223372036854775808") == "*0");
    CHECK(node("LRANGE l -9223372036854775808 9223372036854775807").starts_with("*6"));
    CHECK(node("LLEN l") == ":6");
    CHECK(node("LPOP l") == "$1 y");
    CHECK(node("RPOP l 2") == "*2 $1 d $1 c");
    CHECK(node("LPOP l 0") == "*0");
    CHECK(node("LPOP l -1") == "-ERR value is out of range, must be positive");
    CHECK(node("LPOP l x") == "-ERR value is out of range, must be positive");
    CHECK(node("LPOP l 1 2") == "-ERR wrong number of arguments for 'lpop' command");
    CHECK(node("LPOP l 10") == "*3 $1 x $1 a $1 b");
    CHECK(node("LPOP l") == "$-1");
    CHECK(node("LPOP l 1") == "*-1");
    CHECK(node("LLEN l") == ":0");
    CHECK(node.space.counts({0}).keys == 0);
    CHECK(node.space.counts({0}).tombstones == (ring ? 1u : 0u));
    CHECK(node("RPUSH l z") == ":1");
    CHECK(node("LRANGE l 0 -1") == "*1 $1 z");
    CHECK(node("SET s 1") == "+OK");
    CHECK(node("LPUSH s 1") ==
          "-WRONGTYPE Operation against a key holding the wrong kind of value");
  }
}

TEST_CASE("lists: the middle") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("LSET l 0 x") == "-ERR no such key");
    CHECK(node("LINSERT l BEFORE a b") == ":0");
    CHECK(node("RPUSH l a b c b a") == ":5");
    CHECK(node("LINDEX l 2") == "$1 c");
    CHECK(node("LINDEX l -1") == "$1 a");
    CHECK(node("LINDEX l 5") == "$-1");
    CHECK(node("LINDEX l -6") == "$-1");
    CHECK(node("LSET l 2 C") == "+OK");
    CHECK(node("LSET l -6 C") == "-ERR index out of range");
    CHECK(node("LINSERT l BEFORE C 1") == ":6");
    CHECK(node("LINSERT l AFTER C 2") == ":7");
    CHECK(node("LINSERT l before a 0") == ":8");
    CHECK(node("LINSERT l after q 0") == ":-1");
    CHECK(node("LINSERT l beside a 0") == "-ERR syntax error");
    CHECK(node("LRANGE l 0 -1") == "*8 $1 0 $1 a $1 b $1 1 $1 C $1 2 $1 b $1 a");
    CHECK(node("LPOS l b") == ":2");
    CHECK(node("LPOS l b RANK 2") == ":6");
    CHECK(node("LPOS l b RANK -1 COUNT 0") == "*2 :6 :2");
    CHECK(node("LPOS l a COUNT 0 MAXLEN 3") == "*1 :1");
    CHECK(node("LPOS l q") == "$-1");
    CHECK(node("LPOS l q COUNT 1") == "*0");
    CHECK(node("LREM l -1 b") == ":1");
    CHECK(node("LREM l 0 a") == ":2");
    CHECK(node("LREM l 0 q") == ":0");
    CHECK(node("LRANGE l 0 -1") == "*5 $1 0 $1 b $1 1 $1 C $1 2");
    CHECK(node("LTRIM l 1 -2") == "+OK");
    CHECK(node("LRANGE l 0 -1") == "*3 $1 b $1 1 $1 C");
    CHECK(node("LTRIM l 5 6") == "+OK");
    CHECK(node("LLEN l") == ":0");
    CHECK(node.space.counts({0}).keys == 0);
  }
}

TEST_CASE("lists: between lists") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("RPOPLPUSH l m") == "$-1");
    CHECK(node("RPUSH l a b c") == ":3");
    CHECK(node("RPOPLPUSH l l") == "$1 c");
    CHECK(node("LMOVE l l LEFT RIGHT") == "$1 c");
    CHECK(node("LMOVE l l LEFT LEFT") == "$1 a");
    CHECK(node("LRANGE l 0 -1") == "*3 $1 a $1 b $1 c");
    CHECK(node("LMOVE l m RIGHT LEFT") == "$1 c");
    CHECK(node("LMOVE l m UP LEFT") == "-ERR syntax error");
    CHECK(node("LMPOP 2 none m LEFT COUNT 5") == "*2 $1 m *1 $1 c");
    CHECK(node("LMPOP 2 none m LEFT") == "*-1");
    CHECK(node("LMPOP 1 l RIGHT") == "*2 $1 l *1 $1 b");
    CHECK(node("LMPOP 0 l RIGHT") == "-ERR numkeys should be greater than 0");
    CHECK(node("LMPOP 1 l RIGHT COUNT 0") == "-ERR count should be greater than 0");
    CHECK(node("LMPOP 2 l RIGHT") == "-ERR syntax error");
    CHECK(node("LMPOP 1 l RIGHT COUNT 1 COUNT 1") == "-ERR syntax error");
    CHECK(node("SET s 1") == "+OK");
    CHECK(node("LMOVE l s LEFT LEFT") ==
          "-WRONGTYPE Operation against a key holding the wrong kind of value");
    CHECK(node("LRANGE l 0 -1") == "*1 $1 a");
    CHECK(node("LMOVE l m LEFT LEFT") == "$1 a");
    CHECK(node("LLEN l") == ":0");
    CHECK(node("LRANGE m 0 -1") == "*1 $1 a");
    CHECK(node("LMOVE m m LEFT RIGHT") == "$1 a");
    CHECK(node("LRANGE m 0 -1") == "*1 $1 a");
  }
}

namespace {

using List = std::deque<std::string>;

std::string text_of(const List& values) {
  std::string out = "*" + std::to_string(values.size());
  for (const std::string& v : values) out += " $" + std::to_string(v.size()) + " " + v;
  return out;
}

// One random command against the node and the same done to the model; the replies must agree.
void step(Node1& node, std::map<std::string, List>& lists, gyre::Random& random, bool grow) {
  const std::string key = random.below(2) ? "l" : "m";
  List& list = lists[key];
  const auto word = [&] {
    return std::string(1 + random.below(random.below(20) == 0 ? 400 : 8),
                       static_cast<char>('a' + random.below(4)));
  };
  const auto number = [](std::int64_t n) { return std::to_string(n); };
  const auto size = static_cast<std::int64_t>(list.size());
  const std::int64_t index =
      static_cast<std::int64_t>(random.below(list.size() * 2 + 3)) - size - 1;
  const auto place = [&](std::int64_t i) { return static_cast<std::size_t>(i < 0 ? i + size : i); };
  const auto bulk = [](const std::string& v) { return "$" + std::to_string(v.size()) + " " + v; };
  node.now += static_cast<gyre::UnixMs>(random.below(4));
  switch (random.below(grow ? 11 : 14)) {
    case 0:
    case 1:
    case 2: {
      const bool left = random.below(2) == 0;
      std::vector<std::string> words = {left ? "LPUSH" : "RPUSH", key};
      for (std::uint64_t n = 1 + random.below(grow ? 20 : 4); n > 0; --n) {
        words.push_back(word());
        left ? list.push_front(words.back()) : list.push_back(words.back());
      }
      REQUIRE(node.run(words) == ":" + std::to_string(list.size()));
      return;
    }
    case 3:
    case 4: {
      const bool left = random.below(2) == 0;
      List out;
      for (auto n = 1 + random.below(5); out.size() < n && !list.empty();) {
        out.push_back(left ? list.front() : list.back());
        left ? list.pop_front() : list.pop_back();
      }
      const std::string count = out.empty() ? "3" : std::to_string(out.size());
      REQUIRE(node.run({left ? "LPOP" : "RPOP", key, count}) ==
              (out.empty() ? "*-1" : text_of(out)));
      return;
    }
    case 5: {
      const bool in = size > 0 && index >= -size && index < size;
      REQUIRE(node.run({"LINDEX", key, number(index)}) == (in ? bulk(list[place(index)]) : "$-1"));
      return;
    }
    case 6: {
      const bool in = size > 0 && index >= -size && index < size;
      const std::string value = word();
      const char* const bad = size ? "-ERR index out of range" : "-ERR no such key";
      REQUIRE(node.run({"LSET", key, number(index), value}) == (in ? "+OK" : bad));
      if (in) list[place(index)] = value;
      return;
    }
    case 7: {
      const std::string pivot = word(), value = word();
      const bool before = random.below(2) == 0;
      const auto at = std::find(list.begin(), list.end(), pivot);
      const bool empty = list.empty(), found = at != list.end();
      if (found) list.insert(before ? at : at + 1, value);
      REQUIRE(node.run({"LINSERT", key, before ? "BEFORE" : "AFTER", pivot, value}) ==
              (empty   ? ":0"
               : found ? ":" + std::to_string(list.size())
                       : ":-1"));
      return;
    }
    case 8: {
      const std::string other = random.below(2) ? "l" : "m";
      const bool from_left = random.below(2) == 0, to_left = random.below(2) == 0;
      std::string expected = "$-1";
      if (!list.empty()) {
        const std::string v = from_left ? list.front() : list.back();
        from_left ? list.pop_front() : list.pop_back();
        List& to = lists[other];
        to_left ? to.push_front(v) : to.push_back(v);
        expected = bulk(v);
      }
      REQUIRE(node.run({"LMOVE", key, other, from_left ? "LEFT" : "RIGHT",
                        to_left ? "LEFT" : "RIGHT"}) == expected);
      return;
    }
    case 9: {
      const std::string value = word();
      const auto at = std::find(list.begin(), list.end(), value);
      REQUIRE(node.run({"LPOS", key, value}) ==
              (at == list.end() ? "$-1" : ":" + number(at - list.begin())));
      return;
    }
    case 10:
      REQUIRE(node.run({"LLEN", key}) == ":" + number(size));
      return;
    case 11: {
      const std::string value = word();
      const std::int64_t count = static_cast<std::int64_t>(random.below(5)) - 2;
      std::int64_t removed = 0;
      List kept;
      const auto drop = [&](const std::string& v) {
        return v == value && (count == 0 || removed < std::abs(count)) && ++removed;
      };
      if (count < 0) {
        for (auto i = list.rbegin(); i != list.rend(); ++i) {
          if (!drop(*i)) kept.push_front(*i);
        }
      } else {
        for (const std::string& v : list) {
          if (!drop(v)) kept.push_back(v);
        }
      }
      list = kept;
      REQUIRE(node.run({"LREM", key, number(count), value}) == ":" + number(removed));
      return;
    }
    default: {
      const std::int64_t first = static_cast<std::int64_t>(random.below(4)),
                         last = -1 - static_cast<std::int64_t>(random.below(4));
      REQUIRE(node.run({"LTRIM", key, number(first), number(last)}) == "+OK");
      for (std::int64_t i = 0; i < first && !list.empty(); ++i) list.pop_front();
      for (std::int64_t i = -1; i > last && !list.empty(); --i) list.pop_back();
    }
  }
}

}  // namespace

TEST_CASE("lists: random commands as on a deque") {
  for (const bool ring : {false, true}) {
    for (std::uint64_t seed = 1; seed <= gyre::test::effort(4); ++seed) {
      Node1 node(ring);
      gyre::Random random(seed);
      std::map<std::string, List> lists;
      for (int i = 0; i < 8000; ++i) {
        step(node, lists, random, i % 2000 < 1200);
        if (i % 100 != 0) continue;
        for (const auto& [key, list] : lists) {
          REQUIRE(node.run({"LRANGE", key, "0", "-1"}) == text_of(list));
          if (list.empty()) continue;
          const auto from = static_cast<std::int64_t>(random.below(list.size()));
          const auto to = std::min<std::int64_t>(from + 50, static_cast<std::int64_t>(list.size()));
          const List part(list.begin() + from, list.begin() + to);
          REQUIRE(node.run({"LRANGE", key, std::to_string(from), std::to_string(from + 49)}) ==
                  text_of(part));
        }
      }
    }
  }
}

TEST_CASE("lists: a push and a pop of two nodes meet") {
  struct Kept : gyre::EffectSink {
    std::vector<std::string> effects;
    void made(gyre::Slot slot, std::uint64_t hash, const gyre::Effect& e,
              const gyre::ApplyResult&) override {
      at_slot = slot;
      key_hash = hash;
      gyre::encode_effect(effects.emplace_back(), e);
    }
    void give(gyre::KeySpace& to) const {
      for (const std::string& bytes : effects) {
        gyre::Reader in(bytes);
        gyre::Effect e;
        REQUIRE(gyre::decode_effect(in, e));
        to.merge(at_slot, key_hash, e);
      }
    }
    gyre::Slot at_slot{};
    std::uint64_t key_hash = 0;
  };
  Kept sink[2];
  Node1 a(true, 8), b(true, 16);
  a.sink = &sink[0];
  CHECK(a("RPUSH l 1 2 3") == ":3");
  sink[0].give(b.space);
  sink[0].effects.clear();
  b.sink = &sink[1];
  CHECK(a("LPOP l") == "$1 1");
  CHECK(a("RPUSH l a4 a5") == ":4");
  CHECK(a("LINSERT l BEFORE 3 a") == ":5");
  CHECK(b("RPUSH l b4 b5") == ":5");
  CHECK(b("LINSERT l BEFORE 3 b") == ":6");
  CHECK(b("LSET l 1 two") == "+OK");
  sink[0].give(b.space);
  sink[1].give(a.space);
  const std::string both = a("LRANGE l 0 -1");
  CHECK(both == b("LRANGE l 0 -1"));
  CHECK(both == "*8 $3 two $1 b $1 a $1 3 $2 b4 $2 a4 $2 b5 $2 a5");
}
