// The store on a disk: one RocksDB for the whole node, in `directory`.
//
// One storage thread writes (group commit); a second one syncs the log every second under
// `everysec`. Memtables are vectors: a put is an append, sorting happens at the flush, and reading
// is for start-up only.
//
// Errors of a write or sync (no space, bad disk): what waits is kept and tried again until it comes
// through; the sink hears of it once. After a full disk RocksDB looks every 5 s and goes on when a
// write buffer's worth of space is free. Damage on the disk is an error that names the file, at
// open or in scan; see wal_check.h for which ends of the log are no damage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "persist/store.h"

namespace gyre {

struct RocksStoreOptions {
  std::string directory;  // created when absent; its parent must exist
  std::size_t shards = 1;
  SyncMode sync_mode = SyncMode::everysec;
  std::uint64_t waiting_bytes_max = 32u << 20;  // by shard
  std::uint64_t group_bytes = 8u << 20;         // a write joins about this much at most
  std::size_t write_buffer_bytes = 64u << 20;   // a memtable; three of them at most
  std::uint64_t log_bytes_max = 256u << 20;     // of write-ahead logs; bounds recovery
  std::uint32_t retry_ms = 500;                 // after a failed write
  std::uint32_t close_timeout_ms = 5000;        // flush_and_close gives up a failing disk after it
};

// The format of rows and meta values that this program writes; the database says its own.
inline constexpr std::uint64_t store_format = 2;

// Opens or creates the database. The sink outlives the store.
// Errors: corrupt (which file, what to do), config (in use by another process; newer format), io.
Result<std::unique_ptr<Store>> open_rocks_store(const RocksStoreOptions& options, StoreSink& sink);

}  // namespace gyre
