// The write path: turns, acknowledgements, NEWER.
//
// Happy path: commands of a loop turn record their effects -> end_turn() gives rows to the store
// and one message to each replica -> persisted() and acks come back -> an operation whose level is
// reached is answered. Failures: a replica is away (or its link breaks before the ack): its part of
// the turn becomes hints; an operation that can no longer reach its level, or not in time, answers
// -NOQUORUM; a replica holds something newer: acks.cc.

#include <algorithm>

#include "base/hash.h"
#include "base/log.h"
#include "base/probe.h"
#include "coordination/engine.h"
#include "record/purge.h"
#include "ring/slot.h"

namespace gyre {

Turn& Engine::open_turn() {
  if (turns_.empty() || turns_.back().flushed) {
    turns_.emplace_back();
    turns_.back().number = turn_;
  }
  return turns_.back();
}

Turn* Engine::find_turn(std::uint64_t number) {
  const auto at = std::lower_bound(turns_.begin(), turns_.end(), number,
                                   [](const Turn& t, std::uint64_t n) { return t.number < n; });
  return at != turns_.end() && at->number == number ? &*at : nullptr;
}

void Engine::record_effect(Slot slot, const Effect& effect, std::uint32_t operation) {
  Turn& turn = open_turn();
  const std::size_t at = turn.effects.size();
  encode_effect(turn.effects, effect);
  turn.made.push_back({at, turn.effects.size() - at, slot, operation});
  if (!alone_) state(slot).changed = turn_;
  if (options_.watch) options_.watch->made(options_.self, slot, effect);
}

void Engine::end_turn() {
  // What waited for the end of one turn may fill the next.
  constexpr int turns_max = 16;
  for (int i = 0; i < turns_max; ++i) {
    bool more = go_on_behind_holds();
    if (held_) [[unlikely]]
      return;  // what a script does becomes durable, and known to others, at once
    more |= go_on_in_lines();
    for (Request& script : std::exchange(anew_, {})) {
      transact(std::move(script));
      more = true;
    }
    end_one_turn();
    if (!more) return;
  }
}

void Engine::end_one_turn() {
  if (!overtaken_.empty()) put_back_overtaken();
  if (std::exchange(met_expired_, false) && lazy_expire_) expire(clock_.wall_ms());
  if (command_options_.memory.limit != 0) {
    evict_excess();
    evictions_left_ = command_options_.memory.keys_a_turn;
  }
  const bool has_turn = !turns_.empty() && !turns_.back().flushed && !turns_.back().empty();
  const bool has_rows = space_.rows().count() > 0 || rows_taken_;
  if (!has_turn && !has_rows) return;
  // A turn may have stood open and empty while rows alone went by under its number: its own rows go
  // now.
  if (has_turn) turns_.back().number = turn_;
  if (!options_.persist) {
    if (has_turn) flush_turn(turns_.back());
    const std::uint64_t number = turn_++;
    persisted(number);
    return;
  }
  // Whoever is known to miss the turn is noted in the same batch: a crash loses both or none.
  if (has_turn && !alone_) {
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      const NodeIndex peer{static_cast<std::uint16_t>(i)};
      if (peer != options_.self && !peers_[i].view.up) hint_turn(turns_.back(), peer);
    }
  }
  // An empty batch too: its turn is durable when everything before it is.
  if (!host_.store(turn_, std::move(space_.rows()))) return;  // the store is full: again next turn
  space_.rows().clear();
  rows_taken_ = false;
  if (has_turn) flush_turn(turns_.back());
  ++turn_;
}

void Engine::flush_turn(Turn& turn) {
  turn.flushed = true;
  turn.at = clock_.steady_ms();
  if (alone_) return;
  turn.peers.resize(peers_.size());
  outstanding_bytes_ += turn.effects.size();
  for (const MadeEffect& e : turn.made) state(e.slot).made = turn.number;
  if (turn.made.empty()) return;
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    const NodeIndex peer{static_cast<std::uint16_t>(i)};
    if (peer == options_.self) continue;
    send_effects(turn, peer);
  }
}

