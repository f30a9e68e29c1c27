#include "persist/rocks_store.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <utility>
#include <vector>

#include <rocksdb/db.h>
#include <rocksdb/listener.h>
#include <rocksdb/memtablerep.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <sys/file.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/numbers.h"
#include "persist/file_io.h"
#include "persist/wal_check.h"
#include "persist/write_queue.h"

namespace gyre {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr std::string_view meta_first = "\xff:meta:";
constexpr std::string_view meta_last = "\xff:meta;";
constexpr std::string_view format_name = "format";
constexpr std::string_view clean_name = "clean-shutdown";
constexpr milliseconds sync_period{1000};

rocksdb::Slice slice(std::string_view bytes) {
  return {bytes.data(), bytes.size()};
}
std::string_view view(const rocksdb::Slice& bytes) {
  return {bytes.data(), bytes.size()};
}
std::string meta_key(std::string_view name) {
  return std::string(meta_first).append(name);
}

Error damaged(const std::string& directory, const std::string& what) {
  return {Errc::corrupt,
          "the store in " + directory + " is damaged: " + what +
              ". Restore the directory from a backup, or remove it and let the node refill from "
              "its replicas"};
}

Error in_use(const std::string& directory) {
  return {Errc::config, "directory " + directory + " is in use by another process"};
}

Error translate(const rocksdb::Status& status, const std::string& directory) {
  std::string text = status.ToString();
  // A table that is missing is named by the second name it was looked for under.
  if (const auto at = text.find(".ldb"); at != std::string::npos) text.replace(at, 4, ".sst");
  if (status.IsCorruption()) return damaged(directory, text);
  if (status.IsIOError() && text.find("/LOCK") != std::string::npos) return in_use(directory);
  // A file of the database that is not there, or too short to be read.
  if (status.IsPathNotFound() || text.find("No such file") != std::string::npos)
    return damaged(directory, text);
  return {Errc::io, "the store in " + directory + ": " + text};
}

// RocksDB's lines in our log. Its own file LOG is no way out: once a write to it has failed, the
// next one trips an assertion in Debian's library, so that a full disk ended the process.
class OurLog final : public rocksdb::Logger {
 public:
  OurLog() : Logger(rocksdb::InfoLogLevel::WARN_LEVEL) {}
  using Logger::Logv;
  void Logv(const char* format, va_list more) override {
    char line[512];
    std::vsnprintf(line, sizeof line, format, more);
    LOG_VERBOSE("RocksDB: %s", line);  // what matters comes as a status too
  }
  void LogHeader(const char* /*format*/, va_list /*more*/) override {}  // all its options
};

// After an error for lack of space RocksDB goes on by itself as soon as it finds some, on a thread
// of its own. It must not: see try_resume().
class NoRecoveryByItself final : public rocksdb::EventListener {
 public:
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }
};

rocksdb::Options database_options(const RocksStoreOptions& ours) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.listeners.push_back(std::make_shared<NoRecoveryByItself>());
  options.paranoid_checks = true;
  // Which ends of the log are acceptable is decided by check_wals before; see wal_check.h.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.track_and_verify_wals_in_manifest =
      true;  // a closed log that is missing or short is an error
  // What was recovered goes to tables at once: an iterator copies and sorts a vector memtable.
  options.avoid_flush_during_recovery = false;

  options.memtable_factory = std::make_shared<rocksdb::VectorRepFactory>();
  options.allow_concurrent_memtable_write = false;  // a vector takes one writer
  options.write_buffer_size = ours.write_buffer_bytes;
  options.max_write_buffer_number = 3;
  options.max_total_wal_size = ours.log_bytes_max;

  // Tables are read at start and by compaction only: no cache, no filters, few files at the top are
  // no hurry. The young levels are rewritten soon and stay uncompressed.
  rocksdb::BlockBasedTableOptions table;
  table.no_block_cache = true;
  table.block_size = 16 << 10;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.compression_per_level = {rocksdb::kNoCompression, rocksdb::kNoCompression,
                                   rocksdb::kLZ4Compression};
  options.level0_file_num_compaction_trigger = 8;
  options.max_background_jobs = 2;
  options.bytes_per_sync =
      1 << 20;  // writes tables out evenly, so that syncs of the log stay short

  options.info_log = std::make_shared<OurLog>();
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  return options;
}

