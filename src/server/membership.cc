#include "server/membership.h"

#include <algorithm>

#include "base/log.h"
#include "membership/clock_pair.h"
#include "server/server.h"
#include "server/worker.h"

namespace gyre {
namespace {

constexpr std::uint64_t publish_every = 5;  // ticks
constexpr std::uint64_t load_every = 50;

WallGuard::Options guard_options(Server& server) {
  return {.bound_ms = server.config().max_clock_skew, .nodes = server.ring().nodes().size()};
}

Detector::Options detector_options(Server& server) {
  Detector::Options o;
  o.self = server.self();
  o.nodes = server.ring().nodes().size();
  return o;
}

bool of_this_ring(const BatchHeader& h, const Ring& ring) {
  return h.format == wire_format && h.ring_hash == ring.content_hash();
}

}  // namespace

Membership::Membership(Server& server, const Clock& machine)
    : server_(server),
      machine_(machine),
      guard_(guard_options(server)),
      clock_(machine, guard_),
      detector_(detector_options(server)),
      peers_(server.ring().nodes().size()) {
  guard_.start(machine_.wall_ms(), machine_.steady_ms());
}

void Membership::start(Worker& w) {
  if (const auto pair = read_together(machine_))
    guard_.start(pair->wall, pair->steady);  // the wait for others begins now
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
    detector_.link_up(peer);
    probe(w, peer);
  };
  link->on_down = [this, peer](const std::string&) { detector_.link_down(peer); };
  link->on_reply = [this, peer, &w](std::string_view batch) { on_answer(w, peer, batch); };
  link->connect(server_.ring().node(peer).host, server_.ring().node(peer).bus_port);
}

void Membership::stop() {
  for (Peer& p : peers_) p.link.reset();
}

// ---- probes

void Membership::probe(Worker& w, NodeIndex peer) {
  batch_.clear();
  put_header(batch_, w.header(false));
  put_message(batch_, 0, detector_.probe(peer, machine_.steady_ms()));
  w.metrics().heartbeat_bytes_sent.add(batch_.size());
  w.published().inside.bus(peer).send(batch_.size(), true);
  PeerLink& link = *peers_[peer.value].link;
  if (!link.send_batch(batch_)) link.break_link("too many probes wait to be sent");
}

void Membership::on_probe(Worker& w, BusConnection& from, NodeIndex peer, std::string_view batch) {
  BatchReader reader(batch);
  BatchHeader h;
  Envelope e;
  Heartbeat m;
  if (!reader.header(h) || !of_this_ring(h, server_.ring()) || !reader.next(e) ||
      e.kind != Kind::heartbeat || !decode_message(e, m)) {
    return from.end("a heartbeat that could not be read");
  }
  w.metrics().heartbeat_bytes_received.add(batch.size());
  w.published().inside.bus(peer).receive(batch.size(), true);
  heard(w, peer, h);
  batch_.clear();
  put_header(batch_, w.header(true));
  put_message(batch_, 0, detector_.answer(m, load_, machine_.wall_ms() - clock_.wall_ms()));
  w.metrics().heartbeat_bytes_sent.add(batch_.size());
  w.published().inside.bus(peer).send(batch_.size(), true);
  from.reply(batch_);
}

void Membership::on_answer(Worker& w, NodeIndex peer, std::string_view batch) {
  BatchReader reader(batch);
  BatchHeader h;
  Envelope e;
  HeartbeatAnswer m;
  if (!reader.header(h) || !of_this_ring(h, server_.ring()) || !reader.next(e) ||
      e.kind != Kind::heartbeat_answer || !decode_message(e, m)) {
    return peers_[peer.value].link->break_link("an answer that could not be read");
  }
  w.metrics().heartbeat_bytes_received.add(batch.size());
  w.published().inside.bus(peer).receive(batch.size(), true);
  heard(w, peer, h);
  detector_.answered(peer, h, m, machine_.steady_ms());
}

