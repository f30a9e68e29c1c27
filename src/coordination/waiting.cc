// Commands that wait for keys (BLPOP, XREADGROUP BLOCK), where their slot is acted for.
//
// Happy path: a command that cannot be answered is parked under its client's number; its
// coordinator knows (EngineHost::parked, ForwardAnswer::parked). Any change of one of its keys
// makes the key ready (shard/key_waits.h); at the end of the command that changed it serve_ready()
// looks, first come first served, whose command would be answered now, and wakes it. Its
// coordinator sends the command again, if the client is still there, as any command is sent: so an
// element is popped once, for a client that is there, and its reply waits for its level like every
// other.
//
// Who takes something is woken alone, and the others behind it when its command has run: the order
// stays, and one element wakes one client. That is at once where the client is of this thread.
//
// Failures: a client that is gone, or whose node is, does not come: it is passed over after
// offer_ms. Links lose messages: once a second a coordinator tells who still waits; who is not
// known here is told to come again, and who is not told of for waits_forgotten_ms is dropped. The
// node that acts is another one: the coordinator sends the command there. While such a command is
// out everything is as with a forwarded pop: when the node dies, the client hears -NOQUORUM.
//
// Bounds: waits_max; beyond it a command that would wait answers an error.

#include <algorithm>

#include "base/hash.h"
#include "coordination/engine.h"
#include "ring/slot.h"

