// T and what replicas forget by it: whenever each of them purges, they end equal.
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "../effort.h"
#include "../record/random_effects.h"
#include "base/hash.h"
#include "persist/store_batch.h"
#include "record/purge.h"
#include "ring/slot.h"
#include "shard/keyspace.h"
#include "shard/loader.h"
#include "shard/rows.h"

using namespace gyre;
using namespace gyre::test;

namespace {

constexpr DbIndex db{0};

struct Side {
  explicit Side(std::string_view of = RandomEffects::key)
      : slot(key_slot(of)), space(options(of)) {}
  static KeySpaceOptions options(std::string_view key) {
    KeySpaceOptions o;
    o.persist = true;
    o.keep_tombstones = true;
    o.databases = 2;
    o.first = key_slot(key);
    o.slots = 1;
    return o;
  }
  Slot slot;
  const ApplyResult* merge(Effect e) {
    if (const Version t = space.agreement(slot).repaired; t && !strip_known(e, t)) return nullptr;
    return &space.merge(slot, key_hash(e.key), e);
  }
  const Node* record() const {
    return space.find(slot, db, RandomEffects::key, key_hash(RandomEffects::key));
  }
  std::string content() const { return content_of(record()); }
  Version newest() const { return record() ? record_newest(*record()) : Version{}; }
  // What the rows written so far say, read back by another one.
  void keep_rows() {
    space.rows().for_each([&](const StoreBatch::Record& r) {
      switch (r.kind) {
        case StoreBatch::Kind::put:
          disk[std::string(r.key)] = std::string(r.value);
          break;
        case StoreBatch::Kind::erase:
          disk.erase(std::string(r.key));
          break;
        case StoreBatch::Kind::erase_range:
          disk.erase(disk.lower_bound(std::string(r.key)), disk.lower_bound(std::string(r.value)));
          break;
        default:
          break;
      }
    });
    space.rows().clear();
  }
  std::map<std::string, std::string> disk;
  KeySpace space;
};

// Floors and sums of what comes behind T are those that a node which knows all up to T would give.
void make_later(Effect& e, Version t, Version floor_at_t, TypeId type_at_t) {
  // Another type comes by an overwrite only.
  if (type_at_t != TypeId::none && e.type != TypeId::none && e.type != type_at_t)
    e.floor = e.version.before();
  if (e.floor <= t) e.floor = floor_at_t;
  for (Change& c : e.changes) {
    if (c.sum && c.sum <= t) c.sum = c.version;
  }
}

}  // namespace

TEST_CASE("purging: whenever replicas purge, they end equal") {
  for (std::uint64_t seed = 1; seed <= test::effort(4000); ++seed) {
    Random random(seed);
    RandomEffects all(random, 3 + random.below(12), TypeId::none, false);
    Version t = all.versions[random.below(all.versions.size())];
    t.bits |= 0xffe;
    Side whole, a, b;
    for (const Effect& e : all.effects) {
      if (e.version <= t) whole.merge(e);
    }
    const auto record = [&] {
      return whole.space.find(whole.slot, db, RandomEffects::key, key_hash(RandomEffects::key));
    };
    Version floor_at_t = record() ? record_floor(*record()) : Version{};
    whole.space.set_repaired(whole.slot, t);
    if (!record()) floor_at_t = t;  // as Write says of an absent record
    const TypeId type_at_t = record() ? stored_type(*record()) : TypeId::none;
    for (Effect& e : all.effects) {
      if (e.version > t) make_later(e, t, floor_at_t, type_at_t);
    }
    for (Side* side : {&a, &b}) {
      std::vector<const Effect*> early, late;
      for (const Effect& e : all.effects) (e.version <= t ? early : late).push_back(&e);
      // A header that came first with one of the later ones would bring the floor as well.
      for (std::vector<const Effect*>* part : {&early, &late}) {
        for (std::size_t i = part->size(); i > 1; --i)
          std::swap((*part)[i - 1], (*part)[random.below(i)]);
      }
      for (const Effect* e : early) side->merge(*e);
      const std::size_t purge_at = random.below(late.size() + 1);
      for (std::size_t i = 0; i <= late.size(); ++i) {
        if (i == purge_at) side->space.set_repaired(side->slot, t);
        if (i < late.size()) side->merge(*late[i]);
      }
      INFO("seed " << seed);
      REQUIRE(side->space.verify_digest(side->slot));
      // Again, as it does with every later T.
      side->space.set_repaired(side->slot, {t.bits + (1u << 12)});
      REQUIRE(side->space.verify_digest(side->slot));
    }
    std::string effects;
    for (const Effect& e : all.effects)
      effects += "\n" + std::to_string(e.version.bits) + " " + content_of(e);
    std::erase(effects, '\0');
    INFO("seed " << seed << " T " << t.bits << effects);
    REQUIRE(a.content() == b.content());
    REQUIRE(a.space.slot_digest(a.slot) == b.space.slot_digest(b.slot));
    REQUIRE(a.space.counts(db).tombstones == b.space.counts(db).tombstones);
    // The rows on disk say the same.
    a.keep_rows();
    Side again;
    Loader loader(again.space);
    RowReader reader(loader);
    for (const auto& [key, value] : a.disk) REQUIRE(reader.row(key, value));
    reader.finish();
    REQUIRE(again.content() == a.content());
    REQUIRE(again.newest() == a.newest());
    REQUIRE(b.newest() == a.newest());
    REQUIRE(again.space.agreement(a.slot).repaired == a.space.agreement(a.slot).repaired);
  }
}

