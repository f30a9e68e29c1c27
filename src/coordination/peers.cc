// The engine's peers: links that come and go, what peers say of themselves, what each message does.

#include <algorithm>

#include "base/log.h"
#include "base/probe.h"
#include "coordination/engine.h"
#include "ring/slot.h"

namespace gyre {

void Engine::peer_up(NodeIndex peer, std::uint16_t threads) {
  Peer& p = peers_[peer.value];
  p.view.up = true;
  p.view.threads = threads ? threads : std::uint16_t{1};
  p.repairing = false;
  // It did not see what was done in its absence: tell it which slots others acted for. What it did
  // itself meanwhile, and whatever was on the broken link, shows in a comparison.
  std::vector<std::uint16_t> acted;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    const int position = replica_index(slot, peer);
    if (position < 0 || !holds(slot)) continue;
    slots_[i].must |= static_cast<std::uint8_t>(1 << position);
    ++slots_[i].doubts;
    if (slots_[i].acting && ring_->replicas(slot).front() != options_.self)
      acted.push_back(slot.value);
  }
  for (const std::uint16_t s : hints_.marks(peer)) acted.push_back(s);
  p.marks_at = clock_.steady_ms();
  p.must_at = clock_.steady_ms() + (options_.self.value < peer.value ? 1000 : 2500);
  send_acted(peer, acted);
}

void Engine::peer_down(NodeIndex peer) {
  Peer& p = peers_[peer.value];
  // Where it acted, its last effects may still be on their way here: what this node knew when it
  // last acted itself is out of date.
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    if (slots_[i].acting && acting_node(slot) == peer) make_unsure(slot);
    if (slots_[i].used == peer) slots_[i].used = cut_off;
  }
  p.view.up = p.view.serving = false;
  clear_buffer(p.outbox);
  clear_buffer(p.ordered);
  p.unsent.clear();
  p.repairing = false;
  for (Turn& t : turns_) {
    if (t.peers.empty() || t.peers[peer.value].state != PeerPart::State::sent) continue;
    t.peers[peer.value].state = PeerPart::State::failed;
    hint_turn(t, peer);
    settle(t);
  }
  drop_settled();
  give_up_answers(peer);
  doubt_where_cut_off(peer);
  waiters_.peer_down(peer);
}

// A connection of the peer to this node has ended: what it cannot tell this node, others may act
// on, and answers that were on their way are lost, though this node's own link stands.
void Engine::peer_doubts(NodeIndex peer) {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    if (slots_[i].acting && replica_index(slot, peer) >= 0) make_unsure(slot);
  }
  if (!peers_[peer.value].view.up) return;
  for (Turn& t : turns_) {
    if (!t.peers.empty() && t.peers[peer.value].state == PeerPart::State::sent)
      send_effects(t, peer);
  }
  give_up_answers(peer);
}

// What waits for the peer's answer fails, or is sent again.
void Engine::give_up_answers(NodeIndex peer) {
  std::vector<std::uint64_t> ids;
  for (auto& [id, f] : forwards_) {
    if (f.target == peer && (f.left || !peers_[peer.value].view.up)) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());  // the order in which the clients sent them
  for (const std::uint64_t id : ids) {
    const bool left = forwards_.at(id).left;
    reroute(take_forward(id, Back::lost), peer, left);
  }
  ids.clear();
  for (auto& [id, g] : gathers_) {
    for (auto& a : g.asked) {
      if (a.peer == peer && a.left > 0) {
        a.bad = a.lost = true;
        a.left = 0;
        ids.push_back(id);
      }
    }
  }
  for (const std::uint64_t id : ids) gather_step(id);
  fail_confirms(peer);
  sync_.peer_down(peer);
  inquiries_.peer_down(peer);
  rounds_.peer_down(peer);
  untaken_peer_down(peer);
  std::erase_if(held_acks_, [peer](const auto& h) { return h.second.ack.peer == peer; });
  ids.clear();
  for (auto& [id, w] : walks_) {
    const std::size_t lost =
        std::erase_if(w.asked, [peer](const auto& a) { return a.peer == peer; });
    ids.insert(ids.end(), lost, id);
  }
  for (const std::uint64_t id : ids) walk_part_done(id, WalkResult{.failed = true});
}

