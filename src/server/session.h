// Session commands: those that run at the connection (no key): CLIENT, CONFIG, INFO, CLUSTER, GYRE,
// ...
//
// One handler per row of commands/session.cc, found by the row's name in one table
// (server/session_table.cc). A handler writes its whole reply, or calls later() and fills it in
// from a callback on the same thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "resp/reply.h"
#include "server/connection.h"
#include "server/server.h"
#include "server/worker.h"

namespace gyre {

struct SessionCall {
  Worker& worker;
  Connection& connection;
  Args args;
  Reply& reply;
  const CommandSpec& spec;
  // Inside EXEC or a script: it may not wait, and later() is only possible with `instead`, which
  // then takes the reply.
  bool inside_exec = false;
  Answered instead{};
  // The same under the barrier: what all shards of a node alone hold is in reach.
  bool all_here = false;
  bool deferred = false;

  Server& server() const { return worker.server(); }
  // The reply comes later: the place in the client's line to give to finish_later(). What was
  // written to `reply` is dropped. While it is out, the client's next commands wait when `hold` is
  // true.
  std::uint64_t later(bool hold = false);
};

// What a place may say besides: no client's, but the number of a callback; its client is suspended
// until then.
inline constexpr std::uint64_t place_of_callback = std::uint64_t{1} << 63,
                               place_suspends = std::uint64_t{1} << 62;

// Fills a later() reply; nothing when the client has gone. gate: a turn that must be durable first.
void finish_later(Worker& worker, std::uint64_t connection, std::uint64_t place,
                  std::string&& reply, std::uint64_t gate = 0);

using SessionHandler = void (*)(SessionCall& call);
// nullptr: the row has no handler of its own (a container without a subcommand that exists).
SessionHandler session_handler(const CommandSpec& spec);
// SWAPDB on a ring; on a node that is alone it is a command like others.
void swap_databases(SessionCall& call);
void publish_on_ring(SessionCall& call);

}  // namespace gyre
