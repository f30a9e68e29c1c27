// Hollow effects: a replica that has dropped the elements of an expired record learns that it was
// revived, by a longer time to live, PERSIST or an overwrite below what it held (record/apply.h).
//
// Happy path: an effect finds a stub -> its sender is asked for the whole record, and the ack of
// the message is held -> the answer is merged, then the effect again -> the ack leaves with the
// turn. Failures: the link breaks, no answer comes in time, the answer does not help, or too many
// acks are held already: this one is dropped, so the sender times out and keeps hints. Until the
// record is here the slot's stub hides it, and nobody counts this replica as one that has it.

#include <algorithm>

#include "base/log.h"
#include "base/probe.h"
#include "coordination/engine.h"
#include "ring/slot.h"

namespace gyre {
namespace {

constexpr std::size_t held_max = 1024;
constexpr std::size_t answer_bytes = std::size_t{1} << 20;  // of one part

}  // namespace

void Engine::ask_whole(HeldAck&& held) {
  if (held_acks_.size() >= held_max) return;
  WholeAsk ask;
  ask.id = next_id_++ << 8 | options_.shard.value;
  ask.from_shard = options_.shard.value;
  Effect effect;
  for (const HollowEffect& h : held.effects) {
    Reader in(h.bytes);
    GYRE_ASSERT(decode_effect(in, effect));
    ask.keys.push_back({effect.db.value, effect.key});
  }
  metrics_.hollow_asked.add();
  GYRE_PROBE(hollow_asked);
  held.at = clock_.steady_ms();
  send(held.ack.peer, held.ack.shard, ask);
  held_acks_.emplace(ask.id, std::move(held));
}

void Engine::on_whole_ask(NodeIndex from, const WholeAsk& m) {
  WholeAnswer answer;
  answer.id = m.id;
  std::string bytes;
  for (const WholeKey& k : m.keys) {
    const Slot slot = key_slot(k.key);
    if (!space_.owns(slot) || !holds(slot) || !space_.has_database({k.db})) continue;
    put_record(bytes, answer.count, slot, {k.db}, k.key, {});
    if (bytes.size() < answer_bytes) continue;
    answer.more = true;
    answer.effects = bytes;
    send(from, m.from_shard, answer);
    bytes.clear();
    answer.count = 0;
  }
  answer.more = false;
  answer.effects = bytes;
  send(from, m.from_shard, answer);
}

void Engine::on_whole_answer(NodeIndex from, const WholeAnswer& m) {
  const auto at = held_acks_.find(m.id);
  if (at == held_acks_.end() || at->second.ack.peer != from) return;
  Effect effect;
  const ApplyResult* r = nullptr;
  Reader in(m.effects);
  for (std::uint32_t i = 0; i < m.count && decode_effect(in, effect); ++i)
    merge_from_peer(effect, r);
  if (m.more) return;
  HeldAck held = std::move(at->second);
  held_acks_.erase(at);
  bool all = true;
  for (const HollowEffect& h : held.effects) {
    Reader own(h.bytes);
    GYRE_ASSERT(decode_effect(own, effect));
    const Version version = effect.version;
    if (!merge_from_peer(effect, r) || (r && r->hollow)) {
      all = false;
    } else if (!r && !held.ack.repair_id && !effect.slot_floor) {
      refuse_old(effect, version, h.index, held.ack);
    } else if (r && !held.ack.repair_id) {
      judge(effect, *r, h.index, std::max(h.base, base_at(effect, *r)), held.ack);
    }
  }
  if (all && held.wanted) give_ack(std::move(held.ack));
}

void Engine::drop_held_acks(SteadyMs now) {
  std::erase_if(held_acks_, [&](const auto& h) {
    if (now - h.second.at <= options_.ack_timeout_ms) return false;
    LOG_SELDOM(notice, "%s did not send whole records in time; its effects are not acknowledged",
               ring_->node(h.second.ack.peer).name.c_str());
    return true;
  });
}

}  // namespace gyre