TEST_CASE("purging: what everybody deleted leaves nothing") {
  Side a("{t}");
  Effect e;
  for (int i = 0; i < 300; ++i) {
    const std::string key = "{t}" + std::to_string(i);
    const Slot slot = key_slot(key);
    e.clear();
    e.key = key;
    e.type = TypeId::set;
    e.version = {std::uint64_t(i + 1) << 12};
    e.changes.push_back({"member", e.version, {}, false, ""});
    a.space.merge(slot, key_hash(key), e);
    e.changes.clear();
    e.type = TypeId::none;
    e.version = e.floor = {std::uint64_t(i + 1000) << 12};
    a.space.merge(slot, key_hash(key), e);
  }
  const Slot slot = key_slot("{t}");
  CHECK(a.space.counts(db).tombstones == 300);
  CHECK(a.space.agreement(slot).dead >= 300);
  CHECK(a.space.leaves(slot).bits() > LeafSums::first_bits);
  CHECK(a.space.verify_digest(slot));
  a.space.set_repaired(slot, {2000ull << 12});
  CHECK(a.space.counts(db).tombstones == 0);
  CHECK(a.space.records_in(slot) == 0);
  CHECK(a.space.slot_digest(slot) == 0);
  CHECK(a.space.agreement(slot).dead == 0);
  a.keep_rows();
  CHECK(a.disk.size() == 1);  // T itself
}

TEST_CASE("agreement: a late merge takes the confirmation back") {
  Side a;
  Effect e;
  e.key = RandomEffects::key;
  e.type = TypeId::string;
  const auto set = [&](std::uint64_t v) {
    e.version = {v << 12};
    e.floor = e.version.before();
    e.changes = {{"", e.version, {}, false, "x"}};
    a.space.merge(a.slot, key_hash(e.key), e);
  };
  set(10);
  a.space.watch_merges(a.slot);
  a.space.confirm(a.slot, {20ull << 12});
  CHECK(a.space.agreement(a.slot).low.bits > 20ull << 12);
  set(25);
  CHECK(a.space.agreement(a.slot).confirmed == Version{20ull << 12});
  e.key = "{key}other";
  set(15);
  CHECK(a.space.agreement(a.slot).low <= Version{15ull << 12});
  CHECK(a.space.agreement(a.slot).confirmed == Version{});
}

TEST_CASE("agreement: starting over keeps only what nobody can have purged") {
  Side a;
  Effect e;
  const auto add = [&](std::string_view member, std::uint64_t v) {
    e.clear();
    e.key = RandomEffects::key;
    e.type = TypeId::set;
    e.version = {v << 12};
    e.changes = {{member, e.version, {}, false, ""}};
    a.space.merge(a.slot, key_hash(e.key), e);
  };
  add("old", 10);
  add("new", 30);
  CHECK(a.space.start_over(a.slot, {20ull << 12}) == 1);
  CHECK(a.space.agreement(a.slot).partial);
  CHECK(a.space.verify_digest(a.slot));
  const Node* n = a.space.find(a.slot, db, RandomEffects::key, key_hash(RandomEffects::key));
  REQUIRE(n);
  Cell cell;
  CHECK_FALSE(collection_of(*n)->find("old", cell));
  CHECK(collection_of(*n)->find("new", cell));
}

TEST_CASE("agreement: a shard of the only replicas has settled nothing") {
  KeySpaceOptions options = Side::options(RandomEffects::key);
  options.keep_tombstones = false;
  const KeySpace space(options);
  const KeySpace::Agreement& a = space.agreement(key_slot(RandomEffects::key));
  CHECK(!a.repaired);
  CHECK(!a.confirmed);
  CHECK(!a.partial);
}
