#include "ring/ring.h"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "ring/placement.h"

namespace gyre {
namespace {

Error wrong(std::string text) {
  return Error(Errc::config, "cluster-node: " + std::move(text));
}

std::string hex(std::uint64_t value) {
  std::string out(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4) out[i] = "0123456789abcdef"[value & 15];
  return out;
}

// Two listeners at one address: the second would never start.
Result<void> check_addresses(std::span<const NodeInfo> nodes) {
  std::map<std::pair<std::string_view, std::uint16_t>, std::string_view> owners;
  for (const NodeInfo& node : nodes) {
    for (const std::uint16_t port : {node.bus_port, node.port, node.cluster_client_port}) {
      if (port == 0) continue;
      const auto [at, added] = owners.try_emplace({node.host, port}, node.name);
      if (added) continue;
      return wrong(
          "nodes " + std::string(at->second) + " and " + node.name + " share port " +
          std::to_string(port) + " of " + node.host +
          "; nodes on one host need a bus port, port= and cluster-client-port= of their own");
    }
  }
  return {};
}

// Indexes are given for all nodes or for none; then the rank by name stands.
Result<void> settle_indexes(std::span<NodeInfo> nodes) {
  const auto given =
      std::ranges::count_if(nodes, [](const NodeInfo& n) { return n.index != node_index_unset; });
  if (given == 0) {
    for (std::size_t i = 0; i < nodes.size(); ++i) nodes[i].index = static_cast<std::uint16_t>(i);
    return {};
  }
  std::map<std::uint16_t, std::string_view> owners;
  for (const NodeInfo& node : nodes) {
    if (node.index == node_index_unset) {
      return wrong("node " + node.name +
                   " has no index=, others have; give it on every line or on none");
    }
    if (node.index >= ring_nodes_max) {
      return wrong("node " + node.name + " has index=" + std::to_string(node.index) +
                   "; the highest is " + std::to_string(ring_nodes_max - 1));
    }
    const auto [at, added] = owners.try_emplace(node.index, node.name);
    if (!added) {
      return wrong("nodes " + std::string(at->second) + " and " + node.name +
                   " both have index=" + std::to_string(node.index) + "; each needs its own");
    }
  }
  return {};
}

// ---- descriptions -----------------------------------------------------------------------------

std::string_view cut(std::string_view& text, char at) {
  const std::string_view part = text.substr(0, text.find(at));
  text.remove_prefix(std::min(part.size() + 1, text.size()));
  return part;
}

using Fields = std::map<std::string, std::string, std::less<>>;

// A description taken apart again. What does not look like one stays unread.
struct Description {
  Fields ring;
  std::map<std::string, Fields, std::less<>> nodes;
};

Fields parse_fields(std::string_view text) {
  Fields fields;
  while (!text.empty()) {
    std::string_view value = cut(text, ' ');
    const std::string_view name = cut(value, '=');
    fields.emplace(name, value);
  }
  return fields;
}

std::optional<Description> parse_description(std::string_view text) {
  constexpr std::size_t description_max = std::size_t{ring_nodes_max} * 256;
  if (text.size() > description_max) return std::nullopt;
  // It ends up in a log: nothing but what describe() writes.
  if (!std::ranges::all_of(text, [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); })) {
    return std::nullopt;
  }
  Description out;
  std::string_view head = cut(text, '\n');
  if (cut(head, ' ') != "gyre-ring") return std::nullopt;
  out.ring.emplace("placement", cut(head, ' '));
  out.ring.merge(parse_fields(head));
  while (!text.empty()) {
    std::string_view line = cut(text, '\n');
    const std::string_view name = cut(line, ' ');
    if (!valid_node_name(name)) return std::nullopt;
    out.nodes.emplace(name, parse_fields(line));
  }
  return out;
}

// A list of differences that stays readable however many there are.
class Differences {
 public:
  void add(std::string_view text) {
    if (++count_ > shown_max) return;
    if (!text_.empty()) text_ += "; ";
    text_ += text;
  }
  bool empty() const { return count_ == 0; }
  std::string text() const {
    if (count_ <= shown_max) return text_;
    return text_ + "; and " + std::to_string(count_ - shown_max) + " more";
  }

 private:
  static constexpr std::size_t shown_max = 8;

  std::string text_;
  std::size_t count_ = 0;
};

void compare_fields(const Fields& here, const Fields& there, std::string_view of,
                    Differences& differences) {
  constexpr std::size_t value_max = 80;
  for (const auto& [name, value] : here) {
    const auto at = there.find(name);
    const std::string_view other = at == there.end() ? std::string_view() : at->second;
    if (other == value) continue;
    differences.add(name + std::string(of) + ": '" + value + "' here, '" +
                    std::string(other.substr(0, value_max)) + "' there");
  }
}

}  // namespace