// Without CURRENT RocksDB takes a directory for an empty one, makes a new database and deletes the
// files of the old one.
Result<void> check_current(const std::string& directory) {
  std::error_code error;
  if (fs::exists(directory + "/CURRENT", error)) return {};
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const auto extension = it->path().extension();
    if (extension == ".sst" || extension == ".log") {
      return damaged(directory,
                     "the file CURRENT is missing beside " + it->path().filename().string());
    }
  }
  if (error) return Error(Errc::io, directory + ": " + error.message());
  return {};
}

// The directory, created if need be, and locked: the lock ends with the descriptor.
Result<Fd> lock_directory(const std::string& directory) {
  const auto failed = [&directory](const char* what) {
    return Error(Errc::io, directory + ": cannot " + what + ": " + std::strerror(errno));
  };
  if (::mkdir(directory.c_str(), 0700) == 0) {
    if ((errno = sync_folder(folder_of(directory))) != 0) return failed("sync the folder above");
  } else if (errno != EEXIST) {
    return failed("create");
  }
  Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return failed("open");
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return in_use(directory);
    return failed("lock");
  }
  return fd;
}

// Threads and what they share:
//   mutex_        queue, stop flags, stats; held for pointer moves only
//   db_mutex_     shared by every call into db_, exclusive while it is opened again
//   write_mutex_  one write at a time: RocksDB would let one thread write another's batch, which
//                 gains nothing here and hides what happens from the thread sanitizer
// Order: db_mutex_, write_mutex_, mutex_.
class RocksStore final : public Store {
 public:
  RocksStore(const RocksStoreOptions& options, StoreSink& sink)
      : options_(options),
        sink_(sink),
        queue_(options.shards, options.waiting_bytes_max),
        mode_(options.sync_mode) {}
  ~RocksStore() override {
    stop_threads(true);
    end_compaction();
    db_.reset();
  }

  Result<void> open();

  bool submit(ShardIndex shard, std::uint64_t seq, StoreBatch&& batch) override;
  bool congested(ShardIndex shard) const override { return queue_.congested(shard); }
  Result<void> scan(std::string_view first, std::string_view last,
                    const RowVisitor& visit) override;
  Result<std::optional<std::string>> meta_get(std::string_view name) override;
  Result<void> meta_put(std::string_view name, std::string_view value) override;
  bool compact() override;
  void set_sync_mode(SyncMode mode) override { mode_.store(mode, std::memory_order_relaxed); }
  SyncMode sync_mode() const override { return mode_.load(std::memory_order_relaxed); }
  Result<void> flush_and_close() override;
  bool clean_start() const override { return clean_start_; }
  StoreStats stats() const override;

 private:
  Error error_of(const rocksdb::Status& status) const {
    return translate(status, options_.directory);
  }
  Result<void> open_database();
  Result<void> load_meta();
  Result<void> check_format();
  rocksdb::Status put_synced(std::string_view name, std::string_view value);
  Result<void> close_database();
  void stop_threads(bool abandon);

  void run_compaction();
  void end_compaction();

  // The storage thread.
  void write_loop();
  bool write_group(WriteQueue::Group& group);
  rocksdb::Status write_once(rocksdb::WriteBatch& batch);
  void flush_after_failed_sync();
  bool wait_to_retry();
  void try_resume();
  void failed(const Error& error);
  void recovered();

  // The thread of `everysec`, and what both do for the log.
  void sync_loop();
  rocksdb::Status sync_log();
  void note_synced(std::uint64_t sequence, std::int64_t began_us);

  const RocksStoreOptions options_;
  StoreSink& sink_;
  const SystemClock clock_;
  Fd lock_;

  mutable std::shared_mutex db_mutex_;
  std::mutex write_mutex_;
  std::unique_ptr<rocksdb::DB> db_;  // null while a failed database could not be opened again
  std::map<std::string, std::string, std::less<>> meta_;  // under mutex_
  bool clean_start_ = false;

