#include "types/list_collection.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "../effort.h"
#include "base/clock.h"

using namespace gyre;

namespace {

std::string plain(std::uint64_t number, std::uint64_t version) {
  std::string id(list_plain_id_bytes, '\0');
  put_list_id(id.data(), number, {version});
  return id;
}
std::string beside(std::string position, std::uint64_t version) {
  put_be64(position, version);
  return position;
}

struct Element {
  Version version;
  bool tombstone;
  std::string payload;
  bool operator==(const Element&) const = default;
};
// What a list is: elements by their ids, the higher version wins.
using Model = std::map<std::string, Element>;

bool merge_model(Model& m, const Change& c, bool keep) {
  const auto at = m.find(std::string(c.id));
  if (at != m.end() && at->second.version >= c.version) return false;
  if (c.tombstone && !keep) return at != m.end() && (m.erase(at), true);
  m[std::string(c.id)] = {c.version, c.tombstone, std::string(c.tombstone ? "" : c.payload)};
  return true;
}

void check_same(const ListCollection& list, const Model& model) {
  auto at = model.begin();
  std::vector<std::string> alive;
  const bool all = list.for_each([&](const ElementView& e) {
    REQUIRE(at != model.end());
    REQUIRE(e.id == at->first);
    REQUIRE(e.cell.version == at->second.version);
    REQUIRE(e.cell.tombstone == at->second.tombstone);
    REQUIRE(e.cell.payload() == at->second.payload);
    if (!e.cell.tombstone) alive.emplace_back(e.id);
    ++at;
    return true;
  });
  CHECK(all);
  CHECK(bool(at == model.end()));
  CHECK(list.live() == alive.size());
  CHECK(list.live() + list.tombstones() == model.size());
  CHECK(!list.at(alive.size()).valid());
  // Ranks, and walks from there both ways.
  for (std::size_t i = 0; i < alive.size(); i += 1 + alive.size() / 40) {
    ListWalk walk = list.at(i);
    REQUIRE(walk.valid());
    REQUIRE(walk.id() == alive[i]);
    ListWalk back = walk;
    walk.next();
    REQUIRE(walk.valid() == (i + 1 < alive.size()));
    if (walk.valid()) REQUIRE(walk.id() == alive[i + 1]);
    back.previous();
    REQUIRE(back.valid() == (i > 0));
    if (back.valid()) REQUIRE(back.id() == alive[i - 1]);
  }
  if (alive.empty()) return;
  std::size_t n = 0;
  for (ListWalk walk = list.at(0); walk.valid(); walk.next()) REQUIRE(walk.id() == alive[n++]);
  CHECK(n == alive.size());
  for (ListWalk walk = list.at(n - 1); walk.valid(); walk.previous())
    REQUIRE(walk.id() == alive[--n]);
  CHECK(n == 0);
}

std::uint64_t version_of(Random& random) {
  return (1'000'000 + random.below(5000)) << Version::tick_shift | (8 + random.below(3) * 8);
}

std::string payload_of(Random& random) {
  const std::uint64_t kind = random.below(100);
  const std::size_t size = kind < 80   ? random.below(20)
                           : kind < 95 ? random.below(300)
                                       : random.below(3000);
  return std::string(size, static_cast<char>('a' + random.below(26)));
}

}  // namespace

TEST_CASE("list ids: between any two there is a third") {
  Random random(7);
  std::vector<std::string> ids = {
      plain(list_origin, version_of(random)), plain(list_origin + 1, version_of(random)),
      plain(list_origin + 1, version_of(random) + 1), plain(list_origin + 900, 77)};
  std::sort(ids.begin(), ids.end());
  std::size_t longest = 0;
  for (int i = 0; i < 3000; ++i) {
    const auto at = static_cast<std::size_t>(random.below(ids.size() - 1));
    const std::string p = position_between(ids[at], ids[at + 1]);
    for (const std::uint64_t v : {std::uint64_t{1}, ~std::uint64_t{0}}) {
      REQUIRE(ids[at] < beside(p, v));
      REQUIRE(beside(p, v) < ids[at + 1]);
    }
    ids.insert(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1, beside(p, version_of(random)));
    longest = std::max(longest, p.size());
  }
  CHECK(longest < 60);
}

