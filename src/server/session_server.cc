// CONFIG, INFO, COMMAND, SHUTDOWN, SLOWLOG and the small ones: the node as a server.

#include <array>
#include <limits>

#include "commands/command_command.h"
#include "server/session_parts.h"

namespace gyre {
namespace {

void config_get(SessionCall& call) {
  const auto pairs = call.server().config().get(call.args.subspan(2));
  call.reply.map(pairs.size());
  for (const auto& [name, value] : pairs) {
    call.reply.bulk(name);
    call.reply.bulk(value);
  }
}

// Those of the whole ring go to the other nodes as well.
Result<void> set_options(SessionCall& call,
                         std::span<const std::pair<std::string_view, std::string_view>> pairs) {
  Server& server = call.server();
  const auto lock = server.ring_settings.changing();
  if (auto set = server.config().set(pairs, is_local(call.connection)); !set) return set;
  for (const auto& [name, text] : pairs) {
    const OptionSpec& spec = option_spec(*find_option(name));
    if (!spec.has(option_flag::ring)) continue;
    for (auto& [said, value] : server.config().get({&spec.name, 1}))
      server.ring_settings.changed(SettingKind::option, spec.name, std::move(value));
  }
  return {};
}

void config_set(SessionCall& call) {
  const Args args = call.args.subspan(2);
  if (args.size() % 2 != 0) return call.reply.error(Errc::syntax);
  std::vector<std::pair<std::string_view, std::string_view>> pairs;
  for (std::size_t i = 0; i < args.size(); i += 2) pairs.emplace_back(args[i], args[i + 1]);
  if (const auto set = set_options(call, pairs); !set) return call.reply.error(set.error());
  answer_when_told(call, [](Reply& reply) { reply.ok(); });
}

void config_rewrite(SessionCall& call) {
  const auto written = call.server().config().rewrite();
  written ? call.reply.ok() : call.reply.error(written.error());
}

// Each thread sets its own numbers back: they have one writer.
void config_resetstat(SessionCall& call) {
  const std::function<bool(Worker&)> ask = [](Worker& w) {
    reset_statistics(w);
    return true;
  };
  ask_workers<bool>(call, ask, [](std::vector<bool>&&, Reply& reply) { reply.ok(); });
}

void info(SessionCall& call) {
  call.reply.verbatim("txt",
                      info_text(call.worker, call.args.subspan(1), call.connection.cluster_aware));
}

void command(SessionCall& call) {
  command_reply(call.args, call.reply);
}

// SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] | ABORT. All end alike: what was acknowledged is stored
// already, and there is nobody to wait for. Only a refusal is answered.
void shutdown(SessionCall& call) {
  bool save = false, nosave = false, other = false, abort = false;
  for (const std::string_view word : call.args.subspan(1)) {
    if (is_word(word, "save")) {
      save = true;
    } else if (is_word(word, "nosave")) {
      nosave = true;
    } else if (is_word(word, "now") || is_word(word, "force")) {
      other = true;
    } else if (is_word(word, "abort")) {
      abort = true;
    } else {
      return call.reply.error(Errc::syntax);
    }
  }
  if ((save && nosave) || (abort && (save || nosave || other))) {
    return call.reply.error(Errc::syntax);
  }
  if (abort) return call.reply.error("No shutdown in progress.");
  // A second request would end the process at once; that is for signals, not for two clients.
  if (!call.server().stopping()) call.server().request_stop();
}

// Nodes of a ring are equals: each is a master without replicas to Redis' eyes.
void role(SessionCall& call) {
  call.reply.array(3);
  call.reply.bulk("master");
  call.reply.integer(0);
  call.reply.array(0);
}

void empty_array(SessionCall& call) {
  call.reply.array(0);
}

// SLOWLOG GET [count]: -1 for all.
void slowlog_get(SessionCall& call) {
  std::size_t count = 10;
  if (call.args.size() > 3) return call.reply.error(Errc::syntax);
  if (call.args.size() == 3) {
    const auto n = parse_int(call.args[2]);
    if (!n || *n < -1) return call.reply.error("count should be greater than or equal to -1");
    count = *n < 0 ? std::numeric_limits<std::size_t>::max() : static_cast<std::size_t>(*n);
  }
  const auto entries = call.server().slow_log.newest(count);
  Reply& reply = call.reply;
  reply.array(entries.size());
  for (const SlowEntry& e : entries) {
    reply.array(6);
    reply.integer(static_cast<std::int64_t>(e.id));
    reply.integer(e.at_ms / 1000);
    reply.integer(e.us);
    reply.array(e.args.size());
    for (const std::string& arg : e.args) reply.bulk(arg);
    reply.bulk(e.address);
    reply.bulk(e.name);
  }
}

void slowlog_len(SessionCall& call) {
  call.reply.integer(static_cast<std::int64_t>(call.server().slow_log.size()));
}

void slowlog_reset(SessionCall& call) {
  call.server().slow_log.clear();
  call.reply.ok();
}

constexpr auto rows = std::to_array<SessionRow>({
    {"CONFIG|GET", config_get},
    {"CONFIG|SET", config_set},
    {"CONFIG|REWRITE", config_rewrite},
    {"CONFIG|RESETSTAT", config_resetstat},
    {"INFO", info},
    {"COMMAND", command},
    {"COMMAND|COUNT", command},
    {"COMMAND|DOCS", command},
    {"COMMAND|GETKEYS", command},
    {"COMMAND|GETKEYSANDFLAGS", command},
    {"COMMAND|INFO", command},
    {"COMMAND|LIST", command},
    {"COMMAND|HELP", command},
    {"SHUTDOWN", shutdown},
    {"ROLE", role},
    {"MODULE|LIST", empty_array},
    {"SLOWLOG|GET", slowlog_get},
    {"SLOWLOG|LEN", slowlog_len},
    {"SLOWLOG|RESET", slowlog_reset},
});

}  // namespace

std::span<const SessionRow> server_handlers() {
  return rows;
}

}  // namespace gyre
