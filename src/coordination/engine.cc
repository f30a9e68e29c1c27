// Routing and execution: who acts for a slot, and what happens when it is this node.
//
// Happy path of act(): not late, slot sure -> run -> effects are in the open turn -> pending until
// the turn's replicas have them. Otherwise: the slot has a gather out: wait behind it; it is
// unsure, or a read asks for more than one replica: gather first; fewer replicas up than the level
// needs: refuse before anything is stored.

#include "coordination/engine.h"

#include <algorithm>

#include "base/hash.h"
#include "base/log.h"
#include "base/probe.h"
#include "ring/slot.h"
#include "shard/script.h"

namespace gyre {

Engine::Engine(const EngineOptions& options, std::shared_ptr<const Ring> ring, KeySpace& space,
               KeySpaces& spaces, const Clock& clock, Random& random,
               const CommandOptions& command_options, Metrics& metrics, EngineHost& host)
    : options_(options),
      ring_(std::move(ring)),
      space_(space),
      spaces_(spaces),
      clock_(clock),
      random_(random),
      command_options_(command_options),
      metrics_(metrics),
      host_(host),
      n_(ring_->replication_factor()),
      alone_(ring_->nodes().size() == 1),
      slots_(space.slot_count()),
      peers_(ring_->nodes().size()),
      hints_(Hints::Options{.nodes = ring_->nodes().size(),
                            .hints_max = options.hints_max,
                            .age_max_ms = options.hints_age_ms,
                            .persist = options.persist}),
      sync_({.self = options.self,
             .shard = options.shard,
             .max_skew_ms = options.max_skew_ms,
             .interval_ms = options.sync_interval_ms},
            ring_->nodes().size(), space, clock, metrics, *this, random.next() >> 24),
      rounds_({.self = options.self,
               .shard = options.shard,
               .margin_ms = std::max(2 * options.max_skew_ms, std::int64_t{2000})},
              sync_, space, clock, metrics, *this, random.next() >> 24),
      evictor_(space, random),
      defrag_(space),
      turn_base_(random.next() >> 24),
      next_id_(random.next() >> 24),
      inquiries_(options.self, options.shard, space, clock, *this,
                 next_id_ | std::uint64_t{1} << 50),  // beside the ids of others
      holds_(*this, options.self, space, clock, metrics),
      transactions_(*this, holds_, space, options.shard, n_, clock, random, command_options,
                    metrics),
      waiters_(*this, options.self, options.shard, space, clock, metrics) {
  space_.access().set(clock.wall_ms(), command_options.memory.access);
  if (alone_) {
    for (SlotState& s : slots_) s.acting = true;
  }
  // With one replica there is nobody to compare with.
  if (n_ == 1) {
    for (SlotState& s : slots_) s.sure = s.known = true;
  }
}

void Engine::set_serving(bool serving) {
  serving_ = serving;
  if (alone_ || !serving) return;
  // The slots it is first for: their comparisons begin now rather than with the first command.
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    if (ring_->replicas(slot).front() == options_.self) begin_acting(slot);
  }
}

void Engine::set_known(bool known) {
  if (n_ == 1) return;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    if (!holds(slot)) continue;
    // Durable: a copy that is refilled is not whole after a crash in the middle either.
    if (!known) space_.set_partial(slot, true);
    slots_[i].known = known && !space_.agreement(slot).partial;
  }
}

int Engine::replica_index(Slot slot, NodeIndex node) const {
  const auto replicas = ring_->replicas(slot);
  for (std::size_t i = 0; i < replicas.size(); ++i) {
    if (replicas[i] == node) return static_cast<int>(i);
  }
  return -1;
}

// The first of the preference list that nothing speaks against; else the first whose clock is off,
// because somebody has to; else one whose disk fails, which still reads, and this node before it
// asks others.
NodeIndex Engine::acting_node(Slot slot) const {
  const auto replicas = ring_->replicas(slot);
  for (const NodeIndex n : replicas) {
    if (against(n) == 0) return n;
  }
  for (const NodeIndex n : replicas) {
    if (against(n) == unfit_clock) return n;
  }
  if (serving_ && holds(slot)) return options_.self;
  for (const NodeIndex n : replicas) {
    if (against(n) < absent) return n;
  }
  return {static_cast<std::uint16_t>(peers_.size())};
}