TEST_CASE("list ids: insertions in a row at one place stay short") {
  for (const bool rightwards : {false, true}) {
    std::string left = plain(list_origin, 5ull << 60), right = plain(list_origin + 1, 6ull << 60);
    for (std::uint64_t i = 0; i < 1000; ++i) {
      (rightwards ? left : right) = beside(position_between(left, right), (7ull << 60) + (i << 12));
      REQUIRE(left < right);
    }
    CHECK((rightwards ? left : right).size() < 40);
  }
}

TEST_CASE("list collection: random merges as a map of ids") {
  for (const bool keep : {false, true}) {
    for (std::uint64_t seed = 1; seed <= test::effort(6); ++seed) {
      Slabs slabs;
      Random random(seed);
      Model model;
      {
        ListCollection list(slabs);
        // Few ids meet often; many make a tree.
        const std::uint64_t numbers = seed % 2 ? 60 : 6000;
        std::vector<std::string> odd;
        for (int i = 0; i < 12000; ++i) {
          std::string id;
          const std::uint64_t kind = random.below(10);
          if (kind < 5 || model.empty()) {
            id = plain(list_origin + random.below(numbers), version_of(random));
          } else if (kind < 8) {
            auto at = model.lower_bound(plain(list_origin + random.below(numbers), 0));
            id = at == model.end() ? model.begin()->first : at->first;
          } else if (kind < 9) {
            auto at = model.lower_bound(plain(list_origin + random.below(numbers), 0));
            if (at == model.end() || std::next(at) == model.end()) continue;
            id = beside(position_between(at->first, std::next(at)->first), version_of(random));
          } else {
            id = std::string(random.below(12), static_cast<char>(random.below(256)));
          }
          const std::string payload = payload_of(random);
          const Change c{id, {version_of(random)}, {}, random.below(3) == 0, payload};
          const bool taken = list.merge(c, keep).taken;
          REQUIRE(taken == merge_model(model, c, keep));
          Cell cell;
          const auto now = model.find(id);
          REQUIRE(list.find(id, cell) == (now != model.end()));
          if (now != model.end()) REQUIRE(cell.payload() == now->second.payload);
          REQUIRE(!list.merge(c, keep).taken);
          if (i % 1000 == 999) check_same(list, model);
        }
        CHECK(list.bytes() > 0);
        // A floor in the middle of the versions.
        const Version floor{(1'000'000ull + 2500) << Version::tick_shift};
        std::size_t dropped = 0;
        list.drop_below(floor, [&](std::string_view, bool still) {
          CHECK(!still);
          ++dropped;
        });
        const auto gone =
            std::erase_if(model, [&](const auto& e) { return e.second.version <= floor; });
        CHECK(dropped == gone);
        check_same(list, model);
        // Down to nothing, in a random order.
        std::vector<std::string> ids;
        for (const auto& [id, e] : model) ids.push_back(id);
        for (std::size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[random.below(i)]);
        for (std::size_t i = 0; i < ids.size(); ++i) {
          REQUIRE(list.merge({ids[i], {~std::uint64_t{0}}, {}, true, {}}, false).taken);
          model.erase(ids[i]);
          if (i % 500 == 0) check_same(list, model);
        }
        CHECK(list.live() + list.tombstones() == 0);
      }
      CHECK(slabs.used() == 0);
    }
  }
}

