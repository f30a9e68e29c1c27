#include "server/latency.h"

#include <map>

#include <doctest/doctest.h>

#include "base/ticks.h"

using namespace gyre;

TEST_CASE("latency: one sample a second, the longest of it, 160 at most") {
  LatencyLog log;
  log.note("command", 20, 1000);
  log.note("command", 30, 1000);
  log.note("command", 10, 1000);
  log.note("fast-command", 7, 1000);
  auto events = log.events();
  REQUIRE(events.size() == 2);
  CHECK(events.at("command").samples.size() == 1);
  CHECK(events.at("command").samples.back().ms == 30);
  for (int i = 1; i <= 200; ++i) log.note("command", 5, 1000 + i);
  events = log.events();
  CHECK(events.at("command").samples.size() == 160);
  CHECK(events.at("command").samples.front().at_s == 1041);
  CHECK(events.at("command").max_ms == 30);
  CHECK(log.forget("command"));
  CHECK(!log.forget("command"));
  CHECK(log.forget_all() == 1);
  CHECK(log.events().empty());
}

TEST_CASE("latency: durations are counted by powers of two of microseconds") {
  Durations durations;
  durations.add(0);
  durations.add(us_to_ticks(100));
  durations.add(us_to_ticks(100));
  durations.add(~std::uint64_t{0});
  std::map<std::uint64_t, std::uint64_t> by_us;
  durations.add_to(by_us);
  std::uint64_t all = 0;
  for (const auto& [us, count] : by_us) {
    CHECK((us & (us - 1)) == 0);
    all += count;
  }
  CHECK(all == 4);
  CHECK(by_us.begin()->first == 1);
  const auto hundred = by_us.lower_bound(100);
  REQUIRE(hundred != by_us.end());
  CHECK(hundred->first <= 512);
  CHECK(hundred->second == 2);
  durations.reset();
  by_us.clear();
  durations.add_to(by_us);
  CHECK(by_us.empty());
}
