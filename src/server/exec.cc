// EXEC where no thread has to stand still for it: its data commands are one request, to their shard
// (which may be another node's) or, for several slots of a ring, Engine::transact; its session
// commands run here behind them, in their order, each when the one before it has answered.
//
// Of these a command over all slots (KEYS, DBSIZE, FLUSHALL; alone these are the barrier's) and
// MIGRATE are steps of their own: what stands before it is done by then, what stands behind it
// begins when it has answered. Other clients may see what is between two steps, and a step that
// fails undoes none before it.

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "commands/table.h"
#include "ring/slot.h"
#include "server/join.h"
#include "server/server.h"
#include "server/session.h"
#include "server/worker.h"
#include "server/worker_scripts.h"

namespace gyre {

namespace {

bool is_step(const CommandSpec& spec) {
  const bool of_keys = spec.keys.first != 0 && (spec.flags & flag::write) != 0;
  return !spec.run && ((spec.flags & flag::all_slots) != 0 || of_keys);
}

}  // namespace

ExecReach Worker::exec_reach(const Transaction& t) const {
  ExecReach reach;
  for (const OwnedCommand& command : t.commands) {
    const CommandSpec& spec = command.spec();
    for_each_key(spec, command.args(),
                 [&](std::size_t i) { reach.slots.push_back(key_slot(command.args()[i])); });
    reach.walks |= (spec.flags & flag::all_slots) != 0;
    reach.steps |= is_step(spec);
    reach.wanders |= spec.wanders && spec.wanders(command.args());
    reach.may_leave |= (spec.flags & flag::script_call) &&
                       reach_of(spec, command.args(), server_.scripts) != Reach::one_thread;
  }
  for (const Watch& watch : t.watches) reach.slots.push_back(key_slot(watch.key));
  std::sort(reach.slots.begin(), reach.slots.end());
  reach.slots.erase(std::unique(reach.slots.begin(), reach.slots.end()), reach.slots.end());
  return reach;
}

// The answers of one step, as they come: first those of its data commands, in one piece.
class Worker::Exec : public std::enable_shared_from_this<Exec> {
 public:
  Exec(Worker& worker, const Connection& c, std::size_t commands)
      : worker_(worker), client_(c.id), commands_(commands) {}

  // Of the command at that place: runs at the connection, or was denied.
  void add_own(std::size_t at, OwnedCommand&& command, std::optional<Error>&& denied) {
    own_.push_back({at, std::move(command), std::move(denied)});
  }
  void add_data(const CommandSpec& spec) { data_.push_back(&spec); }
  bool data_only() const { return own_.empty(); }

  void answer_to(Answered done) { done_ = std::move(done); }

  // Empty: there were no data commands.
  void take(std::string&& reply, std::uint64_t gate) {
    if (!reply.empty() && (!reply.starts_with('*') || reply == "*-1\r\n"))
      return done_(std::move(reply), gate);
    reply_ = std::move(reply);
    parts_ = reply_elements(reply_);
    gate_ = gate;
    Reply(out_, 2).array(commands_);
    go_on();
  }

 private:
  struct Own {
    std::size_t at;
    OwnedCommand command;
    std::optional<Error> denied;  // what its user lost since it was queued
  };

  void go_on() {
    while (at_ < commands_) {
      Connection* c = worker_.find(client_);
      if (!c) return;
      const std::size_t at = at_++;
      if (next_own_ < own_.size() && own_[next_own_].at == at) {
        if (!run(*c, own_[next_own_++])) return;
      } else if (next_part_ < parts_.size()) {
        worker_.count_inside(*data_[next_part_], parts_[next_part_]);
        out_ += parts_[next_part_++];
      }
    }
    done_(std::move(out_), gate_);
  }

  // False: it answers later.
  bool run(Connection& c, const Own& own) {
    Reply writer(out_, c.protocol);
    if (own.denied) return writer.error(*own.denied), true;
    early_.reset();
    running_ = true;
    const bool answered = worker_.run_session_inline(
        c, own.command, writer, false,
        [self = shared_from_this()](std::string&& reply, std::uint64_t gate) {
          self->came(std::move(reply), gate);
        });
    running_ = false;
    if (answered || !early_) return answered;
    out_ += *early_;
    return true;
  }

  void came(std::string&& reply, std::uint64_t gate) {
    gate_ = std::max(gate_, gate);
    if (running_) {
      early_ = std::move(reply);
      return;
    }
    out_ += reply;
    go_on();
  }