  mutable std::mutex mutex_;
  std::condition_variable wake_;       // the storage thread
  std::condition_variable sync_wake_;  // the thread of `everysec`: only to stop
  WriteQueue queue_;
  bool stopping_ = false;  // write what waits, then end
  bool abandon_ = false;   // end at once
  bool sync_failed_ = false;
  bool closed_ = false;
  std::chrono::steady_clock::time_point give_up_at_;  // once stopping_
  StoreStats stats_;

  std::atomic<SyncMode> mode_;
  // A write failed: RocksDB asserts that a log which failed is not synced. Until one succeeds.
  std::atomic<bool> write_failed_{false};
  std::atomic<bool> unsynced_{false};              // written since the last sync
  std::atomic<std::uint64_t> synced_sequence_{0};  // RocksDB's sequence number, for the log's notes
  std::thread writer_;
  std::thread syncer_;
  std::mutex compact_mutex_;  // of compacter_
  std::thread compacter_;
  std::atomic<bool> give_up_compaction_{false};
};

// Opening.

Result<void> RocksStore::open() {
  auto locked = lock_directory(options_.directory);
  if (!locked) return locked.error();
  lock_ = std::move(*locked);
  if (auto opened = open_database(); !opened) return opened;
  if (auto loaded = load_meta(); !loaded) return loaded;
  if (auto known = check_format(); !known) return known;
  if (meta_.erase(std::string(clean_name)) > 0) {
    clean_start_ = true;
    rocksdb::WriteOptions synced;
    synced.sync = true;
    if (auto s = db_->Delete(synced, meta_key(clean_name)); !s.ok()) return error_of(s);
  }
  writer_ = std::thread([this] { write_loop(); });
  syncer_ = std::thread([this] { sync_loop(); });
  return {};
}

Result<void> RocksStore::open_database() {
  if (auto current = check_current(options_.directory); !current) return current;
  if (auto logs = check_wals(options_.directory); !logs) {
    if (logs.error().code == Errc::corrupt) return damaged(options_.directory, logs.error().detail);
    return logs;
  }
  rocksdb::DB* db = nullptr;
  const auto status = rocksdb::DB::Open(database_options(options_), options_.directory, &db);
  db_.reset(db);
  if (!status.ok()) return error_of(status);
  // What was recovered is in tables now, and those are synced.
  synced_sequence_.store(db_->GetLatestSequenceNumber(), std::memory_order_relaxed);
  return {};
}

Result<void> RocksStore::load_meta() {
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions()));
  for (it->Seek(slice(meta_first)); it->Valid() && view(it->key()) < meta_last; it->Next()) {
    meta_.insert_or_assign(std::string(view(it->key()).substr(meta_first.size())),
                           it->value().ToString());
  }
  if (!it->status().ok()) return error_of(it->status());
  return {};
}

Result<void> RocksStore::check_format() {
  const auto found = meta_.find(format_name);
  if (found == meta_.end()) {
    if (auto s = put_synced(format_name, std::to_string(store_format)); !s.ok()) return error_of(s);
    return {};
  }
  const auto format = parse_uint(found->second);
  if (!format) return damaged(options_.directory, "its format number is '" + found->second + "'");
  if (*format == store_format) return {};
  if (*format < store_format) {  // read as it is; from now on written anew
    if (auto s = put_synced(format_name, std::to_string(store_format)); !s.ok()) return error_of(s);
    return {};
  }
  return Error(Errc::config, "the store in " + options_.directory + " has format " +
                                 std::to_string(*format) + ", this program knows formats up to " +
                                 std::to_string(store_format) + ": run the newer version");
}

// Submitting.

bool RocksStore::submit(ShardIndex shard, std::uint64_t seq, StoreBatch&& batch) {
  bool was_empty = false;
  {
    const std::lock_guard guard(mutex_);
    if (stopping_ || closed_) return false;
    was_empty = queue_.empty();
    if (!queue_.push(shard, seq, std::move(batch))) return false;
  }
  // Behind a batch that already waits the thread is awake or about to be: no system call.
  if (was_empty) wake_.notify_one();
  return true;
}

