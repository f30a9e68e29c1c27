#include "ring/node_info.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include <arpa/inet.h>

namespace gyre {
namespace {

constexpr std::size_t name_max = 63;
constexpr std::size_t host_max = 253;  // DNS, RFC 1035, without the root's dot

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_char(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' ||
         c == '-';
}

// Input as an error may show it: short, and nothing in it that could break a log line.
std::string shown(std::string_view text) {
  constexpr std::size_t shown_max = 80;
  std::string out = "'";
  for (const char c : text.substr(0, shown_max)) out += c >= ' ' && c <= '~' ? c : '?';
  return out + (text.size() > shown_max ? "...'" : "'");
}

Error wrong(std::string text) {
  return Error(Errc::config, "cluster-node: " + std::move(text));
}

std::optional<std::uint32_t> number(std::string_view text, std::uint32_t low, std::uint32_t high) {
  std::uint32_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < low || value > high) return std::nullopt;
  return value;
}

std::string_view without_brackets(std::string_view host) {
  if (host.size() < 2 || host.front() != '[' || host.back() != ']') return host;
  const std::string_view inner = host.substr(1, host.size() - 2);
  return inner.find(':') != std::string_view::npos ? inner : host;
}

bool valid_ipv6(std::string_view host) {
  const std::size_t scope = host.find('%');  // fe80::1%eth0
  if (scope != std::string_view::npos) {
    const std::string_view zone = host.substr(scope + 1);
    if (zone.empty() || !std::ranges::all_of(zone, is_name_char)) return false;
  }
  in6_addr address;
  return inet_pton(AF_INET6, std::string(host.substr(0, scope)).c_str(), &address) == 1;
}

bool valid_host_name(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  while (true) {
    const std::size_t dot = host.find('.');
    const std::string_view label = host.substr(0, dot);
    if (label.empty() || label.size() > name_max || label.front() == '-' || label.back() == '-') {
      return false;
    }
    if (!std::ranges::all_of(label, is_name_char)) return false;
    if (dot == std::string_view::npos) return true;
    host.remove_prefix(dot + 1);
  }
}

// One option: its name, the bounds of its number, and where it goes. Texts have no bounds.
struct Option {
  std::string_view name;
  std::uint32_t low;
  std::uint32_t high;
  void (*set_number)(NodeInfo&, std::uint32_t);
};

constexpr std::uint32_t port_max = 65535;
constexpr Option number_options[] = {
    {"port", 0, port_max,
     [](NodeInfo& n, std::uint32_t v) { n.port = static_cast<std::uint16_t>(v); }},
    {"cluster-client-port", 0, port_max,
     [](NodeInfo& n, std::uint32_t v) { n.cluster_client_port = static_cast<std::uint16_t>(v); }},
    {"announce-port", 0, port_max,
     [](NodeInfo& n, std::uint32_t v) { n.announce_port = static_cast<std::uint16_t>(v); }},
    {"announce-cluster-client-port", 0, port_max,
     [](NodeInfo& n, std::uint32_t v) {
       n.announce_cluster_client_port = static_cast<std::uint16_t>(v);
     }},
    {"weight", 1, node_weight_max, [](NodeInfo& n, std::uint32_t v) { n.weight = v; }},
    {"index", 0, ring_nodes_max - 1,
     [](NodeInfo& n, std::uint32_t v) { n.index = static_cast<std::uint16_t>(v); }},
};
constexpr std::string_view option_names =
    "port=, cluster-client-port=, rack=, weight=, index=, announce-host=, announce-port=, "
    "announce-cluster-client-port=";

Result<void> set_option(NodeInfo& node, std::string_view name, std::string_view value) {
  if (name == "rack") {
    if (!value.empty() && !valid_node_name(value)) {
      return wrong("rack=" + shown(value) + " is not 1 to 63 of A-Z a-z 0-9 . _ -");
    }
    node.rack = value;
    return {};
  }
  if (name == "announce-host") {
    value = without_brackets(value);
    if (!value.empty() && !valid_host(value)) {
      return wrong("announce-host=" + shown(value) +
                   " is not a host name, an IPv4 or an IPv6 address");
    }
    node.announce_host = value;
    return {};
  }
  for (const Option& option : number_options) {
    if (option.name != name) continue;
    if (value.empty() && name.starts_with("announce-")) return {};
    const auto n = number(value, option.low, option.high);
    if (!n) {
      return wrong(std::string(name) + "=" + shown(value) + " is not a number from " +
                   std::to_string(option.low) + " to " + std::to_string(option.high));
    }
    option.set_number(node, *n);
    return {};
  }
  return wrong("unknown option " + shown(name) + "; there are " + std::string(option_names));
}

}  // namespace

