// MemoryStore: a store whose disk is a value, for tests and the simulator.
//
// The MemoryDisk outlives the store, as a disk outlives a process: destroy the store (kill -9),
// call power_cut() on the disk or not, and open another store on it. Nothing happens by itself:
// step() is the storage thread's turn, sync() the tick of `everysec`.
//
// Invariants: rows() is `synced` with the unsynced writes applied in order.
// Threading:  none; the simulator's thread calls everything, the sink is called within step().
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "persist/store.h"
#include "persist/write_queue.h"

namespace gyre {

class MemoryDisk {
 public:
  using Rows = std::map<std::string, std::string, std::less<>>;

  // Loses the unsynced writes but the first `kept`. What a write holds is kept or lost as a whole.
  void power_cut(std::size_t kept = 0);
  // Loses the last unsynced write: torn in the middle, so recovery drops all of it. False: all are
  // synced.
  bool tear_last();

  std::size_t unsynced_writes() const { return unsynced_.size(); }
  const Rows& rows() const { return rows_; }

 private:
  friend class MemoryStore;
  void write(StoreBatch&& batch);
  void sync();
  static void apply(const StoreBatch& batch, Rows& rows);

  Rows synced_;                       // as of the last sync
  std::vector<StoreBatch> unsynced_;  // written since, in order
  Rows rows_;                         // what a reader sees
  Rows meta_;                         // always synced
  bool clean_ = false;
};

class MemoryStore final : public Store {
 public:
  static constexpr std::uint64_t default_limit_bytes = 32u << 20;

  MemoryStore(MemoryDisk& disk, std::size_t shards, StoreSink& sink,
              SyncMode mode = SyncMode::always, std::uint64_t limit_bytes = default_limit_bytes);

  // Writes up to max_bytes of what waits (at least one shard's queue) and tells the sink. False
  // when nothing waited, or writes fail: then everything stays.
  bool step(std::uint64_t max_bytes = ~std::uint64_t{0});
  // The second of `everysec` is over.
  void sync();
  // From now on writes fail with this error; nothing: they work again, from the next step on.
  void fail_writes(std::optional<Error> error) { fault_ = std::move(error); }

  bool submit(ShardIndex shard, std::uint64_t seq, StoreBatch&& batch) override;
  bool congested(ShardIndex shard) const override { return queue_.congested(shard); }
  Result<void> scan(std::string_view first, std::string_view last,
                    const RowVisitor& visit) override;
  Result<std::optional<std::string>> meta_get(std::string_view name) override;
  Result<void> meta_put(std::string_view name, std::string_view value) override;
  bool compact() override {
    stats_.compaction_took_ms = 0;
    return !closed_ && ++stats_.compactions > 0;  // it holds nothing twice
  }
  void set_sync_mode(SyncMode mode) override { mode_ = mode; }
  SyncMode sync_mode() const override { return mode_; }
  Result<void> flush_and_close() override;
  bool clean_start() const override { return clean_start_; }
  StoreStats stats() const override;

 private:
  bool failing();
  void each_shard(void (*tell)(StoreSink&, ShardIndex, const Error&), const Error& error);

  MemoryDisk& disk_;
  StoreSink& sink_;
  WriteQueue queue_;
  SyncMode mode_;
  std::optional<Error> fault_;
  StoreStats stats_;
  bool clean_start_;
  bool closed_ = false;
};

}  // namespace gyre
