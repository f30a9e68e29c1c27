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

// Collects the effects of one running operation into the open turn.
class Engine::Recorder final : public EffectSink {
 public:
  Recorder(Engine& engine, std::uint32_t operation) : engine_(engine), operation_(operation) {}
  void made(Slot slot, std::uint64_t, const Effect& effect, const ApplyResult&) override {
    engine_.record_effect(slot, effect, operation_);
    // Parts of transactions were stamped when their slots were held.
    Turn& turn = engine_.open_turn();
    turn.first = std::min(turn.first, effect.version);
    any = true;
  }
  bool any = false;

 private:
  Engine& engine_;
  std::uint32_t operation_;
};

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
      turn_base_(random.next() >> 24),
      next_id_(random.next() >> 24),
      inquiries_(options.self, options.shard, space, clock, *this,
                 next_id_ | std::uint64_t{1} << 50),  // beside the ids of others
      transactions_(*this, space, options.shard, n_, clock, random, command_options, metrics) {
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
  const NodeIndex acting = acting_node(job.slot);
  if (acting == options_.self) return act(one, job, out, gate);
  route(request_of(one, job));
  return Ran::pending;
}

void Engine::submit(Request&& request) {
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

void Engine::act_now(Request&& request, const Known& known) {
  std::vector<CommandView> views;
  views.reserve(request.commands.size());
  for (const OwnedCommand& c : request.commands) views.push_back(view_of(c));
  Job job{.ticket = request.ticket,
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
          .tracking = request.tracking,
          .watches = request.watches};
  std::string out;
  std::uint64_t gate = 0;
  const Ran ran =
      alone_ ? execute_or_park(views, job, out, gate, false) : act(views, job, out, gate);
  switch (ran) {
    case Ran::done:
      deliver(request.ticket, std::move(out));
      break;
    case Ran::gated: {
      // One node, another thread's client: the reply waits here for the turn.
      Turn& turn = open_turn();
      turn.operations.push_back({.ticket = request.ticket,
                                 .reply = std::move(out),
                                 .slot = request.slot,
                                 .reader = true});
      break;
    }
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
  adopt_parts(slot);
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
  if (const auto queue = busy_.find(job.slot.value); queue != busy_.end()) {
    const Passage may = passage(queue->second, commands);
    if (may == Passage::refused) {
      Reply reply(out, job.protocol);
      return reply.error(Errc::held), Ran::done;
    }
    if (may == Passage::waits) {
      queue->second.waiting.push_back(request_of(commands, job));
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

// ---- scripts

// What a script may call: keys of its own shard, on a ring of its own slot. And what its calls have
// read: the reply waits until that has reached its level.
class Engine::Guard final : public ScriptGuard {
 public:
  Guard(Engine& engine, std::span<const CommandView> commands, const Job& job)
      : engine_(engine), commands_(commands), job_(job) {}

  std::optional<Error> refuses(const CommandSpec& spec, Args args, DbIndex db) override {
    std::optional<Error> no;
    if (engine_.alone_) {
      // With several threads these reach more than this one.
      elsewhere_ = engine_.options_.shards > 1 &&
                   ((spec.flags & flag::all_slots) || (spec.wanders && spec.wanders(args)));
    }
    for_each_key(spec, args, [&](std::size_t i) {
      const Slot slot = key_slot(args[i]);
      if (engine_.alone_) {
        elsewhere_ |= !engine_.space_.owns(slot);
      } else if (slot != job_.slot) {
        no = Error(Errc::err, "Script attempted to access keys that do not hash to the same slot");
      } else if (!engine_.state(slot).sure && !declared(args[i], db)) {
        no = Error(Errc::no_quorum,
                   "the slot is being compared, and the script does not declare "
                   "this key");
      }
    });
    // Past its ceiling another node may have taken over, which stamps above that.
    if ((spec.flags & flag::write) && job_.ceiling &&
        engine_.space_.clock().peek(engine_.now_of(job_)).ms() > job_.ceiling)
      no =
          Error(Errc::no_quorum, "the script has run for so long that another node may act by now");
    if (elsewhere_)
      no = Error(Errc::err,
                 "Script attempted to access a key of another thread, which it does not "
                 "declare, after it had written");
    return no;
  }
  void called(const CommandSpec& spec, Args args, DbIndex db) override {
    const CommandView call{&spec, args, db};
    // As in Redis: a script that reads has read the keys that it declares.
    if (job_.tracking.remembers && (spec.flags & flag::read)) {
      for (const CommandView& c : commands_) {
        if (c.spec->flags & flag::script_call)
          engine_.remember_keys(*c.spec, c.args, c.db, job_.tracking.reader);
      }
    }
    std::uint64_t turn = 0;
    if (!engine_.reads_unsettled({&call, 1}, turn)) return;
    unsettled = true;
    wait_for = std::max(wait_for, turn);
  }
  bool begin_anew(bool wrote) override {
    begins_anew = elsewhere_ && !job_.exec && !wrote;
    return begins_anew;
  }

  bool begins_anew = false;
  bool unsettled = false;
  std::uint64_t wait_for = 0;

 private:
  bool declared(std::string_view key, DbIndex db) const {
    bool found = false;
    for (const CommandView& c : commands_) {
      if (c.db != db) continue;
      for_each_key(*c.spec, c.args, [&](std::size_t i) { found |= c.args[i] == key; });
    }
    return found;
  }

  Engine& engine_;
  std::span<const CommandView> commands_;
  const Job& job_;
  bool elsewhere_ = false;
};

void Engine::hold() {
  held_ = true;
  busy_script_ = false;
}

void Engine::tell_busy() {
  busy_script_ = true;
  std::vector<Request> waiting;
  waiting.swap(held_requests_);
  for (const Request& r : waiting) deliver_error(r.ticket, Errc::busy);
}

void Engine::release() {
  unhold();
  std::vector<std::function<void()>> tasks;
  tasks.swap(held_tasks_);
  std::vector<Request> waiting;
  waiting.swap(held_requests_);
  // Who is held again by one of them goes behind those that were before it.
  for (auto& task : tasks) held_ ? held_tasks_.push_back(std::move(task)) : task();
  for (Request& r : waiting) act_request(std::move(r));
}

// ---- running

void Engine::run_commands(std::span<const CommandView> commands, const Job& job, UnixMs now,
                          std::string& out, EffectSink* sink, Guard* guard) {
  Reply reply(out, job.protocol);
  if (job.exec) {
    for (const Watch& w : job.watches) {
      if (watch_version(key_slot(w.key), w.db, w.key) != w.version) return reply.null_array();
    }
    reply.array(commands.size());
  }
  for (const CommandView& c : commands) {
    // What was watched must be as it was, at the replicas too.
    const bool based =
        !alone_ && ((flags_of(*c.spec, c.args) & flag::based) != 0 || !job.watches.empty());
    HoldOfCommand holds(*this, job.ticket);
    run_command(c, {now, job.slot, job.hash, job.hash_known}, based, reply, sink, waiting_, guard,
                &holds);
    if (job.tracking.remembers) [[unlikely]]
      remember(*c.spec, c.args, c.db, job.tracking.reader);
  }
}

inline void Engine::run_command(const CommandView& c, const Known& known, bool based, Reply& reply,
                                EffectSink* sink, Waiting* waiting, Guard* guard,
                                SlotHolds* holds) {
  CommandContext ctx(c.args, reply, c.db, known.now, spaces_, sink, random_, command_options_);
  ctx.based = based;
  ctx.waiting = waiting;
  ctx.holds = holds;
  if (guard) [[unlikely]] {
    ctx.scripts = scripts_;
    ctx.guard = guard;
    ctx.rights = c.rights;
  }
  ctx.publish_to(host_, *c.spec);
  ctx.first_key_known = known.known;
  ctx.first_space = &space_;
  ctx.first_slot = known.slot;
  ctx.first_hash = known.hash;
  c.spec->run(ctx);
  if (c.spec->flags & flag::read) {
    if (ctx.hits) metrics_.keyspace_hits.add(ctx.hits);
    if (ctx.misses) metrics_.keyspace_misses.add(ctx.misses);
  }
}

std::uint64_t Engine::run_alone(const CommandView& command, const Known& known, Reply& reply) {
  if (!options_.persist) return run_command(command, known, false, reply, nullptr, nullptr), 0;
  const std::uint64_t floor_of_turn = space_.clock().peek(known.now).bits;
  const std::size_t rows_before = space_.rows().count();
  run_command(command, known, false, reply, nullptr, nullptr);
  if (const std::uint64_t gate = gate_of_rows(rows_before, floor_of_turn)) return gate;
  std::uint64_t gate = 0;
  return !undurable_.empty() && reads_unsettled({&command, 1}, gate) ? gate : 0;
}

// The turn that holds what was written since, on a node that is alone; 0: nothing was.
std::uint64_t Engine::gate_of_rows(std::size_t rows_before, std::uint64_t floor_of_turn) {
  if (space_.rows().count() == rows_before) return 0;
  if (undurable_.empty() || undurable_.back().first != turn_)
    undurable_.emplace_back(turn_, floor_of_turn);
  return turn_;
}

// What a client has read it may keep until it is told of a change.
void Engine::remember(const CommandSpec& spec, Args args, DbIndex db,
                      const TrackingClient& reader) {
  if ((spec.flags & flag::read) && !(spec.flags & flag::script_call))
    remember_keys(spec, args, db, reader);
}

void Engine::remember_keys(const CommandSpec& spec, Args args, DbIndex db,
                           const TrackingClient& reader) {
  for_each_key(spec, args, [&](std::size_t i) {
    const Slot slot = key_slot(args[i]);
    KeySpace& space = spaces_.of(slot);
    const Node* n = space.find(slot, db, args[i], key_hash(args[i]));
    space.tracked().remember(args[i], reader, n && record_expired(*n, clock_.wall_ms()));
  });
}

Ran Engine::execute(std::span<const CommandView> commands, const Job& job, std::string& out,
                    std::uint64_t& gate, bool confirmed) {
  if (job.tracking.reader.client != 0) [[unlikely]] {
    space_.tracked().set_acting(job.tracking.reader.client);
    const Ran ran = execute_for(commands, job, out, gate, confirmed);
    space_.tracked().set_acting(0);
    return ran;
  }
  return execute_for(commands, job, out, gate, confirmed);
}

Ran Engine::execute_for(std::span<const CommandView> commands, const Job& job, std::string& out,
                        std::uint64_t& gate, bool confirmed) {
  for (const CommandView& c : commands) {
    if (c.spec->flags & flag::script_call) [[unlikely]] {
      Guard guard(*this, commands, job);
      return execute(commands, job, out, gate, confirmed, &guard);
    }
  }
  return execute(commands, job, out, gate, confirmed, nullptr);
}

Ran Engine::execute(std::span<const CommandView> commands, const Job& job, std::string& out,
                    std::uint64_t& gate, bool confirmed, Guard* guard) {
  const UnixMs now = now_of(job);
  const std::size_t start = out.size();
  // The script has run in vain.
  const auto anew = [&] {
    if (!guard || !guard->begins_anew) [[likely]]
      return false;
    out.resize(start);
    host_.run_everywhere(job.ticket, owned(commands[0]), job.protocol, job.tracking);
    return true;
  };
  if (alone_ && !options_.persist) {
    run_commands(commands, job, now, out, nullptr, guard);
    return anew() ? Ran::pending : Ran::done;
  }
  const std::uint64_t floor_of_turn = space_.clock().peek(now).bits;
  if (alone_) {
    const std::size_t rows_before = space_.rows().count();
    run_commands(commands, job, now, out, nullptr, guard);
    if (anew()) return Ran::pending;
    gate = gate_of_rows(rows_before, floor_of_turn);
    if (gate != 0) return Ran::gated;
    if (!undurable_.empty() && reads_unsettled(commands, gate)) return Ran::gated;
    if (guard && guard->unsettled) return gate = guard->wait_for, Ran::gated;
    return Ran::done;
  }
  Turn& turn = open_turn();
  const std::size_t made_before = turn.made.size();
  const auto place = static_cast<std::uint32_t>(turn.operations.size());
  Recorder recorder(*this, place);
  if (!turn.first) turn.first = {floor_of_turn};
  // While a script pauses others may put operations of theirs into the turn (restamp).
  if (guard)
    turn.operations.push_back({.ticket = job.ticket, .reply = {}, .slot = job.slot, .done = true});
  run_commands(commands, job, now, out, &recorder, guard);
  turn.last = space_.clock().peek(0);
  std::uint32_t flags = job.watches.empty() ? 0 : flag::conditional;
  for (const CommandView& c : commands) flags |= flags_of(*c.spec, c.args);
  if (recorder.any) {
    Operation op{.ticket = job.ticket,
                 .reply = out.substr(start),
                 .slot = job.slot,
                 .need = job.levels.write.of(n_),
                 .flags = flags,
                 .ceiling = job.ceiling};
    out.resize(start);
    if (guard)
      turn.operations[place] = std::move(op);
    else
      turn.operations.push_back(std::move(op));
    return Ran::pending;
  }
  GYRE_ASSERT(guard || turn.made.size() == made_before);
  std::uint64_t wait_for = guard ? guard->wait_for : 0;
  if (confirmed || (!reads_unsettled(commands, wait_for) && !(guard && guard->unsettled)))
    return Ran::done;
  // Nobody sees what a failure could take back: the reader joins the turn whose write it saw.
  Turn* of = find_turn(wait_for);
  if (!of) return Ran::done;
  if (of->flushed) {
    const auto [have, possible] = reached(*of, job.slot);
    const int need = job.levels.write.of(n_);
    if (have >= need || have + possible < need) return Ran::done;
  }
  of->operations.push_back({.ticket = job.ticket,
                            .reply = out.substr(start),
                            .slot = job.slot,
                            .need = job.levels.write.of(n_),
                            .flags = flags,
                            .reader = true});
  out.resize(start);
  return Ran::pending;
}

// Whether a key that these commands looked at carries a version that has not reached its level; and
// then, in which turn it was stamped.
bool Engine::reads_unsettled(std::span<const CommandView> commands, std::uint64_t& turn) {
  if (alone_ ? undurable_.empty() : turns_.empty()) return false;
  if (waiting_ && waiting_->asked) return false;  // nothing was read
  const std::uint64_t lowest = alone_ ? undurable_.front().second : turns_.front().first.bits;
  bool found = false;
  turn = 0;
  for (const CommandView& c : commands) {
    for_each_key(*c.spec, c.args, [&](std::size_t i) {
      const Slot slot = key_slot(c.args[i]);
      if (!space_.owns(slot)) return;
      const Node* n = space_.find(slot, c.db, c.args[i], key_hash(c.args[i]));
      if (!n) return;
      const Version newest = record_newest(*n);
      if (newest.bits < lowest) return;
      if (alone_) {
        turn = undurable_.back().first;
        found = true;
        return;
      }
      for (auto t = turns_.rbegin(); t != turns_.rend(); ++t) {
        if (t->made.empty() || newest.bits < t->first.bits) continue;
        if (newest <= t->last) {
          turn = std::max(turn, t->number);
          found = true;
        }
        break;
      }
    });
  }
  return found;
}

Version Engine::watch_version(Slot slot, DbIndex db, std::string_view key) {
  const Node* n = spaces_.of(slot).find(slot, db, key, key_hash(key));
  if (!n || !record_live(*n) || record_expired(*n, clock_.wall_ms())) return {};
  return record_newest(*n);
}

bool Engine::read_local(const CommandView& command, Slot slot, int protocol, std::string& out) {
  if (!holds(slot)) return false;
  Job job;
  job.protocol = protocol;
  run_commands({&command, 1}, job, now_of(job), out, nullptr);
  return true;
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

void Engine::tick(std::int64_t stood_still_ms) {
  const SteadyMs now = clock_.steady_ms();
  const UnixMs wall = clock_.wall_ms();
  space_.access().set(wall, command_options_.memory.access);
  // To a script that pauses nothing vanishes.
  if (!held_) tick_memory();
  if (active_expire_ && !held_)
    space_.expire_due(wall, 2000, [this](Slot slot, DbIndex db, std::string_view key) {
      metrics_.expired_keys.add();
      // Every replica finds it out; the one that acts tells.
      if ((command_options_.notify & event::expired) && acting_node(slot) == options_.self)
        publish_event(host_, command_options_.notify, "expired", key, db);
    });
  metrics_.expired_stubs.add(space_.stubs_made() -
                             std::exchange(stubs_counted_, space_.stubs_made()));
  if (options_.persist && alone_ && space_.rows().count() &&
      (undurable_.empty() || undurable_.back().first != turn_)) {
    undurable_.emplace_back(turn_, space_.clock().peek(wall).bits);
  }
  if (alone_) return;
  if (stood_still_ms > options_.stood_still_ms) stood_still();
  time_out_turns(now);
  if (stamp_again_ms_ && !held_) stamp_again();
  time_out_forwards(now);
  tick_waits(now);
  tick_holds(now);
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
