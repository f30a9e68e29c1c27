// What the commands that wait for their keys share (BLPOP, BZPOPMIN, XREAD BLOCK).

#include <algorithm>
#include <cmath>

#include "commands/parse.h"

namespace gyre {
namespace {

bool is_stream_read(const CommandSpec& spec) {
  return spec.name.starts_with('X');
}

std::size_t streams_word(Args args) {
  for (std::size_t i = 1; i < args.size(); ++i) {
    if (equals_ignore_case(args[i], "streams")) return i;
    // A group or a consumer may be called anything.
    if (equals_ignore_case(args[i], "group")) i += 2;
  }
  return args.size();
}

}  // namespace

std::optional<KeyRef> waited_key(CommandContext& ctx, std::size_t i, TypeId type) {
  KeyRef key = ctx.find(ctx.arg(i));
  if (key.is(type)) return key;
  if (ctx.woken()) {
    key.visible = false;
    return key;
  }
  ctx.reply.error(Errc::wrong_type);
  return std::nullopt;
}

std::optional<std::int64_t> timeout_arg(CommandContext& ctx, std::size_t i) {
  constexpr long double most = 9223372036854775807.0L;
  const auto seconds = parse_long_double(ctx.arg(i));
  if (!seconds) {
    ctx.reply.error("timeout is not a float or out of range");
    return std::nullopt;
  }
  const long double ms = std::ceil(*seconds * 1000);
  // Redis' number runs over where it is too large.
  if (!(ms >= 0 && ms < most)) {
    ctx.reply.error("timeout is negative");
    return std::nullopt;
  }
  return static_cast<std::int64_t>(ms);
}

bool asks_to_wait(const CommandSpec& spec, Args args) {
  if (!is_stream_read(spec)) return true;
  const std::size_t end = streams_word(args);
  for (std::size_t i = 1; i < end; ++i) {
    if (equals_ignore_case(args[i], "block")) return true;
    if (equals_ignore_case(args[i], "group")) i += 2;
  }
  return false;
}

std::vector<std::string> command_of_keys(const CommandSpec& spec, Args args,
                                         std::span<const std::size_t> keys) {
  std::vector<std::string> out;
  const auto put = [&](std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) out.emplace_back(args[i]);
  };
  if (is_stream_read(spec)) {
    const std::size_t first = streams_word(args) + 1, streams = (args.size() - first) / 2;
    put(0, first);
    for (const std::size_t i : keys) out.emplace_back(args[i]);
    for (const std::size_t i : keys) out.emplace_back(args[i + streams]);
  } else if (spec.find_keys) {
    std::vector<std::size_t> all;
    spec.find_keys(args, all);
    put(0, 2);
    out.push_back(std::to_string(keys.size()));
    for (const std::size_t i : keys) out.emplace_back(args[i]);
    put(all.back() + 1, args.size());
  } else if (spec.keys.last < 0) {
    put(0, 1);
    for (const std::size_t i : keys) out.emplace_back(args[i]);
    put(args.size() - 1, args.size());
  }
  return out;
}

}  // namespace gyre
