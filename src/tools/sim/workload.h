// Workload: simulated clients, what they were told, and whether that was true.
//
// Each kind of key has a promise that can be checked whatever the faults were:
//   reg:   one writer; a value read at QUORUM, and the last one of all, is the last acknowledged
//   one or later uniq:  written once at QUORUM: is there cnt:   acknowledged increments <= value <=
//   these and the ones of unknown outcome set: hash: zset:  elements of their own: acknowledged
//   ones are there unless a removal was sent;
//          acknowledged removals of acknowledged elements hold
//   list:  elements of their own: at most once, acknowledged ones there unless popped
//   mix:   anything at any level: only has to converge
// An outcome is unknown after -NOQUORUM, or when no answer came.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "coordination/request.h"
#include "tools/sim/world.h"

namespace gyre::sim {

enum class Outcome : std::uint8_t { open, acked, unknown, refused };

struct Op {
  std::uint64_t id = 0;
  std::size_t client = 0, node = 0;
  std::vector<std::string> args;
  Levels levels;
  std::string key, value;
  Us start = 0, end = -1;  // end: answered, or the node was killed
  bool answered = false;
  Outcome outcome = Outcome::open;
  std::string reply;
  bool sure_read = false;  // a read that must hold its promise
};

struct WorkloadOptions {
  std::size_t clients = 8;
  std::size_t keys = 3;  // of each kind
  Us think_low = 2 * ms, think_high = 25 * ms;
  bool flush = false;
};

class Workload {
 public:
  // Sends an operation to a node; false: nobody is there.
  using Send = std::function<bool(const Op&)>;
  Workload(World& world, std::size_t nodes, const WorkloadOptions& options, Send send);

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
  using Read = std::function<std::string(const std::vector<std::string>& words)>;
  void check_end(const Read& read);

 private:
  struct Client {
    std::size_t node = 0;
    std::size_t waiting = 0;  // answers still out
    std::uint64_t round = 0;  // tells old time-outs from new
    std::vector<std::uint64_t> out;
    bool down = false;
  };
  void next(std::size_t client);
  std::vector<Op> draw(std::size_t client);
  void issue(std::size_t client, std::vector<Op>&& ops);
  void round_over(std::size_t client);
  void give_up(std::size_t client);
  void close_op(Op& op, Outcome outcome);
  void check_register(const std::string& key, const std::string& value, Us read_start,
                      const std::string& what);
  void check_elements(const std::string& key, const std::set<std::string>& there);
  void check_list(const std::string& key, const std::vector<std::string>& there);

  World& world_;
  std::size_t nodes_;
  WorkloadOptions options_;
  Send send_;
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

}  // namespace gyre::sim