int Engine::replicas_up(Slot slot) const {
  int up = 0;
  for (const NodeIndex n : ring_->replicas(slot)) {
    const PeerView& v = peers_[n.value].view;
    up += n == options_.self ? !disk_failing_ : v.up && !(v.unfit & unfit_disk);
  }
  return up;
}

std::uint16_t Engine::shard_at(NodeIndex peer, Slot slot) const {
  const std::size_t threads = peers_[peer.value].view.threads;
  return static_cast<std::uint16_t>(slot.value * threads / slots_total);
}

bool Engine::blind(const CommandView& c) {
  return (c.spec->flags & flag::blind) &&
         (c.spec->arity > 0 || c.args.size() == 3 || c.spec->scatter == Scatter::all_ok);
}

// ---- entering

Ran Engine::run(const CommandView& command, const Job& job, std::string& out, std::uint64_t& gate) {
  const std::span<const CommandView> one(&command, 1);
  if (alone_) return execute(one, job, out, gate, false);
  if (job.tracking.remembers) [[unlikely]]
    expect_reads(*command.spec, command.args, command.db, job.tracking);
  const NodeIndex acting = acting_node(job.slot);
  if (acting == options_.self) return act(one, job, out, gate);
  route(request_of(one, job));
  return Ran::pending;
}

void Engine::submit(Request&& request) {
  if (!alone_ && request.tracking.remembers) [[unlikely]] {
    for (const OwnedCommand& c : request.commands)
      expect_reads(c.spec(), c.args(), c.db(), request.tracking);
  }
  if (alone_ || acting_node(request.slot) == options_.self) return act_request(std::move(request));
  route(std::move(request));
}

OwnedCommand Engine::owned(const CommandView& view) {
  OwnedCommand command(*view.spec, view.db, view.args);
  if (view.rights) command.rights = view.rights->shared_from_this();
  return command;
}

Request Engine::request_of(std::span<const CommandView> commands, const Job& job) const {
  Request r;
  r.ticket = job.ticket;
  r.slot = job.slot;
  r.protocol = job.protocol;
  r.levels = job.levels;
  r.exec = job.exec;
  r.ceiling = job.ceiling;
  r.above = job.above;
  r.begun = job.begun;
  r.wait = job.wait;
  r.waited = job.waited;
  r.spans = job.spans;
  r.tracking = job.tracking;
  r.watches.assign(job.watches.begin(), job.watches.end());
  r.commands.reserve(commands.size());
  for (const CommandView& c : commands) r.commands.push_back(owned(c));
  return r;
}

void Engine::act_request(Request&& request, const Known& known) {
  if (held_) [[unlikely]] {
    if (busy_script_) return deliver_error(request.ticket, Errc::busy);
    held_requests_.push_back(std::move(request));
    return;
  }
  if (!request.runs_script()) return act_now(std::move(request), known);
  auto kept = std::make_shared<Request>(std::move(request));
  host_.apart([this, kept] { act_now(std::move(*kept), Known()); });
}

Engine::Job Engine::job_of(const Request& request, const Known& known) {
  return {.ticket = request.ticket,
          .slot = request.slot,
          .hash = known.hash,
          .hash_known = known.known,
          .protocol = request.protocol,
          .levels = request.levels,
          .exec = request.exec,
          .ceiling = request.ceiling,
          .above = request.above,
          .now = known.now,
          .begun = request.begun,
          .wait = request.wait,
          .waited = request.waited,
          .spans = request.spans,
          .tracking = request.tracking,
          .watches = request.watches};
}

void Engine::act_now(Request&& request, const Known& known) {
  std::vector<CommandView> views;
  views.reserve(request.commands.size());
  for (const OwnedCommand& c : request.commands) views.push_back(view_of(c));
  const Job job = job_of(request, known);
  std::string out;
  std::uint64_t gate = 0;
  const Ran ran =
      alone_ ? execute_or_park(views, job, out, gate, false) : act(views, job, out, gate);
  switch (ran) {
    case Ran::done:
      deliver(request.ticket, std::move(out));
      break;
    case Ran::gated:  // one node, another thread's client
      answer_when_durable(request.ticket, std::move(out));
      break;
    case Ran::pending:
    case Ran::parked:
      break;
  }
}

