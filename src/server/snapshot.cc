#include "server/snapshot.h"

#include <signal.h>

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
  GYRE_ASSERT(!running());
  const std::lock_guard lock(mutex_);
  begun_ms_ = server_.clock().wall_ms();
  const std::string folder = server_.config().dir.get();
  path_ = folder + "/" + server_.config().dbfilename.get();
  beside_ = folder + "/temp-" + std::to_string(::getpid()) + ".rdb";
  const pid_t child = ::fork();
  if (child < 0) {
    state_.failed = true;
    return Error(Errc::err, std::string("no process for the snapshot: ") + std::strerror(errno));
  }
  if (child == 0) {
    // Nothing of the parent's is kept open: its ports are free when it ends first.
    ::close_range(3, ~0u, 0);
    ::_exit(write(path_, beside_, begun_ms_));
  }
  child_ = child;
  done_ = std::move(done);
  running_.store(true, std::memory_order_release);
  LOG_NOTICE("a snapshot is written to %s by process %d", path_.c_str(), static_cast<int>(child));
  return {};
}

// In the child. 0, or the errno value of what failed.
int Snapshots::write(const std::string& path, const std::string& beside, UnixMs now) const {
  const auto failed = [] { return errno ? errno : EIO; };
  errno = 0;
  Fd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file) return failed();
  rdb::FileWriter out([&](std::string_view bytes) { return write_all(file.get(), bytes); });
  out.note("redis-ver", redis_version);
  out.note("redis-bits", "64");
  out.note("ctime", std::to_string(now / 1000));
  out.note("aof-base", "0");
  const std::size_t databases = server_.worker({0}).space().databases();
  for (std::size_t i = 0; i < databases && out.ok(); ++i) {
    const DbIndex db{static_cast<std::uint8_t>(i)};
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
  if (!out.finish() || ::fsync(file.get()) != 0) {
    const int error = failed();
    ::unlink(beside.c_str());
    return error;
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) return failed();
  return sync_folder(folder_of(path));
}

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
    state_.failed = status != 0;
    state_.took_s = took;
    if (status == 0) {
      state_.saved_ms = begun_ms_;
      ++state_.saves;
      LOG_NOTICE("the snapshot %s is there", path_.c_str());
    } else {
      ::unlink(beside_.c_str());
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
  ::unlink(beside_.c_str());
  child_ = 0;
}

UnixMs Snapshots::last_save_ms() const {
  const Store* store = server_.store();
  const UnixMs at = std::max(store ? store->stats().last_sync_ms : 0, state().saved_ms);
  return at > 0 ? at : server_.started_ms();
}

Snapshots::State Snapshots::state() const {
  const std::lock_guard lock(mutex_);
  State now = state_;
  if (child_ > 0) now.runs_s = (server_.clock().wall_ms() - begun_ms_) / 1000;
  return now;
}

}  // namespace gyre
