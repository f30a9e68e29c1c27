// Store: the durable rows of a node, behind an interface so that the simulator has its own disk.
//
// A shard submits one batch for each loop turn and goes on. One storage thread joins what all
// shards have waiting into one write, and tells the sink how far each shard has got. Rows are read
// only before the node serves (scan), never on the data path.
//
//   shard 0 --submit(seq 7)--+
//   shard 1 --submit(seq 3)--+--> queue --> one write [+ sync] --> persisted(0, 7), persisted(1, 3)
//
// What persisted() promises, by mode:
//   always    on the disk: nothing short of losing the disk takes it away.
//   everysec  with the operating system, on the disk within a second: kill -9 loses nothing, a
//             power cut at most the last second.
//   no        with the operating system: kill -9 loses nothing, a power cut what the system had not
//             written yet.
//
// Invariants: batches of one shard are written in the order of submit, each whole or not at all;
//             nothing submitted is dropped while the store is open; bytes waiting are bounded.
// Threading:  submit and congested from the shards' threads, the rest from any; the sink's methods
//             run on the storage thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "persist/store_batch.h"

namespace gyre {

enum class SyncMode : std::uint8_t { no, everysec, always };

// Told on the storage thread; must not block and must not call the store back.
class StoreSink {
 public:
  virtual ~StoreSink() = default;
  // Every batch of the shard up to and including seq is durable, as the sync mode says.
  virtual void persisted(ShardIndex shard, std::uint64_t seq) noexcept = 0;
  // The store cannot write; it keeps what it has and tries again. Called once for each shard when
  // the trouble starts; store_recovered() when a write came through again.
  virtual void store_failing(ShardIndex shard, const Error& error) noexcept = 0;
  virtual void store_recovered(ShardIndex shard) noexcept = 0;
};

struct StoreStats {
  std::uint64_t batches = 0;          // submitted batches that are persisted
  std::uint64_t writes = 0;           // joined writes that carried them
  std::uint64_t bytes = 0;            // of these batches
  std::uint64_t errors = 0;           // failed writes and syncs, retries included
  std::uint64_t syncs = 0;            // of the log
  std::uint64_t last_sync_us = 0;     // how long the last one took
  UnixMs last_sync_ms = 0;            // when it ended; 0: none since the start
  std::uint64_t waiting_bytes = 0;    // submitted, not yet persisted
  std::uint64_t estimated_bytes = 0;  // on the disk, log included
  std::uint64_t buffer_bytes = 0;     // of memory for rows on their way to tables
  std::uint64_t estimated_rows = 0;   // for the progress of recovery; rough
  bool failing = false;
  std::uint64_t compactions = 0;         // those asked for by compact() that ended well
  std::uint64_t compactions_failed = 0;  // in a row
  std::int64_t compaction_took_ms = -1;  // the last one; -1: none yet
  UnixMs compacting_since_ms = 0;        // the one that runs; 0: none
};

class Store {
 public:
  // Keys from this byte on belong to the store itself: no row's key may start with it. A row's key
  // starts with its slot, which is below 0x4000.
  static constexpr char reserved_prefix = '\xff';

  // Answers whether to go on. The views end with the call.
  using RowVisitor = std::function<bool(std::string_view key, std::string_view value)>;

  virtual ~Store() = default;

  // Queues the batch. seq: above the shard's last one. False, and the batch untouched, when the
  // shard already has its bound waiting (the batch that crosses it is taken) or the store is
  // closed. An empty batch is taken too and is persisted in its turn.
  virtual bool submit(ShardIndex shard, std::uint64_t seq, StoreBatch&& batch) = 0;
  // True from half the bound on: stop reading clients now, and submit will not be refused.
  // Cost: one relaxed load.
  virtual bool congested(ShardIndex shard) const = 0;

  // Visits the rows with first <= key < last in key order, as they stood when the call began. An
  // empty `last` means to the end. For start-up: it is slow while much is written meanwhile.
  // Errors: corrupt (names the file and what to do), io.
  virtual Result<void> scan(std::string_view first, std::string_view last,
                            const RowVisitor& visit) = 0;

  // Small values by name, synced before meta_put returns.
  virtual Result<std::optional<std::string>> meta_get(std::string_view name) = 0;
  virtual Result<void> meta_put(std::string_view name, std::string_view value) = 0;

  // Begins to write all rows anew, without what was overwritten and removed, beside whatever else
  // happens. False: it does so already, or is closed. Closing gives it up.
  virtual bool compact() = 0;

  virtual void set_sync_mode(SyncMode mode) = 0;
  virtual SyncMode sync_mode() const = 0;

  // Writes all that waits, syncs, leaves the mark of a clean shutdown, closes. Errors: what could
  // not be written within the close time-out; the mark is absent then. A second call does nothing.
  // Destroying a store without it is like kill -9: what waits is not written, no mark.
  virtual Result<void> flush_and_close() = 0;
  // Whether the mark was there at the start. It is removed, durably, before open returns.
  virtual bool clean_start() const = 0;

  virtual StoreStats stats() const = 0;
};

}  // namespace gyre
