#include "coordination/holds.h"

#include <algorithm>
#include <iterator>
#include <memory>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/probe.h"
#include "record/record.h"
#include "ring/slot.h"
#include "shard/lookup.h"

namespace gyre {
namespace {

constexpr std::int64_t lease_ms = 2000;  // of a hold that has prepared nothing
constexpr std::int64_t settle_ms = 700;  // after so long those who act ask each other
constexpr std::int64_t settle_again_ms = 200;
constexpr std::int64_t stuck_ms = 2000;  // those who wait for a prepared part are told so
constexpr std::int64_t sweep_ms = 2000, forget_never_ms = 30'000;
constexpr std::int64_t forget_committed_ms = Holds::told_ms + 2000;
constexpr std::size_t swept_at_once = 100;  // of a slot

bool takes_hold(const CommandSpec& spec) {
  return spec.name.starts_with("GYRE.HOLD");
}

}  // namespace

// ---- the queue of a slot

bool Holds::ends(const Request& request) {
  const CommandSpec& spec = request.commands.front().spec();
  return (spec.flags & flag::of_hold) && !takes_hold(spec);
}

Holds::Passage Holds::passage(Slot slot, const CommandSpec& spec, Args args) const {
  if (!(spec.flags & flag::of_hold)) return Passage::waits;
  if (!takes_hold(spec)) return Passage::free;
  if (queues_.at(slot.value).transaction == transaction_of(args[1])) return Passage::free;
  return args[2] == "now" ? Passage::refused : Passage::waits;
}

std::deque<Request> Holds::take_waiting(Slot slot) {
  const auto at = queues_.find(slot.value);
  if (at == queues_.end() || at->second.gathers > 0 || !at->second.transaction.empty()) return {};
  std::deque<Request> waiting = std::move(at->second.waiting);
  queues_.erase(at);
  return waiting;
}

void Holds::wait_behind(Slot slot, std::deque<Request>&& waiting) {
  std::deque<Request>& queue = queues_.at(slot.value).waiting;
  std::move(waiting.begin(), waiting.end(), std::back_inserter(queue));
}

// ---- holds

bool Holds::take(Slot slot, std::string_view transaction, NodeIndex by) {
  Queue& q = queues_[slot.value];
  if (!q.transaction.empty() && q.transaction != transaction) return false;
  q.transaction = transaction;
  q.by = by;
  q.at = clock_.steady_ms();
  return true;
}

bool Holds::held_by(Slot slot, std::string_view transaction) const {
  const auto at = queues_.find(slot.value);
  return at != queues_.end() && at->second.transaction == transaction;
}

bool Holds::held(Slot slot) const {
  const auto at = queues_.find(slot.value);
  return at != queues_.end() && !at->second.transaction.empty();
}

void Holds::end(Slot slot, std::string_view transaction) {
  const auto at = queues_.find(slot.value);
  if (at == queues_.end() || at->second.transaction.empty() ||
      at->second.transaction != transaction)
    return;
  Queue& q = at->second;
  q.transaction.clear();
  q.prepared = q.settling = false;
  // Another part that waits to be settled, of a time in which two nodes acted.
  for (const std::string& key : prepared(slot)) {
    if (transaction_of(key) != transaction) return adopt(slot, key);
  }
  released_.push_back(slot);
}

void Holds::lose(Slot slot) {
  const auto at = queues_.find(slot.value);
  if (at != queues_.end() && !at->second.transaction.empty() && !at->second.prepared)
    give_back(slot, at->second);
}

// Of a transaction that had prepared nothing yet, and did not ask for it.
void Holds::give_back(Slot slot, Queue& queue) {
  metrics_.holds_lost.add();
  GYRE_PROBE(hold_lost);
  queue.transaction.clear();
  released_.push_back(slot);
}

void Holds::tell_stuck(Queue& queue) {
  for (const Request& r : std::exchange(queue.waiting, {})) {
    metrics_.no_quorum_replies.add();
    host_.deliver_error(
        r.ticket,
        r.begun
            ? Error(Errc::no_quorum)
            : Error(Errc::no_quorum,
                    "a transaction that holds this key is not settled yet; nothing was written"));
  }
}

void Holds::tick(SteadyMs now) {
  std::vector<Slot> settle_now;
  for (auto& [number, q] : queues_) {
    const Slot slot{number};
    if (q.transaction.empty()) continue;
    const bool gone = q.by != self_ && !host_.reachable(q.by);
    if (!q.prepared) {
      if (now - q.at >= lease_ms || gone) give_back(slot, q);
      continue;
    }
    if (now - q.since > stuck_ms) tell_stuck(q);
    if (!q.settling && (gone || now - q.at >= settle_ms) && host_.acting_node(slot) == self_)
      settle_now.push_back(slot);
  }
  for (const Slot slot : settle_now) settle(slot);
  if (now - swept_ < sweep_ms) return;
  swept_ = now;
  for (std::size_t i = 0; i < space_.slot_count(); ++i)
    sweep({static_cast<std::uint16_t>(space_.first_slot().value + i)});
}

// ---- parts

PartRecord Holds::part_of(Slot slot, std::string_view key) const {
  return read_part(space_.find(slot, prepared_db, key, key_hash(key)));
}

std::span<const std::string> Holds::prepared(Slot slot) const {
  const auto at = parts_.find(slot.value);
  return at == parts_.end() ? std::span<const std::string>() : at->second;
}

std::vector<std::pair<Slot, std::string>> Holds::prepared(const SlotSet& slots) const {
  std::vector<std::pair<Slot, std::string>> out;
  for (const auto& [number, keys] : parts_) {
    if (!slots.test(number)) continue;
    for (const std::string& key : keys) out.emplace_back(Slot{number}, key);
  }
  return out;
}

void Holds::notice() {
  for (const auto& [slot, key] : space_.take_parts_touched()) {
    const PartRecord record = part_of(slot, key);
    const bool is_prepared = record.state == PartRecord::State::prepared;
    keep_or_merge(slot, key, record);
    auto& keys = parts_[slot.value];
    const auto at = std::find(keys.begin(), keys.end(), key);
    if (is_prepared && at == keys.end()) keys.push_back(key);
    if (!is_prepared && at != keys.end()) keys.erase(at);
    if (keys.empty()) parts_.erase(slot.value);
    // Whoever ended it, and whoever acts by now.
    if (!is_prepared) end(slot, transaction_of(key));
    if (is_prepared && host_.acts_for(slot)) adopt(slot, key);
  }
}

// That a part is committed may be known here before what it has written: whoever committed it acted
// for the slot, and a replica's answer brings the part's record alone. The effects may be sums in
// this node's name, which it goes on with.
void Holds::keep_or_merge(Slot slot, const std::string& key, const PartRecord& record) {
  if (record.state == PartRecord::State::prepared) {
    effects_.try_emplace(key, record.part.effects);
    return;
  }
  const auto kept = effects_.extract(key);
  if (!kept || record.state != PartRecord::State::committed) return;
  for_each_effect(kept.mapped(),
                  [&](Effect& effect) { space_.merge(slot, key_hash(effect.key), effect); });
}

void Holds::begin_acting(Slot slot) {
  if (const auto keys = prepared(slot); !keys.empty()) adopt(slot, keys.front());
}

// A prepared part that this node knows of, whoever coordinates: nobody runs on the slot before it
// is settled.
void Holds::adopt(Slot slot, std::string_view key) {
  Queue& q = queues_[slot.value];
  const std::string_view transaction = transaction_of(key);
  if (q.transaction == transaction) {
    if (!std::exchange(q.prepared, true)) q.at = q.since = clock_.steady_ms();
    return;
  }
  if (!q.transaction.empty()) {
    if (q.prepared) return;  // after that one
    metrics_.holds_lost.add();
  }
  GYRE_PROBE(part_adopted);
  q.transaction = transaction;
  q.by = self_;
  q.prepared = true;
  q.settling = false;
  q.at = q.since = clock_.steady_ms() - settle_ms;
}

// What all replicas hold does not count: it was taken out of the effect.
bool Holds::same_part(const Effect& proposal) const {
  const Slot slot = key_slot(proposal.key);
  const Node* n = space_.find(slot, proposal.db, proposal.key, key_hash(proposal.key));
  if (!n || stored_type(*n) != TypeId::hash || !n->has(Node::boxed)) return false;
  std::size_t same = 0;
  bool more = false;
  collection_of(*n)->for_each([&](const ElementView& e) {
    const auto at = std::find_if(proposal.changes.begin(), proposal.changes.end(),
                                 [&](const Change& c) { return c.id == e.id; });
    if (at != proposal.changes.end() && at->version == e.cell.version &&
        at->tombstone == e.cell.tombstone)
      ++same;
    else
      more |= e.cell.version > space_.repaired(slot);
    return true;
  });
  return !more && same == proposal.changes.size();
}

Request Holds::step(Slot slot, std::string_view transaction,
                    std::initializer_list<std::string_view> words) const {
  std::vector<std::string_view> args(words);
  const std::string key = part_key(slot, transaction);
  args.insert(args.begin() + 1, key);
  Request r;
  r.slot = slot;
  r.levels = {.write = host_.write_level()};
  r.commands.emplace_back(*lookup_command(Args(args)), prepared_db, Args(args));
  return r;
}

// Runs a step at every slot; done when all have answered.
void Holds::at_all(std::span<const Slot> slots, const std::function<void(Slot, PartAnswer)>& step,
                   std::function<void(const PartsAnswer&)> done) {
  struct Asked {
    std::size_t left = 0;
    PartsAnswer answer;
  };
  if (slots.empty()) return done({.error = "it is not there any more"});
  auto asked = std::make_shared<Asked>();
  asked->left = slots.size();
  for (const Slot s : slots) {
    step(s, [asked, done](std::string&& reply) {
      if (reply == "+N\r\n")
        asked->answer.never = true;
      else if (!reply.starts_with('+'))
        asked->answer.error = std::move(reply);
      if (--asked->left == 0) done(asked->answer);
    });
  }
}

// Whether the part in this slot is prepared, agreed by its replicas.
void Holds::ask(Slot slot, const std::string& transaction, PartAnswer done) {
  host_.run_at(step(slot, transaction, {"GYRE.ASK"}),
               [this, slot, transaction, done = std::move(done)](std::string&& reply) mutable {
                 std::string_view ballot = reply;
                 if (!ballot.starts_with('$')) return done(std::move(reply));
                 ballot.remove_prefix(ballot.find('\n') + 1);
                 ballot.remove_suffix(2);
                 host_.run_at(step(slot, transaction, {"GYRE.SETTLE", ballot}), std::move(done));
               });
}

void Holds::settle(Slot slot) {
  Queue& q = queues_.at(slot.value);
  q.settling = true;
  metrics_.parts_settled.add();
  GYRE_PROBE(part_settled);
  const std::string transaction = q.transaction;
  const PartRecord record = part_of(slot, part_key(slot, transaction));
  ask_parts(record.part.slots, transaction,
            [this, slot, transaction](Parts parts, const std::string& why) {
              const auto at = queues_.find(slot.value);
              if (at == queues_.end() || at->second.transaction != transaction) return;
              at->second.settling = false;
              at->second.at = clock_.steady_ms() - settle_ms + settle_again_ms;
              if (parts == Parts::unknown) {
                LOG_SELDOM(notice, "a part of a transaction in slot %u is not settled yet: %s",
                           slot.value, why.substr(0, why.find('\r')).c_str());
                return;
              }
              const bool never = parts == Parts::never;
              host_.run_at(step(slot, transaction, {never ? "GYRE.DROP" : "GYRE.COMMIT"}),
                           [](std::string&&) {});
            });
}

void Holds::ask_parts(std::span<const Slot> slots, const std::string& transaction, PartsTold done) {
  at_all(
      slots, [&](Slot s, PartAnswer told) { ask(s, transaction, std::move(told)); },
      [done = std::move(done)](const PartsAnswer& a) {
        done(a.never ? Parts::never : a.error.empty() ? Parts::prepared : Parts::unknown, a.error);
      });
}

// What transactions have left in a slot that this node acts for, when nobody forgot it.
void Holds::sweep(Slot slot) {
  if (!host_.acts_for(slot)) return;
  const NodeTable* table = space_.table_of(slot, prepared_db);
  if (!table || host_.acting_node(slot) != self_) return;
  struct Old {
    std::string transaction;
    std::vector<Slot> committed;  // the slots of all its parts
  };
  std::vector<Old> old;
  const UnixMs wall = clock_.wall_ms();
  table->for_each([&](Node* n) {
    const PartRecord r = read_part(n);
    const std::int64_t age = wall - record_newest(*n).ms();
    using State = PartRecord::State;
    const bool committed = r.state == State::committed,
               never = r.state == State::dropped || r.state == State::asked;
    if ((committed && age > forget_committed_ms) || (never && age > forget_never_ms))
      old.push_back(
          {std::string(transaction_of(n->key())), committed ? r.part.slots : std::vector<Slot>()});
    return old.size() < swept_at_once;
  });
  for (const Old& o : old) {
    const std::string& transaction = o.transaction;
    if (o.committed.empty()) {
      forget(slot, transaction);
      continue;
    }
    at_all(
        o.committed,
        [this, &transaction](Slot s, PartAnswer done) {
          host_.run_at(step(s, transaction, {"GYRE.COMMIT"}), std::move(done));
        },
        [this, slot, transaction](const PartsAnswer& a) {
          if (a.error.empty()) forget(slot, transaction);
        });
  }
}

void Holds::forget(Slot slot, const std::string& transaction) {
  host_.run_at(step(slot, transaction, {"GYRE.FORGET"}), [](std::string&&) {});
}

}  // namespace gyre
