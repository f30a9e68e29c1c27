// Blocking: the clients of one thread that wait in a command (BLPOP, XREAD BLOCK, WAIT).
//
// The command is sent to where its keys are acted for, as any command is, with a number; what
// cannot be answered is parked there (coordination/waiters.h) and comes back to be sent again when
// a key has changed. Keys of several slots (of several threads, where the node is alone) are parts:
// each a command of its own, asked one after the other in the order given, and all waiting in the
// end. So whatever wakes a client, one command at most is out for it, and only while it is there:
// nothing is popped twice, and nothing for a client that is known to have gone.
//
// BLMOVE between slots of a ring is a transaction (coordination/transactions.h) that does not wait.
// When it finds nothing its client waits for the source by a part of its own (GYRE.AWAIT), and
// keeps its place there while the transaction is tried again.
//
// While it waits the client is suspended: its later commands are kept. No place in its line of
// replies is taken, so messages that are pushed to it leave meanwhile.
//
// Invariants: a client is answered exactly once; when it is, or has gone, nothing of it waits any
//             more anywhere, or is forgotten there when it is not told of.
// Threading:  its worker's thread alone.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordination/request.h"
#include "net/loop.h"

namespace gyre {

class Connection;
class Worker;

class Blocking {
 public:
  explicit Blocking(Worker& worker);

  // A command that may wait, begun by dispatch; `slots` are those of its keys, one at least.
  void begin(Connection& c, const CommandSpec& spec, Args args, const std::vector<Slot>& slots);
  // WAIT: answers how many replicas have the client's last writes, when that many do or after `ms`.
  void begin_wait(Connection& c, const CommandSpec& spec, std::int64_t replicas, std::int64_t ms);
  // As EngineHost's.
  void parked(Parked&& how);
  void woken(std::uint64_t wait);
  // SWAPDB on a ring: who waits asks anew, in the database where `moved` says that its own is now.
  void databases_swapped(const std::function<DbIndex(DbIndex)>& moved);
  // CLIENT UNBLOCK: false when it does not wait.
  bool unblock(Connection& c, bool error);
  void closed(Connection& c);
  // The thread whose client has this number.
  static ShardIndex thread_of(std::uint64_t wait) {
    return {static_cast<std::uint16_t>(wait >> thread_shift)};
  }

  std::size_t waiting() const { return clients_.size(); }

 private:
  static constexpr int thread_shift = 48;
  static constexpr std::size_t none = ~std::size_t{0};
  // While nobody acts for a key, a client that waits for it looks again after that.
  static constexpr std::int64_t retry_ms = 200;
  static constexpr std::int64_t holders_ms = 50;  // between the questions of WAIT

  struct Part {
    OwnedCommand command;
    Slot slot{};
    bool barrier = false;  // its keys are of several threads
    bool parked = false;   // it waits somewhere
    bool ready = false;    // and is to be sent again
    bool anew = false;     // it is out, and then to be sent again, to another database
  };
  enum class End : std::uint8_t { no, timeout, error, gone };
  // Of WAIT: a read of the key at the level of all replicas, then of one less, and so on, tells how
  // many have what it tells.
  struct Holders {
    std::int64_t wanted = 0;
    std::int64_t found = 0;
    int asking = 0;  // that many replicas, the acting one too
    std::string key;
    DbIndex db{};
  };
  struct Client {
    std::uint64_t connection = 0;
    const CommandSpec* spec = nullptr;
    int protocol = 2;
    Levels levels;
    std::vector<Part> parts;               // their numbers follow that of the client
    std::optional<OwnedCommand> spanning;  // a command over several slots of a ring
    bool nothing_there = false;            // it has just found that: its part is asked next
    std::optional<Holders> holders;
    std::size_t trying = none;
    bool stepping = false;
    bool beginning = true;  // dispatch() has not returned
    End end = End::no;      // what is to become of it when nothing is out
    SteadyMs began = 0;
    SteadyMs deadline = 0;  // 0: none
    SteadyMs retry = 0;     // not before
    SteadyMs due = 0;       // its entry in due_; 0: none
  };
  using Clients = std::map<std::uint64_t, Client>;

  std::vector<Part> parts_of(const CommandSpec& spec, Args args, DbIndex db,
                             const std::vector<Slot>& slots) const;
  Clients::iterator of(std::uint64_t wait);
  void step(std::uint64_t number);
  std::size_t next_part(const Client& client, SteadyMs now) const;
  void send(std::uint64_t number, Client& client, std::size_t part);
  void send_under_barrier(std::uint64_t number, Client& client, Part& part);
  void transact(std::uint64_t number, Client& client);
  Request request_of(const Client& client, const OwnedCommand& command) const;
  void answered(std::uint64_t number, std::string&& reply);
  void ask_holders(std::uint64_t number, Client& client);
  void holders_answered(std::uint64_t number, bool hold);
  void finish(Clients::iterator at, std::string&& reply, std::size_t answered_by);
  std::string end_reply(const Client& client) const;
  void ask_anew(std::uint64_t number, Client& client, std::size_t part);
  void stop_waiting(std::uint64_t number, const Client& client, std::size_t part);
  void arm(std::uint64_t number, Client& client);
  void arm_timer();
  void on_timer();

  Worker& worker_;
  Clients clients_;
  std::uint64_t next_;
  std::set<std::pair<SteadyMs, std::uint64_t>> due_;
  Timer timer_;
};

}  // namespace gyre