// Cut off from a majority of a slot's replicas: they may act without this node.
void Engine::doubt_where_cut_off(NodeIndex peer) {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    if (!slots_[i].acting || replica_index(slot, peer) < 0) continue;
    int lost = 0;
    for (const NodeIndex n : ring_->replicas(slot)) {
      const PeerView& v = peers_[n.value].view;
      lost += n != options_.self && (!v.up || v.silent);
    }
    if (lost > n_ / 2) make_unsure(slot);
  }
}

void Engine::set_silent(NodeIndex peer, bool silent) {
  PeerView& v = peers_[peer.value].view;
  if (v.silent == silent) return;
  v.silent = silent;
  // A link that is down was counted when it broke.
  if (silent && v.up) doubt_where_cut_off(peer);
  // Who waited for it as the node that acts need not any more.
  for (Turn& t : turns_) settle(t);
  drop_settled();
}

void Engine::others_may_have_acted() {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].acting) make_unsure({static_cast<std::uint16_t>(space_.first_slot().value + i)});
  }
}

void Engine::set_fit(bool fit) {
  if (fit && !fit_ && !alone_) others_may_have_acted();
  fit_ = fit;
}

void Engine::store_failing(bool failing) {
  if (disk_failing_ && !failing && !alone_) others_may_have_acted();
  disk_failing_ = failing;
}

void Engine::peer_says(NodeIndex peer, bool serving, std::uint8_t unfit) {
  PeerView& v = peers_[peer.value].view;
  v.serving = v.up && serving;
  v.unfit = unfit;
}

void Engine::peer_heard(NodeIndex peer, const BatchHeader& header, UnixMs sent_ms) {
  Peer& p = peers_[peer.value];
  p.view.serving = header.serving;
  p.view.unfit = header.unfit;
  // Half of the round trip lies between the peer's reading of its clock and ours.
  const UnixMs now = clock_.wall_ms();
  const std::int64_t offset = header.wall_ms - (sent_ms ? (sent_ms + now) / 2 : now);
  p.view.offset_ms = (p.view.offset_ms * 7 + offset) / 8;
  if (std::abs(offset - p.view.offset_ms) > 1000) p.view.offset_ms = offset;
  others_ahead_ms_ = p.view.offset_ms;
  for (const Peer& other : peers_) {
    if (other.view.up) others_ahead_ms_ = std::max(others_ahead_ms_, other.view.offset_ms);
  }
}

void Engine::take_outbox(NodeIndex peer, Way way, std::string& to) {
  Peer& p = peers_[peer.value];
  if (way == Way::link) to.append(p.ordered);
  to.append(p.outbox);
  to.append(p.answers);
  clear_buffer(p.outbox);
  clear_buffer(p.answers);
  if (way != Way::link) return;
  clear_buffer(p.ordered);
  for (const std::uint64_t id : p.unsent) {
    if (const auto f = forwards_.find(id); f != forwards_.end()) f->second.left = true;
  }
  p.unsent.clear();
}

void Engine::on_messages(NodeIndex from, std::span<const Envelope> envelopes) {
  for (const Envelope& e : envelopes) {
    // Those before it first: what else comes may be about what they read.
    if (e.kind != Kind::forward && !arrived_.empty()) run_arrived();
    take_message(from, e);
  }
  if (!arrived_.empty()) run_arrived();
}