  Worker& worker_;
  const std::uint64_t client_;
  const std::size_t commands_;
  Answered done_;
  std::vector<Own> own_;
  std::vector<const CommandSpec*> data_;
  std::string reply_;
  std::vector<std::string_view> parts_;  // of reply_
  std::size_t at_ = 0, next_own_ = 0, next_part_ = 0;
  std::uint64_t gate_ = 0;
  std::string out_;
  bool running_ = false;              // a session command, just now
  std::optional<std::string> early_;  // it answered while it was
};

// done: who takes the reply; empty: the client.
void Worker::run_part(Connection& c, Transaction&& t, Answered done) {
  const ExecReach reach = exec_reach(t);
  Request r;
  r.exec = true;
  r.protocol = c.protocol;
  r.levels = c.levels;
  r.tracking = t.tracking;
  r.watches = std::move(t.watches);
  r.slot = reach.slots.empty() ? space_->first_slot() : reach.slots.front();
  auto exec = std::make_shared<Exec>(*this, c, t.commands.size());
  for (std::size_t i = 0; i < t.commands.size(); ++i) {
    OwnedCommand& command = t.commands[i];
    auto no = denied(c, command.spec(), command.args(), true);
    if (!no && !server_.alone()) c.note_write(command.spec(), command.args(), command.db());
    if (no || !command.spec().run) {
      exec->add_own(i, std::move(command), std::move(no));
      continue;
    }
    exec->add_data(command.spec());
    r.commands.push_back(std::move(command));
    if (!server_.alone()) bring_text(r.commands.back(), server_.scripts);
  }
  if (r.commands.empty() && !r.watches.empty()) {
    // What was watched is looked at where it is; what this answers is nobody's.
    const std::string_view words[] = {"GYRE.VERSION", r.watches.front().key};
    r.commands.emplace_back(*find_command(words[0]), r.watches.front().db, Args(words));
  }
  const bool spans = !server_.alone() && (reach.slots.size() > 1 ||
                                          ((reach.wanders || reach.may_leave) && !c.cluster_aware));
  if (!done) {
    const std::uint64_t place = c.reserve();
    // Without a watched key nothing but the ring keeps it from running.
    if (exec->data_only() && !spans && !reach.slots.empty() && r.watches.empty()) {
      for (const OwnedCommand& command : r.commands) count_inside(command.spec(), {});
      r.ticket = {
          .remote = false, .shard = shard_.value, .peer = {}, .connection = c.id, .id = place};
      return submit(std::move(r));
    }
    c.suspend();
    done = [this, id = c.id, place = place | place_suspends](std::string&& reply,
                                                             std::uint64_t gate) {
      finish_later(*this, id, place, std::move(reply), gate);
    };
  }
  exec->answer_to(std::move(done));
  if (r.commands.empty()) return exec->take({}, 0);
  r.ticket = callback_ticket(
      [exec](std::string&& reply, std::uint64_t gate) { exec->take(std::move(reply), gate); });
  spans ? engine_->transact(std::move(r)) : submit(std::move(r));
}

// ---- steps

struct Worker::Steps {
  std::uint64_t client = 0, place = 0;
  std::deque<Transaction> left;
  bool begun = false;
  std::size_t commands = 0;
  std::string out;  // the answers, without the head of the array
  std::uint64_t gate = 0;
};

void Worker::run_in_steps(Connection& c, Transaction&& t) {
  auto steps = std::make_shared<Steps>();
  steps->client = c.id;
  steps->commands = t.commands.size();
  bool apart = true;  // the next command begins a step
  for (OwnedCommand& command : t.commands) {
    const bool alone = is_step(command.spec());
    if (alone || apart) steps->left.emplace_back().tracking = t.tracking;
    steps->left.back().commands.push_back(std::move(command));
    apart = alone;
  }
  // What was watched is looked at before all.
  if (!t.watches.empty() && is_step(steps->left.front().commands.front().spec()))
    steps->left.emplace_front();
  steps->left.front().watches = std::move(t.watches);
  steps->place = c.reserve() | place_suspends;
  c.suspend();
  run_step(steps);
}

void Worker::run_step(const std::shared_ptr<Steps>& steps) {
  Connection* c = find(steps->client);
  if (!c) return;
  if (steps->left.empty()) {
    std::string out;
    Reply(out, c->protocol).array(steps->commands);
    return finish_later(*this, c->id, steps->place, std::move(out += steps->out), steps->gate);
  }
  Transaction part = std::move(steps->left.front());
  steps->left.pop_front();
  const std::size_t commands = part.commands.size();
  run_part(*c, std::move(part), [this, steps, commands](std::string&& reply, std::uint64_t gate) {
    const bool ran = reply.starts_with('*') && reply != "*-1\r\n";
    // What was watched has changed, or nothing could be run.
    if (!ran && !std::exchange(steps->begun, true))
      return finish_later(*this, steps->client, steps->place, std::move(reply), gate);
    steps->begun = true;
    steps->gate = std::max(steps->gate, gate);
    if (ran) {
      steps->out.append(reply, reply.find('\n') + 1);
    } else {
      for (std::size_t i = 0; i < commands; ++i) steps->out += reply;
    }
    // Not from here: an EXEC may have very many steps.
    post([steps](Worker& w) { w.run_step(steps); });
  });
}

}  // namespace gyre
