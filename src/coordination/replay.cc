// Hints on their way: what a peer has missed, sent when it is back, one message at a time.
//
// A repair message is acked when it is durable at the peer; then its hints go. What the peer
// refuses or a broken link swallows stays hinted, and is sent again after a while.

#include "base/hash.h"
#include "coordination/engine.h"
#include "ring/slot.h"

namespace gyre {
namespace {

constexpr std::size_t hints_at_once = 512;
constexpr std::size_t repair_bytes = std::size_t{1} << 20;

}  // namespace

void Engine::put_record(std::string& to, std::uint32_t& count, Slot slot, DbIndex db,
                        std::string_view key, Version since) {
  const Node* n = space_.find(slot, db, key, key_hash(key));
  Effect effect;
  if (n) {
    gyre::record_effect(*n, db, since, effect);
  } else {
    const Version floor = space_.slot_floor(slot, db);
    if (!floor) return;
    effect.db = db;
    effect.key = key;
    effect.version = effect.floor = floor;
    effect.whole = true;
  }
  encode_effect(to, effect);
  ++count;
}

void Engine::replay_hints(NodeIndex peer) {
  Peer& p = peers_[peer.value];
  Repair m;
  std::string bytes;
  std::uint16_t shard = 0;
  p.repair_names.clear();
  for (auto& [name, hint] : hints_.take(peer, hints_at_once)) {
    const std::uint16_t of = shard_at(peer, name.slot);
    if (p.repair_names.empty()) shard = of;
    if (of != shard || bytes.size() > repair_bytes) break;
    put_record(bytes, m.count, name.slot, name.db, name.key, hint.since);
    p.repair_names.emplace_back(std::move(name), hint);
  }
  if (p.repair_names.empty()) return;
  m.id = p.repair_id = next_id_++ << 8 | options_.shard.value;
  m.from_shard = options_.shard.value;
  m.effects = bytes;
  p.repairing = true;
  p.repair_at = clock_.steady_ms();
  send(peer, shard, m);
}

void Engine::on_repair(NodeIndex from, const Repair& m) {
  Reader in(m.effects);
  Effect effect;
  bool all = true;
  HeldAck held;
  held.ack.peer = from;
  held.ack.shard = m.from_shard;
  held.ack.repair_id = m.id;
  held.wanted = m.id != 0;
  for (std::uint32_t i = 0; i < m.count; ++i) {
    const std::size_t left = in.left();
    if (!decode_effect(in, effect)) return;
    const ApplyResult* r = nullptr;
    const Below below =
        m.synced ? below_of(effect, bound_of(m.bounds, key_slot(effect.key))) : Below::dropped;
    all &= merge_from_peer(effect, r, below);
    if (r && r->hollow) {
      held.effects.push_back(
          {.index = i,
           .base = {},
           .bytes = std::string(m.effects.substr(m.effects.size() - left, left - in.left()))});
    }
    if (!r || (!r->changed && !r->hollow)) continue;
    const Slot slot = key_slot(effect.key);
    // Somebody acted here while this node did not hear of it.
    if (m.id && state(slot).acting && state(slot).sure) make_unsure(slot);
  }
  if (!all) held.wanted = false;
  if (!held.effects.empty()) return ask_whole(std::move(held));
  if (held.wanted) open_turn().acks.push_back(std::move(held.ack));
}

void Engine::on_repair_ack(NodeIndex from, const RepairAck& m) {
  if (sync_.on_push_ack(from, m.id) || on_read_repaired(from, m.id)) return;
  Peer& p = peers_[from.value];
  if (!p.repairing || p.repair_id != m.id) return;
  for (const auto& [name, hint] : p.repair_names) {
    hints_.delivered(from, name, hint, space_.rows());
    metrics_.hints_replayed.add();
  }
  p.repair_names.clear();
  p.repairing = false;
  if (hints_.pending(from)) replay_hints(from);
}

}  // namespace gyre
