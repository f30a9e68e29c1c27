#include "types/zset_collection.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/clock.h"
#include "base/numbers.h"

namespace {

using namespace gyre;

constexpr Version version(std::uint64_t tick, std::uint64_t node) {
  return {tick << Version::tick_shift | node};
}

// One change that owns its bytes.
struct OwnChange {
  std::string id, payload;
  Version version{}, sum{};
  bool tombstone = false;

  Change view() const { return {id, version, sum, tombstone, payload}; }
};

std::string score_payload(double score) {
  const ScoreBytes bytes = encode_score(score);
  return {bytes.data(), bytes.size()};
}

OwnChange draw(Random& random, std::uint64_t tick, std::size_t members, bool sums) {
  OwnChange c;
  c.id = "member:" + std::to_string(random.below(members));
  if (random.below(300) == 0) c.id += std::string(80, 'x');
  c.version = version(tick, random.below(3) * 8 + 8);
  const auto kind = random.below(10);
  if (kind < 3) {
    c.tombstone = true;
  } else if (sums && kind < 6) {
    // Of the same node, opened now or a little earlier.
    c.sum = version(tick - random.below(std::min<std::uint64_t>(tick, 20)), c.version.node());
    c.payload = format_double(static_cast<double>(random.below(100)) / 4 - 10);
  } else {
    c.payload = score_payload(static_cast<double>(random.below(60)) / 4 - 5);
  }
  return c;
}

// What a ZsetCollection must hold: cells merged by the rule itself, and their order.
struct Model {
  std::map<std::string, CellState> cells;

  static Cell cell_of(const CellState& s, std::string& stored) {
    stored = s.stored();
    return {s.version, s.tombstone, s.has_sums(), stored};
  }
  void merge(const OwnChange& c, bool keep) {
    CellState& s = cells[c.id];
    s.merge(c.view());
    std::string stored;
    if (!s.present || (!keep && !cell_of(s, stored).live())) cells.erase(c.id);
  }
  void drop_below(Version floor) {
    for (auto at = cells.begin(); at != cells.end();) {
      at->second.drop_below(floor);
      at = at->second.present ? std::next(at) : cells.erase(at);
    }
  }
  std::set<std::pair<double, std::string>> order() const {
    std::set<std::pair<double, std::string>> out;
    std::string stored;
    for (const auto& [member, state] : cells) {
      const Cell cell = cell_of(state, stored);
      if (cell.live()) out.emplace(score_of(cell), member);
    }
    return out;
  }
};

struct Deleter {
  void operator()(Collection* c) const { delete c; }
};
using Owned = std::unique_ptr<Collection, Deleter>;
ZsetCollection& zset(const Owned& c) {
  return static_cast<ZsetCollection&>(*c);
}

void check_same(const ZsetCollection& z, const Model& model) {
  REQUIRE(z.consistent());
  const auto order = model.order();
  REQUIRE(z.live() == order.size());
  REQUIRE(z.live() + z.tombstones() == model.cells.size());
  std::string stored;
  for (const auto& [member, state] : model.cells) {
    Cell cell;
    REQUIRE(z.find(member, cell));
    const Cell expected = Model::cell_of(state, stored);
    REQUIRE(cell.version == expected.version);
    REQUIRE(cell.tombstone == expected.tombstone);
    REQUIRE(cell.has_sums == expected.has_sums);
    REQUIRE(cell.stored == expected.stored);
  }
  auto at = order.begin();
  z.walk(0, z.live(), false, [&](std::string_view member, double score) {
    REQUIRE(at->second == member);
    REQUIRE(at->first == score);
    ++at;
    return true;
  });
  if (z.live() > 0) {
    z.walk(z.live() - 1, z.live(), true, [&](std::string_view member, double) {
      --at;
      REQUIRE(at->second == member);
      return true;
    });
  }
  std::set<std::string> scanned;
  std::uint64_t cursor = 0;
  do {
    cursor = z.scan(cursor, [&](std::string_view member, double) {
      scanned.emplace(member);
      return true;
    });
  } while (cursor != 0);
  REQUIRE(scanned.size() == order.size());
}

void check_borders(const ZsetCollection& z, const Model& model, Random& random) {
  const auto order = model.order();
  const double score = static_cast<double>(random.below(100)) / 4 - 10;
  std::size_t below = 0, up_to = 0;
  for (const auto& e : order) {
    below += e.first < score;
    up_to += e.first <= score;
  }
  REQUIRE(z.rank(ZsetBorder::at_score(score, false)) == below);
  REQUIRE(z.rank(ZsetBorder::at_score(score, true)) == up_to);
  if (order.empty()) return;
  const auto rank = static_cast<std::size_t>(random.below(order.size()));
  const auto& e = *std::next(order.begin(), static_cast<std::ptrdiff_t>(rank));
  REQUIRE(z.rank(ZsetBorder::at(e.first, e.second)) == rank);
  REQUIRE(z.score(e.second) == e.first);
}

}  // namespace

