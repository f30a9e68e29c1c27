#include "membership/wall_guard.h"

#include <vector>

#include <doctest/doctest.h>

namespace gyre {
namespace {

constexpr UnixMs noon = 1'700'000'000'000;

struct Host {
  explicit Host(std::size_t nodes) : guard({.bound_ms = 500, .nodes = nodes}) {
    guard.start(noon, now);
  }
  // Peers whose time and machine's clock are both this far from true time.
  void peers(const std::vector<std::int64_t>& off) {
    heard.clear();
    for (const std::int64_t o : off) heard.push_back({noon - begin + o, noon - begin + o});
  }
  void run(std::int64_t ms) {
    for (const SteadyMs end = now + ms; now < end;) {
      now += 20;
      guard.tick(noon - begin + now + offset, now, heard);
    }
  }
  UnixMs error() const { return guard.wall_ms(now) - (noon - begin + now); }

  static constexpr SteadyMs begin = 1'000'000;
  SteadyMs now = begin;
  std::int64_t offset = 0;  // of the machine's clock
  std::vector<WallGuard::PeerClock> heard;
  WallGuard guard;
};

TEST_CASE("small steps of the wall clock are followed at once") {
  Host h(3);
  h.peers({0, 0});
  h.run(100);
  for (const std::int64_t step : {100, -200, 499}) {
    h.offset += step;
    h.run(20);
    CHECK(h.error() == h.offset);
    CHECK(h.guard.jump_ms() == 0);
  }
}

TEST_CASE("a jump is not followed while the peers show the old time") {
  for (const std::int64_t jump : {600'000, -600'000, 501, -501}) {
    Host h(3);
    h.peers({3, -2});
    h.run(100);
    h.offset = jump;
    h.run(60'000);
    CHECK(h.error() == 0);
    CHECK(h.guard.jump_ms() == jump);
    CHECK(h.guard.jumps() == 1);
    CHECK(h.guard.fit());
    h.offset = 10;
    h.run(20);
    CHECK(h.error() == 10);
    CHECK(h.guard.jump_ms() == 0);
  }
}

TEST_CASE("a jump of a whole ring's clocks is followed when more than half of the peers show it") {
  Host h(5);
  h.peers({0, 0, 0, 0});
  h.run(100);
  h.offset = 3'600'000;
  for (std::size_t i = 0; i < 2; ++i) {
    h.heard[i].machine_base_ms += 3'600'020;
    h.run(1000);
    CHECK(h.error() == 0);
  }
  h.heard[2].machine_base_ms += 3'600'000;
  h.run(20);
  CHECK(h.error() == 3'600'000);
}

TEST_CASE("a node that nobody answers goes on by the monotonic clock") {
  Host h(3);
  h.run(6000);
  h.offset = -86'400'000;
  h.run(60'000);
  CHECK(h.error() == 0);
  // A peer that it reaches at last shows the new time.
  h.peers({-86'400'000});
  h.run(20);
  CHECK(h.error() == -86'400'000);
}

TEST_CASE("after a start it has compared with a majority, or waits five seconds") {
  Host all(3);
  all.peers({0});
  all.run(20);
  CHECK(all.guard.compared());

  Host few(5);
  few.peers({0});
  few.run(5000);
  CHECK_FALSE(few.guard.compared());
  few.run(40);
  CHECK(few.guard.compared());
}

TEST_CASE("off the median by more than a quarter of the bound is not fit, either way") {
  for (const std::int64_t off : {126, -126}) {
    Host h(3);
    h.peers({0, 0});
    h.run(1000);
    h.offset = off > 0 ? 125 : -125;
    h.run(1000);
    CHECK(h.guard.fit());
    h.offset = off;
    h.run(20);
    CHECK_FALSE(h.guard.fit());
    CHECK(h.guard.off_ms() == off);
    CHECK(h.guard.fenced() == 1);
    // Right again: a second later, not sooner.
    h.offset = 0;
    h.run(1000);
    CHECK_FALSE(h.guard.fit());
    h.run(40);
    CHECK(h.guard.fit());
  }
}

TEST_CASE("one wrong peer does not make the others unfit; of two clocks the one ahead is") {
  Host right(3);
  right.peers({0, 90'000});
  right.run(1000);
  CHECK(right.guard.fit());

  Host behind(2);
  behind.peers({1000});
  behind.run(1000);
  CHECK(behind.guard.fit());

  Host ahead(2);
  ahead.peers({-1000});
  ahead.run(1000);
  CHECK_FALSE(ahead.guard.fit());

  Host alone(2);
  alone.offset = 400;
  alone.run(10'000);
  CHECK(alone.guard.fit());
}

TEST_CASE("of four that split in halves, the two behind stay fit") {
  Host behind(4);
  behind.peers({0, 1000, 1000});
  behind.run(100);
  CHECK(behind.guard.fit());
  Host ahead(4);
  ahead.peers({0, -1000, -1000});
  ahead.run(100);
  CHECK_FALSE(ahead.guard.fit());
}

TEST_CASE("a clock at the edge does not make it come and go") {
  Host h(3);
  h.peers({0, 0});
  h.run(100);
  for (int i = 0; i < 50; ++i) {
    h.offset = i % 2 ? 120 : 130;
    h.run(200);
  }
  CHECK(h.guard.fenced() == 1);
  CHECK_FALSE(h.guard.fit());
}

}  // namespace
}  // namespace gyre
