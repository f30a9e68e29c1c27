// Holds: who may run in a slot, and who waits: behind gathers that are out, or behind a transaction
// over several slots that holds it; and what becomes of parts whose transaction nobody ends.
//
// Happy path: GYRE.HOLD takes the slot; other commands of it queue; the transaction's last step
// gives it back, and they run. A hold without a prepared part ends with its lease, or when the node
// that coordinates is gone, or when others may have acted for the slot. A prepared part ends only
// when all parts are known: who acts for its slot has those who act for them, itself too, ask their
// replicas (GYRE.ASK) and propose what these have accepted, or that the part never will be prepared
// (GYRE.SETTLE). All prepared: it is committed; one never will be: it is dropped.
//
// Parts are records like others (shard/holds.h): those that a command, a replica or a comparison
// has changed are looked at before the next command of their slot (notice()).
//
// Pure; its shard's thread. Answers of others come by HoldsHost::run_at, also within a call.
#pragma once

#include <deque>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "coordination/request.h"
#include "metrics/metrics.h"
#include "shard/holds.h"
#include "shard/keyspace.h"
#include "shard/walk.h"

namespace gyre {

class HoldsHost {
 public:
  virtual ~HoldsHost() = default;
  // Whether commands of the slot run here, and who else would run them as far as this node sees.
  virtual bool acts_for(Slot slot) const = 0;
  virtual NodeIndex acting_node(Slot slot) const = 0;
  virtual bool reachable(NodeIndex node) const = 0;
  virtual Level write_level() const = 0;
  // Runs it where its slot is acted for; `done` gets the reply, now or later.
  virtual void run_at(Request&& request, std::function<void(std::string&&)> done) = 0;
  // Who waited in vain.
  virtual void deliver_error(const Ticket& ticket, const Error& error) = 0;
};

class Holds {
 public:
  Holds(HoldsHost& host, NodeIndex self, KeySpace& space, const Clock& clock, Metrics& metrics)
      : host_(host), self_(self), space_(space), clock_(clock), metrics_(metrics) {}

  // ---- the queue of a slot

  enum class Passage : std::uint8_t { free, waits, refused };
  // Of a command in a slot that is busy(), or of an EXEC that begins with it. Steps that end or
  // settle a transaction never wait; a hold does, unless it is not to, and is then told so.
  Passage passage(Slot slot, const CommandSpec& spec, Args args) const;
  void wait(Slot slot, Request&& request) {
    queues_.at(slot.value).waiting.push_back(std::move(request));
  }
  void wait_first(Slot slot, Request&& request) {
    queues_.at(slot.value).waiting.push_front(std::move(request));
  }
  void gather_begins(Slot slot) { ++queues_[slot.value].gathers; }
  void gather_ended(Slot slot) { --queues_.at(slot.value).gathers; }
  bool busy(Slot slot) const { return queues_.contains(slot.value); }
  // Those who may run now. What they leave waits again by wait_behind().
  std::deque<Request> take_waiting(Slot slot);
  void wait_behind(Slot slot, std::deque<Request>&& waiting);
  // Slots that were given back since: those who wait there may run.
  std::vector<Slot> take_released() { return std::exchange(released_, {}); }

  // ---- holds

  // False: another transaction holds it. `by` coordinates.
  bool take(Slot slot, std::string_view transaction, NodeIndex by);
  bool held_by(Slot slot, std::string_view transaction) const;
  bool held(Slot slot) const;
  void end(Slot slot, std::string_view transaction);
  // Others may have acted for the slot: what a transaction has read of it may be out of date.
  void lose(Slot slot);
  // Whether the request is a step that ends or settles a transaction, as no other command does.
  static bool ends(const Request& request);

  // ---- parts

  // Looks at those that have changed here.
  void notice();
  // This node begins to act for the slot: parts that it holds as a replica are its to settle.
  void begin_acting(Slot slot);
  // The keys of the prepared ones.
  std::span<const std::string> prepared(Slot slot) const;
  std::vector<std::pair<Slot, std::string>> prepared(const SlotSet& slots) const;
  // There are none. What a prepared one holds was stamped when its slot was: until it is settled T
  // must not pass that, or its effects would come too late.
  bool settled(Slot slot) const { return !parts_.contains(slot.value); }
  // Whether every part of a transaction is prepared, agreed by their replicas, or one of them never
  // will be; `why` nobody can say now. `done` may run within the call.
  enum class Parts : std::uint8_t { prepared, never, unknown };
  using PartsTold = std::function<void(Parts, const std::string& why)>;
  void ask_parts(std::span<const Slot> slots, const std::string& transaction, PartsTold done);
  // For so long a transaction that is committed can be asked about, its last part's stamp being
  // within the bounds of clocks.
  static constexpr std::int64_t told_ms = 8000;
  // Whether the part's record is here what its proposer knew of it.
  bool same_part(const Effect& proposal) const;
  void tick(SteadyMs now);

 private:
  struct Queue {
    std::deque<Request> waiting;
    int gathers = 0;
    std::string transaction;  // empty: not held
    NodeIndex by{};           // which coordinates it
    bool prepared = false, settling = false;
    SteadyMs at = 0, since = 0;  // of the last step of it; prepared since
  };
  using PartAnswer = std::function<void(std::string&& reply)>;
  struct PartsAnswer {
    std::string error;   // the last one
    bool never = false;  // one of them never will be prepared
  };

  void keep_or_merge(Slot slot, const std::string& key, const PartRecord& record);
  void adopt(Slot slot, std::string_view key);
  void give_back(Slot slot, Queue& queue);
  void tell_stuck(Queue& queue);
  PartRecord part_of(Slot slot, std::string_view key) const;
  Request step(Slot slot, std::string_view transaction,
               std::initializer_list<std::string_view> words) const;
  void at_all(std::span<const Slot> slots, const std::function<void(Slot, PartAnswer)>& step,
              std::function<void(const PartsAnswer&)> done);
  void ask(Slot slot, const std::string& transaction, PartAnswer done);
  void settle(Slot slot);
  void sweep(Slot slot);
  void forget(Slot slot, const std::string& transaction);

  HoldsHost& host_;
  const NodeIndex self_;
  KeySpace& space_;
  const Clock& clock_;
  Metrics& metrics_;
  std::unordered_map<std::uint16_t, Queue> queues_;
  std::unordered_map<std::uint16_t, std::vector<std::string>> parts_;  // prepared ones, by slot
  std::unordered_map<std::string, std::string> effects_;               // of these, by key
  std::vector<Slot> released_;
  SteadyMs swept_ = 0;
};

}  // namespace gyre
