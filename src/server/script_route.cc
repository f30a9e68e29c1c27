// Where a script runs, by its declared keys, and what EXEC does with one.

#include <algorithm>

#include "base/numbers.h"
#include "commands/table.h"
#include "ring/slot.h"
#include "server/server.h"
#include "server/worker.h"
#include "server/worker_scripts.h"

namespace gyre {
namespace {

bool by_sha(const CommandSpec& spec) {
  return spec.name == "EVALSHA" || spec.name == "EVALSHA_RO";
}

}  // namespace

// Another node may not know the script: it gets the text.
void bring_text(OwnedCommand& command, const NodeScripts& scripts) {
  if (!by_sha(command.spec())) return;
  const auto program = scripts.find(to_lower(command.args()[1]));
  if (!program) return;
  static const CommandSpec* const eval = find_command("EVAL");
  static const CommandSpec* const eval_ro = find_command("EVAL_RO");
  const Args args = command.args();
  std::vector<std::string_view> words(args.begin(), args.end());
  const CommandSpec& to = (command.spec().flags & flag::write) ? *eval : *eval_ro;
  words[0] = to.name;
  words[1] = program->text;
  command = OwnedCommand(to, command.db(), Args(words));
}

void Worker::route_script(Connection& c, const CommandSpec& spec, Args args, Reply& reply) {
  std::shared_ptr<const Program> program;
  if (by_sha(spec)) {
    program = server_.scripts.find(to_lower(args[1]));
    // As in Redis a number of keys that cannot be is told first, by the interpreter.
    const auto keys = parse_int(args[2]);
    const bool judged = args[1].size() == 40 &&
                        (!keys || *keys < 0 || *keys > static_cast<std::int64_t>(args.size()) - 3);
    if (!program && !judged) {
      reply.error(Errc::no_script);
      return c.end(0);
    }
  }
  std::vector<Slot>& slots = route_slots_;
  slots.clear();
  for_each_key(spec, args, [&](std::size_t i) { slots.push_back(key_slot(args[i])); });
  const bool alone = server_.alone();
  if (!alone && std::any_of(slots.begin(), slots.end(), [&](Slot s) { return s != slots[0]; })) {
    reply.error(Errc::cross_slot);
    return c.end(0);
  }
  if (!alone && !slots.empty() && c.cluster_aware && !engine_->holds(slots[0])) {
    reply.raw(moved_text(slots[0]));
    return c.end(0);
  }
  const Slot slot = slots.empty() ? space_->first_slot() : slots[0];
  bool everywhere = !alone && slots.empty();
  if (alone && server_.shards() > 1) {
    const ShardIndex shard = server_.shard_of(slot);
    const Reach reach = program                         ? server_.scripts.reach(program->sha)
                        : spec.name.starts_with("EVAL") ? server_.scripts.reach(sha1_hex(args[1]))
                                                        : Reach::all_threads;
    everywhere = reach != Reach::one_thread || std::any_of(slots.begin(), slots.end(), [&](Slot s) {
                   return server_.shard_of(s) != shard;
                 });
  }
  c.end_dropped();
  if (everywhere) {
    Transaction one;
    one.commands.emplace_back(spec, c.db, args);
    one.tracking = tracking_of(c);
    return run_script_everywhere(c, std::move(one), false);
  }
  Request r = request_of(c, spec, args, slot);
  if (!alone) bring_text(r.commands.back(), server_.scripts);
  submit(std::move(r));
}

// The client's next commands wait: it may have to.
void Worker::run_script_everywhere(Connection& c, Transaction&& t, bool exec) {
  const std::uint64_t place = c.reserve();
  c.suspend();
  const Ticket ticket =
      callback_ticket([this, id = c.id, place](std::string&& reply, std::uint64_t gate) {
        Connection* client = find(id);
        if (!client) return;
        client->fill(place, std::move(reply), gate);
        client->resume();
      });
  scripts_->run_everywhere(ticket, std::move(t), exec, c.protocol);
}

// ---- EngineHost

void Worker::apart(const std::function<void()>& f) {
  scripts_->apart(f);
}

void Worker::run_everywhere(const Ticket& ticket, OwnedCommand&& command, int protocol,
                            const Tracking& tracking) {
  Transaction one;
  one.tracking = tracking;
  one.commands.push_back(std::move(command));
  scripts_->run_everywhere(ticket, std::move(one), false, protocol);
}

}  // namespace gyre
