// Request: a command (or a transaction) on its way to where it runs, with everything it needs.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "record/version.h"
#include "shard/command.h"
#include "shard/script.h"
#include "shard/tracked_keys.h"

namespace gyre {

// A consistency level: ONE, QUORUM, ALL or a number of replicas.
struct Level {
  static constexpr std::uint8_t one = 1, quorum = 0xfe, all = 0xff;
  std::uint8_t value = one;

  // How many of n replicas it asks for.
  int of(int n) const {
    if (value == all) return n;
    if (value == quorum) return n / 2 + 1;
    return value < n ? value : n;
  }
  std::string text() const {
    if (value == all) return "all";
    if (value == quorum) return "quorum";
    return value == one ? "one" : std::to_string(value);
  }
  // "one", "quorum", "all", or 1 .. 100; false when it is none.
  static bool parse(std::string_view text, Level& level);
};

struct Levels {
  Level write{Level::quorum};
  Level read{Level::one};

  // Those of WATCH, and of reads until its EXEC: not ONE, unless writes are. Where too few replicas
  // can be asked, ONE answers from what is there, and EXEC, which compares with what WATCH saw,
  // would store what follows from something older (simulator).
  Levels watching() const {
    Levels w = *this;
    if (read.value == Level::one && write.value != Level::one) w.read = {Level::quorum};
    return w;
  }
};

// Where an answer goes: a client of this node (thread, connection, place in its line of replies),
// or a peer that coordinates.
struct Ticket {
  bool remote = false;
  std::uint16_t shard = 0;  // the thread that asked: here, or there when remote
  NodeIndex peer{};         // when remote
  std::uint64_t connection = 0;
  std::uint64_t id = 0;
};

// A command that owns the bytes of its arguments.
class OwnedCommand {
 public:
  OwnedCommand() = default;
  OwnedCommand(const CommandSpec& spec, DbIndex db, Args args) : OwnedCommand(&spec, db, args) {}
  // nullptr: words that are no command, of a client that hears so later.
  OwnedCommand(const CommandSpec* spec, DbIndex db, Args args) : spec_(spec), db_(db) {
    std::size_t bytes = 0;
    for (const auto& a : args) bytes += a.size();
    bytes_ = std::make_unique<char[]>(bytes + 1);
    args_.reserve(args.size());
    char* to = bytes_.get();
    for (const auto& a : args) {
      std::memcpy(to, a.data(), a.size());
      args_.emplace_back(to, a.size());
      to += a.size();
    }
  }
  const CommandSpec& spec() const { return *spec_; }
  const CommandSpec* known() const { return spec_; }
  DbIndex db() const { return db_; }
  void set_db(DbIndex db) { db_ = db; }
  Args args() const { return args_; }
  // About what it takes in memory.
  std::size_t bytes() const {
    std::size_t n = sizeof *this + args_.capacity() * sizeof args_.front();
    for (const auto& a : args_) n += a.size();
    return n;
  }

  ScriptRightsPtr rights;  // of a script, whose user may not do everything

 private:
  const CommandSpec* spec_ = nullptr;
  DbIndex db_{};
  std::unique_ptr<char[]> bytes_;
  std::vector<std::string_view> args_;
};

// Of a client that tracks (shard/tracked_keys.h).
struct Tracking {
  TrackingClient reader{};
  bool remembers = false;       // what these commands read
  std::uint64_t elsewhere = 0;  // the client, at the node that has forwarded its command
};

struct Watch {
  DbIndex db{};
  std::string key;
  Version version{};
};

// The flags of a command as it was called: a SET with a condition, or one that answers or keeps
// something of the old value, depends on what it finds, which its row cannot say.
std::uint32_t flags_of(const CommandSpec& spec, Args args);

struct Request {
  Ticket ticket;
  Slot slot{};
  int protocol = 2;
  Levels levels;
  bool exec = false;  // the commands are one transaction; the reply is one array
  UnixMs ceiling = 0;
  UnixMs above = 0;
  int hops = 0;            // times it was sent on to another node
  bool late = false;       // was refused once as late
  bool overtaken = false;  // by a later command of its line (Engine::line_of)
  bool begun =
      false;  // a node that was given up may have run it: no error may say that nothing was written
  std::uint64_t wait =
      0;  // the number under which its client waits (server/blocking.h); 0: it must not
  bool waited = false;  // it has waited before
  bool spans = false;   // a script of it that wants other slots may begin anew as a transaction
  Tracking tracking{};
  std::vector<OwnedCommand> commands;
  std::vector<Watch> watches;

  bool runs_script() const {
    for (const auto& c : commands) {
      if (c.spec().flags & flag::script_call) return true;
    }
    return false;
  }
  // The flags of all commands together.
  std::uint32_t flags() const {
    // What it has written itself would fail its watches.
    std::uint32_t f = watches.empty() ? 0 : flag::conditional | flag::once;
    for (const auto& c : commands) f |= flags_of(c.spec(), c.args());
    return f;
  }
};

// A command that could not be answered waits (coordination/waiters.h).
struct Parked {
  std::uint64_t wait = 0;
  std::int64_t ms = 0;              // for how long; 0: for ever
  std::vector<std::string> args{};  // what to run when it is woken, unless it is the same
};

// What runs over many slots, and what comes of it (KEYS, SCAN, DBSIZE, RANDOMKEY, FLUSHDB).
enum class WalkKind : std::uint8_t { count, keys, scan, random, flush, end };

struct WalkRequest {
  Ticket ticket;
  WalkKind what{};
  DbIndex db{};
  bool all_dbs = false;  // FLUSHALL
  Level write_level{};
  std::uint64_t place = 0;  // SCAN: cursor
  std::uint32_t count = 10;
  std::string pattern;  // empty: all
  std::string type;     // SCAN TYPE; empty: all
};

struct WalkResult {
  bool failed = false;  // some slot could not be reached, or a flush did not reach its level
  std::uint64_t count = 0;
  std::uint64_t next = 0;  // SCAN: the next cursor; 0: the end
  std::vector<std::string> keys{};
};
// RANDOMKEY: one key of all, each part's with the weight of its keys.
void join_random(WalkResult& all, WalkResult&& part, Random& random);

}  // namespace gyre
