#include "tools/sim/heart.h"

#include <algorithm>

#include "tools/sim/node.h"
#include "tools/sim/worker.h"

namespace gyre::sim {
namespace {

constexpr std::int64_t silent_ms = 50;  // peer-timeout-min
constexpr Us attempt_time = 1000 * ms, backoff_min = 50 * ms, backoff_max = 1000 * ms;
constexpr const char* hello = "heartbeat";

NodeIndex index_of(NodeId n) {
  return {static_cast<std::uint16_t>(n)};
}

Vitals::Options options_of(const Ring& ring, NodeId self) {
  Vitals::Options o;
  o.detector.self = index_of(self);
  o.detector.nodes = o.guard.nodes = ring.nodes().size();
  o.ring_hash = ring.content_hash();
  return o;
}

}  // namespace

SimHeart::SimHeart(SimNode& node)
    : node_(node),
      vitals_(options_of(*node.ring_, node.self_), node.clock_, *this),
      links_(node.ring_->nodes().size()) {}

void SimHeart::begin(std::int64_t ahead_ms) {
  vitals_.start();
  vitals_.set_last_run_ahead(ahead_ms);
  for (NodeId peer = 0; peer < links_.size(); ++peer) {
    if (peer != node_.self_)
      node_.later(node_.world_.draw(0, 5 * ms), [this, peer] { attempt(peer); });
  }
}

bool SimHeart::silent(NodeId peer) const {
  return links_[peer].state == State::up &&
         vitals_.detector().silent(index_of(peer), silent_ms, node_.clock_.steady_ms());
}

void SimHeart::tick() {
  vitals_.tick(std::any_of(node_.workers_.begin(), node_.workers_.end(),
                           [](const auto& w) { return w->disk_failing; }));
  const SteadyMs now = node_.clock_.steady_ms();
  for (NodeId peer = 0; peer < links_.size(); ++peer) {
    if (links_[peer].state != State::up) continue;
    if (vitals_.detector().stuck(index_of(peer), now))
      fail(peer);
    else if (vitals_.detector().due(index_of(peer), now))
      probe(peer);
  }
}

// ---- what follows

void SimHeart::peer_detected(NodeIndex peer, bool down) {
  node_.world_.log(node_.name_ + (down ? " takes down " : " takes back ") +
                   node_.ring_->node(peer).name);
  Metrics& metrics = node_.metrics_;
  (down ? metrics.peers_marked_down : metrics.peers_taken_back).add();
  node_.tell_all([peer](SimWorker& w) { w.peer_detected(peer); });
}

void SimHeart::peer_says(NodeIndex peer, const BatchHeader& header, std::uint8_t) {
  node_.tell_all([peer, serving = header.serving, unfit = header.unfit](SimWorker& w) {
    w.engine().peer_says(peer, serving, unfit);
  });
}

void SimHeart::clock_fit(bool fit) {
  node_.world_.log(node_.name_ + (fit ? "'s clock is right" : "'s clock is off"));
  if (!fit) node_.metrics_.clock_fenced.add();
  node_.tell_all([fit](SimWorker& w) { w.engine().set_fit(fit); });
}

UnixMs SimHeart::stamp_ms() {
  UnixMs highest = 0;
  for (const auto& w : node_.workers_)
    highest = std::max(highest, w->space().clock().peek(vitals_.clock().wall_ms()).ms());
  return highest;
}

void SimHeart::clock_set_back() {
  if (stamp_ms() <= vitals_.clock().wall_ms()) node_.bound_ = 0;
  node_.tell_all([](SimWorker& w) { w.engine().clock_set_back(); });
}

void SimHeart::stamp_again(UnixMs later_than, std::int64_t ahead_ms) {
  node_.world_.log(node_.name_ + " stamps again");
  node_.bound_ = 0;  // the next tick writes it anew
  node_.tell_all(
      [later_than, ahead_ms](SimWorker& w) { w.engine().stamp_again(later_than, ahead_ms); });
}

// ---- connections

void SimHeart::attempt(NodeId peer) {
  Link& l = links_[peer];
  l.state = State::connecting;
  l.connection = node_.network_.open(node_.self_, peer, hello);
  node_.later(attempt_time, [this, peer, number = ++l.attempt] {
    if (links_[peer].attempt == number && links_[peer].state == State::connecting) fail(peer);
  });
}

void SimHeart::fail(NodeId peer) {
  Link& l = links_[peer];
  if (l.state == State::up) vitals_.detector().link_down(index_of(peer));
  l.state = State::waiting;
  node_.network_.close(l.connection, true);
  l.connection = 0;
  ++l.attempt;
  l.backoff = std::clamp(l.backoff * 2, backoff_min * 2, backoff_max);
  node_.later(l.backoff / 2 + node_.world_.draw(0, l.backoff / 2), [this, peer] { attempt(peer); });
}

void SimHeart::probe(NodeId peer) {
  std::string batch;
  vitals_.probe(batch, node_.header(false), index_of(peer));
  node_.network_.send(links_[peer].connection, true, Packet::batch, std::move(batch));
}

bool SimHeart::takes(const Arrival& a) const {
  if (a.owner) return links_[a.from].connection == a.connection;
  return from_.contains(a.connection) || (a.packet == Packet::hello && a.bytes == hello);
}

void SimHeart::turn() {
  std::deque<Arrival> inbox;
  inbox.swap(inbox_);
  for (Arrival& a : inbox) a.owner ? take(std::move(a)) : take_from_peer(std::move(a));
}

void SimHeart::take(Arrival&& a) {
  Link& l = links_[a.from];
  if (l.connection != a.connection || l.state == State::waiting) return;
  switch (a.packet) {
    case Packet::hello_answer:
      return node_.network_.send(a.connection, true, Packet::auth, {});
    case Packet::auth_answer:
      l.state = State::up;
      l.backoff = 0;
      vitals_.detector().link_up(index_of(a.from));
      vitals_.detector().connected(index_of(a.from), node_.time().steady_ms());
      return probe(a.from);
    case Packet::batch:
      if (!vitals_.on_answer(index_of(a.from), a.bytes))
        node_.world_.violation(node_.name_, "a heartbeat's answer that could not be read");
      return;
    default:
      return fail(a.from);
  }
}

void SimHeart::take_from_peer(Arrival&& a) {
  std::string answer;
  switch (a.packet) {
    case Packet::hello:
      from_[a.connection] = a.from;
      return node_.network_.send(a.connection, false, Packet::hello_answer, {});
    case Packet::auth:
      return node_.network_.send(a.connection, false, Packet::auth_answer, {});
    case Packet::batch:
      if (!vitals_.on_probe(index_of(a.from), a.bytes, node_.header(true), {}, answer))
        return node_.world_.violation(node_.name_, "a heartbeat that could not be read");
      return node_.network_.send(a.connection, false, Packet::batch, std::move(answer));
    default:
      from_.erase(a.connection);
  }
}

}  // namespace gyre::sim
