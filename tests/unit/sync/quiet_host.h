// What the tests of sync/ share: a clock by hand, and a host that holds every slot and wants
// nothing.
#pragma once

#include "sync/merkle.h"

namespace gyre::test {

struct TestClock final : Clock {
  SteadyMs now = 1'000'000;
  UnixMs wall_ms() const override { return 1'700'000'000'000 + now; }
  SteadyMs steady_ms() const override { return now; }
};

struct QuietHost : SyncHost {
  static KeySpaceOptions options() {
    KeySpaceOptions o;
    o.slots = 8;
    o.databases = 1;
    o.keep_tombstones = true;
    return o;
  }
  std::uint16_t thread_of(NodeIndex, Slot) const override { return 0; }
  bool replica(Slot, NodeIndex) const override { return true; }
  bool knows(Slot) const override { return true; }
  bool may_round(Slot) const override { return false; }
  bool elsewhere(Slot, NodeIndex) const override { return false; }
  void agreed(Slot, NodeIndex) override {}
  bool merge_synced(Effect&, Version, bool&) override { return true; }
  void lost_state(Slot) override {}
  void equal(NodeIndex, Slot) override {}
  void compared(std::uint64_t, NodeIndex, Slot, const Outcome&) override {}
  void ended(std::uint64_t, NodeIndex, bool) override {}
};

}  // namespace gyre::test
