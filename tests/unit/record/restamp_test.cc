#include "record/restamp.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "random_effects.h"
#include "record/apply.h"

namespace gyre {
namespace {

// Every version that an effect may hold, in a fixed order.
std::vector<Version> versions_of(const Effect& e) {
  std::vector<Version> out{e.version, e.floor, e.expiry.version, e.claim};
  for (const Change& c : e.changes) {
    out.push_back(c.version);
    out.push_back(c.sum);
  }
  return out;
}

// What a stub of the record would say.
Effect stub_of(const Node& record) {
  Effect stub;
  stub.key = record.key();
  stub.expired = true;
  stub.version = record_newest(record);
  stub.floor = record_floor(record);
  stub.expiry = record.expiry();
  const TypeClaim claim = record_claim(record);
  stub.type = claim.type;
  stub.claim = claim.version;
  return stub;
}

TEST_CASE("restamp: records and stubs keep the order of all that they hold") {
  Slabs slabs;
  std::size_t stubs = 0, moved = 0;
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    Random random(seed);
    test::RandomEffects drawn(random, 12, TypeId::none, false);
    const Version limit = drawn.versions[random.below(drawn.versions.size())];
    Node* record = nullptr;
    ApplyResult result;
    const ApplyOptions options{.keep_tombstones = true};
    for (const Effect& e : drawn.effects) {
      record = apply(record, e, options, slabs, result);
      Effect whole;
      if (record->has(Node::has_expiry) && record->expiry().at_ms != 0 &&
          !record_outlives(*record)) {
        whole = stub_of(*record);
        ++stubs;
      } else {
        record_effect(*record, e.db, {}, whole);
      }
      REQUIRE(valid_effect(whole));

      // The clock may be behind what stays.
      Restamp below(limit, 1);
      Effect low = whole;
      below.collect(low);
      HybridClock behind(8);
      below.draw(behind, {.wall = 0, .ahead_ms = 0});
      below.rewrite(low);
      CHECK(low.version == low.newest());
      CHECK(low.version >= low.claim);
      CHECK((low.expiry.version <= low.floor || !low.expired || valid_effect(low)));

      Restamp again(limit, 1);
      again.collect(whole);
      HybridClock clock(8);
      clock.set_back(again.highest_kept());
      again.draw(clock, {.wall = 0, .ahead_ms = 0});
      const std::vector<Version> before = versions_of(whole);
      again.rewrite(whole);
      const std::vector<Version> after = versions_of(whole);
      CAPTURE(seed);
      CHECK(valid_effect(whole));
      for (std::size_t i = 0; i < before.size(); ++i) {
        if (before[i] <= limit) {
          CHECK(after[i] == before[i]);
        } else {
          ++moved;
          CHECK(after[i] != before[i]);
        }
        for (std::size_t k = 0; k < i; ++k) {
          CHECK((before[i] < before[k]) == (after[i] < after[k]));
          CHECK((before[i] == before[k]) == (after[i] == after[k]));
        }
      }
    }
    destroy_record(slabs, record);
  }
  CHECK(stubs > 100);
  CHECK(moved > 1000);
}

}  // namespace
}  // namespace gyre
