// Comparing slots with other replicas, to become sure of them and to heal what differs.
//
// sync/ compares and heals; here stands which slots need it and what an outcome proves. A slot is
// sure when N - W + 1 replicas were compared, itself counted when it is known; it is known when so
// many others that know were compared, or all N - 1 (design, sections 4 and 6). A broken link ends
// a comparison; it is begun again.

#include <algorithm>
#include <optional>

#include "base/log.h"
#include "base/probe.h"
#include "coordination/engine.h"
#include "ring/slot.h"

namespace gyre {
namespace {

constexpr std::size_t slots_at_once = 4096;
constexpr std::int64_t compare_again_ms = 200;
constexpr std::int64_t after_actor_ms = 1500;

}  // namespace

void Engine::make_unsure(Slot slot) {
  if (n_ == 1) return;
  SlotState& s = state(slot);
  s.sure = false;
  holds_.lose(slot);
  s.compared = s.compared_known = s.agreed = 0;
  ++s.doubts;
}

std::size_t Engine::slots_differing() const {
  std::size_t n = hints_.marks_total();
  if (alone_) return n;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    // The ring is asked last: in rest there is no such slot, and 16384 are looked at.
    n += (!slots_[i].known && holds(slot)) ||
         (!slots_[i].sure && slots_[i].acting && acting_node(slot) == options_.self);
  }
  return n;
}

void Engine::compare_some(SteadyMs now) {
  std::optional<bool> well;  // in rest all slots are, and one look serves all peers
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    Peer& p = peers_[i];
    if (!p.view.up || !p.comparing.empty() || now < p.compare_at) continue;
    if (!well) {
      well = std::all_of(slots_.begin(), slots_.end(), [](const SlotState& s) { return s.well(); });
    }
    if (*well)
      p.compare_at = now + compare_again_ms;
    else
      start_compare({static_cast<std::uint16_t>(i)});
  }
}

void Engine::start_compare(NodeIndex peer) {
  Peer& p = peers_[peer.value];
  const SteadyMs now = clock_.steady_ms();
  std::vector<Slot> wanted;
  for (std::size_t i = 0; i < slots_.size() && wanted.size() < slots_at_once; ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    const SlotState& s = slots_[i];
    if (s.well()) continue;
    const int position = replica_index(slot, peer);
    if (position < 0 || !holds(slot)) continue;
    const int bit = 1 << position;
    // To be known is for every replica; to be sure only for who acts. While another node does, its
    // peers never agree that it is this one.
    const bool for_known = !s.known && !(s.compared_known & bit);
    const bool for_sure = s.acting && !s.sure && !(s.compared_known & s.agreed & bit) &&
                          acting_node(slot) == options_.self;
    // Who acts heals first: two who find the same difference would carry it twice.
    const std::int64_t after_actor = acting_node(slot) == options_.self ? 0 : after_actor_ms;
    const bool for_both = (s.must & bit) && now >= p.must_at + after_actor && !sync_.busy(slot);
    // What is only healed goes from one peer after the other: what the first brings, the second
    // need not.
    if (for_known || for_sure || for_both) wanted.push_back(slot);
  }
  p.compare_at = now + compare_again_ms;
  if (wanted.empty()) return;
  std::unordered_map<std::uint16_t, std::uint32_t> doubts;
  for (const Slot s : wanted) doubts.emplace(s.value, state(s).doubts);
  p.comparing = sync_.begin(peer, wanted, Purpose::sureness);
  p.doubts = std::move(doubts);
}

void Engine::ended(std::uint64_t id, NodeIndex peer, bool failed) {
  std::erase(peers_[peer.value].comparing, id);
  rounds_.ended(id, failed);
}

