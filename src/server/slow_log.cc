#include "server/slow_log.h"

#include <algorithm>

#include "base/numbers.h"
#include "commands/table.h"
#include "config/options.h"
#include "server/connection.h"
#include "server/server.h"
#include "server/worker.h"

namespace gyre {
namespace {

// Redis' bounds: an entry is for reading, not for replaying.
constexpr std::size_t args_max = 32;
constexpr std::size_t arg_bytes_max = 128;

bool is(std::string_view arg, std::string_view word) {
  return equals_ignore_case(arg, word);
}

std::vector<std::string> trimmed(Args args) {
  std::vector<std::string> out;
  const std::size_t kept = std::min(args.size(), args_max);
  out.reserve(kept);
  for (std::size_t i = 0; i < kept; ++i) {
    const std::string_view arg = args[i];
    if (args.size() > args_max && i == args_max - 1) {
      out.push_back("... (" + std::to_string(args.size() - args_max + 1) + " more arguments)");
    } else if (secret_argument(args, i)) {
      out.emplace_back(hidden_argument);
    } else if (arg.size() > arg_bytes_max) {
      out.push_back(std::string(arg.substr(0, arg_bytes_max)) + "... (" +
                    std::to_string(arg.size() - arg_bytes_max) + " more bytes)");
    } else {
      out.emplace_back(arg);
    }
  }
  return out;
}

}  // namespace

// Of AUTH, of HELLO .. AUTH name password, of MIGRATE .. AUTH and AUTH2, the value of a secret
// option in CONFIG SET, or all of ACL SETUSER. User names go with their passwords, as in Redis.
bool secret_argument(Args args, std::size_t i) {
  if (is(args[0], "auth")) return i >= 1;
  if (is(args[0], "hello")) {
    for (std::size_t back = 1; back <= 2 && back + 2 <= i; ++back) {
      if (is(args[i - back], "auth")) return true;
    }
    return false;
  }
  if (is(args[0], "acl")) return i >= 2 && is(args[1], "setuser");
  if (is(args[0], "migrate")) {
    return (i >= 1 && is(args[i - 1], "auth")) || (i >= 1 && is(args[i - 1], "auth2")) ||
           (i >= 2 && is(args[i - 2], "auth2"));
  }
  if (is(args[0], "config") && i >= 3 && i % 2 == 1 && is(args[1], "set")) {
    const auto option = find_option(args[i - 1]);
    return option && option_spec(*option).has(option_flag::secret);
  }
  return false;
}

void SlowLog::note(Args args, std::int64_t us, UnixMs now, const Client& client, std::size_t max) {
  SlowEntry entry{0, now, us, trimmed(args), std::string(client.address), std::string(client.name)};
  const std::lock_guard lock(mutex_);
  entry.id = next_id_++;
  entries_.push_front(std::move(entry));
  while (entries_.size() > max) entries_.pop_back();
}

std::vector<SlowEntry> SlowLog::newest(std::size_t count) const {
  const std::lock_guard lock(mutex_);
  const std::size_t n = std::min(count, entries_.size());
  return {entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(n)};
}

std::size_t SlowLog::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

void SlowLog::clear() {
  const std::lock_guard lock(mutex_);
  entries_.clear();
}

void note_slow(Worker& worker, const Connection& client, const CommandSpec& spec, Args args,
               std::int64_t us) {
  worker.note_latency((spec.flags & flag::fast) ? "fast-command" : "command", us);
  const Config& config = worker.server().config();
  const std::int64_t bound = config.slowlog_log_slower_than;
  if (bound < 0 || us < bound || (spec.flags & flag::skip_slowlog)) return;
  worker.server().slow_log.note(args, us, worker.wall_ms(), {client.peer_address(), client.name},
                                static_cast<std::size_t>(config.slowlog_max_len.get()));
}

}  // namespace gyre
