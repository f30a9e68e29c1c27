// MIGRATE: the words of it; what they set going is in server/migrate.h.

#include <array>

#include "server/migrate.h"
#include "server/session_parts.h"

namespace gyre {
namespace {

// COPY, REPLACE, AUTH password, AUTH2 user password, KEYS key ...; false: an error was answered.
bool read_options(SessionCall& call, MigrateOrder& order) {
  const Args args = call.args;
  for (std::size_t i = 6; i < args.size(); ++i) {
    const std::size_t more = args.size() - i - 1;
    if (is_word(args[i], "copy")) {
      order.copy = true;
    } else if (is_word(args[i], "replace")) {
      order.replace = true;
    } else if (is_word(args[i], "auth") && more >= 1) {
      order.auth = {"AUTH", std::string(args[i + 1])};
      i += 1;
    } else if (is_word(args[i], "auth2") && more >= 2) {
      order.auth = {"AUTH", std::string(args[i + 1]), std::string(args[i + 2])};
      i += 2;
    } else if (is_word(args[i], "keys")) {
      if (!args[3].empty()) {
        call.reply.error(
            "When using MIGRATE KEYS option, the key argument must be set to the empty string");
        return false;
      }
      order.keys.assign(args.begin() + static_cast<std::ptrdiff_t>(i) + 1, args.end());
      return true;
    } else {
      return call.reply.error(Errc::syntax), false;
    }
  }
  order.keys.assign(1, std::string(args[3]));
  return true;
}

// MIGRATE host port key|"" db timeout [options]
void migrate(SessionCall& call) {
  MigrateOrder order;
  if (!read_options(call, order)) return;
  const auto port = int_of(call, 2), db = port ? int_of(call, 4) : std::nullopt,
             timeout = db ? int_of(call, 5) : std::nullopt;
  if (!timeout) return;
  if (*port < 1 || *port > 65535) return call.reply.error("Invalid port");
  constexpr std::int64_t usual_ms = 1000, longest_ms = std::int64_t{86'400} * 1000;
  order.host = call.args[1];
  order.port = static_cast<std::uint16_t>(*port);
  order.db = std::to_string(*db);
  order.timeout_ms = *timeout <= 0 ? usual_ms : std::min(*timeout, longest_ms);
  order.from = call.connection.db;
  order.levels = call.connection.levels;
  if (refused_inline(call)) return;
  const std::uint64_t place = call.later(true);
  call.worker.migrations().begin(std::move(order), call.connection.id, place);
}

constexpr auto rows = std::to_array<SessionRow>({{"MIGRATE", migrate}});

}  // namespace

std::span<const SessionRow> migrate_handlers() {
  return rows;
}

}  // namespace gyre
