// A ring of three simulated nodes that a test drives by hand: commands, cuts, virtual time.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/log.h"
#include "ring/slot.h"
#include "tools/sim/network.h"
#include "tools/sim/node.h"
#include "tools/sim/worker.h"
#include "tools/sim/world.h"

namespace gyre::sim {

class ThreeNodes {
 public:
  explicit ThreeNodes(std::uint64_t seed, std::size_t hints_max = 100'000)
      : world(seed), network(world, 3) {
    log_level(LogLevel::warning);
    std::vector<NodeInfo> infos;
    for (int i = 0; i < 3; ++i) {
      NodeInfo info;
      info.name = "n" + std::to_string(i + 1);
      info.host = info.name;
      info.bus_port = static_cast<std::uint16_t>(1 + i);
      infos.push_back(info);
    }
    auto ring = Ring::build(std::move(infos), 3);
    ring_ = std::make_shared<const Ring>(std::move(*ring));
    SimNode::Options options;
    options.threads = {1, 1, 1};
    options.hints_max = hints_max;
    for (std::size_t i = 0; i < 3; ++i) {
      nodes.push_back(std::make_unique<SimNode>(
          world, network, ring_, i, options, nullptr,
          [this](std::uint64_t id, std::string&& reply) { replies_[id] = std::move(reply); }));
      nodes.back()->start();
    }
    run(3 * second);
  }

  void run(Us time) { world.run_until(world.now() + time); }
  std::string ask(std::size_t node, std::vector<std::string> args, Levels levels = {}) {
    return answer(start(node, std::move(args), levels));
  }
  // A command whose answer() is taken later.
  std::uint64_t start(std::size_t node, std::vector<std::string> args, Levels levels = {}) {
    Command c;
    c.id = ++id_;
    c.connection = 1;
    c.levels = levels;
    c.commands.push_back(std::move(args));
    nodes[node]->command(std::move(c));
    return id_;
  }
  std::string answer(std::uint64_t id) {
    // Not longer than needed: what comes after the answer is not to help it.
    for (int i = 0; i < 5000 && !replies_.contains(id); ++i) run(100);
    const auto at = replies_.extract(id);
    return at ? at.mapped() : "(no answer)";
  }
  void cut_off(std::size_t node, bool on) {
    for (std::size_t i = 0; i < 3; ++i) {
      if (i == node) continue;
      network.block(i, node, on);
      network.block(node, i, on);
    }
  }
  std::array<std::size_t, 3> replicas(std::string_view key) const {
    const auto nodes_of = ring_->replicas(key_slot(key));
    return {nodes_of[0].value, nodes_of[1].value, nodes_of[2].value};
  }
  std::size_t acting(std::string_view key) const { return replicas(key).front(); }
  const Node* record(std::size_t node, std::string_view key) const {
    return nodes[node]->worker(0).space().find(key_slot(key), {0}, key, key_hash(key));
  }
  std::uint64_t asked() const {
    std::uint64_t n = 0;
    for (const auto& node : nodes) n += node->metrics().hollow_asked.get();
    return n;
  }

  World world;
  Network network;
  std::vector<std::unique_ptr<SimNode>> nodes;

 private:
  RingPtr ring_;
  std::uint64_t id_ = 0;
  std::map<std::uint64_t, std::string> replies_;
};

}  // namespace gyre::sim
