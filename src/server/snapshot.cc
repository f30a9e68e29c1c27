#include "server/snapshot.h"

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include <sys/wait.h>

#include "base/log.h"
#include "commands/dump.h"
#include "config/config.h"
#include "persist/file_io.h"
#include "rdb/file.h"
#include "server/server.h"
#include "server/version.h"

namespace gyre {
namespace {

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

Result<void> Snapshots::begin(Done done) {
  const std::lock_guard lock(mutex_);
  const std::string folder = server_.config().dir.get();
  path_ = folder + "/" + server_.config().dbfilename.get();
  beside_ = folder + "/temp-" + std::to_string(::getpid()) + ".rdb";
  if (auto forked = fork_for([this] { return write_named(); }, -1, std::move(done)); !forked) {
    state_.failed = true;
    return forked;
  }
  LOG_NOTICE("a snapshot is written to %s by process %d", path_.c_str(), static_cast<int>(child_));
  return {};
}

Result<void> Snapshots::begin_into(int fd, Content content, Done done) {
  const std::lock_guard lock(mutex_);
  path_.clear();
  return fork_for([=, this] { return write_into(fd, content); }, fd, std::move(done));
}

// The child ends with what `child` returns; of the descriptors it has keep_fd alone, so that the
// parent's ports are free when that ends first.
Result<void> Snapshots::fork_for(const std::function<int()>& child, int keep_fd, Done done) {
  GYRE_ASSERT(!running());
  begun_ms_ = server_.clock().wall_ms();
  begun_changes_ = changes();
  libraries_ = server_.scripts.libraries();
  names_ = server_.command_options().databases;
  const auto before = std::chrono::steady_clock::now();
  const pid_t forked = ::fork();
  if (forked < 0)
    return Error(Errc::err, std::string("no process for the snapshot: ") + std::strerror(errno));
  if (forked == 0) {
    if (keep_fd > 3) ::close_range(3, static_cast<unsigned>(keep_fd) - 1, 0);
    ::close_range(static_cast<unsigned>(std::max(3, keep_fd + 1)), ~0u, 0);
    ::_exit(child());
  }
  state_.fork_us = std::chrono::duration_cast<std::chrono::microseconds>(
                       std::chrono::steady_clock::now() - before)
                       .count();
  ++state_.forks;
  child_ = forked;
  done_ = std::move(done);
  running_.store(true, std::memory_order_release);
  return {};
}

// ---- in the child: 0, or the errno value of what failed

int Snapshots::write_named() const {
  errno = 0;
  const auto failed = [] { return errno ? errno : EIO; };
  Fd file(::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file) return failed();
  int error = write_into(file.get(), {});
  if (error == 0 && ::fsync(file.get()) != 0) error = failed();
  if (error != 0) {
    ::unlink(beside_.c_str());
    return error;
  }
  if (::rename(beside_.c_str(), path_.c_str()) != 0) return failed();
  return sync_folder(folder_of(path_));
}

int Snapshots::write_into(int fd, Content content) const {
  const UnixMs now = begun_ms_;
  errno = 0;
  rdb::FileWriter out([&](std::string_view bytes) { return write_all(fd, bytes); });
  out.note("redis-ver", redis_version);
  out.note("redis-bits", "64");
  out.note("ctime", std::to_string(now / 1000));
  out.note("aof-base", "0");
  if (content.functions) {
    for (const auto& [name, library] : libraries_->by_name) out.function(library->code);
  }
  const std::size_t databases = content.keys ? server_.worker({0}).space().databases() : 0;
  for (std::size_t i = 0; i < databases && out.ok(); ++i) {
    const DbIndex db = names_.lies(i);
    std::uint64_t keys = 0, expiring = 0;
    for (std::size_t w = 0; w < server_.shards(); ++w) {
      const DbCounts& counts = server_.worker({static_cast<std::uint16_t>(w)}).space().counts(db);
      keys += counts.keys;
      expiring += counts.expires;
    }
    if (keys == 0) continue;
    out.database(i, keys, expiring);
    for (std::size_t w = 0; w < server_.shards(); ++w) {
      server_.worker({static_cast<std::uint16_t>(w)}).space().for_each_of(db, [&](Node& n) {
        if (!record_live(n) || record_expired(n, now)) return;
        const KeyRef key{.key = n.key(), .node = &n, .visible = true};
        out.key(key.key, key.expires_at(), value_of(key));
      });
    }
  }
  return out.finish() ? 0 : errno ? errno : EIO;
}

// ---- in the parent

void Snapshots::poll() {
  if (!running()) return;
  Done done;
  Result<void> result;
  {
    const std::lock_guard lock(mutex_);
    int status = 0;
    if (::waitpid(child_, &status, WNOHANG) != child_) return;
    const std::int64_t took = (server_.clock().wall_ms() - begun_ms_) / 1000;
    child_ = 0;
    libraries_.reset();
    const bool named = !path_.empty();
    if (named) {
      state_.failed = status != 0;
      state_.took_s = took;
    }
    if (status == 0 && named) {
      state_.saved_ms = begun_ms_;
      state_.saved_changes = begun_changes_;
      ++state_.saves;
      LOG_NOTICE("the snapshot %s is there", path_.c_str());
    } else if (status != 0) {
      if (named) ::unlink(beside_.c_str());
      const std::string why =
          WIFEXITED(status) ? std::strerror(WEXITSTATUS(status))
                            : "its process was ended by signal " + std::to_string(WTERMSIG(status));
      result = Error(Errc::err, "the snapshot could not be written: " + why);
      LOG_WARNING("the snapshot %s could not be written: %s", path_.c_str(), why.c_str());
    }
    done = std::exchange(done_, {});
    running_.store(false, std::memory_order_release);
  }
  if (done) done(result);
}

void Snapshots::stop() {
  const std::lock_guard lock(mutex_);
  if (child_ <= 0) return;
  ::kill(child_, SIGKILL);
  ::waitpid(child_, nullptr, 0);
  if (!path_.empty()) ::unlink(beside_.c_str());
  child_ = 0;
}

UnixMs Snapshots::last_save_ms() const {
  const Store* store = server_.store();
  const UnixMs at = std::max(store ? store->stats().last_sync_ms : 0, state().saved_ms);
  return at > 0 ? at : server_.started_ms();
}

std::uint64_t Snapshots::changes() const {
  std::uint64_t all = 0;
  for (std::size_t i = 0; i < server_.shards(); ++i) {
    all += server_.worker({static_cast<std::uint16_t>(i)})
               .published()
               .changes.load(std::memory_order_relaxed);
  }
  return all;
}

std::uint64_t Snapshots::changes_since() const {
  const std::uint64_t all = changes(), saved = state().saved_changes;
  return all > saved ? all - saved : 0;
}

Snapshots::State Snapshots::state() const {
  const std::lock_guard lock(mutex_);
  State now = state_;
  if (child_ > 0) now.runs_s = (server_.clock().wall_ms() - begun_ms_) / 1000;
  return now;
}

}  // namespace gyre
