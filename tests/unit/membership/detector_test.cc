#include "membership/detector.h"

#include <deque>
#include <functional>
#include <vector>

#include <doctest/doctest.h>

namespace gyre {
namespace {

using State = Detector::State;
constexpr NodeIndex self{0}, peer{1};

HeartbeatAnswer reply(std::uint64_t sequence) {
  HeartbeatAnswer a;
  a.sequence = sequence;
  a.machine_ahead_ms = 7;
  return a;
}

// One detector, one peer that answers (or not) after a delay, in virtual time.
struct Host {
  explicit Host(std::size_t nodes = 2) : d({.self = self, .nodes = nodes}) { d.link_up(peer); }
  struct Due {
    SteadyMs at;
    Heartbeat probe;
  };

  // Returns the changes, each with its time.
  struct Seen {
    SteadyMs at;
    bool down;
  };
  void run(std::int64_t ms) {
    for (const SteadyMs end = now + ms; now < end;) {
      now += 20;
      if (own_pause_until > now) continue;
      std::vector<Due> later;
      for (const Due& p : out) {
        if (p.at > now) {
          later.push_back(p);
          continue;
        }
        BatchHeader h;
        h.wall_ms = p.at - delay / 2 + 1'000'000 + peer_clock;
        d.answered(peer, h, reply(p.probe.sequence), now);
      }
      out = later;
      for (const Detector::Change& c : d.tick(now)) {
        CHECK(c.peer == peer);
        changes.push_back({now, c.down});
      }
      if (d.stuck(peer, now)) {
        ++broken;
        d.link_down(peer);
        out.clear();
        d.link_up(peer);
      }
      if (d.due(peer, now)) {
        const Heartbeat p = d.probe(peer, now);
        ++probes;
        if (answers && answers(now)) out.push_back({now + delay, p});
      }
    }
  }
  State state() const { return d.state(peer); }