void Engine::send_effects(Turn& turn, NodeIndex peer) {
  // One message per thread of the peer that owns some of the slots: with as many threads as here,
  // one.
  struct Content {
    std::string bytes;
    std::uint32_t count = 0;
    std::vector<Effects::Own> own;
  };
  std::map<std::uint16_t, Content> parts;
  for (const MadeEffect& e : turn.made) {
    if (replica_index(e.slot, peer) < 0) continue;
    Content& c = parts[shard_at(peer, e.slot)];
    c.bytes.append(turn.effects, e.at, e.size);
    if (e.operation != no_operation) {
      const Operation& op = turn.operations[e.operation];
      if (op.client != 0 && op.ticket.peer == peer) c.own.push_back({c.count, op.client});
    }
    ++c.count;
  }
  if (parts.empty()) return;
  PeerPart& part = turn.peers[peer.value];
  if (!peers_[peer.value].view.up || outstanding_bytes_ > options_.outstanding_bytes_max * 4) {
    part.state = PeerPart::State::failed;
    hint_turn(turn, peer);
    return;
  }
  part.state = PeerPart::State::sent;
  for (const auto& [shard, content] : parts) {
    Effects m;
    m.turn = (turn_base_ + turn.number) << 8 | shard;
    part.parts_left |= std::uint64_t{1} << (shard & 63);
    m.from_shard = options_.shard.value;
    m.count = content.count;
    m.effects = content.bytes;
    m.own = content.own;
    send(peer, shard, m);
  }
}

void Engine::hint_turn(Turn& turn, NodeIndex peer) {
  const UnixMs now = clock_.wall_ms();
  Effect effect;
  for (const MadeEffect& e : turn.made) {
    if (replica_index(e.slot, peer) < 0) continue;
    Reader in(std::string_view(turn.effects).substr(e.at, e.size));
    GYRE_ASSERT(decode_effect(in, effect));
    if (effect.slot_floor) {
      hints_.mark(peer, e.slot, space_.rows());
    } else if (hints_.note(peer, e.slot, effect.db, effect.key, effect.version, now,
                           space_.rows()) == Kept::hinted) {
      metrics_.hints_written.add();
    }
  }
}

// ---- levels

void Engine::persisted(std::uint64_t number) {
  persisted_ = std::max(persisted_, number);
  while (!undurable_.empty() && undurable_.front().first <= number) undurable_.pop_front();
  for (Turn& t : turns_) {
    if (t.number > number) break;
    if (t.persisted || !t.flushed) continue;
    t.persisted = true;
    send_acks(t);
    settle(t);
  }
  drop_settled();
  if (!confirms_.empty()) confirms_persisted();
}

std::pair<int, int> Engine::reached(const Turn& turn, Slot slot) const {
  int have = 0, possible = 0;
  for (const NodeIndex n : ring_->replicas(slot)) {
    if (n == options_.self) {
      have += turn.persisted;
      possible += !turn.persisted;
      continue;
    }
    const PeerPart::State s =
        turn.peers.empty() ? PeerPart::State::nothing : turn.peers[n.value].state;
    have += s == PeerPart::State::acked;
    possible += s == PeerPart::State::sent || !turn.flushed;
  }
  return {have, possible};
}

// Whether the node that acts here in this node's own view has not answered yet: a coordinator with
// another view sent the command to this one. The other takes itself for the one who knows what was
// acknowledged, so it hears of the write before the client does.
bool Engine::bypasses(const Turn& turn, Slot slot) const {
  const NodeIndex acts = acting_node(slot);
  return acts != options_.self && acts.value < turn.peers.size() &&
         turn.peers[acts.value].state == PeerPart::State::sent;
}

void Engine::settle(Turn& turn) {
  for (std::size_t i = 0; i < turn.operations.size(); ++i) settle(turn, turn.operations[i]);
}

void Engine::settle(Turn& turn, Operation& op) {
  if (op.done || op.follows) return;
  if (alone_) {
    if (turn.persisted) finish(op);
    return;
  }
  const auto [have, possible] = reached(turn, op.slot);
  if (have >= op.need) {
    if (!op.reader && bypasses(turn, op.slot)) return;
    if (options_.watch && !op.reader) tell_acked(turn, op);
    finish(op);
  } else if (have + possible < op.need) {
    op.reader ? finish(op) : fail(op);
  }
}

