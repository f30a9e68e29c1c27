// Snapshots: SAVE and BGSAVE write the node's keys and functions into an RDB file that Redis 7
// loads; SYNC sends such a file, which then has no name (server/sync_feed.h).
//
// Happy path: all threads stand still for the time of a fork -> the child, which has the memory as
// it was at that moment, writes beside the file, syncs, renames, and ends -> thread 0 hears of that
// at its next tick and answers whoever waits (SAVE). Nobody is kept from working meanwhile; what
// changes meanwhile is held twice. Failures: no fork, no space, no right to write: the child says
// which by its exit code, the file of before stays as it was.
//
// The node needs no snapshot for itself, its store is always current: they are for backups and for
// taking the keys to another store. On a ring a node writes what it holds, its replicas' share.
//
// Threading: begin() on a thread that has made all others stand still; poll() on thread 0; the rest
// on any. The child is one thread: it takes no lock that another may have held, so it logs nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/clock.h"
#include "base/result.h"
#include "shard/database_names.h"

namespace gyre {

class Server;
struct Libraries;

class Snapshots {
 public:
  // Called on thread 0 when the snapshot has ended: well, or why not.
  using Done = std::function<void(const Result<void>&)>;

  explicit Snapshots(Server& server) : server_(server) {}

  bool running() const { return running_.load(std::memory_order_acquire); }
  // What goes into one.
  struct Content {
    bool keys = true, functions = true;
    bool operator==(const Content&) const = default;
  };

  // Into dbfilename. Not while one is running. `done` may be empty.
  Result<void> begin(Done done);
  // Into an open file, which is not synced.
  Result<void> begin_into(int fd, Content content, Done done);
  void poll();
  // The process ends: the child's file is of no use any more.
  void stop();

  struct State {
    UnixMs saved_ms = 0;  // when the last good one was begun; 0: never
    bool failed = false;  // the last one
    std::int64_t took_s = -1, runs_s = -1;
    std::uint64_t saves = 0, forks = 0;
    std::int64_t fork_us = 0;  // the last fork
    // Changes of keys since the node began, of which so many are in the last good one.
    std::uint64_t saved_changes = 0;
  };
  State state() const;
  // When a snapshot was last written or data last forced to the disk; before that, when the node
  // began with what it had read.
  UnixMs last_save_ms() const;
  // Changes of keys that no snapshot with a name has.
  std::uint64_t changes_since() const;

 private:
  std::uint64_t changes() const;
  Result<void> fork_for(const std::function<int()>& child, int keep_fd, Done done);
  int write_named() const;
  int write_into(int fd, Content content) const;

  Server& server_;
  std::atomic<bool> running_{false};
  mutable std::mutex mutex_;  // of what follows
  pid_t child_ = 0;
  UnixMs begun_ms_ = 0;
  std::uint64_t begun_changes_ = 0;
  std::string path_, beside_;  // empty: the present one has no name
  std::shared_ptr<const Libraries> libraries_;
  DatabaseNames names_;
  Done done_;
  State state_;
};

}  // namespace gyre
