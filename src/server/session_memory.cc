// MEMORY STATS, DOCTOR, PURGE, MALLOC-STATS: the node's memory. MEMORY USAGE is a key's
// (commands/object.cc).

#include <array>
#include <cstdio>

#include "server/memory_figures.h"
#include "server/session_parts.h"
#include "server/worker.h"
#include "server/worker_scripts.h"

namespace gyre {
namespace {

// Below these a ratio says nothing: a node without data has its threads' buffers.
constexpr std::uint64_t judged_from = std::uint64_t{32} << 20;
constexpr double peak_much = 1.5, fragmented = 1.4, overhead_much = 1.1;

void stats(SessionCall& call) {
  Server& server = call.server();
  const MemoryFigures f = memory_figures(server);
  const auto libraries = server.scripts.libraries();
  std::uint64_t lua = 0, codes = 0, keys = 0;
  for (const auto& [name, library] : libraries->by_name) codes += library->code.size();
  for (std::size_t i = 0; i < server.shards(); ++i) {
    Worker& w = server.worker({static_cast<std::uint16_t>(i)});
    lua += w.scripts().shown.memory.load(std::memory_order_relaxed);
    for (const Published::Db& db : w.published().dbs)
      keys += db.keys.load(std::memory_order_relaxed);
  }
  Reply& reply = call.reply;
  const std::size_t mark = reply.deferred();
  std::size_t fields = 0;
  const auto number = [&](std::string_view name, std::uint64_t n) {
    reply.bulk(name);
    reply.integer(static_cast<std::int64_t>(n));
    ++fields;
  };
  const auto real = [&](std::string_view name, double n) {
    reply.bulk(name);
    reply.real(n);
    ++fields;
  };
  const auto beyond = [](std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; };
  number("peak.allocated", f.peak);
  number("total.allocated", f.used);
  number("replication.backlog", 0);
  number("clients.slaves", 0);
  number("aof.buffer", server.store() ? server.store()->stats().waiting_bytes : 0);
  number("lua.caches", lua);
  number("functions.caches", codes);
  number("overhead.total", f.used - f.records);
  number("keys.count", keys);
  number("keys.bytes-per-key", keys == 0 ? 0 : f.records / keys);
  number("dataset.bytes", f.records);
  real("dataset.percentage", 100 * ratio(f.records, f.used));
  real("peak.percentage", 100 * ratio(f.used, f.peak));
  if (f.allocated > 0) {
    number("allocator.allocated", f.allocated);
    number("allocator.active", f.active);
    number("allocator.resident", f.mapped);
    real("allocator-fragmentation.ratio", ratio(f.active, f.allocated));
    number("allocator-fragmentation.bytes", beyond(f.active, f.allocated));
    real("allocator-rss.ratio", ratio(f.mapped, f.active));
    number("allocator-rss.bytes", beyond(f.mapped, f.active));
    real("rss-overhead.ratio", ratio(f.resident, f.mapped));
    number("rss-overhead.bytes", beyond(f.resident, f.mapped));
  }
  real("fragmentation", ratio(f.resident, f.used));
  number("fragmentation.bytes", beyond(f.resident, f.used));
  reply.finish_map(mark, fields);
}

void doctor(SessionCall& call) {
  const MemoryFigures f = memory_figures(call.server());
  if (f.used < judged_from) {
    return call.reply.verbatim(
        "txt", "This node holds less than 32 MB: its figures say nothing about its memory yet.");
  }
  std::string text;
  const auto say = [&](double value, const char* what) {
    char number[32];
    std::snprintf(number, sizeof number, "%.2f", value);
    text += std::string(text.empty() ? "" : "\n") + " * " + what + " (" + number + ")";
  };
  if (const double r = ratio(f.peak, f.used); r > peak_much)
    say(r,
        "Peak: it once took so many times what it takes now, and the allocator may keep pages "
        "of then; MEMORY PURGE gives them back.");
  if (const double r = ratio(f.active, f.allocated); r > fragmented)
    say(r,
        "Fragmentation: pages hold so many times what lies in them, as after many removals; "
        "new values fill the gaps, and a restart packs them.");
  if (const double r = ratio(f.mapped, f.active); r > fragmented)
    say(r,
        "Kept pages: the allocator keeps so many times the pages that it uses; MEMORY PURGE "
        "gives them back.");
  if (const double r = ratio(f.resident, f.mapped); f.mapped > 0 && r > overhead_much)
    say(r,
        "Beside the allocator: the process takes so many times what its allocator has, for the "
        "store's buffers, scripts or stacks.");
  call.reply.verbatim("txt", text.empty() ? "Nothing about this node's memory is unusual."
                                          : "This node's memory:\n\n" + text);
}

void purge(SessionCall& call) {
  purge_allocator() ? call.reply.ok()
                    : call.reply.error("this build's allocator cannot give memory back");
}

void malloc_stats(SessionCall& call) {
  const std::string text = allocator_report();
  call.reply.verbatim("txt", text.empty() ? "this build's allocator tells nothing" : text);
}

constexpr auto rows = std::to_array<SessionRow>({
    {"MEMORY|STATS", stats},
    {"MEMORY|DOCTOR", doctor},
    {"MEMORY|PURGE", purge},
    {"MEMORY|MALLOC-STATS", malloc_stats},
});

}  // namespace

std::span<const SessionRow> memory_handlers() {
  return rows;
}

}  // namespace gyre