// Writing: the storage thread.

void RocksStore::write_loop() {
  for (;;) {
    WriteQueue::Group group;
    bool sync_failed = false;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return !queue_.empty() || sync_failed_ || stopping_ || abandon_; });
      if (abandon_ || (queue_.empty() && !sync_failed_)) return;
      sync_failed = std::exchange(sync_failed_, false);
      if (!sync_failed) group = queue_.take(options_.group_bytes);
    }
    if (sync_failed) {
      flush_after_failed_sync();
    } else if (!write_group(group)) {
      return;
    }
  }
}

// Writes the group, however often it takes. False when it is given up because the store closes.
bool RocksStore::write_group(WriteQueue::Group& group) {
  StoreBatch joined = group.join();
  joined.note(synced_note(synced_sequence_.load(std::memory_order_relaxed)));
  rocksdb::WriteBatch batch(joined.take());
  for (;;) {
    const auto status = write_once(batch);
    if (status.ok()) break;
    failed(error_of(status));
    if (!wait_to_retry()) return false;
    try_resume();
  }
  {
    const std::lock_guard guard(mutex_);
    queue_.done(group);
    stats_.batches += group.batches.size();
    stats_.writes += 1;
    stats_.bytes += group.bytes;
  }
  recovered();
  for (const WriteQueue::Part& part : group.parts) sink_.persisted(part.shard, part.last_seq);
  return true;
}

rocksdb::Status RocksStore::write_once(rocksdb::WriteBatch& batch) {
  const std::shared_lock shared(db_mutex_);
  if (!db_) return rocksdb::Status::IOError("the database could not be opened again");
  rocksdb::WriteOptions options;
  options.sync = sync_mode() == SyncMode::always;
  const std::int64_t began_us = clock_.steady_us();
  const std::lock_guard one_writer(write_mutex_);
  const auto status = db_->Write(options, &batch);
  write_failed_.store(!status.ok(), std::memory_order_release);
  if (!status.ok()) return status;
  if (options.sync) {
    note_synced(db_->GetLatestSequenceNumber(), began_us);
  } else {
    unsynced_.store(true, std::memory_order_release);
  }
  return status;
}

// After a failed sync nobody knows which pages of the log are on the disk, and syncing again may
// lie. The rows are still in the memtables: a flush puts them into tables, with their own sync.
void RocksStore::flush_after_failed_sync() {
  for (;;) {
    rocksdb::Status status;
    {
      const std::shared_lock shared(db_mutex_);
      status = db_ ? db_->Flush(rocksdb::FlushOptions())
                   : rocksdb::Status::IOError("the database is not open");
    }
    if (status.ok()) return recovered();
    failed(error_of(status));
    if (!wait_to_retry()) return;
    try_resume();
  }
}

// False when the store closes and there is no time left.
bool RocksStore::wait_to_retry() {
  std::unique_lock lock(mutex_);
  const auto until = std::chrono::steady_clock::now() + milliseconds(options_.retry_ms);
  wake_.wait_until(lock, until, [this] { return abandon_; });
  return !abandon_ && !(stopping_ && std::chrono::steady_clock::now() >= give_up_at_);
}

// RocksDB refuses all writes after an error. Its own ways back (Resume, and by itself when space is
// free again) switch to a new log and first flush the one that failed, which an assertion of
// Debian's library forbids; so the database is closed and opened again. Nothing that was reported
// as persisted is lost by that: it is in the log, and recovery moves it to tables.
void RocksStore::try_resume() {
  end_compaction();
  const std::unique_lock exclusive(db_mutex_);
  db_.reset();
  if (auto opened = open_database(); !opened) failed(opened.error());
}

void RocksStore::failed(const Error& error) {
  {
    const std::lock_guard guard(mutex_);
    ++stats_.errors;
    if (std::exchange(stats_.failing, true)) return;
  }
  for (std::size_t i = 0; i < options_.shards; ++i) {
    sink_.store_failing(ShardIndex{static_cast<std::uint16_t>(i)}, error);
  }
}

