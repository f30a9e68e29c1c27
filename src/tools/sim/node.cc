#include "tools/sim/node.h"

#include <algorithm>

#include "base/hash.h"
#include "commands/table.h"
#include "ring/slot.h"
#include "shard/loader.h"
#include "shard/rows.h"

namespace gyre::sim {
namespace {

constexpr std::int64_t tick_ms = 20, heartbeat_ms = 100,
                       answer_within_ms = 10;  // as in server/worker.cc
constexpr std::int64_t peer_timeout_min = 50, peer_timeout_max = 300;
constexpr Us attempt_time = 1000 * ms, backoff_min = 50 * ms, backoff_max = 1000 * ms;
constexpr std::int64_t clock_ahead_ms = 1000;
constexpr std::int64_t clock_wait_ms = 5000;

NodeIndex index_of(NodeId n) {
  return {static_cast<std::uint16_t>(n)};
}

}  // namespace

SimNode::SimNode(World& world, Network& network, RingPtr ring, NodeId self, const Options& options,
                 Answer answer)
    : world_(world),
      network_(network),
      ring_(std::move(ring)),
      self_(self),
      name_(ring_->node(index_of(self)).name),
      options_(options),
      answer_(std::move(answer)),
      clock_(world) {
  network_.on_arrival(self_, [this](Arrival&& a) {
    if (!alive()) return false;
    inbox_.push_back(std::move(a));
    wake();
    return true;
  });
}

SimNode::~SimNode() = default;

std::uint16_t SimNode::clock_node() const {
  return static_cast<std::uint16_t>(ring_->node(index_of(self_)).index * 8);
}

// ---- the process

void SimNode::start(bool known) {
  ++life_;
  world_.log(name_ + " starts" + (known ? "" : ", may have lost something"));
  metrics_.reset();
  store_ = std::make_unique<MemoryStore>(disk_, 1, *this, options_.sync);
  space_ = std::make_unique<KeySpace>(KeySpaceOptions{
      .databases = 2, .persist = true, .keep_tombstones = true, .clock_node = clock_node()});
  random_ = std::make_unique<Random>(world_.random.next());
  links_.assign(ring_->nodes().size(), Link(LinkWatch(peer_timeout_min, peer_timeout_max)));
  EngineOptions options;
  options.self = index_of(self_);
  options.persist = true;
  options.write_level = options_.write_level;
  options.hints_max = options_.hints_max;
  engine_ = std::make_unique<Engine>(options, ring_, *space_, *this, clock_, *random_,
                                     command_options_, metrics_, *this);
  load();
  engine_->set_known(known);
  space_->clock().see(Version::at_ms(bound_));
  space_->clock().set_started(space_->clock().peek(clock_.wall_ms()));
  store_persisted_ = seen_persisted_ = 0;
  serving_ = false;
  last_tick_ = started_ = clock_.steady_ms();
  for (NodeId peer = 0; peer < links_.size(); ++peer) {
    if (peer != self_) later(world_.draw(0, 5 * ms), [this, peer] { attempt(peer); });
  }
  later(tick_ms * ms, [this] { timer_tick(); });
  if (options_.sync == SyncMode::everysec) later(second, [this] { sync_turn(); });
}

void SimNode::load() {
  Loader loader(*space_);
  RowReader reader(loader);
  Result<void> bad;
  const std::string hints_first(1, Hints::row_prefix);
  const auto check = [this](const Result<void>& r) {
    if (!r) world_.violation(name_, "recovery: " + std::string(r.error().text()));
  };
  check(store_->scan("", hints_first, [&](std::string_view key, std::string_view value) {
    bad = reader.row(key, value);
    return static_cast<bool>(bad);
  }));
  check(bad);
  reader.finish();
  check(store_->scan(hints_first, std::string(1, '\xff'),
                     [&](std::string_view key, std::string_view value) {
                       bad = engine_->hints().load_row(key, value);
                       return static_cast<bool>(bad);
                     }));
  check(bad);
}

void SimNode::kill(bool power) {
  world_.log(name_ + (power ? " loses power" : " is killed"));
  ++life_;
  network_.close_all_of(self_);
  engine_.reset();
  space_.reset();
  store_.reset();
  if (power) disk_.power_cut(world_.random.below(disk_.unsynced_writes() + 1));
  inbox_.clear();
  commands_.clear();
  bus_.clear();
  held_.clear();
  turn_due_ = disk_due_ = paused_ = false;
}

void SimNode::pause(bool on) {
  if (!alive() || paused_ == on) return;
  world_.log(name_ + (on ? " stands still" : " goes on"));
  paused_ = on;
  if (on) return;
  std::vector<std::function<void()>> held;
  held.swap(held_);
  for (auto& f : held) f();
}

void SimNode::later(Us delay, std::function<void()> f) {
  world_.after(delay, [this, life = life_, f = std::move(f)]() mutable {
    if (life != life_) return;
    if (paused_) {
      held_.push_back(std::move(f));
    } else {
      f();
    }
  });
}

void SimNode::wake() {
  if (turn_due_) return;
  turn_due_ = true;
  later(world_.draw(10, 150), [this] { turn(); });
}

void SimNode::turn() {
  turn_due_ = false;
  std::deque<Arrival> inbox;
  inbox.swap(inbox_);
  for (Arrival& a : inbox) arrived(std::move(a));
  std::deque<Command> commands;
  commands.swap(commands_);
  for (Command& c : commands) run(std::move(c));
  end_turn();
}

void SimNode::end_turn() {
  if (store_persisted_ > seen_persisted_) {
    seen_persisted_ = store_persisted_;
    engine_->persisted(store_persisted_);
  }
  engine_->end_turn();
  flush_peers();
}

void SimNode::timer_tick() {
  tick();
  end_turn();
  later(tick_ms * ms, [this] { timer_tick(); });
}

void SimNode::tick() {
  const SteadyMs now = clock_.steady_ms();
  const std::int64_t gap = now - last_tick_ - tick_ms;
  last_tick_ = now;
  if (gap > 30) {
    for (Link& l : links_) l.watch.excuse(gap);
  }
  engine_->tick(gap);
  for (NodeId peer = 0; peer < links_.size(); ++peer) {
    Link& l = links_[peer];
    if (l.state != LinkState::up) continue;
    if (l.watch.overdue(now)) {
      fail_link(peer, "silent");
      continue;
    }
    if (now - l.last_sent > heartbeat_ms) send_batch(peer, {});
  }
  // The bound of the clock, and whether this node may serve (server/server.cc).
  if (clock_.wall_ms() + clock_ahead_ms / 2 > bound_) bound_ = clock_.wall_ms() + clock_ahead_ms;
  if (serving_) return;
  std::size_t up = 1;
  for (NodeId peer = 0; peer < links_.size(); ++peer) up += engine_->peer(index_of(peer)).up;
  const bool clocks = up >= links_.size() / 2 + 1 || now - started_ > clock_wait_ms;
  if (clocks && space_->clock().peek(0).ms() <= clock_.wall_ms() + 100) {
    serving_ = true;
    engine_->set_serving(true);
    world_.log(name_ + " serves");
  }
}

// ---- the disk

bool SimNode::store(std::uint64_t turn, StoreBatch&& rows) {
  if (!store_->submit({0}, turn, std::move(rows))) return false;
  if (!disk_due_) {
    disk_due_ = true;
    later(world_.draw(disk_low_, disk_high_), [this] { disk_turn(); });
  }
  return true;
}

void SimNode::disk_turn() {
  disk_due_ = false;
  store_->step();
  wake();
}

void SimNode::sync_turn() {
  store_->sync();
  later(second, [this] { sync_turn(); });
}

// ---- clients

void SimNode::command(Command&& c) {
  GYRE_ASSERT(alive());
  commands_.push_back(std::move(c));
  wake();
}

void SimNode::run(Command&& c) {
  const std::vector<std::string_view> args(c.args.begin(), c.args.end());
  const Ticket ticket{.connection = c.connection, .id = c.id};
  if (c.flush) {
    WalkRequest walk;
    walk.ticket = ticket;
    walk.what = WalkKind::flush;
    walk.all_dbs = true;
    walk.write_level = c.levels.write;
    return engine_->walk(std::move(walk));
  }
  const CommandSpec* spec = find_command(Args(args));
  GYRE_ASSERT(spec && spec->run && arity_ok(*spec, args.size()));
  Engine::Job job;
  job.ticket = ticket;
  job.slot = key_slot(args[1]);
  job.levels = c.levels;
  std::string out;
  std::uint64_t gate = 0;
  switch (engine_->run({spec, Args(args), {0}}, job, out, gate)) {
    case Ran::done:
      answer(ticket, std::move(out));
      break;
    case Ran::gated:
      GYRE_ASSERT(false);
      break;
    case Ran::pending:
      break;
  }
}

void SimNode::answer(const Ticket& ticket, std::string&& reply) {
  answer_(ticket.id, std::move(reply));
}

void SimNode::walked(const Ticket& ticket, WalkResult&& result) {
  answer_(ticket.id, result.failed ? "-NOQUORUM a flush did not reach its level\r\n" : "+OK\r\n");
}

std::string SimNode::read(const std::vector<std::string>& words) {
  const std::vector<std::string_view> args(words.begin(), words.end());
  std::string out;
  if (!engine_->read_local({find_command(Args(args)), Args(args), {0}}, key_slot(args[1]), 2, out))
    return "(holds no such slot)";
  return out;
}

bool SimNode::quiet() const {
  return engine_->operations_waiting() == 0 && engine_->hints().pending() == 0 &&
         engine_->hints().marks_total() == 0;
}

bool SimNode::links_up() const {
  for (NodeId peer = 0; peer < links_.size(); ++peer) {
    if (peer != self_ && links_[peer].state != LinkState::up) return false;
  }
  return true;
}

// ---- links to peers

void SimNode::attempt(NodeId peer) {
  Link& l = links_[peer];
  l.state = LinkState::connecting;
  l.connection = network_.open(self_, peer);
  const std::uint64_t number = ++l.attempt;
  later(attempt_time, [this, peer, number] {
    if (links_[peer].attempt == number && links_[peer].state == LinkState::connecting)
      fail_link(peer, "no connection in time");
  });
}

void SimNode::fail_link(NodeId peer, const char* why) {
  Link& l = links_[peer];
  if (l.state == LinkState::waiting) return;
  if (l.state == LinkState::up)
    world_.log(name_ + " loses its link to " + ring_->node(index_of(peer)).name + ": " + why);
  const bool told_up = std::exchange(l.told_up, false);
  l.state = LinkState::waiting;
  network_.close(l.connection, true);
  l.connection = 0;
  ++l.attempt;
  later(0, [this, peer, told_up] {
    Link& link = links_[peer];
    if (told_up) {
      metrics_.links_broken.add();
      link.watch.reset();
      link.sent_wall.clear();
      engine_->peer_down(index_of(peer));
      end_turn();
    }
    link.backoff = std::clamp(link.backoff * 2, backoff_min * 2, backoff_max);
    later(link.backoff / 2 + world_.draw(0, link.backoff / 2), [this, peer] { attempt(peer); });
  });
}

void SimNode::arrived(Arrival&& a) {
  Link& l = links_[a.from];
  if (a.owner) {
    if (l.connection != a.connection || l.state == LinkState::waiting) return;
    switch (a.packet) {
      case Packet::hello_answer:
        return network_.send(a.connection, true, Packet::auth, {});
      case Packet::auth_answer: {
        l.state = LinkState::up;
        l.backoff = 0;
        l.told_up = true;
        l.watch.reset();
        l.sent_wall.clear();
        engine_->peer_up(index_of(a.from), 1);
        return send_batch(a.from, {});
      }
      case Packet::batch: {
        l.watch.answered(clock_.steady_ms());
        UnixMs sent = 0;
        if (!l.sent_wall.empty()) {
          sent = l.sent_wall.front();
          l.sent_wall.pop_front();
        }
        if (!on_batch(a.from, a.bytes, sent))
          world_.violation(name_, "a reply that could not be read");
        return;
      }
      default:
        return fail_link(a.from, "the connection was closed");
    }
  }
  switch (a.packet) {
    case Packet::hello:
      return network_.send(a.connection, false, Packet::hello_answer, {});
    case Packet::auth:
      bus_[a.connection] = a.from;
      return network_.send(a.connection, false, Packet::auth_answer, {});
    case Packet::batch: {
      if (!bus_.contains(a.connection)) return;
      if (!on_batch(a.from, a.bytes, 0)) world_.violation(name_, "a batch that could not be read");
      if (l.answering.empty()) {
        l.answer_by = clock_.steady_ms() + answer_within_ms;
        later(answer_within_ms * ms, [this] { end_turn(); });
      }
      l.answering.push_back(a.connection);
      if (!batch_had_messages_) l.answer_by = 0;
      return;
    }
    default:
      if (bus_.erase(a.connection)) engine_->peer_doubts(index_of(a.from));
      for (Link& link : links_) std::erase(link.answering, a.connection);
  }
}

BatchHeader SimNode::header(bool answers) const {
  BatchHeader h;
  h.epoch = ring_->epoch();
  h.ring_hash = ring_->content_hash();
  h.wall_ms = clock_.wall_ms();
  h.threads = 1;
  h.serving = serving_;
  h.answers = answers;
  return h;
}

void SimNode::send_batch(NodeId peer, std::string_view messages) {
  Link& l = links_[peer];
  std::string batch;
  put_header(batch, header(false));
  batch.append(messages);
  network_.send(l.connection, true, Packet::batch, std::move(batch));
  l.watch.sent(clock_.steady_ms());
  l.sent_wall.push_back(clock_.wall_ms());
  l.last_sent = clock_.steady_ms();
}

void SimNode::flush_peers() {
  const SteadyMs now = clock_.steady_ms();
  for (NodeId peer = 0; peer < links_.size(); ++peer) {
    if (peer == self_) continue;
    Link& l = links_[peer];
    const bool waiting = !engine_->outbox_empty(index_of(peer));
    const auto reply = [&](std::string_view messages) {
      std::string batch;
      put_header(batch, header(true));
      batch.append(messages);
      network_.send(l.answering.front(), false, Packet::batch, std::move(batch));
      l.answering.erase(l.answering.begin());
    };
    std::string messages;
    if (waiting && !l.answering.empty()) {
      engine_->take_outbox(index_of(peer), messages);
      reply(messages);
    } else if (waiting && l.state == LinkState::up) {
      engine_->take_outbox(index_of(peer), messages);
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

bool SimNode::on_batch(NodeId peer, std::string_view batch, UnixMs sent_wall) {
  BatchReader reader(batch);
  BatchHeader h;
  if (!reader.header(h) || h.format != wire_format || h.ring_hash != ring_->content_hash())
    return false;
  if (sent_wall) engine_->peer_heard(index_of(peer), h, sent_wall);
  batch_had_messages_ = false;
  Envelope e;
  while (reader.next(e)) {
    batch_had_messages_ = true;
    engine_->on_message(index_of(peer), e);
  }
  return reader.ok();
}

}  // namespace gyre::sim
