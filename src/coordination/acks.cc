// What acks bring: NEWER, stamping again, and the failure of what built on something that moved.
//
// Happy path: the part of a turn that a peer had counts as acked -> settle(). A replica that holds
// something newer says so: it is merged here, and what still carries the turn's version is stamped
// again above it. A conditional command whose base has moved fails, whether a replica says so or
// what moved it arrives here first; what it had put over the other's state is taken back.

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "base/probe.h"
#include "coordination/engine.h"
#include "ring/slot.h"

namespace gyre {
namespace {

// Whether something that another node stamped lies above the version.
bool others_above(const Effect& e, Version base, NodeIndex self) {
  const auto above = [&](Version v) { return v > base && v.node() != self.value; };
  if (e.expired ? above(e.version) : above(e.expiry.version)) return true;
  bool own_floor = false;  // it lies just below the overwrite that raised it
  for (const Change& c : e.changes) {
    if (above(c.version)) return true;
    own_floor |= c.version.before() == e.floor;
  }
  return !own_floor && above(e.floor);
}

// Whether all that stood before the effect goes with it.
bool overwrites(const Effect& e) {
  return e.version && e.floor >= e.version.before();
}

}  // namespace

// A record of an ack: merged once, however many effects it answers.
struct Engine::TheirRecord {
  explicit TheirRecord(std::string_view b) : bytes(b) {}
  enum class State : std::uint8_t { untouched, merged, refused } state = State::untouched;
  std::string_view bytes;
  std::shared_ptr<const std::string> kept;
  Effect effect;
};

// Whether all that is here of it is merged now.
bool Engine::merge_theirs(TheirRecord& theirs) {
  if (theirs.state == TheirRecord::State::untouched) {
    const ApplyResult* r = nullptr;
    Reader in(theirs.bytes);
    theirs.state = decode_effect(in, theirs.effect) && merge_from_peer(theirs.effect, r)
                       ? TheirRecord::State::merged
                       : TheirRecord::State::refused;
  }
  return theirs.state == TheirRecord::State::merged;
}

void Engine::on_effects_ack(NodeIndex from, const EffectsAck& m) {
  Turn* turn = find_turn((m.turn >> 8) - turn_base_);
  if (!turn || turn->peers.empty()) return;
  PeerPart& part = turn->peers[from.value];
  // The same part again says nothing of the others.
  const std::uint64_t bit = std::uint64_t{1} << (m.turn & 63);
  if (part.state != PeerPart::State::sent || !(part.parts_left & bit)) return;
  const std::uint64_t number = turn->number;
  std::vector<TheirRecord> records(m.records.begin(), m.records.end());
  for (const Newer& newer : m.newer) {
    on_newer(*turn, from, static_cast<std::uint16_t>(m.turn & 0xff), newer,
             newer.record < records.size() ? &records[newer.record] : nullptr);
  }
  turn = find_turn(number);  // restamping opens a turn, which may move the others
  PeerPart& acked = turn->peers[from.value];
  if ((acked.parts_left &= ~bit) == 0) acked.state = PeerPart::State::acked;
  settle(*turn);
  drop_settled();
}

void Engine::on_newer(Turn& turn, NodeIndex from, std::uint16_t shard, const Newer& newer,
                      TheirRecord* record) {
  // The index counts the effects that went to this thread of this peer.
  std::uint32_t index = newer.index, found = no_operation;
  for (std::uint32_t i = 0; i < turn.made.size(); ++i) {
    if (replica_index(turn.made[i].slot, from) < 0 || shard_at(from, turn.made[i].slot) != shard)
      continue;
    if (index-- == 0) {
      found = i;
      break;
    }
  }
  if (found == no_operation) return;
  const MadeEffect made = turn.made[found];
  const std::string own_bytes = turn.effects.substr(made.at, made.size);
  Effect original;
  Reader own(own_bytes);
  GYRE_ASSERT(decode_effect(own, original));
  Operation* op = made.operation == no_operation ? nullptr : &turn.operations[made.operation];
  const auto cover = drop_covered(turn, found, original);
  const bool only_unclear = newer.stands && newer.base == Newer::Base::unclear;
  if (!only_unclear && (!record || !merge_theirs(*record) || record->effect.key != original.key ||
                        record->effect.db != original.db)) {
    // Such as stamps far in the future: nothing can be stamped above them (simulator, seed 27). The
    // replica does not count for the command.
    if (op && !op->done) ++op->need;
    return;
  }
  if (newer.too_old.ms() <= clock_.wall_ms() + options_.max_skew_ms)
    space_.clock().see(newer.too_old);
  if (!op) return;  // a flush
  // What is newer may be its own, said elsewhere while this node stood still.
  if (!op->done && host_.gone(op->ticket)) return;
  // Its client has its answer: what the replica holds may be a later write, so it wins if it is
  // newer.
  const bool moved =
      op->moved_to != 0 && !turns_.back().flushed && turns_.back().number == op->moved_to;
  if (op->done && !moved) return;
  const bool voted_against = newer.base == Newer::Base::moved && original.db == prepared_db;
  if (!op->done && (newer.base == Newer::Base::unclear || voted_against) &&
      (op->flags & flag::conditional)) {
    ++op->need;  // this replica does not count for it
    return;
  }
  if (!op->done && newer.base == Newer::Base::moved && (op->flags & flag::conditional)) {
    fail(*op);
    if (!record->kept) record->kept = std::make_shared<std::string>(record->bytes);
    overtaken_.push_back({made.slot, own_bytes, record->kept});
    return;
  }
  if (only_unclear) return;  // no condition hangs on it
  const Effect& theirs = record->effect;
  // Stamped again it would take what is of another type there with it, where the command would have
  // answered WRONGTYPE. Not where a later write of this node put that there, which came first
  // (simulator, seed 3930).
  if (!op->done && !original.changes.empty() && !overwrites(original) &&
      original.type != TypeId::none && theirs.type != TypeId::none && original.type != theirs.type)
    return fail(*op);
  // Nobody uses the id of a list's element again: who removed it has seen the push, which stamped
  // again would bring the element back (simulator, seed 332).
  if (original.type == TypeId::list) {
    const Slot slot = turn.made[found].slot;
    const Node* here = space_.find(slot, original.db, original.key, key_hash(original.key));
    std::erase_if(original.changes, [&](const Change& c) {
      Cell cell;
      return !c.tombstone && here && stored_type(*here) == TypeId::list &&
             collection_of(*here)->find(c.id, cell) && cell.tombstone && cell.version > c.version;
    });
  }
  // What was overwritten here since counts as an ack. That the answer brings nothing new does not:
  // the one to an earlier effect may have brought it.
  if (newer.base != Newer::Base::moved && !newer.too_old && theirs.newest() <= original.version)
    return;
  const bool deletes = original.floor == original.version && original.version;
  if (original.changes.empty() && original.expiry.version != original.version && !deletes) {
    if (cover && !op->done) follow(turn, made.operation, *cover);
    return;
  }
  restamp(turn, found, original);
}

// What covers the operation is below another node's write as well and may fail, such as a command
// that was forwarded before and came to nothing but this (simulator, seed 1684).
void Engine::follow(Turn& turn, std::uint32_t index, OperationAt at) {
  if (turn.operations[index].follows) return;
  Operation* cover = nullptr;
  while (Turn* holder = find_turn(at.turn)) {
    cover = &holder->operations[at.index];
    if (!cover->moved_to) break;
    at = {cover->moved_to, cover->moved_index};
  }
  if (!cover) return;
  if (cover->failed) return fail(turn.operations[index]);
  if (cover->done) return;
  turn.operations[index].follows = true;
  cover->followers.push_back({turn.number, index});
}

// Leaves of an effect what no later write of this node covers. The record does not tell: what
// another node wrote may have been merged over several of them meanwhile. No turn behind this one
// has been dropped. Returns the operation of the last that covers something of it.
std::optional<OperationAt> Engine::drop_covered(const Turn& turn, std::uint32_t effect_index,
                                                Effect& effect) const {
  std::optional<OperationAt> cover;
  std::erase_if(effect.changes, [&](const Change& c) { return c.version != effect.version; });
  const Version version = effect.version;
  Effect later;
  for (const Turn& t : turns_) {
    if (t.number < turn.number) continue;
    for (std::uint32_t i = &t == &turn ? effect_index + 1 : 0; i < t.made.size(); ++i) {
      if (t.made[i].slot != turn.made[effect_index].slot) continue;
      Reader in(std::string_view(t.effects).substr(t.made[i].at, t.made[i].size));
      GYRE_ASSERT(decode_effect(in, later));
      if (later.slot_floor || later.key != effect.key || later.db != effect.db) continue;
      // A floor stamped again would take along what was written above it since.
      if (effect.floor >= version.before()) effect.floor = {};
      if (later.floor >= version || later.expiry.version > version) effect.expiry = {};
      const std::size_t covered = std::erase_if(effect.changes, [&](const Change& c) {
        return later.floor >= version ||
               std::any_of(later.changes.begin(), later.changes.end(), [&](const Change& l) {
                 return l.id == c.id && l.version > c.version && (!l.sum || l.sum == c.sum);
               });
      });
      if (covered > 0 && t.made[i].operation != no_operation)
        cover = {t.number, t.made[i].operation};
    }
  }
  return cover;
}

void Engine::restamp(Turn& turn, std::uint32_t effect_index, const Effect& original) {
  const MadeEffect made = turn.made[effect_index];
  const Node* record = space_.find(made.slot, original.db, original.key, key_hash(original.key));
  const Version merged = record ? record_newest(*record) : Version{};
  const Version version = space_.clock().stamp(clock_.wall_ms());
  Operation* op = made.operation == no_operation ? nullptr : &turn.operations[made.operation];
  if (op && !op->done &&
      (op->restamps >= restamps_max || (op->ceiling && version.ms() > op->ceiling)))
    return fail(*op);
  // A sum that replicas may fold soon takes nothing in any more.
  if (std::any_of(original.changes.begin(), original.changes.end(), [&](const Change& c) {
        return c.sum && !space_.sum_may_be_stamped_again(c.sum, version);
      })) {
    if (op && !op->done) fail(*op);
    return;
  }
  const Version floor_now = record ? record_floor(*record) : Version{};
  Effect again;
  again.db = original.db;
  again.key = original.key;
  again.type = original.type;
  again.version = version;
  again.has_base = original.has_base;
  again.base = merged;
  again.floor = floor_now;
  if (original.floor == original.version && original.version) again.floor = version;
  if (original.floor == original.version.before() && original.version)
    again.floor = version.before();
  if (original.expiry.version == original.version) again.expiry = {original.expiry.at_ms, version};
  for (Change c : original.changes) {
    if (c.version != original.version) continue;
    if (c.sum) {
      // A sum's id is its name: it changes only when the old one is dead everywhere.
      Cell cell;
      bool there = false;
      if (record && stored_type(*record) == TypeId::string)
        cell = string_cell(*record), there = true;
      if (record && record->has(Node::boxed)) there = collection_of(*record)->find(c.id, cell);
      const Version dead = std::max(there ? cell.version : Version{}, floor_now);
      if (c.sum <= dead) c.sum = version;
    }
    c.version = version;
    again.changes.push_back(c);
  }
  metrics_.newer_restamped.add();
  GYRE_PROBE(restamped);
  space_.merge(made.slot, key_hash(original.key), again);
  Operation moved;
  bool moves = op && !op->done;
  if (moves) {
    moved = std::move(*op);
    ++moved.restamps;
    op->done = true;
  }
  Turn& now = open_turn();
  if (!now.first) now.first = version;
  const auto index = static_cast<std::uint32_t>(now.operations.size());
  if (moves) {
    op->moved_to = now.number;
    op->moved_index = index;
  }
  record_effect(made.slot, again, op ? op->moved_index : no_operation);
  now.last = std::max(now.last, space_.clock().peek(0));
  if (moves) now.operations.push_back(std::move(moved));
}

// A conditional command waits for its acks, and its base has moved: what it answers would be wrong.
// Replicas cannot always tell: when a later write of this node, which has seen what moved the base,
// reaches them first, the earlier one looks covered by its own node.
void Engine::fail_overtaken(const Effect& theirs, Slot slot) {
  Effect own;
  std::shared_ptr<const std::string> kept;
  for (Turn& t : turns_) {
    for (std::uint32_t i = 0; i < t.made.size(); ++i) {
      const MadeEffect made = t.made[i];
      if (made.slot != slot || made.operation == no_operation) continue;
      Operation& op = t.operations[made.operation];
      if (op.done || !(op.flags & flag::conditional)) continue;
      const std::string bytes = t.effects.substr(made.at, made.size);
      Reader in(bytes);
      GYRE_ASSERT(decode_effect(in, own));
      if (own.slot_floor || own.key != theirs.key || own.db != theirs.db || !own.has_base ||
          !others_above(theirs, own.base, options_.self)) {
        continue;
      }
      metrics_.base_refused.add();
      GYRE_PROBE(overtaken);
      fail(op);
      if (!kept) {
        std::string other;
        encode_effect(other, theirs);
        kept = std::make_shared<std::string>(std::move(other));
      }
      overtaken_.push_back({slot, bytes, kept});
    }
  }
}

// At the end of the turn: a merge on the way would overwrite the result that its caller still
// reads.
void Engine::put_back_overtaken() {
  for (const Overtaken& o : std::exchange(overtaken_, {})) {
    Effect failed, theirs;
    Reader own(o.failed), other(*o.theirs);
    GYRE_ASSERT(decode_effect(own, failed) && decode_effect(other, theirs));
    put_back(o.slot, failed, theirs);
  }
}

// Stamps again what another node holds, where a failed command of this node lies above it: its
// client was told that it failed, and what it covers may have been acknowledged. Only what still
// stands of `failed`; of `theirs`, which is merged, the elements that it has. Counters stay as they
// are: their sums are not overwritten.
void Engine::put_back(Slot slot, const Effect& failed, const Effect& theirs) {
  const Node* record = space_.find(slot, failed.db, failed.key, key_hash(failed.key));
  if (!record || theirs.expired) return;
  Effect again;
  again.db = failed.db;
  again.key = failed.key;
  again.type = theirs.type;
  again.version = space_.clock().stamp(clock_.wall_ms());
  again.floor = record_floor(*record);
  const auto put = [&](const Change& c) {
    if (c.sum) return false;
    again.changes.push_back({c.id, again.version, {}, c.tombstone, c.payload});
    return true;
  };
  if (overwrites(failed)) {
    if (!theirs.whole || record_newest(*record) != failed.version) return;
    for (const Change& c : theirs.changes) {
      if (!c.tombstone && !put(c)) return;
    }
    again.floor = again.changes.empty() ? again.version : again.version.before();
    if (again.changes.empty()) again.type = TypeId::none;
    if (theirs.expiry.at_ms) again.expiry = {theirs.expiry.at_ms, again.version};
  } else {
    for (const Change& c : failed.changes) {
      Cell cell;
      if (stored_type(*record) == TypeId::string)
        cell = string_cell(*record);
      else if (!record->has(Node::boxed) || !collection_of(*record)->find(c.id, cell))
        continue;
      if (cell.version != failed.version) continue;  // does not stand
      const auto at = std::find_if(theirs.changes.begin(), theirs.changes.end(),
                                   [&](const Change& t) { return t.id == c.id; });
      if (at != theirs.changes.end()) {
        put(*at);
      } else if (theirs.whole) {
        put({c.id, {}, {}, true, {}});
      }
    }
    if (failed.expiry.version == failed.version && record->has(Node::has_expiry) &&
        record->expiry().version == failed.version) {
      again.expiry = {theirs.expiry.at_ms, again.version};
    }
    if (again.changes.empty() && !again.expiry.version) return;
    if (again.changes.empty()) again.type = TypeId::none;
  }
  GYRE_PROBE(put_back);
  space_.merge(slot, key_hash(again.key), again);
  Turn& now = open_turn();
  if (!now.first) now.first = again.version;
  record_effect(slot, again, no_operation);
  now.last = std::max(now.last, space_.clock().peek(0));
}

}  // namespace gyre