void Engine::take_message(NodeIndex from, const Envelope& e) {
  bool ok = true;
  const auto handle = [&]<class M>(M message, void (Engine::*method)(NodeIndex, const M&)) {
    ok = decode_message(e, message);
    if (ok) (this->*method)(from, message);
  };
  const auto synced = [&]<class M>(M message, void (MerkleSync::*method)(NodeIndex, const M&)) {
    ok = decode_message(e, message);
    if (ok && n_ > 1) (sync_.*method)(from, message);
  };
  switch (e.kind) {
    case Kind::forward:
      handle(Forward{}, &Engine::on_forward);
      break;
    case Kind::forward_answer:
      handle(ForwardAnswer{}, &Engine::on_forward_answer);
      break;
    case Kind::effects:
      handle(Effects{}, &Engine::on_effects);
      break;
    case Kind::effects_ack:
      handle(EffectsAck{}, &Engine::on_effects_ack);
      break;
    case Kind::fetch:
      handle(Fetch{}, &Engine::on_fetch);
      break;
    case Kind::fetch_answer:
      handle(FetchAnswer{}, &Engine::on_fetch_answer);
      break;
    case Kind::compare_ranges:
      synced(CompareRanges{}, &MerkleSync::on_compare_ranges);
      break;
    case Kind::compare_ranges_answer:
      synced(CompareRangesAnswer{}, &MerkleSync::on_compare_ranges_answer);
      break;
    case Kind::compare:
      synced(Compare{}, &MerkleSync::on_compare);
      tell_replaced();
      break;
    case Kind::compare_answer:
      handle(CompareAnswer{}, &Engine::on_compare_answer);
      break;
    case Kind::list_leaves:
      synced(ListLeaves{}, &MerkleSync::on_list_leaves);
      break;
    case Kind::list_leaves_answer:
      synced(ListLeavesAnswer{}, &MerkleSync::on_list_leaves_answer);
      break;
    case Kind::list_parts:
      synced(ListParts{}, &MerkleSync::on_list_parts);
      break;
    case Kind::list_parts_answer:
      synced(ListPartsAnswer{}, &MerkleSync::on_list_parts_answer);
      break;
    case Kind::fetch_many:
      synced(FetchMany{}, &MerkleSync::on_fetch_many);
      break;
    case Kind::fetch_many_answer:
      synced(FetchManyAnswer{}, &MerkleSync::on_fetch_many_answer);
      break;
    case Kind::confirm:
      handle(Confirm{}, &Engine::on_confirm);
      break;
    case Kind::confirm_answer: {
      ConfirmAnswer m;
      if ((ok = decode_message(e, m))) rounds_.on_confirm_answer(from, m);
      break;
    }
    case Kind::settled:
      handle(Settled{}, &Engine::on_settled);
      break;
    case Kind::repair:
      handle(Repair{}, &Engine::on_repair);
      break;
    case Kind::repair_ack:
      handle(RepairAck{}, &Engine::on_repair_ack);
      break;
    case Kind::whole_ask:
      handle(WholeAsk{}, &Engine::on_whole_ask);
      break;
    case Kind::whole_answer:
      handle(WholeAnswer{}, &Engine::on_whole_answer);
      break;
    case Kind::acted:
      handle(Acted{}, &Engine::on_acted);
      break;
    case Kind::acted_taken:
      handle(ActedTaken{}, &Engine::on_acted_taken);
      break;
    case Kind::evict:
      handle(Evict{}, &Engine::on_evict);
      break;
    case Kind::waits:
      handle(Waits{}, &Engine::on_waits);
      break;
    case Kind::woken:
      handle(Woken{}, &Engine::on_woken);
      break;
    case Kind::walk:
      handle(Walk{}, &Engine::on_walk);
      break;
    case Kind::walk_answer:
      handle(WalkAnswer{}, &Engine::on_walk_answer);
      break;
    case Kind::publish: {
      Publish m;
      ok = decode_message(e, m) && m.channel_kind <= static_cast<std::uint8_t>(ChannelKind::shard);
      if (ok) host_.published_elsewhere(from, m);
      break;
    }
    default:
      host_.node_message(from, e);
      break;
  }
  if (!ok)
    LOG_SELDOM(warning, "a message of kind %d from %s could not be read; it is dropped",
               static_cast<int>(e.kind), ring_->node(from).name.c_str());
}

}  // namespace gyre
