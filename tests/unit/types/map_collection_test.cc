// MapCollection: both forms against a plain model, memory given back, sizes as promised.
#include "types/map_collection.h"

#include <map>
#include <set>
#include <string>

#include <doctest/doctest.h>

#include "../effort.h"

using namespace gyre;

namespace {

Version at(std::uint64_t tick, std::uint64_t node = 8) {
  return {tick << 12 | node};
}

struct Model {
  bool merge(const Change& c, bool keep) {
    auto& s = cells[std::string(c.id)];
    const bool taken = s.merge(c).taken;
    const bool dead = !s.present || (s.tombstone && !s.has_sums());
    if (dead && !keep) cells.erase(std::string(c.id));
    return taken;
  }
  std::map<std::string, CellState> cells;
};

void check_equal(const MapCollection& map, const Model& model) {
  std::size_t live = 0, dead = 0;
  map.each([&](const ElementView& e) {
    const auto found = model.cells.find(std::string(e.id));
    REQUIRE(found != model.cells.end());
    const CellState& s = found->second;
    REQUIRE(e.cell.version == s.version);
    REQUIRE(e.cell.tombstone == s.tombstone);
    REQUIRE(e.cell.has_sums == s.has_sums());
    REQUIRE(e.cell.stored == s.stored());
    ++(e.cell.live() ? live : dead);
    Cell again;
    REQUIRE(map.find(e.id, again));
    REQUIRE(again.stored.data() == e.cell.stored.data());
    return true;
  });
  REQUIRE(live + dead == model.cells.size());
  REQUIRE(map.live() == live);
  REQUIRE(map.tombstones() == dead);
}

struct Held {
  Held() : map(static_cast<MapCollection*>(MapCollection::make(slabs))) {}
  ~Held() {
    // Through the base, as records are destroyed.
    const Collection* c = map;
    delete c;
    CHECK(slabs.used() == 0);
  }
  Slabs slabs;
  MapCollection* map;
};

}  // namespace

TEST_CASE("map collection: as a model, small and large") {
  for (std::uint64_t seed = 1; seed <= test::effort(300); ++seed) {
    Random random(seed);
    Held held;
    Model model;
    const bool keep = random.below(2) != 0;
    const std::uint64_t ids = 1 + random.below(seed % 3 ? 60 : 300);
    const std::uint64_t long_ones = random.below(3) ? 0 : 50;
    for (int step = 0; step < 400; ++step) {
      std::string id = std::to_string(random.below(ids));
      if (random.below(30) == 0) id.clear();
      const Version v = at(1 + random.below(2000), 8 * (1 + random.below(3)));
      std::string payload(random.below(20), 'p');
      if (long_ones && random.below(long_ones) == 0) payload.assign(60 + random.below(20), 'q');
      Change c{id, v, {}, false, payload};
      if (random.below(3) == 0) c.tombstone = true, c.payload = {};
      if (random.below(10) == 0) c = {id, v, v, false, "12"};
      INFO("seed " << seed << " step " << step);
      const bool absent = !model.cells.contains(id);
      const bool taken = model.merge(c, keep);
      // Removing what is not there changes nothing where removals leave nothing.
      const bool nothing = absent && !keep && c.tombstone;
      REQUIRE(held.map->merge(c, keep).taken == (taken && !nothing));
      if (random.below(100) == 0) {
        const Version floor = at(random.below(1000));
        std::map<std::string, bool> expected, told;
        for (auto it = model.cells.begin(); it != model.cells.end();) {
          const CellState before = it->second;
          it->second.drop_below(floor);
          if (before.version != it->second.version ||
              before.sums.size() != it->second.sums.size()) {
            expected[it->first] = it->second.present;
          }
          it = it->second.present ? std::next(it) : model.cells.erase(it);
        }
        held.map->drop_below(floor,
                             [&](std::string_view i, bool there) { told[std::string(i)] = there; });
        REQUIRE(told == expected);
      }
      if (step % 20 == 0) check_equal(*held.map, model);
    }
    check_equal(*held.map, model);
  }
}

