#include "coordination/waiters.h"

#include <algorithm>

#include "base/hash.h"
#include "ring/slot.h"

namespace gyre {

// ---- those who wait here

bool Waiters::add(const Client& client, Slot slot, OwnedCommand&& command, bool first_key_only) {
  std::vector<KeyWaits::Line> lines;
  const Args args = command.args();
  for_each_key(command.spec(), args, [&](std::size_t i) {
    if (!first_key_only || lines.empty())
      lines.push_back(KeyWaits::line_of(command.db(), key_hash(args[i])));
  });
  if (space_.waits().size() + lines.size() > waits_max) return false;
  const auto [number, fresh] = numbers_.try_emplace({client.node.value, client.wait}, next_);
  if (fresh) ++next_;
  Waiter& w = waiters_[number->second];
  // It came for nothing, such as when another client took what woke it: who is behind it may have
  // been waiting for it to come.
  if (w.offered) release(w);
  w.client = client;
  w.slot = slot;
  w.command = std::move(command);
  w.deaf = false;
  w.heard = clock_.steady_ms();
  if (w.lines != lines) {
    for (const KeyWaits::Line line : w.lines) space_.waits().remove(number->second, line);
    w.lines = std::move(lines);
    for (const KeyWaits::Line line : w.lines) space_.waits().add(number->second, line);
  }
  metrics_.blocked_waits.set(space_.waits().size());
  return true;
}

void Waiters::drop(NodeIndex node, std::uint64_t wait) {
  const auto number = numbers_.find({node.value, wait});
  if (number == numbers_.end()) return;
  auto waiter = waiters_.extract(number->second);
  for (const KeyWaits::Line line : waiter.mapped().lines)
    space_.waits().remove(number->second, line);
  numbers_.erase(number);
  metrics_.blocked_waits.set(space_.waits().size());
  // Behind it somebody may wait for what it was woken for.
  if (waiter.mapped().offered) release(waiter.mapped());
}

// It is not woken any more: others may be.
void Waiters::release(Waiter& waiter) {
  waiter.offered = 0;
  for (const KeyWaits::Line line : waiter.lines) space_.waits().note(line);
}

void Waiters::wake(Waiter& waiter) {
  metrics_.blocked_woken.add();
  waiter.offered = std::max<SteadyMs>(1, clock_.steady_ms());
  const Client client = waiter.client;
  if (client.node == self_) return host_.wake(client.wait);  // the waiter may be gone after that
  Woken m;
  m.waits = {client.wait};
  put_message(host_.to_peer(client.node, is_answer(Woken::kind)), client.shard, m);
}

void Waiters::serve_ready() {
  // A command that is run for one of them makes further keys ready (BLMOVE): in turn, not within.
  if (serving_) return;
  serving_ = true;
  std::vector<KeyWaits::Waiter> waiting;
  while (space_.waits().take(waiting)) {
    for (const KeyWaits::Waiter number : waiting) {
      auto at = waiters_.find(number);
      if (at == waiters_.end() || at->second.deaf) continue;
      const bool takes = (at->second.command.spec().flags & flag::write) != 0;
      if (!at->second.offered) {
        if (!host_.answers_now(at->second.command)) continue;
        wake(at->second);
        at = waiters_.find(number);
        if (at == waiters_.end()) continue;
      }
      if (at->second.offered && takes) break;  // its command is on its way
    }
  }
  serving_ = false;
}

// ---- clients of this node

void Waiters::stop(std::uint64_t wait) {
  drop(self_, wait);
  const auto away = away_.extract(wait);
  if (away.empty() || !host_.reachable(away.mapped().at)) return;
  Waits m;
  m.from_shard = shard_.value;
  m.drop = {wait};
  const NodeIndex at = away.mapped().at;
  put_message(host_.to_peer(at, is_answer(Waits::kind)), host_.thread_of(at, away.mapped().slot),
              m);
}

void Waiters::on_waits(NodeIndex from, const Waits& m) {
  for (const std::uint64_t wait : m.drop) drop(from, wait);
  Woken unknown;
  for (const std::uint64_t wait : m.keep) {
    const auto number = numbers_.find({from.value, wait});
    if (number == numbers_.end()) {
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
  if (!unknown.waits.empty())
    put_message(host_.to_peer(from, is_answer(Woken::kind)), m.from_shard, unknown);
}

// ---- periodic

void Waiters::tick(SteadyMs now) {
  if ((waiters_.empty() && away_.empty()) || now - looked_ < looked_ms) return;
  looked_ = now;
  wake_where_others_act();
  std::vector<Client> forgotten;
  for (auto& [number, w] : waiters_) {
    if (w.client.node == self_) continue;
    if (now - w.heard > forgotten_ms) forgotten.push_back(w.client);
    if (w.offered && now - w.offered > offer_ms) {
      w.deaf = true;
      release(w);
    }
  }
  for (const Client& client : forgotten) drop(client.node, client.wait);
  if (now - told_ >= told_ms) tell(now);
}

void Waiters::tell(SteadyMs now) {
  told_ = now;
  std::map<std::pair<std::uint16_t, std::uint16_t>, Waits> told;  // by peer and its thread
  for (const auto& [wait, away] : away_) {
    if (host_.reachable(away.at))
      told[{away.at.value, host_.thread_of(away.at, away.slot)}].keep.push_back(wait);
  }
  for (auto& [to, m] : told) {
    m.from_shard = shard_.value;
    put_message(host_.to_peer({to.first}, is_answer(Waits::kind)), to.second, m);
  }
}

// Clients of this node that wait where nobody acts for their slot any more.
void Waiters::wake_where_others_act() {
  std::vector<std::uint64_t> moved;
  for (const auto& [wait, away] : away_) {
    if (host_.acting_node(away.slot) != away.at) moved.push_back(wait);
  }
  for (const std::uint64_t wait : moved) away_.erase(wait);
  const std::size_t from_away = moved.size();
  for (const auto& [number, w] : waiters_) {
    if (w.client.node == self_ && host_.acting_node(w.slot) != self_)
      moved.push_back(w.client.wait);
  }
  for (std::size_t i = from_away; i < moved.size(); ++i) drop(self_, moved[i]);
  std::sort(moved.begin(), moved.end());  // in the order in which they came
  for (const std::uint64_t wait : moved) host_.wake(wait);
}

void Waiters::peer_down(NodeIndex peer) {
  for (auto& [number, w] : waiters_) {
    if (w.client.node != peer) continue;
    w.deaf = true;
    if (w.offered) release(w);
  }
}

}  // namespace gyre