void Engine::begin_acting(Slot slot) {
  SlotState& s = state(slot);
  if (s.acting) return;
  s.acting = true;
  if (ring_->replicas(slot).front() != options_.self) metrics_.takeovers.add();
  s.actor = options_.self;
  make_unsure(slot);                                 // others may have acted since it was compared
  if (sure_quorum() <= 1 && s.known) s.sure = true;  // W = N: every write is here
  holds_.begin_acting(slot);
}

// Whether this node's clients used another node for the slot until now. What was acknowledged to
// them there they read again, whatever the new one has heard of it by now.
bool Engine::moves_to(Slot slot, NodeIndex acting) {
  const NodeIndex before = std::exchange(state(slot).used, acting);
  return before != acting && before != unused;
}

Ran Engine::act(std::span<const CommandView> commands, const Job& job, std::string& out,
                std::uint64_t& gate) {
  const UnixMs now = now_of(job);
  UnixMs above = job.above;
  if (!job.ticket.remote) {
    if (moves_to(job.slot, options_.self)) {
      GYRE_PROBE(moved);
      make_unsure(job.slot);
    }
    // Who stands before this node was bypassed: what it was allowed to stamp can only lose.
    for (const NodeIndex n : ring_->replicas(job.slot)) {
      if (n == options_.self) break;
      above = std::max(above, peers_[n.value].highest_ceiling);
    }
  }
  if (above) {
    // Ceilings of one takeover after the other add up. Nobody may stamp what the others refuse:
    // until the time has come there is nobody to act.
    if (above > now + options_.max_skew_ms * 3 / 4) {
      metrics_.no_quorum_replies.add();
      Reply reply(out, job.protocol);
      return reply.error(Errc::no_quorum), Ran::done;
    }
    space_.clock().see(Version::at_ms(above + 1));
  }
  if (job.ceiling && space_.clock().peek(now).ms() > job.ceiling) {
    metrics_.late_answers.add();
    GYRE_PROBE(late);
    deliver_late(job.ticket);
    return Ran::pending;
  }
  begin_acting(job.slot);
  if (space_.parts_touched()) [[unlikely]]
    look_at_parts();
  if (holds_.busy(job.slot)) [[unlikely]] {
    const Holds::Passage may =
        holds_.passage(job.slot, *commands.front().spec, commands.front().args);
    if (may == Holds::Passage::refused) {
      Reply reply(out, job.protocol);
      return reply.error(Errc::held), Ran::done;
    }
    if (may == Holds::Passage::waits) {
      holds_.wait(job.slot, request_of(commands, job));
      return Ran::pending;
    }
  }
  std::uint32_t flags = 0;
  bool all_blind = true;
  for (const CommandView& c : commands) {
    flags |= c.spec->flags;
    all_blind &= blind(c);
  }
  Reply reply(out, job.protocol);
  if (flags & flag::write) {
    if (disk_failing_ && !job.begun) return reply.error(Errc::misconf), Ran::done;
    if ((flags & flag::denyoom) && !job.begun && !make_room())
      return reply.error(Errc::oom), Ran::done;
    const int need = job.levels.write.of(n_), up = replicas_up(job.slot);
    const auto refuse = [&](const std::string& why) {
      metrics_.no_quorum_replies.add();
      // What has begun elsewhere may have been written there.
      job.begun ? reply.error(Errc::no_quorum)
                : reply.error(Error(Errc::no_quorum, why + "; nothing was written"));
      return Ran::done;
    };
    // Not before that is put right (stamp_again): others would refuse it, and when it was written
    // could not be told. The last live replica goes on.
    if (up > 1 && stamps_ahead()) return refuse("this node's stamps are ahead of all others'");
    if (up < need) {
      return refuse("level " + job.levels.write.text() + " needs " + std::to_string(need) +
                    " replicas, " + std::to_string(up) + " can be reached");
    }
  }
  const bool sure = state(job.slot).sure;
  if (!sure && !all_blind) {
    metrics_.unsure_reads.add();
    GYRE_PROBE(unsure_read);
    // A read also asks as many as its level says.
    const int level = flags & flag::write ? 1 : job.levels.read.of(n_);
    start_gather(request_of(commands, job), std::max(sure_quorum(), level), true);
    return Ran::pending;
  }
  if (!(flags & flag::write) && job.levels.read.of(n_) > 1) {
    start_gather(request_of(commands, job), job.levels.read.of(n_), false);
    return Ran::pending;
  }
  return execute_or_park(commands, job, out, gate, false);
}