TEST_CASE("list collection: many elements in a random order") {
  Slabs slabs;
  ListCollection list(slabs);
  Random random(11);
  constexpr std::uint64_t n = 200'000;
  std::vector<std::uint64_t> order(n);
  for (std::uint64_t i = 0; i < n; ++i) order[i] = i;
  const auto shuffle = [&] {
    for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  };
  const auto id_of = [](std::uint64_t i) { return plain(list_origin + i / 3, (5000 + i) << 12); };
  shuffle();
  for (const std::uint64_t i : order)
    list.merge({id_of(i), {(5000 + i) << 12}, {}, false, "abc"}, true);
  std::printf("list of 200k x 3 B in a random order: %.2f bytes per element\n",
              static_cast<double>(list.bytes()) / n);
  for (std::size_t rank = 0; rank < n; rank += 97) REQUIRE(list.at(rank).id() == id_of(rank));
  shuffle();
  for (const std::uint64_t i : order) {
    if (i % 4 != 0) list.merge({id_of(i), {(900'000 + i) << 12}, {}, true, {}}, i % 2 == 0);
  }
  CHECK(list.live() == n / 4);
  CHECK(list.tombstones() == n / 4);
  for (std::size_t rank = 0; rank < n / 4; rank += 97)
    REQUIRE(list.at(rank).id() == id_of(rank * 4));
}

TEST_CASE("list collection: both sides' pushes survive, each in its order") {
  // Two sides push at both ends of the same list and then learn of each other, in any order.
  for (std::uint64_t seed = 1; seed <= test::effort(5); ++seed) {
    Slabs slabs;
    Random random(seed);
    ListCollection side[2] = {ListCollection(slabs), ListCollection(slabs)};
    struct Push {
      std::string id, payload;
      Version version;
    };
    std::vector<Push> pushes[2];
    std::vector<std::string> order[2];  // what each side sees of its own pushes
    for (std::uint64_t i = 0; i < 2000; ++i) {
      const std::size_t s = random.below(2);
      const bool left = random.below(3) == 0;
      const Version v{(5000 + i / 7) << Version::tick_shift | (8 * (s + 1))};
      const std::uint64_t number =
          left ? side[s].number_before_first() : side[s].number_after_last();
      const Push p{plain(number, v.bits), std::to_string(s) + ":" + std::to_string(i), v};
      REQUIRE(side[s].merge({p.id, v, {}, false, p.payload}, true).taken);
      pushes[s].push_back(p);
      order[s].insert(left ? order[s].begin() : order[s].end(), p.payload);
    }
    for (const std::size_t s : {0u, 1u}) {
      std::vector<Push>& others = pushes[1 - s];
      for (std::size_t i = others.size(); i > 1; --i)
        std::swap(others[i - 1], others[random.below(i)]);
      for (const Push& p : others)
        REQUIRE(side[s].merge({p.id, p.version, {}, false, p.payload}, true).taken);
    }
    CHECK(side[0].live() == 2000);
    ListWalk a = side[0].at(0), b = side[1].at(0);
    std::vector<std::string> seen[2];
    for (; a.valid() && b.valid(); a.next(), b.next()) {
      REQUIRE(a.id() == b.id());
      seen[a.payload()[0] - '0'].emplace_back(a.payload());
    }
    CHECK(a.valid() == b.valid());
    for (const std::size_t s : {0u, 1u}) CHECK(bool(seen[s] == order[s]));
  }
}

TEST_CASE("list collection: a walk over all elements leaves nothing behind") {
  Slabs slabs;
  ListCollection list(slabs);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const std::string id = plain(list_origin + i, (i + 1) << 12);
    list.merge({id, {(i + 1) << 12}, {}, false, "abc"}, true);
  }
  const std::size_t bytes = list.bytes();
  std::uint64_t i = 0;
  list.for_each([&](const ElementView& e) {
    REQUIRE(e.id == plain(list_origin + i, (i + 1) << 12));
    Cell cell;
    REQUIRE(list.find(e.id, cell));
    ++i;
    return true;
  });
  CHECK(i == 1000);
  CHECK(list.bytes() == bytes);
}

TEST_CASE("list collection: a million elements are small") {
  struct Case {
    const char* what;
    std::size_t payload;
    std::uint64_t ticks;
    bool left;
    double most;
  };
  for (const Case& c :
       {Case{"3 B, RPUSH", 3, 1, false, 9}, Case{"3 B, LPUSH", 3, 1, true, 9},
        Case{"3 B, RPUSH 10 ms apart", 3, 20480, false, 10}, Case{"16 B, RPUSH", 16, 1, false, 22},
        Case{"16 B, LPUSH 10 ms apart", 16, 20480, true, 24}}) {
    Slabs slabs;
    ListCollection list(slabs);
    const std::string payload(c.payload, 'x');
    constexpr std::uint64_t n = 1'000'000;
    for (std::uint64_t i = 0; i < n; ++i) {
      const Version v{(std::uint64_t{1} << 45 | i * c.ticks) << Version::tick_shift | 8};
      const std::string id =
          plain(c.left ? list.number_before_first() : list.number_after_last(), v.bits);
      list.merge({id, v, {}, false, payload}, false);
    }
    const double each = static_cast<double>(slabs.used() + sizeof list) / n;
    std::printf("list of 1M x %s: %.2f bytes per element\n", c.what, each);
    CHECK(list.live() == n);
    CHECK(each < c.most);
    if (c.payload == 3) CHECK(each < 20);
  }
}
