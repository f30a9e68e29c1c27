// Dispatch: one command of a client from its words to where it runs.
//
// Order of checks, as Redis: known, arity, authenticated, queued in MULTI, paused, loading, memory.
// Then a session handler, or routing by the keys' slots:
//
//   one slot                      its shard here runs it, or forwards it to who acts
//   several, plain (MGET, DEL)    parts by slot, answers joined
//   several, atomic, node alone   here, under a barrier when other threads own some
//   unnamed ones (SORT BY), alone  here, under a barrier
//   several, atomic, ring         CROSSSLOT

#include <algorithm>
#include <map>

#include "base/hash.h"
#include "base/log.h"
#include "base/numbers.h"
#include "base/ticks.h"
#include "commands/table.h"
#include "ring/slot.h"
#include "server/join.h"
#include "server/session.h"
#include "server/slow_log.h"

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

std::string wrong_arity(const CommandSpec& spec) {
  return "wrong number of arguments for '" + to_lower(spec.name) + "' command";
}

std::string moved_text(Worker& worker, Slot slot) {
  NodeIndex to = worker.engine().acting_node(slot);
  const Ring& ring = worker.server().ring();
  if (to.value >= ring.nodes().size()) to = ring.replicas(slot).front();
  const NodeInfo& node = ring.node(to);
  return "-MOVED " + std::to_string(slot.value) + " " + std::string(node.client_host()) + ":" +
         std::to_string(node.client_cluster_port()) + "\r\n";
}

// A cluster-aware client's shard channels: those of one slot, which this node holds.
bool answers_here(Worker& worker, Connection& c, const CommandSpec& spec, Args args, Reply& reply) {
  std::optional<Slot> slot;
  bool several = false;
  for_each_key(spec, args, [&](std::size_t i) {
    const Slot s = key_slot(args[i]);
    several |= slot && *slot != s;
    slot = s;
  });
  if (!slot || (!several && worker.engine().holds(*slot))) return true;
  several ? reply.error(Errc::cross_slot) : reply.raw(moved_text(worker, *slot));
  c.end(0);
  return false;
}

