// Waiters: commands that wait for keys (BLPOP, XREADGROUP BLOCK), where their slot is acted for,
// and clients of this node that wait elsewhere.
//
// Happy path: a command that cannot be answered is added under its client's number; its coordinator
// knows. Any change of one of its keys makes the key ready (shard/key_waits.h); at the end of the
// command that changed it serve_ready() looks, first come first served, whose command would be
// answered now, and wakes it. Its coordinator sends the command again, if the client is still
// there, as any command is sent: so an element is popped once, for a client that is there, and its
// reply waits for its level like every other.
//
// Who takes something is woken alone, and the others behind it when its command has run: the order
// stays, and one element wakes one client. That is at once where the client is of this thread.
//
// Failures: a client that is gone, or whose node is, does not come: it is passed over after
// offer_ms. Links lose messages: once a second a coordinator tells who still waits; who is not
// known here is told to come again, and who is not told of for forgotten_ms is dropped. The node
// that acts is another one: the coordinator sends the command there. While such a command is out
// everything is as with a forwarded pop: when the node dies, the client hears -NOQUORUM.
//
// Bounds: waits_max; beyond it a command that would wait answers an error.
// Pure; its shard's thread. The host may call back into it while it wakes somebody.
#pragma once

#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "coordination/request.h"
#include "metrics/metrics.h"
#include "shard/keyspace.h"
#include "wire/messages.h"

namespace gyre {

class WaitersHost {
 public:
  virtual ~WaitersHost() = default;
  // Where a message for the peer is put, and which of its threads has the slot.
  virtual std::string& to_peer(NodeIndex peer, bool answer) = 0;
  virtual std::uint16_t thread_of(NodeIndex peer, Slot slot) const = 0;
  virtual bool reachable(NodeIndex peer) const = 0;
  virtual NodeIndex acting_node(Slot slot) const = 0;
  // Whether the command would be answered now. Changes nothing.
  virtual bool answers_now(const OwnedCommand& command) = 0;
  // What a client of this node waits for has changed: its command comes again.
  virtual void wake(std::uint64_t wait) = 0;
};

class Waiters {
 public:
  Waiters(WaitersHost& host, NodeIndex self, ShardIndex shard, KeySpace& space, const Clock& clock,
          Metrics& metrics)
      : host_(host), self_(self), shard_(shard), space_(space), clock_(clock), metrics_(metrics) {}

  // ---- those who wait here

  // A client of a node: `wait` is its number there, `shard` the thread there that owns the slot.
  struct Client {
    NodeIndex node{};
    std::uint16_t shard = 0;
    std::uint64_t wait = 0;
  };
  // It waits for the keys of its command, or for the first of them; who did so before keeps its
  // place. False: too many wait.
  bool add(const Client& client, Slot slot, OwnedCommand&& command, bool first_key_only);
  void drop(NodeIndex node, std::uint64_t wait);
  // Wakes those whose keys have changed. At the end of a command, never within one.
  void serve_ready();

  // ---- clients of this node

  // One waits at another node from now on, or does not any more.
  void away(std::uint64_t wait, NodeIndex at, Slot slot) { away_[wait] = {at, slot}; }
  void back(std::uint64_t wait) { away_.erase(wait); }
  // One does not wait any more, wherever it did.
  void stop(std::uint64_t wait);

  void on_waits(NodeIndex from, const Waits& m);
  void tick(SteadyMs now);
  // Until the peer is heard again nobody waits for its clients.
  void peer_down(NodeIndex peer);

 private:
  struct Waiter {
    Client client;
    Slot slot{};
    OwnedCommand command;
    std::vector<KeyWaits::Line> lines;
    SteadyMs offered = 0;  // woken then, and its command has not come yet; 0: not
    bool deaf = false;     // did not come when it was woken: passed over until its node is heard
    SteadyMs heard = 0;
  };
  struct Away {
    NodeIndex at{};
    Slot slot{};
  };
  static constexpr std::size_t waits_max = 1'000'000;  // waiters and keys
  static constexpr std::int64_t told_ms = 1000, forgotten_ms = 5000, offer_ms = 500,
                                looked_ms = 100;

  void release(Waiter& waiter);
  void wake(Waiter& waiter);
  void tell(SteadyMs now);
  void wake_where_others_act();

  WaitersHost& host_;
  const NodeIndex self_;
  const ShardIndex shard_;
  KeySpace& space_;
  const Clock& clock_;
  Metrics& metrics_;
  std::map<KeyWaits::Waiter, Waiter> waiters_;  // in the order of arrival
  std::map<std::pair<std::uint16_t, std::uint64_t>, KeyWaits::Waiter> numbers_;
  KeyWaits::Waiter next_ = 1;
  std::unordered_map<std::uint64_t, Away> away_;
  bool serving_ = false;
  SteadyMs told_ = 0, looked_ = 0;
};

}  // namespace gyre
