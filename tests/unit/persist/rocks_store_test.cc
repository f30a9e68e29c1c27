#include "persist/rocks_store.h"

#include <execinfo.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <rocksdb/db.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "helpers.h"

namespace gyre {
namespace {

namespace fs = std::filesystem;
using test::files_of;
using test::one_row;
using test::opened;
using test::RecordingSink;
using test::rows_of;
using test::TempFolder;

constexpr ShardIndex s0{0};
constexpr ShardIndex s1{1};

RocksStoreOptions options_in(const std::string& directory, SyncMode mode = SyncMode::no) {
  RocksStoreOptions options;
  options.directory = directory;
  options.shards = 2;
  options.sync_mode = mode;
  options.retry_ms = 50;
  options.close_timeout_ms = 300;
  return options;
}

std::string key_of(std::uint64_t i) {
  char text[32];
  std::snprintf(text, sizeof text, "key:%08llu", static_cast<unsigned long long>(i));
  return text;
}

// Writes rows 1 .. n, one write each, and goes away without a clean shutdown.
void write_and_die(const RocksStoreOptions& options, std::uint64_t n,
                   std::size_t value_bytes = 50) {
  RecordingSink sink;
  auto store = opened(options, sink);
  for (std::uint64_t i = 1; i <= n; ++i) {
    REQUIRE(store->submit(s0, i, one_row(key_of(i), std::string(value_bytes, 'v'))));
    REQUIRE(sink.wait_persisted(0, i));
  }
}

Error open_error(const RocksStoreOptions& options) {
  RecordingSink sink;
  const auto store = open_rocks_store(options, sink);
  REQUIRE_FALSE(store);
  INFO(store.error().detail);
  CHECK(store.error().detail.find(options.directory) != std::string::npos);
  return store.error();
}

// Until that many syncs have been made; false when they take longer than anything would.
bool wait_syncs(const Store& store, std::uint64_t count) {
  for (int i = 0; i < 600 && store.stats().syncs < count; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  return store.stats().syncs == count;
}

bool mentions(const Error& error, const std::string& text) {
  return error.detail.find(text) != std::string::npos;
}

TEST_CASE("rocks store: compacting leaves what is there, and no more") {
  const TempFolder folder;
  RecordingSink sink;
  auto store = opened(options_in(folder / "store"), sink);
  std::uint64_t seq = 0;
  for (int round = 0; round < 20; ++round) {
    StoreBatch batch;
    for (std::uint64_t i = 0; i < 2000; ++i)
      batch.put(key_of(i),
                std::to_string(round) + std::string(500, static_cast<char>('a' + round)));
    REQUIRE(store->submit(s0, ++seq, std::move(batch)));
    REQUIRE(sink.wait_persisted(0, seq));
  }
  StoreBatch erase;
  erase.erase_range(key_of(100), key_of(2000));
  REQUIRE(store->submit(s0, ++seq, std::move(erase)));
  REQUIRE(sink.wait_persisted(0, seq));
  const std::uint64_t before = store->stats().estimated_bytes;
  CHECK(before > 2'000'000);
  REQUIRE(store->compact());
  // Writes go on meanwhile.
  REQUIRE(store->submit(s1, 1, one_row("more", "row")));
  CHECK(sink.wait_persisted(1, 1));
  for (int i = 0; i < 600 && store->stats().compacting_since_ms != 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const StoreStats after = store->stats();
  CHECK(after.compactions == 1);
  CHECK(after.compactions_failed == 0);
  CHECK(after.compaction_took_ms >= 0);
  CHECK(after.estimated_bytes < before / 4);
  CHECK(rows_of(*store).size() == 101);
  // Closing does not wait for one, and none begins afterwards.
  CHECK(store->compact());
  CHECK(store->flush_and_close());
  CHECK_FALSE(store->compact());
  RecordingSink again;
  CHECK(rows_of(*opened(options_in(folder / "store"), again)).size() == 101);
}

TEST_CASE("rocks store: rows, erasures and meta values survive a clean shutdown") {
  const TempFolder folder;
  RecordingSink sink;
  {
    auto store = opened(options_in(folder / "store"), sink);
    CHECK_FALSE(store->clean_start());
    StoreBatch batch;
    for (std::uint64_t i = 0; i < 100; ++i) batch.put(key_of(i), std::to_string(i));
    CHECK(store->submit(s0, 7, std::move(batch)));
    CHECK(sink.wait_persisted(0, 7));
    StoreBatch erase;
    erase.erase(key_of(0));
    erase.erase_range(key_of(10), key_of(20));
    CHECK(store->submit(s1, 1, std::move(erase)));
    CHECK(store->submit(s1, 2, StoreBatch()));
    CHECK(sink.wait_persisted(1, 2));
    CHECK(rows_of(*store).size() == 89);
    CHECK(store->meta_put("ring-epoch", "12"));
    CHECK(*store->meta_get("ring-epoch") == "12");
    CHECK_FALSE(store->meta_get("none")->has_value());
    CHECK_FALSE(store->meta_put("format", "9"));
    CHECK(store->submit(s1, 3, one_row("last", "row")));
    CHECK(store->flush_and_close());
    CHECK(sink.persisted_of(1) == 3);
    CHECK_FALSE(store->submit(s1, 4, one_row("late", "row")));
    CHECK(store->flush_and_close());
  }
  for (const bool clean :
       {true, false}) {  // the second start finds no mark: the first store just dies
    auto store = opened(options_in(folder / "store"), sink);
    CHECK(store->clean_start() == clean);
    CHECK(rows_of(*store).size() == 90);
    CHECK(rows_of(*store, key_of(20), key_of(30)).size() == 10);
    CHECK(*store->meta_get("ring-epoch") == "12");
    CHECK(store->stats().estimated_bytes > 0);
  }
}

TEST_CASE("rocks store: every sync mode, changed while running") {
  const TempFolder folder;
  RecordingSink sink;
  auto store = opened(options_in(folder / "store", SyncMode::always), sink);
  CHECK(store->submit(s0, 1, one_row("a", "1")));
  CHECK(sink.wait_persisted(0, 1));
  CHECK(store->stats().syncs == 1);
  CHECK(store->stats().last_sync_ms > 0);
  store->set_sync_mode(SyncMode::no);
  CHECK(store->sync_mode() == SyncMode::no);
  CHECK(store->submit(s0, 2, one_row("b", "1")));
  CHECK(sink.wait_persisted(0, 2));
  CHECK(store->stats().syncs == 1);
  store->set_sync_mode(SyncMode::everysec);
  CHECK(wait_syncs(*store, 2));
}

TEST_CASE("rocks store: a second open of the directory is refused") {
  const TempFolder folder;
  RecordingSink sink;
  auto store = opened(options_in(folder / "store"), sink);
  const Error error = open_error(options_in(folder / "store"));
  CHECK(error.code == Errc::config);
  CHECK(mentions(error, "in use by another process"));
  CHECK(store->flush_and_close());
  CHECK(open_rocks_store(options_in(folder / "store"), sink));
}

TEST_CASE("rocks store: RocksDB's own lock is translated too") {
  const TempFolder folder;
  rocksdb::Options plain;
  plain.create_if_missing = true;
  rocksdb::DB* db = nullptr;
  REQUIRE(rocksdb::DB::Open(plain, folder / "store", &db).ok());
  CHECK(mentions(open_error(options_in(folder / "store")), "in use by another process"));
  delete db;
}

TEST_CASE("rocks store: a newer format is refused with both numbers") {
  const TempFolder folder;
  RecordingSink sink;
  CHECK(opened(options_in(folder / "store"), sink)->flush_and_close());
  rocksdb::DB* db = nullptr;
  REQUIRE(rocksdb::DB::Open(rocksdb::Options(), folder / "store", &db).ok());
  CHECK(db->Put(rocksdb::WriteOptions(), "\xff:meta:format", "977").ok());
  delete db;
  const Error error = open_error(options_in(folder / "store"));
  CHECK(error.code == Errc::config);
  CHECK(mentions(error, "977"));
  CHECK(mentions(error, "up to " + std::to_string(store_format)));
}

// The log.

TEST_CASE("rocks store: a torn end of the log is cut, wherever it is torn") {
  for (const std::size_t cut : {1u, 7u, 40u, 100u}) {
    const TempFolder folder;
    const auto options = options_in(folder / "store", SyncMode::always);
    write_and_die(options, 20);
    const auto logs = files_of(options.directory, ".log");
    REQUIRE(logs.size() == 1);
    fs::resize_file(logs[0], fs::file_size(logs[0]) - cut);
    RecordingSink sink;
    for (int start = 0; start < 2; ++start) {
      auto store = opened(options, sink);
      CHECK(rows_of(*store).size() == 19);
    }
  }
  for (const bool zeros :
       {true, false}) {  // sectors of the last record that never reached the disk
    const TempFolder folder;
    const auto options = options_in(folder / "store", SyncMode::always);
    write_and_die(options, 20, 5000);
    const std::string log = files_of(options.directory, ".log").at(0);
    std::string bytes = test::read_file(log);
    bytes.replace(bytes.size() - 1000, 512, std::string(512, zeros ? '\0' : '\x9d'));
    test::write_file(log, bytes);
    RecordingSink sink;
    auto store = opened(options, sink);
    CHECK(rows_of(*store).size() == 19);
    CHECK(store->submit(s0, 1, one_row("after", "it")));
    CHECK(sink.wait_persisted(0, 1));
    store.reset();
    CHECK(rows_of(*opened(options, sink)).size() == 20);
  }
}

TEST_CASE("rocks store: damage to what had been synced is an error") {
  for (const double where : {0.1, 0.5, 0.9}) {
    const TempFolder folder;
    const auto options = options_in(folder / "store", SyncMode::always);
    write_and_die(options, 100, 1000);  // several blocks of the log
    const std::string log = files_of(options.directory, ".log").at(0);
    test::flip_byte(log, static_cast<std::size_t>(where * static_cast<double>(fs::file_size(log))));
    for (int start = 0; start < 2; ++start) {  // and it stays one
      const Error error = open_error(options);
      CHECK(error.code == Errc::corrupt);
      CHECK(mentions(error, log));
      CHECK(mentions(error, "offset"));
      CHECK(mentions(error, "backup"));
    }
  }
}

TEST_CASE("rocks store: a hole in what was never synced cuts the log there") {
  const TempFolder folder;
  const auto options = options_in(folder / "store", SyncMode::no);
  write_and_die(options, 100, 1000);
  const std::string log = files_of(options.directory, ".log").at(0);
  test::flip_byte(log, 50'000);
  RecordingSink sink;
  auto store = opened(options, sink);
  const auto rows = rows_of(*store);
  CHECK(rows.size() > 40);
  CHECK(rows.size() < 60);
  CHECK(rows.rbegin()->first == key_of(rows.size()));  // a prefix: nothing from behind the hole
}

TEST_CASE("rocks store: every second's sync is a promise too") {
  const TempFolder folder;
  const auto options = options_in(folder / "store", SyncMode::everysec);
  {
    RecordingSink sink;
    auto store = opened(options, sink);
    // The mode says which rows the sync is about, however long the writes take.
    store->set_sync_mode(SyncMode::no);
    for (std::uint64_t i = 1; i <= 100; ++i) {
      REQUIRE(store->submit(s0, i, one_row(key_of(i), std::string(1000, 'v'))));
      REQUIRE(sink.wait_persisted(0, i));
    }
    store->set_sync_mode(SyncMode::everysec);
    REQUIRE(wait_syncs(*store, 1));
    store->set_sync_mode(SyncMode::no);
    for (std::uint64_t i = 101; i <= 200; ++i) {
      REQUIRE(store->submit(s0, i, one_row(key_of(i), std::string(1000, 'v'))));
      REQUIRE(sink.wait_persisted(0, i));
    }
  }
  const std::string log = files_of(options.directory, ".log").at(0);
  const std::string whole = test::read_file(log);
  test::flip_byte(log, 50'000);  // synced
  CHECK(open_error(options).code == Errc::corrupt);
  test::write_file(log, whole);
  test::flip_byte(log, 150'000);  // not yet
  RecordingSink sink;
  CHECK(rows_of(*opened(options, sink)).size() >= 100);
}

// The other files.

void make_tables(const RocksStoreOptions& options) {
  RecordingSink sink;
  auto store = opened(options, sink);
  StoreBatch batch;
  Random random(3);
  for (std::uint64_t i = 0; i < 20'000; ++i) batch.put(key_of(i), std::to_string(random.next()));
  CHECK(store->submit(s0, 1, std::move(batch)));
  CHECK(store->flush_and_close());
}

TEST_CASE("rocks store: a damaged table is an error of open or scan") {
  for (const double where : {0.02, 0.5, 0.999}) {
    const TempFolder folder;
    const auto options = options_in(folder / "store");
    make_tables(options);
    const std::string table = files_of(options.directory, ".sst").at(0);
    test::flip_byte(table,
                    static_cast<std::size_t>(where * static_cast<double>(fs::file_size(table))));
    RecordingSink sink;
    auto store = open_rocks_store(options, sink);
    Result<void> scanned;
    if (store)
      scanned = (*store)->scan("", "", [](std::string_view, std::string_view) { return true; });
    REQUIRE((!store || !scanned));
    const Error& error = store ? scanned.error() : store.error();
    CHECK(error.code == Errc::corrupt);
    CHECK(mentions(error, fs::path(table).filename().string()));
    CHECK(mentions(error, "backup"));
  }
}

TEST_CASE("rocks store: missing or damaged CURRENT, MANIFEST and tables are errors") {
  const auto broken = [](auto&& harm) {
    const TempFolder folder;
    const auto options = options_in(folder / "store");
    make_tables(options);
    harm(options.directory);
    const Error error = open_error(options);
    CHECK(error.code == Errc::corrupt);
    return error;
  };
  CHECK(mentions(broken([](const std::string& dir) { fs::remove(dir + "/CURRENT"); }), "CURRENT"));
  CHECK(
      mentions(broken([](const std::string& dir) { test::write_file(dir + "/CURRENT", "MANIF"); }),
               "CURRENT"));
  CHECK(mentions(broken([](const std::string& dir) { test::write_file(dir + "/CURRENT", ""); }),
                 "CURRENT"));
  CHECK(mentions(broken([](const std::string& dir) {
                   test::write_file(dir + "/CURRENT", "MANIFEST-999999\n");
                 }),
                 "MANIFEST"));
  CHECK(mentions(broken([](const std::string& dir) {
                   for (const auto& entry : fs::directory_iterator(dir)) {
                     const std::string path = entry.path().string();
                     if (path.find("MANIFEST") != std::string::npos)
                       test::flip_byte(path, fs::file_size(path) / 2);
                   }
                 }),
                 "MANIFEST"));
  CHECK(mentions(broken([](const std::string& dir) { fs::remove(files_of(dir, ".sst").at(0)); }),
                 ".sst"));
}

// Writes that fail.

TEST_CASE("rocks store: a failing disk is waited for, and nothing is dropped") {
  const TempFolder folder;
  signal(SIGXFSZ, SIG_IGN);  // a file beyond the limit is then an error of write(2), EFBIG
  rlimit normal{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &normal) == 0);
  RecordingSink sink;
  auto options = options_in(folder / "store");
  auto store = opened(options, sink);
  CHECK(store->submit(s0, 1, one_row("before", "1")));
  CHECK(sink.wait_persisted(0, 1));

  rlimit tight = normal;
  tight.rlim_cur = 100'000;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &tight) == 0);
  // Each row alone is beyond the limit: what fits into a new log would be written there, and the
  // store would have recovered and failed again by the time it is looked at.
  std::uint64_t seq = 1;
  for (int i = 0; i < 4; ++i) {
    ++seq;
    CHECK(store->submit(s0, seq, one_row(key_of(seq), std::string(150'000, 'v'))));
  }
  CHECK(sink.wait_failing(2));
  for (int i = 0; i < 5; ++i)
    CHECK(store->submit(s1, static_cast<std::uint64_t>(i + 1),
                        one_row("b" + std::to_string(i), "x")));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(sink.persisted_of(0) < seq);
  CHECK(store->stats().failing);
  CHECK(store->stats().errors >= 1);
  CHECK(sink.failing() == 2);
  CHECK(sink.recovered() == 0);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &normal) == 0);

  CHECK(sink.wait_persisted(0, seq));
  CHECK(sink.wait_persisted(1, 5));
  CHECK(sink.wait_recovered(2));
  CHECK_FALSE(store->stats().failing);
  CHECK(rows_of(*store).size() == seq + 5);
  store.reset();
  CHECK(rows_of(*opened(options, sink)).size() == seq + 5);
}

TEST_CASE("rocks store: closing a failing store ends, and leaves no mark") {
  const TempFolder folder;
  signal(SIGXFSZ, SIG_IGN);
  rlimit normal{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &normal) == 0);
  RecordingSink sink;
  auto options = options_in(folder / "store");
  options.waiting_bytes_max = 100'000;
  {
    auto store = opened(options, sink);
    rlimit tight = normal;
    tight.rlim_cur = 60'000;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &tight) == 0);
    std::uint64_t seq = 0;
    while (store->submit(s0, seq + 1, one_row(key_of(seq), std::string(20'000, 'v')))) ++seq;
    CHECK(store->congested(s0));
    const auto closed = store->flush_and_close();
    REQUIRE(setrlimit(RLIMIT_FSIZE, &normal) == 0);
    REQUIRE_FALSE(closed);
    CHECK(closed.error().code == Errc::io);
  }
  CHECK_FALSE(opened(options, sink)->clean_start());
}

TEST_CASE("persist child: full disk" * doctest::skip()) {
  // RocksDB's assertions are on in Debian's library: say where one failed.
  signal(SIGABRT, [](int) {
    void* frames[40];
    backtrace_symbols_fd(frames, backtrace(frames, 40), 2);
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
  });
  const TempFolder folder;
  const std::string mount_point = folder / "disk";
  fs::create_directory(mount_point);
  // A mount that only this process sees, and that goes away with it.
  if (unshare(CLONE_NEWNS) != 0 ||
      mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("tmpfs", mount_point.c_str(), "tmpfs", 0, "size=16m") != 0) {
    _exit(77);
  }
  RecordingSink sink;
  auto options = options_in(mount_point + "/store", SyncMode::always);
  options.write_buffer_bytes = 1 << 20;
  auto store = opened(options, sink);
  test::write_file(mount_point + "/filler", std::string(13 << 20, 'x'));
  std::uint64_t seq = 0;
  for (int i = 0; i < 100; ++i) {
    ++seq;
    CHECK(store->submit(s0, seq, one_row(key_of(seq), std::string(40'000, 'v'))));
  }
  CHECK(sink.wait_failing(2));
  CHECK(sink.last_error().find("No space") != std::string::npos);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  // Opening again frees the space of a log: some rows may have gone through, and the rest failed
  // once more.
  CHECK(sink.failing() >= 2);
  fs::remove(mount_point + "/filler");
  CHECK(sink.wait_persisted(0, seq));
  CHECK(sink.wait_recovered(2));
  CHECK(rows_of(*store).size() == seq);
  store.reset();
  store = opened(options, sink);
  CHECK(rows_of(*store).size() == seq);
  store.reset();
  umount(mount_point.c_str());
}

TEST_CASE("rocks store: a full disk is waited for") {
  const pid_t pid = test::start_child("persist child: full disk");
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) {
    MESSAGE("no right to mount: not tried");
  } else {
    CHECK(WEXITSTATUS(status) == 0);
  }
}

// kill -9.

class PipeSink final : public StoreSink {
 public:
  explicit PipeSink(int fd) : fd_(fd) {}
  void persisted(ShardIndex, std::uint64_t seq) noexcept override {
    if (::write(fd_, &seq, sizeof seq) != sizeof seq) _exit(1);
  }
  void store_failing(ShardIndex, const Error&) noexcept override { _exit(1); }
  void store_recovered(ShardIndex) noexcept override {}

 private:
  int fd_;
};

TEST_CASE("persist child: writes until it is killed" * doctest::skip()) {
  const char* directory = std::getenv("GYRE_PERSIST_DIR");
  const char* fd = std::getenv("GYRE_PERSIST_FD");
  const char* mode = std::getenv("GYRE_PERSIST_MODE");
  if (directory == nullptr || fd == nullptr || mode == nullptr) return;
  PipeSink sink(std::atoi(fd));
  auto options = options_in(directory, static_cast<SyncMode>(std::atoi(mode)));
  options.write_buffer_bytes = 256 << 10;  // flushes, too
  options.waiting_bytes_max = 20'000;
  auto store = opened(options, sink);
  for (std::uint64_t seq = 1;;) {
    StoreBatch batch;
    for (int i = 0; i < 10; ++i)
      batch.put(key_of(seq) + "." + std::to_string(i), std::string(50, 'v'));
    if (store->submit(s0, seq, std::move(batch))) {
      ++seq;
    } else {
      std::this_thread::yield();
    }
  }
}

TEST_CASE("rocks store: kill -9 loses nothing that was reported") {
  for (const SyncMode mode : {SyncMode::no, SyncMode::everysec, SyncMode::always}) {
    const TempFolder folder;
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    setenv("GYRE_PERSIST_DIR", (folder / "store").c_str(), 1);
    setenv("GYRE_PERSIST_FD", std::to_string(ends[1]).c_str(), 1);
    setenv("GYRE_PERSIST_MODE", std::to_string(static_cast<int>(mode)).c_str(), 1);
    const pid_t pid = test::start_child("persist child: writes until it is killed");
    close(ends[1]);
    std::uint64_t reported = 0;
    int reports = 0;
    while (reports < 60 && ::read(ends[0], &reported, sizeof reported) == sizeof reported)
      ++reports;
    CHECK(reports == 60);
    REQUIRE(kill(pid, SIGKILL) == 0);
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status));
    std::uint64_t more = 0;
    while (::read(ends[0], &more, sizeof more) == sizeof more) reported = more;
    close(ends[0]);

    RecordingSink sink;
    auto store = opened(options_in(folder / "store"), sink);
    CHECK_FALSE(store->clean_start());
    const auto rows = rows_of(*store);
    CHECK(rows.size() >= reported * 10);
    CHECK(rows.size() % 10 == 0);  // each batch as a whole
    CHECK(rows.rbegin()->first == key_of(rows.size() / 10) + ".9");
    MESSAGE("reported ", reported, " batches, found ", rows.size() / 10);
  }
}

TEST_CASE("rocks store: shards, meta values and modes at once") {
  const TempFolder folder;
  RecordingSink sink;
  auto options = options_in(folder / "store", SyncMode::always);
  options.shards = 4;
  options.waiting_bytes_max = 20'000;
  options.write_buffer_bytes = 256 << 10;
  auto store = opened(options, sink);
  constexpr std::uint64_t batches = 2000;
  std::vector<std::thread> threads;
  for (std::uint16_t shard = 0; shard < 4; ++shard) {
    threads.emplace_back([&, shard] {
      for (std::uint64_t seq = 1; seq <= batches;) {
        const std::string key = std::to_string(shard) + key_of(seq);
        StoreBatch batch = one_row(key, std::string(200, 'v'));
        if (store->congested(ShardIndex{shard}) ||
            !store->submit(ShardIndex{shard}, seq, std::move(batch))) {
          std::this_thread::yield();
          continue;
        }
        ++seq;
      }
    });
  }
  for (int i = 0; i < 30; ++i) {
    CHECK(store->meta_put("turn", std::to_string(i)));
    CHECK(store->stats().errors == 0);
    store->set_sync_mode(static_cast<SyncMode>(i % 3));
  }
  for (auto& thread : threads) thread.join();
  CHECK(store->flush_and_close());
  for (unsigned shard = 0; shard < 4; ++shard) CHECK(sink.persisted_of(shard) == batches);
  CHECK(rows_of(*opened(options, sink)).size() == 4 * batches);
}

// Figures; run with -tc="persist figures*" --no-skip.

double cpu_us() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto us = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_usec);
  };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

TEST_CASE("persist figures: CPU of a put, time of a scan" * doctest::skip()) {
  const SystemClock clock;
  for (const std::uint64_t batch_rows : {1u, 16u, 100u, 1000u}) {
    const TempFolder folder;
    const std::uint64_t rows = batch_rows == 1 ? 200'000 : 1'000'000;
    const std::string value(44, 'v');
    RecordingSink sink;
    std::int64_t began = 0;
    {
      auto store = opened(options_in(folder / "store", SyncMode::everysec), sink);
      const double cpu = cpu_us();
      began = clock.steady_us();
      std::uint64_t seq = 0;
      Random random(5);
      for (std::uint64_t i = 0; i < rows;) {
        StoreBatch batch;
        for (std::uint64_t n = 0; n < batch_rows; ++n, ++i) {
          char key[16];
          const std::uint64_t parts[2] = {random.next() & 0x3fffffffffffffffu, i};
          std::memcpy(key, parts, 16);
          key[0] = static_cast<char>(key[0] & 0x3f);
          batch.put({key, 16}, value);
        }
        ++seq;
        while (!store->submit(s0, seq, std::move(batch))) std::this_thread::yield();
        if (batch_rows > 1 && seq % 8 == 0)
          sink.wait_persisted(0, seq);  // as a loop that has clients to wait for
      }
      sink.wait_persisted(0, seq);
      std::printf("batch %4llu: %.3f us CPU a put, all threads; %.0f k rows/s\n",
                  static_cast<unsigned long long>(batch_rows),
                  (cpu_us() - cpu) / static_cast<double>(rows),
                  static_cast<double>(rows) * 1e3 / static_cast<double>(clock.steady_us() - began));
    }
    began = clock.steady_us();
    auto store = opened(options_in(folder / "store"), sink);
    const std::int64_t open_us = clock.steady_us() - began;
    began = clock.steady_us();
    std::uint64_t seen = 0;
    CHECK(store->scan("", "", [&](std::string_view, std::string_view) { return ++seen > 0; }));
    std::printf("  open after a kill %.3f s, scan of %llu rows %.3f s\n",
                static_cast<double>(open_us) / 1e6, static_cast<unsigned long long>(seen),
                static_cast<double>(clock.steady_us() - began) / 1e6);
    CHECK(store->flush_and_close());
    store.reset();
    began = clock.steady_us();
    store = opened(options_in(folder / "store"), sink);
    std::printf("  open after a clean shutdown %.3f s\n",
                static_cast<double>(clock.steady_us() - began) / 1e6);
  }
}

}  // namespace
}  // namespace gyre