// What a RESP2 connection that listens may send: between messages it could not tell other replies.
bool spec_allowed_while_subscribed(const CommandSpec& spec) {
  if (spec.flags & flag::pubsub) return spec.name.ends_with("SUBSCRIBE");
  return spec.name == "PING" || spec.name == "QUIT" || spec.name == "RESET";
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

// ---- MULTI, EXEC, WATCH

class TransactionCommands {
 public:
  // True when the command was one of them, and is answered or on its way.
  static bool handle(Worker& w, Connection& c, const CommandSpec& spec, Args args) {
    if (spec.name == "MULTI") return multi(c), true;
    if (spec.name == "DISCARD") return discard(c), true;
    if (spec.name == "EXEC") return exec(w, c), true;
    if (spec.name == "WATCH") return watch(w, c, args), true;
    if (spec.name == "UNWATCH") return unwatch(c), true;
    return false;
  }

  static void reply_with(Connection& c, const std::function<void(Reply&)>& f) {
    Reply reply(c.begin(), c.protocol);
    f(reply);
    c.end(0);
  }

 private:
  static void multi(Connection& c) {
    reply_with(c, [&](Reply& r) {
      if (c.transaction.open) return r.error("MULTI calls can not be nested");
      c.transaction.open = true;
      r.ok();
    });
  }
  static void discard(Connection& c) {
    reply_with(c, [&](Reply& r) {
      if (!c.transaction.open) return r.error("DISCARD without MULTI");
      c.transaction = {};
      r.ok();
    });
  }
  static void unwatch(Connection& c) {
    c.transaction.watches.clear();
    reply_with(c, [](Reply& r) { r.ok(); });
  }

  static void watch(Worker& w, Connection& c, Args args) {
    if (c.transaction.open)
      return reply_with(c, [](Reply& r) { r.error("WATCH inside MULTI is not allowed"); });
    static const CommandSpec* version = find_command("GYRE.VERSION");
    const std::uint64_t place = c.reserve();
    c.suspend();
    auto left = std::make_shared<std::size_t>(args.size() - 1);
    auto failed = std::make_shared<std::string>();
    for (std::size_t i = 1; i < args.size(); ++i) {
      const std::string_view words[] = {"GYRE.VERSION", args[i]};
      Request r;
      r.slot = key_slot(args[i]);
      r.levels = c.levels.watching();
      r.commands.emplace_back(*version, c.db, Args(words));
      r.ticket = w.callback_ticket([&w, id = c.id, place, left, failed, key = std::string(args[i]),
                                    db = c.db](std::string&& reply, std::uint64_t) {
        Connection* client = w.find(id);
        if (reply.starts_with('-')) *failed = reply;
        if (client && reply.starts_with(':')) {
          const auto bits = static_cast<std::uint64_t>(
              parse_int(std::string_view(reply).substr(1, reply.size() - 3)).value_or(0));
          client->transaction.watches.push_back({db, key, Version{bits}});
        }
        if (--*left > 0 || !client) return;
        client->fill(place, failed->empty() ? "+OK\r\n" : std::string(*failed), 0);
        client->resume();
      });
      w.submit(std::move(r));
    }
  }

  static void exec(Worker& w, Connection& c) {
    if (!c.transaction.open) return reply_with(c, [](Reply& r) { r.error("EXEC without MULTI"); });
    Transaction t = std::move(c.transaction);
    c.transaction = {};
    if (t.failed) return reply_with(c, [](Reply& r) { r.error(Errc::exec_abort); });
    w.run_transaction(c, std::move(t));
  }
};

void Worker::run_transaction(Connection& c, Transaction&& t) {
  // The slots of all keys, watched ones too; data commands and session commands apart.
  std::vector<Slot> slots;
  for (const OwnedCommand& command : t.commands) {
    for_each_key(command.spec(), command.args(),
                 [&](std::size_t i) { slots.push_back(key_slot(command.args()[i])); });
  }
  for (const Watch& watch : t.watches) slots.push_back(key_slot(watch.key));
  std::sort(slots.begin(), slots.end());
  slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
  const bool one_shard = std::all_of(slots.begin(), slots.end(), [&](Slot s) {
    return server_.shard_of(s) == server_.shard_of(slots.front());
  });
  if (!server_.alone() && slots.size() > 1) {
    return TransactionCommands::reply_with(c, [](Reply& r) { r.error(Errc::cross_slot); });
  }
  if (c.cluster_aware && !slots.empty() && !server_.alone() && !engine_->holds(slots.front())) {
    Reply reply(c.begin(), c.protocol);
    reply.raw(moved_text(*this, slots.front()));
    return c.end(0);
  }
  const bool walks =
      std::any_of(t.commands.begin(), t.commands.end(), [](const OwnedCommand& command) {
        const CommandSpec& spec = command.spec();
        return (spec.flags & flag::all_slots) || (spec.wanders && spec.wanders(command.args()));
      });
  if (server_.alone() && (!one_shard || walks)) {
    // Several threads: all stand still while it runs here.
    const bool done = with_barrier([&] {
      Reply reply(c.begin(), c.protocol);
      run_inline(c, t, reply);
      c.end(0);
    });
    if (!done) retry_transaction(c, std::move(t));
    return;
  }
  auto session = std::make_shared<std::vector<std::pair<std::size_t, OwnedCommand>>>();
  Request r;
  r.exec = true;
  r.protocol = c.protocol;
  r.levels = c.levels;
  r.watches = std::move(t.watches);
  r.slot = slots.empty() ? space_->first_slot() : slots.front();
  const std::size_t count = t.commands.size();
  for (std::size_t i = 0; i < count; ++i) {
    if (t.commands[i].spec().run) {
      r.commands.push_back(std::move(t.commands[i]));
    } else {
      session->emplace_back(i, std::move(t.commands[i]));
    }
  }
  const std::uint64_t place = c.reserve();
  if (session->empty() && !r.commands.empty() && !slots.empty()) {
    r.ticket = {
        .remote = false, .shard = shard_.value, .peer = {}, .connection = c.id, .id = place};
    return submit(std::move(r));
  }
  // Session commands run here, between the answers of the others, once those are known.
  c.suspend();
  auto finish = [this, id = c.id, place, session, count](std::string&& reply, std::uint64_t gate) {
    Connection* client = find(id);
    if (!client) return;
    if (reply.starts_with('*') || reply.empty()) {
      std::vector<std::string_view> parts = reply_elements(reply);
      if (reply != "*-1\r\n") {
        std::string out;
        Reply writer(out, client->protocol);
        writer.array(count);
        std::size_t next_part = 0, next_session = 0;
        for (std::size_t i = 0; i < count; ++i) {
          if (next_session < session->size() && (*session)[next_session].first == i) {
            run_session_inline(*client, (*session)[next_session++].second, writer);
          } else if (next_part < parts.size()) {
            writer.raw(parts[next_part++]);
          }
        }
        client->fill(place, std::move(out), gate);
        return client->resume();
      }
    }
    client->fill(place, std::move(reply), gate);
    client->resume();
  };
  if (r.commands.empty() && r.watches.empty()) return finish({}, 0);
  r.ticket = callback_ticket(std::move(finish));
  submit(std::move(r));
}

// Runs a transaction of a node that is alone, on this thread, all shards within reach.
void Worker::run_inline(Connection& c, const Transaction& t, Reply& reply) {
  for (const Watch& watch : t.watches) {
    if (engine_->watch_version(key_slot(watch.key), watch.db, watch.key) != watch.version)
      return reply.null_array();
  }
  reply.array(t.commands.size());
  for (const OwnedCommand& command : t.commands) {
    if (!command.spec().run) {
      run_session_inline(c, command, reply, true);
      continue;
    }
    CommandContext ctx(command.args(), reply, command.db(), wall_ms(), spaces_, nullptr, random_,
                       command_options_);
    ctx.publish_to(*this, command.spec());
    command.spec().run(ctx);
  }
}

void Worker::run_session_inline(Connection& c, const OwnedCommand& command, Reply& reply,
                                bool all_here) {
  const SessionHandler handler = session_handler(command.spec());
  if (!handler) return reply.error("this command does not work inside MULTI");
  SessionCall call{.worker = *this,
                   .connection = c,
                   .args = command.args(),
                   .reply = reply,
                   .spec = command.spec()};
  call.inline_only = true;
  call.all_here = all_here;
  const std::size_t before = reply.out().size();
  handler(call);
  if (call.deferred) {
    reply.out().resize(before);
    reply.error("this command does not work inside MULTI yet");
  }
}

void Worker::retry_transaction(Connection& c, Transaction&& t) {
  // Another thread holds the barrier: again in a moment. The client's later commands wait.
  c.suspend();
  auto kept = std::make_shared<Transaction>(std::move(t));
  post([id = c.id, kept](Worker& w) {
    Connection* client = w.find(id);
    if (!client) return;
    client->lift_suspension();
    w.run_transaction(*client, std::move(*kept));
    if (client->is_open() && !client->suspended()) client->resume();
  });
}

// ---- later replies

std::uint64_t SessionCall::later(bool hold) {
  if (!inline_only) {
    connection.end_dropped();
    place = connection.reserve();
    if (hold) connection.suspend();
  }
  deferred = true;
  return place;
}

void finish_later(Worker& worker, std::uint64_t connection, std::uint64_t place,
                  std::string&& reply, std::uint64_t gate) {
  Connection* c = worker.find(connection);
  if (!c) return;
  c->fill(place, std::move(reply), gate);
  if (c->suspended()) c->resume();
}

// ---- one command

void Worker::dispatch(Connection& c, const CommandSpec* spec, Args args, Slot slot,
                      std::uint64_t hash, bool keyed) {
  metrics_.total_commands_processed.add();
  if (spec && c.suspended()) {
    c.defer(OwnedCommand(*spec, c.db, args));
    return;
  }
  const auto mode_before = c.reply_mode;
  c.next_reply_mode();
  Reply reply(c.begin(), c.protocol);
  const auto refuse = [&](const Error& error) {
    metrics_.total_error_replies.add();
    errors_.note(std::string(error_prefix(error.code)));
    if (c.transaction.open) c.transaction.failed = true;
    if (spec) command_stats_[command_index(*spec)].rejected.add();
    reply.error(error);
    c.end(0);
  };
  if (spec && (spec->flags & flag::internal)) spec = nullptr;
  if (!spec) {
    if (equals_ignore_case(args[0], "post") || equals_ignore_case(args[0], "host:")) {
      LOG_WARNING("possible cross-protocol attack from %s: the connection is closed",
                  c.peer_address().c_str());
      c.end(0);
      return closed(c);
    }
    return refuse(Error(Errc::err, c.authenticated ? unknown_text(args) : "unknown command"));
  }
  if (missing_subcommand_[command_index(*spec)]) {
    if (args.size() < 2) return refuse(Error(Errc::err, wrong_arity(*spec)));
    return refuse(Error(Errc::err, "unknown subcommand '" + std::string(args[1].substr(0, 128)) +
                                       "'. Try " + std::string(spec->name) + " HELP."));
  }
  if (!arity_ok(*spec, args.size())) return refuse(Error(Errc::err, wrong_arity(*spec)));
  if (!c.authenticated && !(spec->flags & flag::no_auth)) return refuse(Errc::no_auth);
  c.last_command = spec->name;
  const bool ends_multi = spec->name == "EXEC" || spec->name == "DISCARD" ||
                          spec->name == "MULTI" || spec->name == "WATCH" || spec->name == "QUIT" ||
                          spec->name == "RESET";
  if ((spec->flags & flag::denyoom) && !make_room()) return refuse(Errc::oom);
  if (c.subscribed() && c.protocol == 2 && !spec_allowed_while_subscribed(*spec)) {
    return refuse(Error(Errc::err, "Can't execute '" + to_lower(spec->name) +
                                       "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                                       "RESET are allowed in this context"));
  }
  if (!(spec->flags & flag::loading) && !server_.serving()) {
    return refuse(server_.loading()
                      ? Error(Errc::loading)
                      : Error(Errc::loading, "Gyre is not serving yet: " + server_.waiting_for()));
  }
  if (c.transaction.open && !ends_multi) {
    if (spec->flags & flag::no_multi)
      return refuse(Error(Errc::err, "Command not allowed inside a transaction"));
    DbIndex db = c.transaction.commands.empty() ? c.db : c.transaction.db;
    c.transaction.commands.emplace_back(*spec, db, args);
    if (spec->name == "SELECT") {
      if (const auto n = parse_int(args[1]);
          n && *n >= 0 && *n < static_cast<std::int64_t>(space_->databases())) {
        db = DbIndex{static_cast<std::uint8_t>(*n)};
      }
    }
    c.transaction.db = db;
    reply.simple("QUEUED");
    return c.end(0);
  }
  if (server_.pause_clients_until.load(std::memory_order_relaxed) > 0 &&
      spec->name.substr(0, 6) != "CLIENT" &&
      (!server_.pause_writes_only || (spec->flags & (flag::write | flag::may_replicate)) ||
       spec->name == "EXEC") &&
      wall_ms() < server_.pause_clients_until.load(std::memory_order_relaxed)) {
    c.end(0);
    c.reply_mode = mode_before;  // it begins again later
    c.suspend();
    c.defer(OwnedCommand(*spec, c.db, args));
    client_paused_.push_back(c.id);
    return;
  }
  const bool monitored = server_.monitoring_threads.load(std::memory_order_relaxed) != 0;
  if (monitored && spec->name == "EXEC" && !c.transaction.failed) {
    for (const OwnedCommand& command : c.transaction.commands)
      tell_monitors(c, command.spec(), command.db(), command.args());
  }
  CommandStats& stats = command_stats_[command_index(*spec)];
  stats.calls.add();
  const std::uint64_t from = ticks_now();
  const std::size_t start = reply.out().size();
  if (!spec->run) {
    if (session_handler(*spec) == nullptr) {
      c.end(0);
      if (!TransactionCommands::handle(*this, c, *spec, args)) {
        Reply again(c.begin(), c.protocol);
        again.error("this command is not built yet");
        c.end(0);
      }
    } else {
      if (spec->keys.first != 0 && c.cluster_aware && !server_.alone() &&
          !answers_here(*this, c, *spec, args, reply))
        return;
      SessionCall call{
          .worker = *this, .connection = c, .args = args, .reply = reply, .spec = *spec};
      session_handler (*spec)(call);
      refresh_command_options();  // CONFIG SET: what follows in this turn knows
      if (!call.deferred) c.end(0);
    }
  } else {
    route(c, *spec, args, slot, hash, keyed, reply);
  }
  const std::uint64_t ticks = ticks_now() - from;
  stats.ticks.add(ticks);
  stats.usec.set(ticks_to_us(stats.ticks.get()));
  if (c.is_open() && reply.out().size() > start && reply.out()[start] == '-') {
    stats.failed.add();
    metrics_.total_error_replies.add();
    errors_.note(std::string_view(reply.out()).substr(start, 64));
  }
  if (monitored) tell_monitors(c, *spec, c.db, args);
  const std::int64_t slow = server_.config().slowlog_log_slower_than;
  if (slow < 0 || (spec->flags & flag::skip_slowlog)) return;
  if (const auto us = static_cast<std::int64_t>(ticks_to_us(ticks)); us >= slow)
    slow_log_note(*this, c, args, us);
}

void Worker::route(Connection& c, const CommandSpec& spec, Args args, Slot slot, std::uint64_t hash,
                   bool keyed, Reply& reply) {
  std::vector<Slot>& slots = route_slots_;
  slots.clear();
  const bool one_key = spec.keys.first == 1 && spec.keys.last == 1 && !spec.find_keys;
  if (!one_key || !keyed) {
    for_each_key(spec, args, [&](std::size_t i) { slots.push_back(key_slot(args[i])); });
    if (slots.empty()) {
      // No key at all (PING): here, at once.
      if (c.subscribed() && c.protocol == 2 && spec.name == "PING")
        return pong_message(c, args, reply);
      CommandContext ctx(args, reply, c.db, wall_ms(), spaces_, nullptr, random_, command_options_);
      ctx.publish_to(*this, spec);
      spec.run(ctx);
      return c.end(0);
    }
    slot = slots.front();
    keyed = false;
  }
  const bool several = std::any_of(slots.begin(), slots.end(), [&](Slot s) { return s != slot; });
  if (c.cluster_aware && !server_.alone() && (!several || spec.scatter == Scatter::none) &&
      !engine_->holds(slot)) {
    reply.raw(moved_text(*this, slot));
    return c.end(0);
  }
  const bool wanders = spec.wanders && server_.alone() && spec.wanders(args);
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
      if (!server_.alone()) {
        reply.error(Errc::cross_slot);
        return c.end(0);
      }
      c.end_dropped();
      Transaction one;
      one.commands.emplace_back(spec, c.db, args);
      return run_one_under_barrier(c, std::move(one));
    }
  }
  const ShardIndex owner = server_.shard_of(slot);
  if (owner == shard_) {
    Engine::Job job;
    job.ticket = {.remote = false,
                  .shard = shard_.value,
                  .peer = {},
                  .connection = c.id,
                  .id = c.next_place()};
    job.slot = slot;
    job.hash = hash;
    job.hash_known = keyed;
    job.protocol = c.protocol;
    job.levels = c.levels_now();
    std::uint64_t gate = 0;
    dispatching_ = &c;
    early_.clear();
    const Ran ran = engine_->run({&spec, args, c.db}, job, reply.out(), gate);
    dispatching_ = nullptr;
    if (ran != Ran::pending) return c.end(gate);
    c.end_dropped();
    const std::uint64_t place = c.reserve();
    GYRE_ASSERT(place == job.ticket.id);
    if (!early_.empty()) c.fill(place, std::move(early_), 0);
    return;
  }
  c.end_dropped();
  Request r;
  r.ticket = {
      .remote = false, .shard = shard_.value, .peer = {}, .connection = c.id, .id = c.reserve()};
  r.slot = slot;
  r.protocol = c.protocol;
  r.levels = c.levels_now();
  r.commands.emplace_back(spec, c.db, args);
  submit(std::move(r));
}

void Worker::run_one_under_barrier(Connection& c, Transaction&& one) {
  const bool done = with_barrier([&] {
    Reply reply(c.begin(), c.protocol);
    const OwnedCommand& command = one.commands.front();
    CommandContext ctx(command.args(), reply, command.db(), wall_ms(), spaces_, nullptr, random_,
                       command_options_);
    ctx.publish_to(*this, command.spec());
    command.spec().run(ctx);
    c.end(0);
  });
  if (done) return;
  c.suspend();
  auto kept = std::make_shared<Transaction>(std::move(one));
  post([id = c.id, kept](Worker& w) {
    Connection* client = w.find(id);
    if (!client) return;
    client->lift_suspension();
    w.run_one_under_barrier(*client, std::move(*kept));
    if (client->is_open() && !client->suspended()) client->resume();
  });
}

void Worker::submit(Request&& request) {
  const ShardIndex owner = server_.shard_of(request.slot);
  if (owner == shard_) return engine_->submit(std::move(request));
  auto shared = std::make_shared<Request>(std::move(request));
  send_mail(owner, [shared](Worker& w) { w.engine_->submit(std::move(*shared)); });
}

Ticket Worker::callback_ticket(std::function<void(std::string&&, std::uint64_t)> done) {
  const std::uint64_t id = next_callback_++;
  callbacks_.emplace(id, std::move(done));
  return {.remote = false, .shard = shard_.value, .peer = {}, .connection = 0, .id = id};
}

// ---- taken apart

struct ScatterJoin {
  std::size_t left = 0;
  std::int64_t sum = 0;
  std::string error;
  std::vector<std::string> elements;  // gather_array: by the key's place
};

void Worker::scatter(Connection& c, const CommandSpec& spec, Args args) {
  const std::size_t step = static_cast<std::size_t>(spec.keys.step);
  if ((args.size() - 1) % step != 0) {
    Reply reply(c.begin(), c.protocol);
    reply.error(wrong_arity(spec));
    return c.end(0);
  }
  std::map<Slot, std::vector<std::size_t>> by_slot;  // argument positions of keys
  for (std::size_t i = 1; i < args.size(); i += step) by_slot[key_slot(args[i])].push_back(i);
  auto join = std::make_shared<ScatterJoin>();
  join->left = by_slot.size();
  join->elements.resize(spec.scatter == Scatter::gather_array ? args.size() : 0);
  const std::uint64_t place = c.reserve();
  const Scatter how = spec.scatter;
  for (const auto& part : by_slot) {
    const Slot slot = part.first;
    const std::vector<std::size_t>& positions = part.second;
    std::vector<std::string_view> words{args[0]};
    for (const std::size_t i : positions) {
      for (std::size_t k = 0; k < step; ++k) words.push_back(args[i + k]);
    }
    Request r;
    r.slot = slot;
    r.protocol = c.protocol;
    r.levels = c.levels_now();
    r.commands.emplace_back(spec, c.db, Args(words));
    r.ticket = callback_ticket(
        [this, join, positions, how, id = c.id, place](std::string&& reply, std::uint64_t gate) {
          if (reply.starts_with('-')) {
            join->error = std::move(reply);
          } else if (how == Scatter::sum) {
            join->sum += parse_int(std::string_view(reply).substr(1, reply.size() - 3)).value_or(0);
          } else if (how == Scatter::gather_array) {
            const auto parts = reply_elements(reply);
            for (std::size_t i = 0; i < positions.size() && i < parts.size(); ++i)
              join->elements[positions[i]] = parts[i];
          }
          if (--join->left > 0) return;
          Connection* client = find(id);
          if (!client) return;
          std::string out;
          Reply writer(out, client->protocol);
          if (!join->error.empty()) {
            writer.raw(join->error);
          } else if (how == Scatter::sum) {
            writer.integer(join->sum);
          } else if (how == Scatter::all_ok) {
            writer.ok();
          } else {
            writer.array(join->elements.size() - 1);
            for (std::size_t i = 1; i < join->elements.size(); ++i) writer.raw(join->elements[i]);
          }
          client->fill(place, std::move(out), gate);
        });
    submit(std::move(r));
  }
}

void Worker::join_walk(WalkResult& all, WalkResult&& part, WalkKind what, std::size_t shard) const {
  all.failed |= part.failed;
  all.count += part.count;
  all.next = part.next;
  if (what == WalkKind::scan && part.next == 0 && shard + 1 < server_.shards())
    all.next = cursor_of_shard(shard + 1);
  all.keys.insert(all.keys.end(), std::make_move_iterator(part.keys.begin()),
                  std::make_move_iterator(part.keys.end()));
}

WalkResult Worker::walk_all_here(const WalkRequest& request) {
  const bool scan = request.what == WalkKind::scan;
  const std::size_t first = scan ? server_.shard_of(place_of_cursor(request.place)).value : 0;
  const std::size_t last = scan ? first + 1 : server_.shards();
  WalkResult all;
  for (std::size_t i = first; i < last; ++i) {
    WalkResult part;
    server_.worker({static_cast<std::uint16_t>(i)}).engine_->walk_alone(request, part);
    join_walk(all, std::move(part), request.what, i);
  }
  return all;
}

void Worker::walk_all(WalkRequest request, std::function<void(WalkResult&&)> done) {
  struct Joined {
    WalkResult result;
    std::size_t left = 0;
    std::function<void(WalkResult&&)> done;
  };
  auto joined = std::make_shared<Joined>();
  joined->done = std::move(done);
  const std::size_t shards = server_.shards();
  const bool scan = request.what == WalkKind::scan;
  // SCAN goes on in the shard of its place; the others are asked at once.
  const std::size_t first = scan ? server_.shard_of(place_of_cursor(request.place)).value : 0;
  const std::size_t last = scan ? first + 1 : shards;
  joined->left = last - first;
  for (std::size_t i = first; i < last; ++i) {
    const std::uint64_t id = next_callback_++;
    walk_callbacks_.emplace(id, [this, joined, what = request.what, i](WalkResult&& part) {
      join_walk(joined->result, std::move(part), what, i);
      if (--joined->left == 0) joined->done(std::move(joined->result));
    });
    auto copy = std::make_shared<WalkRequest>(request);
    copy->ticket = {.remote = false, .shard = shard_.value, .peer = {}, .connection = 0, .id = id};
    send_mail({static_cast<std::uint16_t>(i)},
              [copy](Worker& w) { w.engine_->walk(std::move(*copy)); });
  }
}

// ---- the barrier

bool Worker::with_barrier(const std::function<void()>& f) {
  GYRE_ASSERT(server_.alone());
  const bool others = server_.shards() > 1;
  if (others && !server_.barrier_try_own()) return false;
  if (others) metrics_.barriers.add();
  for (std::size_t i = 0; i < server_.shards(); ++i) {
    if (i == shard_.value) continue;
    server_.worker({static_cast<std::uint16_t>(i)}).post([](Worker& w) {
      w.engine_->end_turn();
      w.server_.barrier_park();
    });
  }
  if (others) server_.barrier_wait_parked(server_.shards() - 1);
  f();
  // All shards' rows are durable before the answer leaves and the others go on.
  for (std::size_t i = 0; i < server_.shards(); ++i)
    server_.worker({static_cast<std::uint16_t>(i)}).engine_->end_turn();
  if (server_.persist()) server_.wait_all_persisted();
  if (others) server_.barrier_release();
  return true;
}

}  // namespace gyre
