// Stubs of expired records: two replicas that exchange effects, one of which has dropped the
// elements, end equal, and neither shows half a record.
#include <map>
#include <string>

#include <doctest/doctest.h>

#include "../effort.h"
#include "../record/random_effects.h"
#include "record/purge.h"
#include "shard/loader.h"
#include "side.h"

using namespace gyre;
using namespace gyre::test;

namespace {

// Two replicas of a hash that expires in 100 ms; `b` has dropped its elements, `a` has not yet.
struct Pair {
  Pair() {
    both("HSET k f 1 g 2");
    both("PEXPIRE k 100");
    a.now = b.now += 50;
    CHECK(b.expire() == 0);
    register_ = b.record("k")->expiry();
    newest = record_newest(*b.record("k"));
  }
  void both(const std::string& line) { b.take(a.effect_of(line)); }
  void expire_b() {
    b.now += 60;
    CHECK(b.expire() == 2);  // once to count it, once to drop its elements
    REQUIRE(b.stub("k"));
  }
  void exchange() {
    for (int i = 0; i < 2; ++i) {
      b.take(a.state("k"));
      a.take(b.state("k"));
    }
    CHECK(a.digest("k") == b.digest("k"));
    CHECK(content_of(a.record("k")) == content_of(b.record("k")));
  }

  Side a{1}, b{2};
  Expiry register_;
  Version newest;
};

}  // namespace

TEST_CASE("stub: keeps floor, register and newest version, and drops the rest") {
  Pair p;
  const std::uint64_t full = p.b.digest("k");
  const std::size_t memory = p.b.space.memory_used();
  CHECK(p.b.space.counts({0}).keys == 1);
  CHECK(p.b.space.counts({0}).expires == 1);
  p.expire_b();
  const Node& n = *p.b.record("k");
  CHECK(p.b.expired == 1);
  CHECK(p.b.space.stubs_made() == 1);
  CHECK(p.b.space.counts({0}).keys == 0);
  CHECK(p.b.space.counts({0}).expires == 0);
  CHECK(p.b.space.counts({0}).tombstones == 1);
  CHECK(p.b.space.memory_used() < memory);
  CHECK(p.b.digest("k") != full);
  CHECK(p.b.space.slot_digest(key_slot("k")) == p.b.digest("k"));
  CHECK_FALSE(record_live(n));
  CHECK(record_floor(n) == Version{});
  CHECK(n.expiry() == p.register_);
  CHECK(record_newest(n) == p.newest);
  CHECK_FALSE(purgeable(n, {p.newest.before(), {}}));
  CHECK(purgeable(n, {p.newest, {}}));
  CHECK_FALSE(purgeable(*p.a.record("k"), {p.newest, {}}));
  CHECK(p.b("HGETALL k") == "*0");
  CHECK(p.b("TTL k") == ":-2");
  CHECK(p.b.expire() == 0);
}

TEST_CASE("stub: is made when the expiry is older than the grace, and not of what lives again") {
  KeySpace space({.keep_tombstones = true, .clock_node = 8, .stub_grace_ms = 1000});
  const auto write = [&](std::string_view key, UnixMs at, std::uint64_t tick) {
    Effect e;
    e.key = key;
    e.type = TypeId::string;
    e.version = {tick << 12 | 8};
    e.floor = e.version.before();
    e.expiry = {at, e.version};
    e.changes = {{"", e.version, {}, false, "value"}};
    space.merge(key_slot(key), key_hash(key), e);
  };
  int expired = 0;
  const auto cycle = [&](UnixMs now) {
    space.expire_due(now, 100, [&](Slot, DbIndex, std::string_view) { ++expired; });
  };
  const auto stub = [&](std::string_view key) {
    return record_stub(*space.find(key_slot(key), {0}, key, key_hash(key)));
  };
  write("a", 5000, 1);
  write("b", 5000, 2);
  cycle(4999);
  CHECK(expired == 0);
  cycle(5000);
  CHECK(expired == 2);
  write("b", 7000, 3);
  cycle(5999);
  CHECK_FALSE(stub("a"));
  cycle(6000);
  CHECK(stub("a"));
  CHECK_FALSE(stub("b"));
  cycle(7000);
  CHECK(expired == 3);
  cycle(7999);
  CHECK_FALSE(stub("b"));
  cycle(8000);
  CHECK(stub("b"));
  CHECK(expired == 3);
}

