// What the tests of persist share: a folder that goes away, a sink that remembers, a child process.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <sys/wait.h>

#include "persist/rocks_store.h"
#include "persist/store.h"

namespace gyre::test {

class TempFolder {
 public:
  TempFolder() {
    char name[] = "/tmp/gyre-persist-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path_ = name;
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

class RecordingSink final : public StoreSink {
 public:
  void persisted(ShardIndex shard, std::uint64_t seq) noexcept override {
    const std::lock_guard guard(mutex_);
    persisted_[shard.value] = seq;
    changed_.notify_all();
  }
  void store_failing(ShardIndex, const Error& error) noexcept override {
    const std::lock_guard guard(mutex_);
    ++failing_;
    last_error_ = std::string(error.text());
    changed_.notify_all();
  }
  void store_recovered(ShardIndex) noexcept override {
    const std::lock_guard guard(mutex_);
    ++recovered_;
    changed_.notify_all();
  }

  bool wait_persisted(unsigned shard, std::uint64_t seq) {
    return wait([&] { return persisted_[shard] >= seq; });
  }
  bool wait_failing(int count) {
    return wait([&] { return failing_ >= count; });
  }
  bool wait_recovered(int count) {
    return wait([&] { return recovered_ >= count; });
  }
  std::uint64_t persisted_of(unsigned shard) {
    const std::lock_guard guard(mutex_);
    return persisted_[shard];
  }
  int failing() {
    const std::lock_guard guard(mutex_);
    return failing_;
  }
  int recovered() {
    const std::lock_guard guard(mutex_);
    return recovered_;
  }
  std::string last_error() {
    const std::lock_guard guard(mutex_);
    return last_error_;
  }

 private:
  template <class Condition>
  bool wait(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), condition);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<unsigned, std::uint64_t> persisted_;
  int failing_ = 0;
  int recovered_ = 0;
  std::string last_error_;
};

inline StoreBatch one_row(std::string_view key, std::string_view value) {
  StoreBatch batch;
  batch.put(key, value);
  return batch;
}

inline std::map<std::string, std::string> rows_of(Store& store, std::string_view first = {},
                                                  std::string_view last = {}) {
  std::map<std::string, std::string> rows;
  const auto done = store.scan(first, last, [&](std::string_view key, std::string_view value) {
    rows.emplace(key, value);
    return true;
  });
  CHECK(done);
  return rows;
}

inline std::unique_ptr<Store> opened(const RocksStoreOptions& options, StoreSink& sink) {
  auto store = open_rocks_store(options, sink);
  if (!store) FAIL(std::string(store.error().text()));
  return std::move(*store);
}

inline std::vector<std::string> files_of(const std::string& folder, const std::string& extension) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == extension) files.push_back(entry.path().string());
  }
  return files;
}

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}
inline void flip_byte(const std::string& path, std::size_t offset) {
  std::string bytes = read_file(path);
  REQUIRE(offset < bytes.size());
  bytes[offset] = static_cast<char>(bytes[offset] ^ 0x55);
  write_file(path, bytes);
}

// Starts this program again for one (skipped) test case. RocksDB's threads do not survive a bare
// fork, so it is fork and exec.
inline pid_t start_child(const std::string& test_case) {
  const std::string filter = "-tc=" + test_case;
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, STDOUT_FILENO);
    ::execl("/proc/self/exe", "gyre-tests", filter.c_str(), "--no-skip",
            static_cast<char*>(nullptr));
    ::_exit(127);
  }
  return pid;
}

}  // namespace gyre::test
