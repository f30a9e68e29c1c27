#include "server/worker_scripts.h"

#include "base/log.h"
#include "base/numbers.h"
#include "commands/table.h"
#include "ring/slot.h"
#include "server/server.h"
#include "server/session.h"
#include "server/user_rights.h"
#include "server/worker.h"

namespace gyre {
namespace {

// Well below peer-timeout-min: a node whose loop stands still for longer is taken for dead.
constexpr std::int64_t slice_us = 10'000;
// What the scripts of one thread may hold in Lua; one that wants more ends with an error.
constexpr std::size_t lua_memory_max = std::size_t{256} << 20;

}  // namespace

// Of a script that runs everywhere: it may call anything, and whether it needed that is remembered.
// On a ring, where it was called without keys, it may call nothing that has any.
class WorkerScripts::WideGuard final : public ScriptGuard {
 public:
  WideGuard(Worker& worker, const OwnedCommand& script, bool keyless, const Tracking& tracking)
      : worker_(worker), script_(script), keyless_(keyless), tracking_(tracking) {
    const Args args = script.args();
    for_each_key(script.spec(), args, [&](std::size_t i) {
      const ShardIndex shard = worker_.server().shard_of(key_slot(args[i]));
      if (home_ && *home_ != shard) wide = true;
      home_ = shard;
    });
  }
  std::optional<Error> refuses(const CommandSpec& spec, Args args, DbIndex) override {
    if ((spec.flags & flag::all_slots) || (spec.wanders && spec.wanders(args))) wide = true;
    bool any = false;
    for_each_key(spec, args, [&](std::size_t i) {
      any = true;
      if (!home_ || worker_.server().shard_of(key_slot(args[i])) != *home_) wide = true;
    });
    if (any && keyless_)
      return Error(Errc::err, "Script attempted to access a non local key in a cluster node");
    return {};
  }
  void called(const CommandSpec& spec, Args, DbIndex) override {
    if (tracking_.remembers && (spec.flags & flag::read))
      worker_.engine().remember_keys(script_.spec(), script_.args(), script_.db(),
                                     tracking_.reader);
  }
  bool begin_anew(bool) override { return false; }

  bool wide = false;