// ---- answers

void Engine::deliver(const Ticket& ticket, std::string&& reply) {
  if (!ticket.remote) return host_.answer(ticket, std::move(reply));
  ForwardAnswer answer;
  answer.id = ticket.id;
  answer.clock_ms = space_.clock().peek(clock_.wall_ms()).ms();
  answer.reply = reply;
  send(ticket.peer, ticket.shard, answer);
}

void Engine::deliver_error(const Ticket& ticket, const Error& error) {
  std::string out;
  Reply(out, 2).error(error);
  deliver(ticket, std::move(out));
}

void Engine::deliver_late(const Ticket& ticket) {
  GYRE_ASSERT(ticket.remote);
  ForwardAnswer answer;
  answer.id = ticket.id;
  answer.late = true;
  answer.clock_ms = space_.clock().peek(clock_.wall_ms()).ms();
  send(ticket.peer, ticket.shard, answer);
}

// ---- periodic

void Engine::stood_still() {
  if (!alone_) others_may_have_acted();
}

void Engine::expire(UnixMs wall) {
  space_.expire_due(wall, 2000, [this](Slot slot, DbIndex db, std::string_view key) {
    metrics_.expired_keys.add();
    // Every replica finds it out; the one that acts tells.
    if ((command_options_.notify & event::expired) && acting_node(slot) == options_.self)
      publish_event(host_, command_options_.notify, "expired", key,
                    command_options_.databases.name(db));
  });
}

void Engine::tick(std::int64_t stood_still_ms) {
  const SteadyMs now = clock_.steady_ms();
  const UnixMs wall = clock_.wall_ms();
  space_.access().set(wall, command_options_.memory.access);
  // To a script that pauses nothing vanishes.
  if (!held_) tick_memory();
  if (!held_) tick_defrag(now);
  if (active_expire_ && !held_) expire(wall);
  metrics_.expired_stubs.add(space_.stubs_made() -
                             std::exchange(stubs_counted_, space_.stubs_made()));
  if (alone_) return note_rows(space_.clock().peek(wall));
  if (stood_still_ms > options_.stood_still_ms) stood_still();
  time_out_turns(now);
  if (stamp_again_ms_ && !held_) stamp_again();
  time_out_forwards(now);
  waiters_.tick(now);
  holds_.tick(now);
  transactions_.tick(now);
  drop_held_acks(now);
  drop_untaken(now);
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    const NodeIndex peer{static_cast<std::uint16_t>(i)};
    if (peers_[i].repairing && now - peers_[i].repair_at > options_.ack_timeout_ms)
      peers_[i].repairing = false;
    if (peers_[i].view.up && !peers_[i].repairing && hints_.pending(peer)) replay_hints(peer);
  }
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    Peer& p = peers_[i];
    if (!p.view.up || now - p.marks_at < marks_again_ms) continue;
    p.marks_at = now;
    const NodeIndex peer{static_cast<std::uint16_t>(i)};
    if (const auto marks = hints_.marks(peer); !marks.empty()) send_acted(peer, marks);
  }
  if (n_ > 1) {
    compare_some(now);
    inquiries_.tick();
    sync_.tick();
    rounds_.tick();
  }
  if (now - last_hint_sweep_ > 10'000) {
    last_hint_sweep_ = now;
    hints_.expire(wall, space_.rows());
  }
  metrics_.hints_dropped.add(hints_.dropped -
                             std::exchange(hints_dropped_counted_, hints_.dropped));
}

}  // namespace gyre
