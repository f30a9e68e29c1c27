// The links of one thread to its peers' threads: batches out and in, and what becomes of links that
// are silent, or whose peer the detector calls down.

#include <algorithm>

#include "base/bytes.h"
#include "base/log.h"
#include "ring/slot.h"
#include "server/membership.h"
#include "server/server.h"
#include "server/worker.h"

namespace gyre {
namespace {

// A link without traffic is asked now and then whether it still leads anywhere; at once when a
// probe of the detector is late.
constexpr std::int64_t idle_ask_ms = 500;
constexpr std::int64_t late_ask_ms = 100;
constexpr std::int64_t answer_within_ms = 10;
constexpr std::size_t answers_kept = std::size_t{16} << 20;  // for a peer that no link leads to now

}  // namespace

BatchHeader Worker::header(bool answers) const {
  BatchHeader h;
  h.epoch = server_.ring().epoch();
  h.ring_hash = server_.ring().content_hash();
  h.wall_ms = server_.clock().wall_ms();
  h.incarnation = server_.identity_incarnation();
  h.threads = static_cast<std::uint16_t>(server_.shards());
  h.serving = server_.serving();
  h.unfit = server_.membership() ? server_.membership()->unfit() : std::uint8_t{0};
  h.answers = answers;
  return h;
}

void Worker::connect_peers() {
  const Ring& ring = server_.ring();
  Config& config = server_.config();
  const LinkWatch watch(config.peer_timeout_min, config.peer_timeout_max);
  links_.reserve(ring.nodes().size());
  for (std::size_t i = 0; i < ring.nodes().size(); ++i)
    links_.push_back(Link{.link = nullptr, .watch = watch, .answering = {}, .sent_wall = {}});
  const HelloFields own = server_.hello_fields(shard_);
  BusServer::Options options;
  options.secret = server_.secret();
  options.own = own;
  options.check_peer = [this](const HelloFields& peer) { return server_.check_peer(peer); };
  bus_ = std::make_unique<BusServer>(loop_, std::move(options));
  bus_->on_batch = [this](BusConnection& c, std::string_view batch) { on_bus_batch(c, batch); };
  // Connections are dealt out in turn; the detector is worker 0's.
  bus_->on_authenticated = [this](BusConnection& c) {
    if (c.peer().role != LinkRole::heartbeat || shard_.value == 0) return;
    const int fd = c.move_away();
    if (fd < 0) return c.end("it could not be moved to its thread");
    send_mail({0}, [fd, from = c.peer()](Worker& w) { w.bus_->adopt(fd, from); });
  };
  bus_->on_closed = [this](BusConnection& c, const std::string& why) {
    if (c.authenticated() && c.peer().role == LinkRole::data) {
      LOG_VERBOSE("the bus connection of %s ended: %s", c.peer().node.c_str(), why.c_str());
      const NodeIndex peer = peer_of(c);
      for (std::size_t i = 0; i < server_.shards(); ++i) {
        send_mail({static_cast<std::uint16_t>(i)},
                  [peer](Worker& w) { w.engine_->peer_doubts(peer); });
      }
      lost_sight();
    }
    for (Link& l : links_) std::erase(l.answering, &c);
  };
  for (std::size_t i = 0; i < ring.nodes().size(); ++i) {
    const NodeIndex peer{static_cast<std::uint16_t>(i)};
    if (peer == server_.self()) continue;
    PeerLink::Options link_options;
    link_options.secret = server_.secret();
    link_options.own = own;
    link_options.expected_node = ring.node(peer).name;
    links_[i].link = std::make_unique<PeerLink>(loop_, std::move(link_options));
    PeerLink& link = *links_[i].link;
    link.on_up = [this, peer](const AnswererInfo& info) {
      LOG_NOTICE("connected to %s", server_.ring().node(peer).name.c_str());
      Link& l = links_[peer.value];
      l.watch.reset();
      l.sent_wall.clear();
      l.threads = static_cast<std::uint16_t>(info.threads);
      send_mail({0}, [peer](Worker& w) { w.server_.membership()->connected(peer); });
      l.held = server_.membership()->down(peer);
      if (!l.held) bring_up(peer);
    };
    link.on_down = [this, peer](const std::string& why) {
      LOG_NOTICE("lost %s: %s", server_.ring().node(peer).name.c_str(), why.c_str());
      metrics_.links_broken.add();
      links_[peer.value].watch.reset();
      links_[peer.value].sent_wall.clear();
      lost_sight();
      if (!links_[peer.value].held) engine_->peer_down(peer);
    };
    link.on_reply = [this, peer](std::string_view batch) { on_link_reply(peer, batch); };
    link.connect(ring.node(peer).host, ring.node(peer).bus_port);
  }
}

void Worker::bring_up(NodeIndex peer) {
  engine_->peer_up(peer, links_[peer.value].threads);
  // What it should have heard meanwhile of keys that were read here.
  if (!server_.holds_all()) invalidate_at(peer, {.reader = {}, .all = true});
  if (shard_.value == 0) {
    server_.identity().peer_up(peer);
    server_.ring_settings.peer_up(*this, peer);
  }
  send_batch(peer, {});  // its answer says whether the peer serves
}

// A peer that is down loses its link, which tells it so if it lives: others act without it from now
// on. The next link is used when the detector takes the peer back.
void Worker::peer_detected(NodeIndex peer) {
  if (peer.value >= links_.size()) return;  // not connected yet: on_up asks
  Link& l = links_[peer.value];
  const bool down = server_.membership()->down(peer);
  if (down == l.held) return;
  l.held = down;
  if (!l.link->up()) return;
  if (!down) return bring_up(peer);
  engine_->peer_down(peer);
  l.link->break_link("its peer is down");
}

// Requests do not wait for the detector: a link on which something is overdue is broken.
void Worker::watch_links(SteadyMs now) {
  for (std::size_t i = 0; i < links_.size(); ++i) {
    Link& l = links_[i];
    const NodeIndex peer{static_cast<std::uint16_t>(i)};
    if (!l.link) continue;
    const bool late = server_.membership()->silent(peer);
    if (loaded_)
      engine_->set_silent(peer, late || l.watch.late(now, server_.config().peer_timeout_min));
    if (!l.link->up()) continue;
    if (l.watch.overdue(now)) {
      LOG_NOTICE("%s is silent for more than %lld ms; its commands go elsewhere",
                 server_.ring().node(peer).name.c_str(),
                 static_cast<long long>(l.watch.give_up_ms()));
      l.link->break_link("silent");
      continue;
    }
    if (now - l.last_sent > (late ? late_ask_ms : idle_ask_ms)) send_batch(peer, {});
  }
}

void Worker::adopt_bus(int fd) {
  bus_->accept(fd);
}

void Worker::send_batch(NodeIndex peer, std::string_view messages) {
  Link& l = links_[peer.value];
  batch_.clear();
  put_header(batch_, header(false));
  batch_.append(messages);
  const std::size_t bytes = batch_.size();
  const bool sent = l.link->send_batch(batch_);
  clear_buffer(batch_);
  if (!sent) return l.link->break_link("too much waits to be sent");
  const SteadyMs now = now_ms();
  l.watch.sent(now);
  l.sent_wall.push_back(wall_ms());
  l.last_sent = now;
  metrics_.peer_batches_sent.add();
  metrics_.peer_bytes_sent.add(bytes);
  published_.inside.bus(peer).send(bytes, messages.empty());
}

void Worker::flush_peers() {
  if (links_.empty()) return;
  const SteadyMs now = now_ms();
  for (std::size_t i = 0; i < links_.size(); ++i) {
    Link& l = links_[i];
    const NodeIndex peer{static_cast<std::uint16_t>(i)};
    if (peer == server_.self()) continue;
    const bool waiting = !engine_->outbox_empty(peer);
    if (waiting && !l.answering.empty() && !engine_->wants_link(peer)) {
      batch_.clear();
      put_header(batch_, header(true));
      engine_->take_outbox(peer, Engine::Way::answer, batch_);
      BusConnection* to = l.answering.front();
      l.answering.erase(l.answering.begin());
      metrics_.peer_bytes_sent.add(batch_.size());
      published_.inside.bus(peer).send(batch_.size(), false);
      to->reply(batch_);
      clear_buffer(batch_);
    } else if (waiting && l.link->up()) {
      std::string messages;
      engine_->take_outbox(peer, Engine::Way::link, messages);
      send_batch(peer, messages);
    } else if (waiting && engine_->answers_bytes(peer) > answers_kept) {
      engine_->lose_answers(peer);  // its link, or ours, should have been back long ago
    }
    if (!l.answering.empty() && now >= l.answer_by) {
      batch_.clear();
      put_header(batch_, header(true));
      while (!l.answering.empty()) {
        BusConnection* to = l.answering.front();
        l.answering.erase(l.answering.begin());
        published_.inside.bus(peer).send(batch_.size(), true);
        to->reply(batch_);
      }
    }
  }
}

NodeIndex Worker::peer_of(BusConnection& c) const {
  const auto found = server_.ring().find(c.peer().node);
  GYRE_ASSERT(found.has_value());  // check_peer() refuses others
  return *found;
}

void Worker::on_bus_batch(BusConnection& from, std::string_view batch) {
  const NodeIndex peer = peer_of(from);
  if (from.peer().role == LinkRole::heartbeat)
    return server_.membership()->on_probe(*this, from, peer, batch);
  metrics_.peer_batches_received.add();
  metrics_.peer_bytes_received.add(batch.size());
  Link& l = links_[peer.value];
  if (!on_batch(peer, batch, 0)) return from.end("a batch that could not be read");
  published_.inside.bus(peer).receive(batch.size(), !batch_had_messages_);
  if (!batch_had_messages_) {
    l.answer_by = 0;  // a heartbeat: at once
  } else if (l.answering.empty()) {
    l.answer_by = now_ms() + answer_within_ms;
    if (!l.answer_timer) l.answer_timer = std::make_unique<Timer>(loop_);
    l.answer_timer->start(static_cast<std::uint64_t>(answer_within_ms), 0,
                          [this] { timer_ran_ = true; });
  }
  l.answering.push_back(&from);
}

void Worker::on_link_reply(NodeIndex peer, std::string_view batch) {
  metrics_.peer_bytes_received.add(batch.size());
  Link& l = links_[peer.value];
  l.watch.answered(now_ms());
  UnixMs sent = 0;
  if (!l.sent_wall.empty()) {
    sent = l.sent_wall.front();
    l.sent_wall.pop_front();
  }
  if (!on_batch(peer, batch, sent)) return l.link->break_link("a reply that could not be read");
  published_.inside.bus(peer).receive(batch.size(), !batch_had_messages_);
}

bool Worker::on_batch(NodeIndex peer, std::string_view batch, UnixMs sent_wall) {
  BatchReader reader(batch);
  BatchHeader h;
  if (!reader.header(h) || h.format != wire_format || h.ring_hash != server_.ring().content_hash())
    return false;
  if (sent_wall) engine_->peer_heard(peer, h, sent_wall);
  look_again();
  batch_had_messages_ = false;
  Envelope e;
  envelopes_.clear();
  while (reader.next(e)) {
    batch_had_messages_ = true;
    if (e.kind < Kind::end)
      published_.inside.kinds()[static_cast<std::size_t>(e.kind)].add(e.body.size());
    if (e.shard == shard_.value) {
      envelopes_.push_back(e);
    } else if (e.shard < server_.shards()) {
      const Kind kind = e.kind;
      send_mail({e.shard}, [peer, kind, shard = e.shard, body = std::string(e.body)](Worker& w) {
        w.engine_->on_message(peer, {kind, shard, body});
      });
    }
  }
  engine_->on_messages(peer, envelopes_);
  return reader.ok();
}

void Worker::node_message(NodeIndex peer, const Envelope& envelope) {
  if (envelope.kind == Kind::invalidate) {
    Invalidate m;
    if (decode_message(envelope, m)) return invalidated_elsewhere(m);
  }
  if (envelope.kind == Kind::channels_ask) {
    ChannelsAsk m;
    if (decode_message(envelope, m) && m.listening < listening_kinds)
      return ring_channels_.on_ask(peer, m);
  }
  if (envelope.kind == Kind::channels_answer) {
    ChannelsAnswer m;
    if (decode_message(envelope, m)) return ring_channels_.on_answer(peer, m);
  }
  if (shard_.value != 0) {
    LOG_SELDOM(warning, "a message of kind %d from %s came to the wrong thread; it is dropped",
               static_cast<int>(envelope.kind), server_.ring().node(peer).name.c_str());
    return;
  }
  if (envelope.kind == Kind::settings_told || envelope.kind == Kind::settings_taken)
    return server_.ring_settings.on_message(*this, peer, envelope);
  const auto send = [this](NodeIndex to, std::uint16_t shard, const IdentityMessage& m) {
    send_identity(to, shard, m);
  };
  server_.identity().on_message(peer, envelope, now_ms(), wall_ms(), send);
}

void Worker::send_identity(NodeIndex to, std::uint16_t shard, const IdentityMessage& message) {
  std::visit(
      [&](const auto& m) {
        if (is_answer(m.kind) || engine_->peer(to).up) engine_->send(to, shard, m);
      },
      message);
}

std::int64_t Worker::give_up_ms(NodeIndex peer) {
  return links_[peer.value].watch.give_up_ms();
}

}  // namespace gyre