TEST_CASE("stub: of an expired record makes the other's a stub, whose register is the same") {
  Pair p;
  p.expire_b();
  const ApplyResult r = p.a.take(p.b.state("k"));
  CHECK(r.stubbed);
  CHECK(r.wiped);
  CHECK(p.a.stub("k"));
  CHECK(p.a.digest("k") == p.b.digest("k"));
  CHECK(p.a.space.counts({0}).keys == 0);
  CHECK_FALSE(p.a.take(p.b.state("k")).changed);
  CHECK_FALSE(p.b.take(p.a.state("k")).changed);
  SUBCASE("a replica without the record gets one, too") {
    Side c(3);
    c.take(p.b.state("k"));
    CHECK(c.digest("k") == p.b.digest("k"));
  }
}

TEST_CASE("stub: what lives longer elsewhere is asked for whole, and not changed before") {
  for (const char* longer : {"PERSIST k", "PEXPIRE k 100000", "PEXPIRE k 70"}) {
    Pair p;
    CAPTURE(longer);
    const std::string effect = p.a.effect_of(longer);
    p.expire_b();
    const std::uint64_t before = p.b.digest("k");
    const ApplyResult r = p.b.take(effect);
    CHECK(r.hollow);
    CHECK_FALSE(r.changed);
    CHECK_FALSE(r.stands);
    CHECK(r.newest_before == p.newest);
    CHECK(p.b.digest("k") == before);
    CHECK(p.b.take(p.a.state("k", {1})).hollow ==
          false);  // nothing is older, so nothing is missing
    CHECK(p.b.take(effect).stands);
    CHECK(p.b("HGET k g") == "$1 2");
    // The stub that others still have changes nothing.
    p.exchange();
  }
}

TEST_CASE("stub: a field written after PERSIST carries the record's register, and is hollow") {
  Pair p;
  p.a("PERSIST k");
  const std::string field = p.a.effect_of("HSET k h 3");
  p.expire_b();
  CHECK(p.b.take(field).hollow);
  CHECK(p.b.take(p.a.state("k", record_newest(*p.a.record("k")))).hollow);
  CHECK(p.b.stub("k"));
  p.exchange();
  CHECK(p.b("HLEN k") == ":3");
}

TEST_CASE("stub: its own state changes nothing where the record lives longer") {
  Pair p;
  p.a("PERSIST k");
  p.expire_b();
  const std::uint64_t before = p.a.digest("k");
  CHECK_FALSE(p.a.take(p.b.state("k")).changed);
  CHECK(p.a.digest("k") == before);
  p.exchange();
  CHECK(p.a("HGET k f") == "$1 1");
  CHECK(p.b("HGET k f") == "$1 1");
}

TEST_CASE("stub: a write that came late is as expired as the rest") {
  Pair p;
  const std::string late = p.a.effect_of("HSET k h 3");
  p.expire_b();
  const ApplyResult r = p.b.take(late);
  CHECK(r.stands);
  CHECK(r.changed);
  CHECK_FALSE(r.hollow);
  CHECK(p.b.stub("k"));
  CHECK(record_newest(*p.b.record("k")) == record_newest(*p.a.record("k")));
  CHECK_FALSE(p.b.take(late).changed);
  p.a.now = p.b.now;
  p.a.expire();
  CHECK(p.a.digest("k") == p.b.digest("k"));
}

