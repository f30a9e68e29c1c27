#include "tools/sim/worker.h"

#include <algorithm>

#include "base/hash.h"
#include "commands/table.h"
#include "ring/slot.h"
#include "tools/sim/heart.h"

namespace gyre::sim {
namespace {

constexpr std::int64_t tick_ms = 20, idle_ask_ms = 500, late_ask_ms = 100,
                       answer_within_ms = 10;  // as in server/worker.cc and worker_peers.cc
constexpr std::int64_t peer_timeout_min = 50, peer_timeout_max = 300;
constexpr Us attempt_time = 1000 * ms, backoff_min = 50 * ms, backoff_max = 1000 * ms;

NodeIndex index_of(NodeId n) {
  return {static_cast<std::uint16_t>(n)};
}

// The part of the window that a thread has.
SlotWindow part_of(const SlotWindow& window, std::size_t shard, std::size_t shards) {
  const auto first = static_cast<std::uint16_t>((shard * slots_total + shards - 1) / shards);
  const auto end = static_cast<std::uint32_t>(((shard + 1) * slots_total + shards - 1) / shards);
  const std::uint16_t from = std::max(first, window.first);
  const std::uint32_t to = std::min<std::uint32_t>(end, window.first + window.count);
  // One of three threads has the whole window, the others nothing.
  if (to <= from) return {first, 0};
  return {from, static_cast<std::uint16_t>(to - from)};
}

// Messages that say the same thing twice, and in any order.
bool may_repeat(Kind k) {
  switch (k) {
    case Kind::effects:
    case Kind::effects_ack:
    case Kind::repair:
    case Kind::repair_ack:
    case Kind::compare:
    case Kind::compare_answer:
    case Kind::fetch_many:
    case Kind::fetch_many_answer:
      return true;
    default:
      return false;
  }
}

}  // namespace

SimWorker::SimWorker(SimNode& node, std::uint16_t shard) : node_(node), shard_(shard) {
  const SimNode::Options& o = node_.options_;
  const SlotWindow part = part_of(o.window, shard, o.shards);
  space_ = std::make_unique<KeySpace>(
      KeySpaceOptions{.first = {part.first},
                      .slots = part.count,
                      .databases = o.databases,
                      .persist = true,
                      .keep_tombstones = true,
                      .clock_node = node_.identity_->clock_node(),
                      .stub_grace_ms = 2 * EngineOptions{}.max_skew_ms + peer_timeout_max,
                      .sum_life_ms = 20'000});
  random_ = std::make_unique<Random>(node_.world_.random.next());
  links_.assign(node_.ring_->nodes().size(), Link(LinkWatch(peer_timeout_min, peer_timeout_max)));
  EngineOptions options;
  options.self = index_of(node_.self_);
  options.shard = {shard};
  options.shards = o.shards;
  options.persist = true;
  options.write_level = o.write_level;
  options.hints_max = o.hints_max;
  options.hints_age_ms = o.hints_age_ms;
  options.watch = node_.watch_;
  engine_ = std::make_unique<Engine>(options, node_.ring_, *space_, *this, node_.time(), *random_,
                                     node_.command_options_, node_.metrics_, *this);
}

SimWorker::~SimWorker() = default;

KeySpace& SimWorker::of(Slot slot) {
  return node_.worker_of(slot).space();
}

void SimWorker::begin() {
  last_tick_ = alive_at_ = node_.time().steady_ms();
  for (NodeId peer = 0; peer < links_.size(); ++peer) {
    if (peer != node_.self_)
      node_.later(node_.world_.draw(0, 5 * ms), [this, peer] { attempt(peer); });
  }
  node_.later(tick_ms * ms, [this] { timer_tick(); });
}

void SimWorker::wake() {
  if (turn_due_) return;
  turn_due_ = true;
  node_.later(node_.world_.draw(10, 150), [this] { turn(); });
}

void SimWorker::arrived(Arrival&& a) {
  inbox_.push_back(std::move(a));
  wake();
}

void SimWorker::command(Command&& c) {
  commands_.push_back(std::move(c));
  wake();
}

void SimWorker::mail(std::function<void()> task) {
  mail_.push_back(std::move(task));
  wake();
}

// ---- the turn

// A loop that stood still may have been bypassed: known before any command runs.
void SimWorker::notice_standstill() {
  const SteadyMs now = node_.time().steady_ms();
  if (now - alive_at_ > tick_ms + peer_timeout_min) {
    engine_->stood_still();
    for (Link& l : links_) l.watch.excuse(now - alive_at_);
  }
}

void SimWorker::turn() {
  turn_due_ = false;
  notice_standstill();
  std::deque<Arrival> inbox;
  inbox.swap(inbox_);
  if (shard_ == 0) node_.heart_->turn();
  for (Arrival& a : inbox) take(std::move(a));
  std::deque<Command> commands;
  commands.swap(commands_);
  run_some(std::move(commands));
}

void SimWorker::run_some(std::deque<Command>&& commands) {
  std::size_t before_stall = commands.size();
  if (node_.slow_turn_ > 0 && !commands.empty())
    before_stall = node_.world_.random.below(commands.size() + 1);
  for (std::size_t i = 0; i < before_stall; ++i) {
    run(std::move(commands.front()));
    commands.pop_front();
  }
  if (node_.slow_turn_ > 0 && before_stall + commands.size() > 0) {
    const Us time = std::exchange(node_.slow_turn_, 0);
    node_.stall(time, [this, rest = std::move(commands)]() mutable { run_some(std::move(rest)); });
    return;
  }
  std::vector<std::function<void()>> mail;
  mail.swap(mail_);
  for (auto& task : mail) task();
  end_turn();
}

void SimWorker::end_turn() {
  engine_->store_failing(disk_failing);
  if (store_persisted > seen_persisted_) {
    seen_persisted_ = store_persisted;
    engine_->persisted(store_persisted);
  }
  engine_->end_turn();
  flush_peers();
  alive_at_ = node_.time().steady_ms();
}

void SimWorker::timer_tick() {
  tick();
  end_turn();
  node_.later(tick_ms * ms, [this] { timer_tick(); });
}

void SimWorker::tick() {
  const SteadyMs now = node_.time().steady_ms();
  const std::int64_t gap = now - last_tick_ - tick_ms;
  last_tick_ = now;
  if (gap > 30) {
    for (Link& l : links_) l.watch.excuse(gap);
    if (gap > peer_timeout_min) engine_->stood_still();
  }
  engine_->tick(0);
  for (NodeId peer = 0; peer < links_.size(); ++peer) {
    Link& l = links_[peer];
    if (peer == node_.self_) continue;
    const bool late = node_.heart_->silent(peer);
    engine_->set_silent(index_of(peer), late || l.watch.late(now, peer_timeout_min));
    if (l.state != LinkState::up) continue;
    if (l.watch.overdue(now)) {
      fail_link(peer, "silent");
      continue;
    }
    if (now - l.last_sent > (late ? late_ask_ms : idle_ask_ms)) send_batch(peer, {});
  }
  if (shard_ == 0) node_.tick();
}

bool SimWorker::store(std::uint64_t turn, StoreBatch&& rows) {
  return node_.submit({shard_}, turn, std::move(rows));
}

// ---- clients

void SimWorker::run(Command&& c) {
  const Ticket ticket{.shard = shard_, .connection = c.connection, .id = c.id};
  Request request;
  request.ticket = ticket;
  request.levels = c.levels;
  request.exec = c.exec;
  request.watches = c.watches;
  for (const auto& words : c.commands) {
    const std::vector<std::string_view> args(words.begin(), words.end());
    const CommandSpec* spec = find_command(Args(args));
    GYRE_ASSERT(spec && spec->run && arity_ok(*spec, args.size()));
    request.commands.emplace_back(*spec, c.db, Args(args));
  }
  bool found = false, several = false;
  const auto of = [&](std::string_view key) {
    const Slot slot = key_slot(key);
    several |= found && slot != request.slot;
    request.slot = slot;
    found = true;
  };
  for (const OwnedCommand& command : request.commands)
    for_each_key(command.spec(), command.args(), [&](std::size_t i) { of(command.args()[i]); });
  for (const Watch& watch : request.watches) of(watch.key);
  GYRE_ASSERT(found);
  if (several) return engine_->transact(std::move(request));
  const std::size_t owner = node_.shard_of(request.slot);
  if (owner != shard_) {
    SimWorker* to = &node_.worker(owner);
    auto shared = std::make_shared<Request>(std::move(request));
    return to->mail([to, shared] { to->engine().submit(std::move(*shared)); });
  }
  if (c.exec) return engine_->submit(std::move(request));
  Engine::Job job;
  job.ticket = ticket;
  job.slot = request.slot;
  job.levels = c.levels;
  std::string out;
  std::uint64_t gate = 0;
  const OwnedCommand& command = request.commands[0];
  switch (engine_->run({&command.spec(), command.args(), command.db()}, job, out, gate)) {
    case Ran::done:
      answer(ticket, std::move(out));
      break;
    case Ran::gated:
      GYRE_ASSERT(false);
      break;
    case Ran::pending:
    case Ran::parked:
      break;
  }
}

void SimWorker::submit_anywhere(Request&& request, std::function<void(std::string&&)> done) {
  request.ticket = {.shard = shard_, .id = next_callback_};
  callbacks_.emplace(next_callback_++, std::move(done));
  SimWorker* to = &node_.worker_of(request.slot);
  if (to == this) return engine_->submit(std::move(request));
  auto shared = std::make_shared<Request>(std::move(request));
  to->mail([to, shared] { to->engine().submit(std::move(*shared)); });
}

void SimWorker::answer(const Ticket& ticket, std::string&& reply) {
  if (ticket.connection == 0) {
    SimWorker* to = &node_.worker(ticket.shard);
    if (to != this) {
      return to->mail([to, ticket, reply = std::move(reply)]() mutable {
        to->answer(ticket, std::move(reply));
      });
    }
    auto done = callbacks_.extract(ticket.id);
    if (!done.empty()) done.mapped()(std::move(reply));
    return;
  }
  node_.answer_(ticket.id, std::move(reply));
}

void SimWorker::walked(const Ticket& ticket, WalkResult&& part) {
  const auto at = node_.walks_.find(ticket.id);
  if (at == node_.walks_.end()) return;
  SimNode::WalkJoin& join = at->second;
  WalkResult& all = join.all;
  all.failed |= part.failed;
  all.count += part.count;
  // The first thread with something left says where SCAN goes on; what lies behind comes again.
  if (part.next != 0 && (all.next == 0 || part.next < all.next)) all.next = part.next;
  all.keys.insert(all.keys.end(), part.keys.begin(), part.keys.end());
  if (--join.left > 0) return;
  std::string reply;
  if (all.failed) {
    reply = join.what == WalkKind::flush ? "-NOQUORUM a flush did not reach its level\r\n"
                                         : "-RINGDOWN a part did not answer\r\n";
  } else if (join.what == WalkKind::flush) {
    reply = "+OK\r\n";
  } else if (join.what == WalkKind::count) {
    reply = ":" + std::to_string(all.count) + "\r\n";
  } else {
    const bool scan = join.what == WalkKind::scan;
    std::vector<std::string> words;
    if (scan) words.push_back(std::to_string(all.next));
    words.insert(words.end(), all.keys.begin(), all.keys.end());
    reply = "*" + std::to_string(words.size()) + "\r\n";
    for (const auto& w : words) reply += "$" + std::to_string(w.size()) + "\r\n" + w + "\r\n";
  }
  const std::uint64_t id = ticket.id;
  node_.walks_.erase(at);
  node_.answer_(id, std::move(reply));
}

void SimWorker::node_message(NodeIndex peer, const Envelope& envelope) {
  GYRE_ASSERT(shard_ == 0);
  node_.identity_->on_message(peer, envelope, node_.time().steady_ms(), node_.time().wall_ms(),
                              [this](NodeIndex to, std::uint16_t shard, const IdentityMessage& m) {
                                node_.send_identity(to, shard, m);
                              });
}

// ---- links to peers

bool SimWorker::links_up() const {
  for (NodeId peer = 0; peer < links_.size(); ++peer) {
    if (peer != node_.self_ && !links_[peer].told_up) return false;
  }
  return true;
}

void SimWorker::attempt(NodeId peer) {
  Link& l = links_[peer];
  l.state = LinkState::connecting;
  l.connection = node_.network_.open(node_.self_, peer);
  node_.thread_of_[l.connection] = shard_;
  const std::uint64_t number = ++l.attempt;
  node_.later(attempt_time, [this, peer, number] {
    if (links_[peer].attempt == number && links_[peer].state == LinkState::connecting)
      fail_link(peer, "no connection in time");
  });
}

void SimWorker::bring_up(NodeId peer) {
  links_[peer].told_up = true;
  engine_->peer_up(index_of(peer), node_.options_.threads[peer]);
  if (shard_ == 0) node_.identity_->peer_up(index_of(peer));
  send_batch(peer, {});
}

void SimWorker::peer_detected(NodeIndex peer) {
  Link& l = links_[peer.value];
  const bool down = node_.heart_->vitals().detector().down(peer);
  if (l.state != LinkState::up || down != l.told_up) return;
  if (!down) return bring_up(peer.value);
  l.told_up = false;
  engine_->peer_down(peer);
  fail_link(peer.value, "the peer is down");
}

void SimWorker::fail_link(NodeId peer, const char* why) {
  Link& l = links_[peer];
  if (l.state == LinkState::waiting) return;
  if (l.state == LinkState::up)
    node_.world_.log(node_.name_ + " loses its link to " + node_.ring_->node(index_of(peer)).name +
                     ": " + why);
  const bool told_up = std::exchange(l.told_up, false);
  l.state = LinkState::waiting;
  node_.network_.close(l.connection, true);
  node_.thread_of_.erase(l.connection);
  l.connection = 0;
  ++l.attempt;
  node_.later(0, [this, peer, told_up] {
    Link& link = links_[peer];
    if (told_up) {
      node_.metrics_.links_broken.add();
      link.watch.reset();
      link.sent_wall.clear();
      engine_->peer_down(index_of(peer));
      end_turn();
    }
    link.backoff = std::clamp(link.backoff * 2, backoff_min * 2, backoff_max);
    node_.later(link.backoff / 2 + node_.world_.draw(0, link.backoff / 2),
                [this, peer] { attempt(peer); });
  });
}

void SimWorker::take(Arrival&& a) {
  Link& l = links_[a.from];
  Network& network = node_.network_;
  if (a.owner) {
    if (l.connection != a.connection || l.state == LinkState::waiting) return;
    switch (a.packet) {
      case Packet::hello_answer:
        return network.send(a.connection, true, Packet::auth, {});
      case Packet::auth_answer: {
        l.state = LinkState::up;
        l.backoff = 0;
        l.watch.reset();
        l.sent_wall.clear();
        node_.heart_->vitals().detector().connected(index_of(a.from), node_.time().steady_ms());
        if (!node_.heart_->vitals().detector().down(index_of(a.from))) bring_up(a.from);
        return;
      }
      case Packet::batch: {
        l.watch.answered(node_.time().steady_ms());
        UnixMs sent = 0;
        if (!l.sent_wall.empty()) {
          sent = l.sent_wall.front();
          l.sent_wall.pop_front();
        }
        if (!on_batch(a.from, a.bytes, sent))
          node_.world_.violation(node_.name_, "a reply that could not be read");
        return;
      }
      default:
        return fail_link(a.from, "the connection was closed");
    }
  }
  switch (a.packet) {
    case Packet::hello:
      return network.send(a.connection, false, Packet::hello_answer, {});
    case Packet::auth:
      bus_[a.connection] = a.from;
      return network.send(a.connection, false, Packet::auth_answer, {});
    case Packet::batch: {
      if (!bus_.contains(a.connection)) return;
      if (!on_batch(a.from, a.bytes, 0))
        node_.world_.violation(node_.name_, "a batch that could not be read");
      if (l.answering.empty()) {
        l.answer_by = node_.time().steady_ms() + answer_within_ms;
        node_.later(answer_within_ms * ms, [this] { end_turn(); });
      }
      l.answering.push_back(a.connection);
      if (!batch_had_messages_) l.answer_by = 0;
      return;
    }
    default:
      node_.thread_of_.erase(a.connection);
      if (bus_.erase(a.connection)) {
        for (auto& w : node_.workers_) {
          if (w.get() == this)
            engine_->peer_doubts(index_of(a.from));
          else
            w->mail(
                [other = w.get(), from = a.from] { other->engine().peer_doubts(index_of(from)); });
        }
      }
      for (Link& link : links_) std::erase(link.answering, a.connection);
  }
}

void SimWorker::send_batch(NodeId peer, std::string_view messages) {
  Link& l = links_[peer];
  std::string batch;
  put_header(batch, node_.header(false));
  batch.append(messages);
  node_.network_.send(l.connection, true, Packet::batch, std::move(batch));
  l.watch.sent(node_.time().steady_ms());
  l.sent_wall.push_back(node_.time().wall_ms());
  l.last_sent = node_.time().steady_ms();
}

void SimWorker::flush_peers() {
  const SteadyMs now = node_.time().steady_ms();
  for (NodeId peer = 0; peer < links_.size(); ++peer) {
    if (peer == node_.self_) continue;
    Link& l = links_[peer];
    const bool waiting = !engine_->outbox_empty(index_of(peer));
    const auto reply = [&](std::string_view messages) {
      std::string batch;
      put_header(batch, node_.header(true));
      batch.append(messages);
      node_.network_.send(l.answering.front(), false, Packet::batch, std::move(batch));
      l.answering.erase(l.answering.begin());
    };
    std::string messages;
    if (waiting && !l.answering.empty() && !engine_->wants_link(index_of(peer))) {
      engine_->take_outbox(index_of(peer), Engine::Way::answer, messages);
      reply(messages);
    } else if (waiting && l.state == LinkState::up) {
      engine_->take_outbox(index_of(peer), Engine::Way::link, messages);
      send_batch(peer, messages);
    } else if (waiting && std::none_of(bus_.begin(), bus_.end(),
                                       [&](const auto& b) { return b.second == peer; })) {
      engine_->lose_answers(index_of(peer));
    }
    if (!l.answering.empty() && now >= l.answer_by) {
      while (!l.answering.empty()) reply({});
    }
  }
}

bool SimWorker::on_batch(NodeId peer, std::string_view batch, UnixMs sent_wall) {
  BatchReader reader(batch);
  BatchHeader h;
  if (!reader.header(h) || h.format != wire_format || h.ring_hash != node_.ring_->content_hash())
    return false;
  if (sent_wall) engine_->peer_heard(index_of(peer), h, sent_wall);
  batch_had_messages_ = false;
  Envelope e;
  while (reader.next(e)) {
    batch_had_messages_ = true;
    if (e.shard >= node_.options_.shards) continue;
    World& world = node_.world_;
    const bool odd =
        node_.options_.reorder > 0 && may_repeat(e.kind) && world.chance(node_.options_.reorder);
    if (odd) {
      // Once more later, or later alone.
      SimWorker* to = &node_.worker(e.shard);
      node_.later(world.draw(1, 500 * ms),
                  [to, peer, kind = e.kind, shard = e.shard, body = std::string(e.body)] {
                    to->mail([to, peer, kind, shard, body] {
                      Envelope again;
                      again.kind = kind;
                      again.shard = shard;
                      again.body = body;
                      to->engine().on_message(index_of(peer), again);
                    });
                  });
      if (world.chance(0.5)) continue;
    }
    deliver(peer, e);
  }
  return reader.ok();
}

void SimWorker::deliver(NodeId peer, const Envelope& e) {
  if (e.shard == shard_) return engine_->on_message(index_of(peer), e);
  SimWorker* to = &node_.worker(e.shard);
  to->mail([to, peer, kind = e.kind, shard = e.shard, body = std::string(e.body)] {
    Envelope m;
    m.kind = kind;
    m.shard = shard;
    m.body = body;
    to->engine().on_message(index_of(peer), m);
  });
}

}  // namespace gyre::sim
