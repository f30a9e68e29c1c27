// What the session_*.cc files share: their rows for the table, and asking other threads.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/numbers.h"
#include "server/session.h"

namespace gyre {

struct SessionRow {
  std::string_view name;  // as in commands/session.cc
  SessionHandler run;
};
std::span<const SessionRow> connection_handlers();   // session_connection.cc
std::span<const SessionRow> client_handlers();       // session_client.cc
std::span<const SessionRow> tracking_handlers();     // session_tracking.cc
std::span<const SessionRow> acl_handlers();          // session_acl.cc
std::span<const SessionRow> pubsub_handlers();       // session_pubsub.cc
std::span<const SessionRow> server_handlers();       // session_server.cc
std::span<const SessionRow> snapshot_handlers();     // session_snapshot.cc
std::span<const SessionRow> replication_handlers();  // session_replication.cc
std::span<const SessionRow> migrate_handlers();      // session_migrate.cc
std::span<const SessionRow> debug_handlers();        // session_debug.cc
std::span<const SessionRow> walk_handlers();         // session_walk.cc
std::span<const SessionRow> cluster_handlers();      // session_cluster.cc
std::span<const SessionRow> gyre_handlers();         // session_gyre.cc
std::span<const SessionRow> inside_handlers();       // session_inside.cc
std::span<const SessionRow> script_handlers();       // session_script.cc
std::span<const SessionRow> memory_handlers();       // session_memory.cc
std::span<const SessionRow> latency_handlers();      // session_latency.cc
std::span<const SessionRow> help_handlers();         // session_help.cc

inline bool is_word(std::string_view arg, std::string_view word) {
  return equals_ignore_case(arg, word);
}

// The client is on this machine.
bool is_local(const Connection& connection);

// The number, or nothing after an error was answered (default: not an integer).
std::optional<std::int64_t> int_of(SessionCall& call, std::size_t i, const char* error = nullptr);

// A client's line of CLIENT LIST. running: the command under way, when it is this client's.
std::string client_line(const Worker& worker, Connection& c, Args running);

// CLIENT SETNAME and HELLO SETNAME; answers the error and false when the name is not fit.
bool set_client_name(SessionCall& call, std::string_view name);

// Writes a reply that is not yet due: at once, or by finish_later() when threads had to be asked.
using Answer = std::function<void(Reply&)>;

// Where replies cannot come later: true, and the refusal on its way, for a handler that needs to.
// It must not begin then, because nobody would hear of what it did.
inline bool refused_inline(SessionCall& call) {
  if (!call.inside_exec || call.instead) return false;
  call.later();
  return true;
}

// The reply to a change of what the whole ring shares (server/ring_settings.h): when all peers that
// are up have it. Where it cannot come later they are told all the same.
void answer_when_told(SessionCall& call, Answer answer);
// The same for a reply that is written already, and was to come later.
void finish_when_told(Worker& home, std::uint64_t client, std::uint64_t place, std::string&& out);

// Runs ask(worker) on the thread of `shard`, then answer(result, reply) on this one. What both take
// with them must own its bytes: the command's arguments are gone by then.
template <class T>
void ask_worker(SessionCall& call, ShardIndex shard, std::function<T(Worker&)> ask,
                std::function<void(T&&, Reply&)> answer) {
  Worker& home = call.worker;
  if (shard == home.shard()) return answer(ask(home), call.reply);
  if (refused_inline(call)) return;
  const std::uint64_t place = call.later();
  home.send_mail(shard, [=, to = home.shard(), client = call.connection.id,
                         protocol = call.reply.protocol()](Worker& there) {
    auto result = std::make_shared<T>(ask(there));
    there.send_mail(to, [=](Worker& back) {
      std::string out;
      Reply reply(out, protocol);
      answer(std::move(*result), reply);
      finish_later(back, client, place, std::move(out));
    });
  });
}

// The same of all threads of the node: answer(results by shard, reply). hold: the client's next
// commands wait for it; told: until all peers have what answer() changed of what the ring shares.
template <class T>
void ask_workers(SessionCall& call, std::function<T(Worker&)> ask,
                 std::function<void(std::vector<T>&&, Reply&)> answer, bool hold = false,
                 bool told = false) {
  Worker& home = call.worker;
  const std::size_t n = call.server().shards();
  if (n > 1 && refused_inline(call)) return;
  auto results = std::make_shared<std::vector<T>>(n);  // touched by this thread alone
  (*results)[home.shard().value] = ask(home);
  if (n == 1 && !told) return answer(std::move(*results), call.reply);
  if (n == 1) {
    std::string out;
    Reply reply(out, call.reply.protocol());
    answer(std::move(*results), reply);
    return answer_when_told(call, [&out](Reply& to) { to.raw(out); });
  }
  const std::uint64_t place = call.later(hold);
  auto left = std::make_shared<std::size_t>(n - 1);
  for (std::size_t i = 0; i < n; ++i) {
    const ShardIndex shard{static_cast<std::uint16_t>(i)};
    if (shard == home.shard()) continue;
    home.send_mail(shard, [=, to = home.shard(), client = call.connection.id,
                           protocol = call.reply.protocol()](Worker& there) {
      auto result = std::make_shared<T>(ask(there));
      there.send_mail(to, [=](Worker& back) {
        (*results)[shard.value] = std::move(*result);
        if (--*left > 0) return;
        std::string out;
        Reply reply(out, protocol);
        answer(std::move(*results), reply);
        told ? finish_when_told(back, client, place, std::move(out))
             : finish_later(back, client, place, std::move(out));
      });
    });
  }
}

}  // namespace gyre