TEST_CASE("stub: an overwrite below what it held is hollow, one above it is not") {
  Pair q;
  q.a.now = q.b.now += 10;
  q.both("HSET k h 3");
  q.expire_b();
  // Of a node that knew neither; between the register and the field.
  Effect e;
  e.key = "k";
  e.type = TypeId::string;
  e.version = {q.register_.version.bits + (std::uint64_t{1} << Version::tick_shift)};
  REQUIRE(e.version < record_newest(*q.b.record("k")));
  e.floor = e.version.before();
  e.changes = {{"", e.version, {}, false, "new"}};
  std::string below;
  encode_effect(below, e);
  CHECK(q.b.take(below).hollow);
  e.whole = true;
  below.clear();
  encode_effect(below, e);
  // The field, which the stub has dropped, survives the overwrite and wins the type.
  q.b.take(below);
  CHECK(q.b("GET k") == "$-1");
  q.a.take(below);
  q.exchange();

  Pair r;
  r.expire_b();
  r.a.now = r.b.now;
  const std::string above = r.a.effect_of("SET k newer");
  const ApplyResult result = r.b.take(above);
  CHECK_FALSE(result.hollow);
  CHECK(result.stands);
  CHECK(result.live_after);
  CHECK(r.b("GET k") == "$5 newer");
  r.exchange();
}

TEST_CASE("expiry: what was written after it, by who did not know of it, outlives it") {
  for (const bool stub_first : {false, true}) {
    CAPTURE(stub_first);
    Side a{1}, b{2};
    b.take(a.effect_of("HSET k f 1 g 2"));
    b("PEXPIRE k 100");
    const std::string before = a.effect_of("HSET k h 3");
    a.now = b.now += 200;
    const std::string after = a.effect_of("HSET k late 4");
    if (stub_first) {
      b.expire();
      REQUIRE(b.stub("k"));
    }
    const Expiry expiry = b.record("k")->expiry();
    CHECK(b.take(before).stands);
    CHECK(b("EXISTS k") == ":0");
    const ApplyResult r = b.take(after);
    CHECK(r.stands);
    CHECK_FALSE(r.hollow);
    CHECK(b("HGETALL k") == "*2 $4 late $1 4");
    CHECK(b("TTL k") == ":-1");
    CHECK(record_floor(*b.record("k")) == expiry_floor(expiry));
    // What comes later of before does not come back, and the other learns it.
    CHECK_FALSE(b.take(before).changed);
    a.take(b.state("k"));
    CHECK(a("HGETALL k") == "*2 $4 late $1 4");
    CHECK(a.digest("k") == b.digest("k"));
    CHECK(b.expire() == 0);
  }
}

TEST_CASE("expiry: the cycle ends one that is outlived, whoever reads") {
  Side a{1}, b{2};
  b.take(a.effect_of("HSET k f 1"));
  const std::string expire = b.effect_of("PEXPIRE k 100");
  a.now = b.now += 200;
  const std::string after = a.effect_of("HSET k late 4");
  b.take(after);
  CHECK(b.expire() == 1);
  CHECK_FALSE(b.record("k")->has(Node::has_expiry));
  CHECK(b.space.counts({0}).keys == 1);
  CHECK(b.space.counts({0}).expires == 0);
  // The other way round: the expiry comes late.
  a.take(expire);
  CHECK(a.expire() == 1);
  CHECK(a.digest("k") == b.digest("k"));
  CHECK(content_of(a.record("k")) == content_of(b.record("k")));
}