TEST_CASE("map collection: the borders of the small form") {
  const auto put = [](Held& h, std::string_view id, std::string_view payload) {
    h.map->merge({id, at(1), {}, false, payload}, true);
  };
  {
    Held h;
    for (int i = 0; i < 128; ++i) put(h, std::to_string(i), "v");
    CHECK_FALSE(h.map->is_large());
    put(h, "7", "w");
    put(h, "x", "v");
    CHECK(h.map->is_large());
    CHECK(h.map->live() == 129);
  }
  {
    Held h;
    put(h, std::string(64, 'i'), std::string(64, 'v'));
    CHECK_FALSE(h.map->is_large());
    put(h, std::string(65, 'i'), "");
    CHECK(h.map->is_large());
  }
  {
    Held h;
    put(h, "a", "short");
    h.map->merge({"a", at(2), {}, false, std::string(65, 'v')}, true);
    CHECK(h.map->is_large());
    CHECK(h.map->live() == 1);
  }
  {
    Held h;
    for (int i = 0; i < 100; ++i)
      put(h, std::to_string(i) + std::string(60, 'i'), std::string(64, 'v'));
    CHECK(h.map->is_large());
    CHECK(h.map->live() == 100);
  }
}

TEST_CASE("map collection: versions of any distance") {
  Held h;
  const std::uint64_t all[] = {5, 1, ~std::uint64_t{0}, std::uint64_t{1} << 63, 7};
  for (std::uint64_t v : all) h.map->merge({std::to_string(v), {v}, {}, false, "x"}, true);
  for (std::uint64_t v : all) {
    Cell cell;
    REQUIRE(h.map->find(std::to_string(v), cell));
    CHECK(cell.version.bits == v);
  }
}

TEST_CASE("map collection: walks end and see all; draws are fair") {
  for (const int n : {1, 5, 100, 5000}) {
    Held h;
    for (int i = 0; i < n; ++i) h.map->merge({std::to_string(i), at(1), {}, i % 2 == 1, {}}, true);
    std::set<std::string> seen;
    std::uint64_t cursor = 0;
    int steps = 0;
    do {
      cursor = h.map->walk(cursor, 10, [&](const ElementView& e) { seen.emplace(e.id); });
      ++steps;
    } while (cursor != 0);
    CHECK(seen.size() == static_cast<std::size_t>(n));
    CHECK(steps <= n / 4 + 1);
    Random random(3);
    std::map<std::string, int> drawn;
    const int live = (n + 1) / 2;
    for (int i = 0; i < live * 200; ++i) ++drawn[std::string(h.map->random(random).id)];
    CHECK(drawn.size() == static_cast<std::size_t>(live));
    for (const auto& [id, times] : drawn) {
      CHECK(std::stoi(id) % 2 == 0);
      CHECK(times > 120);
    }
    if (n < 100) continue;
    // Mostly tombstones: still one of those that live.
    for (int i = 2; i < n; ++i) h.map->merge({std::to_string(i), at(2), {}, true, {}}, true);
    CHECK(h.map->random(random).id == "0");
  }
}

TEST_CASE("map collection: bytes") {
  {
    Held h;
    for (int i = 0; i < 10; ++i)
      h.map->merge({"field" + std::to_string(i), at(9), {}, false, "xyz"}, false);
    CHECK(h.slabs.used() <= 160);
    CHECK(h.slabs.used() == h.map->bytes());
  }
  {
    Held h;
    constexpr std::size_t n = 100000;
    for (std::size_t i = 0; i < n; ++i) {
      h.map->merge({"element:" + std::to_string(100000000 + i), at(9), {}, false, "xyz"}, false);
    }
    // 16 of the Node, 17 of the id, 3 of the value: 40 rounded; the rest is the table's.
    CHECK(h.map->bytes() / n <= 56);
    CHECK(h.slabs.used() == h.map->bytes());
  }
}