void Engine::tell_acked(const Turn& turn, const Operation& op) const {
  const auto index = static_cast<std::uint32_t>(&op - turn.operations.data());
  Effect effect;
  for (const MadeEffect& e : turn.made) {
    if (e.operation != index) continue;
    Reader in(std::string_view(turn.effects).substr(e.at, e.size));
    GYRE_ASSERT(decode_effect(in, effect));
    options_.watch->acked(options_.self, e.slot, effect, op.need);
  }
}

void Engine::drop_settled() {
  while (!turns_.empty() && turns_.front().flushed && turns_.front().persisted) {
    Turn& t = turns_.front();
    const bool waiting = std::any_of(t.peers.begin(), t.peers.end(), [](const PeerPart& p) {
      return p.state == PeerPart::State::sent;
    });
    const bool open = std::any_of(t.operations.begin(), t.operations.end(),
                                  [](const Operation& op) { return !op.done; });
    if (waiting || open) break;
    outstanding_bytes_ -= std::min(outstanding_bytes_, t.effects.size());
    turns_.pop_front();
  }
}

void Engine::end_followers(Operation& op) {
  const bool failed = op.failed;
  for (const OperationAt at : std::exchange(op.followers, {})) {
    Turn* turn = find_turn(at.turn);
    if (!turn || turn->operations[at.index].done) continue;
    Operation& follower = turn->operations[at.index];
    if (failed) {
      fail(follower);
    } else {
      if (options_.watch) tell_acked(*turn, follower);
      finish(follower);
    }
  }
}

void Engine::finish(Operation& op) {
  op.done = true;
  if (!op.followers.empty()) end_followers(op);
  if (op.reply.empty()) {  // a part of FLUSHALL: its walk waits for it
    const auto at = flushes_.find(op.ticket.id);
    if (at != flushes_.end()) {
      auto part = std::move(at->second);
      flushes_.erase(at);
      walk_part_done(part.first, std::move(part.second));
    }
    return;
  }
  deliver(op.ticket, std::move(op.reply));
}

void Engine::fail(Operation& op) {
  metrics_.no_quorum_replies.add();
  op.failed = true;
  if (!op.followers.empty()) end_followers(op);
  if (op.reply.empty()) {
    const auto at = flushes_.find(op.ticket.id);
    if (at != flushes_.end()) at->second.second.failed = true;
    return finish(op);
  }
  op.done = true;
  deliver_error(op.ticket, Errc::no_quorum);
}

void Engine::time_out_turns(SteadyMs now) {
  for (Turn& t : turns_) {
    if (!t.flushed || now - t.at < options_.ack_timeout_ms) break;
    give_up(t);
  }
  drop_settled();
}

// Whoever has not acknowledged it is sent it later.
void Engine::give_up(Turn& t) {
  for (std::size_t i = 0; i < t.peers.size(); ++i) {
    if (t.peers[i].state != PeerPart::State::sent) continue;
    LOG_SELDOM(notice, "%s did not acknowledge a batch of effects in time",
               ring_->node({static_cast<std::uint16_t>(i)}).name.c_str());
    t.peers[i].state = PeerPart::State::failed;
    hint_turn(t, {static_cast<std::uint16_t>(i)});
  }
  settle(t);
  for (std::size_t i = 0; i < t.operations.size(); ++i) {
    Operation& op = t.operations[i];
    if (!op.done && !alone_) op.reader ? finish(op) : fail(op);
  }
}

// ---- the replica's side

bool Engine::too_far_ahead(const Effect& effect) {
  const UnixMs newest = effect.newest().ms();
  // The clock of the stamps is never behind what it has given or seen: mostly that is enough.
  if (newest <= space_.clock().peek(0).ms() + options_.max_skew_ms) return false;
  if (newest <= space_.clock().peek(clock_.wall_ms()).ms() + options_.max_skew_ms) return false;
  metrics_.skew_refused.add();
  return true;
}

// A whole record for a stub: what the stub has dropped may lie below T.
bool Engine::fills_stub(const Effect& effect, Slot slot) const {
  if (!effect.whole) return false;
  const Node* n = space_.find(slot, effect.db, effect.key, key_hash(effect.key));
  return n && record_stub(*n);
}

// The write is stamped again above what all replicas have purged up to.
void Engine::refuse_old(const Effect& effect, Version version, std::uint32_t index,
                        WaitingAck& ack) {
  metrics_.newer_answers.add();
  ack.newer.push_back({.index = index,
                       .base = {},
                       .too_old = std::max(space_.repaired(key_slot(effect.key)), version),
                       .record = newer_record(ack, effect, true)});
}

