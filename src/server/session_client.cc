// CLIENT: what the node knows of its connections, and what may be done to them.
//
// Connections belong to their threads, so LIST and KILL ask every thread.

#include <algorithm>
#include <array>

#include "server/session_parts.h"

namespace gyre {
namespace {

// Redis' bytes for a client in RESP: the command that runs is part of the query buffer there.
std::size_t wire_bytes(Args args) {
  std::size_t bytes = 3 + std::to_string(args.size()).size();
  for (const auto& a : args) bytes += a.size() + std::to_string(a.size()).size() + 5;
  return bytes;
}

std::size_t arg_bytes(Args args) {
  std::size_t bytes = 0;
  for (const auto& a : args) bytes += a.size();
  return bytes;
}

std::string flags_of(const Connection& c) {
  std::string flags;
  if (c.monitoring) flags += 'O';
  if (c.syncing()) flags += 'S';
  if (c.subscribed()) flags += 'P';
  if (c.waits != 0) flags += 'b';
  if (c.transaction.open) flags += 'x';
  if (c.closing) flags += 'c';
  if (c.reading_replicas) flags += 'r';
  if (c.no_evict) flags += 'e';
  if (c.tracking) {
    flags += 't';
    if (c.tracking->broken) flags += 'R';
    if (c.tracking->bcast) flags += 'B';
  }
  return flags.empty() ? "N" : flags;
}

// A client is a normal one, a subscriber, or one that is sent a snapshot: there are no masters.
enum class Type : std::uint8_t { any, normal, pubsub, replica, nobody, unknown };
Type type_of(std::string_view text) {
  if (is_word(text, "normal")) return Type::normal;
  if (is_word(text, "pubsub")) return Type::pubsub;
  if (is_word(text, "replica") || is_word(text, "slave")) return Type::replica;
  return is_word(text, "master") ? Type::nobody : Type::unknown;
}

void unknown_type(Reply& reply, std::string_view text) {
  reply.error("Unknown client type '" + std::string(text) + "'");
}

// Which clients are meant; owns its bytes, because it travels between threads.
struct Filter {
  std::optional<std::uint64_t> id;
  std::vector<std::uint64_t> ids;
  std::string address, local_address, user;
  Type type = Type::any;
  std::optional<std::uint64_t> skip;  // whoever asks

  bool takes(const Connection& c) const {
    if (!c.is_open()) return false;
    const Type its = c.syncing() ? Type::replica : c.subscribed() ? Type::pubsub : Type::normal;
    if (type != Type::any && type != its) return false;
    if (id && c.id != *id) return false;
    if (!ids.empty() && std::find(ids.begin(), ids.end(), c.id) == ids.end()) return false;
    if (!address.empty() && c.peer_address() != address) return false;
    if (!local_address.empty() && c.local_address() != local_address) return false;
    if (!user.empty() && c.user->name() != user) return false;
    return !skip || c.id != *skip;
  }
};

void id(SessionCall& call) {
  call.reply.integer(static_cast<std::int64_t>(call.connection.id));
}

void info(SessionCall& call) {
  call.reply.verbatim("txt", client_line(call.worker, call.connection, call.args));
}

// CLIENT LIST [TYPE type | ID id ...]
void list(SessionCall& call) {
  const Args args = call.args;
  Filter filter;
  if (args.size() == 4 && is_word(args[2], "type")) {
    filter.type = type_of(args[3]);
    if (filter.type == Type::unknown) return unknown_type(call.reply, args[3]);
  } else if (args.size() > 3 && is_word(args[2], "id")) {
    for (std::size_t i = 3; i < args.size(); ++i) {
      const auto one = int_of(call, i, "Invalid client ID");
      if (!one) return;
      filter.ids.push_back(static_cast<std::uint64_t>(*one));
    }
  } else if (args.size() != 2) {
    return call.reply.error(Errc::syntax);
  }
  using Lines = std::vector<std::pair<std::uint64_t, std::string>>;  // by id
  // The asking client's own line is made here, while its command is at hand.
  const std::uint64_t self = call.connection.id;
  const std::string own = client_line(call.worker, call.connection, args);
  const std::function<Lines(Worker&)> ask = [filter, self, own](Worker& w) {
    Lines lines;
    for (const auto& [key, c] : w.connections()) {
      if (filter.takes(*c)) lines.emplace_back(c->id, c->id == self ? own : client_line(w, *c, {}));
    }
    return lines;
  };
  ask_workers<Lines>(call, ask, [](std::vector<Lines>&& parts, Reply& reply) {
    Lines all;
    for (Lines& part : parts) std::move(part.begin(), part.end(), std::back_inserter(all));
    std::sort(all.begin(), all.end());
    std::string text;
    for (const auto& [client, line] : all) text += line;
    reply.verbatim("txt", text);
  });
}

bool fit_name(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c >= '!' && c <= '~'; });
}