 private:
  Worker& worker_;
  const OwnedCommand& script_;
  std::optional<ShardIndex> home_;
  bool keyless_;
  const Tracking& tracking_;
};

WorkerScripts::WorkerScripts(Worker& worker) : worker_(worker), script_client_(worker, 0, false) {}

WorkerScripts::~WorkerScripts() = default;

Interpreter& WorkerScripts::interpreter() {
  if (!interpreter_) interpreter_ = std::make_unique<Interpreter>(*this, lua_memory_max);
  return *interpreter_;
}

// ---- slices

void WorkerScripts::begin_slice() {
  slice_began_us_ = worker_.server().clock().steady_us();
}

void WorkerScripts::apart(const std::function<void()>& f) {
  if (fibre_.inside()) return f();
  GYRE_ASSERT(fibre_.idle());
  begin_slice();
  began_ms_ = slice_began_us_ / 1000;
  shown.kill.store(false, std::memory_order_relaxed);
  fibre_.start(f);
  after_slice();
}

void WorkerScripts::publish_state() {
  const bool paused = fibre_.paused();
  if (interpreter_) {
    shown.memory.store(interpreter_->memory(), std::memory_order_relaxed);
    shown.wrote.store(interpreter_->wrote(), std::memory_order_relaxed);
    shown.function.store(interpreter_->is_function(), std::memory_order_relaxed);
  }
  if (shown.paused.load(std::memory_order_relaxed) == paused) return;
  shown.paused.store(paused, std::memory_order_release);
  worker_.server().scripts.paused.fetch_add(paused ? 1 : -1, std::memory_order_acq_rel);
}

// Of what the engine runs.
void WorkerScripts::after_slice() {
  publish_state();
  if (fibre_.paused()) {
    if (!held_) {
      set_held(true, this);
      worker_.engine().hold();
    }
    worker_.loop().post_wakeup();
    return;
  }
  if (!held_) return;
  busy_ = false;
  set_held(false, nullptr);
  worker_.engine().release();
  wake_clients();
}

bool WorkerScripts::breathe() {
  if (shown.kill.load(std::memory_order_relaxed)) return true;
  if (!fibre_.inside()) return false;
  if (worker_.server().clock().steady_us() - slice_began_us_ < slice_us) return false;
  fibre_.pause();
  return shown.kill.load(std::memory_order_relaxed);
}

void WorkerScripts::go_on() {
  if (!fibre_.paused()) return start_waiting();
  const std::int64_t now = worker_.now_ms();
  if (!busy_ && now - began_ms_ >= worker_.server().config().busy_reply_threshold.get()) {
    busy_ = true;
    LOG_WARNING(
        "a script has been running for %lld ms: clients are told that the node is busy. "
        "SCRIPT KILL or FUNCTION KILL end it: %s",
        static_cast<long long>(now - began_ms_), interpreter().running_name().c_str());
    if (running_everywhere_) {
      for (std::size_t i = 0; i < worker_.server().shards(); ++i) {
        Worker& w = worker_.server().worker({static_cast<std::uint16_t>(i)});
        if (&w != &worker_) w.post([](Worker& there) { there.scripts().wake_clients(); });
      }
    } else {
      worker_.engine().tell_busy();
    }
    wake_clients();
  }
  if (running_everywhere_) return slice_everywhere();
  begin_slice();
  fibre_.go_on();
  after_slice();
}

void WorkerScripts::stop() {
  shown.kill.store(true, std::memory_order_relaxed);
  while (fibre_.paused()) {
    begin_slice();
    fibre_.go_on();
  }
}

// ---- held

bool WorkerScripts::busy() const {
  return held_by_ && held_by_->shown.paused.load(std::memory_order_acquire) &&
         (held_by_ == this ? busy_
                           : worker_.now_ms() - held_by_->began_ms_ >=
                                 worker_.server().config().busy_reply_threshold.get());
}

void WorkerScripts::set_held(bool held, WorkerScripts* by) {
  held_ = held;
  held_by_ = by;
  worker_.held_ = held;
}

// When they are told that the node is busy, and when it no longer is.
void WorkerScripts::wake_clients() {
  std::vector<std::uint64_t> ids;
  ids.swap(waiting_clients_);
  for (const std::uint64_t id : ids) {
    if (Connection* c = worker_.find(id)) c->resume();
  }
}

WorkerScripts::Story WorkerScripts::story() const {
  if (!interpreter_ || !interpreter_->running()) return {};
  return {interpreter_->running_name(), interpreter_->running_command(),
          worker_.now_ms() - began_ms_, interpreter_->is_function()};
}

// ---- everywhere

void WorkerScripts::run_everywhere(const Ticket& ticket, Transaction&& commands, bool exec,
                                   int protocol) {
  everywhere_.push_back({.ticket = ticket,
                         .commands = std::move(commands),
                         .exec = exec,
                         .protocol = protocol,
                         .barrier = worker_.server().alone()});
  const bool others_stand = worker_.server().alone() && worker_.server().shards() > 1;
  if (!others_stand && fibre_.idle() && everywhere_.size() == 1) {
    start_everywhere();
  } else {
    worker_.loop().post_wakeup();  // start_waiting()
  }
}

void WorkerScripts::start_waiting() {
  if (!fibre_.paused() && !everywhere_.empty()) start_everywhere();
}

// On the fibre.
void WorkerScripts::run_commands_everywhere() {
  Everywhere& e = everywhere_.front();
  Reply reply(e.reply, e.protocol);
  for (const Watch& watch : e.commands.watches) {
    if (worker_.engine().watch_version(key_slot(watch.key), watch.db, watch.key) != watch.version)
      return reply.null_array();
  }
  if (e.exec) reply.array(e.commands.commands.size());
  for (std::size_t i = 0; i < e.commands.commands.size(); ++i) {
    const OwnedCommand& command = e.commands.commands[i];
    const CommandSpec& spec = command.spec();
    if (!e.commands.denied.empty() && e.commands.denied[i]) {
      reply.error(*e.commands.denied[i]);
      continue;
    }
    CommandContext ctx(command.args(), reply, command.db(), worker_.wall_ms(), worker_.spaces(),
                       nullptr, worker_.random(), worker_.command_options());
    ctx.publish_to(worker_, spec);
    const std::size_t before = reply.out().size();
    if (!spec.run) {
      session(ctx, spec, reply);
      if (e.exec) worker_.count_inside(spec, std::string_view(reply.out()).substr(before));
      continue;
    }
    const Tracking& tracking = e.commands.tracking;
    WideGuard guard(worker_, command, !e.barrier, tracking);
    if (spec.flags & flag::script_call) {
      ctx.scripts = &runner_;
      ctx.guard = &guard;
      ctx.rights = command.rights.get();
    }
    spec.run(ctx);
    if (e.exec) worker_.count_inside(spec, std::string_view(reply.out()).substr(before));
    if (tracking.remembers)
      worker_.engine().remember(spec, command.args(), command.db(), tracking.reader);
    // One that failed, or was ended, may want more the next time.
    const bool told = guard.wide || reply.out()[before] != '-';
    if ((spec.flags & flag::script_call) && e.barrier && told && spec.name.starts_with("EVAL")) {
      const bool by_text = spec.name == "EVAL" || spec.name == "EVAL_RO";
      worker_.server().scripts.set_reach(
          by_text ? sha1_hex(command.args()[1]) : to_lower(command.args()[1]),
          guard.wide ? Reach::all_threads : Reach::one_thread);
    }
  }
}

void WorkerScripts::start_everywhere() {
  if (held_ && held_by_ != this) return worker_.loop().post_wakeup();
  begin_everywhere();
  slice_everywhere();
}

void WorkerScripts::begin_everywhere() {
  running_everywhere_ = true;
  began_ms_ = worker_.now_ms();
  shown.kill.store(false, std::memory_order_relaxed);
}

// One slice of the first one, which begins or goes on. One that begins, and ends within it, is
// followed by those that wait: under the barrier that it had.
void WorkerScripts::slice_everywhere() {
  if (!everywhere_.front().barrier) {
    run_slice();
  } else if (!worker_.with_barrier([this] { run_slices(); }, true)) {
    // Another thread has the barrier, or the store takes no more: it wakes this thread itself.
    if (fibre_.idle()) running_everywhere_ = false;
    if (!worker_.store_congested()) worker_.loop().post_wakeup();
    return;
  }
  fibre_.paused() ? worker_.loop().post_wakeup() : end_everywhere();
}

void WorkerScripts::run_slices() {
  const Clock& clock = worker_.server().clock();
  const std::int64_t until = clock.steady_us() + Standing::slice_us;
  const bool begins = fibre_.idle();
  run_slice();
  while (begins && !fibre_.paused() && everywhere_.size() > 1 && clock.steady_us() < until) {
    everywhere_.pop_front();
    begin_everywhere();
    run_slice();
  }
}

void WorkerScripts::run_slice() {
  begin_slice();
  reaches_all_ = everywhere_.front().barrier;
  const std::uint64_t acting = everywhere_.front().commands.tracking.reader.client;
  if (acting != 0 && reaches_all_) worker_.set_acting_everywhere(acting);
  if (fibre_.idle()) {
    fibre_.start([this] { run_commands_everywhere(); });
  } else {
    fibre_.go_on();
  }
  if (acting != 0 && reaches_all_) worker_.set_acting_everywhere(0);
  reaches_all_ = false;
  publish_state();
  if (fibre_.paused() != held_) hold_all(fibre_.paused());
  Everywhere& e = everywhere_.front();
  if (e.barrier && !fibre_.paused()) worker_.answer_from_barrier(e.ticket, std::move(e.reply));
}

// At the barrier: what is set here the others see when they go on.
void WorkerScripts::hold_all(bool held) {
  set_held(held, held ? this : nullptr);
  for (std::size_t i = 0; everywhere_.front().barrier && i < worker_.server().shards(); ++i) {
    Worker& w = worker_.server().worker({static_cast<std::uint16_t>(i)});
    if (&w == &worker_) continue;
    w.scripts().set_held(held, held ? this : nullptr);
    if (held) {
      w.engine().hold();
    } else {
      w.engine().unhold();  // its rows leave with this barrier
      w.post([](Worker& there) {
        if (there.scripts().held()) return;
        there.engine().release();
        there.scripts().wake_clients();
      });
    }
  }
  held ? worker_.engine().hold() : worker_.engine().unhold();
}

void WorkerScripts::end_everywhere() {
  Everywhere done = std::move(everywhere_.front());
  everywhere_.pop_front();
  running_everywhere_ = busy_ = false;
  if (!done.barrier) worker_.answer(done.ticket, std::move(done.reply));
  worker_.engine().release();
  wake_clients();
  if (!everywhere_.empty()) worker_.loop().post_wakeup();
}

// ---- what the interpreter asks

std::shared_ptr<const Program> WorkerScripts::program(std::string_view sha) {
  return worker_.server().scripts.find(std::string(sha));
}
void WorkerScripts::remember(const std::shared_ptr<const Program>& program) {
  worker_.server().scripts.remember(program, remembers_for_good);
}
std::uint64_t WorkerScripts::generation() {
  return worker_.server().scripts.generation();
}
std::shared_ptr<const Libraries> WorkerScripts::libraries() {
  return worker_.server().scripts.libraries();
}
bool WorkerScripts::has_room() {
  return worker_.make_room();
}
bool WorkerScripts::has_replicas() {
  return worker_.enough_replicas();
}
std::size_t WorkerScripts::databases() {
  return worker_.space().databases();
}

bool WorkerScripts::allows_all() {
  return worker_.server().all_in_scripts;
}

void WorkerScripts::session(CommandContext& ctx, const CommandSpec& spec, Reply& reply) {
  const SessionHandler handler = session_handler(spec);
  if (!handler) return reply.error("This Redis command is not allowed from script");
  Connection& c = script_client_;
  c.db = ctx.db;
  c.protocol = reply.protocol();
  c.levels = worker_.server().default_levels();
  SessionCall call{
      .worker = worker_, .connection = c, .args = ctx.args, .reply = reply, .spec = spec};
  call.inside_exec = true;
  call.all_here = worker_.server().alone() && (reaches_all_ || worker_.server().shards() == 1);
  const std::size_t before = reply.out().size();
  handler(call);
  if (!call.deferred) return;
  reply.out().resize(before);
  reply.error("this command does not work inside a script here");
}

void WorkerScripts::called(const CommandSpec& spec, Args args, DbIndex db, bool failed) {
  worker_.tell_monitors_of_call(spec, db, args);
  CommandStats& stats = worker_.stats(command_index(spec));
  stats.calls.add();
  if (failed) stats.failed.add();
}
void WorkerScripts::denied(const ScriptRights& rights, const CommandSpec& spec, Args args) {
  worker_.note_denied_call(static_cast<const UserRights&>(rights), spec, args);
}
void WorkerScripts::failed(std::string_view error) {
  worker_.count_error(error);
}
void WorkerScripts::refused(const CommandSpec& spec) {
  worker_.stats(command_index(spec)).rejected.add();
}

}  // namespace gyre