TEST_CASE("expiry: one that was over and done with is ended by what outlives it") {
  KeySpace space({.keep_tombstones = true, .clock_node = 8, .stub_grace_ms = 60'000});
  constexpr UnixMs start = 1'700'000'000'000;
  const auto write = [&](UnixMs at, std::string_view field, UnixMs expires) {
    Effect e;
    e.key = "k";
    e.type = TypeId::hash;
    e.version = Version::at_ms(at);
    if (expires) e.expiry = {expires, e.version};
    e.changes = {{field, e.version, {}, false, "value"}};
    space.merge(key_slot("k"), key_hash("k"), e);
  };
  const auto cycle = [&] {
    return space.expire_due(start + 200, 100, [](Slot, DbIndex, std::string_view) {});
  };
  const auto elements = [&] {
    return collection_of(*space.find(key_slot("k"), {0}, "k", key_hash("k")))->live();
  };
  write(start, "f", start + 100);
  CHECK(cycle() == 1);
  write(start + 50, "g", 0);
  CHECK(cycle() == 0);
  CHECK(elements() == 2);
  write(start + 150, "late", 0);
  CHECK(cycle() == 1);
  CHECK(elements() == 1);
  CHECK(cycle() == 0);
}

TEST_CASE("expiry: a write to a key dies with it, however far ahead of the wall its stamp is") {
  Side a{1}, b{2};
  b.take(a.effect_of("HSET k f 1"));
  b.take(a.effect_of("PEXPIRE k 100"));
  Effect seen;  // the clock follows a peer's that is ahead
  seen.key = "other";
  seen.type = TypeId::string;
  seen.version = {Version::at_ms(a.now + 400).bits | 24};
  seen.floor = seen.version.before();
  seen.changes = {{"", seen.version, {}, false, "x"}};
  std::string bytes;
  encode_effect(bytes, seen);
  a.take(bytes);
  b.take(a.effect_of("HSET k g 2"));
  CHECK(b("TTL k") == ":0");
  CHECK(b("HLEN k") == ":2");
  CHECK(b("PTTL k") == ":100");
  a.now = b.now += 101;
  CHECK(a("EXISTS k") == ":0");
  CHECK(b("EXISTS k") == ":0");
}

TEST_CASE("stub: two of one key become the same") {
  Pair p;
  const std::string late = p.a.effect_of("HSET k h 3");
  p.expire_b();
  p.a.now = p.b.now;
  p.a.expire();
  REQUIRE(p.a.stub("k"));
  CHECK(p.a.digest("k") != p.b.digest("k"));
  p.exchange();
  CHECK(p.b.stub("k"));
  // A later register wins, also one of a later life of the key.
  p.a("SET k x PX 10");
  p.a.now += 20;
  p.a.expire();
  REQUIRE(p.a.stub("k"));
  p.exchange();
  CHECK(p.b.record("k")->expiry() == p.a.record("k")->expiry());
  CHECK(p.b.stub("k"));
}

TEST_CASE("stub: a write to it does as one to the expired record") {
  Pair p;
  p.expire_b();
  p.a.now = p.b.now;
  // One finds the elements, the other a stub: the floors they raise are the same.
  const std::string from_full = p.a.effect_of("HSET k n 9"),
                    from_stub = p.b.effect_of("HSET k m 8");
  CHECK(record_floor(*p.a.record("k")) == p.newest);
  CHECK(record_floor(*p.b.record("k")) == p.newest);
  CHECK_FALSE(p.b.record("k")->has(Node::has_expiry));
  CHECK(p.b.take(from_full).stands);
  CHECK(p.a.take(from_stub).stands);
  CHECK(p.a("HLEN k") == ":2");
  CHECK(p.a.digest("k") == p.b.digest("k"));
  // DEL leaves a floor.
  Pair q;
  q.expire_b();
  q.a.take(q.b.effect_of("DEL k"));
  CHECK(q.a.digest("k") == q.b.digest("k"));
  CHECK_FALSE(q.b.stub("k"));
}

TEST_CASE("stub: FLUSHALL drops it, and an older stub does not come back") {
  Pair p;
  p.expire_b();
  const std::string stub = p.b.state("k");
  const Slot slot = key_slot("k");
  CHECK(p.b.space.raise_floor(slot, {0}, p.register_.version) == 1);
  CHECK(p.b.record("k") == nullptr);
  CHECK(p.b.space.counts({0}).tombstones == 0);
  const std::uint64_t floor_alone = p.b.space.slot_digest(slot);
  Effect e;
  Reader in(stub);
  REQUIRE(decode_effect(in, e));
  p.b.space.merge(slot, key_hash("k"), e);
  CHECK(p.b.record("k") == nullptr);
  CHECK(p.b.space.slot_digest(slot) == floor_alone);
  // A key that is new after a flush carries the flush's floor, so that no stub swallows it.
  const std::string fresh = p.b.effect_of("HSET k f 1");
  Pair q;
  q.expire_b();
  CHECK(q.b.take(fresh).live_after);
}

TEST_CASE("stub: comes back from its rows, and its elements do not") {
  for (const bool string : {false, true}) {
    KeySpace space({.persist = true, .keep_tombstones = true, .clock_node = 8});
    std::map<std::string, std::string> rows;
    const auto flush = [&] {
      space.rows().for_each([&](const StoreBatch::Record& r) {
        if (r.kind == StoreBatch::Kind::put) rows[std::string(r.key)] = r.value;
        if (r.kind == StoreBatch::Kind::erase) rows.erase(std::string(r.key));
        if (r.kind == StoreBatch::Kind::erase_range)
          rows.erase(rows.lower_bound(std::string(r.key)), rows.lower_bound(std::string(r.value)));
      });
      space.rows().clear();
    };
    Effect e;
    e.key = "k";
    e.type = string ? TypeId::string : TypeId::hash;
    e.version = {9 << 12 | 8};
    e.floor = {3 << 12 | 8};
    e.expiry = {Version::epoch_ms + 5000, {7 << 12 | 8}};
    e.changes.push_back({string ? "" : "f", e.version, {}, false, "value"});
    if (!string) e.changes.push_back({"g", e.version, {}, true, {}});
    const Slot slot = key_slot("k");
    space.merge(slot, key_hash("k"), e);
    flush();
    CHECK(rows.size() == (string ? 1 : 3));
    space.expire_due(Version::epoch_ms + 6000, 10, [](Slot, DbIndex, std::string_view) {});
    flush();
    CHECK(rows.size() == 1);
    const auto load = [&](KeySpace& into) {
      Loader loader(into);
      RowReader reader(loader);
      for (const auto& [key, value] : rows) REQUIRE(bool(reader.row(key, value)));
      reader.finish();
    };
    KeySpace again({.keep_tombstones = true});
    load(again);
    const Node* n = again.find(slot, {0}, "k", key_hash("k"));
    REQUIRE(n != nullptr);
    CHECK(record_stub(*n));
    CHECK(record_newest(*n) == e.version);
    CHECK(record_floor(*n) == e.floor);
    CHECK(n->expiry() == e.expiry);
    CHECK(again.slot_digest(slot) == space.slot_digest(slot));
    CHECK(again.clock().peek(0) > e.version);
    // A node that is alone by now has no use for it.
    KeySpace alone(KeySpaceOptions{});
    load(alone);
    CHECK(alone.find(slot, {0}, "k", key_hash("k")) == nullptr);
    // Alive again: the row is an ordinary one.
    e.floor = e.version;
    e.version = {20 << 12 | 8};
    e.expiry = {};
    e.changes.resize(1);
    e.changes[0].version = e.version;
    CHECK(space.merge(slot, key_hash("k"), e).live_after);
    flush();
    KeySpace third({.keep_tombstones = true});
    load(third);
    CHECK(third.slot_digest(slot) == space.slot_digest(slot));
  }
}

TEST_CASE("stub: is purged when T covers its newest version, and not brought back by another's") {
  Pair p;
  p.expire_b();
  const Slot slot = key_slot("k");
  Effect theirs;
  const std::string state = p.b.state("k");
  Reader in(state);
  REQUIRE(decode_effect(in, theirs));
  CHECK_FALSE(strip_known(theirs, p.newest));
  CHECK(strip_known(theirs, p.newest.before()));
  CHECK(valid_effect(theirs));
  p.b.space.set_repaired(slot, p.newest.before());
  CHECK(p.b.stub("k"));
  CHECK(p.b.space.verify_digest(slot));
  p.b.space.set_repaired(slot, p.newest);
  CHECK(p.b.record("k") == nullptr);
  CHECK(p.b.space.verify_digest(slot));
}

TEST_CASE("stub: keeps its type when T takes its floor") {
  Pair p;
  p.both("DEL k");
  p.both("HSET k f 1");
  p.both("PEXPIRE k 50");
  p.a.now = p.b.now += 60;
  p.b.expire();
  REQUIRE(p.b.stub("k"));
  const Version floor = record_floor(*p.b.record("k"));
  const TypeClaim claim = record_claim(*p.b.record("k"));
  REQUIRE(floor);
  CHECK(claim.type == TypeId::hash);
  p.b.space.set_repaired(key_slot("k"), floor);
  REQUIRE(p.b.stub("k"));
  CHECK_FALSE(record_floor(*p.b.record("k")));
  CHECK(record_claim(*p.b.record("k")).type == TypeId::hash);
  CHECK(record_claim(*p.b.record("k")).version == claim.version);
  CHECK(p.b.space.verify_digest(key_slot("k")));
}

TEST_CASE("stub: what makes no sense is refused") {
  Effect e;
  e.key = "k";
  e.expired = true;
  e.floor = {5};
  e.expiry = {1000, {6}};
  e.version = {6};
  CHECK(valid_effect(e));
  e.expiry.version = {5};  // dead
  CHECK_FALSE(valid_effect(e));
  e.expiry.version = {7};  // newer than the newest
  CHECK_FALSE(valid_effect(e));
  e.expiry = {0, {6}};  // no expiry
  CHECK_FALSE(valid_effect(e));
  e.expiry = {1000, {6}};
  e.type = TypeId::hash;  // by what?
  CHECK_FALSE(valid_effect(e));
  e.claim = {6};
  CHECK(valid_effect(e));
  e.claim = {7};  // newer than the newest
  CHECK_FALSE(valid_effect(e));
  e.type = TypeId::none;
  e.claim = {6};
  CHECK_FALSE(valid_effect(e));
  e.claim = {};
  e.whole = true;
  CHECK_FALSE(valid_effect(e));
}

TEST_CASE("stub: replicas that became stubs at different times end equal after an exchange") {
  // Effects in any order at each of two replicas; one or both drop what may be expired now and
  // then. What was hollow is lost, as on a ring where its sender is then asked.
  int stubs = 0, hollow = 0, alive = 0;
  const Slot slot = key_slot(RandomEffects::key);
  const std::uint64_t hash = key_hash(RandomEffects::key);
  for (std::uint64_t seed = 1; seed <= test::effort(6000); ++seed) {
    Random random(seed);
    const RandomEffects all(random, 2 + random.below(8), TypeId::none, false);
    KeySpace spaces[2] = {KeySpace({.first = slot, .slots = 1, .keep_tombstones = true}),
                          KeySpace({.first = slot, .slots = 1, .keep_tombstones = true})};
    const auto record = [&](int i) { return spaces[i].find(slot, {0}, RandomEffects::key, hash); };
    const auto check = [&](int i) {
      REQUIRE(spaces[i].slot_digest(slot) == (record(i) ? record_digest(*record(i), {0}) : 0));
    };
    INFO("seed " << seed);
    for (int i = 0; i < 2; ++i) {
      std::vector<std::size_t> order;
      for (std::size_t k = 0; k < all.effects.size(); ++k) order.push_back(k);
      for (std::size_t k = order.size(); k > 1; --k)
        std::swap(order[k - 1], order[random.below(k)]);
      for (const std::size_t k : order) {
        hollow += spaces[i].merge(slot, hash, all.effects[k]).hollow;
        check(i);
        if (random.below(4) == 0 && (i == 1 || random.below(2)))
          spaces[i].expire_due(std::int64_t{1} << 60, 10, [](Slot, DbIndex, std::string_view) {});
        check(i);
      }
      stubs += record(i) && record_stub(*record(i));
    }
    for (int round = 0; round < 2; ++round) {
      for (int i = 0; i < 2; ++i) {
        if (!record(i)) continue;
        Effect state;
        record_effect(*record(i), {0}, {}, state);
        const ApplyResult& r = spaces[1 - i].merge(slot, hash, state);
        REQUIRE_FALSE(r.hollow);
        check(1 - i);
      }
    }
    INFO(content_of(record(0)) << "\n" << content_of(record(1)));
    REQUIRE(spaces[0].slot_digest(slot) == spaces[1].slot_digest(slot));
    REQUIRE(content_of(record(0)) == content_of(record(1)));
    alive += record(0) && record_live(*record(0));
  }
  CHECK(stubs > test::effort(500));
  CHECK(hollow > test::effort(50));
  CHECK(alive > test::effort(500));
}

// Simulator, seed 784: of a string, whose register covered a stream that another node had begun.
TEST_CASE("stub: what it hides is what the record would have hidden") {
  int seen = 0, mixed = 0;
  const Slot slot = key_slot(RandomEffects::key);
  const std::uint64_t hash = key_hash(RandomEffects::key);
  for (std::uint64_t seed = 1; seed <= test::effort(20000); ++seed) {
    Random random(seed);
    const RandomEffects all(random, 2 + random.below(6), TypeId::none, false);
    // Both end what expires, but only one drops it.
    KeySpace whole({.first = slot,
                    .slots = 1,
                    .keep_tombstones = true,
                    .stub_grace_ms = std::int64_t{1} << 61}),
        stubs({.first = slot, .slots = 1, .keep_tombstones = true});
    const auto expire = [&](KeySpace& space) {
      space.expire_due(std::int64_t{1} << 60, 10, [](Slot, DbIndex, std::string_view) {});
    };
    bool hollow = false, was_stub = false;
    for (const Effect& e : all.effects) {
      whole.merge(slot, hash, e);
      expire(whole);
      hollow |= stubs.merge(slot, hash, e).hollow;
      expire(stubs);
      const Node* n = stubs.find(slot, {0}, RandomEffects::key, hash);
      was_stub |= n && record_stub(*n);
      mixed += n && record_stub(*n) && e.type != record_claim(*n).type;
    }
    if (hollow || !was_stub) continue;
    const Node* one = whole.find(slot, {0}, RandomEffects::key, hash);
    const Node* other = stubs.find(slot, {0}, RandomEffects::key, hash);
    INFO("seed " << seed << "\n" << content_of(one) << "\n" << content_of(other));
    const auto visible = [](const Node* n) {
      return n && record_live(*n) && !record_expired(*n, std::int64_t{1} << 60);
    };
    REQUIRE(visible(one) == visible(other));
    if (!visible(one)) continue;
    REQUIRE(content_of(one) == content_of(other));
    ++seen;
  }
  CHECK(seen > test::effort(100));
  CHECK(mixed > test::effort(100));
}

TEST_CASE("stub: what an expired key costs") {
  constexpr int keys = 100'000;
  KeySpace space({.keep_tombstones = true, .clock_node = 8});
  const std::string value(100, 'v');
  for (int i = 0; i < keys; ++i) {
    const std::string key = "session:" + std::to_string(i);
    Effect e;
    e.key = key;
    e.type = TypeId::hash;
    e.version = space.clock().stamp(1'800'000'000'000);
    e.floor = e.version.before();
    e.expiry = {5000, e.version};
    e.changes = {{"user", e.version, {}, false, value}, {"token", e.version, {}, false, value}};
    space.merge(key_slot(key), key_hash(key), e);
  }
  const std::size_t full = space.memory_used();
  while (space.expire_due(6000, 10'000, [](Slot, DbIndex, std::string_view) {}) > 0) {
  }
  CHECK(space.stubs_made() == keys);
  CHECK(space.counts({0}).tombstones == keys);
  const std::size_t each = space.memory_used() / keys;
  MESSAGE("a stub takes ", each, " bytes with a key of 13; the record took ", full / keys);
  CHECK(each <= 104);  // with its place in the table, and the room that the queue of expiries keeps
}
