// A background comparison that is asked for: also by the node that does not begin them by itself.
#include <array>
#include <string>

#include <doctest/doctest.h>

#include "quiet_host.h"

using namespace gyre;
using namespace gyre::test;

namespace {

constexpr std::array<NodeIndex, 2> both{NodeIndex{0}, NodeIndex{1}};

struct Host final : QuietHost {
  Host(std::uint16_t self, const Clock& clock, std::int64_t interval_ms)
      : space(options()),
        sync({.self = {self}, .interval_ms = interval_ms}, 2, space, clock, metrics, *this, 1) {}
  std::string& to_peer(NodeIndex, bool) override { return out; }
  bool reachable(NodeIndex) const override { return up; }
  std::span<const NodeIndex> replicas(Slot) const override { return both; }

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
