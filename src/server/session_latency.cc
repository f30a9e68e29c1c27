// LATENCY: what took long on this node, and how long its commands take.

#include <array>
#include <map>

#include "base/numbers.h"
#include "commands/command_command.h"
#include "commands/table.h"
#include "server/latency.h"
#include "server/session_parts.h"

namespace gyre {
namespace {

void latest(SessionCall& call) {
  const auto events = call.server().latency_log.events();
  call.reply.array(events.size());
  for (const auto& [name, event] : events) {
    call.reply.array(4);
    call.reply.bulk(name);
    call.reply.integer(event.samples.back().at_s);
    call.reply.integer(event.samples.back().ms);
    call.reply.integer(event.max_ms);
  }
}

void history(SessionCall& call) {
  const auto events = call.server().latency_log.events();
  const auto at = events.find(call.args[2]);
  if (at == events.end()) return call.reply.array(0);
  call.reply.array(at->second.samples.size());
  for (const auto& sample : at->second.samples) {
    call.reply.array(2);
    call.reply.integer(sample.at_s);
    call.reply.integer(sample.ms);
  }
}

void reset(SessionCall& call) {
  LatencyLog& log = call.server().latency_log;
  std::size_t forgotten = 0;
  if (call.args.size() == 2) forgotten = log.forget_all();
  for (const auto& event : call.args.subspan(2)) forgotten += log.forget(event);
  call.reply.integer(static_cast<std::int64_t>(forgotten));
}

void doctor(SessionCall& call) {
  const std::int64_t threshold = call.server().config().latency_monitor_threshold;
  std::string text;
  for (const auto& [name, event] : call.server().latency_log.events()) {
    std::int64_t sum = 0;
    for (const auto& sample : event.samples) sum += sample.ms;
    const auto n = static_cast<std::int64_t>(event.samples.size());
    const std::int64_t span = event.samples.back().at_s - event.samples.front().at_s;
    text += name + ": " + format_int(n) + " seconds with a slow one in " + format_int(span + 1) +
            " s, " + format_int(sum / n) + " ms on average, at most " + format_int(event.max_ms) +
            " ms.";
    if (name == "command" || name == "fast-command")
      text += " SLOWLOG GET names the commands, when slowlog-log-slower-than is low enough.";
    if (name == "expire-cycle") text += " Large keys expired, or very many at once.";
    text += "\n";
  }
  if (text.empty()) {
    text =
        threshold == 0
            ? "Nothing is watched: CONFIG SET latency-monitor-threshold <milliseconds> begins it.\n"
            : "Nothing took " + format_int(threshold) + " ms or longer.\n";
  }
  call.reply.verbatim("txt", text);
}

struct Shown {
  std::uint64_t calls = 0;
  std::map<std::uint64_t, std::uint64_t> by_us;
};

// LATENCY HISTOGRAM [command ...]: a command with subcommands stands for these.
void histogram(SessionCall& call) {
  const Args names = call.args.subspan(2);
  Server& server = call.server();
  std::vector<std::pair<std::string, Shown>> all;
  const auto add = [&](const CommandSpec& spec) {
    Shown shown;
    for (std::size_t i = 0; i < server.shards(); ++i) {
      const CommandStats& stats =
          server.worker({static_cast<std::uint16_t>(i)}).stats(command_index(spec));
      shown.calls += stats.calls.get();
      stats.took.add_to(shown.by_us);
    }
    if (shown.calls > 0) all.emplace_back(command_shown_name(spec), std::move(shown));
  };
  const auto wanted = [&](const CommandSpec& spec, std::string_view name) {
    const std::string shown = command_shown_name(spec);
    return equals_ignore_case(shown, name) ||
           equals_ignore_case(shown.substr(0, shown.find('|')), name);
  };
  if (names.empty()) {
    for (const CommandSpec* spec : all_commands()) add(*spec);
  }
  for (const auto& name : names) {
    for (const CommandSpec* spec : all_commands()) {
      if (wanted(*spec, name)) add(*spec);
    }
  }
  Reply& reply = call.reply;
  reply.map(all.size());
  for (const auto& [name, shown] : all) {
    reply.bulk(name);
    reply.map(2);
    reply.bulk("calls");
    reply.integer(static_cast<std::int64_t>(shown.calls));
    reply.bulk("histogram_usec");
    reply.map(shown.by_us.size());
    std::uint64_t so_far = 0;
    for (const auto& [us, count] : shown.by_us) {
      so_far += count;
      reply.integer(static_cast<std::int64_t>(us));
      reply.integer(static_cast<std::int64_t>(so_far));
    }
  }
}

constexpr auto rows = std::to_array<SessionRow>({
    {"LATENCY|LATEST", latest},
    {"LATENCY|HISTORY", history},
    {"LATENCY|RESET", reset},
    {"LATENCY|DOCTOR", doctor},
    {"LATENCY|HISTOGRAM", histogram},
});

}  // namespace

std::span<const SessionRow> latency_handlers() {
  return rows;
}

}  // namespace gyre
