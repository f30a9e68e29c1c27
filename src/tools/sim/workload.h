// Workload: simulated clients, what they were told, and whether that was true.
//
// Each kind of key has a promise that can be checked whatever the faults were:
//   reg:   one writer; a value read at QUORUM, and the last one of all, is the last acknowledged
//          one or later; quorum reads never go back; its writer, through one connection, reads at
//          ONE what it was acknowledged there, or later
//   uniq:  written once at QUORUM or more: is there; MSET and MGET of one slot's part as well
//   del:   written once, deleted once: an acknowledged deletion holds
//   exp:   written once with an expiry: is gone in the end
//   lock:  SET NX by several: at most one is acknowledged
//   app:   APPEND: acknowledged pieces are there, in one piece each
//   cas:   WATCH, GET, EXEC SET +1: acknowledged ones <= value <= these and the unknown ones
//   pair:  two counters raised in one EXEC: equal
//   acct: transfers by EXEC between accounts in several slots: their sum is zero
//   cnt: hcnt: zcnt:  the same bounds for INCRBY, HINCRBY, ZINCRBY
//   set: hash: zset:  elements of their own: acknowledged ones are there unless a removal was sent;
//          acknowledged removals of acknowledged elements hold
//   list:  elements of their own: at most once, acknowledged ones there unless popped
//   stream: as set:, under ids that the nodes make up
//   mix:   anything at any level: only has to converge, and to stand before the Shadow
// An outcome is unknown after -NOQUORUM, or when no answer came. Files: workload.cc (clients),
// draw.cc (what they do), checks.cc (what must be true).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "coordination/request.h"
#include "tools/sim/node.h"
#include "tools/sim/shadow.h"
#include "tools/sim/world.h"

namespace gyre::sim {

enum class Outcome : std::uint8_t { open, acked, unknown, refused };

struct Op {
  std::uint64_t id = 0;
  std::size_t client = 0, node = 0;
  DbIndex db{};
  std::vector<std::string> args;               // the first command
  std::vector<std::vector<std::string>> more;  // of an EXEC
  bool exec = false;
  std::vector<Watch> watches;
  Levels levels;
  std::string key, value;
  std::vector<std::string> keys{};  // further ones (MSET)
  Us start = 0, end = -1;           // end: answered, or the node was killed
  bool answered = false;
  Outcome outcome = Outcome::open;
  std::string reply{};
  bool sure_read = false;     // a read that must hold its promise
  std::uint64_t guesses = 0;  // WorkloadOptions::guesses when it was sent
};

struct WorkloadOptions {
  std::size_t clients = 8;
  std::size_t keys = 3;  // of each kind
  Us think_low = 2 * ms, think_high = 25 * ms;
  bool flush = false;
  bool jumps = false;  // clocks jump: when something expires is not known to a minute
  std::size_t databases = 2;
  SlotWindow window;
  std::function<bool()> well = [] { return true; };  // no fault is on at this moment
  // How many commands of level ONE ran so far on what was there.
  std::function<std::uint64_t()> guesses = [] { return 0; };
};

class Workload {
 public:
  // Sends an operation to a node; false: nobody is there.
  using Send = std::function<bool(const Op&)>;
  Workload(World& world, Shadow& shadow, std::size_t nodes, const WorkloadOptions& options,
           Send send);

  void begin();
  void stop() { stopping_ = true; }
  // Reads at level ONE must be as good as the others while this holds.
  void set_healthy(bool on);
  void answered(std::uint64_t id, std::string&& reply);
  void node_killed(std::size_t node);

  std::size_t open() const { return open_; }
  std::size_t sent() const { return ops_.size(); }
  std::size_t acked() const { return acked_; }
  std::size_t not_acked() const { return not_acked_; }
  Us slowest() const { return slowest_; }
  // After healing. `read` answers from the (equal) replicas, in RESP.
  using Read = std::function<std::string(DbIndex db, const std::vector<std::string>& words)>;
  void check_end(const Read& read);

  DbIndex db_of(const std::string& key) const;

 private:
  struct Client {
    std::size_t node = 0;
    std::size_t waiting = 0;  // answers still out
    std::uint64_t round = 0;  // tells old time-outs from new
    std::uint64_t first = 0;  // operation of its connection
    std::vector<std::uint64_t> out;
    bool down = false;
    std::function<void()> then;  // what it does next when all of a round was acknowledged
    std::set<std::string> scanned;
    Us scan_began = 0;
  };
  struct Draft;  // of the operations of a round (draw.cc)

  // ---- workload.cc
  void next(std::size_t client);
  void issue(std::size_t client, std::vector<Op>&& ops);
  void round_over(std::size_t client);
  void give_up(std::size_t client);
  void close_op(Op& op, Outcome outcome);
  void judge_answer(Op& op);
  bool own_write_read(const Op& op) const;

  // ---- draw.cc
  std::vector<Op> draw(std::size_t client);
  std::string named(const std::string& kind);  // a key in the window of slots
  std::string take_added(const std::string& key);
  void draw_register(Draft& to, std::size_t client);
  void draw_read(Draft& to, std::size_t client);
  void draw_unique(Draft& to, std::size_t client);
  void draw_counter(Draft& to);
  void draw_element(Draft& to);
  void draw_list(Draft& to);
  void draw_stream(Draft& to);
  void draw_condition(Draft& to, std::size_t client);
  void draw_walk(Draft& to, std::size_t client);
  void draw_mix(Draft& to);
  void watch_and_set(std::size_t client, const std::string& key);
  void scan_on(std::size_t client, DbIndex db, const std::string& cursor);
  const Op& only(std::size_t client) const { return ops_[clients_[client].out.front() - 1]; }

  // ---- checks.cc
  bool flushed(DbIndex db) const;  // something flushed this database some time
  struct Flushed {
    bool excused = false;  // perhaps after the operation
    bool surely = false;   // acknowledged, and after its end
  };
  Flushed flushed_after(const Op& op) const;
  void check_register(const std::string& key, const std::string& value, Us read_start,
                      const std::string& what);
  void check_elements(const std::string& key, const std::set<std::string>& there);
  void check_accounts(const Read& read);
  void check_list(const std::string& key, const std::vector<std::string>& there);
  void check_sum(const std::string& key, const std::string& value);
  void check_unique(const std::string& key, const std::string& value);
  void check_scan(std::size_t client, DbIndex db);
  bool shadowed(const Op& op) const;
  void check_pieces(const std::string& key, const std::string& value);
  void check_lock(const std::string& key, const std::string& value);

  World& world_;
  Shadow& shadow_;
  std::size_t nodes_;
  WorkloadOptions options_;
  Send send_;
  std::vector<std::string> tags_;  // one for each slot of the window
  bool stopping_ = false, healthy_ = true;
  Us healthy_since_ = 0;
  std::vector<Client> clients_;
  std::vector<Op> ops_;  // by id - 1
  std::size_t open_ = 0, acked_ = 0, not_acked_ = 0;
  Us slowest_ = 0;
  std::uint64_t serial_ = 0;

  std::map<std::string, std::vector<std::uint64_t>> by_key_;  // writes, in the order of their start
  std::map<std::string, std::vector<std::uint64_t>>
      adds_;  // acknowledged elements that may be removed
  std::vector<std::uint64_t> flushes_;
};

// RESP of a reply as a flat list of its strings.
std::vector<std::string> strings_of(const std::string& reply);
bool is_error(const std::string& reply);

}  // namespace gyre::sim
