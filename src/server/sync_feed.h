// SYNC: one snapshot of the node for whoever asks as a replica of Redis does, and then nothing but
// PINGs: what changes afterwards is not sent. `redis-cli --rdb` and moving to another store live of
// it.
//
// Happy path: SYNC -> the client waits on its thread (SyncFeeds) and its name goes to thread 0
// (SyncQueue) -> as soon as no snapshot is being made, a child writes one into a file without a
// name, for all who wait and want the same -> each client's thread sends it from the file, piece by
// piece, the next when the socket has taken the one before:
//
//   $<length> CR LF <file>                      once the file is whole
//   $EOF:<40 bytes> CR LF <file> <the 40 bytes>   while it grows, to a client that said `capa eof`
//
// Meanwhile the client gets newlines, or reads nothing, and its own commands wait. Failures: a
// snapshot that cannot be made is answered with an error, one that breaks off by closing the
// connection; so is a client that takes nothing for repl-timeout. Bounds: a piece for each client
// in memory; sources_most files on the disk, later clients wait.
//
// Threading: SyncFeeds belongs to its worker, SyncQueue to thread 0, but clients(); a SyncSource is
// shared, and its file only read here.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "net/loop.h"
#include "persist/file_io.h"
#include "server/snapshot.h"

namespace gyre {

class Connection;
class Worker;

struct SyncSource {
  enum class State : std::uint8_t { writing, whole, failed };
  Fd file;
  Snapshots::Content content;
  std::atomic<State> state{State::writing};
};

// What a connection is as a replica to Redis' eyes: since its first REPLCONF or SYNC.
struct SyncFeed {
  bool takes_eof = false;  // REPLCONF capa eof
  bool only_file = false;  // REPLCONF rdb-only 1: no PINGs afterwards
  std::uint16_t port = 0;  // REPLCONF listening-port
  Snapshots::Content content;

  enum class Stage : std::uint8_t { none, waiting, sending, sent } stage = Stage::none;
  std::shared_ptr<const SyncSource> source{};
  bool begun = false;       // its first line is out
  std::string mark{};       // of the form with an end mark
  std::uint64_t at = 0;     // in the file
  std::size_t pending = 0;  // bytes that the socket had not taken, when looked at last
  SteadyMs moved = 0;       // when some were taken
  SteadyMs said = 0;        // the last newline or PING
};

class SyncFeeds {
 public:
  explicit SyncFeeds(Worker& worker) : worker_(worker), timer_(worker_loop(worker)) {}

  void begin(Connection& c);
  // Nothing: no snapshot, because of `error`.
  void attach(std::uint64_t client, std::shared_ptr<const SyncSource> source,
              const std::string& error);
  // The socket has taken everything, or there may be more to send.
  void pump(Connection& c);
  void pump_all();
  // RESET, or the connection is gone.
  void end(Connection& c);

 private:
  static Loop& worker_loop(Worker& worker);
  void tick();
  void fail(Connection& c, const std::string& error);
  void finish(Connection& c);
  void say(Connection& c, std::string_view bytes);

  Worker& worker_;
  std::vector<std::uint64_t> clients_;
  Timer timer_;  // while there are any
};

class SyncQueue {
 public:
  explicit SyncQueue(Server& server) : server_(server) {}

  // Thread 0.
  void join(Worker& worker, ShardIndex shard, std::uint64_t client, Snapshots::Content content);
  void step(Worker& worker);

  // Any thread: what INFO shows of clients that are fed.
  struct Client {
    std::string address;
    std::uint16_t port = 0;
    std::string_view state;
  };
  void note(std::uint64_t client, Client now);
  void forget(std::uint64_t client);
  std::map<std::uint64_t, Client> clients() const;

 private:
  static constexpr std::size_t sources_most = 4;
  struct Waiting {
    ShardIndex shard;
    std::uint64_t client = 0;
    Snapshots::Content content;
  };
  Result<std::shared_ptr<SyncSource>> open_source() const;
  void give(Worker& worker, const std::shared_ptr<SyncSource>& source, const std::string& error);

  Server& server_;
  std::vector<Waiting> waiting_;  // in order
  std::vector<std::weak_ptr<SyncSource>> sources_;
  mutable std::mutex mutex_;  // of clients_
  std::map<std::uint64_t, Client> clients_;
};

}  // namespace gyre
