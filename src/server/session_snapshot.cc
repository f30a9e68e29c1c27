// SAVE, BGSAVE, LASTSAVE: the snapshots of server/snapshot.h, asked for by a client. BGREWRITEAOF.

#include <array>

#include "server/session_parts.h"

namespace gyre {
namespace {

constexpr std::string_view started = "+Background saving started\r\n";
constexpr std::string_view in_progress = "Background save already in progress";

// Again, as soon as no other thread holds the node. `refused` hears of what stands against it.
void begin_snapshot(Worker& worker, bool alone_already, Snapshots::Done done,
                    std::function<void(const Error&)> refused, std::function<void()> begun) {
  Snapshots& snapshots = worker.server().snapshots();
  std::optional<Error> error;
  const auto begin = [&] {
    if (snapshots.running()) {
      error = Error(Errc::err, std::string(in_progress));
    } else if (const auto began = snapshots.begin(done); !began) {
      error = began.error();
    }
  };
  if (alone_already) {
    begin();
  } else if (!worker.while_others_stand(begin)) {
    worker.post([=](Worker& again) { begin_snapshot(again, false, done, refused, begun); });
    return;
  }
  error ? refused(*error) : begun();
}

// Whether the command may begin; answers why not.
bool may_begin(SessionCall& call) {
  if (!call.server().snapshots().running()) return true;
  call.reply.error(in_progress);
  return false;
}

// The client's next commands wait; gives what answers this one, from any thread.
std::function<void(std::string)> answer_later(SessionCall& call) {
  return [&server = call.server(), home = call.worker.shard(), client = call.connection.id,
          place = call.later(true)](const std::string& reply) {
    server.worker(home).post(
        [=](Worker& w) { finish_later(w, client, place, std::string(reply)); });
  };
}

std::string error_reply(const Error& error) {
  std::string out;
  Reply(out, 2).error(error);
  return out;
}

void save(SessionCall& call) {
  if (!may_begin(call)) return;
  if (refused_inline(call)) return;
  const auto answer = answer_later(call);
  begin_snapshot(
      call.worker, false,
      [answer](const Result<void>& result) {
        answer(result ? std::string("+OK\r\n") : error_reply(result.error()));
      },
      [answer](const Error& error) { answer(error_reply(error)); }, [] {});
}

void bgsave(SessionCall& call) {
  if (call.args.size() > 2 || (call.args.size() == 2 && !is_word(call.args[1], "schedule")))
    return call.reply.error(Errc::syntax);
  if (!may_begin(call)) return;
  if (call.all_here) {
    return begin_snapshot(
        call.worker, true, {}, [&](const Error& error) { call.reply.error(error); },
        [&] { call.reply.raw(started); });
  }
  if (refused_inline(call)) return;
  const auto answer = answer_later(call);
  begin_snapshot(
      call.worker, false, {}, [answer](const Error& error) { answer(error_reply(error)); },
      [answer] { answer(std::string(started)); });
}

// The store is always current, but keeps what was overwritten until RocksDB gets to it: this is
// what rewriting the append-only file is for in Redis.
void bgrewriteaof(SessionCall& call) {
  Store* store = call.server().store();
  if (!store)
    return call.reply.error("persistence is off: there is nothing on the disk to rewrite");
  if (!store->compact())
    return call.reply.error("Background append only file rewriting already in progress");
  call.reply.simple("Background append only file rewriting started");
}

void lastsave(SessionCall& call) {
  call.reply.integer(call.server().snapshots().last_save_ms() / 1000);
}

constexpr auto rows = std::to_array<SessionRow>({
    {"SAVE", save},
    {"BGSAVE", bgsave},
    {"BGREWRITEAOF", bgrewriteaof},
    {"LASTSAVE", lastsave},
});

}  // namespace

std::span<const SessionRow> snapshot_handlers() {
  return rows;
}

}  // namespace gyre
