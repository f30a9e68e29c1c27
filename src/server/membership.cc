#include "server/membership.h"

#include <algorithm>

#include "base/log.h"
#include "server/server.h"
#include "server/worker.h"

namespace gyre {
namespace {

constexpr std::uint64_t publish_every = 5;  // ticks
constexpr std::uint64_t load_every = 50;

Vitals::Options vitals_options(Server& server) {
  Vitals::Options o;
  o.detector.self = server.self();
  o.detector.nodes = o.guard.nodes = server.ring().nodes().size();
  o.guard.bound_ms = server.config().max_clock_skew;
  o.ring_hash = server.ring().content_hash();
  return o;
}

}  // namespace

Membership::Membership(Server& server, const Clock& machine)
    : server_(server),
      machine_(machine),
      vitals_(vitals_options(server), machine, *this),
      peers_(server.ring().nodes().size()) {}

void Membership::start(Worker& w, std::int64_t ahead_ms) {
  vitals_.start();
  vitals_.set_last_run_ahead(ahead_ms);
  for (std::uint16_t i = 0; i < peers_.size(); ++i) {
    if (NodeIndex{i} != server_.self()) connect(w, {i});
  }
}

void Membership::connect(Worker& w, NodeIndex peer) {
  PeerLink::Options options;
  options.secret = server_.secret();
  options.own = server_.hello_fields(w.shard());
  options.own.role = LinkRole::heartbeat;
  options.expected_node = server_.ring().node(peer).name;
  auto& link = peers_[peer.value].link;
  link = std::make_unique<PeerLink>(w.loop(), std::move(options));
  link->on_up = [this, peer, &w](const AnswererInfo&) {
    vitals_.detector().link_up(peer);
    connected(peer);
    probe(w, peer);
  };
  link->on_down = [this, peer](const std::string&) { vitals_.detector().link_down(peer); };
  link->on_reply = [this, peer, &w](std::string_view batch) { on_answer(w, peer, batch); };
  link->connect(server_.ring().node(peer).host, server_.ring().node(peer).bus_port);
}

void Membership::stop() {
  for (Peer& p : peers_) p.link.reset();
}

// ---- probes

void Membership::probe(Worker& w, NodeIndex peer) {
  vitals_.probe(batch_, w.header(false), peer);
  w.metrics().heartbeat_bytes_sent.add(batch_.size());
  w.published().inside.bus(peer).send(batch_.size(), true);
  PeerLink& link = *peers_[peer.value].link;
  if (!link.send_batch(batch_)) link.break_link("too many probes wait to be sent");
}

void Membership::on_probe(Worker& w, BusConnection& from, NodeIndex peer, std::string_view batch) {
  if (!vitals_.on_probe(peer, batch, w.header(true), load_, batch_))
    return from.end("a heartbeat that could not be read");
  w.metrics().heartbeat_bytes_received.add(batch.size());
  w.published().inside.bus(peer).receive(batch.size(), true);
  w.metrics().heartbeat_bytes_sent.add(batch_.size());
  w.published().inside.bus(peer).send(batch_.size(), true);
  from.reply(batch_);
}

void Membership::on_answer(Worker& w, NodeIndex peer, std::string_view batch) {
  if (!vitals_.on_answer(peer, batch))
    return peers_[peer.value].link->break_link("an answer that could not be read");
  w.metrics().heartbeat_bytes_received.add(batch.size());
  w.published().inside.bus(peer).receive(batch.size(), true);
}

// ---- every tick

void Membership::tick(Worker& w) {
  Config& config = server_.config();
  vitals_.set_skew(config.max_clock_skew);
  vitals_.tick(server_.disk_failing());
  const SteadyMs now = machine_.steady_ms();
  Detector& detector = vitals_.detector();
  for (std::uint16_t i = 0; i < peers_.size(); ++i) {
    Peer& p = peers_[i];
    if (!p.link) continue;
    if (p.link->up() && detector.stuck({i}, now)) p.link->break_link("no answer");
    if (p.link->up() && detector.due({i}, now)) probe(w, {i});
    p.silent.store(p.link->up() && detector.silent({i}, config.peer_timeout_min, now),
                   std::memory_order_relaxed);
  }
  const WallGuard& guard = vitals_.guard();
  w.metrics().clock_jumps.add(guard.jumps() - std::exchange(jumps_told_, guard.jumps()));
  w.metrics().clock_fenced.add(guard.fenced() - std::exchange(fenced_told_, guard.fenced()));
  if (ticks_ % load_every == 0) load_ = server_.take_load();
  if (ticks_++ % publish_every == 0) publish(now);
}

template <class F>
void Membership::tell_all(F task) {
  for (std::size_t i = 0; i < server_.shards(); ++i)
    server_.worker({0}).send_mail({static_cast<std::uint16_t>(i)}, task);
}

void Membership::peer_detected(NodeIndex peer, bool down) {
  const std::string& name = server_.ring().node(peer).name;
  Metrics& metrics = server_.worker({0}).metrics();
  if (down) {
    const auto v = vitals_.detector().view(peer, machine_.steady_ms());
    LOG_WARNING("%s is down: it has answered no probe for %lld ms", name.c_str(),
                static_cast<long long>(v.answered_ago_ms));
    metrics.peers_marked_down.add();
  } else {
    LOG_NOTICE("%s is alive again: it has answered for a steady second", name.c_str());
    metrics.peers_taken_back.add();
  }
  peers_[peer.value].down.store(down, std::memory_order_relaxed);
  tell_all([peer](Worker& to) { to.peer_detected(peer); });
}

void Membership::peer_says(NodeIndex peer, const BatchHeader& h, std::uint8_t unfit_before) {
  if (unfit_before != h.unfit) {
    LOG_NOTICE("%s %s", server_.ring().node(peer).name.c_str(),
               h.unfit == 0           ? "is fit to act again"
               : h.unfit & unfit_disk ? "cannot write to its disk: others act for its slots"
                                      : "has a clock that is off: others act for its slots");
  }
  tell_all([peer, serving = h.serving, unfit = h.unfit](Worker& to) {
    to.engine().peer_says(peer, serving, unfit);
  });
}

void Membership::clock_fit(bool fit) {
  tell_all([fit](Worker& to) { to.engine().set_fit(fit); });
}

UnixMs Membership::stamp_ms() {
  return std::max(server_.newest_stamp_ms(), vitals_.clock().wall_ms());
}

void Membership::clock_set_back() {
  // Else stamp_again() does so: the stored bound lies above whatever was stamped.
  if (stamp_ms() <= vitals_.clock().wall_ms()) server_.set_clock_bound_back();
  tell_all([](Worker& to) { to.engine().clock_set_back(); });
}

void Membership::stamp_again(UnixMs later_than, std::int64_t ahead_ms) {
  LOG_WARNING(
      "this node's stamps are further ahead of all others' than max-clock-skew; what they "
      "refused is stamped again");
  server_.set_clock_bound_back();
  tell_all([later_than, ahead_ms](Worker& to) { to.engine().stamp_again(later_than, ahead_ms); });
}

void Membership::publish(SteadyMs now) {
  Snapshot s;
  const WallGuard& guard = vitals_.guard();
  s.base_ms = guard.base_ms();
  s.clock_off_ms = guard.off_ms();
  s.clock_jump_ms = guard.jump_ms();
  for (std::uint16_t i = 0; i < peers_.size(); ++i)
    s.peers.push_back(vitals_.detector().view({i}, now));
  const std::lock_guard lock(mutex_);
  snapshot_ = std::move(s);
}

Membership::Snapshot Membership::look() const {
  const std::lock_guard lock(mutex_);
  return snapshot_;
}

}  // namespace gyre