bool Engine::merge_from_peer(Effect& effect, const ApplyResult*& result, Below below) {
  result = nullptr;
  if (effect.slot_floor) {
    Reader in(effect.key);
    const Slot slot{in.be16()};
    if (slot.value >= slots_total || !space_.owns(slot) || !holds(slot) || too_far_ahead(effect))
      return false;
    const std::size_t rows_before = space_.rows().count();
    space_.raise_floor(slot, effect.db, effect.floor);
    if (space_.rows().count() != rows_before) state(slot).changed = turn_;
    return true;
  }
  return merge_record_from_peer(effect, key_slot(effect.key), key_hash(effect.key), result, below);
}

bool Engine::merge_record_from_peer(Effect& effect, Slot slot, std::uint64_t hash,
                                    const ApplyResult*& result, Below below) {
  if (!space_.owns(slot) || !holds(slot) || !space_.has_database(effect.db) ||
      !valid_effect(effect))
    return false;
  if (too_far_ahead(effect)) return false;
  if (holds_far_ahead(effect, slot)) {
    metrics_.skew_refused.add();
    return false;
  }
  if (effect.expired && effect.expiry.at_ms > clock_.wall_ms()) {
    // Its clock is far ahead of this one; here the record may still live.
    metrics_.skew_refused.add();
    return false;
  }
  if (const Version t = space_.repaired(slot); t && below == Below::dropped && state(slot).known &&
                                               !fills_stub(effect, slot) &&
                                               !strip_known(effect, t)) {
    metrics_.too_old_refused.add();
    GYRE_PROBE(too_old);
    return true;
  }
  if (!gaps_.empty()) forget_gaps(effect, hash);
  const std::size_t rows_before = space_.rows().count();
  result = &space_.merge(slot, hash, effect);
  if (space_.rows().count() != rows_before) state(slot).changed = turn_;
  // What was there is a write of this node that may still wait for its acks. Proposals for a part
  // of a transaction do not cover each other.
  if (effect.db != prepared_db && !turns_.empty() &&
      result->newest_before.node() == options_.self.value &&
      result->newest_before >= turns_.front().first) {
    fail_overtaken(effect, slot);
  }
  return true;
}

// Merging an effect touches a dozen places that no cache holds, of its slot, its leaf, its group
// and its record: each is asked for some effects before it is needed, as for commands
// (Worker::fetch_slot).
class Engine::EffectsAhead {
 public:
  EffectsAhead(const Engine& engine, const Effects& m, std::vector<EffectAhead>& room)
      : engine_(engine), bytes_(m.effects), in_(m.effects), count_(m.count), room_(room) {
    room_.resize(window);
    for (std::uint32_t i = 0; i < 3 * step_; ++i) fetch(i);
  }
  ~EffectsAhead() {
    for (std::uint32_t i = 0; i < std::min(readable_, window); ++i) {
      if (room_[i].effect.changes.capacity() > Effect::spare_changes) room_[i].effect = {};
    }
  }
  // The next one; nullptr: it cannot be read. It holds until the next call but one.
  EffectAhead* next() {
    fetch(at_ + 3 * step_);
    return at_ < readable_ ? &room_[at_++ % window] : nullptr;
  }

 private:
  static constexpr std::uint32_t step_ = 4, window = 16;
  static_assert(3 * step_ < window);

  void fetch(std::uint32_t i) {
    if (i < count_ && i == readable_) decode(room_[i % window]);
    const KeySpace& space = engine_.space_;
    if (i >= step_ && i - step_ < readable_) {
      const EffectAhead& e = room_[(i - step_) % window];
      if (e.here) space.prefetch_group(e.slot, e.effect.db, e.hash);
    }
    if (i >= 2 * step_ && i - 2 * step_ < readable_) {
      const EffectAhead& e = room_[(i - 2 * step_) % window];
      if (e.here) space.prefetch_node(e.slot, e.effect.db, e.hash);
    }
  }
  void decode(EffectAhead& e) {
    const std::size_t left = in_.left();
    if (!decode_effect(in_, e.effect)) return;
    ++readable_;
    e.bytes = bytes_.substr(bytes_.size() - left, left - in_.left());
    if (e.effect.slot_floor) {
      Reader key(e.effect.key);
      e.slot = {key.be16()};
    } else {
      e.slot = key_slot(e.effect.key);
      e.hash = key_hash(e.effect.key);
    }
    e.here = !e.effect.slot_floor && engine_.space_.owns(e.slot) &&
             engine_.space_.has_database(e.effect.db);
    if (!e.here) return;
    engine_.space_.prefetch_slot(e.slot);
    engine_.prefetch_slot(e.slot);
  }