void getname(SessionCall& call) {
  call.connection.name.empty() ? call.reply.null() : call.reply.bulk(call.connection.name);
}

void setname(SessionCall& call) {
  if (set_client_name(call, call.args[2])) call.reply.ok();
}

// Of Redis 7.2, because client libraries send it at every connect.
void setinfo(SessionCall& call) {
  const std::string_view option = call.args[2], value = call.args[3];
  const bool is_name = is_word(option, "lib-name");
  if (!is_name && !is_word(option, "lib-ver")) {
    return call.reply.error("Unrecognized option '" + std::string(option) + "'");
  }
  if (!fit_name(value)) {
    return call.reply.error(std::string(is_name ? "lib-name" : "lib-ver") +
                            " cannot contain spaces, newlines or special characters.");
  }
  (is_name ? call.connection.lib_name : call.connection.lib_version) = value;
  call.reply.ok();
}

// CLIENT KILL ID id | TYPE type | ADDR a | LADDR a | USER name | SKIPME yes|no ...
bool kill_filter(SessionCall& call, Filter& filter) {
  const Args args = call.args;
  filter.skip = call.connection.id;
  if (args.size() % 2 != 0) return call.reply.error(Errc::syntax), false;
  for (std::size_t i = 2; i < args.size(); i += 2) {
    const std::string_view value = args[i + 1];
    if (is_word(args[i], "id")) {
      const auto one = parse_int(value);
      if (!one || *one < 1) {
        return call.reply.error("client-id should be greater than 0"), false;
      }
      filter.id = static_cast<std::uint64_t>(*one);
    } else if (is_word(args[i], "type")) {
      filter.type = type_of(value);
      if (filter.type == Type::unknown) return unknown_type(call.reply, value), false;
    } else if (is_word(args[i], "addr")) {
      filter.address = value;
    } else if (is_word(args[i], "laddr")) {
      filter.local_address = value;
    } else if (is_word(args[i], "user")) {
      if (!call.worker.users().find(value)) {
        return call.reply.error("No such user '" + std::string(value) + "'"), false;
      }
      filter.user = value;
    } else if (is_word(args[i], "skipme") && is_word(value, "yes")) {
      filter.skip = call.connection.id;
    } else if (is_word(args[i], "skipme") && is_word(value, "no")) {
      filter.skip.reset();
    } else {
      return call.reply.error(Errc::syntax), false;
    }
  }
  return true;
}