Result<Ring> Ring::build(std::vector<NodeInfo> nodes, int replication_factor) {
  if (nodes.empty()) return wrong("the list is empty; name every node of the ring, this one too");
  if (nodes.size() > ring_nodes_max) {
    return wrong("the list has " + std::to_string(nodes.size()) + " nodes; at most " +
                 std::to_string(ring_nodes_max) + " are possible");
  }
  if (replication_factor < 1) {
    return Error(Errc::config, "the replication factor is " + std::to_string(replication_factor) +
                                   "; it must be at least 1, and 3 is usual");
  }
  std::ranges::sort(nodes, {}, &NodeInfo::name);
  for (const NodeInfo& node : nodes) {
    if (!valid_node_name(node.name)) return wrong("a name is not 1 to 63 of A-Z a-z 0-9 . _ -");
    if (!node.rack.empty() && !valid_node_name(node.rack)) {
      return wrong("the rack of node " + node.name + " is not 1 to 63 of A-Z a-z 0-9 . _ -");
    }
    if (node.weight < 1 || node.weight > node_weight_max) {
      return wrong("node " + node.name + " has weight=" + std::to_string(node.weight) +
                   "; it must be from 1 to " + std::to_string(node_weight_max));
    }
  }
  const auto twice = std::ranges::adjacent_find(nodes, {}, &NodeInfo::name);
  if (twice != nodes.end()) return wrong("node " + twice->name + " is listed twice; once is right");
  if (auto checked = check_addresses(nodes); !checked) return checked.error();
  if (auto settled = settle_indexes(nodes); !settled) return settled.error();
  return Ring(std::move(nodes), replication_factor);
}

Ring Ring::alone(NodeInfo node) {
  if (node.name.empty()) node.name = "alone";
  if (node.index == node_index_unset) node.index = 0;
  std::vector<NodeInfo> nodes;
  nodes.push_back(std::move(node));
  return Ring(std::move(nodes), 1);
}

Ring::Ring(std::vector<NodeInfo> nodes, int factor)
    : nodes_(std::move(nodes)),
      factor_(std::min(factor, static_cast<int>(nodes_.size()))),
      requested_factor_(factor) {
  table_ = place(nodes_, factor_);
  content_hash_ = hash64(describe());
}

std::span<const NodeIndex> Ring::replicas(Slot slot) const {
  GYRE_ASSERT(slot.value < slots_total);
  const auto width = static_cast<std::size_t>(factor_);
  return std::span(table_).subspan(slot.value * width, width);
}

bool Ring::is_replica(NodeIndex node, Slot slot) const {
  return std::ranges::find(replicas(slot), node) != replicas(slot).end();
}

const NodeInfo& Ring::node(NodeIndex index) const {
  GYRE_ASSERT(index.value < nodes_.size());
  return nodes_[index.value];
}

std::optional<NodeIndex> Ring::find(std::string_view name) const {
  const auto at = std::ranges::lower_bound(
      nodes_, name, std::less<>(), [](const NodeInfo& n) { return std::string_view(n.name); });
  if (at == nodes_.end() || at->name != name) return std::nullopt;
  return NodeIndex{static_cast<std::uint16_t>(at - nodes_.begin())};
}

std::optional<NodeIndex> Ring::find_by_version_index(std::uint16_t index) const {
  const auto at = std::ranges::find(nodes_, index, &NodeInfo::index);
  if (at == nodes_.end()) return std::nullopt;
  return NodeIndex{static_cast<std::uint16_t>(at - nodes_.begin())};
}

std::string Ring::describe() const {
  std::string table;
  table.reserve(table_.size() * 2);
  for (const NodeIndex n : table_) put_be16(table, n.value);
  std::string out = "gyre-ring " + std::to_string(placement_version) +
                    " factor=" + std::to_string(factor_) + " table=" + hex(hash64(table)) + "\n";
  for (const NodeInfo& n : nodes_) {
    out += n.name + " bus-port=" + std::to_string(n.bus_port) +
           " index=" + std::to_string(n.index) + " rack=" + n.rack +
           " weight=" + std::to_string(n.weight) + "\n";
  }
  return out;
}

std::string Ring::describe_difference(std::string_view other_description) const {
  const std::string own = describe();
  if (own == other_description) return {};
  const auto here = parse_description(own);
  const auto there = parse_description(other_description);
  GYRE_ASSERT(here.has_value());
  if (!there) return "the other node's description of its ring cannot be read";

  Differences differences;
  for (const auto& [name, fields] : here->nodes) {
    const auto at = there->nodes.find(name);
    if (at == there->nodes.end()) {
      differences.add("missing node " + name + " there");
    } else {
      compare_fields(fields, at->second, " of " + name, differences);
    }
  }
  for (const auto& [name, fields] : there->nodes) {
    if (!here->nodes.contains(name)) differences.add("missing node " + name + " here");
  }
  Fields ring = here->ring;
  ring.erase("table");
  compare_fields(ring, there->ring, "", differences);
  if (differences.empty()) {
    differences.add(
        "the same nodes, but another slot table: do both run the same version of Gyre?");
  }
  return differences.text();
}

}  // namespace gyre