void RocksStore::recovered() {
  {
    const std::lock_guard guard(mutex_);
    if (!std::exchange(stats_.failing, false)) return;
  }
  for (std::size_t i = 0; i < options_.shards; ++i) {
    sink_.store_recovered(ShardIndex{static_cast<std::uint16_t>(i)});
  }
}

// Syncing.

void RocksStore::sync_loop() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      if (sync_wake_.wait_for(lock, sync_period, [this] { return stopping_ || abandon_; })) return;
    }
    if (write_failed_.load(std::memory_order_acquire)) continue;
    if (sync_mode() == SyncMode::no || !unsynced_.exchange(false, std::memory_order_acquire))
      continue;
    if (sync_log().ok()) continue;
    {
      const std::lock_guard guard(mutex_);
      ++stats_.errors;
      sync_failed_ = true;
    }
    wake_.notify_one();
  }
}

rocksdb::Status RocksStore::sync_log() {
  const std::shared_lock shared(db_mutex_);
  if (!db_) return rocksdb::Status::OK();  // being opened again, which syncs
  // Debian's library has its assertions on: syncing a log whose last write failed ends the process.
  // So no write runs beside a sync, which costs writes the length of one fsync a second.
  const std::lock_guard one_writer(write_mutex_);
  if (write_failed_.load(std::memory_order_acquire)) return rocksdb::Status::OK();
  const std::uint64_t sequence = db_->GetLatestSequenceNumber();
  const std::int64_t began_us = clock_.steady_us();
  const auto status = db_->SyncWAL();
  if (status.ok()) note_synced(sequence, began_us);
  return status;
}

void RocksStore::note_synced(std::uint64_t sequence, std::int64_t began_us) {
  synced_sequence_.store(sequence, std::memory_order_relaxed);
  const std::int64_t took_us = clock_.steady_us() - began_us;
  const std::lock_guard guard(mutex_);
  ++stats_.syncs;
  stats_.last_sync_us = static_cast<std::uint64_t>(took_us);
  stats_.last_sync_ms = clock_.wall_ms();
}

// Reading.

Result<void> RocksStore::scan(std::string_view first, std::string_view last,
                              const RowVisitor& visit) {
  const std::shared_lock shared(db_mutex_);
  if (!db_) return Error(Errc::io, "the store is closed");
  const std::string_view rows_end(&reserved_prefix, 1);
  const rocksdb::Slice end = slice(last.empty() || last > rows_end ? rows_end : last);
  rocksdb::ReadOptions options;
  options.iterate_upper_bound = &end;
  options.readahead_size = 2 << 20;
  options.verify_checksums = true;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options));
  for (it->Seek(slice(first)); it->Valid(); it->Next()) {
    if (!visit(view(it->key()), view(it->value()))) break;
  }
  if (!it->status().ok()) return error_of(it->status());
  return {};
}

Result<std::optional<std::string>> RocksStore::meta_get(std::string_view name) {
  const std::lock_guard guard(mutex_);
  const auto it = meta_.find(name);
  return it == meta_.end() ? std::optional<std::string>() : std::optional(it->second);
}

Result<void> RocksStore::meta_put(std::string_view name, std::string_view value) {
  if (name == format_name || name == clean_name)
    return Error(Errc::config, "the store keeps this name for itself");
  const std::shared_lock shared(db_mutex_);
  if (!db_) return Error(Errc::io, "the store is closed");
  if (auto s = put_synced(name, value); !s.ok()) return error_of(s);
  return {};
}

rocksdb::Status RocksStore::put_synced(std::string_view name, std::string_view value) {
  rocksdb::WriteOptions synced;
  synced.sync = true;
  rocksdb::Status status;
  {
    const std::lock_guard one_writer(write_mutex_);
    status = db_->Put(synced, meta_key(name), slice(value));
  }
  if (!status.ok()) return status;
  const std::lock_guard guard(mutex_);
  meta_.insert_or_assign(std::string(name), std::string(value));
  return status;
}

