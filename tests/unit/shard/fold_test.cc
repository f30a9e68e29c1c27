// Sums of counters that nobody adds to any more become a base, on every replica the same.
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "../effort.h"
#include "../record/random_effects.h"
#include "base/hash.h"
#include "record/purge.h"
#include "side.h"

using namespace gyre;
using namespace gyre::test;

namespace {

constexpr std::string_view names[] = {"n", "h", "z"};

// Three replicas of a few counters. Two of them act by turns, or both at once.
struct Three {
  explicit Three(std::uint64_t seed) : random(seed) {}

  std::string draw() {
    const std::string by = std::to_string(static_cast<int>(random.below(2000)) - 1000);
    switch (random.below(12)) {
      case 0:
        return "SET n " + by;
      case 1:
        return "HSET h f " + by;
      case 2:
        return "ZADD z " + by + " m";
      case 3:
        return "DEL " + std::string(names[random.below(3)]);
      case 4:
        return "HDEL h f";
      case 5:
        return "ZREM z m";
      case 6:
        return "INCRBYFLOAT n 0.5";
      case 7:
      case 8:
        return "HINCRBY h f " + by;
      case 9:
      case 10:
        return "ZINCRBY z " + by + " m";
      default:
        return "INCRBY n " + by;
    }
  }
  // Runs a command at one of the two; the others hear of it at once, or when told to.
  void run(bool at_once) {
    now += static_cast<UnixMs>(random.below(40'000));
    for (Side* s : {&a, &b, &c}) s->now = now;
    const bool first = random.below(2) == 0;
    Side& acts = first ? a : b;
    const std::string effect = acts.effect_if_any(draw());
    if (effect.empty()) return;
    for (Side* other : {first ? &b : &a, &c}) {
      if (at_once) {
        other->take(effect);
      } else {
        late.emplace_back(other, effect);
      }
    }
  }
  // As a replica hears effects: without what it knows.
  static void hear(Side& side, const std::string& effect) {
    Effect e;
    Reader in(effect);
    REQUIRE(decode_effect(in, e));
    const Slot slot = key_slot(e.key);
    if (const Version t = side.space.repaired(slot); !t || strip_known(e, t))
      side.space.merge(slot, key_hash(e.key), e);
  }
  void tell(Side* side) {
    std::vector<std::pair<Side*, std::string>> rest;
    for (auto& [to, effect] : late) {
      if (to == side) {
        hear(*to, effect);
      } else {
        rest.emplace_back(to, std::move(effect));
      }
    }
    late = std::move(rest);
  }
  std::string values(Side& s) const {
    return s("GET n") + " " + s("HGET h f") + " " + s("ZSCORE z m");
  }
  static std::string contents(const Side& s) {
    std::string all;
    for (const std::string_view name : names) all += content_of(s.record(name)) + "\n";
    return all;
  }
  void purge(Side& s, Version t) const {
    for (const std::string_view name : names) {
      s.space.set_repaired(key_slot(name), t);
      REQUIRE(s.space.verify_digest(key_slot(name)));
    }
  }

  Random random;
  UnixMs now = 1'700'000'000'000;
  Side a{1}, b{2}, c{3};
  std::vector<std::pair<Side*, std::string>> late;
};

std::size_t sums_of(const Side& s, std::string_view key) {
  const Node* n = s.record(key);
  return n ? string_cell(*n).sums().size() : 0;
}

}  // namespace

TEST_CASE("folding: whenever replicas fold, they end equal and count the same") {
  for (std::uint64_t seed = 1; seed <= test::effort(2000); ++seed) {
    INFO("seed " << seed);
    Three t(seed);
    for (std::uint64_t i = t.random.below(20); i > 0; --i) t.run(true);
    const Version upto = Version::below_ms(t.now + 1);
    t.purge(t.a, upto);
    if (t.random.below(2) == 0) t.purge(t.b, upto);
    for (std::uint64_t i = t.random.below(8); i > 0; --i) t.run(false);
    for (Side* s : {&t.b, &t.a, &t.c}) {
      if (s == &t.b && t.random.below(2) == 0) t.purge(t.b, upto);
      t.tell(s);
    }
    t.purge(t.b, upto);
    const std::string here = Three::contents(t.a), there = Three::contents(t.b);
    REQUIRE(here == there);
    for (const std::string_view name : names)
      REQUIRE(t.a.space.slot_digest(key_slot(name)) == t.b.space.slot_digest(key_slot(name)));
    REQUIRE(t.values(t.a) == t.values(t.b));
    REQUIRE(t.values(t.a) == t.values(t.c));
  }
}

TEST_CASE("folding: a counter that is counted on both sides for an hour keeps few sums") {
  Three t(1);
  for (int i = 0; i < 3600; i += 10) {
    t.now += 10'000;
    for (Side* s : {&t.a, &t.b, &t.c}) s->now = t.now;
    const std::string one = t.a.effect_of("INCR n"), two = t.b.effect_of("INCR n");
    t.b.take(one);
    t.a.take(two);
    if (i % 30 == 0) {
      for (Side* s : {&t.a, &t.b}) s->space.set_repaired(key_slot("n"), Version::below_ms(t.now));
    }
    REQUIRE(sums_of(t.a, "n") <= 8);
  }
  CHECK(t.a("GET n") == "$3 720");
  CHECK(t.b("GET n") == "$3 720");
  CHECK(t.a.digest("n") == t.b.digest("n"));
  // When nobody counts any more, a last round leaves a plain number.
  CHECK(t.a.space.agreement(key_slot("n")).open_sum);
  for (Side* s : {&t.a, &t.b})
    s->space.set_repaired(key_slot("n"), Version::below_ms(t.now + 121'000));
  CHECK(sums_of(t.a, "n") == 0);
  CHECK_FALSE(t.a.space.agreement(key_slot("n")).open_sum);
  CHECK(t.b("GET n") == "$3 720");
}

TEST_CASE("folding: what is no number, or none that fits, stays") {
  Side a(1), b(2);
  b.take(a.effect_of("SET n 9223372036854775807"));
  a.take(b.effect_of("INCRBY n -10"));
  b.take(a.effect_of("INCRBY n -10"));
  a.now += 300'000;
  CHECK(a("GET n") == "$19 9223372036854775787");
  const std::string text = b.effect_of("SET n words");
  a.take(text);
  a.space.set_repaired(key_slot("n"), Version::below_ms(a.now));
  CHECK(a("GET n") == "$5 words");
  CHECK(a.space.verify_digest(key_slot("n")));
}
