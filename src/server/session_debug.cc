// DEBUG: for tests, behind enable-debug-command. Only what tests can mean here is built; the rest
// answers as a Redis that does not know the subcommand.

#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "base/glob.h"
#include "base/hash.h"
#include "base/log.h"
#include "commands/parse.h"
#include "commands/table.h"
#include "config/value.h"
#include "record/record.h"
#include "ring/slot.h"
#include "server/join.h"
#include "server/session_parts.h"

namespace gyre {
namespace {

bool allowed(const SessionCall& call) {
  switch (call.server().config().enable_debug_command.get()) {
    case choice::EnableDebugCommand::yes:
      return true;
    case choice::EnableDebugCommand::local:
      return is_local(call.connection);
    default:
      return false;
  }
}

// Stands for a process that hangs: all threads sleep, not only the one that was asked; with ONE
// that alone. Other threads are told by post(), which does not wait for the end of this turn.
void sleep(SessionCall& call) {
  const bool one = call.args.size() > 3;
  if (one && !is_word(call.args[3], "one")) return call.reply.error(Errc::syntax);
  const double seconds = std::strtod(std::string(call.args[2]).c_str(), nullptr);
  constexpr double longest = 86400;  // a day: more is a slip
  if (std::isfinite(seconds) && seconds > 0) {
    const std::chrono::duration<double> time(std::min(seconds, longest));
    const auto until = std::chrono::steady_clock::now() +
                       std::chrono::duration_cast<std::chrono::steady_clock::duration>(time);
    for (std::size_t i = 0; i < call.server().shards() && !one; ++i) {
      const ShardIndex shard{static_cast<std::uint16_t>(i)};
      if (shard == call.worker.shard()) continue;
      call.server().worker(shard).post([until](Worker&) { std::this_thread::sleep_until(until); });
    }
    std::this_thread::sleep_until(until);
  }
  call.reply.ok();
}

void set_active_expire(SessionCall& call) {
  call.server().active_expire = std::atoi(std::string(call.args[2]).c_str()) != 0;
  call.reply.ok();
}

void log(SessionCall& call) {
  LOG_WARNING("DEBUG LOG: %.*s", static_cast<int>(std::min<std::size_t>(call.args[2].size(), 900)),
              call.args[2].data());
  call.reply.ok();
}

void error(SessionCall& call) {
  std::string text(call.args[2]);
  for (char& c : text) {
    if (c == '\r' || c == '\n') c = ' ';
  }
  call.reply.raw("-" + text + "\r\n");
}

// Lists have no packed nodes here; a threshold changes nothing that a client sees.
void packed_threshold(SessionCall& call) {
  const auto bytes = parse_memory(call.args[2]);
  if (!bytes || *bytes < 0 || *bytes > (std::int64_t{1} << 32)) {
    return call.reply.error("argument must be a memory value bigger than 1 and smaller than 4gb");
  }
  call.reply.ok();
}

// One reply of each kind that the protocol has.
void protocol(SessionCall& call) {
  Reply& reply = call.reply;
  const std::string_view type = call.args[2];
  if (is_word(type, "string")) {
    reply.bulk("Hello World");
  } else if (is_word(type, "integer")) {
    reply.integer(12345);
  } else if (is_word(type, "double")) {
    reply.real(3.141);
  } else if (is_word(type, "bignum")) {
    reply.big_number("1234567999999999999999999999999999999");
  } else if (is_word(type, "null")) {
    reply.null();
  } else if (is_word(type, "array")) {
    reply.array(3);
    for (int i = 0; i < 3; ++i) reply.integer(i);
  } else if (is_word(type, "set")) {
    reply.set(3);
    for (int i = 0; i < 3; ++i) reply.integer(i);
  } else if (is_word(type, "map")) {
    reply.map(3);
    for (int i = 0; i < 3; ++i) {
      reply.integer(i);
      reply.boolean(i == 1);
    }
  } else if (is_word(type, "attrib")) {
    if (reply.protocol() == 3) {
      reply.raw("|1\r\n");
      reply.bulk("key-popularity");
      reply.array(2);
      reply.bulk("key:123");
      reply.integer(90);
    }
    reply.bulk("Some real reply following the attribute");
  } else if (is_word(type, "push")) {
    if (reply.protocol() != 3) return reply.error("RESP2 is not supported by this command");
    reply.push(2);
    reply.bulk("server-cpu-usage");
    reply.integer(42);
    reply.bulk("Some real reply following the push reply");
  } else if (is_word(type, "verbatim")) {
    reply.verbatim("txt", "This is a verbatim\nstring");
  } else if (is_word(type, "true") || is_word(type, "false")) {
    reply.boolean(is_word(type, "true"));
  } else {
    reply.error(
        "Wrong protocol type name. Please use one of the following: "
        "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false");
  }
}

// Runs commands about a key, at one moment, where its slot is acted for; each is given the key as
// its last argument. The answer is one array.
void ask_about_key(SessionCall& call, std::string_view key,
                   std::initializer_list<std::initializer_list<std::string_view>> commands,
                   std::function<void(std::string&& reply, std::uint64_t gate)> answer) {
  Worker& worker = call.worker;
  Request r;
  r.slot = key_slot(key);
  r.exec = true;
  r.protocol = call.reply.protocol();
  r.levels = call.connection.levels;
  for (const auto& command : commands) {
    std::vector<std::string_view> args(command);
    args.push_back(key);
    r.commands.emplace_back(*find_command(Args(args)), call.connection.db, Args(args));
  }
  r.ticket = worker.callback_ticket(std::move(answer));
  worker.submit(std::move(r));
}

// DEBUG DIGEST-VALUE key ...
void digest_value(SessionCall& call) {
  struct Join {
    std::size_t left = 0;
    std::vector<std::string> digests;
    std::string error;
  };
  if (refused_inline(call)) return;
  const Args keys = call.args.subspan(2);
  auto join = std::make_shared<Join>(Join{keys.size(), std::vector<std::string>(keys.size()), {}});
  const std::uint64_t place = call.later();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    ask_about_key(call, keys[i], {{"GYRE.DIGEST"}},
                  [&worker = call.worker, client = call.connection.id, place, join, i](
                      std::string&& reply, std::uint64_t gate) {
                    const auto parts = reply_elements(reply);
                    if (parts.size() == 1) join->digests[i] = parts[0];
                    if (parts.empty()) join->error = reply;
                    if (--join->left > 0) return;
                    std::string out = "*" + std::to_string(join->digests.size()) + "\r\n";
                    for (const std::string& digest : join->digests) out += digest;
                    finish_later(worker, client, place,
                                 join->error.empty() ? std::move(out) : std::move(join->error),
                                 gate);
                  });
  }
}

// DEBUG OBJECT key. Addresses and clocks are made up; the length is that of DUMP without its end.
void object(SessionCall& call) {
  if (refused_inline(call)) return;
  const std::uint64_t place = call.later();
  ask_about_key(call, call.args[2], {{"OBJECT", "ENCODING"}, {"DUMP"}},
                [&worker = call.worker, client = call.connection.id, place](std::string&& reply,
                                                                            std::uint64_t gate) {
                  constexpr std::size_t type_and_end = 1 + 10;
                  const auto parts = reply_elements(reply);
                  std::string out;
                  Reply writer(out, 2);
                  const auto text_of = [](std::string_view bulk) {
                    const std::size_t line = bulk.find("\r\n");
                    return bulk.starts_with("$-") || bulk.size() < line + 4
                               ? std::string_view()
                               : bulk.substr(line + 2, bulk.size() - line - 4);
                  };
                  if (parts.size() != 2) {
                    out = reply;
                  } else if (text_of(parts[1]).size() <= type_and_end) {
                    writer.error(Errc::no_key);
                  } else {
                    writer.simple("Value at:0x0 refcount:1 encoding:" +
                                  std::string(text_of(parts[0])) + " serializedlength:" +
                                  std::to_string(text_of(parts[1]).size() - type_and_end) +
                                  " lru:0 lru_seconds_idle:0");
                  }
                  finish_later(worker, client, place, std::move(out), gate);
                });
}

// ---- the node as a whole

// Runs f here while all other threads stand still, on a node that is alone; when another thread has
// that now, in a moment.
void with_barrier(SessionCall& call, std::function<void(Worker&, Reply&)> f) {
  if (!call.server().alone())
    return call.reply.error("this DEBUG subcommand is for a node that is alone");
  if (refused_inline(call)) return;
  const std::uint64_t place = call.later(true);
  const auto run = std::make_shared<std::function<void(Worker&)>>();
  *run = [=, client = call.connection.id, protocol = call.reply.protocol(),
          again = std::weak_ptr(run)](Worker& w) {
    const bool done = w.with_barrier([&] {
      std::string out;
      Reply reply(out, protocol);
      f(w, reply);
      const auto finish = [&w, client, place](std::string&& answer, std::uint64_t gate) {
        finish_later(w, client, place, std::move(answer), gate);
      };
      w.answer_from_barrier(w.callback_ticket(finish), std::move(out));
    });
    if (!done) w.post([kept = again.lock()](Worker& later) { (*kept)(later); });
  };
  (*run)(call.worker);
}

// DEBUG RELOAD [NOSAVE] [NOFLUSH] [MERGE], and LOADAOF: memory is emptied and filled from the
// store, which is always current. To load over what is there is an error, as in Redis.
void reload(SessionCall& call) {
  bool over = false, merge = false;
  for (const std::string_view word : call.args.subspan(2)) {
    if (!is_word(word, "nosave") && !is_word(word, "noflush") && !is_word(word, "merge"))
      return call.reply.error("DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
    over |= is_word(word, "noflush");
    merge |= is_word(word, "merge");
  }
  if (over && !merge && !call.server().scripts.libraries()->by_name.empty())
    return call.reply.error(
        "Error trying to load the RDB dump: NOFLUSH without MERGE would load libraries again that "
        "are there");
  with_barrier(call, [](Worker& w, Reply& reply) {
    const auto done = w.server().reload();
    done ? reply.ok() : reply.error(done.error());
  });
}

// Runs a command of one key while all threads stand still; its reply.
std::string run_alone(Worker& w, DbIndex db, Args args) {
  std::string out;
  Reply reply(out, 2);
  static const CommandOptions usual;
  CommandContext ctx(args, reply, db, w.wall_ms(), w.spaces(), nullptr, w.random(), usual);
  find_command(args)->run(ctx);
  return out;
}

// DEBUG POPULATE count [prefix] [size]: keys that are there stay.
void populate(SessionCall& call) {
  const auto count = int_of(call, 2);
  if (!count) return;
  std::int64_t size = 0;
  if (call.args.size() > 4) {
    const auto given = int_of(call, 4);
    if (!given) return;
    size = *given;
  }
  constexpr std::int64_t most = 100'000'000, largest = std::int64_t{512} << 20;
  if (*count < 0 || *count > most || size < 0 || size > largest)
    return call.reply.error("value is out of range");
  const std::string prefix(call.args.size() > 3 ? call.args[3] : "key");
  with_barrier(call, [=, n = *count, db = call.connection.db](Worker& w, Reply& reply) {
    for (std::int64_t i = 0; i < n; ++i) {
      const std::string key = prefix + ":" + std::to_string(i);
      std::string value = "value:" + std::to_string(i);
      if (size > 0) value.resize(static_cast<std::size_t>(size), '\0');
      const std::string_view words[] = {"SETNX", key, value};
      run_alone(w, db, words);
    }
    reply.ok();
  });
}

// DEBUG DIGEST: over all keys of the node with what they hold, so that equal contents have equal
// digests, in whichever order they came; not Redis' numbers. Of a ring: of what this node holds.
std::string digest_of_all(Worker& w) {
  std::array<std::uint64_t, 3> sums{};
  std::string one;
  for (std::size_t db = 0; db < w.space().databases(); ++db) {
    const DbIndex index = w.command_options().databases.lies(db);
    for (std::size_t shard = 0; shard < w.server().shards(); ++shard) {
      w.server()
          .worker({static_cast<std::uint16_t>(shard)})
          .space()
          .for_each_of(index, [&](Node& n) {
            if (!record_live(n) || record_expired(n, w.wall_ms())) return;
            const std::string_view words[] = {"GYRE.DIGEST", n.key()};
            one =
                std::to_string(db) + ' ' + std::string(n.key()) + ' ' + run_alone(w, index, words);
            for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += hash64(one, i);
          });
    }
  }
  char text[49];
  std::snprintf(text, sizeof text, "%016llx%016llx%016llx",
                static_cast<unsigned long long>(sums[0]), static_cast<unsigned long long>(sums[1]),
                static_cast<unsigned long long>(sums[2]));
  return std::string(text, 40);
}

void digest(SessionCall& call) {
  if (refused_inline(call)) return;
  const std::uint64_t place = call.later(true);
  const auto run = std::make_shared<std::function<void(Worker&)>>();
  *run = [=, client = call.connection.id, again = std::weak_ptr(run)](Worker& w) {
    std::string text;
    if (w.while_others_stand([&] { text = digest_of_all(w); }))
      return finish_later(w, client, place, "+" + text + "\r\n");
    w.post([kept = again.lock()](Worker& later) { (*kept)(later); });
  };
  (*run)(call.worker);
}

// ---- switches

bool on_of(const SessionCall& call) {
  return std::atoi(std::string(call.args[2]).c_str()) != 0;
}

void pause_cron(SessionCall& call) {
  call.server().cron_paused = on_of(call);
  call.reply.ok();
}

void disable_deny_scripts(SessionCall& call) {
  call.server().all_in_scripts = on_of(call);
  call.reply.ok();
}

// There is no history of replication that an id could name.
void change_repl_id(SessionCall& call) {
  call.reply.ok();
}

// DEBUG STRINGMATCH-LEN length pattern: the pattern against so many letters a.
void stringmatch_len(SessionCall& call) {
  const auto length = int_of(call, 2);
  if (!length) return;
  if (*length < 0 || *length > (std::int64_t{512} << 20))
    return call.reply.error("value is out of range");
  const std::string text(static_cast<std::size_t>(*length), 'a');
  call.reply.integer(glob_match(call.args[3], text, false) ? 1 : 0);
}

struct Subcommand {
  std::string_view name;
  std::size_t least, most;  // arguments
  SessionHandler run;
};
constexpr std::size_t any = ~std::size_t{0} - 2;
constexpr auto subcommands = std::to_array<Subcommand>({
    {"CHANGE-REPL-ID", 0, 0, change_repl_id},
    {"DIGEST", 0, 0, digest},
    {"DIGEST-VALUE", 1, any, digest_value},
    {"ERROR", 1, 1, error},
    {"LOADAOF", 0, 0, reload},
    {"LOG", 1, 1, log},
    {"OBJECT", 1, 1, object},
    {"PAUSE-CRON", 1, 1, pause_cron},
    {"POPULATE", 1, 3, populate},
    {"PROTOCOL", 1, 1, protocol},
    {"QUICKLIST-PACKED-THRESHOLD", 1, 1, packed_threshold},
    {"RELOAD", 0, 3, reload},
    {"SET-ACTIVE-EXPIRE", 1, 1, set_active_expire},
    {"SET-DISABLE-DENY-SCRIPTS", 1, 1, disable_deny_scripts},
    {"SLEEP", 1, 2, sleep},
    {"STRINGMATCH-LEN", 2, 2, stringmatch_len},
});

void help(Reply& reply) {
  constexpr auto lines = std::to_array<std::string_view>({
      "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
      "CHANGE-REPL-ID",
      "    Accepted; there is no replication id.",
      "DIGEST",
      "    A digest of all that this node holds: equal contents have equal digests.",
      "DIGEST-VALUE <key> [<key> ...]",
      "    Digests of values: equal values have equal digests.",
      "ERROR <string>",
      "    Answer with this error.",
      "LOADAOF",
      "    As RELOAD.",
      "LOG <message>",
      "    Write the message to the log.",
      "OBJECT <key>",
      "    The encoding that Redis would use; addresses and sizes are made up.",
      "PAUSE-CRON <0|1>",
      "    With 1, keys do not expire by themselves and clients are not timed out.",
      "POPULATE <count> [<prefix>] [<size>]",
      "    Make keys prefix:0, prefix:1, ... where there are none.",
      "PROTOCOL <type>",
      "    Answer with a value of this type: string, integer, double, bignum, null, array, set,",
      "    map, attrib, push, verbatim, true, false.",
      "QUICKLIST-PACKED-THRESHOLD <size>",
      "    Accepted; lists have no packed nodes here.",
      "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
      "    Empty the memory and load it again from the store on disk; alone only.",
      "SET-ACTIVE-EXPIRE <0|1>",
      "    With 0, expired keys stay in memory until somebody asks for them.",
      "SET-DISABLE-DENY-SCRIPTS <0|1>",
      "    With 1, scripts may call commands that are not for scripts.",
      "SLEEP <seconds> [ONE]",
      "    Stop all threads of this node for a while, or the one of this connection.",
      "STRINGMATCH-LEN <length> <pattern>",
      "    Match a pattern against so many letters a.",
      "HELP",
      "    Print this help.",
  });
  reply.array(lines.size());
  for (const std::string_view line : lines) reply.simple(line);
}

void debug(SessionCall& call) {
  if (!allowed(call)) {
    return call.reply.error(
        "DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you "
        "can run it from a local connection, otherwise you need to set this option in the "
        "configuration file, and then restart the server.");
  }
  const std::string_view name = call.args[1];
  if (is_word(name, "help") && call.args.size() == 2) return help(call.reply);
  const std::size_t given = call.args.size() - 2;
  for (const Subcommand& row : subcommands) {
    if (is_word(name, row.name) && given >= row.least && given <= row.most) return row.run(call);
  }
  call.reply.error(wrong_subcommand(call.args));
}

constexpr auto rows = std::to_array<SessionRow>({{"DEBUG", debug}});

}  // namespace

std::span<const SessionRow> debug_handlers() {
  return rows;
}

}  // namespace gyre
