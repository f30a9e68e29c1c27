// A background comparison that is asked for: also by the node that does not begin them by itself.
#include <array>
#include <string>

#include <doctest/doctest.h>

#include "sync/merkle.h"

using namespace gyre;

namespace {

struct TestClock final : Clock {
  SteadyMs now = 1'000'000;
  UnixMs wall_ms() const override { return 1'700'000'000'000 + now; }
  SteadyMs steady_ms() const override { return now; }
};

constexpr std::array<NodeIndex, 2> both{NodeIndex{0}, NodeIndex{1}};

struct Host final : SyncHost {
  Host(std::uint16_t self, const Clock& clock, std::int64_t interval_ms)
      : space(options()),
        sync({.self = {self}, .interval_ms = interval_ms}, 2, space, clock, metrics, *this, 1) {}
  static KeySpaceOptions options() {
    KeySpaceOptions o;
    o.slots = 8;
    o.databases = 1;
    o.keep_tombstones = true;
    return o;
  }
  std::string& to_peer(NodeIndex, bool) override { return out; }
  std::uint16_t thread_of(NodeIndex, Slot) const override { return 0; }
  bool reachable(NodeIndex) const override { return up; }
  bool replica(Slot, NodeIndex) const override { return true; }
  bool knows(Slot) const override { return true; }
  std::span<const NodeIndex> replicas(Slot) const override { return both; }
  bool may_round(Slot) const override { return false; }
  bool elsewhere(Slot, NodeIndex) const override { return false; }
  void agreed(Slot, NodeIndex) override {}
  bool merge_synced(Effect&, bool&) override { return true; }
  void lost_state(Slot) override {}
  void equal(NodeIndex, Slot) override {}
  void compared(std::uint64_t, NodeIndex, Slot, const Outcome&) override {}
  void ended(std::uint64_t, NodeIndex, bool) override {}

  std::string out;
  bool up = true;
  KeySpace space;
  Metrics metrics;
  MerkleSync sync;
};

// Takes what one side has sent to the other.
void carry(Host& from, NodeIndex from_index, Host& to) {
  BatchHeader none;
  std::string batch;
  put_header(batch, none);
  batch += from.out;
  from.out.clear();
  BatchReader in(batch);
  REQUIRE(in.header(none));
  Envelope e;
  while (in.next(e)) {
    if (CompareRanges m; e.kind == CompareRanges::kind && decode_message(e, m))
      to.sync.on_compare_ranges(from_index, m);
    if (CompareRangesAnswer m; e.kind == CompareRangesAnswer::kind && decode_message(e, m))
      to.sync.on_compare_ranges_answer(from_index, m);
  }
}

}  // namespace

TEST_CASE("sync: a kick compares from either side") {
  for (const std::int64_t interval_ms : {0, 5000}) {
    CAPTURE(interval_ms);
    TestClock clock;
    Host low(0, clock, interval_ms), high(1, clock, interval_ms);
    high.sync.tick();
    CHECK(high.out.empty());  // it is not its turn

    high.sync.kick({0});
    CHECK(high.sync.progress({0}).running);
    carry(high, {1}, low);
    carry(low, {0}, high);
    high.sync.tick();
    CHECK_FALSE(high.sync.progress({0}).running);
    CHECK(high.sync.progress({0}).rounds == 1);
    CHECK(high.sync.progress({0}).last_completed == clock.now);

    clock.now += 60'000;
    high.sync.tick();
    CHECK(high.out.empty());  // once

    high.up = false;
    high.sync.kick({0});
    CHECK(high.out.empty());
    high.up = true;
    high.sync.tick();
    CHECK(high.sync.progress({0}).running);
  }
}
