#include "tools/sim/cluster.h"

#include <algorithm>
#include <deque>
#include <memory>

#include "base/bytes.h"
#include "base/hash.h"
#include "ring/slot.h"
#include "shard/rows.h"
#include "tools/sim/network.h"
#include "tools/sim/node.h"
#include "tools/sim/shadow.h"
#include "tools/sim/worker.h"
#include "tools/sim/workload.h"
#include "tools/sim/world.h"

namespace gyre::sim {
namespace {

constexpr std::size_t lines_of_failure = 200, lines_behind = 50;
constexpr Us healing_time = 10 * second;
constexpr Us answered_within = 12 * second;
constexpr Us up_within = 3 * second;  // a ring that starts for the first time
// Two threads share the window: it lies across the middle of the slots.
constexpr std::uint16_t window_slots = 128;
// So long nothing was wrong: reads at level ONE are as good as any.
constexpr Us calm_before_healthy = 4 * second;

// What a seed decides before anything runs.
struct Plan {
  std::size_t nodes = 3;
  std::size_t replicas = 3;
  SimNode::Options node;
  FaultOptions faults;
  WorkloadOptions load;
  int seconds = 30;
};

Plan draw_plan(World& world, RunOptions::Jumps jumps) {
  Plan p;
  const double size = world.random.unit();
  p.nodes = size < 0.55 ? 3 : size < 0.65 ? 4 : size < 0.85 ? 5 : size < 0.95 ? 6 : 7;
  const double replicas = world.random.unit();
  p.replicas = replicas < 0.1 ? 2 : replicas < 0.3 && p.nodes >= 5 ? 5 : 3;
  const double mode = world.random.unit();
  p.faults.mode = mode < 0.06   ? FaultOptions::Mode::none
                  : mode < 0.14 ? FaultOptions::Mode::slow_turns
                                : FaultOptions::Mode::all;
  p.faults.everysec = world.chance(0.3);
  p.faults.lossy = world.chance(0.3);
  p.faults.gap = world.draw(300, 4000) * ms;
  p.node.sync = p.faults.everysec ? SyncMode::everysec : SyncMode::always;
  // Half of the rings with threads have nodes of two and of three.
  const bool threads = world.chance(0.3), unlike = world.chance(0.5);
  for (std::size_t i = 0; i < p.nodes; ++i)
    p.node.threads.push_back(!threads ? 1 : unlike && i % 2 ? 3 : 2);
  p.node.databases = world.chance(0.5) ? 2 : 1;
  p.node.window = {static_cast<std::uint16_t>((slots_total - window_slots) / 2), window_slots};
  if (world.chance(0.2)) p.node.hints_max = world.chance(0.3) ? 0 : 20;
  if (world.chance(0.15)) p.node.hints_age_ms = 2000;
  // A healthy network keeps the order of a link.
  if (world.chance(0.25) && p.faults.mode != FaultOptions::Mode::none) p.node.reorder = 0.1;
  p.load.clients = static_cast<std::size_t>(world.draw(4, 10));
  p.load.keys = static_cast<std::size_t>(world.draw(1, 4));
  p.load.flush = world.chance(0.2);
  const bool drawn = world.chance(0.35);
  p.faults.jumps =
      jumps == RunOptions::Jumps::always || (jumps == RunOptions::Jumps::drawn && drawn);
  p.load.jumps = p.faults.jumps;
  p.load.databases = p.node.databases;
  p.load.window = p.node.window;
  // As much load as a seed may take of a core.
  const auto most = static_cast<std::int64_t>(400 / p.load.clients);
  p.seconds = static_cast<int>(
      std::min(most, world.chance(0.8) ? world.draw(25, 40) : world.draw(40, 100)));
  return p;
}

std::string described(const Plan& p) {
  const auto mode = p.faults.mode;
  return std::to_string(p.nodes) + " nodes, " + std::to_string(p.replicas) + " replicas, " +
         std::to_string(p.node.threads[0]) + "/" + std::to_string(p.node.threads[1]) + " threads" +
         (mode == FaultOptions::Mode::none         ? ", no faults"
          : mode == FaultOptions::Mode::slow_turns ? ", slow turns alone"
                                                   : "") +
         (p.faults.everysec ? ", everysec" : "") + (p.faults.lossy ? ", disks are lost" : "") +
         (p.load.flush ? ", flushes" : "") + (p.faults.jumps ? ", clocks jump" : "") +
         (p.node.reorder > 0 ? ", messages again" : "") +
         (p.node.hints_max < 1000 ? ", hints " + std::to_string(p.node.hints_max) : "") +
         (p.node.hints_age_ms < 10'000 ? ", old hints go" : "") + ", " + std::to_string(p.seconds) +
         " s";
}

class Cluster {
 public:
  Cluster(std::uint64_t seed, const RunOptions& options);
  RunResult run();

 private:
  void add_metrics(const SimNode& n);
  void every_second();
  void watch_health();
  void heal(RunResult& result);
  void judge();
  std::string difference();
  std::string slot_difference(Slot slot) const;
  std::string check_digest(SimNode& n, Slot slot) const;
  void check_contents();
  void check_bounds(SimNode& n) const;
  template <class F>
  void each_slot(F&& f) const {
    for (std::uint16_t i = 0; i < plan_.node.window.count; ++i)
      f(Slot{static_cast<std::uint16_t>(plan_.node.window.first + i)});
  }
  std::string report() const;

  mutable World world_;
  Plan plan_;
  std::unique_ptr<Network> network_;
  RingPtr ring_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::unique_ptr<Shadow> shadow_;
  std::unique_ptr<Workload> workload_;
  std::unique_ptr<Faults> faults_;
  bool loaded_ = true;
  Us well_since_ = 0;
  MetricTotals totals_{};
};

Cluster::Cluster(std::uint64_t seed, const RunOptions& options)
    : world_(seed), plan_(draw_plan(world_, options.jumps)) {
  world_.loud = options.loud;
  if (options.seconds > 0) plan_.seconds = options.seconds;
  network_ = std::make_unique<Network>(world_, plan_.nodes);
  std::vector<NodeInfo> infos;
  for (std::size_t i = 0; i < plan_.nodes; ++i) {
    NodeInfo info;
    info.name = "n" + std::to_string(i + 1);
    info.host = info.name;
    info.bus_port = static_cast<std::uint16_t>(1 + i);
    infos.push_back(info);
  }
  auto ring = Ring::build(std::move(infos), static_cast<int>(plan_.replicas));
  ring_ = std::make_shared<const Ring>(std::move(*ring));
  shadow_ = std::make_unique<Shadow>(world_, plan_.node.window, plan_.node.databases);
  // What only one node acknowledged goes with its disk.
  if (plan_.faults.lossy || plan_.faults.everysec)
    shadow_->need_at_least = static_cast<int>(plan_.replicas / 2 + 1);
  for (std::size_t i = 0; i < plan_.nodes; ++i) {
    plan_.node.shards = plan_.node.threads[i];
    nodes_.push_back(std::make_unique<SimNode>(world_, *network_, ring_, i, plan_.node,
                                               shadow_.get(),
                                               [this](std::uint64_t id, std::string&& reply) {
                                                 workload_->answered(id, std::move(reply));
                                               }));
    nodes_.back()->clock().offset_ms = world_.chance(0.5) ? 0 : world_.draw(-50, 50);
  }
  plan_.load.guesses = [this] {
    std::uint64_t n = totals_[static_cast<std::size_t>(Metric::unsure_answers)];
    for (auto& node : nodes_) {
      if (node->alive()) n += node->metrics().unsure_answers.get();
    }
    return n;
  };
  plan_.load.well = [this] { return faults_->all_well() && faults_->last() <= well_since_; };
  workload_ =
      std::make_unique<Workload>(world_, *shadow_, plan_.nodes, plan_.load, [this](const Op& op) {
        SimNode& to = *nodes_[op.node];
        if (!to.alive()) return false;
        Command c{.id = op.id,
                  .connection = op.client + 1,
                  .db = op.db,
                  .exec = op.exec,
                  .watches = op.watches,
                  .levels = op.levels};
        c.commands.push_back(op.args);
        c.commands.insert(c.commands.end(), op.more.begin(), op.more.end());
        to.command(std::move(c));
        return true;
      });
  faults_ = std::make_unique<Faults>(
      world_, *network_, nodes_, plan_.faults, [this](std::size_t n) { add_metrics(*nodes_[n]); },
      [this](std::size_t n) { workload_->node_killed(n); });
  world_.log("seed " + std::to_string(seed) + ": " + described(plan_));
}

void Cluster::add_metrics(const SimNode& n) {
  const Metrics* one = &n.metrics();
  const MetricTotals t = sum({&one, 1});
  for (std::size_t i = 0; i < t.size(); ++i) totals_[i] += t[i];
}

// ---- while it runs

void Cluster::every_second() {
  world_.after(second, [this] {
    if (!loaded_) return;
    SimNode& n = *nodes_[world_.random.below(nodes_.size())];
    if (n.alive()) {
      check_bounds(n);
      each_slot([&](Slot slot) {
        if (const std::string bad = check_digest(n, slot); !bad.empty()) world_.violation("", bad);
      });
    }
    every_second();
  });
}

void Cluster::watch_health() {
  world_.after(100 * ms, [this] {
    if (!loaded_) return;
    well_since_ = faults_->all_well() ? std::max(well_since_, faults_->last()) : world_.now();
    workload_->set_healthy(world_.now() - well_since_ >= calm_before_healthy);
    watch_health();
  });
}

void Cluster::check_bounds(SimNode& n) const {
  for (std::size_t s = 0; s < n.shards(); ++s) {
    Engine& e = n.worker(s).engine();
    for (std::uint16_t peer = 0; peer < nodes_.size(); ++peer) {
      if (e.hints().pending({peer}) > plan_.node.hints_max)
        world_.violation("", n.name() + " has more hints than its bound");
    }
  }
}

// ---- the verdict

std::string Cluster::slot_difference(Slot slot) const {
  const auto replicas = ring_->replicas(slot);
  const SimNode& first = *nodes_[replicas[0].value];
  const std::uint64_t digest = nodes_[replicas[0].value]->worker_of(slot).space().slot_digest(slot);
  for (const NodeIndex r : replicas) {
    const KeySpace& space = nodes_[r.value]->worker_of(slot).space();
    if (space.slot_digest(slot) == digest) continue;
    // The first key whose record differs.
    const KeySpace& other = nodes_[replicas[0].value]->worker_of(slot).space();
    std::string key = "its floor";
    for (std::size_t i = 0; i <= space.databases(); ++i) {
      const std::uint8_t db =
          i < space.databases() ? static_cast<std::uint8_t>(i) : prepared_db.value;
      for (const KeySpace* s : {&space, &other}) {
        const NodeTable* table = s->table_of(slot, {db});
        if (!table) continue;
        table->for_each([&](Node* n) {
          const KeySpace* o = s == &space ? &other : &space;
          const Node* there = o->find(slot, {db}, n->key(), key_hash(n->key()));
          if (!there || record_digest(*there, {db}) != record_digest(*n, {db})) key = n->key();
          return true;
        });
      }
    }
    return "slot " + std::to_string(slot.value) + " differs at " + first.name() + " and " +
           nodes_[r.value]->name() + ": " + key;
  }
  return {};
}

std::string Cluster::difference() {
  for (auto& n : nodes_) {
    if (!n->alive()) return n->name() + " is down";
    if (!n->links_up()) return n->name() + " lacks a link";
    if (!n->serving()) return n->name() + " does not serve";
  }
  std::string out;
  each_slot([&](Slot slot) {
    if (out.empty()) out = slot_difference(slot);
  });
  if (!out.empty()) return out;
  for (auto& n : nodes_) {
    if (const std::string waits = n->waiting(); !waits.empty())
      return n->name() + " has " + waits + " waiting";
    if (!n->whole()) return n->name() + " counts differing slots";
  }
  return {};
}

// The digest and the leaf sums as kept against those recomputed.
std::string Cluster::check_digest(SimNode& n, Slot slot) const {
  if (n.worker_of(slot).space().verify_digest(slot)) return {};
  return "slot " + std::to_string(slot.value) + " of " + n.name() +
         " has digests that are not the sums of its records";
}

std::string text_of(const std::string& encoded) {
  Effect e;
  Reader in(encoded);
  if (!decode_effect(in, e)) return "not an effect";
  const auto version = [](Version v) {
    return v ? std::to_string(v.ms()) + "@" + std::to_string(v.node()) : "0";
  };
  std::string out = "type " + std::to_string(static_cast<int>(e.type)) + " newest " +
                    version(e.version) + " floor " + version(e.floor) + " expires " +
                    std::to_string(e.expiry.at_ms) + " by " + version(e.expiry.version) +
                    (e.expired ? " expired" : "") + (e.whole ? " whole" : "");
  for (const Change& c : e.changes) {
    out += " [" + std::string(c.id) + (c.tombstone ? " dead " : " ") + version(c.version) +
           (c.sum ? " sum " + version(c.sum) : "") + " " + std::string(c.payload) + "]";
  }
  return out;
}

// Contents against contents: equal digests must mean equal bytes.
void Cluster::check_contents() {
  std::map<std::string, std::pair<std::string, std::string>> contents;  // bytes, and whose
  for (auto& n : nodes_) {
    each_slot([&](Slot slot) {
      const KeySpace& space = n->worker_of(slot).space();
      for (std::uint8_t db = 0; db < space.databases(); ++db) {
        const NodeTable* table = space.table_of(slot, {db});
        if (!table) continue;
        table->for_each([&](Node* record) {
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
                             "differs in content at " + at->second.second + " and " + n->name() +
                                 ": " + text_of(at->second.first) + " | " + text_of(bytes));
          }
          return true;
        });
      }
    });
  }
}

std::string Cluster::report() const {
  const auto& first = world_.violations().front();
  std::string out =
      "seed " + std::to_string(world_.seed) + " fails: " + first.key + ": " + first.what + "\n";
  for (std::size_t i = 1; i < std::min<std::size_t>(world_.violations().size(), 6); ++i) {
    out += "  also: " + world_.violations()[i].key + ": " + world_.violations()[i].what + "\n";
  }
  // Events of the key and of the ring, up to a little behind the first violation.
  std::deque<const std::string*> lines;
  const auto has = [&](const std::string& line) {
    if (first.key.empty()) return false;
    for (std::size_t at = line.find(first.key); at != std::string::npos;
         at = line.find(first.key, at + 1)) {
      const std::size_t after = at + first.key.size();
      if (after == line.size() || line[after] == ' ') return true;
    }
    return false;
  };
  const std::size_t end = std::min(world_.history().size(), world_.violated_at() + lines_behind);
  for (std::size_t i = 0; i < end; ++i) {
    const std::string& line = world_.history()[i];
    const bool ring = line.find(" c") != 10 && line.find(" c") != 11;
    if (!ring && !has(line)) continue;
    lines.push_back(&line);
    if (lines.size() > lines_of_failure) lines.pop_front();
  }
  for (const std::string* line : lines) out += *line + "\n";
  return out;
}

void Cluster::heal(RunResult& result) {
  workload_->stop();
  loaded_ = false;
  faults_->heal();
  const Us healed_from = world_.now();
  std::string differs = "not looked at";
  while (!differs.empty() && world_.now() < healed_from + healing_time) {
    world_.run_until(world_.now() + 100 * ms);
    differs = difference();
  }
  result.healed_ms = (world_.now() - healed_from) / ms;
  // A message lost with its link is given up by time: the slowest are walks.
  while (workload_->open() > 0 && world_.now() < healed_from + answered_within)
    world_.run_until(world_.now() + 100 * ms);
  if (differs.empty()) return;
  const std::size_t colon = differs.rfind(": ");
  world_.violation(
      differs.starts_with("slot") && colon != std::string::npos ? differs.substr(colon + 2) : "",
      "the replicas are not equal after " + std::to_string(healing_time / second) +
          " s: " + differs);
}

void Cluster::judge() {
  // What expires has expired.
  world_.run_until(world_.now() + 7 * second);
  // Each replica forgets the elements of an expired record in a cycle of its own.
  for (int i = 0; i < 50 && !difference().empty(); ++i) world_.run_until(world_.now() + 100 * ms);
  for (auto& n : nodes_) {
    if (!n->alive()) return world_.violation(n->name(), "is down in the end");
  }
  each_slot([&](Slot slot) {
    if (const std::string bad = slot_difference(slot); !bad.empty() && !world_.failed())
      world_.violation(bad.substr(bad.rfind(": ") + 2), "differs again: " + bad);
    for (const NodeIndex r : ring_->replicas(slot)) {
      SimNode& n = *nodes_[r.value];
      if (const std::string bad = check_digest(n, slot); !bad.empty()) world_.violation("", bad);
      shadow_->judge(n.worker_of(slot).space(), n.name(), slot, n.time().wall_ms());
    }
  });
  if (!world_.failed()) check_contents();
  workload_->check_end([this](DbIndex db, const std::vector<std::string>& words) {
    return nodes_[ring_->replicas(key_slot(words[1]))[0].value]->read(db, words);
  });
}

RunResult Cluster::run() {
  for (auto& n : nodes_) n->start();
  world_.run_until(up_within);
  if (!faults_->all_well()) world_.violation("", "the ring does not come up in time");
  workload_->begin();
  watch_health();
  every_second();
  faults_->begin();
  world_.run_until(up_within + plan_.seconds * second);
  RunResult result;
  heal(result);
  judge();
  if (plan_.faults.mode == FaultOptions::Mode::none &&
      (workload_->not_acked() > 0 || workload_->slowest() > second)) {
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
  result.faults = faults_->counts();
  if (!result.passed) result.report = report();
  return result;
}

}  // namespace

RunResult run_seed(std::uint64_t seed, const RunOptions& options) {
  return Cluster(seed, options).run();
}

}  // namespace gyre::sim
