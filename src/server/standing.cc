// What runs while all other threads stand still, and how it becomes durable.

#include "server/standing.h"

#include <utility>
#include <vector>

#include "commands/table.h"
#include "ring/slot.h"
#include "server/server.h"
#include "server/worker.h"
#include "server/worker_scripts.h"

namespace gyre {

void Standing::add(Connection& c, std::uint64_t acting, Job job) {
  waiting_.push_back({c.id, c.reserve(), acting, std::move(job)});
  c.suspend();
}

void Standing::run() {
  if (waiting_.empty()) return;
  (void)worker_.with_barrier([this] { run_slice(); });
  // A store that takes no more wakes this thread when it does.
  if (!waiting_.empty() && !worker_.store_congested()) worker_.loop().post_wakeup();
}

void Standing::run_slice() {
  const Clock& clock = worker_.server().clock();
  const std::int64_t until = clock.steady_us() + slice_us;
  do {
    const Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    Connection* c = worker_.find(next.client);
    if (!c) continue;
    std::string out;
    Reply reply(out, c->protocol);
    if (next.acting != 0) worker_.set_acting_everywhere(next.acting);
    next.job(*c, reply);
    if (next.acting != 0) worker_.set_acting_everywhere(0);
    worker_.answer_from_barrier({.remote = false,
                                 .shard = worker_.shard().value,
                                 .peer = {},
                                 .connection = next.client,
                                 .id = next.place},
                                std::move(out));
    if (c->is_open()) c->resume();
  } while (!waiting_.empty() && clock.steady_us() < until);
}

// ---- the barrier

bool Worker::while_others_stand(const std::function<void()>& f, bool for_script) {
  const bool others = server_.shards() > 1;
  // A script that pauses in the middle of a shard: nobody may look at it now.
  const auto in_the_way = [&] {
    const int mine = for_script && scripts_->shown.paused.load(std::memory_order_relaxed) ? 1 : 0;
    return server_.scripts.paused.load(std::memory_order_acquire) > mine;
  };
  if (in_the_way() || (held_ && !for_script)) return false;
  if (others && !server_.barrier_try_own()) return false;
  if (others) metrics_.barriers.add();
  const std::uint64_t generation = server_.barrier_generation();
  for (std::size_t i = 0; i < server_.shards(); ++i) {
    if (i == shard_.value) continue;
    server_.worker({static_cast<std::uint16_t>(i)}).post([generation](Worker& w) {
      if (w.scripts_->paused()) return;  // the owner gives up
      w.engine_->end_turn();
      w.server_.barrier_park(generation);
    });
  }
  if (others && !server_.barrier_wait_parked(server_.shards() - 1, in_the_way)) {
    server_.barrier_release();
    return false;
  }
  f();
  if (others) server_.barrier_release();
  return true;
}

bool Worker::store_congested() const {
  return server_.store() && server_.persist() && server_.store()->congested(shard_);
}

bool Worker::with_barrier(const std::function<void()>& f, bool for_script) {
  GYRE_ASSERT(server_.alone());
  // It takes this turn's rows then, whatever they are.
  if (store_congested()) return false;
  return while_others_stand(
      [&] {
        std::vector<Version> stamped;  // what is written from now on lies above
        for (std::size_t i = 0; i < server_.shards(); ++i)
          stamped.push_back(
              server_.worker({static_cast<std::uint16_t>(i)}).space_->clock().peek(wall_ms()));
        f();
        end_turn_of_all(stamped);
      },
      for_script);
}

// What all shards have written is one batch, of this shard's turn: a crash takes all of it or
// nothing. What is answered leaves when that is durable, and with it, because the store writes in
// the order in which it gets, what any of them wrote before. The others go on at once.
void Worker::end_turn_of_all(const std::vector<Version>& stamped) {
  bool durable = true;
  for (std::size_t i = 0; i < server_.shards(); ++i) {
    Engine& of = *server_.worker({static_cast<std::uint16_t>(i)}).engine_;
    durable &= of.all_durable();
    if (&of != engine_.get()) engine_->take_rows(of, stamped[i]);
  }
  for (auto& [ticket, reply] : std::exchange(barrier_answers_, {}))
    durable ? answer(ticket, std::move(reply))
            : engine_->answer_when_durable(ticket, std::move(reply));
  engine_->note_rows(stamped[shard_.value]);
  engine_->end_turn();
  for (std::size_t i = 0; i < server_.shards(); ++i) {
    if (i != shard_.value) server_.worker({static_cast<std::uint16_t>(i)}).engine_->end_turn();
  }
}

void Worker::answer_from_barrier(const Ticket& ticket, std::string&& reply) {
  barrier_answers_.emplace_back(ticket, std::move(reply));
}

bool Worker::run_waiting_under_barrier(const OwnedCommand& command, std::uint64_t wait,
                                       Waiting& how, int protocol, const Answered& done) {
  return with_barrier([&] {
    std::string out;
    Reply reply(out, protocol);
    CommandContext ctx(command.args(), reply, command.db(), wall_ms(), spaces_, nullptr, random_,
                       command_options_);
    ctx.publish_to(*this, command.spec());
    ctx.waiting = &how;
    command.spec().run(ctx);
    Engine& first = *server_.worker(server_.shard_of(key_slot(command.args()[1]))).engine_;
    if (!how.asked) {
      first.stop_waiting(wait);
    } else if (!first.wait_for(wait, command)) {
      how.asked = false;
      reply.error(Error(Errc::limit, "too many clients wait for keys"));
    }
    if (!how.asked) answer_from_barrier(callback_ticket(done), std::move(out));
  });
}

void Worker::run_one_under_barrier(Connection& c, Transaction&& one) {
  auto kept = std::make_shared<Transaction>(std::move(one));
  standing_.add(c, kept->tracking.reader.client, [this, kept](Connection&, Reply& reply) {
    const OwnedCommand& command = kept->commands.front();
    const Tracking& tracking = kept->tracking;
    CommandContext ctx(command.args(), reply, command.db(), wall_ms(), spaces_, nullptr, random_,
                       command_options_);
    ctx.publish_to(*this, command.spec());
    command.spec().run(ctx);
    if (tracking.remembers)
      engine_->remember(command.spec(), command.args(), command.db(), tracking.reader);
  });
}

}  // namespace gyre
