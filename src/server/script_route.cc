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
  ScriptRightsPtr rights = std::move(command.rights);
  command = OwnedCommand(to, command.db(), Args(words));
  command.rights = std::move(rights);
}

// Whether a script or function says so of itself.
bool Worker::script_says(const CommandSpec& spec, Args args, bool ScriptFlags::*flag) {
  if (spec.name.starts_with("FCALL")) {
    const auto libraries = server_.scripts.libraries();
    const auto at = libraries->by_function.find(to_lower(args[1]));
    if (at == libraries->by_function.end()) return false;
    return std::any_of(
        at->second->functions.begin(), at->second->functions.end(),
        [&](const Function& f) { return f.flags.*flag && equals_ignore_case(f.name, args[1]); });
  }
  if (by_sha(spec)) {
    const auto program = server_.scripts.find(to_lower(args[1]));
    return program && program->flags.*flag;
  }
  const auto program = read_program(args[1]);
  return program && program->flags.*flag;
}

Reach reach_of(const CommandSpec& spec, Args args, const NodeScripts& scripts) {
  if (!spec.name.starts_with("EVAL")) return Reach::all_threads;
  return scripts.reach(by_sha(spec) ? to_lower(args[1]) : sha1_hex(args[1]));
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
  const bool several =
      std::any_of(slots.begin(), slots.end(), [&](Slot s) { return s != slots[0]; });
  // The other port is one Redis.
  if (!alone && c.cluster_aware && script_says(spec, args, &ScriptFlags::no_cluster)) {
    reply.error("Can not run script on cluster, 'no-cluster' flag is set.");
    return c.end(0);
  }
  if (!alone && several && c.cluster_aware) {
    reply.error(Errc::cross_slot);
    return c.end(0);
  }
  if (!alone && !slots.empty() && c.cluster_aware && !engine_->holds(slots[0])) {
    reply.raw(moved_text(slots[0]));
    return c.end(0);
  }
  const Slot slot = slots.empty() ? space_->first_slot() : slots[0];
  bool everywhere = !alone && slots.empty() && c.cluster_aware;
  // One that stayed in the slot of its keys before runs where that is acted for.
  if (!alone && !c.cluster_aware &&
      (several || reach_of(spec, args, server_.scripts) != Reach::one_thread)) {
    c.end_dropped();
    Request r;
    r.protocol = c.protocol;
    r.levels = c.levels_now();
    r.tracking = tracking_of(c);
    r.commands.emplace_back(spec, c.db, args);
    r.commands.back().rights = rights_of(c);
    c.note_write(spec, args, c.db);
    return transact(c, std::move(r));
  }
  if (alone && server_.shards() > 1) {
    const ShardIndex shard = server_.shard_of(slot);
    const Reach reach = reach_of(spec, args, server_.scripts);
    everywhere = reach != Reach::one_thread || std::any_of(slots.begin(), slots.end(), [&](Slot s) {
                   return server_.shard_of(s) != shard;
                 });
  }
  c.end_dropped();
  if (everywhere) {
    Transaction one;
    one.commands.emplace_back(spec, c.db, args);
    one.commands.back().rights = rights_of(c);
    one.tracking = tracking_of(c);
    return run_script_everywhere(c, std::move(one), false);
  }
  // Whoever acts runs it and knows it then; its client expects EVALSHA to do here as well.
  if (!alone && !program && spec.name.starts_with("EVAL") &&
      !server_.scripts.find(sha1_hex(args[1])))
    (void)scripts_->interpreter().load(args[1]);
  Request r = request_of(c, spec, args, slot);
  r.commands.back().rights = rights_of(c);
  r.spans = !alone && !c.cluster_aware;
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

void Worker::script_reached(const OwnedCommand& script, bool further) {
  const std::string_view name = script.spec().name;
  if (!name.starts_with("EVAL")) return;
  server_.scripts.set_reach(
      by_sha(script.spec()) ? to_lower(script.args()[1]) : sha1_hex(script.args()[1]),
      further ? Reach::all_threads : Reach::one_thread);
}

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
