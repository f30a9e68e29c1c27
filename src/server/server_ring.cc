// The ring that a node is configured to be part of, and who may call it.

#include <fstream>

#include "base/hash.h"
#include "base/log.h"
#include "server/server.h"

namespace gyre {
namespace {

// "FILE:NUMBER: " of the line in the config file that ends with these words; empty when there is
// none.
std::string place_of_line(const std::string& file, const std::string& words) {
  std::ifstream in(file);
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.find("cluster-node") == 0 && line.find(words) != std::string::npos)
      return file + ":" + std::to_string(number) + ": ";
  }
  return {};
}

}  // namespace

Result<void> Server::open_ring() {
  std::vector<NodeInfo> nodes;
  for (const std::string& line : config_.cluster_node.lines()) {
    auto node = parse_node_info(std::string_view(line));
    if (!node)
      return Error(Errc::config, place_of_line(config_.file(), line) + "cluster-node " + line +
                                     ": " + std::string(node.error().text()));
    nodes.push_back(std::move(*node));
  }
  if (nodes.empty()) {
    NodeInfo self;
    self.name = config_.node_name.get().empty() ? "gyre" : config_.node_name.get();
    self.host = "127.0.0.1";
    self.port = static_cast<std::uint16_t>(config_.port.get());
    self.cluster_client_port = static_cast<std::uint16_t>(config_.cluster_client_port.get());
    ring_ = std::make_shared<const Ring>(Ring::alone(self));
    return {};
  }
  const std::string name = config_.node_name.get();
  if (name.empty())
    return Error(Errc::config,
                 "with cluster-node lines node-name must say which of them this node is");
  if (config_.bus_port == 0)
    return Error(Errc::config, "with cluster-node lines bus-port must be given");
  auto ring = Ring::build(std::move(nodes), static_cast<int>(config_.replication_factor.get()));
  if (!ring) return ring.error();
  ring_ = std::make_shared<const Ring>(std::move(*ring));
  const auto self = ring_->find(name);
  if (!self)
    return Error(Errc::config, "node-name '" + name + "' is on none of the cluster-node lines");
  self_ = *self;
  if (ring_->node(self_).bus_port != config_.bus_port) {
    return Error(Errc::config, "bus-port is " + std::to_string(config_.bus_port.get()) +
                                   ", but the cluster-node line of " + name + " says " +
                                   std::to_string(ring_->node(self_).bus_port));
  }
  if (ring_->capped()) {
    LOG_WARNING("replication-factor %lld is more than the ring's nodes: %d replicas are kept",
                static_cast<long long>(config_.replication_factor.get()),
                ring_->replication_factor());
  }
  if (ring_->nodes().size() > 1) {
    const std::string path = config_.cluster_secret_file.get();
    if (path.empty())
      return Error(Errc::config,
                   "a ring needs cluster-secret-file: nodes prove to each other that they know it");
    auto secret = read_secret(path);
    if (!secret) return secret.error();
    secret_ = std::move(*secret);
    // One seed for all tables of the ring, so that SCAN cursors mean the same on every node;
    // clients do not know the secret it comes from.
    set_table_seed(hash64(secret_, 0x6779726572696e67u));
  }
  return {};
}

HelloFields Server::hello_fields(ShardIndex shard) const {
  HelloFields own;
  own.format = wire_format;
  own.cluster = config_.cluster_name.get();
  own.node = ring_->node(self_).name;
  own.shard = shard.value;
  own.threads = static_cast<std::uint32_t>(workers_.size());
  own.ring = ring_->describe();
  return own;
}

std::string Server::check_peer(const HelloFields& peer) const {
  const auto index = ring_->find(peer.node);
  if (!index) return "node '" + peer.node + "' is not in this node's ring";
  if (*index == self_) return "node '" + peer.node + "' is this node itself";
  const std::string difference = ring_->describe_difference(peer.ring);
  return difference.empty() ? std::string() : "the rings differ: " + difference;
}

}  // namespace gyre
