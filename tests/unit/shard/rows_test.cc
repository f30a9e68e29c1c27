// Rows: a store that follows every merge gives the same records back.
#include "shard/rows.h"

#include <map>
#include <string>

#include <doctest/doctest.h>

#include "../effort.h"
#include "../record/random_effects.h"
#include "ring/slot.h"
#include "shard/keyspace.h"

using namespace gyre;
using namespace gyre::test;

namespace {

using Rows = std::map<std::string, std::string, std::less<>>;

void write(Rows& rows, StoreBatch& batch) {
  batch.for_each([&rows](const StoreBatch::Record& r) {
    switch (r.kind) {
      case StoreBatch::Kind::put:
        rows[std::string(r.key)] = r.value;
        break;
      case StoreBatch::Kind::erase:
        rows.erase(std::string(r.key));
        break;
      case StoreBatch::Kind::erase_range:
        rows.erase(rows.lower_bound(r.key), rows.lower_bound(r.value));
        break;
      default:
        break;
    }
  });
  batch.clear();
}

// What recovery does.
struct Loader : RowReader::Sink {
  explicit Loader(KeySpace& to) : space(to) {}
  void loaded(Slot slot, const Effect& effect) override {
    CHECK(valid_effect(effect));
    largest = std::max(largest, effect.changes.size());
    space.merge(slot, key_hash(effect.key), effect, false);
  }
  void loaded_floor(Slot slot, DbIndex db, Version floor) override {
    space.raise_floor(slot, db, floor, false);
  }
  KeySpace& space;
  std::size_t largest = 0;
};

std::size_t load(const Rows& rows, KeySpace& space) {
  Loader loader(space);
  RowReader reader(loader);
  for (const auto& [key, value] : rows) {
    const auto read = reader.row(key, value);
    INFO((read ? std::string() : read.error().text()));
    REQUIRE(bool(read));
  }
  reader.finish();
  return loader.largest;
}

const Node* record_of(const KeySpace& space, std::string_view key) {
  return space.find(key_slot(key), {0}, key, key_hash(key));
}

}  // namespace

TEST_CASE("rows: after every write the store holds the record") {
  for (const bool ring : {true, false}) {
    for (std::uint64_t seed = 1; seed <= test::effort(1500); ++seed) {
      Random random(seed);
      RandomEffects all(random, 2 + random.below(10), TypeId::none, !ring);
      const std::string key = "key" + std::to_string(seed);
      const Slot slot = key_slot(key);
      KeySpace space({.first = slot, .slots = 1, .persist = true, .keep_tombstones = ring});
      KeySpace again({.first = slot, .slots = 1, .persist = true, .keep_tombstones = ring});
      Rows rows;
      for (Effect& e : all.effects) {
        e.key = key;
        space.merge(slot, key_hash(key), e);
        write(rows, space.rows());
        if (random.below(20) == 0) {
          space.raise_floor(slot, {0}, all.versions[random.below(all.versions.size())]);
          write(rows, space.rows());
        }
      }
      INFO("seed " << seed << " ring " << ring);
      load(rows, again);
      REQUIRE(content_of(record_of(space, key)) == content_of(record_of(again, key)));
      REQUIRE(space.slot_digest(slot) == again.slot_digest(slot));
      space.raise_floor(slot, {0}, {std::uint64_t{1} << 62});
      write(rows, space.rows());
      REQUIRE(rows.size() == (ring ? 1 : 0));
    }
  }
}

TEST_CASE("rows: a large record arrives in parts") {
  KeySpace space({.persist = true, .keep_tombstones = true}), again({.keep_tombstones = true});
  Effect e;
  e.key = "large";
  e.type = TypeId::hash;
  e.version = {77 << 12};
  std::vector<std::string> ids;
  for (int i = 0; i < 3000; ++i) ids.push_back("field" + std::to_string(i));
  for (const std::string& id : ids) e.changes.push_back({id, e.version, {}, false, "value"});
  const Slot slot = key_slot(e.key);
  space.merge(slot, key_hash(e.key), e);
  Rows rows;
  write(rows, space.rows());
  CHECK(rows.size() == 3001);
  CHECK(load(rows, again) <= 512);
  CHECK(space.slot_digest(slot) == again.slot_digest(slot));
}

TEST_CASE("rows: what is damaged is refused") {
  KeySpace space({.persist = true, .keep_tombstones = true});
  Effect e;
  e.key = "k";
  e.type = TypeId::hash;
  e.version = {5 << 12};
  e.changes = {{"f", e.version, {}, false, "v"}, {"n", e.version, e.version, false, "3"}};
  space.merge(key_slot(e.key), key_hash(e.key), e);
  Rows rows;
  write(rows, space.rows());
  for (const auto& [key, value] : rows) {
    for (std::size_t cut = 0; cut < value.size(); ++cut) {
      KeySpace other({.keep_tombstones = true});
      Loader loader(other);
      RowReader reader(loader);
      if (key != rows.begin()->first) {
        REQUIRE(bool(reader.row(rows.begin()->first, rows.begin()->second)));
      }
      // A plain value cut short is still a value; its head and a cell's long form are not.
      const bool plain = value.size() > 9 && value[9] == 0 && key != rows.begin()->first;
      if (plain && cut >= 10) continue;
      CHECK_FALSE(bool(reader.row(key, std::string_view(value).substr(0, cut))));
    }
  }
}