namespace gyre {
namespace {

std::vector<KeyWaits::Line> lines_of(const CommandSpec& spec, Args args, DbIndex db,
                                     bool first_only) {
  std::vector<KeyWaits::Line> lines;
  for_each_key(spec, args, [&](std::size_t i) {
    if (!first_only || lines.empty()) lines.push_back(KeyWaits::line_of(db, key_hash(args[i])));
  });
  return lines;
}

}  // namespace

// ---- those who wait here

Ran Engine::execute_or_park(std::span<const CommandView> commands, const Job& job, std::string& out,
                            std::uint64_t& gate, bool confirmed) {
  if (job.wait == 0 || job.exec || commands.size() != 1)
    return execute(commands, job, out, gate, confirmed);
  Waiting how{.run = job.waited ? Waiting::Run::again : Waiting::Run::first};
  waiting_ = &how;
  const Ran ran = execute(commands, job, out, gate, confirmed);
  waiting_ = nullptr;
  if (how.asked) return park(commands.front(), job, std::move(how));
  drop_waiter(job.ticket.remote ? job.ticket.peer : options_.self, job.wait);
  return ran;
}

Ran Engine::park(const CommandView& command, const Job& job, Waiting&& how) {
  const NodeIndex node = job.ticket.remote ? job.ticket.peer : options_.self;
  const std::vector<std::string_view> again(how.args.begin(), how.args.end());
  const Args args = again.empty() ? command.args : Args(again);
  auto lines = lines_of(*command.spec, args, command.db, how.first_key_only);
  if (space_.waits().size() + lines.size() > waits_max) {
    deliver_error(job.ticket, Error(Errc::limit, "too many clients wait for keys"));
    return Ran::parked;
  }
  Waiter& w = waiter_of(node, job.wait, std::move(lines));
  w.shard = job.ticket.shard;
  w.slot = job.slot;
  w.command = OwnedCommand(*command.spec, command.db, args);
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
  auto lines = lines_of(command.spec(), command.args(), command.db(), true);
  if (space_.waits().size() + lines.size() > waits_max) return false;
  Waiter& w = waiter_of(options_.self, wait, std::move(lines));
  w.slot = key_slot(command.args()[1]);
  w.command = OwnedCommand(command.spec(), command.db(), command.args());
  return true;
}

// The one under this number, which keeps its place, or a new one.
Engine::Waiter& Engine::waiter_of(NodeIndex node, std::uint64_t wait,
                                  std::vector<KeyWaits::Line>&& lines) {
  const auto [number, fresh] = waiter_numbers_.try_emplace({node.value, wait}, next_waiter_);
  if (fresh) ++next_waiter_;
  Waiter& w = waiters_[number->second];
  // It came for nothing, such as when another client took what woke it: who is behind it may have
  // been waiting for it to come.
  if (w.offered) release(w);
  w.node = node;
  w.wait = wait;
  w.deaf = false;
  w.heard = clock_.steady_ms();
  if (w.lines != lines) {
    for (const KeyWaits::Line line : w.lines) space_.waits().remove(number->second, line);
    w.lines = std::move(lines);
    for (const KeyWaits::Line line : w.lines) space_.waits().add(number->second, line);
  }
  metrics_.blocked_waits.set(space_.waits().size());
  return w;
}

void Engine::drop_waiter(NodeIndex node, std::uint64_t wait) {
  const auto number = waiter_numbers_.find({node.value, wait});
  if (number == waiter_numbers_.end()) return;
  auto waiter = waiters_.extract(number->second);
  for (const KeyWaits::Line line : waiter.mapped().lines)
    space_.waits().remove(number->second, line);
  waiter_numbers_.erase(number);
  metrics_.blocked_waits.set(space_.waits().size());
  // Behind it somebody may wait for what it was woken for.
  if (waiter.mapped().offered) release(waiter.mapped());
}

// It is not woken any more: others may be.
void Engine::release(Waiter& waiter) {
  waiter.offered = 0;
  for (const KeyWaits::Line line : waiter.lines) space_.waits().note(line);
}

// Whether its command would be answered now.
bool Engine::due(const Waiter& waiter) {
  Waiting look{.run = Waiting::Run::look};
  std::string out;
  Reply reply(out, 2);
  CommandContext ctx(waiter.command.args(), reply, waiter.command.db(), clock_.wall_ms(), spaces_,
                     nullptr, random_, command_options_);
  ctx.waiting = &look;
  ctx.uses = false;
  waiter.command.spec().run(ctx);
  return !look.asked;
}

void Engine::wake(Waiter& waiter) {
  metrics_.blocked_woken.add();
  waiter.offered = std::max<SteadyMs>(1, clock_.steady_ms());
  const std::uint64_t wait = waiter.wait;
  if (waiter.node == options_.self) return host_.woken(wait);  // the waiter may be gone after that
  Woken m;
  m.waits = {wait};
  send(waiter.node, waiter.shard, m);
}

void Engine::serve_ready() {
  // A command that is run for one of them makes further keys ready (BLMOVE): in turn, not within.
  if (serving_ready_ || held_) return;  // held: when the script has ended
  serving_ready_ = true;
  std::vector<KeyWaits::Waiter> waiting;
  while (space_.waits().take(waiting)) {
    for (const KeyWaits::Waiter number : waiting) {
      auto at = waiters_.find(number);
      if (at == waiters_.end() || at->second.deaf) continue;
      const bool takes = (at->second.command.spec().flags & flag::write) != 0;
      if (!at->second.offered) {
        if (!due(at->second)) continue;
        wake(at->second);
        at = waiters_.find(number);
        if (at == waiters_.end()) continue;
      }
      if (at->second.offered && takes) break;  // its command is on its way
    }
  }
  serving_ready_ = false;
}

// ---- the coordinator's side

void Engine::stop_waiting(std::uint64_t wait) {
  drop_waiter(options_.self, wait);
  const auto away = away_.extract(wait);
  if (away.empty() || !peers_[away.mapped().at.value].view.up) return;
  Waits m;
  m.from_shard = options_.shard.value;
  m.drop = {wait};
  send(away.mapped().at, shard_at(away.mapped().at, away.mapped().slot), m);
}

void Engine::on_waits(NodeIndex from, const Waits& m) {
  for (const std::uint64_t wait : m.drop) drop_waiter(from, wait);
  Woken unknown;
  for (const std::uint64_t wait : m.keep) {
    const auto number = waiter_numbers_.find({from.value, wait});
    if (number == waiter_numbers_.end()) {
      unknown.waits.push_back(wait);
      continue;
    }
    Waiter& w = waiters_.at(number->second);
    w.heard = clock_.steady_ms();
    if (w.deaf) {
      w.deaf = false;
      release(w);
    }
  }
  if (!unknown.waits.empty()) send(from, m.from_shard, unknown);
}

void Engine::on_woken(NodeIndex, const Woken& m) {
  for (const std::uint64_t wait : m.waits) host_.woken(wait);
}

// ---- periodic

void Engine::tick_waits(SteadyMs now) {
  if ((waiters_.empty() && away_.empty()) || now - waits_looked_ < waits_looked_ms) return;
  waits_looked_ = now;
  wake_where_others_act();
  std::vector<std::uint64_t> forgotten;
  for (auto& [number, w] : waiters_) {
    if (w.node == options_.self) continue;
    if (now - w.heard > waits_forgotten_ms) forgotten.push_back(number);
    if (w.offered && now - w.offered > offer_ms) {
      w.deaf = true;
      release(w);
    }
  }
  for (const std::uint64_t number : forgotten)
    drop_waiter(waiters_.at(number).node, waiters_.at(number).wait);
  if (now - waits_told_ >= waits_told_ms) tell_waits(now);
}

void Engine::tell_waits(SteadyMs now) {
  waits_told_ = now;
  std::map<std::pair<std::uint16_t, std::uint16_t>, Waits> told;  // by peer and its thread
  for (const auto& [wait, away] : away_) {
    if (peers_[away.at.value].view.up)
      told[{away.at.value, shard_at(away.at, away.slot)}].keep.push_back(wait);
  }
  for (auto& [to, m] : told) {
    m.from_shard = options_.shard.value;
    send({to.first}, to.second, m);
  }
}

// Clients of this node that wait where nobody acts for their slot any more.
void Engine::wake_where_others_act() {
  std::vector<std::uint64_t> moved;
  for (const auto& [wait, away] : away_) {
    if (acting_node(away.slot) != away.at) moved.push_back(wait);
  }
  for (const std::uint64_t wait : moved) away_.erase(wait);
  const std::size_t from_away = moved.size();
  for (const auto& [number, w] : waiters_) {
    if (w.node == options_.self && acting_node(w.slot) != options_.self) moved.push_back(w.wait);
  }
  for (std::size_t i = from_away; i < moved.size(); ++i) drop_waiter(options_.self, moved[i]);
  std::sort(moved.begin(), moved.end());  // in the order in which they came
  for (const std::uint64_t wait : moved) host_.woken(wait);
}

// Until it is heard again nobody waits for it.
void Engine::peer_waits_no_more(NodeIndex peer) {
  for (auto& [number, w] : waiters_) {
    if (w.node != peer) continue;
    w.deaf = true;
    if (w.offered) release(w);
  }
}

}  // namespace gyre
