// MONITOR: every command that clients of this node have run, as a line to each client that asked.
//
// Costs one comparison for each command while nobody watches. Commands of administrators are not
// shown, passwords are blanked.

#include <algorithm>
#include <cstdio>

#include "server/server.h"
#include "server/slow_log.h"
#include "server/worker.h"

namespace gyre {
namespace {

// In double quotes, as redis-cli shows strings.
void put_quoted(std::string& line, std::string_view arg) {
  constexpr std::string_view hex = "0123456789abcdef";
  constexpr std::string_view plain = "\n\r\t\a\b\"\\", spelt = "nrtab\"\\";
  line += '"';
  for (const char c : arg) {
    const auto byte = static_cast<unsigned char>(c);
    if (const std::size_t at = plain.find(c); at != std::string_view::npos) {
      line.append({'\\', spelt[at]});
    } else if (byte >= 0x20 && byte < 0x7f) {
      line += c;
    } else {
      line.append({'\\', 'x', hex[byte >> 4], hex[byte & 15]});
    }
  }
  line += '"';
}

}  // namespace

void Worker::monitor(Connection& c, bool on) {
  if (c.monitoring == on) return;
  c.monitoring = on;
  const std::uint64_t bit = std::uint64_t{1} << shard_.value;
  if (on) {
    monitors_.push_back(&c);
    server_.monitoring_threads.fetch_or(bit);
    return;
  }
  std::erase(monitors_, &c);
  if (monitors_.empty()) server_.monitoring_threads.fetch_and(~bit);
}

void Worker::tell_monitors(const Connection& by, const CommandSpec& spec, DbIndex db, Args args) {
  if (!(spec.flags & (flag::skip_monitor | flag::admin)))
    show_monitors(by.peer_address(), db, args);
}

// Before it runs, so that its calls come behind it.
void Worker::tell_monitors_of_script(const Connection& by, const CommandSpec& spec, DbIndex db,
                                     Args args) {
  if (spec.flags & flag::script_call) show_monitors(by.peer_address(), db, args);
}

void Worker::tell_monitors_of_call(const CommandSpec& spec, DbIndex db, Args args) {
  if (server_.monitoring_threads.load(std::memory_order_relaxed) != 0 &&
      !(spec.flags & (flag::skip_monitor | flag::admin)))
    show_monitors("lua", db, args);
}

void Worker::show_monitors(std::string_view by, DbIndex db, Args args) {
  const UnixMs now = wall_ms();
  char time[48];
  std::snprintf(time, sizeof time, "+%lld.%06lld [%u ", static_cast<long long>(now / 1000),
                static_cast<long long>(now % 1000 * 1000),
                static_cast<unsigned>(command_options_.databases.name(db)));
  std::string text = time;
  text.append(by).append("]");
  for (std::size_t i = 0; i < args.size(); ++i) {
    text += ' ';
    put_quoted(text, secret_argument(args, i) ? hidden_argument : args[i]);
  }
  text += "\r\n";
  const auto line = std::make_shared<const std::string>(std::move(text));
  for (std::uint64_t left = server_.monitoring_threads.load(); left != 0; left &= left - 1) {
    send_mail({static_cast<std::uint16_t>(std::countr_zero(left))}, [line](Worker& w) {
      for (Connection* c : w.monitors_) w.push(*c, *line);
    });
  }
}

}  // namespace gyre