bool valid_node_name(std::string_view name) {
  return !name.empty() && name.size() <= name_max && std::ranges::all_of(name, is_name_char);
}

bool valid_host(std::string_view host) {
  if (host.empty() || host.size() > host_max) return false;
  if (host.find(':') != std::string_view::npos) return valid_ipv6(host);
  // What looks like an IPv4 address must be one: 10.0.0.300 is a slip, not a name.
  if (std::ranges::all_of(host, [](char c) { return is_digit(c) || c == '.'; })) {
    in_addr address;
    return inet_pton(AF_INET, std::string(host).c_str(), &address) == 1;
  }
  return valid_host_name(host);
}

Result<NodeInfo> parse_node_info(std::span<const std::string_view> args) {
  if (args.size() < 3) {
    return wrong("needs a name, a host and a bus port, as in: cluster-node n1 10.0.0.1 16379");
  }
  NodeInfo node;
  if (!valid_node_name(args[0])) {
    return wrong("name " + shown(args[0]) + " is not 1 to 63 of A-Z a-z 0-9 . _ -");
  }
  node.name = args[0];
  const auto of_node = [&](const Error& e) {
    return Error(e.code, e.detail + " (node " + node.name + ")");
  };

  const std::string_view host = without_brackets(args[1]);
  if (!valid_host(host)) {
    return of_node(
        wrong("host " + shown(args[1]) + " is not a host name, an IPv4 or an IPv6 address"));
  }
  node.host = host;
  const auto bus_port = number(args[2], 1, port_max);
  if (!bus_port)
    return of_node(wrong("bus port " + shown(args[2]) + " is not a number from 1 to 65535"));
  node.bus_port = static_cast<std::uint16_t>(*bus_port);

  std::vector<std::string_view> seen;
  for (const std::string_view arg : args.subspan(3)) {
    const std::size_t equals = arg.find('=');
    if (equals == std::string_view::npos) {
      return of_node(
          wrong(shown(arg) + " is not option=value; there are " + std::string(option_names)));
    }
    const std::string_view name = arg.substr(0, equals);
    if (std::ranges::find(seen, name) != seen.end()) {
      return of_node(wrong(std::string(name) + "= is given twice; once is right"));
    }
    if (auto set = set_option(node, name, arg.substr(equals + 1)); !set)
      return of_node(set.error());
    seen.push_back(name);
  }
  for (const std::uint16_t port : {node.port, node.cluster_client_port}) {
    if (port == node.bus_port) {
      return of_node(wrong("bus port " + std::to_string(port) +
                           " is also a port for clients; each listener needs its own"));
    }
  }
  if (node.port != 0 && node.port == node.cluster_client_port) {
    return of_node(wrong("port and cluster-client-port are both " + std::to_string(node.port) +
                         "; each listener needs its own"));
  }
  return node;
}

Result<NodeInfo> parse_node_info(std::span<const std::string> args) {
  const std::vector<std::string_view> views(args.begin(), args.end());
  return parse_node_info(std::span<const std::string_view>(views));
}

Result<NodeInfo> parse_node_info(std::string_view line) {
  constexpr std::string_view blank = " \t";
  std::vector<std::string_view> args;
  while (true) {
    const std::size_t from = line.find_first_not_of(blank);
    if (from == std::string_view::npos) break;
    line.remove_prefix(from);
    const std::size_t size = std::min(line.find_first_of(blank), line.size());
    args.push_back(line.substr(0, size));
    line.remove_prefix(size);
  }
  return parse_node_info(std::span<const std::string_view>(args));
}

std::string format_node_info(const NodeInfo& node) {
  std::string out = node.name + " " + node.host + " " + std::to_string(node.bus_port) +
                    " port=" + std::to_string(node.port) +
                    " cluster-client-port=" + std::to_string(node.cluster_client_port) +
                    " weight=" + std::to_string(node.weight);
  if (!node.rack.empty()) out += " rack=" + node.rack;
  if (node.index != node_index_unset) out += " index=" + std::to_string(node.index);
  if (!node.announce_host.empty()) out += " announce-host=" + node.announce_host;
  if (node.announce_port != 0) out += " announce-port=" + std::to_string(node.announce_port);
  if (node.announce_cluster_client_port != 0) {
    out += " announce-cluster-client-port=" + std::to_string(node.announce_cluster_client_port);
  }
  return out;
}

}  // namespace gyre
