#include "ring/ring.h"

#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace gyre {
namespace {

std::vector<NodeInfo> nodes(int count) {
  std::vector<NodeInfo> out;
  for (int i = 1; i <= count; ++i) {
    out.push_back(
        parse_node_info("n" + std::to_string(i) + " 10.0.0." + std::to_string(i) + " 16379")
            .value());
  }
  return out;
}

Ring ring(std::vector<NodeInfo> list, int factor) {
  return Ring::build(std::move(list), factor).value();
}

void check_refused(std::vector<NodeInfo> list, std::string_view because, int factor = 3) {
  const auto built = Ring::build(std::move(list), factor);
  REQUIRE_FALSE(built);
  CAPTURE(built.error().detail);
  CHECK(built.error().code == Errc::config);
  CHECK(built.error().detail.find(because) != std::string::npos);
}

}  // namespace

TEST_CASE("a ring knows its nodes by name, by place and by the index of versions") {
  const Ring r = ring(nodes(12), 3);
  CHECK(r.epoch() == 1);
  CHECK(r.nodes().size() == 12);
  CHECK(r.nodes()[1].name == "n10");
  CHECK(r.find("n10") == NodeIndex{1});
  CHECK(r.find("n1") == NodeIndex{0});
  CHECK_FALSE(r.find("n"));
  CHECK_FALSE(r.find("n99"));
  CHECK(r.node(NodeIndex{1}).index == 1);
  CHECK(r.find_by_version_index(11) == NodeIndex{11});
  CHECK_FALSE(r.find_by_version_index(12));
  for (std::uint16_t s = 0; s < slots_total; ++s) {
    const auto replicas = r.replicas(Slot{s});
    REQUIRE(replicas.size() == 3);
    REQUIRE(r.is_replica(replicas[2], Slot{s}));
  }
}

TEST_CASE("indexes that are given stay apart from places") {
  auto list = nodes(3);
  list[0].index = 511;
  list[1].index = 7;
  list[2].index = 0;
  const Ring r = ring(list, 3);
  CHECK(r.node(NodeIndex{0}).index == 511);
  CHECK(r.find_by_version_index(7) == NodeIndex{1});
  list[2].index = 7;
  check_refused(list, "nodes n2 and n3 both have index=7");
  list[2].index = node_index_unset;
  check_refused(list, "node n3 has no index=, others have; give it on every line or on none");
  list[2].index = 512;
  check_refused(list, "the highest is 511");
}

TEST_CASE("the order of the list makes no difference") {
  auto list = nodes(7);
  const Ring a = ring(list, 3);
  std::ranges::reverse(list);
  std::swap(list[1], list[4]);
  const Ring b = ring(list, 3);
  CHECK(a.content_hash() == b.content_hash());
  CHECK(a.describe() == b.describe());
  for (std::uint16_t s = 0; s < slots_total; ++s) {
    REQUIRE(std::ranges::equal(a.replicas(Slot{s}), b.replicas(Slot{s})));
  }
}

TEST_CASE("the factor is capped at the number of nodes") {
  CHECK(ring(nodes(2), 3).replication_factor() == 2);
  CHECK(ring(nodes(2), 3).capped());
  CHECK_FALSE(ring(nodes(3), 3).capped());
  CHECK(ring(nodes(2), 3).content_hash() == ring(nodes(2), 5).content_hash());
}

TEST_CASE("a list that contradicts itself is refused") {
  check_refused({}, "the list is empty");
  check_refused(nodes(3), "it must be at least 1", 0);
  auto twice = nodes(3);
  twice[2].name = "n1";
  check_refused(twice, "node n1 is listed twice");
  auto same_bus = nodes(3);
  same_bus[2].host = same_bus[0].host;
  check_refused(same_bus, "nodes n1 and n3 share port 16379 of 10.0.0.1");
  same_bus[2].bus_port = 16380;
  check_refused(same_bus, "nodes n1 and n3 share port 6379");
  same_bus[2].port = 6380;
  same_bus[2].cluster_client_port = 0;
  CHECK(Ring::build(same_bus, 3));
  std::vector<NodeInfo> many;
  for (int i = 0; i <= ring_nodes_max; ++i) {
    many.emplace_back();
    many.back().name = "n" + std::to_string(i);
    many.back().host = "h" + std::to_string(i);
    many.back().bus_port = 1;
  }
  check_refused(many, "the list has 513 nodes; at most 512");
}

