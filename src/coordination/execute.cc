// Execution: commands run on this node's copy, their effects join the open turn, scripts go through
// a guard.
//
// Happy path of execute(): run -> effects are in the open turn -> the reply waits as an operation
// until the turn's replicas have them, or leaves at once for a read of what is settled.

#include <algorithm>

#include "base/hash.h"
#include "base/log.h"
#include "base/probe.h"
#include "coordination/engine.h"
#include "ring/slot.h"
#include "shard/script.h"

namespace gyre {
namespace {

// What the running command does to the hold of its slot.
class HoldOfCommand final : public SlotHolds {
 public:
  HoldOfCommand(Holds& holds, NodeIndex by) : holds_(holds), by_(by) {}
  bool take(Slot slot, std::string_view transaction) override {
    return holds_.take(slot, transaction, by_);
  }
  bool held_by(Slot slot, std::string_view transaction) const override {
    return holds_.held_by(slot, transaction);
  }
  void release(Slot slot, std::string_view transaction) override { holds_.end(slot, transaction); }

 private:
  Holds& holds_;
  const NodeIndex by_;
};

}  // namespace

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

// ---- scripts

namespace {

constexpr std::string_view stray =
    "Script attempted to access keys that do not hash to the same slot";
// To a node that forwarded a script, which begins anew there.
constexpr std::string_view goes_further = "-FURTHER the script wants keys of other slots\r\n";

}  // namespace

// A script that was forwarded came back because it wants keys of other slots than its own: true,
// and it begins anew. Of one that had written there is only an error, and the next run to be told.
bool Engine::strayed(Request& request, std::string_view reply) {
  if (reply == goes_further) {
    if (request.spans) return anew_.push_back(std::move(request)), true;
    return deliver_error(request.ticket, Error(Errc::err, std::string(stray))), true;
  }
  if (request.spans && reply.starts_with("-ERR Script attempted") &&
      reply.find(stray) != std::string_view::npos)
    host_.script_reached(request.commands.front(), true);
  return false;
}

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
        strayed = true;
        no = Error(Errc::err, std::string(stray));
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
    if (elsewhere_ && engine_.alone_)
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
    begins_anew = (elsewhere_ || (strayed && job_.spans)) && !job_.exec && !wrote;
    return begins_anew;
  }

  bool begins_anew = false;
  bool strayed = false;  // it wanted a key of another slot
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
    HoldOfCommand holds(holds_, job.ticket.remote ? job.ticket.peer : options_.self);
    run_command(c, {now, job.slot, job.hash, job.hash_known}, based, reply, sink, waiting_, guard,
                &holds);
    if (job.tracking.remembers) [[unlikely]]
      remember(*c.spec, c.args, c.db, job.tracking.reader);
  }
}