  SteadyMs now = 500'000;
  std::int64_t delay = 20, peer_clock = 0;
  SteadyMs own_pause_until = 0;
  std::function<bool(SteadyMs)> answers = [](SteadyMs) { return true; };
  std::vector<Due> out;
  std::vector<Seen> changes;
  int broken = 0, probes = 0;
  Detector d;
};

TEST_CASE("a peer that answers is alive, and is probed ten times a second") {
  Host h;
  CHECK(h.state() == State::unknown);
  h.run(60);
  CHECK(h.state() == State::alive);
  h.run(9940);
  CHECK(h.probes == 100);
  CHECK(h.changes.empty());
  const auto v = h.d.view(peer, h.now);
  CHECK(v.answered_ago_ms <= 120);
  CHECK(v.timeout_ms == 2000);
  CHECK(v.round_trip_ms == 20);
  CHECK(v.transitions == 0);
}

TEST_CASE("a peer that never answered is unknown, not down") {
  Host h;
  h.answers = [](SteadyMs) { return false; };
  h.run(60'000);
  CHECK(h.state() == State::unknown);
  CHECK(h.changes.empty());
  CHECK(h.d.view(peer, h.now).answered_ago_ms == -1);
}

TEST_CASE("silence: suspected after half a second, down after two, back after a steady second") {
  Host h;
  h.run(10'000);
  const SteadyMs silent_from = h.now;
  const SteadyMs last = h.now - h.d.view(peer, h.now).answered_ago_ms;
  h.answers = [](SteadyMs) { return false; };
  h.out.clear();
  h.run(last + 500 - h.now);
  CHECK(h.state() == State::alive);
  h.run(20);
  CHECK(h.state() == State::suspected);
  h.run(last + 2000 - h.now);
  CHECK(h.state() == State::suspected);
  h.run(20);
  CHECK(h.state() == State::down);
  REQUIRE(h.changes.size() == 1);
  CHECK(h.changes[0].at - silent_from <= 2100);
  CHECK(h.d.view(peer, h.now).transitions == 1);
  h.run(10'000);
  CHECK(h.broken >= 3);

  const SteadyMs again = h.now;
  h.answers = [](SteadyMs) { return true; };
  h.run(5000);
  REQUIRE(h.changes.size() == 2);
  CHECK_FALSE(h.changes[1].down);
  CHECK(h.changes[1].at - again >= 1000);
  CHECK(h.changes[1].at - again <= 1200);
  CHECK(h.state() == State::alive);
}

TEST_CASE(
    "a peer that is started again is not silent for its own absence; one that is down stays so") {
  Host h;
  h.run(10'000);
  h.answers = [](SteadyMs) { return false; };
  h.run(1900);
  CHECK(h.state() == State::suspected);
  h.d.connected(peer, h.now);
  h.run(400);
  CHECK(h.state() == State::alive);
  h.run(1500);
  CHECK(h.state() == State::suspected);
  h.run(200);
  CHECK(h.state() == State::down);
  h.d.connected(peer, h.now);
  h.run(100);
  CHECK(h.state() == State::down);
}

TEST_CASE("a short pause changes nothing but the display") {
  Host h;
  h.run(5000);
  const SteadyMs pause = h.now;
  h.answers = [pause](SteadyMs at) { return at < pause || at > pause + 1500; };
  h.run(10'000);
  CHECK(h.changes.empty());
  CHECK(h.state() == State::alive);
}

TEST_CASE("one that comes and goes is down all the while: no flapping") {
  Host h;
  h.run(5000);
  const SteadyMs from = h.now;
  // 2.5 s of silence, then 0.7 s of answers, for a minute.
  h.answers = [from](SteadyMs at) { return (at - from) % 3200 >= 2500; };
  h.run(60'800);
  REQUIRE_FALSE(h.changes.empty());
  CHECK(h.changes.size() == 1);
  CHECK(h.d.view(peer, h.now).transitions == 1);
  h.answers = [](SteadyMs) { return true; };
  h.run(3000);
  CHECK(h.changes.size() == 2);
}

TEST_CASE("the time-out follows the jitter, up to five seconds") {
  Host h;
  h.run(5000);
  const SteadyMs from = h.now;
  // Answers stop for 1.9 s in every 3 s.
  h.answers = [from](SteadyMs at) { return (at - from) % 3000 >= 1900; };
  h.run(30'000);
  CHECK(h.changes.empty());
  const auto v = h.d.view(peer, h.now);
  CHECK(v.timeout_ms > 2200);
  CHECK(v.timeout_ms <= 5000);
  // A regular peer has the shortest again after a while.
  h.answers = [](SteadyMs) { return true; };
  h.run(30'000);
  CHECK(h.d.view(peer, h.now).timeout_ms == 2000);
}

TEST_CASE("time that this node stood still is nobody's silence") {
  Host h;
  h.run(5000);
  h.own_pause_until = h.now + 30'000;
  h.run(30'000);
  h.run(5000);
  CHECK(h.changes.empty());
  CHECK(h.state() == State::alive);
  CHECK(h.broken == 0);
  CHECK(h.d.view(peer, h.now).timeout_ms == 2000);
  // Nor is its clock read over the pause.
  CHECK(h.d.view(peer, h.now).clock_base_ms == 1'000'000);
}

TEST_CASE("one-way loss: what arrives from a peer does not make it alive, only its answers do") {
  Host h;
  h.run(5000);
  h.answers = [](SteadyMs) { return false; };
  for (int i = 0; i < 30; ++i) {
    h.run(100);
    h.d.answer(Heartbeat{.sequence = static_cast<std::uint64_t>(i)}, {}, 0);
  }
  CHECK(h.state() == State::down);
}

TEST_CASE("answers that were not asked for, or twice, prove nothing") {
  Host h;
  h.run(5000);
  h.answers = [](SteadyMs) { return false; };
  for (int i = 0; i < 30; ++i) {
    h.run(100);
    h.d.answered(peer, BatchHeader{}, reply(3), h.now);
    h.d.answered(peer, BatchHeader{}, reply(1000000), h.now);
  }
  CHECK(h.state() == State::down);
}

TEST_CASE("a probe without answer shows as silence soon") {
  Host h;
  h.run(5000);
  CHECK_FALSE(h.d.silent(peer, 50, h.now));
  h.answers = [](SteadyMs) { return false; };
  h.out.clear();
  h.run(300);
  CHECK(h.d.silent(peer, 150, h.now));
  CHECK_FALSE(h.d.silent(peer, 400, h.now));
}

TEST_CASE("clocks are read by the shortest trip, and not over long ones") {
  Host h;
  h.peer_clock = 250;
  h.run(1000);
  std::vector<WallGuard::PeerClock> clocks;
  h.d.clocks(h.now, clocks);
  REQUIRE(clocks.size() == 1);
  CHECK(clocks[0].base_ms == 1'000'250);
  CHECK(clocks[0].machine_base_ms == 1'000'257);
  h.peer_clock = 0;
  h.run(1000);
  h.d.clocks(h.now, clocks);
  REQUIRE(clocks.size() == 1);
  CHECK(clocks[0].base_ms == 1'000'000);
  h.delay = 400;
  h.peer_clock = 100'000;
  h.run(1000);
  h.d.clocks(h.now, clocks);
  CHECK(clocks.size() == 1);
  CHECK(clocks[0].base_ms == 1'000'000);
  h.run(2000);
  h.d.clocks(h.now, clocks);
  CHECK(clocks.empty());
}

TEST_CASE("suspicions travel and are shown") {
  Host h(4);
  h.run(5000);
  h.answers = [](SteadyMs) { return false; };
  h.out.clear();
  h.run(1000);
  const HeartbeatAnswer a = h.d.answer({.sequence = 9}, {.turn_us = 5, .waiting = 6}, -3);
  CHECK(a.suspects == std::vector<std::uint16_t>{1});
  CHECK(a.sequence == 9);
  CHECK(a.machine_ahead_ms == -3);

  Host other(4);
  const Heartbeat p = other.d.probe(peer, other.now);
  HeartbeatAnswer said = a;
  said.sequence = p.sequence;
  said.suspects = {2, 3};
  BatchHeader header;
  header.unfit = 1;
  other.d.answered(peer, header, said, other.now);
  const auto v = other.d.view(peer, other.now);
  CHECK(v.suspects == std::vector<std::uint16_t>{2, 3});
  CHECK(v.load.waiting == 6);
  CHECK(v.unfit == 1);
  CHECK(other.state() == State::alive);
  CHECK(other.d.state({2}) == State::unknown);
}

}  // namespace
}  // namespace gyre
