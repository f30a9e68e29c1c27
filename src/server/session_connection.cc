// AUTH, HELLO, QUIT, RESET, SELECT: who the client is and how it is spoken to.

#include <array>

#include "commands/parse.h"
#include "server/session_parts.h"
#include "server/version.h"

namespace gyre {
namespace {

// The user that AUTH and HELLO AUTH ask for, when the password opens the door; else it is noted.
UserPtr user_of(SessionCall& call, std::string_view name, std::string_view password) {
  UserPtr user = call.worker.users().find(name);
  if (user && user->accepts(password)) return user;
  call.worker.note_denied_login(call.connection, call.args[0], name);
  return nullptr;
}

void auth(SessionCall& call) {
  if (call.args.size() > 3) return call.reply.error(Errc::syntax);
  const bool named = call.args.size() == 3;
  if (!named && call.worker.users().default_user()->nopass()) {
    return call.reply.error(
        "AUTH <password> called without any password configured for the default user. Are you "
        "sure your configuration is correct?");
  }
  UserPtr user = user_of(call, named ? call.args[1] : default_user_name, call.args.back());
  if (!user) return call.reply.error(Errc::wrong_pass);
  call.connection.become(std::move(user), true);
  call.reply.ok();
}

void describe(SessionCall& call) {
  Connection& c = call.connection;
  Reply reply(call.reply.out(), c.protocol);  // the one just chosen
  reply.map(8);
  reply.bulk("server");
  reply.bulk("redis");
  reply.bulk("version");
  reply.bulk(redis_version);
  reply.bulk("gyre_version");
  reply.bulk(gyre_version);
  reply.bulk("proto");
  reply.integer(c.protocol);
  reply.bulk("id");
  reply.integer(static_cast<std::int64_t>(c.id));
  reply.bulk("mode");
  reply.bulk(c.cluster_aware ? "cluster" : "standalone");
  reply.bulk("role");
  reply.bulk("master");
  reply.bulk("modules");
  reply.array(0);
}

// HELLO [proto [AUTH user password] [SETNAME name]]
void hello(SessionCall& call) {
  Connection& c = call.connection;
  const Args args = call.args;
  int protocol = c.protocol;
  if (args.size() > 1) {
    const auto version = int_of(call, 1, "Protocol version is not an integer or out of range");
    if (!version) return;
    if (*version < 2 || *version > 3) return call.reply.error(Errc::no_proto);
    protocol = static_cast<int>(*version);
  }
  UserPtr user = c.authenticated ? c.user : nullptr;
  std::optional<std::string_view> name;
  for (std::size_t i = 2; i < args.size(); ++i) {
    if (is_word(args[i], "auth") && i + 2 < args.size()) {
      user = user_of(call, args[i + 1], args[i + 2]);
      if (!user) return call.reply.error(Errc::wrong_pass);
      i += 2;
    } else if (is_word(args[i], "setname") && i + 1 < args.size()) {
      name = args[++i];
    } else {
      return call.reply.error("Syntax error in HELLO option '" + std::string(args[i]) + "'");
    }
  }
  if (!user) {
    return call.reply.error(
        Error(Errc::no_auth,
              "HELLO must be called with the client already authenticated, otherwise the HELLO "
              "<proto> AUTH <user> <pass> option can be used to authenticate the client and "
              "select the RESP protocol version at the same time"));
  }
  if (name && !set_client_name(call, *name)) return;
  c.become(std::move(user), true);
  c.protocol = protocol;
  describe(call);
}

void quit(SessionCall& call) {
  call.reply.ok();
  call.connection.closing = true;
}

// Back to how the connection began; a password asked for in the meantime is asked for again.
void reset(SessionCall& call) {
  Connection& c = call.connection;
  c.transaction = {};
  if (c.subscriptions) call.worker.subscribers().remove_all(*c.subscriptions);
  call.worker.monitor(c, false);
  call.worker.stop_tracking(c);
  call.worker.sync_feeds().end(c);
  c.feed.reset();
  c.db = call.worker.command_options().databases.lies(0);
  c.protocol = 2;
  c.name.clear();
  c.reading_replicas = false;
  c.reply_mode = Connection::ReplyMode::on;
  c.levels = call.server().default_levels();
  c.become(call.worker.users().default_user(), call.worker.users().open());
  call.reply.simple("RESET");
}

void select(SessionCall& call) {
  const auto db = int_of(call, 1);
  if (!db) return;
  if (*db != static_cast<std::int32_t>(*db)) return call.reply.error(not_of_32_bits());
  if (call.connection.cluster_aware && *db != 0) {
    return call.reply.error("SELECT is not allowed in cluster mode");
  }
  if (*db < 0 || *db >= call.server().config().databases) {
    return call.reply.error("DB index is out of range");
  }
  call.connection.db = call.worker.command_options().databases.lies(static_cast<std::size_t>(*db));
  call.reply.ok();
}

}  // namespace

// On a ring; a node that is alone moves the keys (commands/keys.cc).
void swap_databases(SessionCall& call) {
  if (call.connection.cluster_aware)
    return call.reply.error("SWAPDB is not allowed in cluster mode");
  const auto dbs = databases_to_swap(
      call.args, static_cast<std::size_t>(call.server().config().databases.get()));
  if (!dbs) return call.reply.error(dbs.error());
  if ((*dbs)[0] != (*dbs)[1]) call.server().ring_settings.swap_databases((*dbs)[0], (*dbs)[1]);
  answer_when_told(call, [](Reply& reply) { reply.ok(); });
}

namespace {

// WAIT numreplicas timeout-ms
void wait(SessionCall& call) {
  const auto replicas = int_of(call, 1);
  if (!replicas) return;
  const auto ms = int_of(call, 2, "timeout is not an integer or out of range");
  if (!ms) return;
  if (*ms < 0) return call.reply.error("timeout is negative");
  // Inside EXEC nothing is waited for, and nothing asked.
  if (call.inside_exec) return call.reply.integer(0);
  call.deferred = true;
  call.worker.blocking().begin_wait(call.connection, call.spec, *replicas, *ms);
}

constexpr auto rows = std::to_array<SessionRow>({
    {"AUTH", auth},
    {"HELLO", hello},
    {"QUIT", quit},
    {"RESET", reset},
    {"SELECT", select},
    {"WAIT", wait},
});

}  // namespace

std::span<const SessionRow> connection_handlers() {
  return rows;
}

}  // namespace gyre
