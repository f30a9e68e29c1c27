// SlowLog: the commands that took at least slowlog-log-slower-than, newest first.
//
// One per node, so that SLOWLOG LEN and slowlog-max-len mean what they mean in Redis. The lock is
// taken for slow commands and readers only; what is fast enough costs one comparison.
//
// Invariants: entries <= the length asked for in the last note(); what an entry keeps is trimmed to
//             32 arguments of 128 bytes; passwords are never kept.
// Threading:  any.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "resp/request.h"

namespace gyre {

class Connection;
struct CommandSpec;
class Worker;

struct SlowEntry {
  std::uint64_t id = 0;
  UnixMs at_ms = 0;
  std::int64_t us = 0;
  std::vector<std::string> args;
  std::string address, name;  // of the client
};

class SlowLog {
 public:
  struct Client {
    std::string_view address, name;
  };
  void note(Args args, std::int64_t us, UnixMs now, const Client& client, std::size_t max);
  // The newest entries, at most `count`.
  std::vector<SlowEntry> newest(std::size_t count) const;
  std::size_t size() const;
  void clear();

 private:
  mutable std::mutex mutex_;
  std::deque<SlowEntry> entries_;
  std::uint64_t next_id_ = 0;
};

// Whether argument i is a password, or the name that goes with one: shown as hidden_argument.
bool secret_argument(Args args, std::size_t i);
inline constexpr std::string_view hidden_argument = "(redacted)";

// Notes the command, here and in the latency log, when it was slow by the present configuration.
// us: how long it ran.
void note_slow(Worker& worker, const Connection& client, const CommandSpec& spec, Args args,
               std::int64_t us);

}  // namespace gyre
