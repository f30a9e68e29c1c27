// AUTH, HELLO, QUIT, RESET, SELECT: who the client is and how it is spoken to.

#include <array>

#include "server/session_parts.h"
#include "server/version.h"

namespace gyre {
namespace {

// How long it takes says how long the given password is, and nothing of the real one.
bool same_bytes(std::string_view given, std::string_view real) {
  volatile unsigned char differ = given.size() == real.size() ? 0 : 1;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const char other = real.empty() ? '\0' : real[i % real.size()];
    differ = static_cast<unsigned char>(differ | (given[i] ^ other));
  }
  return differ == 0;
}

void authenticated(Connection& c) {
  c.authenticated = true;
  c.parser().set_authenticated(true);
}

void auth(SessionCall& call) {
  if (call.args.size() > 3) return call.reply.error(Errc::syntax);
  const bool named = call.args.size() == 3;
  if (!named && call.server().config().requirepass.get().empty()) {
    return call.reply.error(
        "AUTH <password> called without any password configured for the default user. Are you "
        "sure your configuration is correct?");
  }
  if (!accept_password(call, named ? call.args[1] : "default", call.args.back())) {
    return call.reply.error(Errc::wrong_pass);
  }
  authenticated(call.connection);
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
  bool opened = c.authenticated;
  std::optional<std::string_view> name;
  for (std::size_t i = 2; i < args.size(); ++i) {
    if (is_word(args[i], "auth") && i + 2 < args.size()) {
      if (!accept_password(call, args[i + 1], args[i + 2])) {
        return call.reply.error(Errc::wrong_pass);
      }
      opened = true;
      i += 2;
    } else if (is_word(args[i], "setname") && i + 1 < args.size()) {
      name = args[++i];
    } else {
      return call.reply.error("Syntax error in HELLO option '" + std::string(args[i]) + "'");
    }
  }
  if (!opened) {
    return call.reply.error(
        Error(Errc::no_auth,
              "HELLO must be called with the client already authenticated, otherwise the HELLO "
              "<proto> AUTH <user> <pass> option can be used to authenticate the client and "
              "select the RESP protocol version at the same time"));
  }
  if (name && !set_client_name(call, *name)) return;
  authenticated(c);
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
  c.db = {};
  c.protocol = 2;
  c.name.clear();
  c.reading_replicas = false;
  c.reply_mode = Connection::ReplyMode::on;
  c.levels = call.server().default_levels();
  c.authenticated = call.server().config().requirepass.get().empty();
  c.parser().set_authenticated(c.authenticated);
  call.reply.simple("RESET");
}

void select(SessionCall& call) {
  const auto db = int_of(call, 1);
  if (!db) return;
  if (call.connection.cluster_aware && *db != 0) {
    return call.reply.error("SELECT is not allowed in cluster mode");
  }
  if (*db < 0 || *db >= call.server().config().databases) {
    return call.reply.error("DB index is out of range");
  }
  call.connection.db = DbIndex{static_cast<std::uint8_t>(*db)};
  call.reply.ok();
}

// WAIT numreplicas timeout-ms
void wait(SessionCall& call) {
  const auto replicas = int_of(call, 1);
  if (!replicas) return;
  const auto ms = int_of(call, 2, "timeout is not an integer or out of range");
  if (!ms) return;
  if (*ms < 0) return call.reply.error("timeout is negative");
  // Inside EXEC nothing is waited for, and nothing asked.
  if (call.inline_only) return call.reply.integer(0);
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

bool accept_password(SessionCall& call, std::string_view user, std::string_view password) {
  const std::string real = call.server().config().requirepass.get();
  // Without a password the default user comes in with any, as in Redis.
  const bool right = real.empty() || same_bytes(password, real);
  if (right && user == "default") return true;
  call.worker.metrics().acl_access_denied_auth.add();
  return false;
}

std::span<const SessionRow> connection_handlers() {
  return rows;
}

}  // namespace gyre