void kill(SessionCall& call) {
  const bool by_address = call.args.size() == 3;  // the old form, which spares nobody
  Filter filter;
  if (by_address) {
    filter.address = call.args[2];
  } else if (!kill_filter(call, filter)) {
    return;
  }
  // A client that kills itself still reads the answer.
  std::int64_t own = 0;
  if (filter.takes(call.connection)) {
    call.connection.closing = true;
    own = 1;
  }
  filter.skip = call.connection.id;
  const std::function<std::int64_t(Worker&)> ask = [filter](Worker& w) {
    std::vector<Connection*> meant;
    for (const auto& [key, c] : w.connections()) {
      if (filter.takes(*c)) meant.push_back(c.get());
    }
    for (Connection* c : meant) {
      c->close();
      w.closed(*c);
    }
    return static_cast<std::int64_t>(meant.size());
  };
  ask_workers<std::int64_t>(call, ask,
                            [own, by_address](std::vector<std::int64_t>&& parts, Reply& reply) {
                              std::int64_t killed = own;
                              for (const std::int64_t n : parts) killed += n;
                              if (!by_address) return reply.integer(killed);
                              killed > 0 ? reply.ok() : reply.error("No such client");
                            });
}

// CLIENT PAUSE ms [WRITE | ALL]. A pause under way is made longer or wider, never less.
// Or no more.
void paused(SessionCall& call) {
  call.worker.refresh_expire();
  for (std::size_t i = 0; i < call.server().shards(); ++i) {
    const ShardIndex shard{static_cast<std::uint16_t>(i)};
    if (shard != call.worker.shard())
      call.worker.send_mail(shard, [](Worker& w) { w.refresh_expire(); });
  }
  call.reply.ok();
}

void pause(SessionCall& call) {
  bool writes_only = false;
  if (call.args.size() > 4) return call.reply.error(Errc::syntax);
  if (call.args.size() == 4) {
    writes_only = is_word(call.args[3], "write");
    if (!writes_only && !is_word(call.args[3], "all")) {
      return call.reply.error("CLIENT PAUSE mode must be WRITE or ALL");
    }
  }
  const auto ms = int_of(call, 2, "timeout is not an integer or out of range");
  if (!ms) return;
  if (*ms < 0) return call.reply.error("timeout is negative");
  const UnixMs now = call.worker.wall_ms();
  const auto until = checked_add(now, *ms);
  if (!until) return call.reply.error("timeout is not an integer or out of range");
  Server& server = call.server();
  const bool running = server.pause_clients_until.load() > now;
  server.pause_writes_only = running ? server.pause_writes_only && writes_only : writes_only;
  server.pause_clients_until =
      running ? std::max(server.pause_clients_until.load(), *until) : *until;
  paused(call);
}

void unpause(SessionCall& call) {
  call.server().pause_clients_until = 0;
  paused(call);
}

// CLIENT REPLY ON | OFF | SKIP. Only ON is answered; dispatch drops what OFF and SKIP silence.
void reply_mode(SessionCall& call) {
  using Mode = Connection::ReplyMode;
  Mode& mode = call.connection.reply_mode;
  if (is_word(call.args[2], "on")) {
    mode = Mode::on;
    call.reply.ok();
  } else if (is_word(call.args[2], "off")) {
    mode = Mode::off;
  } else if (is_word(call.args[2], "skip")) {
    if (mode != Mode::off) mode = Mode::skip_next;
  } else {
    call.reply.error(Errc::syntax);
  }
}

void no_evict(SessionCall& call) {
  const bool on = is_word(call.args[2], "on");
  if (!on && !is_word(call.args[2], "off")) return call.reply.error(Errc::syntax);
  call.connection.no_evict = on;
  call.reply.ok();
}

