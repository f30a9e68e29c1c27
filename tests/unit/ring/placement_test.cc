#include "ring/placement.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "../effort.h"
#include "base/bytes.h"
#include "base/hash.h"

namespace gyre {
namespace {

struct Row {
  const char* rack;
  std::uint32_t weight;
};

std::vector<NodeInfo> nodes(std::size_t count, std::string_view prefix = "n") {
  std::vector<NodeInfo> out(count);
  for (std::size_t i = 0; i < count; ++i) out[i].name = std::string(prefix) + std::to_string(i + 1);
  return out;
}

std::vector<NodeInfo> nodes(std::initializer_list<Row> rows) {
  auto out = nodes(rows.size());
  std::size_t i = 0;
  for (const Row& row : rows) {
    out[i].rack = row.rack;
    out[i++].weight = row.weight;
  }
  return out;
}

struct Counts {
  std::vector<double> replicas;
  std::vector<double> primaries;
};

Counts count(const std::vector<NodeIndex>& table, std::size_t count, std::size_t factor) {
  Counts counts{std::vector<double>(count), std::vector<double>(count)};
  for (std::size_t i = 0; i < table.size(); ++i) {
    counts.replicas[table[i].value] += 1;
    if (i % factor == 0) counts.primaries[table[i].value] += 1;
  }
  return counts;
}

void check_near(const std::vector<double>& loads, const std::vector<std::int64_t>& ideal,
                double tolerance) {
  for (std::size_t n = 0; n < loads.size(); ++n) {
    const double want = static_cast<double>(ideal[n]) / 65536;
    CAPTURE(n);
    CAPTURE(loads[n]);
    CAPTURE(want);
    CHECK(std::abs(loads[n] - want) <= std::max(1.0, tolerance * want));
  }
}

// Distinct nodes; no rack is used twice more than another that has a node left.
void check_rules(const std::vector<NodeInfo>& list, const std::vector<NodeIndex>& table,
                 std::size_t factor) {
  REQUIRE(table.size() == slots_total * factor);
  std::map<std::string, std::size_t> sizes;
  for (const NodeInfo& n : list) ++sizes[n.rack.empty() ? "/" + n.name : n.rack];
  bool fine = true;
  for (std::size_t slot = 0; slot < slots_total; ++slot) {
    std::set<std::uint16_t> used;
    std::map<std::string, std::size_t> uses;
    for (std::size_t i = 0; i < factor; ++i) {
      const NodeIndex n = table[slot * factor + i];
      fine = fine && n.value < list.size() && used.insert(n.value).second;
      ++uses[list[n.value].rack.empty() ? "/" + list[n.value].name : list[n.value].rack];
    }
    std::size_t most = 0;
    for (const auto& [rack, times] : uses) most = std::max(most, times);
    for (const auto& [rack, size] : sizes)
      fine = fine && uses[rack] + 1 >= std::min(size + 1, most);
  }
  CHECK(fine);
}

// Replicas that a slot has in `to` and not in `from`; both lists begin with the same nodes.
double moves(const std::vector<NodeIndex>& from, const std::vector<NodeIndex>& to,
             std::size_t factor) {
  double moved = 0;
  for (std::size_t slot = 0; slot < slots_total; ++slot) {
    const auto before = std::span(from).subspan(slot * factor, factor);
    for (const NodeIndex n : std::span(to).subspan(slot * factor, factor)) {
      if (std::ranges::find(before, n) == before.end()) moved += 1;
    }
  }
  return moved;
}

std::uint64_t table_hash(const std::vector<NodeIndex>& table) {
  std::string bytes;
  for (const NodeIndex n : table) put_be16(bytes, n.value);
  return hash64(bytes);
}

}  // namespace

TEST_CASE("replicas and primaries are even within 1 % for 3 to 30 nodes") {
  const std::size_t step = 27 / gyre::test::effort(27);
  for (std::size_t size = 3; size <= 30; size += step) {
    const auto list = nodes(size, size % 2 ? "n" : "gyre-node-");
    for (std::size_t factor = 1; factor <= std::min<std::size_t>(size, 5); ++factor) {
      CAPTURE(size);
      CAPTURE(factor);
      const auto table = place(list, static_cast<int>(factor));
      if (size % 6 == 0) check_rules(list, table, factor);
      const Counts counts = count(table, size, factor);
      for (std::size_t n = 0; n < size; ++n) {
        const double ideal = static_cast<double>(slots_total) / static_cast<double>(size);
        REQUIRE(std::abs(counts.primaries[n] - ideal) <= 0.01 * ideal);
        REQUIRE(std::abs(counts.replicas[n] - ideal * static_cast<double>(factor)) <=
                0.01 * ideal * static_cast<double>(factor));
      }
    }
  }
}

TEST_CASE("a node that joins or leaves moves little more than its share") {
  for (const std::size_t factor : {1u, 2u, 3u, 5u}) {
    for (const std::size_t size : {3u, 4u, 5u, 6u, 8u, 10u, 15u, 20u, 29u}) {
      if (size < factor) continue;
      CAPTURE(size);
      CAPTURE(factor);
      const auto before = place(nodes(size), static_cast<int>(factor));
      const auto after = place(nodes(size + 1), static_cast<int>(factor));
      const double ideal =
          static_cast<double>(slots_total * factor) / static_cast<double>(size + 1);
      CHECK(moves(before, after, factor) <= 1.15 * ideal);
      CHECK(moves(after, before, factor) <= 1.15 * ideal);
    }
  }
}

TEST_CASE("a node that joins a rack moves little more than its share") {
  auto list = nodes(12);
  for (std::size_t i = 0; i < list.size(); ++i)
    list[i].rack = std::string(1, static_cast<char>('a' + i % 3));
  const auto after = place(list, 3);
  list.pop_back();
  const auto before = place(list, 3);
  // Each of three racks holds every slot: the node takes a quarter of its rack's replicas.
  CHECK(moves(before, after, 3) <= 1.05 * slots_total / 4);
}

TEST_CASE("racks are distinct while there are racks left, and even where they can be") {
  struct Case {
    std::vector<NodeInfo> list;
    int factor;
  };
  const Case cases[] = {
      {nodes({{"a", 1}, {"b", 1}, {"c", 1}}), 3},
      {nodes({{"a", 1}, {"a", 1}, {"b", 1}, {"b", 1}, {"c", 1}, {"c", 1}}), 3},
      {nodes({{"a", 1}, {"a", 1}, {"a", 1}, {"a", 1}, {"b", 1}, {"c", 1}}), 3},
      {nodes({{"a", 1}, {"a", 1}, {"a", 1}, {"a", 1}, {"b", 1}, {"c", 1}}), 2},
      {nodes({{"a", 1}, {"a", 1}, {"a", 1}, {"b", 1}}), 3},
      {nodes({{"a", 1}, {"a", 1}, {"b", 1}, {"b", 1}, {"b", 1}}), 3},
      {nodes({{"a", 1}, {"a", 1}, {"b", 1}, {"b", 1}, {"b", 1}}), 5},
      {nodes({{"a", 1}, {"a", 1}, {"", 1}, {"", 1}, {"", 1}}), 3},
      {nodes({{"a", 2}, {"a", 1}, {"b", 1}, {"b", 3}, {"c", 1}, {"c", 1}, {"d", 4}}), 3},
  };
  for (const Case& c : cases) {
    CAPTURE(c.list.size());
    CAPTURE(c.factor);
    const auto factor = static_cast<std::size_t>(c.factor);
    const auto table = place(c.list, c.factor);
    check_rules(c.list, table, factor);
    const IdealLoad ideal = ideal_load(c.list, c.factor);
    const Counts counts = count(table, c.list.size(), factor);
    check_near(counts.replicas, ideal.replicas, 0.01);
    check_near(counts.primaries, ideal.primaries, 0.01);
  }
}

TEST_CASE("a small ring copes with every factor up to its size") {
  for (const std::size_t size : {1u, 2u, 3u, 5u}) {
    for (std::size_t factor = 1; factor <= size; ++factor) {
      CAPTURE(size);
      CAPTURE(factor);
      const auto list = nodes(size);
      const auto table = place(list, static_cast<int>(factor));
      check_rules(list, table, factor);
      const IdealLoad ideal = ideal_load(list, static_cast<int>(factor));
      check_near(count(table, size, factor).replicas, ideal.replicas, 0.002);
      check_near(count(table, size, factor).primaries, ideal.primaries, 0.002);
    }
  }
}

TEST_CASE("the ideal follows weights, but a node holds a slot only once") {
  const auto slots = [](double s) { return static_cast<std::int64_t>(s * 65536); };
  const auto near = [&](std::int64_t have, double want) {
    return std::abs(have - slots(want)) < 65536;
  };
  const auto even = ideal_load(nodes({{"", 1}, {"", 1}, {"", 2}}), 1);
  CHECK(near(even.replicas[0], 4096));
  CHECK(near(even.replicas[2], 8192));
  // Weights 1, 1 and 8 with two replicas: the heavy one holds every slot, the others share the
  // rest.
  const auto heavy = ideal_load(nodes({{"", 1}, {"", 1}, {"", 8}}), 2);
  CHECK(near(heavy.replicas[2], 16384));
  CHECK(near(heavy.replicas[0], 8192));
  CHECK(near(heavy.primaries[2], 16384 * 0.8));
  // Two racks and two replicas: the rack with one node holds every slot.
  const auto racks = ideal_load(nodes({{"a", 1}, {"b", 1}, {"b", 1}}), 2);
  CHECK(near(racks.replicas[0], 16384));
  CHECK(near(racks.replicas[1], 8192));
}

TEST_CASE("loads follow weights within a few percent") {
  const std::vector<std::vector<NodeInfo>> lists = {
      nodes({{"", 1}, {"", 2}, {"", 3}, {"", 4}}),
      nodes({{"", 1}, {"", 1}, {"", 1}, {"", 8}, {"", 8}, {"", 8}}),
      nodes({{"", 1000}, {"", 500}, {"", 700}, {"", 900}, {"", 100}}),
      nodes({{"", 1}, {"", 1000}}),
      nodes({{"", 1}, {"", 1}, {"", 1000}}),
  };
  for (const auto& list : lists) {
    for (std::size_t factor = 1; factor <= std::min<std::size_t>(3, list.size()); ++factor) {
      CAPTURE(list.size());
      CAPTURE(factor);
      const auto table = place(list, static_cast<int>(factor));
      const IdealLoad ideal = ideal_load(list, static_cast<int>(factor));
      check_near(count(table, list.size(), factor).replicas, ideal.replicas, 0.02);
      check_near(count(table, list.size(), factor).primaries, ideal.primaries, 0.02);
    }
  }
}

// These values are what every build of Gyre must compute. When a change makes them differ, raise
// placement_version: nodes of both kinds must not mix.
TEST_CASE("the table is the same on every machine") {
  CHECK(table_hash(place(nodes(3), 3)) == 9915145178026079361u);
  CHECK(table_hash(place(nodes(7), 3)) == 10019877363339824900u);
  CHECK(table_hash(place(nodes({{"a", 1}, {"a", 2}, {"b", 1}, {"b", 3}, {"", 1}}), 2)) ==
        1114127575242313009u);
  CHECK(placement_version == 1);
}

TEST_CASE("order in the list only renumbers") {
  const auto list = nodes(6);
  auto reversed = list;
  std::ranges::reverse(reversed);
  const auto a = place(list, 3);
  auto b = place(reversed, 3);
  for (NodeIndex& n : b) n.value = static_cast<std::uint16_t>(5 - n.value);
  CHECK(a == b);
}

}  // namespace gyre