TEST_CASE("a node that is alone holds every slot") {
  const Ring r = Ring::alone({});
  CHECK(r.nodes().size() == 1);
  CHECK(r.replication_factor() == 1);
  CHECK(r.node(NodeIndex{0}).index == 0);
  for (std::uint16_t s = 0; s < slots_total; ++s) {
    REQUIRE(r.replicas(Slot{s}).size() == 1);
    CHECK(r.replicas(Slot{s})[0] == NodeIndex{0});
  }
}

TEST_CASE("the content hash covers what must agree, and only that") {
  const auto list = nodes(4);
  const Ring base = ring(list, 3);
  const auto changed = [&](auto change) {
    auto other = list;
    change(other[1]);
    return ring(other, 3).content_hash() != base.content_hash();
  };
  CHECK(changed([](NodeInfo& n) { n.name = "n9"; }));
  CHECK(changed([](NodeInfo& n) { n.bus_port = 1; }));
  CHECK(changed([](NodeInfo& n) { n.rack = "a"; }));
  CHECK(changed([](NodeInfo& n) { n.weight = 2; }));
  CHECK(ring(list, 2).content_hash() != base.content_hash());
  CHECK(ring(nodes(5), 3).content_hash() != base.content_hash());
  auto indexed = list;
  for (std::uint16_t i = 0; i < 4; ++i) indexed[i].index = i;
  CHECK(ring(indexed, 3).content_hash() == base.content_hash());
  std::swap(indexed[0].index, indexed[1].index);
  CHECK(ring(indexed, 3).content_hash() != base.content_hash());
  CHECK_FALSE(changed([](NodeInfo& n) { n.host = "elsewhere"; }));
  CHECK_FALSE(changed([](NodeInfo& n) { n.port = 1; }));
  CHECK_FALSE(changed([](NodeInfo& n) { n.announce_host = "elsewhere"; }));
}

TEST_CASE("rings that differ say how") {
  const Ring a = ring(nodes(4), 3);
  CHECK(a.describe_difference(a.describe()).empty());
  CHECK(a.describe_difference(ring(nodes(3), 3).describe()) == "missing node n4 there");
  CHECK(ring(nodes(3), 3).describe_difference(a.describe()) == "missing node n4 here");
  CHECK(a.describe_difference(ring(nodes(4), 2).describe()) == "factor: '3' here, '2' there");
  auto list = nodes(4);
  list[1].rack = "b";
  list[2].weight = 5;
  CHECK(a.describe_difference(ring(list, 3).describe()) ==
        "rack of n2: '' here, 'b' there; weight of n3: '1' here, '5' there");
  const std::string many = ring(nodes(30), 3).describe_difference(ring(nodes(3), 3).describe());
  // 27 nodes are missing, and n2 and n3 have another rank; eight differences are shown.
  CHECK(many.ends_with("; and 21 more"));
  std::string other_table = a.describe();
  other_table.replace(other_table.find("table=") + 6, 16, "0123456789abcdef");
  CHECK(a.describe_difference(other_table).starts_with("the same nodes, but another slot table"));
}

TEST_CASE("a description that is none is survived") {
  const Ring a = ring(nodes(3), 3);
  for (const std::string text :
       {"", "\n", "x", "gyre-ring", "gyre-ring 1 factor=3\nn/1 x\n", "gyre-ring 1\n\n",
        "gyre-ring 1 factor\x01\n", "gyre-ring 2\nn1\nn2 = =a==\nn3 a=b\nn1\n"}) {
    CAPTURE(text);
    CHECK_FALSE(a.describe_difference(text).empty());
  }
  CHECK_FALSE(a.describe_difference(std::string(1 << 20, 'a')).empty());
  std::string cut = a.describe();
  while (!cut.empty()) {
    cut.pop_back();
    if (!cut.empty()) (void)a.describe_difference(cut);
  }
}

}  // namespace gyre