TEST_CASE("zset: random changes against the merge rule and a std::set") {
  for (const std::size_t members : {8u, 100u, 700u}) {
    for (const bool ring : {false, true}) {
      Random random(members + ring);
      Slabs slabs;
      {
        Owned c(ZsetCollection::make(slabs));
        Model model;
        for (std::uint64_t tick = 1; tick < 6000; ++tick) {
          // Some changes come late.
          const OwnChange change = draw(random, tick + 20 - random.below(20), members, ring);
          c->merge(change.view(), ring);
          model.merge(change, ring);
          if (tick % 50 == 0) check_borders(zset(c), model, random);
          if (tick % 400 == 0) check_same(zset(c), model);
          if (tick % 1500 == 0) {
            const Version floor = version(tick - 700, 0xfff);
            std::size_t dropped = 0;
            const std::size_t before = model.cells.size();
            c->floor = floor;
            c->drop_below(floor, [&](std::string_view, bool stays) { dropped += !stays; });
            model.drop_below(floor);
            REQUIRE(dropped == before - model.cells.size());
            check_same(zset(c), model);
          }
        }
        check_same(zset(c), model);
        if (members == 700) CHECK(!zset(c).small());
      }
      CHECK(slabs.used() == 0);
    }
  }
}

TEST_CASE("zset: order and repetition of changes do not matter") {
  for (const std::size_t members : {10u, 300u}) {
    Random random(members);
    Slabs slabs;
    std::vector<OwnChange> changes;
    for (std::uint64_t tick = 1; tick < 1500; ++tick) {
      changes.push_back(draw(random, tick, members, true));
    }
    Owned a(ZsetCollection::make(slabs)), b(ZsetCollection::make(slabs));
    for (const auto& c : changes) a->merge(c.view(), true);
    std::shuffle(changes.begin(), changes.end(), random);
    for (const auto& c : changes) {
      b->merge(c.view(), true);
      b->merge(c.view(), true);
    }
    CHECK(zset(a).consistent());
    CHECK(zset(b).consistent());
    CHECK(a->live() == b->live());
    a->for_each([&](const ElementView& e) {
      Cell cell;
      REQUIRE(b->find(e.id, cell));
      REQUIRE(cell.version == e.cell.version);
      REQUIRE(cell.stored == e.cell.stored);
      REQUIRE(cell.tombstone == e.cell.tombstone);
      return true;
    });
  }
}

TEST_CASE("zset: no score is NaN") {
  Slabs slabs;
  Owned c(ZsetCollection::make(slabs));
  c->merge({"a", version(1, 8), {}, false, score_payload(std::nan(""))}, true);
  c->merge({"b", version(2, 8), {}, false, "short"}, true);
  c->merge({"c", version(3, 8), {}, false, score_payload(HUGE_VAL)}, true);
  c->merge({"c", version(4, 8), version(4, 8), false, "-inf"}, true);
  c->merge({"d", version(5, 8), version(5, 8), false, "no number"}, true);
  c->merge({"e", version(6, 8), {}, false, score_payload(-0.0)}, true);
  for (const char* member : {"a", "b", "c", "d", "e"}) CHECK(zset(c).score(member) == 0.0);
  CHECK(!std::signbit(*zset(c).score("e")));
  CHECK(zset(c).consistent());
}

TEST_CASE("zset: memory of a small and a large set") {
  Slabs slabs;
  const auto fill = [&](Collection& c, std::uint64_t n) {
    Random random(7);
    for (std::uint64_t i = 1; i <= n; ++i) {
      std::string member = std::to_string(1000000000000000 + i);
      c.merge({member, version(i, 8), {}, false, score_payload(random.unit() * 1e6)}, false);
    }
  };
  {
    Owned c(ZsetCollection::make(slabs));
    fill(*c, 10);
    CHECK(zset(c).small());
    CHECK(c->bytes() == slabs.used());
    CHECK(c->bytes() / 10 < 42);
  }
  Owned c(ZsetCollection::make(slabs));
  fill(*c, 100000);
  CHECK(!zset(c).small());
  CHECK(c->bytes() / 100000 < 90);
}
