// Pub/sub: publishing is a plain function, so that EXEC and scripts have it in its place among
// their commands; the rest belongs to the connection (server/session_pubsub.cc).
//
// A shard channel has a slot, as a key has, and is published where that slot is acted for; so not
// while the shards are being loaded.

#include <array>

#include "commands/table.h"

namespace gyre {
namespace {

void publish_to(CommandContext& ctx, ChannelKind kind) {
  const std::uint64_t clients =
      ctx.publisher ? ctx.publisher->publish(kind, ctx.arg(1), ctx.arg(2)) : 0;
  ctx.reply.integer(static_cast<std::int64_t>(clients));
}

void publish(CommandContext& ctx) {
  publish_to(ctx, ChannelKind::plain);
}

void spublish(CommandContext& ctx) {
  publish_to(ctx, ChannelKind::shard);
}

using namespace flag;
constexpr std::uint32_t up = loading | stale;

constexpr CommandSpec row(std::string_view name, int arity, std::uint32_t flags,
                          std::string_view since, std::string_view summary) {
  return {.name = name,
          .arity = arity,
          .flags = flags | session,
          .group = "pubsub",
          .since = since,
          .summary = summary};
}
constexpr CommandSpec with_channels(CommandSpec spec) {
  spec.keys = all_keys;
  return spec;
}

constexpr std::uint32_t listens = flag::pubsub | noscript | up;
constexpr std::uint32_t asks = flag::pubsub | up;

constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "PUBLISH",
     .arity = 3,
     .flags = flag::pubsub | up | fast | may_replicate | once | blind,
     .run = publish,
     .group = "pubsub",
     .since = "2.0.0",
     .summary = "Sends a message to a channel"},
    {.name = "SPUBLISH",
     .arity = 3,
     .flags = flag::pubsub | stale | fast | may_replicate | once | blind,
     .keys = first_key,
     .run = spublish,
     .group = "pubsub",
     .since = "7.0.0",
     .summary = "Sends a message to a shard channel"},
    row("SUBSCRIBE", -2, listens, "2.0.0", "Listens to channels"),
    row("UNSUBSCRIBE", -1, listens, "2.0.0", "Listens to channels, or to any, no longer"),
    row("PSUBSCRIBE", -2, listens, "2.0.0", "Listens to all channels that match patterns"),
    row("PUNSUBSCRIBE", -1, listens, "2.0.0", "Listens to patterns, or to any, no longer"),
    with_channels(row("SSUBSCRIBE", -2, listens, "7.0.0", "Listens to shard channels")),
    with_channels(row("SUNSUBSCRIBE", -1, listens, "7.0.0",
                      "Listens to shard channels, or to any, no longer")),
    row("PUBSUB", -2, 0, "2.8.0", "Commands about channels"),
    row("PUBSUB|CHANNELS", -2, asks, "2.8.0", "Returns the channels that somebody listens to"),
    row("PUBSUB|NUMSUB", -2, asks, "2.8.0", "Returns how many clients listen to channels"),
    row("PUBSUB|NUMPAT", 2, asks, "2.8.0", "Returns how many patterns are listened to"),
    row("PUBSUB|SHARDCHANNELS", -2, asks, "7.0.0",
        "Returns the shard channels that somebody listens to"),
    row("PUBSUB|SHARDNUMSUB", -2, asks, "7.0.0",
        "Returns how many clients listen to shard channels"),
    row("PUBSUB|HELP", 2, up, "6.2.0", "Lists the subcommands"),
});

}  // namespace

std::span<const CommandSpec> pubsub_commands() {
  return rows;
}

}  // namespace gyre
