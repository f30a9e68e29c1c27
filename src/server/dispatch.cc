// Dispatch: one command of a client from its words to where it runs.
//
// Order of checks: known, arity, authenticated, allowed to its user, memory, loading, queued in
// MULTI, paused. Then a session handler, or routing by the keys' slots:
//
//   one slot                      its shard here runs it, or forwards it to who acts
//   several, plain (MGET, DEL)    parts by slot, answers joined
//   several, atomic, node alone   here, under a barrier when other threads own some (Standing)
//   unnamed ones (SORT BY), alone  here, under a barrier
//   several, atomic, ring         held and run on copies (Engine::transact); on the cluster port
//                                 CROSSSLOT
//
// What most commands do not need stands apart (refused, queue_in_multi, paused, route_keys): the
// way of a plain one of an ordinary client is dispatch -> run_alone -> Engine::run_alone, on a ring
// dispatch -> run_by_job -> Engine::run.

#include <algorithm>

#include "base/hash.h"
#include "base/log.h"
#include "base/numbers.h"
#include "base/ticks.h"
#include "commands/parse.h"
#include "commands/table.h"
#include "ring/slot.h"
#include "server/session.h"
#include "server/slow_log.h"
#include "server/worker_scripts.h"

namespace gyre {
namespace {

std::string unknown_text(Args args) {
  std::string text =
      "unknown command '" + std::string(args[0].substr(0, 128)) + "', with args beginning with: ";
  for (std::size_t i = 1; i < args.size() && text.size() < 256; ++i) {
    text += "'" + std::string(args[i].substr(0, 128)) + "' ";
  }
  return text;
}

// What a RESP2 connection that listens may send: between messages it could not tell other replies.
bool spec_allowed_while_subscribed(const CommandSpec& spec) {
  if (spec.flags & flag::pubsub) return spec.name.ends_with("SUBSCRIBE");
  return spec.name == "PING" || spec.name == "QUIT" || spec.name == "RESET";
}

// What may follow MULTI and is not queued.
bool ends_multi(const CommandSpec& spec) {
  for (const std::string_view name : {"EXEC", "DISCARD", "MULTI", "WATCH", "QUIT", "RESET"}) {
    if (spec.name == name) return true;
  }
  return false;
}

// PING of such a connection looks like a message.
void pong_message(Connection& c, Args args, Reply& reply) {
  if (args.size() > 2) {
    reply.error("wrong number of arguments for 'ping' command");
  } else {
    reply.array(2);
    reply.bulk("pong");
    reply.bulk(args.size() == 2 ? args[1] : std::string_view());
  }
  c.end(0);
}

}  // namespace

// ---- what keeps a command from running

void Worker::refuse(Connection& c, const CommandSpec* spec, const Error& error, Reply& reply) {
  metrics_.total_error_replies.add();
  errors_.note(std::string(error_prefix(error.code)));
  if (c.transaction.open) c.transaction.failed = true;
  if (spec) command_stats_[command_index(*spec)].rejected.add();
  if (spec && spec->name == "EXEC") {
    c.transaction = {};
    // A plain ERR is not told.
    const std::string prefix =
        error.code == Errc::err ? "" : std::string(error_prefix(error.code)) + " ";
    reply.error(Error(Errc::exec_abort,
                      "Transaction discarded because of: " + prefix + std::string(error.text())));
  } else {
    reply.error(error);
  }
  c.end(0);
}

void Worker::unknown(Connection& c, Args args, Reply& reply) {
  if (equals_ignore_case(args[0], "post") || equals_ignore_case(args[0], "host:")) {
    LOG_WARNING("possible cross-protocol attack from %s: the connection is closed",
                c.peer_address().c_str());
    c.end(0);
    return closed(c);
  }
  refuse(c, nullptr, Error(Errc::err, c.authenticated ? unknown_text(args) : "unknown command"),
         reply);
}

// Whether the command, or one that EXEC is to run, has the flag. Scripts look for themselves.
bool Worker::flagged(const Connection& c, const CommandSpec& spec, std::uint32_t flag) {
  const auto has = [flag](const CommandSpec& of) {
    return (of.flags & (flag | flag::script_call)) == flag;
  };
  return has(spec) ||
         (spec.name == "EXEC" &&
          std::any_of(c.transaction.commands.begin(), c.transaction.commands.end(),
                      [&](const OwnedCommand& command) { return has(command.spec()); }));
}

bool Worker::enough_replicas() const {
  const std::uint64_t least = command_options_.min_replicas;
  std::uint64_t up = 0;
  for (std::size_t i = 0; i < links_.size() && up < least; ++i) {
    const auto& view = engine_->peer({static_cast<std::uint16_t>(i)});
    up += view.up && view.serving;
  }
  return up >= least;
}

// True when the command may not run, and the client knows.
bool Worker::refused(Connection& c, const Call& call, Reply& reply) {
  const CommandSpec& spec = *call.spec;
  const auto refuse_with = [&](const Error& error) { return refuse(c, &spec, error, reply), true; };
  if (!spec.run && missing_subcommand_[command_index(spec)]) {
    if (call.args.size() < 2) return refuse_with(Error(Errc::err, wrong_arity(spec)));
    return refuse_with(Error(Errc::err, "unknown subcommand '" +
                                            std::string(call.args[1].substr(0, 128)) + "'. Try " +
                                            std::string(spec.name) + " HELP."));
  }
  if (!arity_ok(spec, call.args.size())) return refuse_with(Error(Errc::err, wrong_arity(spec)));
  if (!c.authenticated && !(spec.flags & flag::no_auth)) return refuse_with(Error(Errc::no_auth));
  c.last_command = &spec;
  if (const auto error = denied(c, spec, call.args)) return refuse_with(*error);
  if (flagged(c, spec, flag::denyoom) && !make_room()) return refuse_with(Error(Errc::oom));
  if (command_options_.min_replicas != 0 && flagged(c, spec, flag::write) && !enough_replicas())
    return refuse_with(Error(Errc::no_replicas));
  if (c.subscribed() && c.protocol == 2 && !spec_allowed_while_subscribed(spec)) {
    return refuse_with(
        Error(Errc::err, "Can't execute '" + to_lower(spec.name) +
                             "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                             "RESET are allowed in this context"));
  }
  if (!(spec.flags & flag::loading) && !server_.serving()) {
    return refuse_with(server_.loading() ? Error(Errc::loading)
                                         : Error(Errc::loading, "Gyre is not serving yet: " +
                                                                    server_.waiting_for()));
  }
  return false;
}

// True when the command waits for EXEC, or may not.
bool Worker::queue_in_multi(Connection& c, const CommandSpec& spec, Args args, Reply& reply) {
  if (ends_multi(spec)) return false;
  if (spec.flags & flag::no_multi) {
    refuse(c, &spec, Error(Errc::err, "Command not allowed inside a transaction"), reply);
    return true;
  }
  DbIndex db = c.transaction.commands.empty() ? c.db : c.transaction.db;
  c.transaction.commands.emplace_back(spec, db, args);
  if (spec.name == "SELECT") {
    if (const auto n = parse_int(args[1]);
        n && *n >= 0 && *n < static_cast<std::int64_t>(space_->databases())) {
      db = command_options_.databases.lies(static_cast<std::size_t>(*n));
    }
  }
  c.transaction.db = db;
  reply.simple("QUEUED");
  c.end(0);
  return true;
}

// By CLIENT PAUSE.
bool Worker::paused(const Connection& c, const CommandSpec& spec, Args args) {
  if (spec.name.substr(0, 6) == "CLIENT" ||
      wall_ms() >= server_.pause_clients_until.load(std::memory_order_relaxed))
    return false;
  if (!server_.pause_writes_only) return true;
  const auto writes = [this](const CommandSpec& of, Args its) {
    return (of.flags & (flag::write | flag::may_replicate)) != 0 &&
           !((of.flags & flag::script_call) && script_says(of, its, &ScriptFlags::no_writes));
  };
  if (spec.name != "EXEC") return writes(spec, args);
  return std::any_of(
      c.transaction.commands.begin(), c.transaction.commands.end(),
      [&](const OwnedCommand& command) { return writes(command.spec(), command.args()); });
}

void Worker::tell_blocked() {
  metrics_.blocked_clients.set(blocking_.waiting() + client_paused_.size());
}

// ---- while a script pauses

// True when the command has to wait until it ends, or is refused because that takes long.
bool Worker::waits_for_script(Connection& c, const Call& call, Reply& reply) {
  const CommandSpec* const spec = call.spec;
  if (!spec) return false;
  if (scripts_->busy()) {
    if (spec->flags & flag::allow_busy) return false;
    // A client whose own script it is hears nothing before that has ended.
    if (!c.waits_for_answer()) return refuse(c, spec, Error(Errc::busy), reply), true;
  }
  c.begin_again_later(OwnedCommand(*spec, c.db, call.args));
  scripts_->wait(c);
  return true;
}

// ---- one command

// Of the commands of a turn: time is read once, and again after about a millisecond of them.
void Worker::read_clock() {
  now_ = wall_ms();
  measured_ = clock_read_ = ticks_now();
}

void Worker::clock_again() {
  read_clock();
  look_again();
}

// Whether anything of this node speaks against plain commands; also of writes.
void Worker::look_around() {
  calm_ = !held_ && server_.serving() && command_options_.min_replicas == 0 &&
          server_.pause_clients_until.load(std::memory_order_relaxed) == 0 &&
          server_.monitoring_threads.load(std::memory_order_relaxed) == 0;
  unlimited_ = command_options_.memory.limit == 0;
}

// Most commands: nothing of the node, of the client or of the command asks for more than to run it.
inline bool Worker::ordinary(const Connection& c, const Call& call) const {
  return call.plain && calm_ && c.ordinary() &&
         (unlimited_ || !(call.spec->flags & flag::denyoom)) &&
         (!c.cluster_aware || server_.alone() || engine_->holds(call.slot));
}

void Worker::dispatch(Connection& c, Call& call) {
  metrics_.total_commands_processed.add();
  if (!ordinary(c, call)) {
    dispatch_carefully(c, call);
    return look_around();
  }
  c.last_command = call.spec;
  Reply reply(c.begin(), c.protocol);
  const std::size_t start = reply.out().size();
  engine_->alone() ? run_alone(c, call, reply) : run_by_job(c, call, reply);
  ran(c, call, reply, start);
}

void Worker::dispatch_carefully(Connection& c, Call& call) {
  const CommandSpec* const spec = call.spec;
  if (c.suspended()) {
    c.defer(OwnedCommand(spec, c.db, call.args));
    return;
  }
  const auto mode_before = c.reply_mode;
  c.next_reply_mode();
  Reply reply(c.begin(), c.protocol);
  if (held_ && waits_for_script(c, call, reply)) [[unlikely]] {
    c.reply_mode = c.suspended() ? mode_before : c.reply_mode;
    return;
  }
  if (!spec || (spec->flags & flag::internal)) return unknown(c, call.args, reply);
  if (refused(c, call, reply) ||
      (c.transaction.open && queue_in_multi(c, *spec, call.args, reply))) {
    measured_ = ticks_now();
    return;
  }
  if (server_.pause_clients_until.load(std::memory_order_relaxed) > 0 &&
      paused(c, *spec, call.args)) {
    c.reply_mode = mode_before;  // it begins again later
    c.begin_again_later(OwnedCommand(*spec, c.db, call.args));
    client_paused_.push_back(c.id);
    tell_blocked();
    return;
  }
  // What goes over all slots does not overtake what this client sent before and still waits for a
  // slot.
  if ((spec->flags & flag::all_slots) && !server_.alone() && c.waits_for_answer()) {
    c.reply_mode = mode_before;
    c.waits_for_earlier = true;
    return c.begin_again_later(OwnedCommand(*spec, c.db, call.args));
  }
  const bool monitored = server_.monitoring_threads.load(std::memory_order_relaxed) != 0;
  if (monitored && spec->name == "EXEC" && !c.transaction.failed) {
    for (const OwnedCommand& command : c.transaction.commands) {
      tell_monitors(c, command.spec(), command.db(), command.args());
      tell_monitors_of_script(c, command.spec(), command.db(), command.args());
    }
  }
  if (monitored) tell_monitors_of_script(c, *spec, c.db, call.args);
  const std::size_t start = reply.out().size();
  spec->run ? route(c, call, reply) : run_session(c, *spec, call.args, reply);
  // CLIENT CACHING is about the next command, or the transaction that begins with it.
  if (c.tracking && !c.transaction.open && !spec->name.starts_with("CLIENT"))
    c.tracking->caching = ClientTracking::Caching::unsaid;
  ran(c, call, reply, start);
  if (monitored) tell_monitors(c, *spec, c.db, call.args);
}

// A command has run; the reply begins at `start`, when it is there.
[[gnu::always_inline]] inline void Worker::ran(Connection& c, const Call& call, Reply& reply,
                                               std::size_t start) {
  if (c.is_open() && reply.out().size() > start && reply.out()[start] == '-') [[unlikely]] {
    command_stats_[command_index(*call.spec)].failed.add();
    metrics_.total_error_replies.add();
    errors_.note(std::string_view(reply.out()).substr(start, 64));
  }
  measure(c, *call.spec, call.args);
  // Behind the command, and before the next: whoever waited for what it did.
  if (space_->waits().ready() || space_->tracked().ready()) [[unlikely]]
    tell_of_changes();
}

// A command ends where the next one begins: one reading of the processor's clock for each.
[[gnu::always_inline]] inline void Worker::measure(Connection& c, const CommandSpec& spec,
                                                   Args args) {
  const std::uint64_t took = ticks_now() - measured_;
  measured_ += took;
  CommandStats& stats = command_stats_[command_index(spec)];
  stats.calls.add();
  stats.ticks.add(took);
  stats.took.add(took);
  if (took >= slow_ticks_)
    note_slow(*this, c, spec, args, static_cast<std::int64_t>(ticks_to_us(took)));
  if (measured_ - clock_read_ > ticks_per_ms_) [[unlikely]]
    clock_again();
}

void Worker::tell_of_changes() {
  if (space_->waits().ready()) engine_->serve_ready();
  if (space_->tracked().ready()) tell_readers();
}

void Worker::run_session(Connection& c, const CommandSpec& spec, Args args, Reply& reply) {
  const SessionHandler handler = session_handler(spec);
  if (!handler) {
    c.end(0);
    if (!transaction_command(c, spec, args)) {
      Reply again(c.begin(), c.protocol);
      again.error("this command is not built yet");
      c.end(0);
    }
    return;
  }
  if (spec.keys.first != 0 && c.cluster_aware && !server_.alone() &&
      !answers_here(c, spec, args, reply))
    return;
  run_handler(c, handler, spec, args, reply);
}

void Worker::run_handler(Connection& c, void (*handler)(SessionCall&), const CommandSpec& spec,
                         Args args, Reply& reply) {
  SessionCall call{.worker = *this, .connection = c, .args = args, .reply = reply, .spec = spec};
  acting_ = &c;
  handler(call);
  refresh_command_options();  // CONFIG SET, ACL SETUSER: what follows in this turn knows
  acting_ = nullptr;
  if (!call.deferred) c.end(0);
}

// ---- where it runs

std::string Worker::moved_text(Slot slot) const {
  NodeIndex to = engine_->acting_node(slot);
  const Ring& ring = server_.ring();
  if (to.value >= ring.nodes().size()) to = ring.replicas(slot).front();
  const NodeInfo& node = ring.node(to);
  return "-MOVED " + std::to_string(slot.value) + " " + std::string(node.client_host()) + ":" +
         std::to_string(node.client_cluster_port()) + "\r\n";
}

// A cluster-aware client's shard channels: those of one slot, which this node holds.
bool Worker::answers_here(Connection& c, const CommandSpec& spec, Args args, Reply& reply) {
  std::optional<Slot> slot;
  bool several = false;
  for_each_key(spec, args, [&](std::size_t i) {
    const Slot s = key_slot(args[i]);
    several |= slot && *slot != s;
    slot = s;
  });
  if (!slot || (!several && engine_->holds(*slot))) return true;
  several ? reply.error(Errc::cross_slot) : reply.raw(moved_text(*slot));
  c.end(0);
  return false;
}

inline void Worker::route(Connection& c, Call& call, Reply& reply) {
  const CommandSpec& spec = *call.spec;
  // A plain command: its only key is known, and of this thread.
  if (call.known && spec.plain && space_->owns(call.slot) &&
      (!c.cluster_aware || server_.alone() || engine_->holds(call.slot)))
    return run_here(c, call, reply);
  if (spec.flags & flag::script_call) [[unlikely]]
    return route_script(c, spec, call.args, reply);
  route_keys(c, spec, call.args, reply);
}

void Worker::route_keys(Connection& c, const CommandSpec& spec, Args args, Reply& reply) {
  std::vector<Slot>& slots = route_slots_;
  slots.clear();
  for_each_key(spec, args, [&](std::size_t i) { slots.push_back(key_slot(args[i])); });
  if (slots.empty()) {
    // No key at all (PING): here, at once.
    if (c.subscribed() && c.protocol == 2 && spec.name == "PING")
      return pong_message(c, args, reply);
    if (spec.wanders && !server_.alone()) return run_handler(c, swap_databases, spec, args, reply);
    if ((spec.flags & flag::pubsub) && !server_.alone())
      return run_handler(c, publish_on_ring, spec, args, reply);
    if (spec.wanders && spec.wanders(args)) {
      c.end_dropped();
      Transaction one;
      one.commands.emplace_back(spec, c.db, args);
      one.tracking = tracking_of(c);
      return run_one_under_barrier(c, std::move(one));
    }
    CommandContext ctx(args, reply, c.db, now_, spaces_, nullptr, random_, command_options_);
    ctx.publish_to(*this, spec);
    spec.run(ctx);
    return c.end(0);
  }
  const Slot slot = slots.front();
  const bool several = std::any_of(slots.begin(), slots.end(), [&](Slot s) { return s != slot; });
  if (c.cluster_aware && !server_.alone() && (!several || spec.scatter == Scatter::none) &&
      !engine_->holds(slot)) {
    reply.raw(moved_text(slot));
    return c.end(0);
  }
  if ((spec.flags & flag::blocking) && asks_to_wait(spec, args))
    return blocking_.begin(c, spec, args, slots);
  const bool wanders = spec.wanders && (server_.alone() || !c.cluster_aware) && spec.wanders(args);
  if (several || wanders) {
    const ShardIndex first = server_.shard_of(slot);
    const bool one_shard = !wanders && std::all_of(slots.begin(), slots.end(), [&](Slot s) {
      return server_.shard_of(s) == first;
    });
    if (!server_.alone() || !one_shard) {
      if (spec.scatter != Scatter::none && !(server_.alone() && spec.scatter == Scatter::all_ok)) {
        c.end_dropped();
        return scatter(c, spec, args);
      }
      if (!server_.alone() && c.cluster_aware) {
        reply.error(Errc::cross_slot);
        return c.end(0);
      }
      c.end_dropped();
      if (!server_.alone()) {
        Request r;
        r.protocol = c.protocol;
        r.levels = c.levels_now();
        r.tracking = tracking_of(c);
        r.commands.emplace_back(spec, c.db, args);
        c.note_write(spec, args, c.db);
        return transact(c, std::move(r));
      }
      Transaction one;
      one.commands.emplace_back(spec, c.db, args);
      one.tracking = tracking_of(c);
      return run_one_under_barrier(c, std::move(one));
    }
  }
  if (space_->owns(slot)) {
    Call here({&spec, args, c.db});
    here.slot = slot;
    return run_here(c, here, reply);
  }
  c.end_dropped();
  Request r = request_of(c, spec, args, slot);
  if (!server_.alone()) c.note_write(spec, args, c.db);
  submit(std::move(r));
}

// A command that goes elsewhere; its reply has a place in the client's line.
Request Worker::request_of(Connection& c, const CommandSpec& spec, Args args, Slot slot) {
  Request r;
  r.ticket = {
      .remote = false, .shard = shard_.value, .peer = {}, .connection = c.id, .id = c.reserve()};
  r.slot = slot;
  r.protocol = c.protocol;
  r.levels = c.levels_now();
  r.tracking = tracking_of(c);
  r.commands.emplace_back(spec, c.db, args);
  return r;
}

// The slot is of this thread's shard.
inline void Worker::run_here(Connection& c, Call& call, Reply& reply) {
  !engine_->alone() || c.tracking ? run_by_job(c, call, reply) : run_alone(c, call, reply);
}

// Of a client that does not track.
inline void Worker::run_alone(Connection& c, Call& call, Reply& reply) {
  call.now = now_;
  c.end(engine_->run_alone(call, call, reply));
}

// On a ring, and of a client that tracks.
void Worker::run_by_job(Connection& c, const Call& call, Reply& reply) {
  Engine::Job job;
  job.ticket = {
      .remote = false, .shard = shard_.value, .peer = {}, .connection = c.id, .id = c.next_place()};
  job.slot = call.slot;
  job.hash = call.hash;
  job.hash_known = call.known;
  job.protocol = c.protocol;
  job.levels = c.levels_now();
  job.now = now_;
  job.tracking = tracking_of(c);
  std::uint64_t gate = 0;
  dispatching_ = &c;
  early_.clear();
  const Ran ran = engine_->run(call, job, reply.out(), gate);
  dispatching_ = nullptr;
  if (ran != Ran::pending) return c.end(gate);
  if (!server_.alone()) c.note_write(*call.spec, call.args, c.db);
  c.end_dropped();
  const std::uint64_t place = c.reserve();
  GYRE_ASSERT(place == job.ticket.id);
  if (!early_.empty()) c.fill(place, std::move(early_), 0);
}

// ---- answers that come later

void Worker::count_error(const CommandSpec& spec, std::string_view reply) {
  command_stats_[command_index(spec)].failed.add();
  // Of a script whoever ran it has counted its error.
  if (!(spec.flags & flag::script_call)) count_error(reply);
}

void Worker::count_error(std::string_view reply) {
  metrics_.total_error_replies.add();
  errors_.note(reply.substr(0, 64));
}

std::uint64_t SessionCall::later(bool hold) {
  deferred = true;
  if (instead) return worker.callback_ticket(std::exchange(instead, {})).id | place_of_callback;
  if (inside_exec) return 0;
  connection.end_dropped();
  const std::uint64_t place = connection.reserve();
  if (!hold) return place;
  connection.suspend();
  return place | place_suspends;
}

void finish_later(Worker& worker, std::uint64_t connection, std::uint64_t place,
                  std::string&& reply, std::uint64_t gate) {
  if (place & place_of_callback)
    return worker.call_back(place & ~place_of_callback, std::move(reply), gate);
  Connection* c = worker.find(connection);
  if (!c) return;
  c->fill(place & ~place_suspends, std::move(reply), gate);
  if (place & place_suspends) c->resume();
}

void Worker::transact(Connection& c, Request&& request) {
  const std::uint64_t place = c.reserve() | place_suspends;
  c.suspend();
  request.ticket =
      callback_ticket([this, id = c.id, place](std::string&& reply, std::uint64_t gate) {
        finish_later(*this, id, place, std::move(reply), gate);
      });
  engine_->transact(std::move(request));
}

void Worker::submit_anywhere(Request&& request, std::function<void(std::string&&)> done) {
  request.ticket = callback_ticket(
      [done = std::move(done)](std::string&& reply, std::uint64_t) { done(std::move(reply)); });
  submit(std::move(request));
}

void Worker::submit(Request&& request) {
  const ShardIndex owner = server_.shard_of(request.slot);
  if (owner == shard_) return engine_->submit(std::move(request));
  auto shared = std::make_shared<Request>(std::move(request));
  send_mail(owner, [shared](Worker& w) {
    if (!w.gone(shared->ticket)) w.engine_->submit(std::move(*shared));
  });
}

bool Worker::gone(const Ticket& ticket) const {
  if (ticket.remote || ticket.connection == 0) return false;
  if (server_.gone_clients.has(ticket.connection)) return true;
  // The end of its stream may not have been read yet.
  if (ticket.shard != shard_.value || now_ms() >= looks_for_gone_until_) return false;
  const auto at = connections_.find(ticket.connection);
  return at != connections_.end() && at->second->peer_closed();
}

Ticket Worker::callback_ticket(Answered done) {
  const std::uint64_t id = next_callback_++;
  callbacks_.emplace(id, std::move(done));
  return {.remote = false, .shard = shard_.value, .peer = {}, .connection = 0, .id = id};
}

void Worker::call_back(std::uint64_t id, std::string&& reply, std::uint64_t gate) {
  auto node = callbacks_.extract(id);
  if (!node.empty()) node.mapped()(std::move(reply), gate);
}

}  // namespace gyre
