// KEYS SCAN DBSIZE RANDOMKEY FLUSHDB FLUSHALL: over all slots of the ring, whichever node was
// asked.
//
// The client's next commands wait for the answer: a write that overtook its own FLUSHALL would be
// lost to it.

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdlib>

#include "server/session_parts.h"

namespace gyre {
namespace {

// What KEYS may answer at once. More would have to be held whole, several times over.
constexpr std::size_t keys_bytes_max = std::size_t{64} << 20;
// SCAN goes on by itself while it has found nothing, so that a rare MATCH does not cost a round
// trip for every ten keys looked at; so often, because other clients wait meanwhile.
constexpr int scan_rounds_max = 10;
// One batch of SCAN is one reply in memory, whatever COUNT says.
constexpr std::int64_t scan_count_max = 1'000'000;

struct Asker {
  std::uint64_t client, place;
  int protocol;
};

Asker later(SessionCall& call) {
  const std::uint64_t place = call.later(true);
  return {call.connection.id, place, call.reply.protocol()};
}

void finish(Worker& worker, const Asker& to, const Answer& write) {
  std::string out;
  Reply reply(out, to.protocol);
  write(reply);
  finish_later(worker, to.client, to.place, std::move(out));
}

WalkRequest request_of(SessionCall& call, WalkKind what) {
  WalkRequest request;
  request.what = what;
  request.db = call.connection.db;
  return request;
}

void unreachable(Reply& reply) {
  reply.error(Error(Errc::ring_down, "some slots have no replica that can be reached"));
}

void walk(SessionCall& call, WalkRequest&& request,
          std::function<void(WalkResult&&, Reply&)> answer) {
  if (call.all_here) return answer(call.worker.walk_all_here(request), call.reply);
  if (refused_inline(call)) return;
  const Asker to = later(call);
  Worker& worker = call.worker;
  worker.walk_all(std::move(request), [&worker, to, answer](WalkResult&& result) {
    finish(worker, to, [&](Reply& reply) { answer(std::move(result), reply); });
  });
}

void dbsize(SessionCall& call) {
  walk(call, request_of(call, WalkKind::count), [](WalkResult&& r, Reply& reply) {
    if (r.failed) return unreachable(reply);
    reply.integer(static_cast<std::int64_t>(r.count));
  });
}

void randomkey(SessionCall& call) {
  walk(call, request_of(call, WalkKind::random), [](WalkResult&& r, Reply& reply) {
    if (!r.keys.empty()) return reply.bulk(r.keys.front());
    r.failed ? unreachable(reply) : reply.null();
  });
}

void put_keys(Reply& reply, const std::vector<std::string>& keys) {
  reply.array(keys.size());
  for (const std::string& key : keys) reply.bulk(key);
}

void keys(SessionCall& call) {
  WalkRequest request = request_of(call, WalkKind::keys);
  request.pattern = call.args[1];
  walk(call, std::move(request), [](WalkResult&& r, Reply& reply) {
    if (r.failed) return unreachable(reply);
    std::size_t bytes = 0;
    for (const std::string& key : r.keys) bytes += key.size() + 16;
    if (bytes > keys_bytes_max) {
      return reply.error("KEYS would answer more than 64 MB; use SCAN");
    }
    put_keys(reply, r.keys);
  });
}

// FLUSHDB, FLUSHALL [ASYNC | SYNC]: both modes are the same here, a new floor for every slot.
void flush(SessionCall& call, bool all) {
  const Args args = call.args;
  if (args.size() > 2 ||
      (args.size() == 2 && !is_word(args[1], "async") && !is_word(args[1], "sync"))) {
    return call.reply.error(Errc::syntax);
  }
  WalkRequest request = request_of(call, WalkKind::flush);
  request.all_dbs = all;
  request.write_level = call.connection.levels.write;
  walk(call, std::move(request),
       [](WalkResult&& r, Reply& reply) { r.failed ? reply.error(Errc::no_quorum) : reply.ok(); });
}

void flushdb(SessionCall& call) {
  flush(call, false);
}
void flushall(SessionCall& call) {
  flush(call, true);
}

// What strtoul takes whole, as Redis reads a cursor.
std::optional<std::uint64_t> cursor(std::string_view arg) {
  const std::string text(arg);
  char* end = nullptr;
  errno = 0;
  const unsigned long value = std::strtoul(text.c_str(), &end, 10);
  const bool space = std::isspace(static_cast<unsigned char>(text.c_str()[0])) != 0;
  if (space || end != text.c_str() + text.size() || errno == ERANGE) return std::nullopt;
  return value;
}

struct Scan {
  WalkRequest request;
  bool empty_key_only;  // MATCH "": an empty pattern in a WalkRequest means any key
  int rounds = 0;

  // Whether another round is to follow this one's result.
  bool goes_on(WalkResult& r) {
    if (empty_key_only) std::erase_if(r.keys, [](const auto& k) { return !k.empty(); });
    if (r.failed || !r.keys.empty() || r.next == 0 || ++rounds >= scan_rounds_max) return false;
    request.place = r.next;
    return true;
  }
};

void put_scan(Reply& reply, const WalkResult& r) {
  if (r.failed) return unreachable(reply);
  reply.array(2);
  reply.bulk(std::to_string(r.next));
  put_keys(reply, r.keys);
}

void scan_round(Worker& worker, const Asker& to, const std::shared_ptr<Scan>& scan) {
  worker.walk_all(scan->request, [&worker, to, scan](WalkResult&& r) {
    if (scan->goes_on(r)) return scan_round(worker, to, scan);
    finish(worker, to, [&](Reply& reply) { put_scan(reply, r); });
  });
}

// SCAN cursor [MATCH pattern] [COUNT n] [TYPE type]
void scan(SessionCall& call) {
  const Args args = call.args;
  const auto place = cursor(args[1]);
  if (!place) return call.reply.error("invalid cursor");
  WalkRequest request = request_of(call, WalkKind::scan);
  request.place = *place;
  bool empty_key_only = false;
  for (std::size_t i = 2; i < args.size(); i += 2) {
    if (i + 1 == args.size()) return call.reply.error(Errc::syntax);
    if (is_word(args[i], "count")) {
      const auto count = int_of(call, i + 1);
      if (!count) return;
      if (*count < 1) return call.reply.error(Errc::syntax);
      request.count = static_cast<std::uint32_t>(std::min(*count, scan_count_max));
    } else if (is_word(args[i], "match")) {
      request.pattern = args[i + 1] == "*" ? std::string_view() : args[i + 1];
      empty_key_only = args[i + 1].empty();
    } else if (is_word(args[i], "type")) {
      // An empty type is no key's; an empty text in a WalkRequest means any.
      request.type = args[i + 1].empty() ? std::string_view(" ") : args[i + 1];
    } else {
      return call.reply.error(Errc::syntax);
    }
  }
  auto rounds = std::make_shared<Scan>(Scan{std::move(request), empty_key_only});
  if (call.all_here) {
    WalkResult r;
    do {
      r = call.worker.walk_all_here(rounds->request);
    } while (rounds->goes_on(r));
    return put_scan(call.reply, r);
  }
  if (refused_inline(call)) return;
  scan_round(call.worker, later(call), rounds);
}

constexpr auto rows = std::to_array<SessionRow>({
    {"DBSIZE", dbsize},
    {"RANDOMKEY", randomkey},
    {"KEYS", keys},
    {"SCAN", scan},
    {"FLUSHDB", flushdb},
    {"FLUSHALL", flushall},
});

}  // namespace

std::span<const SessionRow> walk_handlers() {
  return rows;
}

}  // namespace gyre