// Data links that are idle hear of it late; a node that should not act must be passed over soon.
void Membership::heard(Worker& w, NodeIndex peer, const BatchHeader& h) {
  Peer& p = peers_[peer.value];
  if (p.serving == h.serving && p.unfit == h.unfit) return;
  if (p.unfit != h.unfit) {
    LOG_NOTICE("%s %s", server_.ring().node(peer).name.c_str(),
               h.unfit == 0           ? "is fit to act again"
               : h.unfit & unfit_disk ? "cannot write to its disk: others act for its slots"
                                      : "has a clock that is off: others act for its slots");
  }
  p.serving = h.serving;
  p.unfit = h.unfit;
  for (std::size_t i = 0; i < server_.shards(); ++i) {
    w.send_mail({static_cast<std::uint16_t>(i)},
                [peer, serving = h.serving, unfit = h.unfit](Worker& to) {
                  to.engine().peer_says(peer, serving, unfit);
                });
  }
}

// ---- every tick

void Membership::tick(Worker& w) {
  const SteadyMs now = machine_.steady_ms();
  for (const Detector::Change& c : detector_.tick(now)) changed(w, c);
  Config& config = server_.config();
  for (std::uint16_t i = 0; i < peers_.size(); ++i) {
    Peer& p = peers_[i];
    if (!p.link) continue;
    if (p.link->up() && detector_.stuck({i}, now)) p.link->break_link("no answer");
    if (p.link->up() && detector_.due({i}, now)) probe(w, {i});
    p.silent.store(p.link->up() && detector_.silent({i}, config.peer_timeout_min, now),
                   std::memory_order_relaxed);
  }
  guard_.set_bound(config.max_clock_skew);
  detector_.set_clock_trip(config.max_clock_skew / 4);
  detector_.clocks(now, clocks_);
  if (const auto pair = read_together(machine_)) guard_.tick(pair->wall, pair->steady, clocks_);
  w.metrics().clock_jumps.add(guard_.jumps() - std::exchange(jumps_told_, guard_.jumps()));
  w.metrics().clock_fenced.add(guard_.fenced() - std::exchange(fenced_told_, guard_.fenced()));
  declare(w);
  if (ticks_ % load_every == 0) load_ = server_.take_load();
  if (ticks_++ % publish_every == 0) publish(now);
}

void Membership::changed(Worker& w, const Detector::Change& c) {
  const std::string& name = server_.ring().node(c.peer).name;
  if (c.down) {
    const auto v = detector_.view(c.peer, machine_.steady_ms());
    LOG_WARNING("%s is down: it has answered no probe for %lld ms", name.c_str(),
                static_cast<long long>(v.answered_ago_ms));
    w.metrics().peers_marked_down.add();
  } else {
    LOG_NOTICE("%s is alive again: it has answered for a steady second", name.c_str());
    w.metrics().peers_taken_back.add();
  }
  peers_[c.peer.value].down.store(c.down, std::memory_order_relaxed);
  for (std::size_t i = 0; i < server_.shards(); ++i) {
    w.send_mail({static_cast<std::uint16_t>(i)},
                [peer = c.peer](Worker& to) { to.peer_detected(peer); });
  }
}

// Whether this node is fit to act; its peers read it in the header of the next batch.
void Membership::declare(Worker& w) {
  const bool fit = guard_.fit();
  const auto unfit = static_cast<std::uint8_t>((fit ? 0 : unfit_clock) |
                                               (server_.disk_failing() ? unfit_disk : 0));
  const std::uint8_t before = unfit_.exchange(unfit, std::memory_order_relaxed);
  if (((before ^ unfit) & unfit_clock) == 0) return;  // each engine hears of the disk for itself
  for (std::size_t i = 0; i < server_.shards(); ++i) {
    w.send_mail({static_cast<std::uint16_t>(i)}, [fit](Worker& to) { to.engine().set_fit(fit); });
  }
}

void Membership::publish(SteadyMs now) {
  Snapshot s;
  s.base_ms = guard_.base_ms();
  s.clock_off_ms = guard_.off_ms();
  s.clock_jump_ms = guard_.jump_ms();
  for (std::uint16_t i = 0; i < peers_.size(); ++i) s.peers.push_back(detector_.view({i}, now));
  const std::lock_guard lock(mutex_);
  snapshot_ = std::move(s);
}

Membership::Snapshot Membership::look() const {
  const std::lock_guard lock(mutex_);
  return snapshot_;
}

}  // namespace gyre
