#include "membership/detector.h"

#include <algorithm>
#include <cmath>

namespace gyre {
namespace {

// Answers are weighed over the last 64 or so; an interval counts up to the shortest time-out, or
// one crash would pass for jitter.
constexpr double gain = 1.0 / 64;
constexpr double deviations_down = 8, deviations_suspect = 4;
constexpr std::int64_t stall_ms = 10;  // beyond a tick: this node stood still
constexpr std::size_t suspects_max = 512;

}  // namespace

std::string_view Detector::name(State s) {
  switch (s) {
    case State::alive:
      return "alive";
    case State::suspected:
      return "suspected";
    case State::down:
      return "down";
    default:
      return "unknown";
  }
}

Detector::Detector(const Options& options) : options_(options), peers_(options.nodes) {
  for (Peer& p : peers_) p.mean = static_cast<double>(options_.interval_ms);
}

std::int64_t Detector::timeout(const Peer& p) const {
  return std::clamp(static_cast<std::int64_t>(p.mean + deviations_down * std::sqrt(p.variance)),
                    options_.timeout_min_ms, options_.timeout_max_ms);
}

std::int64_t Detector::suspect_after(const Peer& p) const {
  return std::clamp(static_cast<std::int64_t>(p.mean + deviations_suspect * std::sqrt(p.variance)),
                    options_.suspect_min_ms, timeout(p) / 2);
}

// Gaps between calls are this node's own: what others did meanwhile nobody here could see.
void Detector::advance(SteadyMs now) {
  if (!begun_) {
    begun_ = true;
    seen_ = now;
  }
  const std::int64_t gap = now - seen_ - options_.tick_ms;
  seen_ = now;
  if (gap <= stall_ms) return;
  for (Peer& p : peers_) {
    p.answered_at += gap;
    if (p.steady_from) p.steady_from += gap;
    for (Probe& probe : p.out) probe.excused += gap;
  }
}

std::vector<Detector::Change> Detector::tick(SteadyMs now) {
  advance(now);
  std::vector<Change> changes;
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    Peer& p = peers_[i];
    const NodeIndex peer{static_cast<std::uint16_t>(i)};
    const std::int64_t since = now - p.answered_at;
    switch (p.state) {
      case State::unknown:
        break;
      case State::alive:
      case State::suspected:
        if (since > timeout(p)) {
          p.state = State::down;
          p.steady_from = 0;
          ++p.transitions;
          changes.push_back({peer, true});
        } else {
          p.state = since > suspect_after(p) ? State::suspected : State::alive;
        }
        break;
      case State::down:
        if (p.steady_from && since > options_.suspect_min_ms) p.steady_from = 0;
        if (p.steady_from && p.answered_at - p.steady_from >= options_.steady_ms) {
          p.state = State::alive;
          ++p.transitions;
          changes.push_back({peer, false});
        }
        break;
    }
  }
  return changes;
}

// ---- probes

bool Detector::due(NodeIndex peer, SteadyMs now) const {
  return peer != options_.self && now - peers_[peer.value].sent_at >= options_.interval_ms;
}

Heartbeat Detector::probe(NodeIndex peer, SteadyMs now) {
  Peer& p = peers_[peer.value];
  p.sent_at = now;
  p.out.push_back({++p.sequence, now, now});
  if (p.out.size() > out_max) p.out.erase(p.out.begin() + 1);  // the oldest tells the silence
  return {.sequence = p.sequence};
}

bool Detector::silent(NodeIndex peer, std::int64_t longer_than_ms, SteadyMs now) const {
  const Peer& p = peers_[peer.value];
  return !p.out.empty() && now - p.out.front().excused > longer_than_ms;
}

// A connection that lost its way would try for minutes; a new one is up within a second.
bool Detector::stuck(NodeIndex peer, SteadyMs now) const {
  return silent(peer, options_.timeout_min_ms, now);
}

void Detector::link_up(NodeIndex peer) {
  peers_[peer.value].out.clear();
}

void Detector::connected(NodeIndex peer, SteadyMs now) {
  advance(now);
  Peer& p = peers_[peer.value];
  if (p.state == State::alive || p.state == State::suspected) p.answered_at = now;
}

HeartbeatAnswer Detector::answer(const Heartbeat& probe, const Load& load,
                                 std::int64_t machine_ahead_ms) const {
  HeartbeatAnswer a;
  a.sequence = probe.sequence;
  a.machine_ahead_ms = machine_ahead_ms;
  a.turn_us = load.turn_us;
  a.waiting = load.waiting;
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    const State s = peers_[i].state;
    if (s == State::suspected || s == State::down)
      a.suspects.push_back(static_cast<std::uint16_t>(i));
  }
  return a;
}

void Detector::answered(NodeIndex peer, const BatchHeader& header, const HeartbeatAnswer& m,
                        SteadyMs now) {
  advance(now);
  Peer& p = peers_[peer.value];
  while (!p.out.empty() && p.out.front().sequence < m.sequence) p.out.pop_front();
  if (p.out.empty() || p.out.front().sequence != m.sequence) return;  // not asked, or long ago
  const Probe probe = p.out.front();
  p.out.pop_front();
  p.trip = now - probe.sent;
  if (p.trip <= options_.clock_trip_ms) {
    // The peer read its clock somewhere within the round trip: its middle is off by half at most.
    const std::int64_t base = header.wall_ms - (probe.sent + now) / 2;
    p.ring[p.next_sample++ % samples] = {now, p.trip, {base, base + m.machine_ahead_ms}};
  }
  if (p.state == State::unknown) {
    p.state = State::alive;
  } else {
    const std::int64_t interval = now - p.answered_at;
    if (p.state == State::down && (!p.steady_from || interval > options_.suspect_min_ms))
      p.steady_from = now;
    const double x = static_cast<double>(std::min(interval, options_.timeout_min_ms));
    const double difference = x - p.mean;
    p.mean += gain * difference;
    p.variance = (1 - gain) * (p.variance + gain * difference * difference);
  }
  p.answered_at = now;
  p.load = {m.turn_us, m.waiting};
  p.unfit = header.unfit;
  p.suspects.assign(m.suspects.begin(), m.suspects.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                                 m.suspects.size(), suspects_max)));
}

// ---- what it knows

// The reading with the shortest trip is the best of the last few, which are spread over less than
// a second.
const Detector::Sample* Detector::best(const Peer& p, SteadyMs now) const {
  const Sample* best = nullptr;
  for (const Sample& s : p.ring) {
    if (s.trip < 0 || now - s.at > options_.clock_fresh_ms) continue;
    if (!best || s.trip < best->trip || (s.trip == best->trip && s.at > best->at)) best = &s;
  }
  return best;
}

void Detector::clocks(SteadyMs now, std::vector<WallGuard::PeerClock>& out) const {
  out.clear();
  for (const Peer& p : peers_) {
    if (const Sample* s = best(p, now)) out.push_back(s->clock);
  }
}

Detector::View Detector::view(NodeIndex peer, SteadyMs now) const {
  const Peer& p = peers_[peer.value];
  View v;
  v.state = p.state;
  if (p.state != State::unknown) v.answered_ago_ms = std::max<SteadyMs>(0, now - p.answered_at);
  v.timeout_ms = timeout(p);
  v.round_trip_ms = p.trip;
  if (const Sample* s = best(p, now)) {
    v.clock_known = true;
    v.clock_base_ms = s->clock.base_ms;
  }
  v.transitions = p.transitions;
  v.load = p.load;
  v.unfit = p.unfit;
  v.suspects = p.suspects;
  return v;
}

}  // namespace gyre