  const Engine& engine_;
  const std::string_view bytes_;
  Reader in_;
  const std::uint32_t count_;
  std::vector<EffectAhead>& room_;
  std::uint32_t readable_ = 0, at_ = 0;
};

void Engine::on_effects(NodeIndex from, const Effects& m) {
  std::map<std::uint16_t, std::vector<std::uint16_t>> acted;  // peer -> slots
  HeldAck held;
  held.ack.peer = from;
  held.ack.shard = m.from_shard;
  held.ack.turn = m.turn;
  EffectsAhead ahead(*this, m, effects_ahead_);
  auto own = m.own.begin();
  for (std::uint32_t i = 0; i < m.count; ++i) {
    EffectAhead* const next = ahead.next();
    if (!next) {
      LOG_SELDOM(warning, "effects from %s could not be read; no ack is sent",
                 ring_->node(from).name.c_str());
      return;
    }
    Effect& effect = next->effect;
    const Slot slot = next->slot;
    const ApplyResult* r = nullptr;
    const Version version = effect.version;
    const bool is_own = own != m.own.end() && own->index == i;
    if (is_own) space_.tracked().set_acting((own++)->client);
    const bool taken = effect.slot_floor
                           ? merge_from_peer(effect, r)
                           : merge_record_from_peer(effect, slot, next->hash, r, Below::dropped);
    if (is_own) space_.tracked().set_acting(0);
    if (!taken) return;  // refused: the sender times out and keeps a hint
    SlotState& s = state(slot);
    // Two act at once: each hears of the other, from the replica that acks both. They may not see
    // each other yet, and a client whose node changes from one to the other would read the past.
    const auto tell = [&](NodeIndex n) {
      if (n != options_.self && n.value < peers_.size() && peers_[n.value].view.up &&
          (acted[n.value].empty() || acted[n.value].back() != slot.value)) {
        acted[n.value].push_back(slot.value);
      }
    };
    if (s.actor != from && s.actor.value != 0xffff) {
      tell(from);
      tell(s.actor);
    }
    if (const NodeIndex here = acting_node(slot); here != from && here != s.actor) tell(here);
    s.actor = from;
    if (s.acting) {
      // Another node acts for this slot.
      if (replica_index(slot, options_.self) == 0) GYRE_PROBE(bypassed_primary);
      s.acting = false;
      make_unsure(slot);
    }
    if (!r) {
      if (!effect.slot_floor) refuse_old(effect, version, i, held.ack);
      continue;
    }
    note_gap(effect, *r);
    if (r->hollow) {
      held.effects.push_back(
          {.index = i, .base = base_at(effect, *r), .bytes = std::string(next->bytes)});
    } else {
      judge(effect, *r, i, base_at(effect, *r), held.ack);
    }
  }
  for (const auto& [peer, slots] : acted) send_acted({peer}, slots);
  if (!untaken_.empty()) wait_until_taken(from, m, held.ack);
  if (!held.effects.empty()) return ask_whole(std::move(held));
  give_ack(std::move(held.ack));
}

// Whether something of another node lies above what the effect builds on. When the effect or a
// later one of its node came here before it, what that came over is kept; with a comparison or a
// gather it cannot be told any more (simulator, seed 425).
Newer::Base Engine::base_at(const Effect& effect, const ApplyResult& r) const {
  if (effect.has_base && effect.db == prepared_db)
    return holds_.same_part(effect) ? Newer::Base::stands : Newer::Base::moved;
  if (!effect.has_base || r.newest_before <= effect.base) return Newer::Base::stands;
  if (r.newest_before.node() != effect.version.node()) return Newer::Base::moved;
  if (r.newest_before < effect.version) return Newer::Base::stands;
  const std::uint64_t hash = key_hash(effect.key);
  for (const Gap& gap : gaps_) {
    if (gap.hash != hash || gap.missing.node() != effect.version.node() ||
        gap.missing < effect.version || gap.before >= effect.version)
      continue;
    const bool own = gap.before.node() == effect.version.node();
    return own || gap.before <= effect.base ? Newer::Base::stands : Newer::Base::moved;
  }
  return Newer::Base::unclear;
}

