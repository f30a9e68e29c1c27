// Detector: who is alive, as this node sees it for itself.
//
//     unknown --(first answer)--> alive <--> suspected --(time-out)--> down
//                                   ^                                   |
//                                   +---(a steady second of answers)----+
//
// A peer is alive while it answers this node's own probes, one every 100 ms on a connection of
// their own. The time-out follows the jitter measured: mean and 8 standard deviations of the
// intervals between answers, never below 2 s nor above 5 s. Suspected is earlier (4 deviations, at
// least half a second) and only shown; so are the suspicions that others report. What requests do
// about silence is LinkWatch's business, within milliseconds; the detector's 'down' keeps a peer
// from being used until it has answered for a steady second, so that one that comes and goes does
// not take the ring's work along each time.
//
// Time during which this node itself stood still does not count against anybody: it shows as a gap
// between calls.
//
// How a host drives it, for every peer but itself:
//   every tick (20 ms)   tick(now) -> changes to act upon; due(peer, now) -> on the link, if that
//                        is up, probe(); stuck(peer, now) -> break the link and connect anew
//   link up or down      link_up(), link_down(): what was out is lost
//   a probe arrives      answer(): fills the reply, which leaves at once
//   a reply arrives      answered(), before any command runs
// Pure: no sockets, no clock. Threading: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "membership/wall_guard.h"
#include "wire/messages.h"

namespace gyre {

class Detector {
 public:
  enum class State : std::uint8_t { unknown, alive, suspected, down };
  static std::string_view name(State s);

  struct Options {
    NodeIndex self{};
    std::size_t nodes = 1;
    std::int64_t interval_ms = 100;  // between probes
    std::int64_t tick_ms = 20;
    std::int64_t timeout_min_ms = 2000, timeout_max_ms = 5000;
    std::int64_t suspect_min_ms = 500;
    std::int64_t steady_ms = 1000;       // of answers, to come back from down
    std::int64_t clock_trip_ms = 125;    // a clock read over a longer round trip tells nothing
    std::int64_t clock_fresh_ms = 2000;  // nor does an older one
  };
  struct Change {
    NodeIndex peer{};
    bool down = false;  // or taken back
  };
  struct Load {
    std::uint64_t turn_us = 0;  // longest turn of a loop lately
    std::uint64_t waiting = 0;  // operations waiting for others
  };

  explicit Detector(const Options& options);

  void set_clock_trip(std::int64_t ms) { options_.clock_trip_ms = ms; }

  // ---- driven by the host

  std::vector<Change> tick(SteadyMs now);
  bool due(NodeIndex peer, SteadyMs now) const;
  Heartbeat probe(NodeIndex peer, SteadyMs now);
  bool stuck(NodeIndex peer, SteadyMs now) const;
  void link_up(NodeIndex peer);
  void link_down(NodeIndex peer) { link_up(peer); }
  // Any connection to the peer was set up just now: one that was started again is not silent,
  // though no probe has found it yet. It does not take one back that is down.
  void connected(NodeIndex peer, SteadyMs now);
  HeartbeatAnswer answer(const Heartbeat& probe, const Load& load,
                         std::int64_t machine_ahead_ms) const;
  void answered(NodeIndex peer, const BatchHeader& header, const HeartbeatAnswer& m, SteadyMs now);

  // ---- what it knows

  State state(NodeIndex peer) const { return peers_[peer.value].state; }
  bool down(NodeIndex peer) const { return state(peer) == State::down; }
  // A probe has been without answer for longer than this.
  bool silent(NodeIndex peer, std::int64_t longer_than_ms, SteadyMs now) const;
  // The clocks read lately, into `out`.
  void clocks(SteadyMs now, std::vector<WallGuard::PeerClock>& out) const;

  struct View {
    State state = State::unknown;
    std::int64_t answered_ago_ms = -1;  // -1: never
    std::int64_t timeout_ms = 0, round_trip_ms = 0;
    bool clock_known = false;
    std::int64_t clock_base_ms = 0;
    std::uint64_t transitions = 0;  // into down and out of it
    Load load;
    std::uint8_t unfit = 0;
    std::vector<std::uint16_t> suspects;  // whom it suspects
  };
  View view(NodeIndex peer, SteadyMs now) const;

 private:
  static constexpr std::size_t samples = 8;
  static constexpr std::size_t out_max = 64;

  struct Probe {
    std::uint64_t sequence = 0;
    SteadyMs sent = 0;     // as it was, for clocks
    SteadyMs excused = 0;  // without the time that this node stood still
  };
  struct Sample {
    SteadyMs at = 0;
    std::int64_t trip = -1;  // -1: none
    WallGuard::PeerClock clock;
  };
  struct Peer {
    State state = State::unknown;
    std::deque<Probe> out;  // oldest first
    std::uint64_t sequence = 0;
    SteadyMs sent_at = 0;
    SteadyMs answered_at = 0;       // excused
    SteadyMs steady_from = 0;       // while down: since when it answers
    double mean = 0, variance = 0;  // of the intervals between answers, ms
    Sample ring[samples];
    std::size_t next_sample = 0;
    std::int64_t trip = 0;
    std::uint64_t transitions = 0;
    Load load;
    std::uint8_t unfit = 0;
    std::vector<std::uint16_t> suspects;
  };

  void advance(SteadyMs now);
  std::int64_t timeout(const Peer& p) const;
  std::int64_t suspect_after(const Peer& p) const;
  const Sample* best(const Peer& p, SteadyMs now) const;

  Options options_;
  std::vector<Peer> peers_;
  SteadyMs seen_ = 0;  // the last call that told the time
  bool begun_ = false;
};

}  // namespace gyre
