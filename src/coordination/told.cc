// Who takes itself for the node that acts hears when another one does.
//
// A node that acts for a slot answers reads at level ONE by its own word: it is sure of the slot
// because others have agreed, in comparisons, that it is the one (compare.cc). An effect of another
// node, or agreeing to another one, takes that word back. Happy path: the one whose word it was is
// told (Acted) -> it is unsure and answers (ActedTaken) -> acks for the new one leave, held until
// then, so that nobody is told of a write while another still answers reads from before it.
// Failures: the link to the one who is told breaks: nobody waits for it any longer, and it doubts
// by itself when it is cut off from most (doubt_where_cut_off); no answer comes in time: the held
// acks are dropped, so the writer keeps hints. At most untaken_max tellings are waited for at a
// time; of the rest the one who acted is told all the same.

#include <algorithm>
#include <map>
#include <set>

#include "base/log.h"
#include "base/probe.h"
#include "coordination/engine.h"
#include "ring/slot.h"

namespace gyre {
namespace {

constexpr std::size_t untaken_max = 32;

}  // namespace

// The node that asks grows sure by this comparison and writes what this one acks. It is as if an
// effect of it had come, although it has written nothing (system test fault_kill_rounds). Who was
// sure by the same word before may not see that node (tests/sim/half_back_test.cc).
void Engine::agreed(Slot slot, NodeIndex node) {
  SlotState& s = state(slot);
  const NodeIndex before = std::exchange(s.actor, node);
  if (before == node) return;
  if (s.acting) {
    s.acting = false;
    make_unsure(slot);
  }
  if (before != options_.self && before.value < peers_.size() && peers_[before.value].view.up)
    replaced_[before.value].push_back(slot.value);
}

void Engine::tell_replaced() {
  for (const auto& [peer, slots] : replaced_) send_acted({peer}, slots, Missed::nothing);
  replaced_.clear();
}

void Engine::send_acted(NodeIndex peer, const std::vector<std::uint16_t>& slots, Missed missed) {
  // Shares of the slots belong to threads of the peer.
  std::map<std::uint16_t, Acted> by_shard;
  for (const std::uint16_t s : slots) by_shard[shard_at(peer, {s})].slots.push_back(s);
  for (auto& [shard, part] : by_shard) {
    part.id = next_id_++ << 8 | options_.shard.value;
    part.from_shard = options_.shard.value;
    part.missed = missed == Missed::something;
    send(peer, shard, part);
    // Where nodes act at once for many slots: each ack looks through these.
    if (untaken_.size() >= untaken_max) continue;
    std::sort(part.slots.begin(), part.slots.end());
    untaken_.push_back({part.id, peer, clock_.steady_ms(), std::move(part.slots)});
  }
}

void Engine::on_acted(NodeIndex from, const Acted& m) {
  for (const std::uint16_t s : m.slots) {
    if (s >= slots_total || !space_.owns({s}) || !holds({s})) continue;
    make_unsure({s});
    if (!m.missed) continue;
    if (const int position = replica_index({s}, from); position >= 0) {
      state({s}).must |= static_cast<std::uint8_t>(1 << position);
    }
  }
  send(from, m.from_shard, ActedTaken{m.id});
}

void Engine::on_acted_taken(NodeIndex from, const ActedTaken& m) {
  if (std::erase_if(untaken_, [&](const Untaken& u) { return u.id == m.id && u.peer == from; }))
    give_held_acks();
}

// What the ack of these effects waits for.
void Engine::wait_until_taken(NodeIndex from, const Effects& m, WaitingAck& ack) const {
  std::set<std::uint16_t> slots;
  Reader in(m.effects);
  Effect effect;
  for (std::uint32_t i = 0; i < m.count && decode_effect(in, effect); ++i) {
    Reader key(effect.key);
    slots.insert(effect.slot_floor ? key.be16() : key_slot(effect.key).value);
  }
  for (const Untaken& u : untaken_) {
    const auto about = [&u](std::uint16_t s) {
      return std::binary_search(u.slots.begin(), u.slots.end(), s);
    };
    if (u.peer != from && std::any_of(slots.begin(), slots.end(), about))
      ack.untaken.push_back(u.id);
  }
}

void Engine::give_ack(WaitingAck&& ack) {
  if (still_untaken(ack)) {
    GYRE_PROBE(ack_until_told);
    untold_acks_.push_back(std::move(ack));
  } else {
    open_turn().acks.push_back(std::move(ack));
  }
}

bool Engine::still_untaken(WaitingAck& ack) const {
  std::erase_if(ack.untaken, [this](std::uint64_t id) {
    return std::none_of(untaken_.begin(), untaken_.end(),
                        [id](const Untaken& u) { return u.id == id; });
  });
  return !ack.untaken.empty();
}

void Engine::give_held_acks() {
  for (WaitingAck& ack : std::exchange(untold_acks_, {})) give_ack(std::move(ack));
}

void Engine::untaken_peer_down(NodeIndex peer) {
  std::erase_if(untold_acks_, [peer](const WaitingAck& a) { return a.peer == peer; });
  if (std::erase_if(untaken_, [peer](const Untaken& u) { return u.peer == peer; }))
    give_held_acks();
}

void Engine::drop_untaken(SteadyMs now) {
  const auto late = [&](const Untaken& u) { return now - u.at > options_.ack_timeout_ms; };
  for (const Untaken& u : untaken_) {
    if (!late(u)) continue;
    LOG_SELDOM(notice, "%s does not say that it has heard who acts; others' effects wait",
               ring_->node(u.peer).name.c_str());
    std::erase_if(untold_acks_, [&u](const WaitingAck& a) {
      return std::find(a.untaken.begin(), a.untaken.end(), u.id) != a.untaken.end();
    });
  }
  std::erase_if(untaken_, late);
}

}  // namespace gyre
