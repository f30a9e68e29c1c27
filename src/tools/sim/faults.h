// Faults: what is done to a ring while clients work, drawn from the seed.
//
// Each lasts a while and is undone by itself; heal() ends them all. Disks forget (power cut under
// `everysec`, a wiped disk) one at a time, and not before the ring is whole again: more is outside
// of what the design promises. Other faults wait for that a while.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tools/sim/network.h"
#include "tools/sim/node.h"
#include "tools/sim/world.h"

namespace gyre::sim {

enum class Fault : std::uint8_t {
  kill,
  power,
  wipe,
  pause,
  slow_turn,
  alone,
  pair,
  one_way,
  bridge,
  halves,
  slow_link,
  reset,
  slow_disk,
  disk_error,
  clock_drift,
  clock_jump,
  ahead_start,
  count
};
inline constexpr std::size_t faults_total = static_cast<std::size_t>(Fault::count);
inline constexpr std::array<const char*, faults_total> fault_names{
    "kill",      "power",      "wipe",   "pause",  "slow-turn",  "alone",
    "pair",      "one-way",    "bridge", "halves", "slow-link",  "reset",
    "slow-disk", "disk-error", "drift",  "jump",   "ahead-start"};
using FaultCounts = std::array<std::uint64_t, faults_total>;

struct FaultOptions {
  enum class Mode : std::uint8_t { none, slow_turns, all } mode = Mode::all;
  bool everysec = false;
  bool lossy = false;  // wiped disks
  bool jumps = false;
  Us gap = second;
};

class Faults {
 public:
  using Nodes = std::vector<std::unique_ptr<SimNode>>;
  // `killed`: told after a node's process ended.
  Faults(World& world, Network& network, Nodes& nodes, const FaultOptions& options,
         std::function<void(std::size_t)> dying, std::function<void(std::size_t)> killed);

  void begin();
  void heal();
  // No fault is under way, and every node is as it should be.
  bool all_well() const;
  // When the last one struck; some are over at once.
  Us last() const { return last_; }
  const FaultCounts& counts() const { return counts_; }

 private:
  void plan();
  void strike();
  Fault draw();
  void plan_loss();
  void wait_for_loss();
  void kill(std::size_t n, Fault how);
  void partition(Fault how, std::size_t n, std::size_t other);
  void start_ahead(std::size_t n);
  // Some node's clock, or what it stamped by it.
  bool far_off();
  void trouble(Fault how, std::size_t n, std::size_t other);
  void until(Us time, std::function<void()> undo);
  void cut(const std::vector<std::pair<std::size_t, std::size_t>>& ways, const std::string& what);

  World& world_;
  Network& network_;
  Nodes& nodes_;
  std::vector<bool> was_off_;
  FaultOptions options_;
  std::function<void(std::size_t)> dying_, killed_;
  bool healing_ = false;
  std::size_t active_ = 0;
  bool losing_ = false;  // a disk is to be lost: nothing else happens before
  Us lose_until_ = 0;
  FaultCounts counts_{};
  Us last_ = 0;
};

}  // namespace gyre::sim
