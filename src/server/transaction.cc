// Transactions: MULTI, EXEC, DISCARD, WATCH and UNWATCH, and where the commands of an EXEC run.
//
// A node that is alone and has their keys on several threads, or walks over all keys, runs them
// here, under the barrier; all others go by server/exec.cc.

#include <algorithm>

#include "base/numbers.h"
#include "base/ticks.h"
#include "commands/table.h"
#include "ring/slot.h"
#include "server/server.h"
#include "server/session.h"
#include "server/slow_log.h"
#include "server/worker.h"
#include "server/worker_scripts.h"

namespace gyre {
namespace {

void reply_with(Connection& c, const std::function<void(Reply&)>& f) {
  Reply reply(c.begin(), c.protocol);
  f(reply);
  c.end(0);
}

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
    t.tracking = w.tracking_of(c);
    c.transaction = {};
    if (t.failed) return reply_with(c, [](Reply& r) { r.error(Errc::exec_abort); });
    w.run_transaction(c, std::move(t));
  }
};

}  // namespace

bool Worker::transaction_command(Connection& c, const CommandSpec& spec, Args args) {
  return TransactionCommands::handle(*this, c, spec, args);
}

void Worker::run_transaction(Connection& c, Transaction&& t) {
  const ExecReach reach = exec_reach(t);
  const std::vector<Slot>& slots = reach.slots;
  if (c.cluster_aware && !server_.alone()) {
    if (slots.size() > 1) return reply_with(c, [](Reply& r) { r.error(Errc::cross_slot); });
    if (!slots.empty() && !engine_->holds(slots.front())) {
      Reply reply(c.begin(), c.protocol);
      reply.raw(moved_text(slots.front()));
      return c.end(0);
    }
  }
  const bool scripts = std::any_of(
      t.commands.begin(), t.commands.end(),
      [](const OwnedCommand& command) { return (command.spec().flags & flag::script_call) != 0; });
  if (scripts) {
    const ScriptRightsPtr rights = rights_of(c);
    for (OwnedCommand& command : t.commands) command.rights = rights;
  }
  const auto run = [&] { reach.steps ? run_in_steps(c, std::move(t)) : run_part(c, std::move(t)); };
  if (!server_.alone()) return run();
  const bool everywhere = reach.walks || reach.wanders;
  if (scripts && (server_.shards() > 1 || everywhere)) {
    for (const OwnedCommand& command : t.commands)
      t.denied.push_back(denied(c, command.spec(), command.args(), true));
    return run_script_everywhere(c, std::move(t), true);
  }
  const bool one_shard = std::all_of(slots.begin(), slots.end(), [&](Slot s) {
    return server_.shard_of(s) == server_.shard_of(slots.front());
  });
  if (one_shard && !everywhere) return run();
  // Several threads: all stand still while it runs here.
  auto kept = std::make_shared<Transaction>(std::move(t));
  standing_.add(c, kept->tracking.reader.client, [this, kept](Connection& client, Reply& reply) {
    run_inline(client, *kept, reply);
  });
}

// Runs a transaction of a node that is alone, on this thread, all shards within reach.
void Worker::run_inline(Connection& c, const Transaction& t, Reply& reply) {
  for (const Watch& watch : t.watches) {
    if (engine_->watch_version(key_slot(watch.key), watch.db, watch.key) != watch.version)
      return reply.null_array();
  }
  reply.array(t.commands.size());
  for (const OwnedCommand& command : t.commands) {
    if (const auto no = denied(c, command.spec(), command.args(), true)) {
      reply.error(*no);
      continue;
    }
    if (!command.spec().run) {
      run_session_inline(c, command, reply, true);
      continue;
    }
    CommandContext ctx(command.args(), reply, command.db(), wall_ms(), spaces_, nullptr, random_,
                       command_options_);
    ctx.publish_to(*this, command.spec());
    const std::size_t before = reply.out().size();
    const std::uint64_t began = ticks_now();
    command.spec().run(ctx);
    measure_inside(c, command, began, std::string_view(reply.out()).substr(before));
    if (t.tracking.remembers)
      engine_->remember(command.spec(), command.args(), command.db(), t.tracking.reader);
  }
}

// Commands that EXEC runs are commands in the statistics. reply: empty where it is not known.
void Worker::count_inside(const CommandSpec& spec, std::string_view reply) {
  stats(command_index(spec)).calls.add();
  if (reply.starts_with('-')) count_error(spec, reply);
}

void Worker::measure_inside(const Connection& c, const OwnedCommand& command, std::uint64_t began,
                            std::string_view reply) {
  count_inside(command.spec(), reply);
  const std::uint64_t took = ticks_now() - began;
  CommandStats& s = stats(command_index(command.spec()));
  s.ticks.add(took);
  s.took.add(took);
  if (took >= slow_ticks_)
    note_slow(*this, c, command.spec(), command.args(),
              static_cast<std::int64_t>(ticks_to_us(took)));
}

bool Worker::run_session_inline(Connection& c, const OwnedCommand& command, Reply& reply,
                                bool all_here, Answered later) {
  if (command.spec().name == "UNWATCH") return reply.ok(), true;  // EXEC watches nothing any more
  const SessionHandler handler = session_handler(command.spec());
  if (!handler) return reply.error("this command does not work inside MULTI"), true;
  SessionCall call{.worker = *this,
                   .connection = c,
                   .args = command.args(),
                   .reply = reply,
                   .spec = command.spec()};
  call.inside_exec = true;
  call.all_here = all_here;
  call.instead = std::move(later);
  const bool waits = call.instead != nullptr;
  const std::size_t before = reply.out().size();
  acting_ = &c;
  const std::uint64_t began = ticks_now();
  handler(call);
  measure_inside(c, command, began, std::string_view(reply.out()).substr(before));
  refresh_users();
  acting_ = nullptr;
  if (!call.deferred) return true;
  reply.out().resize(before);
  if (waits) return false;
  reply.error("this command does not work inside MULTI yet");
  return true;
}

}  // namespace gyre
