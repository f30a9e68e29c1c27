#include "tools/sim/cluster.h"

#include <algorithm>
#include <memory>

#include "base/bytes.h"
#include "base/hash.h"
#include "ring/slot.h"
#include "shard/rows.h"
#include "tools/sim/network.h"
#include "tools/sim/node.h"
#include "tools/sim/workload.h"
#include "tools/sim/world.h"

namespace gyre::sim {
namespace {

constexpr std::size_t lines_of_failure = 200;
constexpr Us healing_time = 30 * second;

class Cluster {
 public:
  Cluster(std::uint64_t seed, const RunOptions& options);
  RunResult run();

 private:
  void add_metrics(const SimNode& n);
  void fault();
  void plan_faults();
  void kill(std::size_t n, bool power);
  bool all_well() const;
  void heal();
  std::string difference();
  std::string check_digests();
  std::string report() const;

  World world_;
  RunOptions options_;
  std::size_t size_;
  std::unique_ptr<Network> network_;
  RingPtr ring_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::unique_ptr<Workload> workload_;
  bool calm_ = false, healing_ = false;
  bool everysec_ = false;
  Us fault_gap_ = 0;
  MetricTotals totals_{};
};

Cluster::Cluster(std::uint64_t seed, const RunOptions& options) : world_(seed), options_(options) {
  world_.loud = options.loud;
  size_ = world_.chance(0.7) ? 3 : 5;
  calm_ = world_.chance(0.1);
  everysec_ = world_.chance(0.3);
  fault_gap_ = world_.draw(300, 4000) * ms;
  network_ = std::make_unique<Network>(world_, size_);
  std::vector<NodeInfo> infos;
  for (std::size_t i = 0; i < size_; ++i) {
    NodeInfo info;
    info.name = "n" + std::to_string(i + 1);
    info.host = info.name;
    info.bus_port = static_cast<std::uint16_t>(1 + i);
    infos.push_back(info);
  }
  auto ring = Ring::build(std::move(infos), 3);
  ring_ = std::make_shared<const Ring>(std::move(*ring));
  SimNode::Options node;
  node.sync = everysec_ ? SyncMode::everysec : SyncMode::always;
  if (world_.chance(0.2)) node.hints_max = 20;
  for (std::size_t i = 0; i < size_; ++i) {
    nodes_.push_back(std::make_unique<SimNode>(world_, *network_, ring_, i, node,
                                               [this](std::uint64_t id, std::string&& reply) {
                                                 workload_->answered(id, std::move(reply));
                                               }));
    nodes_.back()->clock().offset_ms = world_.chance(0.5) ? 0 : world_.draw(-50, 50);
  }
  WorkloadOptions load;
  load.clients = static_cast<std::size_t>(world_.draw(4, 10));
  load.keys = static_cast<std::size_t>(world_.draw(1, 4));
  load.flush = world_.chance(0.2);
  workload_ = std::make_unique<Workload>(world_, size_, load, [this](const Op& op) {
    SimNode& to = *nodes_[op.node];
    if (!to.alive()) return false;
    to.command({op.id, op.client + 1, op.args, op.levels, op.args[0] == "FLUSHALL"});
    return true;
  });
  world_.log("seed " + std::to_string(seed) + ": " + std::to_string(size_) + " nodes" +
             (calm_ ? ", no faults" : "") + (everysec_ ? ", everysec" : "") +
             (load.flush ? ", flushes" : ""));
}

void Cluster::add_metrics(const SimNode& n) {
  const Metrics* one = &n.metrics();
  const MetricTotals t = sum({&one, 1});
  for (std::size_t i = 0; i < t.size(); ++i) totals_[i] += t[i];
}

// ---- faults

bool Cluster::all_well() const {
  return std::all_of(nodes_.begin(), nodes_.end(), [](const auto& n) {
    return n->alive() && !n->paused() && n->links_up() && n->engine().serving() &&
           n->engine().slots_differing() == 0;
  });
}

void Cluster::kill(std::size_t n, bool power) {
  add_metrics(*nodes_[n]);
  nodes_[n]->kill(power);
  workload_->node_killed(n);
  world_.after(world_.draw(100, 4000) * ms, [this, n, power] {
    if (!nodes_[n]->alive()) nodes_[n]->start(!power);
  });
}

void Cluster::plan_faults() {
  world_.after(world_.draw(0, 2 * fault_gap_), [this] {
    if (healing_) return;
    fault();
    plan_faults();
  });
}

void Cluster::fault() {
  const std::size_t n = world_.random.below(size_);
  std::size_t other = world_.random.below(size_ - 1);
  if (other >= n) ++other;
  SimNode& node = *nodes_[n];
  const std::string pair = node.name() + " " + nodes_[other]->name();
  const auto until = [this](Us time, std::function<void()> undo) {
    world_.after(time, [this, undo = std::move(undo)] {
      if (!healing_) undo();
    });
  };
  workload_->set_healthy(false);
  switch (world_.random.below(11)) {
    case 0:
    case 1: {
      if (!node.alive()) return;
      // At most a minority's disks may forget something, and not before the last one is whole
      // again.
      const bool power = everysec_ && all_well() && world_.chance(0.5);
      return kill(n, power);
    }
    case 2:
    case 3: {
      if (!node.alive() || node.paused()) return;
      node.pause(true);
      world_.after(world_.chance(0.5) ? world_.draw(50, 400) * ms : world_.draw(50, 3000) * ms,
                   [this, n] { nodes_[n]->pause(false); });
      return;
    }
    case 4: {
      world_.log("partition: " + node.name() + " alone");
      for (std::size_t i = 0; i < size_; ++i) {
        if (i == n) continue;
        network_->block(i, n, true);
        network_->block(n, i, true);
      }
      return until(world_.draw(50, 4000) * ms, [this, n] {
        world_.log("partition of " + nodes_[n]->name() + " ends");
        for (std::size_t i = 0; i < size_; ++i) {
          if (i == n) continue;
          network_->block(i, n, false);
          network_->block(n, i, false);
        }
      });
    }
    case 5:
    case 6: {
      const bool both = world_.chance(0.6);
      world_.log("partition: " + pair + (both ? "" : ", one way"));
      network_->block(n, other, true);
      if (both) network_->block(other, n, true);
      return until(world_.draw(50, 4000) * ms, [this, n, other] {
        world_.log("partition of " + nodes_[n]->name() + " and " + nodes_[other]->name() + " ends");
        network_->block(n, other, false);
        network_->block(other, n, false);
      });
    }
    case 7: {
      const std::uint64_t half = world_.random.below((1u << size_) - 2) + 1;
      world_.log("partition: halves " + std::to_string(half));
      const auto set = [this, half](bool on) {
        for (std::size_t a = 0; a < size_; ++a) {
          for (std::size_t b = 0; b < size_; ++b) {
            if ((half >> a & 1) != (half >> b & 1)) network_->block(a, b, on);
          }
        }
      };
      set(true);
      return until(world_.draw(50, 4000) * ms, [this, set] {
        world_.log("the halves meet again");
        set(false);
      });
    }
    case 8: {
      const Us slow = world_.draw(5, 200) * ms;
      world_.log("slow: " + pair + " " + std::to_string(slow / ms) + " ms");
      network_->set_delay(n, other, slow / 2, slow);
      return until(world_.draw(100, 4000) * ms, [this, n, other] {
        world_.log("slow no more: " + nodes_[n]->name() + " " + nodes_[other]->name());
        network_->set_delay(n, other, 50, 300);
      });
    }
    case 9: {
      const auto all = network_->connections();
      if (all.empty()) return;
      world_.log("a connection is reset");
      return network_->reset(all[world_.random.below(all.size())]);
    }
    default: {
      const Us slow = world_.draw(5, 300) * ms;
      world_.log("slow disk: " + node.name() + " " + std::to_string(slow / ms) + " ms");
      node.set_disk_delay(slow / 2, slow);
      return until(world_.draw(100, 4000) * ms, [this, n] { nodes_[n]->set_disk_delay(50, 400); });
    }
  }
}

void Cluster::heal() {
  healing_ = true;
  world_.log("healing");
  network_->heal();
  for (auto& n : nodes_) {
    n->set_disk_delay(50, 400);
    if (n->alive()) n->pause(false);
  }
}

// ---- the verdict

std::string Cluster::difference() {
  for (auto& n : nodes_) {
    if (!n->alive()) return n->name() + " is down";
    if (!n->links_up()) return n->name() + " lacks a link";
    if (!n->engine().serving()) return n->name() + " does not serve";
    if (!n->quiet()) {
      return n->name() + " has " + std::to_string(n->engine().operations_waiting()) +
             " operations and " + std::to_string(n->engine().hints().pending()) + " hints and " +
             std::to_string(n->engine().hints().marks_total()) + " marks waiting";
    }
    if (const std::size_t slots = n->engine().slots_differing())
      return n->name() + " counts " + std::to_string(slots) + " differing slots";
  }
  for (std::uint16_t s = 0; s < slots_total; ++s) {
    const auto replicas = ring_->replicas({s});
    const std::uint64_t digest = nodes_[replicas[0].value]->space().slot_digest({s});
    for (const NodeIndex r : replicas) {
      if (nodes_[r.value]->space().slot_digest({s}) == digest) continue;
      std::string keys;
      if (const NodeTable* table = nodes_[r.value]->space().table_of({s}, {0})) {
        table->for_each([&](Node* n) {
          keys.append(" ").append(n->key());
          return true;
        });
      }
      return "slot " + std::to_string(s) + " differs at " + nodes_[replicas[0].value]->name() +
             " and " + nodes_[r.value]->name() + ":" + keys;
    }
  }
  return {};
}

// Digests as kept against digests as recomputed, and contents against contents.
std::string Cluster::check_digests() {
  std::map<std::string, std::pair<std::string, std::string>>
      contents;  // by record: the first bytes, and whose
  for (auto& n : nodes_) {
    KeySpace& space = n->space();
    for (std::uint16_t s = 0; s < slots_total; ++s) {
      const Slot slot{s};
      std::uint64_t digest = 0;
      for (std::uint8_t db = 0; db < space.databases(); ++db) {
        if (const Version floor = space.slot_floor(slot, {db}))
          digest += hash64(floor_row(slot, {db}), floor.bits);
        const NodeTable* table = space.table_of(slot, {db});
        if (!table) continue;
        table->for_each([&](Node* record) {
          digest += record_digest(*record, {db});
          Effect effect;
          record_effect(*record, {db}, {}, effect);
          std::sort(effect.changes.begin(), effect.changes.end(),
                    [](const Change& a, const Change& b) {
                      return std::tie(a.id, a.sum, a.version) < std::tie(b.id, b.sum, b.version);
                    });
          std::string bytes;
          encode_effect(bytes, effect);
          const std::string name = std::to_string(db) + std::string(record->key());
          const auto [at, first] = contents.emplace(name, std::pair(bytes, n->name()));
          if (!first && at->second.first != bytes) {
            world_.violation(std::string(record->key()),
                             "differs in content at " + at->second.second + " and " + n->name());
          }
          return true;
        });
      }
      if (digest != space.slot_digest(slot)) {
        return "slot " + std::to_string(s) + " of " + n->name() +
               " has a digest that is not the sum of its records";
      }
    }
  }
  return {};
}

std::string Cluster::report() const {
  const auto& first = world_.violations().front();
  std::string out =
      "seed " + std::to_string(world_.seed) + " fails: " + first.key + ": " + first.what + "\n";
  for (std::size_t i = 1; i < std::min<std::size_t>(world_.violations().size(), 6); ++i) {
    out += "  also: " + world_.violations()[i].key + ": " + world_.violations()[i].what + "\n";
  }
  // Events of the key and of the ring, the last ones.
  std::deque<const std::string*> lines;
  const auto has = [&](const std::string& line) {
    const std::size_t at = line.find(first.key);
    if (first.key.empty() || at == std::string::npos) return false;
    const std::size_t end = at + first.key.size();
    return end == line.size() || line[end] == ' ';
  };
  for (const std::string& line : world_.history()) {
    const bool ring = line.find(" c") != 10 && line.find(" c") != 11;
    if (!ring && !has(line)) continue;
    lines.push_back(&line);
    if (lines.size() > lines_of_failure) lines.pop_front();
  }
  for (const std::string* line : lines) out += *line + "\n";
  return out;
}

RunResult Cluster::run() {
  for (auto& n : nodes_) n->start(true);
  world_.run_until(second);
  if (!all_well()) world_.violation("", "the ring does not come up within a second");
  workload_->begin();
  if (!calm_) world_.after(second, [this] { plan_faults(); });
  world_.run_until((1 + options_.seconds) * second);
  workload_->stop();
  heal();
  const Us healed_from = world_.now();
  RunResult result;
  std::string differs = "not looked at";
  while (!differs.empty() && world_.now() < healed_from + healing_time) {
    world_.run_until(world_.now() + 200 * ms);
    differs = workload_->open() > 0 ? "operations are open" : difference();
  }
  result.healed_ms = (world_.now() - healed_from) / ms;
  if (!differs.empty()) {
    const std::size_t colon = differs.rfind(": ");
    world_.violation(
        differs.starts_with("slot") && colon != std::string::npos ? differs.substr(colon + 2) : "",
        "the replicas are not equal after " + std::to_string(healing_time / second) +
            " s: " + differs);
  } else if (const std::string bad = check_digests(); !bad.empty()) {
    world_.violation("", bad);
  }
  const bool all_up =
      std::all_of(nodes_.begin(), nodes_.end(), [](const auto& n) { return n->alive(); });
  if (all_up) {
    workload_->check_end([this](const std::vector<std::string>& words) {
      return nodes_[ring_->replicas(key_slot(words[1]))[0].value]->read(words);
    });
  }
  if (calm_ && (workload_->not_acked() > 0 || workload_->slowest() > second)) {
    world_.violation("", "without any fault " + std::to_string(workload_->not_acked()) +
                             " operations failed, the slowest took " +
                             std::to_string(workload_->slowest() / ms) + " ms");
  }
  for (auto& n : nodes_) {
    if (n->alive()) add_metrics(*n);
  }
  world_.log("end: " + std::to_string(workload_->sent()) + " operations, " +
             std::to_string(workload_->acked()) + " acknowledged");
  result.passed = !world_.failed();
  result.hash = world_.hash();
  result.operations = workload_->sent();
  result.acked = workload_->acked();
  result.slowest_ms = workload_->slowest() / ms;
  result.totals = totals_;
  if (!result.passed) result.report = report();
  return result;
}

}  // namespace

RunResult run_seed(std::uint64_t seed, const RunOptions& options) {
  return Cluster(seed, options).run();
}

}  // namespace gyre::sim
