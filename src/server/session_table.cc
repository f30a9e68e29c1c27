// The table of session handlers: rows of commands/session.cc joined with the functions of the
// session_*.cc files, by name, once.

#include <algorithm>
#include <array>

#include "base/assert.h"
#include "commands/table.h"
#include "server/session_parts.h"

namespace gyre {
namespace {

std::vector<SessionHandler> resolve() {
  std::vector<SessionHandler> table(all_commands().size(), nullptr);
  for (const auto rows :
       {connection_handlers(), client_handlers(), tracking_handlers(), acl_handlers(),
        pubsub_handlers(), server_handlers(), snapshot_handlers(), replication_handlers(),
        migrate_handlers(), debug_handlers(), walk_handlers(), cluster_handlers(), gyre_handlers(),
        inside_handlers(), script_handlers(), latency_handlers(), memory_handlers(),
        help_handlers()}) {
    for (const SessionRow& row : rows) {
      const CommandSpec* spec = nullptr;
      for (const CommandSpec* s : all_commands()) {
        if (s->name == row.name) spec = s;
      }
      // A handler without its row is a spelling mistake that nobody would notice otherwise.
      GYRE_ASSERT(spec);
      GYRE_ASSERT(!spec->run);
      SessionHandler& at = table[command_index(*spec)];
      GYRE_ASSERT(!at);
      at = row.run;
    }
  }
  return table;
}

}  // namespace

SessionHandler session_handler(const CommandSpec& spec) {
  static const std::vector<SessionHandler> table = resolve();
  return table[command_index(spec)];
}

bool is_local(const Connection& connection) {
  const std::string& address = connection.peer_address();
  return address.starts_with("127.") || address.starts_with("[::1]");
}

std::optional<std::int64_t> int_of(SessionCall& call, std::size_t i, const char* error) {
  const auto value = parse_int(call.args[i]);
  if (!value) error ? call.reply.error(error) : call.reply.error(Errc::not_integer);
  return value;
}

}  // namespace gyre