StoreStats RocksStore::stats() const {
  StoreStats stats;
  {
    const std::lock_guard guard(mutex_);
    stats = stats_;
  }
  stats.waiting_bytes = queue_.waiting_bytes();
  const std::shared_lock shared(db_mutex_, std::try_to_lock);  // not while it is opened again
  if (!shared || !db_) return stats;
  db_->GetIntProperty(rocksdb::DB::Properties::kTotalSstFilesSize, &stats.estimated_bytes);
  db_->GetIntProperty(rocksdb::DB::Properties::kCurSizeAllMemTables, &stats.buffer_bytes);
  db_->GetIntProperty(rocksdb::DB::Properties::kEstimateNumKeys, &stats.estimated_rows);
  stats.estimated_bytes += stats.buffer_bytes;  // about what the logs hold
  return stats;
}

// Compacting. The thread holds db_mutex_ as a reader, so whoever needs the database for itself ends
// it first.

bool RocksStore::compact() {
  const std::lock_guard one(compact_mutex_);
  {
    const std::lock_guard guard(mutex_);
    if (closed_ || stopping_ || stats_.compacting_since_ms != 0) return false;
    stats_.compacting_since_ms = clock_.wall_ms();
  }
  if (compacter_.joinable()) compacter_.join();
  give_up_compaction_ = false;
  compacter_ = std::thread([this] { run_compaction(); });
  return true;
}

void RocksStore::run_compaction() {
  const auto began = clock_.steady_ms();
  rocksdb::Status status = rocksdb::Status::Aborted();
  {
    const std::shared_lock shared(db_mutex_);
    rocksdb::CompactRangeOptions options;
    options.exclusive_manual_compaction = false;
    options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
    options.canceled = &give_up_compaction_;
    if (db_) status = db_->CompactRange(options, nullptr, nullptr);
  }
  if (!status.ok()) LOG_WARNING("the store could not be compacted: %s", status.ToString().c_str());
  const std::lock_guard guard(mutex_);
  stats_.compactions += status.ok();
  stats_.compactions_failed = status.ok() ? 0 : stats_.compactions_failed + 1;
  stats_.compaction_took_ms = clock_.steady_ms() - began;
  stats_.compacting_since_ms = 0;
}

void RocksStore::end_compaction() {
  give_up_compaction_ = true;
  const std::lock_guard one(compact_mutex_);
  if (compacter_.joinable()) compacter_.join();
}

// Closing.

void RocksStore::stop_threads(bool abandon) {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
    abandon_ = abandon;
    give_up_at_ = std::chrono::steady_clock::now() + milliseconds(options_.close_timeout_ms);
  }
  wake_.notify_all();
  sync_wake_.notify_all();
  if (syncer_.joinable()) syncer_.join();
  if (writer_.joinable()) writer_.join();
}

Result<void> RocksStore::flush_and_close() {
  stop_threads(false);
  {
    const std::lock_guard guard(mutex_);
    if (std::exchange(closed_, true)) return {};
  }
  end_compaction();
  const std::unique_lock exclusive(db_mutex_);
  auto done = close_database();
  db_.reset();
  lock_ = Fd();
  return done;
}

// The mark is written last but for the flush, which leaves the next start no log to recover.
Result<void> RocksStore::close_database() {
  if (const std::uint64_t left = queue_.waiting_bytes(); left > 0) {
    return Error(Errc::io, "the store in " + options_.directory + " is closed with " +
                               std::to_string(left) + " bytes that could not be written");
  }
  if (!db_) return Error(Errc::io, "the store in " + options_.directory + " was not open");
  if (auto s = db_->SyncWAL(); !s.ok()) return error_of(s);
  if (auto s = put_synced(clean_name, "1"); !s.ok()) return error_of(s);
  if (auto s = db_->Flush(rocksdb::FlushOptions()); !s.ok()) return error_of(s);
  if (auto s = db_->Close(); !s.ok()) return error_of(s);
  return {};
}

}  // namespace

Result<std::unique_ptr<Store>> open_rocks_store(const RocksStoreOptions& options, StoreSink& sink) {
  auto store = std::make_unique<RocksStore>(options, sink);
  if (auto opened = store->open(); !opened) return opened.error();
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace gyre
