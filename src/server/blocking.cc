#include "server/blocking.h"

#include <algorithm>
#include <limits>

#include "commands/parse.h"
#include "commands/table.h"
#include "ring/slot.h"
#include "server/server.h"
#include "server/slow_log.h"
#include "server/worker.h"

namespace gyre {
namespace {

constexpr SteadyMs never = std::numeric_limits<SteadyMs>::max();
// A time-out that nobody lives to see is none.
constexpr std::int64_t forever_ms = std::int64_t{1} << 52;

// Errors that promise that nothing was done, and pass: a node that takes over is not there yet.
bool passes(std::string_view reply) {
  return reply.starts_with("-RINGDOWN") || reply.starts_with("-LOADING") ||
         reply.starts_with("-MISCONF") ||
         (reply.starts_with("-NOQUORUM") &&
          reply.find("nothing was written") != std::string_view::npos);
}

bool is_null(std::string_view reply) {
  return reply == "$-1\r\n" || reply == "_\r\n";
}

}  // namespace

// Numbers begin anywhere: a node that still knows one of an earlier run does not take it for this.
Blocking::Blocking(Worker& worker)
    : worker_(worker),
      next_(std::uint64_t{worker.shard().value} << thread_shift |
            (worker.random().next() >> (64 - thread_shift) & ~(~std::uint64_t{0} << 40))),
      timer_(worker.loop()) {}

// ---- begin

std::vector<Blocking::Part> Blocking::parts_of(const CommandSpec& spec, Args args, DbIndex db,
                                               const std::vector<Slot>& slots) const {
  Server& server = worker_.server();
  // What a part may hold: on a ring one slot, on a node that is alone all of a thread.
  const auto together = [&](Slot a, Slot b) {
    return a == b || (server.alone() && server.shard_of(a) == server.shard_of(b));
  };
  std::vector<Part> parts;
  const bool one =
      std::all_of(slots.begin(), slots.end(), [&](Slot s) { return together(s, slots.front()); });
  if (one) {
    parts.push_back({OwnedCommand(spec, db, args), slots.front()});
    return parts;
  }
  std::vector<std::size_t> positions;
  for_each_key(spec, args, [&](std::size_t i) { positions.push_back(i); });
  for (std::size_t i = 0; i < slots.size();) {
    std::size_t to = i + 1;
    while (to < slots.size() && together(slots[i], slots[to])) ++to;
    const auto words = command_of_keys(spec, args, std::span(positions).subspan(i, to - i));
    if (words.empty()) break;
    if (!arity_ok(spec, words.size())) {
      // What should stand behind the keys was taken for one of them: whoever reads it says so.
      parts.clear();
      parts.push_back({OwnedCommand(spec, db, args), slots.front()});
      return parts;
    }
    const std::vector<std::string_view> views(words.begin(), words.end());
    parts.push_back({OwnedCommand(spec, db, views), slots[i]});
    i = to;
  }
  if (parts.empty() && server.alone()) {
    parts.push_back(
        {.command = OwnedCommand(spec, db, args), .slot = slots.front(), .barrier = true});
  } else if (parts.empty()) {
    static const CommandSpec* const await = find_command("GYRE.AWAIT");
    const std::string_view words[] = {await->name, args[1], args.back()};
    parts.push_back({OwnedCommand(*await, db, words), slots.front()});
  }
  return parts;
}

void Blocking::begin(Connection& c, const CommandSpec& spec, Args args,
                     const std::vector<Slot>& slots) {
  Client client;
  client.parts = parts_of(spec, args, c.db, slots);
  const bool several =
      std::any_of(slots.begin(), slots.end(), [&](Slot s) { return s != slots.front(); });
  c.end_dropped();
  if (several && c.cluster_aware && !worker_.server().alone()) {
    Reply reply(c.begin(), c.protocol);
    reply.error(Errc::cross_slot);
    return c.end(0);
  }
  if (&client.parts.front().command.spec() != &spec) {
    client.spanning = OwnedCommand(spec, c.db, args);
    c.note_write(spec, args, c.db);
  }
  const std::uint64_t number = next_;
  next_ += client.parts.size();
  client.connection = c.id;
  client.spec = &spec;
  client.protocol = c.protocol;
  client.levels = c.levels_now();
  client.began = worker_.now_ms();
  c.waits = number;
  c.suspend();
  clients_.emplace(number, std::move(client));
  step(number);
  if (const auto at = clients_.find(number); at != clients_.end()) at->second.beginning = false;
}

// ---- what is out, and what comes next

Blocking::Clients::iterator Blocking::of(std::uint64_t wait) {
  auto at = clients_.upper_bound(wait);
  if (at == clients_.begin()) return clients_.end();
  --at;
  return wait - at->first < at->second.parts.size() ? at : clients_.end();
}

// First all parts once, in the order of the keys; then those that were woken.
std::size_t Blocking::next_part(const Client& client, SteadyMs now) const {
  if (now < client.retry) return none;
  for (std::size_t i = 0; i < client.parts.size(); ++i) {
    if (!client.parts[i].parked || client.parts[i].ready) return i;
  }
  return none;
}

// A loop, because a part of this thread answers before send() returns.
void Blocking::step(std::uint64_t number) {
  for (;;) {
    const auto at = clients_.find(number);
    if (at == clients_.end()) return;
    Client& client = at->second;
    // WAIT answers in time whether its question is still out or not.
    if (client.holders && client.end != End::no) return finish(at, end_reply(client), none);
    if (client.stepping || client.trying != none) return;
    if (client.end != End::no) return finish(at, end_reply(client), none);
    if (client.holders && worker_.now_ms() >= client.retry) {
      arm(number, client);
      return ask_holders(number, client);
    }
    const std::size_t part = next_part(client, worker_.now_ms());
    if (part == none) {
      worker_.tell_blocked();
      return arm(number, client);
    }
    client.stepping = true;
    send(number, client, part);
    if (const auto still = clients_.find(number); still != clients_.end())
      still->second.stepping = false;
  }
}

void Blocking::send(std::uint64_t number, Client& client, std::size_t part) {
  Part& p = client.parts[part];
  client.trying = part;
  if (client.spanning && !std::exchange(client.nothing_there, false))
    return transact(number, client);
  p.ready = false;
  if (p.barrier) return send_under_barrier(number, client, p);
  Request r = request_of(client, p.command);
  r.slot = p.slot;
  r.wait = number + part;
  r.waited = p.parked;
  r.ticket = worker_.callback_ticket(
      [this, number](std::string&& reply, std::uint64_t) { answered(number, std::move(reply)); });
  worker_.submit(std::move(r));
}

Request Blocking::request_of(const Client& client, const OwnedCommand& command) const {
  Request r;
  r.protocol = client.protocol;
  r.levels = client.levels;
  if (const Connection* c = worker_.find(client.connection)) r.tracking = worker_.tracking_of(*c);
  r.commands.emplace_back(command.spec(), command.db(), command.args());
  return r;
}

void Blocking::transact(std::uint64_t number, Client& client) {
  Request r = request_of(client, *client.spanning);
  r.ticket = worker_.callback_ticket([this, number](std::string&& reply, std::uint64_t) {
    const auto at = clients_.find(number);
    if (at == clients_.end()) return;
    Client& of = at->second;
    if (!is_null(reply)) return answered(number, std::move(reply));
    of.trying = none;
    of.nothing_there = of.parts.front().ready = true;
    step(number);
  });
  worker_.engine().transact(std::move(r));
}

void Blocking::send_under_barrier(std::uint64_t number, Client& client, Part& part) {
  Waiting how{.run = part.parked ? Waiting::Run::again : Waiting::Run::first};
  const auto done = [this, number](std::string&& reply, std::uint64_t) {
    answered(number, std::move(reply));
  };
  if (!worker_.run_waiting_under_barrier(part.command, number, how, client.protocol, done)) {
    // Another thread holds it: in a moment.
    part.ready = true;
    worker_.post([this, number](Worker&) {
      if (const auto at = clients_.find(number); at != clients_.end()) {
        at->second.trying = none;
        step(number);
      }
    });
    return;
  }
  if (how.asked) parked({.wait = number, .ms = how.ms});
}

void Blocking::parked(Parked&& how) {
  const auto at = of(how.wait);
  if (at == clients_.end()) return;
  Client& client = at->second;
  Part& part = client.parts[static_cast<std::size_t>(how.wait - at->first)];
  part.parked = true;
  if (!how.args.empty()) {
    const std::vector<std::string_view> args(how.args.begin(), how.args.end());
    part.command = OwnedCommand(part.command.spec(), part.command.db(), args);
  }
  if (how.ms > 0 && how.ms < forever_ms) client.deadline = client.began + how.ms;
  client.trying = none;
  if (!std::exchange(part.anew, false)) return step(at->first);
  ask_anew(at->first, client, static_cast<std::size_t>(how.wait - at->first));
  worker_.post([this, number = at->first](Worker&) { step(number); });
}

void Blocking::woken(std::uint64_t wait) {
  const auto at = of(wait);
  if (at == clients_.end()) return;
  at->second.parts[static_cast<std::size_t>(wait - at->first)].ready = true;
  step(at->first);
}

// ---- the end

void Blocking::answered(std::uint64_t number, std::string&& reply) {
  const auto at = clients_.find(number);
  if (at == clients_.end()) return;
  Client& client = at->second;
  const std::size_t part = std::exchange(client.trying, none);
  GYRE_ASSERT(part < client.parts.size());
  if (client.parts[part].parked && passes(reply)) {
    client.parts[part].ready = true;
    client.retry = worker_.now_ms() + retry_ms;
    return step(number);
  }
  if (client.spanning && reply == "+OK\r\n") {
    // Its part: something is there, and it waits no more where it did.
    client.parts[part].parked = client.parts[part].ready = false;
    return step(number);
  }
  finish(at, std::move(reply), client.spanning ? none : part);
}

std::string Blocking::end_reply(const Client& client) const {
  std::string out;
  Reply reply(out, client.protocol);
  if (client.end == End::error) {
    reply.error(Errc::unblocked);
  } else if (client.holders) {
    reply.integer(client.holders->found);
  } else {
    reply.null_array();
  }
  return out;
}

void Blocking::stop_waiting(std::uint64_t number, const Client& client, std::size_t part) {
  const Part& p = client.parts[part];
  const ShardIndex owner = worker_.server().shard_of(p.slot);
  worker_.send_mail(owner, [wait = number + part](Worker& w) { w.engine().stop_waiting(wait); });
}

void Blocking::finish(Clients::iterator at, std::string&& reply, std::size_t answered_by) {
  const std::uint64_t number = at->first;
  const Client client = std::move(at->second);
  clients_.erase(at);
  worker_.tell_blocked();
  if (client.due != 0) due_.erase({client.due, number});
  const bool error = reply.starts_with('-');
  for (std::size_t i = 0; i < client.parts.size(); ++i) {
    // The command that was answered waits no more where it ran.
    if (client.parts[i].parked && (i != answered_by || error)) stop_waiting(number, client, i);
  }
  Connection* c = worker_.find(client.connection);
  if (!c || c->waits != number) return;
  c->waits = 0;
  c->active_ms = worker_.loop_ms();
  if (error && !client.beginning) worker_.count_error(*client.spec, reply);
  // What it took to run was the other's, whose write woke it.
  if (!client.beginning && (client.spanning || answered_by < client.parts.size()))
    note_slow(worker_, *c, *client.spec,
              client.spanning ? client.spanning->args() : client.parts[answered_by].command.args(),
              0);
  Reply out(c->begin(), c->protocol);
  out.raw(reply);
  c->end(0);
  worker_.tell_behind_reply(*c);
  c->resume();
}

void Blocking::ask_anew(std::uint64_t number, Client& client, std::size_t part) {
  stop_waiting(number, client, part);
  client.parts[part].parked = client.parts[part].ready = false;
}

void Blocking::databases_swapped(const std::function<DbIndex(DbIndex)>& moved) {
  std::vector<std::uint64_t> again;
  for (auto& [number, client] : clients_) {
    if (client.holders) continue;  // what it wrote lies where it lay
    bool changed = false;
    for (std::size_t i = 0; i < client.parts.size(); ++i) {
      OwnedCommand& command = client.parts[i].command;
      const DbIndex db = moved(command.db());
      if (db == command.db()) continue;
      command.set_db(db);
      changed = true;
      if (i == client.trying) {
        client.parts[i].anew = true;
      } else if (client.parts[i].parked) {
        ask_anew(number, client, i);
      }
    }
    if (client.spanning) client.spanning->set_db(moved(client.spanning->db()));
    if (changed) again.push_back(number);
  }
  // Not now: a command may be under way.
  for (const std::uint64_t number : again) worker_.post([this, number](Worker&) { step(number); });
}

bool Blocking::unblock(Connection& c, bool error) {
  const auto at = clients_.find(c.waits);
  if (c.waits == 0 || at == clients_.end()) return false;
  at->second.end = error ? End::error : End::timeout;
  step(at->first);
  return true;
}

void Blocking::closed(Connection& c) {
  const auto at = clients_.find(std::exchange(c.waits, 0));
  if (at == clients_.end()) return;
  at->second.end = End::gone;
  step(at->first);
}

// ---- WAIT

void Blocking::begin_wait(Connection& c, const CommandSpec& spec, std::int64_t replicas,
                          std::int64_t ms) {
  const Server& server = worker_.server();
  const int copies = server.ring().replication_factor();
  Holders holders{
      .wanted = replicas, .asking = copies, .key = c.last_written, .db = c.last_written_db};
  c.end_dropped();
  // Who wrote nothing has it everywhere.
  const bool known = copies == 1 || c.last_written.empty();
  if (known && copies - 1 >= replicas) {
    Reply reply(c.begin(), c.protocol);
    reply.integer(copies - 1);
    return c.end(0);
  }
  const std::uint64_t number = next_++;
  Client client;
  client.connection = c.id;
  client.spec = &spec;
  client.protocol = c.protocol;
  client.began = worker_.now_ms();
  if (ms > 0 && ms < forever_ms) client.deadline = client.began + ms;
  if (known) {
    holders.found = copies - 1;
    client.retry = never;
  }
  client.holders = std::move(holders);
  c.waits = number;
  c.suspend();
  clients_.emplace(number, std::move(client));
  step(number);
  if (const auto at = clients_.find(number); at != clients_.end()) at->second.beginning = false;
}

void Blocking::ask_holders(std::uint64_t number, Client& client) {
  static const CommandSpec* const version = find_command("GYRE.VERSION");
  const Holders& h = *client.holders;
  client.trying = 0;
  const std::string_view words[] = {version->name, h.key};
  Request r;
  r.slot = key_slot(h.key);
  r.levels.read = {static_cast<std::uint8_t>(h.asking)};
  r.commands.emplace_back(*version, h.db, Args(words));
  r.ticket = worker_.callback_ticket([this, number](std::string&& reply, std::uint64_t) {
    holders_answered(number, reply.starts_with(':'));
  });
  worker_.submit(std::move(r));
}

void Blocking::holders_answered(std::uint64_t number, bool hold) {
  const auto at = clients_.find(number);
  if (at == clients_.end()) return;
  Client& client = at->second;
  Holders& h = *client.holders;
  client.trying = none;
  if (hold) h.found = std::max<std::int64_t>(h.found, h.asking - 1);
  if (h.found >= h.wanted) client.end = End::timeout;
  if (hold || --h.asking <= h.found + 1) {
    h.asking = worker_.server().ring().replication_factor();
    client.retry = worker_.now_ms() + holders_ms;
  }
  step(number);
}

// ---- time

void Blocking::arm(std::uint64_t number, Client& client) {
  SteadyMs due = client.deadline;
  const bool again = client.retry > worker_.now_ms() && client.retry != never;
  if (again && (due == 0 || client.retry < due)) due = client.retry;
  if (due == client.due) return;
  if (client.due != 0) due_.erase({client.due, number});
  client.due = due;
  if (due == 0) return;
  due_.emplace(due, number);
  if (due_.begin()->second == number) arm_timer();
}

void Blocking::arm_timer() {
  if (due_.empty()) return timer_.stop();
  const SteadyMs in = std::max<SteadyMs>(1, due_.begin()->first - worker_.now_ms());
  timer_.start(static_cast<std::uint64_t>(in), 0, [this] {
    worker_.timer_ran();
    on_timer();
  });
}

void Blocking::on_timer() {
  const SteadyMs now = worker_.now_ms();
  while (!due_.empty() && due_.begin()->first < now) {
    const std::uint64_t number = due_.begin()->second;
    due_.erase(due_.begin());
    const auto at = clients_.find(number);
    if (at == clients_.end()) continue;
    Client& client = at->second;
    client.due = 0;
    if (client.deadline != 0 && client.deadline < now && client.end == End::no)
      client.end = End::timeout;
    step(number);
  }
  arm_timer();
}

}  // namespace gyre
