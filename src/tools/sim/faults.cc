#include "tools/sim/faults.h"

#include <algorithm>

namespace gyre::sim {
namespace {

struct Weight {
  Fault fault;
  int weight;
};
constexpr Weight weights[] = {
    {Fault::kill, 4},        {Fault::power, 1},       {Fault::pause, 4},
    {Fault::slow_turn, 4},   {Fault::alone, 2},       {Fault::pair, 3},
    {Fault::one_way, 2},     {Fault::bridge, 1},      {Fault::halves, 2},
    {Fault::slow_link, 2},   {Fault::reset, 2},       {Fault::slow_disk, 2},
    {Fault::disk_error, 2},  {Fault::clock_drift, 1}, {Fault::clock_jump, 2},
    {Fault::ahead_start, 1},
};

}  // namespace

Faults::Faults(World& world, Network& network, Nodes& nodes, const FaultOptions& options,
               std::function<void(std::size_t)> dying, std::function<void(std::size_t)> killed)
    : world_(world),
      network_(network),
      nodes_(nodes),
      was_off_(nodes.size()),
      options_(options),
      dying_(std::move(dying)),
      killed_(std::move(killed)) {}

void Faults::begin() {
  plan();
  if (options_.everysec || options_.lossy) plan_loss();
}

bool Faults::all_well() const {
  return active_ == 0 && std::all_of(nodes_.begin(), nodes_.end(), [](const auto& n) {
           return n->alive() && !n->paused() && n->links_up() && n->serving() && n->whole();
         });
}

void Faults::plan() {
  if (options_.mode == FaultOptions::Mode::none) return;
  world_.after(world_.draw(0, 2 * options_.gap), [this] {
    if (healing_) return;
    strike();
    plan();
  });
}

Fault Faults::draw() {
  if (options_.mode == FaultOptions::Mode::slow_turns) return Fault::slow_turn;
  int total = 0;
  for (const Weight& w : weights) total += w.weight;
  int at = static_cast<int>(world_.draw(0, total - 1));
  for (const Weight& w : weights) {
    if (at < w.weight) return w.fault;
    at -= w.weight;
  }
  return Fault::kill;
}

bool Faults::far_off() {
  const UnixMs right = start_of_time + world_.now() / ms;
  for (std::size_t n = 0; n < nodes_.size(); ++n) {
    SimNode& node = *nodes_[n];
    if (node.clock().jumped_ms != 0) return true;
    // Its stamps may go on from there.
    if (was_off_[n] && (!node.alive() || !node.serving() || node.stamp_ms() > right + 1000))
      return true;
    was_off_[n] = false;
  }
  return false;
}

void Faults::strike() {
  Fault f = draw();
  const std::size_t n = world_.random.below(nodes_.size());
  std::size_t other = world_.random.below(nodes_.size() - 1);
  if (other >= n) ++other;
  const bool forgets = f == Fault::power || f == Fault::wipe;
  // One clock at a time: where most are wrong together, nobody can say which time is right.
  const bool jumps = f == Fault::clock_jump || f == Fault::ahead_start;
  if (losing_ || (jumps && (!options_.jumps || far_off()))) return;
  if (forgets && !all_well()) f = Fault::kill;
  if (!nodes_[n]->alive()) return;
  ++counts_[static_cast<std::size_t>(f)];
  last_ = world_.now();
  switch (f) {
    case Fault::kill:
    case Fault::power:
    case Fault::wipe:
      return kill(n, f);
    case Fault::alone:
    case Fault::pair:
    case Fault::one_way:
    case Fault::bridge:
    case Fault::halves:
      return partition(f, n, other);
    case Fault::ahead_start:
      return start_ahead(n);
    default:
      return trouble(f, n, other);
  }
}

void Faults::until(Us time, std::function<void()> undo) {
  ++active_;
  world_.after(time, [this, undo = std::move(undo)] {
    if (active_ > 0) --active_;
    if (!healing_) undo();
  });
}

void Faults::plan_loss() {
  if (options_.mode != FaultOptions::Mode::all) return;
  world_.after(world_.draw(1, 12) * second, [this] {
    if (healing_) return;
    losing_ = true;
    lose_until_ = world_.now() + 8 * second;
    wait_for_loss();
  });
}

void Faults::wait_for_loss() {
  world_.after(50 * ms, [this] {
    if (healing_) return;
    const bool well = all_well();
    if (!well && world_.now() < lose_until_) return wait_for_loss();
    losing_ = false;
    plan_loss();
    if (!well) return;
    const Fault how = options_.lossy && world_.chance(0.6) ? Fault::wipe : Fault::power;
    ++counts_[static_cast<std::size_t>(how)];
    kill(world_.random.below(nodes_.size()), how);
  });
}

void Faults::kill(std::size_t n, Fault how) {
  dying_(n);
  nodes_[n]->kill(how != Fault::kill);
  killed_(n);
  if (how == Fault::wipe) nodes_[n]->wipe();
  world_.after(world_.draw(100, 4000) * ms, [this, n] {
    if (!nodes_[n]->alive()) nodes_[n]->start();
  });
}

void Faults::cut(const std::vector<std::pair<std::size_t, std::size_t>>& ways,
                 const std::string& what) {
  world_.log("partition: " + what);
  for (const auto& [from, to] : ways) network_.block(from, to, true);
  until(world_.draw(50, 4000) * ms, [this, ways, what] {
    world_.log("the partition ends: " + what);
    for (const auto& [from, to] : ways) network_.block(from, to, false);
  });
}

void Faults::partition(Fault how, std::size_t n, std::size_t other) {
  const std::size_t size = nodes_.size();
  const std::string name = nodes_[n]->name(), second_name = nodes_[other]->name();
  std::vector<std::pair<std::size_t, std::size_t>> ways;
  const auto between = [&](auto&& left, auto&& right) {
    for (std::size_t a = 0; a < size; ++a) {
      for (std::size_t b = 0; b < size; ++b) {
        if (a != b && left(a) && right(b)) ways.insert(ways.end(), {{a, b}, {b, a}});
      }
    }
  };
  if (how == Fault::alone) {
    between([&](std::size_t a) { return a == n; }, [](std::size_t) { return true; });
    return cut(ways, name + " alone");
  }
  if (how == Fault::pair) return cut({{n, other}, {other, n}}, name + " and " + second_name);
  if (how == Fault::one_way) return cut({{n, other}}, name + " to " + second_name);
  const std::uint64_t half = world_.random.below((1u << size) - 2) + 1;
  const auto left = [&](std::size_t a) { return (half >> a & 1) != 0; };
  if (how == Fault::halves) {
    between(left, [&](std::size_t b) { return !left(b); });
    return cut(ways, "halves " + std::to_string(half));
  }
  between([&](std::size_t a) { return a != n && left(a); },
          [&](std::size_t b) { return b != n && !left(b); });
  cut(ways, "halves " + std::to_string(half) + ", " + name + " is the bridge");
}

// A node starts with a wrong clock while nobody can tell it: after its wait it serves, and what it
// stamps all others refuse.
void Faults::start_ahead(std::size_t n) {
  const std::int64_t by = world_.draw(5, 300) * 1000;
  world_.log(nodes_[n]->name() + " is to start " + std::to_string(by) + " ms ahead, alone");
  kill(n, Fault::kill);
  nodes_[n]->clock().jumped_ms += by;
  was_off_[n] = true;
  const auto block = [this, n](bool on) {
    for (std::size_t peer = 0; peer < nodes_.size(); ++peer) {
      if (peer == n) continue;
      network_.block(n, peer, on);
      network_.block(peer, n, on);
    }
  };
  block(true);
  until(world_.draw(6, 14) * second, [block] { block(false); });
  until(world_.draw(6, 16) * second, [this, n, by] {
    world_.log(nodes_[n]->name() + "'s clock is set back");
    nodes_[n]->clock().jumped_ms -= by;
  });
}

void Faults::trouble(Fault how, std::size_t n, std::size_t other) {
  SimNode& node = *nodes_[n];
  const std::string pair = node.name() + " " + nodes_[other]->name();
  const Us time = world_.draw(100, 4000) * ms;
  switch (how) {
    case Fault::pause: {
      if (node.paused()) return;
      node.pause(true);
      return until(world_.chance(0.5) ? world_.draw(50, 400) * ms : world_.draw(50, 3000) * ms,
                   [this, n] { nodes_[n]->pause(false); });
    }
    case Fault::slow_turn:
      return node.slow_turn(world_.draw(60, 400) * ms);
    case Fault::slow_link: {
      const Us slow = world_.draw(5, 200) * ms;
      world_.log("slow: " + pair + " " + std::to_string(slow / ms) + " ms");
      network_.set_delay(n, other, slow / 2, slow);
      return until(time, [this, n, other, pair] {
        world_.log("slow no more: " + pair);
        network_.set_delay(n, other, 50, 300);
      });
    }
    case Fault::reset: {
      const auto all = network_.connections();
      if (all.empty()) return;
      world_.log("a connection is reset");
      return network_.reset(all[world_.random.below(all.size())]);
    }
    case Fault::slow_disk: {
      const Us slow = world_.draw(5, 300) * ms;
      world_.log("slow disk: " + node.name() + " " + std::to_string(slow / ms) + " ms");
      node.set_disk_delay(slow / 2, slow);
      return until(time, [this, n] { nodes_[n]->set_disk_delay(50, 400); });
    }
    case Fault::disk_error:
      node.fail_disk(true);
      return until(time, [this, n] { nodes_[n]->fail_disk(false); });
    case Fault::clock_drift: {
      const std::int64_t drift = world_.draw(-500, 500);
      world_.log(node.name() + "'s clock drifts " + std::to_string(drift));
      node.clock().set_drift(drift);
      return until(time, [this, n] { nodes_[n]->clock().set_drift(0); });
    }
    default: {
      const std::int64_t by =
          world_.chance(0.5) ? world_.draw(-1000, 1000) : world_.draw(-300, 300) * 1000;
      world_.log(node.name() + "'s clock jumps " + std::to_string(by) + " ms");
      node.clock().jumped_ms += by;
      was_off_[n] = true;
      return until(time, [this, n, by] {
        world_.log(nodes_[n]->name() + "'s clock is set back");
        nodes_[n]->clock().jumped_ms -= by;
      });
    }
  }
}

void Faults::heal() {
  healing_ = true;
  active_ = 0;
  world_.log("healing");
  network_.heal();
  for (std::size_t n = 0; n < nodes_.size(); ++n) {
    SimNode& node = *nodes_[n];
    node.set_disk_delay(50, 400);
    node.slow_turn(0);
    node.clock().set_drift(0);
    node.clock().jumped_ms = 0;
    if (!node.alive()) {
      node.start();
      continue;
    }
    node.fail_disk(false);
    node.pause(false);
  }
}

}  // namespace gyre::sim