// A call of its own would cost a GET one instruction in fifty.
[[gnu::always_inline]] inline void Engine::run_command(const CommandView& c, const Known& known,
                                                       bool based, Reply& reply, EffectSink* sink,
                                                       Waiting* waiting, Guard* guard,
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
  if (ctx.met_expired) [[unlikely]]
    met_expired_ = true;
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

void Engine::note_rows(Version stamped) {
  if (options_.persist) (void)gate_of_rows(0, stamped.bits);
}

void Engine::take_rows(Engine& other, Version stamped) {
  StoreBatch& theirs = other.space_.rows();
  if (theirs.count() == 0) return;
  other.note_rows(stamped);
  space_.rows().append(theirs);
  theirs.clear();
  other.rows_taken_ = true;
}

void Engine::answer_when_durable(const Ticket& ticket, std::string&& reply) {
  open_turn().operations.push_back(
      {.ticket = ticket, .reply = std::move(reply), .slot = space_.first_slot(), .reader = true});
}

// What a client has read it may keep until it is told of a change.
void Engine::remember(const CommandSpec& spec, Args args, DbIndex db,
                      const TrackingClient& reader) {
  if ((spec.flags & flag::read) && !(spec.flags & (flag::script_call | flag::of_hold)))
    remember_keys(spec, args, db, reader);
}

// On a ring a client may hear of a change before its own command is answered, and whoever acts may
// be another node: what it will read counts from before the command leaves.
void Engine::expect_reads(const CommandSpec& spec, Args args, DbIndex db,
                          const Tracking& tracking) {
  if (tracking.remembers && !(spec.flags & flag::of_hold) &&
      (spec.flags & (flag::read | flag::script_call)))
    remember_keys(spec, args, db, tracking.reader);
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
  if (guard && guard->begins_anew) {
    out.resize(start);
    if (job.ticket.remote) {
      out = goes_further;
      return Ran::done;
    }
    anew_.push_back(request_of(commands, job));
    return Ran::pending;
  }
  if (guard && guard->strayed && !job.ticket.remote) host_.script_reached(owned(commands[0]), true);
  std::uint32_t flags = job.watches.empty() ? 0 : flag::conditional;
  for (const CommandView& c : commands) flags |= flags_of(*c.spec, c.args);
  if (recorder.any) {
    Operation op{.ticket = job.ticket,
                 .reply = out.substr(start),
                 .slot = job.slot,
                 .need = job.levels.write.of(n_),
                 .flags = flags,
                 .ceiling = job.ceiling,
                 .client = job.tracking.elsewhere};
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

// ---- commands that wait

Ran Engine::execute_or_park(std::span<const CommandView> commands, const Job& job, std::string& out,
                            std::uint64_t& gate, bool confirmed) {
  if (job.wait == 0 || job.exec || commands.size() != 1)
    return execute(commands, job, out, gate, confirmed);
  Waiting how{.run = job.waited ? Waiting::Run::again : Waiting::Run::first};
  waiting_ = &how;
  const Ran ran = execute(commands, job, out, gate, confirmed);
  waiting_ = nullptr;
  if (how.asked) return park(commands.front(), job, std::move(how));
  waiters_.drop(job.ticket.remote ? job.ticket.peer : options_.self, job.wait);
  return ran;
}

Ran Engine::park(const CommandView& command, const Job& job, Waiting&& how) {
  const std::vector<std::string_view> again(how.args.begin(), how.args.end());
  const Args args = again.empty() ? command.args : Args(again);
  const Waiters::Client client{.node = job.ticket.remote ? job.ticket.peer : options_.self,
                               .shard = job.ticket.shard,
                               .wait = job.wait};
  if (!waiters_.add(client, job.slot, OwnedCommand(*command.spec, command.db, args),
                    how.first_key_only)) {
    deliver_error(job.ticket, Error(Errc::limit, "too many clients wait for keys"));
    return Ran::parked;
  }
  if (!job.ticket.remote) {
    host_.parked(job.ticket, {job.wait, how.ms, std::move(how.args)});
    return Ran::parked;
  }
  ForwardAnswer answer;
  answer.id = job.ticket.id;
  answer.parked = true;
  answer.clock_ms = space_.clock().peek(clock_.wall_ms()).ms();
  answer.wait_ms = how.ms;
  answer.args = again;
  send(job.ticket.peer, job.ticket.shard, answer);
  return Ran::parked;
}

bool Engine::wait_for(std::uint64_t wait, const OwnedCommand& command) {
  return waiters_.add({.node = options_.self, .wait = wait}, key_slot(command.args()[1]),
                      OwnedCommand(command.spec(), command.db(), command.args()), true);
}

bool Engine::answers_now(const OwnedCommand& command) {
  Waiting look{.run = Waiting::Run::look};
  std::string out;
  Reply reply(out, 2);
  CommandContext ctx(command.args(), reply, command.db(), clock_.wall_ms(), spaces_, nullptr,
                     random_, command_options_);
  ctx.waiting = &look;
  ctx.uses = false;
  command.spec().run(ctx);
  return !look.asked;
}

}  // namespace gyre
