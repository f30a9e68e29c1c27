#include "persist/memory_store.h"

#include <utility>

namespace gyre {

void MemoryDisk::apply(const StoreBatch& batch, Rows& rows) {
  batch.for_each([&rows](const StoreBatch::Record& record) {
    switch (record.kind) {
      case StoreBatch::Kind::put:
        rows.insert_or_assign(std::string(record.key), std::string(record.value));
        break;
      case StoreBatch::Kind::erase:
        if (const auto it = rows.find(record.key); it != rows.end()) rows.erase(it);
        break;
      case StoreBatch::Kind::erase_range:
        rows.erase(rows.lower_bound(record.key), rows.lower_bound(record.value));
        break;
      case StoreBatch::Kind::note:
        break;
    }
  });
}

void MemoryDisk::write(StoreBatch&& batch) {
  apply(batch, rows_);
  unsynced_.push_back(std::move(batch));
}

void MemoryDisk::sync() {
  for (const StoreBatch& batch : unsynced_) apply(batch, synced_);
  unsynced_.clear();
}

void MemoryDisk::power_cut(std::size_t kept) {
  if (kept >= unsynced_.size()) return;
  unsynced_.resize(kept);
  rows_ = synced_;
  for (const StoreBatch& batch : unsynced_) apply(batch, rows_);
}

bool MemoryDisk::tear_last() {
  if (unsynced_.empty()) return false;
  power_cut(unsynced_.size() - 1);
  return true;
}

MemoryStore::MemoryStore(MemoryDisk& disk, std::size_t shards, StoreSink& sink, SyncMode mode,
                         std::uint64_t limit_bytes)
    : disk_(disk),
      sink_(sink),
      queue_(shards, limit_bytes),
      mode_(mode),
      clean_start_(std::exchange(disk.clean_, false)) {}

void MemoryStore::each_shard(void (*tell)(StoreSink&, ShardIndex, const Error&),
                             const Error& error) {
  for (std::size_t i = 0; i < queue_.shards(); ++i)
    tell(sink_, ShardIndex{static_cast<std::uint16_t>(i)}, error);
}

// Notes a write's outcome as the fault says; tells the sink when it changes.
bool MemoryStore::failing() {
  if (fault_) {
    ++stats_.errors;
    if (std::exchange(stats_.failing, true)) return true;
    each_shard([](StoreSink& sink, ShardIndex shard,
                  const Error& error) { sink.store_failing(shard, error); },
               *fault_);
    return true;
  }
  if (std::exchange(stats_.failing, false)) {
    each_shard([](StoreSink& sink, ShardIndex shard, const Error&) { sink.store_recovered(shard); },
               Error(Errc::io));
  }
  return false;
}

bool MemoryStore::step(std::uint64_t max_bytes) {
  if (closed_ || queue_.empty() || failing()) return false;
  WriteQueue::Group group = queue_.take(max_bytes);
  stats_.batches += group.batches.size();
  stats_.writes += 1;
  stats_.bytes += group.bytes;
  disk_.write(group.join());
  if (mode_ == SyncMode::always) disk_.sync();
  queue_.done(group);
  for (const WriteQueue::Part& part : group.parts) sink_.persisted(part.shard, part.last_seq);
  return true;
}

void MemoryStore::sync() {
  if (closed_ || fault_) return;
  disk_.sync();
  ++stats_.syncs;
}

bool MemoryStore::submit(ShardIndex shard, std::uint64_t seq, StoreBatch&& batch) {
  return !closed_ && queue_.push(shard, seq, std::move(batch));
}

Result<void> MemoryStore::scan(std::string_view first, std::string_view last,
                               const RowVisitor& visit) {
  const MemoryDisk::Rows view = disk_.rows_;  // the visitor may write
  const std::string_view rows_end(&reserved_prefix, 1);
  const std::string_view end = last.empty() || last > rows_end ? rows_end : last;
  for (auto it = view.lower_bound(first); it != view.end() && it->first < end; ++it) {
    if (!visit(it->first, it->second)) break;
  }
  return {};
}

Result<std::optional<std::string>> MemoryStore::meta_get(std::string_view name) {
  const auto it = disk_.meta_.find(name);
  return it == disk_.meta_.end() ? std::optional<std::string>() : std::optional(it->second);
}

Result<void> MemoryStore::meta_put(std::string_view name, std::string_view value) {
  if (fault_) return *fault_;
  if (closed_) return Error(Errc::io, "the store is closed");
  disk_.meta_.insert_or_assign(std::string(name), std::string(value));
  return {};
}

Result<void> MemoryStore::flush_and_close() {
  if (closed_) return {};
  while (step()) {
  }
  closed_ = true;
  if (fault_) return *fault_;
  disk_.sync();
  disk_.clean_ = true;
  return {};
}

StoreStats MemoryStore::stats() const {
  StoreStats stats = stats_;
  stats.waiting_bytes = queue_.waiting_bytes();
  stats.estimated_rows = disk_.rows_.size();
  return stats;
}

}  // namespace gyre