// CLIENT UNBLOCK id [TIMEOUT | ERROR]
void unblock(SessionCall& call) {
  if (call.args.size() > 4) return call.reply.error(Errc::syntax);
  if (call.args.size() == 4 && !is_word(call.args[3], "timeout") &&
      !is_word(call.args[3], "error")) {
    return call.reply.error("CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
  }
  const auto client = int_of(call, 2);
  if (!client) return;
  const bool error = call.args.size() == 4 && is_word(call.args[3], "error");
  const std::function<int(Worker&)> ask = [id = static_cast<std::uint64_t>(*client),
                                           error](Worker& w) {
    Connection* c = w.find(id);
    return c && w.blocking().unblock(*c, error) ? 1 : 0;
  };
  ask_workers<int>(call, ask, [](std::vector<int>&& parts, Reply& reply) {
    reply.integer(*std::max_element(parts.begin(), parts.end()));
  });
}

constexpr auto rows = std::to_array<SessionRow>({
    {"CLIENT|ID", id},
    {"CLIENT|INFO", info},
    {"CLIENT|LIST", list},
    {"CLIENT|GETNAME", getname},
    {"CLIENT|SETNAME", setname},
    {"CLIENT|SETINFO", setinfo},
    {"CLIENT|KILL", kill},
    {"CLIENT|PAUSE", pause},
    {"CLIENT|UNPAUSE", unpause},
    {"CLIENT|REPLY", reply_mode},
    {"CLIENT|NO-EVICT", no_evict},
    {"CLIENT|UNBLOCK", unblock},
});

}  // namespace

// One line of CLIENT LIST, with Redis' fields in Redis' order. What Redis counts and Gyre does not
// have (fixed reply buffers) is 0; fd is -1: descriptors belong to the event loop.
std::string client_line(const Worker& worker, Connection& c, Args running) {
  const SteadyMs now = worker.now_ms();
  std::size_t queued = 0;
  for (const OwnedCommand& command : c.transaction.commands) queued += arg_bytes(command.args());
  const std::size_t output = c.output_bytes();
  const std::size_t query = c.query_bytes() + (running.empty() ? 0 : wire_bytes(running));
  std::string line;
  const auto field = [&](std::string_view name, std::string_view value) {
    if (!line.empty()) line += ' ';
    line.append(name).append("=").append(value);
  };
  const auto number = [&](std::string_view name, std::int64_t value) {
    field(name, format_int(value));
  };
  const auto bytes = [&](std::string_view name, std::size_t value) {
    number(name, static_cast<std::int64_t>(value));
  };
  number("id", static_cast<std::int64_t>(c.id));
  field("addr", c.peer_address());
  field("laddr", c.local_address());
  number("fd", -1);
  field("name", c.name);
  number("age", (now - c.created_ms) / 1000);
  number("idle", running.empty() ? (now - c.active_ms) / 1000 : 0);
  field("flags", flags_of(c));
  number("db", static_cast<std::int64_t>(worker.command_options().databases.name(c.db)));
  const auto listens = [&](Listening what) {
    return c.subscriptions ? static_cast<std::int64_t>(c.subscriptions->count(what)) : 0;
  };
  number("sub", listens(Listening::channel));
  number("psub", listens(Listening::pattern));
  number("ssub", listens(Listening::shard));
  number("multi",
         c.transaction.open ? static_cast<std::int64_t>(c.transaction.commands.size()) : -1);
  bytes("qbuf", query);
  number("qbuf-free", 0);
  bytes("argv-mem", arg_bytes(running));
  bytes("multi-mem", queued);
  number("rbs", 0);
  number("rbp", 0);
  number("obl", 0);
  number("oll", output > 0 ? 1 : 0);
  bytes("omem", output);
  bytes("tot-mem", sizeof(Connection) + query + queued + output);
  field("events", c.pending_write_bytes() > 0 ? "rw" : "r");
  field("cmd", c.last_command ? to_lower(c.last_command->name) : "NULL");
  field("user", c.user->name());
  number("redir", c.tracking ? static_cast<std::int64_t>(c.tracking->redirect) : -1);
  number("resp", c.protocol);
  line += '\n';
  return line;
}

bool set_client_name(SessionCall& call, std::string_view name) {
  if (!fit_name(name)) {
    call.reply.error("Client names cannot contain spaces, newlines or special characters.");
    return false;
  }
  call.connection.name = name;
  return true;
}

std::span<const SessionRow> client_handlers() {
  return rows;
}

}  // namespace gyre
