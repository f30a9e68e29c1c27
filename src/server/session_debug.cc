// DEBUG: for tests, behind enable-debug-command. Only what tests can mean here is built; the rest
// answers as a Redis that does not know the subcommand.

#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "base/log.h"
#include "commands/parse.h"
#include "commands/table.h"
#include "config/value.h"
#include "ring/slot.h"
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

// Stands for a process that hangs: all threads sleep, not only the one that was asked. Other
// threads are told by post(), which does not wait for the end of this turn.
void sleep(SessionCall& call) {
  const double seconds = std::strtod(std::string(call.args[2]).c_str(), nullptr);
  constexpr double longest = 86400;  // a day: more is a slip
  if (std::isfinite(seconds) && seconds > 0) {
    const std::chrono::duration<double> time(std::min(seconds, longest));
    const auto until = std::chrono::steady_clock::now() +
                       std::chrono::duration_cast<std::chrono::steady_clock::duration>(time);
    for (std::size_t i = 0; i < call.server().shards(); ++i) {
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

// Runs a command about the key where its slot is acted for.
void ask_about_key(SessionCall& call, std::initializer_list<std::string_view> words,
                   std::function<std::string(std::string&& reply)> answer) {
  if (refused_inline(call)) return;
  const std::uint64_t place = call.later();
  Worker& worker = call.worker;
  const std::vector<std::string_view> args(words);
  Request r;
  r.slot = key_slot(call.args[2]);
  r.protocol = call.reply.protocol();
  r.levels = call.connection.levels;
  r.commands.emplace_back(*find_command(Args(args)), call.connection.db, Args(args));
  r.ticket = worker.callback_ticket([&worker, client = call.connection.id, place, answer](
                                        std::string&& reply, std::uint64_t gate) {
    finish_later(worker, client, place, answer(std::move(reply)), gate);
  });
  worker.submit(std::move(r));
}

void digest_value(SessionCall& call) {
  ask_about_key(call, {"GYRE.DIGEST", call.args[2]},
                [](std::string&& reply) { return std::move(reply); });
}

// All of them take exactly one argument.
constexpr auto subcommands = std::to_array<SessionRow>({
    {"SLEEP", sleep},
    {"SET-ACTIVE-EXPIRE", set_active_expire},
    {"LOG", log},
    {"ERROR", error},
    {"QUICKLIST-PACKED-THRESHOLD", packed_threshold},
    {"PROTOCOL", protocol},
    {"DIGEST-VALUE", digest_value},
});

void help(Reply& reply) {
  constexpr auto lines = std::to_array<std::string_view>({
      "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
      "DIGEST-VALUE <key>",
      "    A digest of the value: equal values have equal digests.",
      "ERROR <string>",
      "    Answer with this error.",
      "LOG <message>",
      "    Write the message to the log.",
      "OBJECT <key>",
      "    The encoding that Redis would use; addresses and sizes are made up.",
      "PROTOCOL <type>",
      "    Answer with a value of this type: string, integer, double, bignum, null, array, set,",
      "    map, attrib, push, verbatim, true, false.",
      "QUICKLIST-PACKED-THRESHOLD <size>",
      "    Accepted; lists have no packed nodes here.",
      "SET-ACTIVE-EXPIRE <0|1>",
      "    With 0, expired keys stay in memory until somebody asks for them.",
      "SLEEP <seconds>",
      "    Stop all threads of this node for a while.",
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
  for (const SessionRow& row : subcommands) {
    if (is_word(name, row.name) && call.args.size() == 3) return row.run(call);
  }
  call.reply.error(wrong_subcommand(call.args));
}

constexpr auto rows = std::to_array<SessionRow>({{"DEBUG", debug}});

}  // namespace

std::span<const SessionRow> debug_handlers() {
  return rows;
}

}  // namespace gyre
