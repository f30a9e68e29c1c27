// The slot's side of transactions over several slots: who may run on a slot meanwhile, and what
// becomes of parts whose transaction nobody ends.
//
// Happy path: GYRE.HOLD takes the slot; other commands of it queue in busy_; the transaction's last
// step gives it back, and they run. A hold without a prepared part ends with its lease, or when the
// node that coordinates is gone, or when others may have acted for the slot. A prepared part ends
// only when all parts are known: who acts for its slot has those who act for them, itself too, ask
// their replicas (GYRE.ASK) and propose what these have accepted, or that the part never will be
// prepared (GYRE.SETTLE). All prepared: it is committed; one never will be: it is dropped.

#include <algorithm>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/probe.h"
#include "coordination/engine.h"
#include "record/record.h"
#include "ring/slot.h"
#include "shard/lookup.h"

namespace gyre {
namespace {

constexpr std::int64_t lease_ms = 2000;  // of a hold that has prepared nothing
constexpr std::int64_t settle_ms = 700;  // after so long those who act ask each other
constexpr std::int64_t settle_again_ms = 200;
constexpr std::int64_t stuck_ms = 2000;  // those who wait for a prepared part are told so
constexpr std::int64_t sweep_ms = 2000, forget_committed_ms = 5000, forget_never_ms = 30'000;

}  // namespace

bool Engine::HoldOfCommand::take(Slot slot, std::string_view transaction) {
  SlotQueue& q = engine_.busy_[slot.value];
  if (!q.transaction.empty() && q.transaction != transaction) return false;
  q.transaction = transaction;
  q.by = ticket_.remote ? ticket_.peer : engine_.options_.self;
  q.at = engine_.clock_.steady_ms();
  return true;
}

bool Engine::HoldOfCommand::held_by(Slot slot, std::string_view transaction) const {
  const auto at = engine_.busy_.find(slot.value);
  return at != engine_.busy_.end() && at->second.transaction == transaction;
}

bool Engine::ends_hold(const Request& request) {
  const CommandSpec& spec = request.commands.front().spec();
  return (spec.flags & flag::of_hold) && !spec.name.starts_with("GYRE.HOLD");
}

// Steps that end or settle a transaction never wait; a hold does, unless it is not to, and is then
// told so.
Engine::Passage Engine::passage(const SlotQueue& queue, std::span<const CommandView> commands) {
  const CommandView& first = commands.front();
  if (!(first.spec->flags & flag::of_hold)) return Passage::waits;
  if (!first.spec->name.starts_with("GYRE.HOLD")) return Passage::free;
  if (queue.transaction == transaction_of(first.args[1])) return Passage::free;
  return first.args[2] == "now" ? Passage::refused : Passage::waits;
}

void Engine::end_hold(Slot slot, std::string_view transaction) {
  const auto at = busy_.find(slot.value);
  if (at == busy_.end() || at->second.transaction.empty() || at->second.transaction != transaction)
    return;
  SlotQueue& q = at->second;
  q.transaction.clear();
  q.prepared = q.settling = false;
  // Another part that waits to be settled, of a time in which two nodes acted.
  if (const auto parts = parts_.find(slot.value); parts != parts_.end()) {
    for (const std::string& key : parts->second) {
      if (transaction_of(key) != transaction) return adopt(slot, key);
    }
  }
  released_.push_back(slot);
}

// A prepared part that this node knows of, whoever coordinates: nobody runs on the slot before it
// is settled.
void Engine::adopt(Slot slot, std::string_view key) {
  SlotQueue& q = busy_[slot.value];
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
  q.by = options_.self;
  q.prepared = true;
  q.settling = false;
  q.at = q.since = clock_.steady_ms() - settle_ms;
}

// Parts that commands, replicas or comparisons have changed here.
void Engine::look_at_parts() {
  if (alone_) return void(space_.take_parts_touched());
  for (const auto& [slot, key] : space_.take_parts_touched()) {
    const bool prepared = part_of(slot, key).state == PartRecord::State::prepared;
    auto& keys = parts_[slot.value];
    const auto at = std::find(keys.begin(), keys.end(), key);
    if (prepared && at == keys.end()) keys.push_back(key);
    if (!prepared && at != keys.end()) keys.erase(at);
    if (keys.empty()) parts_.erase(slot.value);
    // Whoever ended it, and whoever acts by now.
    if (!prepared) end_hold(slot, transaction_of(key));
    if (prepared && state(slot).acting) adopt(slot, key);
  }
}

// This node begins to act for the slot: parts that it holds as a replica are its to settle.
void Engine::adopt_parts(Slot slot) {
  const auto at = parts_.find(slot.value);
  if (at != parts_.end() && !at->second.empty()) adopt(slot, at->second.front());
}

// Others may have acted for the slot: what a transaction has read of it may be out of date.
void Engine::lose_hold(Slot slot) {
  const auto at = busy_.find(slot.value);
  if (at == busy_.end() || at->second.transaction.empty() || at->second.prepared) return;
  metrics_.holds_lost.add();
  GYRE_PROBE(hold_lost);
  at->second.transaction.clear();
  released_.push_back(slot);
}

// Those who waited go on, and transactions with what they were answered.
bool Engine::go_on_behind_holds() {
  bool any = false;
  if (space_.parts_touched()) look_at_parts();
  while (!held_ && !released_.empty()) {
    std::vector<Slot> released;
    released.swap(released_);
    for (const Slot slot : released) drain(slot);
    if (space_.parts_touched()) look_at_parts();
    any = true;
  }
  if (!held_) any |= transactions_.run();
  return any;
}

void Engine::tick_holds(SteadyMs now) {
  std::vector<Slot> settle_now;
  for (auto& [number, q] : busy_) {
    const Slot slot{number};
    if (q.transaction.empty()) continue;
    const bool gone = q.by != options_.self && !peers_[q.by.value].view.up;
    if (!q.prepared) {
      if (now - q.at < lease_ms && !gone) continue;
      metrics_.holds_lost.add();
      GYRE_PROBE(hold_lost);
      q.transaction.clear();
      released_.push_back(slot);
      continue;
    }
    if (now - q.since > stuck_ms && !q.waiting.empty()) {
      std::deque<Request> waiting;
      waiting.swap(q.waiting);
      for (const Request& r : waiting) {
        metrics_.no_quorum_replies.add();
        deliver_error(
            r.ticket,
            r.begun
                ? Error(Errc::no_quorum)
                : Error(
                      Errc::no_quorum,
                      "a transaction that holds this key is not settled yet; nothing was written"));
      }
    }
    if (!q.settling && (gone || now - q.at >= settle_ms) && acting_node(slot) == options_.self)
      settle_now.push_back(slot);
  }
  for (const Slot slot : settle_now) settle_part(slot);
  if (now - swept_ < sweep_ms) return;
  swept_ = now;
  sweep_parts();
}

Request Engine::step_request(Slot slot, std::string_view transaction,
                             std::initializer_list<std::string_view> words) const {
  std::vector<std::string_view> args(words);
  const std::string key = part_key(slot, transaction);
  args.insert(args.begin() + 1, key);
  Request r;
  r.slot = slot;
  r.levels = {.write = options_.write_level};
  r.commands.emplace_back(*lookup_command(Args(args)), prepared_db, Args(args));
  return r;
}

// Whether the part's record is here what its proposer knew of it. What all replicas hold does not
// count: it was taken out of the effect.
bool Engine::same_part(const Effect& proposal) const {
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

PartRecord Engine::part_of(Slot slot, std::string_view key) const {
  return read_part(space_.find(slot, prepared_db, key, key_hash(key)));
}

// Runs a step at every slot; done when all have answered.
void Engine::at_all_parts(std::span<const Slot> slots,
                          const std::function<void(Slot, PartAnswer)>& step,
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
void Engine::ask_part(Slot slot, const std::string& transaction, PartAnswer done) {
  run_at(step_request(slot, transaction, {"GYRE.ASK"}),
         [this, slot, transaction, done = std::move(done)](std::string&& reply) mutable {
           std::string_view ballot = reply;
           if (!ballot.starts_with('$')) return done(std::move(reply));
           ballot.remove_prefix(ballot.find('\n') + 1);
           ballot.remove_suffix(2);
           run_at(step_request(slot, transaction, {"GYRE.SETTLE", ballot}), std::move(done));
         });
}

void Engine::settle_part(Slot slot) {
  SlotQueue& q = busy_.at(slot.value);
  q.settling = true;
  metrics_.parts_settled.add();
  GYRE_PROBE(part_settled);
  const std::string transaction = q.transaction;
  const PartRecord record = part_of(slot, part_key(slot, transaction));
  at_all_parts(
      record.part.slots,
      [this, &transaction](Slot s, PartAnswer done) { ask_part(s, transaction, std::move(done)); },
      [this, slot, transaction](const PartsAnswer& a) {
        const auto at = busy_.find(slot.value);
        if (at == busy_.end() || at->second.transaction != transaction) return;
        at->second.settling = false;
        at->second.at = clock_.steady_ms() - settle_ms + settle_again_ms;
        if (!a.never && !a.error.empty()) {
          LOG_SELDOM(notice, "a part of a transaction in slot %u is not settled yet: %s",
                     slot.value, a.error.substr(0, a.error.find('\r')).c_str());
          return;
        }
        run_at(step_request(slot, transaction, {a.never ? "GYRE.DROP" : "GYRE.COMMIT"}),
               [](std::string&&) {});
      });
}

// What transactions have left in the slots that this node acts for, when nobody forgot it.
void Engine::sweep_parts() {
  const UnixMs wall = clock_.wall_ms();
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + i)};
    const NodeTable* table = slots_[i].acting ? space_.table_of(slot, prepared_db) : nullptr;
    if (!table || acting_node(slot) != options_.self) continue;
    struct Old {
      std::string transaction;
      std::vector<Slot> committed;  // the slots of all its parts
    };
    std::vector<Old> old;
    table->for_each([&](Node* n) {
      const PartRecord r = read_part(n);
      const std::int64_t age = wall - record_newest(*n).ms();
      using State = PartRecord::State;
      const bool committed = r.state == State::committed,
                 never = r.state == State::dropped || r.state == State::asked;
      if ((committed && age > forget_committed_ms) || (never && age > forget_never_ms))
        old.push_back({std::string(transaction_of(n->key())),
                       committed ? r.part.slots : std::vector<Slot>()});
      return old.size() < 100;
    });
    for (const Old& o : old) {
      const std::string& transaction = o.transaction;
      const auto forget = [this, slot, transaction] {
        run_at(step_request(slot, transaction, {"GYRE.FORGET"}), [](std::string&&) {});
      };
      if (o.committed.empty()) {
        forget();
        continue;
      }
      at_all_parts(
          o.committed,
          [this, &transaction](Slot s, PartAnswer done) {
            run_at(step_request(s, transaction, {"GYRE.COMMIT"}), std::move(done));
          },
          [forget](const PartsAnswer& a) {
            if (a.error.empty()) forget();
          });
    }
  }
}

}  // namespace gyre
