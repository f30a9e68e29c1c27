// Identity: who this node is on its ring: name, index, incarnation; and what it knows of others'.
//
// A node with its identity file goes on as it was. One without it (new, wiped, or without
// persistence) asks its peers for the last incarnation of its name, takes the next one, and serves
// nothing before a majority of the ring has stored it (design, section 4).
//
// Files in `dir`, each a small file (persist/small_file.h):
//   identity      name, cluster, index, incarnation, boot id of the machine
//   incarnations  for each other node: the last incarnation stored for it, and when
//
// Threading: worker 0's thread, but what is atomic.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "ring/ring.h"
#include "wire/messages.h"

namespace gyre {

class Server;
class Worker;

class Identity {
 public:
  // Reads the files. Errors: another node's or another cluster's folder, damaged files.
  Result<void> open(const std::string& dir, const Ring& ring, NodeIndex self,
                    const std::string& cluster, bool keep_files);

  // The 12 bits of this node's versions.
  std::uint16_t clock_node() const {
    return static_cast<std::uint16_t>(index_ * 8 + incarnation_.load());
  }
  std::uint8_t incarnation() const { return incarnation_.load(); }
  bool settled() const { return settled_.load(); }
  // The last run was on the same boot of the machine.
  bool same_boot() const { return same_boot_; }

  // ---- worker 0
  // Asks, stores, settles. True when it became settled now.
  bool step(Worker& worker, SteadyMs steady);
  void on_message(Worker& worker, NodeIndex from, const Envelope& envelope);
  std::string waiting_for() const;  // any thread

 private:
  struct Stored {
    std::uint8_t incarnation = 0;
    UnixMs at_ms = 0;
  };
  Result<void> write_identity();
  Result<void> write_incarnations();

  std::string dir_, name_, cluster_, boot_id_;
  bool keep_files_ = true;
  std::uint16_t index_ = 0;
  std::atomic<std::uint8_t> incarnation_{0};
  std::atomic<bool> settled_{false};
  bool same_boot_ = false;
  std::size_t nodes_ = 1;
  std::map<std::string, Stored> others_;

  // While it asks.
  std::set<std::uint16_t> answered_, stored_;
  bool any_known_ = false;
  UnixMs asked_last_ms_ = 0;
  bool chosen_ = false;
  // How many have answered or, when chosen, stored it: for waiting_for().
  std::atomic<std::size_t> answers_{0}, stores_{0};
  std::atomic<bool> storing_{false};
  SteadyMs asked_at_ = 0;
};

}  // namespace gyre