void Engine::compared(std::uint64_t id, NodeIndex peer, Slot slot, const Outcome& outcome) {
  rounds_.compared(id, peer, slot, outcome);
  const Peer& p = peers_[peer.value];
  if (std::find(p.comparing.begin(), p.comparing.end(), id) == p.comparing.end()) return;
  SlotState& s = state(slot);
  const int position = replica_index(slot, peer);
  const auto began = p.doubts.find(slot.value);
  if (position < 0 || began == p.doubts.end() || began->second != s.doubts) return;
  const auto bit = static_cast<std::uint8_t>(1 << position);
  s.must &= static_cast<std::uint8_t>(~bit);
  s.compared |= bit;
  if (outcome.known) s.compared_known |= bit;
  // Who sends commands elsewhere lets others act after this comparison: it counts when that is
  // over.
  s.agreed = static_cast<std::uint8_t>(outcome.elsewhere ? s.agreed & ~bit : s.agreed | bit);
  const auto count = [](int bits) { return __builtin_popcount(static_cast<unsigned>(bits)); };
  if (!s.known && (count(s.compared_known) >= sure_quorum() || count(s.compared) >= n_ - 1)) {
    s.known = true;
    space_.set_partial(slot, false);
  }
  if (s.known && (count(s.compared_known & s.agreed) + 1 >= sure_quorum() ||
                  count(s.compared & s.agreed) >= n_ - 1))
    s.sure = true;
}

// ---- what comparisons and rounds ask of this node

bool Engine::may_round(Slot slot) const {
  const SlotState& s = state(slot);
  // Where a replica is known to have missed something a round would be void, and carry the
  // difference a second time.
  if (!s.acting || !s.sure || !s.known || s.must != 0 || disk_failing_ || !holds_.settled(slot) ||
      space_.parts_touched() || acting_node(slot) != options_.self)
    return false;
  const auto replicas = ring_->replicas(slot);
  return std::all_of(replicas.begin(), replicas.end(),
                     [this](NodeIndex n) { return n == options_.self || peers_[n.value].view.up; });
}

// What was read under an older T may be of before something that all have forgotten since.
Engine::Below Engine::below_of(const Effect& effect, Version bound) const {
  const Slot slot = effect.slot_floor ? Slot{} : key_slot(effect.key);
  return !effect.slot_floor && space_.owns(slot) && space_.repaired(slot) > bound ? Below::dropped
                                                                                  : Below::merged;
}

bool Engine::merge_synced(Effect& effect, Version bound, bool& changed) {
  const ApplyResult* r = nullptr;
  if (!merge_from_peer(effect, r, below_of(effect, bound))) return false;
  changed = r && r->changed;
  return true;
}

void Engine::on_compare_answer(NodeIndex from, const CompareAnswer& m) {
  if (n_ > 1 && !inquiries_.on_compare_answer(from, m)) sync_.on_compare_answer(from, m);
}

void Engine::lost_state(Slot slot) {
  LOG_SELDOM(warning, "slot %d lacks what others have confirmed with this node: it starts over",
             slot.value);
  metrics_.slots_started_over.add();
  state(slot).known = false;
  make_unsure(slot);
}

void Engine::on_confirm(NodeIndex from, const Confirm& m) {
  WaitingAck ack{.peer = from, .shard = m.from_shard, .confirm_id = m.id};
  if (space_.parts_touched()) look_at_parts();
  // Of a clock that is ahead: what is stamped from now on may lie below it. And so may what this
  // node is to stamp again.
  const bool too_late = m.upto.ms() > clock_.wall_ms() || stamps_ahead();
  for (const std::uint16_t s : m.slots) {
    const Slot slot{s};
    if (s >= slots_total || !space_.owns(slot) || !holds(slot) || replica_index(slot, from) < 0)
      continue;
    if (!state(slot).known || disk_failing_ || too_late || !holds_.settled(slot) ||
        space_.agreement(slot).low <= m.upto) {
      GYRE_PROBE(void_round);
      continue;
    }
    space_.confirm(slot, m.upto);
    ack.confirmed.push_back(s);
  }
  open_turn().acks.push_back(std::move(ack));
}

void Engine::on_settled(NodeIndex from, const Settled& m) {
  for (const std::uint16_t s : m.slots) {
    const Slot slot{s};
    if (s < slots_total && space_.owns(slot) && holds(slot) && replica_index(slot, from) >= 0 &&
        m.upto <= space_.clock().peek(clock_.wall_ms()))
      sync_.adopt(slot, m.upto);
  }
}

}  // namespace gyre