// Effects of one node come by two connections, its own and the answers on ours, and whole batches
// may overtake each other: what the first of the later ones came over is kept for all those
// that it builds on.
void Engine::note_gap(const Effect& effect, const ApplyResult& r) {
  if (!effect.base || r.newest_before >= effect.base) return;
  constexpr std::size_t gaps_max = 64;
  GYRE_PROBE(effects_overtaken);
  if (gaps_.size() == gaps_max) gaps_.pop_front();
  gaps_.push_back({key_hash(effect.key), effect.base, r.newest_before});
}

// What another node wrote came into the gap: what is missing may build on less.
void Engine::forget_gaps(const Effect& effect, std::uint64_t hash) {
  std::erase_if(gaps_, [&](const Gap& gap) {
    return gap.hash == hash && (effect.whole || gap.missing.node() != effect.version.node());
  });
}

// What the ack says of an effect that was merged with this result: nothing when it stands.
void Engine::judge(const Effect& effect, const ApplyResult& r, std::uint32_t index,
                   Newer::Base base, WaitingAck& ack) {
  // A deletion has no element that could fall: it stands when nothing of another node lies above
  // it.
  const bool survived = effect.floor == effect.version && effect.changes.empty() &&
                        r.newest_before > effect.version &&
                        r.newest_before.node() != effect.version.node();
  if (r.stands && base == Newer::Base::stands && !survived) return;
  metrics_.newer_answers.add();
  GYRE_PROBE(newer);
  if (base == Newer::Base::moved) {
    metrics_.base_refused.add();
    GYRE_PROBE(base_refused);
  }
  const bool stands = r.stands && !survived;
  const bool only_unclear = stands && base == Newer::Base::unclear;
  ack.newer.push_back({.index = index,
                       .base = base,
                       .stands = stands,
                       .too_old = {},
                       .record = only_unclear ? Newer::none : newer_record(ack, effect, false)});
}

std::uint32_t Engine::newer_record(WaitingAck& ack, const Effect& effect, bool purged) {
  std::size_t i = ack.records.size();
  while (i > 0) {
    const NewerRecord& r = ack.records[--i];
    if (r.key == effect.key && r.db == effect.db && r.purged == purged)
      return static_cast<std::uint32_t>(i);
  }
  ack.records.push_back({key_slot(effect.key), effect.db, std::string(effect.key), purged});
  return static_cast<std::uint32_t>(ack.records.size() - 1);
}

std::string Engine::record_as_is(const NewerRecord& record) {
  std::string bytes;
  Effect e;
  e.db = record.db;
  e.key = record.key;
  if (record.purged) {
    std::uint32_t count = 0;
    put_record(bytes, count, record.slot, record.db, record.key, {});
    if (count > 0) return bytes;
    e.version = e.floor = space_.absent_since(record.slot, record.db);
  } else if (const Node* n =
                 space_.find(record.slot, record.db, record.key, key_hash(record.key))) {
    gyre::record_effect(*n, record.db, {}, e);
  } else {
    e.version = e.floor = space_.slot_floor(record.slot, record.db);  // what killed it
    e.whole = true;
  }
  encode_effect(bytes, e);
  return bytes;
}

void Engine::send_acks(Turn& turn) {
  for (WaitingAck& w : turn.acks) {
    if (w.confirm_id) {
      send(w.peer, w.shard, ConfirmAnswer{.id = w.confirm_id, .slots = w.confirmed});
      continue;
    }
    if (w.repair_id) {
      send(w.peer, w.shard, RepairAck{.id = w.repair_id});
      continue;
    }
    EffectsAck m;
    m.turn = w.turn;
    m.newer = std::move(w.newer);
    std::vector<std::string> records;
    records.reserve(w.records.size());
    for (const NewerRecord& r : w.records)
      m.records.push_back(records.emplace_back(record_as_is(r)));
    send(w.peer, w.shard, m);
  }
  turn.acks.clear();
}

}  // namespace gyre
