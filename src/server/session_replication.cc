// SYNC and REPLCONF, for whoever wants a snapshot as a replica of Redis asks for one; and what of
// Redis' replication is refused, with the way that Gyre has instead.

#include <array>
#include <limits>

#include "config/line.h"
#include "server/session_parts.h"
#include "server/sync_feed.h"

namespace gyre {
namespace {

SyncFeed& feed_of(Connection& c) {
  if (!c.feed) c.feed = std::make_unique<SyncFeed>();
  return *c.feed;
}

// Answered by the snapshot itself; a second SYNC by nothing, as in Redis.
void sync(SessionCall& call) {
  Connection& c = call.connection;
  if (c.syncing()) return;
  if (call.inside_exec) return call.reply.error("SYNC is not allowed here");
  if (!c.line_empty()) return call.reply.error("SYNC and PSYNC are invalid with pending output");
  feed_of(c);
  call.worker.sync_feeds().begin(c);
}

// REPLCONF rdb-filter-only "functions": what the file shall hold; words in one argument.
bool set_filter(SessionCall& call, std::string_view value, Snapshots::Content& content) {
  const auto words = split_words(value);
  if (!words) return call.reply.error("Missing rdb-filter-only values"), false;
  Snapshots::Content only{.keys = false, .functions = false};
  for (const std::string& word : *words) {
    if (!is_word(word, "functions"))
      return call.reply.error("Unsupported rdb-filter-only option: " + word), false;
    only.functions = true;
  }
  content = only;
  return true;
}

void replconf(SessionCall& call) {
  const Args args = call.args;
  if (args.size() % 2 == 0) return call.reply.error(Errc::syntax);
  SyncFeed& feed = feed_of(call.connection);
  for (std::size_t i = 1; i < args.size(); i += 2) {
    const std::string_view option = args[i], value = args[i + 1];
    if (is_word(option, "listening-port")) {
      const auto port = int_of(call, i + 1);
      if (!port) return;
      if (*port < 0 || *port > std::numeric_limits<std::uint16_t>::max())
        return call.reply.error(Errc::not_integer);
      feed.port = static_cast<std::uint16_t>(*port);
    } else if (is_word(option, "ip-address")) {
      if (value.size() > 255)
        return call.reply.error("REPLCONF ip-address provided by replica instance is too long: " +
                                std::to_string(value.size()) + " bytes");
    } else if (is_word(option, "capa")) {
      if (is_word(value, "eof")) feed.takes_eof = true;
    } else if (is_word(option, "ack") || is_word(option, "getack")) {
      return;  // no answer, by the protocol
    } else if (is_word(option, "rdb-only")) {
      const auto on = int_of(call, i + 1);
      if (!on) return;
      if (*on != 0 && *on != 1) return call.reply.error(Errc::not_integer);
      feed.only_file = *on == 1;
    } else if (is_word(option, "rdb-filter-only")) {
      if (!set_filter(call, value, feed.content)) return;
    } else {
      return call.reply.error("Unrecognized REPLCONF option: " + std::string(option));
    }
  }
  call.reply.ok();
}

// ---- refused

// A replica of Redis goes on with SYNC after this.
void psync(SessionCall& call) {
  call.reply.error(
      "PSYNC is not served: changes are replicated between the nodes of a ring alone "
      "(cluster-node); SYNC gives one snapshot");
}

void replicaof(SessionCall& call) {
  if (is_word(call.args[1], "no") && is_word(call.args[2], "one")) return call.reply.ok();
  call.reply.error(
      "this node follows no master: the nodes of a ring are equals, named by cluster-node lines "
      "(see GYRE NODES). To bring data here use --import, RESTORE, or MIGRATE at the other side");
}

void failover(SessionCall& call) {
  if (call.args.size() == 2 && is_word(call.args[1], "abort"))
    return call.reply.error("No failover in progress.");
  call.reply.error(
      "there is no master to replace: when a node is gone, the next replica of each slot acts by "
      "itself (see GYRE NODES)");
}

void module_load(SessionCall& call) {
  call.reply.error("modules cannot be loaded: there are none for Gyre (see FUNCTION LOAD)");
}

void module_unload(SessionCall& call) {
  call.reply.error("Error unloading module: no such module with that name");
}

constexpr auto rows = std::to_array<SessionRow>({
    {"SYNC", sync},
    {"REPLCONF", replconf},
    {"PSYNC", psync},
    {"REPLICAOF", replicaof},
    {"SLAVEOF", replicaof},
    {"FAILOVER", failover},
    {"MODULE|LOAD", module_load},
    {"MODULE|LOADEX", module_load},
    {"MODULE|UNLOAD", module_unload},
});

}  // namespace

std::span<const SessionRow> replication_handlers() {
  return rows;
}

}  // namespace gyre
