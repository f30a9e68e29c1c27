#include "sync/rounds.h"

#include <algorithm>

#include "base/probe.h"

namespace gyre {
namespace {

constexpr std::int64_t between_ms = 500;

}  // namespace

void Rounds::tick() {
  const SteadyMs now = clock_.steady_ms();
  if (running()) {
    if (now - began_ > options_.timeout_ms) give_up();
    return;
  }
  if (now < next_at_) return;
  next_at_ = now + between_ms;
  begin();
}

void Rounds::begin() {
  const UnixMs wall = clock_.wall_ms();
  upto_ = Version::below_ms(wall - options_.margin_ms);
  const Version recent = Version::below_ms(wall - options_.margin_ms - options_.pause_ms);
  std::vector<std::pair<std::uint32_t, std::uint16_t>> due;  // the fullest first
  for (std::size_t i = 0; i < space_.slot_count(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    const KeySpace::Agreement& a = space_.agreement(slot);
    const bool closed = a.open_sum && a.open_sum <= space_.closed_sums(upto_);
    if ((a.dead == 0 && !closed) || a.repaired >= upto_ ||
        (a.repaired > recent && a.dead < options_.many))
      continue;
    if (host_.may_round(slot)) due.emplace_back(a.dead, slot.value);
  }
  if (due.empty()) return;
  std::sort(due.begin(), due.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  if (due.size() > options_.slots_at_once) due.resize(options_.slots_at_once);
  began_ = clock_.steady_ms();
  confirming_ = false;
  std::map<std::uint16_t, std::vector<Slot>> by_peer;
  for (const auto& [dead, s] : due) {
    slots_.emplace(s, Going{});
    space_.watch_merges({s});
    for (const NodeIndex n : host_.replicas({s})) {
      if (n != options_.self) by_peer[n.value].push_back({s});
    }
  }
  for (const auto& [peer, slots] : by_peer) {
    for (const std::uint64_t id : sync_.begin({peer}, slots, Purpose::round, upto_))
      out_.insert(id);
  }
}

void Rounds::compared(std::uint64_t id, NodeIndex, Slot slot, const SyncHost::Outcome& outcome) {
  if (!out_.contains(id)) return;
  const auto at = slots_.find(slot.value);
  if (at == slots_.end()) return;
  if (outcome.known && !outcome.differed) {
    ++at->second.equal;
  } else {
    at->second.out = true;
  }
}

void Rounds::ended(std::uint64_t id, bool) {
  if (out_.erase(id) == 0 || !out_.empty() || confirming_) return;
  ask_to_confirm();
}

void Rounds::ask_to_confirm() {
  confirming_ = true;
  std::map<std::pair<std::uint16_t, std::uint16_t>, Confirm> by_thread;
  for (auto at = slots_.begin(); at != slots_.end();) {
    const Slot slot{at->first};
    const auto replicas = host_.replicas(slot);
    Going& g = at->second;
    const bool compared = !g.out && g.equal + 1u == replicas.size() && host_.may_round(slot);
    if (!compared || space_.agreement(slot).low <= upto_) {
      if (compared) {
        GYRE_PROBE(void_round);
        metrics_.rounds_void.add();
      }
      at = slots_.erase(at);
      continue;
    }
    g.equal = 0;
    space_.confirm(slot, upto_);
    for (const NodeIndex n : replicas) {
      if (n == options_.self) continue;
      by_thread[{n.value, host_.thread_of(n, slot)}].slots.push_back(slot.value);
    }
    ++at;
  }
  for (auto& [to, m] : by_thread) {
    m.id = next_id_++ << 8 | options_.shard.value;
    m.from_shard = options_.shard.value;
    m.upto = upto_;
    out_.insert(m.id);
    put_message(host_.to_peer({to.first}, false), to.second, m);
  }
}

void Rounds::on_confirm_answer(NodeIndex, const ConfirmAnswer& m) {
  if (!confirming_ || out_.erase(m.id) == 0) return;
  for (const std::uint16_t s : m.slots) {
    if (const auto at = slots_.find(s); at != slots_.end()) ++at->second.equal;
  }
  if (out_.empty()) settle();
}

void Rounds::settle() {
  std::map<std::pair<std::uint16_t, std::uint16_t>, Settled> by_thread;
  for (const auto& [s, g] : slots_) {
    const Slot slot{s};
    const auto replicas = host_.replicas(slot);
    // Its own word counts like the others': nothing late came since.
    if (g.equal + 1u != replicas.size() || space_.agreement(slot).confirmed < upto_ ||
        !host_.may_round(slot)) {
      GYRE_PROBE(void_round);
      metrics_.rounds_void.add();
      continue;
    }
    metrics_.rounds_settled.add();
    space_.set_repaired(slot, upto_);
    for (const NodeIndex n : replicas) {
      if (n != options_.self)
        by_thread[{n.value, host_.thread_of(n, slot)}].slots.push_back(slot.value);
    }
  }
  for (auto& [to, m] : by_thread) {
    m.upto = upto_;
    put_message(host_.to_peer({to.first}, false), to.second, m);
  }
  slots_.clear();
  confirming_ = false;
}

void Rounds::give_up() {
  slots_.clear();
  out_.clear();
  confirming_ = false;
}

}  // namespace gyre
