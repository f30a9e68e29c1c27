// One node as the cluster's list names it: a `cluster-node` line of the configuration.
//
//   cluster-node n1 10.0.0.1 16379 port=6379 cluster-client-port=7379 rack=a weight=1 index=0
//                |  |        |
//                |  |        bus port: where the other nodes reach it
//                |  host: a name, IPv4 or IPv6 ([::1] or ::1)
//                name: 1 to 63 of A-Z a-z 0-9 . _ -
//
// The options may come in any order. `announce-host`, `announce-port` and
// `announce-cluster-client-port` are what clients are told when they reach the node by another
// address; empty means the same.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gyre {

inline constexpr std::uint16_t ring_nodes_max = 512;       // 9 of a version's 12 node bits
inline constexpr std::uint16_t node_index_unset = 0xffff;  // Ring::build gives the rank by name
inline constexpr std::uint32_t node_weight_max = 1000;

struct NodeInfo {
  std::string name;
  std::string host;
  std::uint16_t bus_port = 0;
  std::uint16_t port = 6379;                       // 0: no such listener
  std::uint16_t cluster_client_port = 7379;        // 0: no such listener
  std::string announce_host;                       // empty: host
  std::uint16_t announce_port = 0;                 // 0: port
  std::uint16_t announce_cluster_client_port = 0;  // 0: cluster_client_port
  std::string rack;                                // empty: a rack of its own
  std::uint32_t weight = 1;                        // 1 .. node_weight_max: its share of the data
  // The stable number that versions carry, 0 .. ring_nodes_max - 1. It is not the node's place in
  // Ring::nodes(): that one changes when a name is added before it.
  std::uint16_t index = node_index_unset;

  // What clients are told.
  std::string_view client_host() const { return announce_host.empty() ? host : announce_host; }
  std::uint16_t client_port() const { return announce_port != 0 ? announce_port : port; }
  std::uint16_t client_cluster_port() const {
    return announce_cluster_client_port != 0 ? announce_cluster_client_port : cluster_client_port;
  }

  bool operator==(const NodeInfo&) const = default;
};

bool valid_node_name(std::string_view name);

// A host name, an IPv4 address or an IPv6 address without brackets.
bool valid_host(std::string_view host);

// The arguments of one `cluster-node` line, the directive itself left out.
// Errors: config, with what is wrong and what would be right.
Result<NodeInfo> parse_node_info(std::span<const std::string_view> args);
Result<NodeInfo> parse_node_info(std::span<const std::string> args);
// The same from text: arguments apart by spaces or tabs.
Result<NodeInfo> parse_node_info(std::string_view line);

// The arguments that parse_node_info reads back as the same node.
std::string format_node_info(const NodeInfo& node);

}  // namespace gyre
