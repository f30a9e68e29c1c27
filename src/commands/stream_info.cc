// XINFO: what a stream, its groups and their consumers look like.
//
// Redis' radix tree is answered as it would be: a key for each node of entries.

#include <algorithm>
#include <array>
#include <initializer_list>

#include "commands/stream_common.h"

namespace gyre {
namespace {

using namespace streams;

void reply_lag(Reply& reply, const StreamCollection& s, const StreamHead& head,
               const StreamGroup& group) {
  const std::int64_t added = s.entries_added(head);
  if (added == 0) return reply.integer(0);
  std::int64_t read = group.entries_read;
  if (read == StreamGroup::unknown || holes_from(s, head, group.last_delivered))
    read = entries_up_to(s, head, group.last_delivered);
  read == StreamGroup::unknown ? reply.null() : reply.integer(added - read);
}

void reply_read_count(Reply& reply, const StreamGroup& group) {
  group.entries_read == StreamGroup::unknown ? reply.null() : reply.integer(group.entries_read);
}

std::int64_t pending_count(const StreamPending* pending) {
  return pending ? static_cast<std::int64_t>(pending->all().live()) : 0;
}

std::int64_t pending_count(const StreamPending* pending, std::string_view consumer) {
  return pending ? static_cast<std::int64_t>(pending->count_of(consumer)) : 0;
}

std::size_t consumers_of(const StreamCollection& s, std::string_view group) {
  std::size_t n = 0;
  s.for_each_consumer(group, [&n](std::string_view, UnixMs) { ++n; });
  return n;
}

// ---- XINFO STREAM

void reply_outline(CommandContext& ctx, const StreamCollection& s, const StreamHead& head) {
  Reply& reply = ctx.reply;
  const std::uint64_t configured = ctx.options.stream_node_max_entries;
  const auto length = static_cast<std::int64_t>(s.length());
  const auto node = static_cast<std::int64_t>(configured == 0 ? 100 : configured);
  const std::int64_t nodes = length / node + (length % node != 0);
  reply.bulk("length");
  reply.integer(length);
  reply.bulk("radix-tree-keys");
  reply.integer(nodes);
  reply.bulk("radix-tree-nodes");
  reply.integer(nodes + 1);
  reply.bulk("last-generated-id");
  reply_id(reply, head.last);
  reply.bulk("max-deleted-entry-id");
  reply_id(reply, head.highest_deleted);
  reply.bulk("entries-added");
  reply.integer(s.entries_added(head));
  reply.bulk("recorded-first-entry-id");
  reply_id(reply, s.first_entry());
}

void reply_short(CommandContext& ctx, const StreamCollection& s, const StreamHead& head) {
  Reply& reply = ctx.reply;
  reply.map(10);
  reply_outline(ctx, s, head);
  reply.bulk("groups");
  reply.integer(static_cast<std::int64_t>(s.groups()));
  const auto end_entry = [&](std::string_view name, std::size_t rank) {
    reply.bulk(name);
    if (s.length() == 0) return reply.null();
    const StreamWalk at = s.at(rank);
    reply_entry(reply, at.id(), at.payload());
  };
  end_entry("first-entry", 0);
  end_entry("last-entry", s.length() - 1);
}

// At most `count` (0: all) of the ids, each answered by f.
template <class F>
void reply_some(Reply& reply, const ListCollection* ids, std::uint64_t count, F&& f) {
  std::size_t n = ids ? ids->live() : 0;
  if (count != 0 && count < n) n = static_cast<std::size_t>(count);
  reply.array(n);
  if (n == 0) return;
  for (StreamWalk walk(ids->at(0)); n > 0; --n, walk.next()) f(walk.id());
}

void reply_full_consumer(Reply& reply, const StreamPending* pending, std::string_view name,
                         UnixMs seen, std::uint64_t count) {
  reply.map(4);
  reply.bulk("name");
  reply.bulk(name);
  reply.bulk("seen-time");
  reply.integer(seen);
  reply.bulk("pel-count");
  reply.integer(pending_count(pending, name));
  reply.bulk("pending");
  reply_some(reply, pending ? pending->of(name) : nullptr, count, [&](StreamId id) {
    Cell cell;
    pending->all().find(id, cell);
    const StreamDelivery d = StreamDelivery::decode(cell.stored);
    reply.array(3);
    reply_id(reply, id);
    reply.integer(d.at);
    reply.integer(static_cast<std::int64_t>(d.count));
  });
}

void reply_full_group(Reply& reply, const StreamCollection& s, const StreamHead& head,
                      std::string_view name, const StreamGroup& group, std::uint64_t count) {
  const StreamPending* pending = s.pending(name);
  reply.map(7);
  reply.bulk("name");
  reply.bulk(name);
  reply.bulk("last-delivered-id");
  reply_id(reply, group.last_delivered);
  reply.bulk("entries-read");
  reply_read_count(reply, group);
  reply.bulk("lag");
  reply_lag(reply, s, head, group);
  reply.bulk("pel-count");
  reply.integer(pending_count(pending));
  reply.bulk("pending");
  reply_some(reply, pending ? &pending->all().list() : nullptr, count, [&](StreamId id) {
    Cell cell;
    pending->all().find(id, cell);
    const StreamDelivery d = StreamDelivery::decode(cell.stored);
    reply.array(4);
    reply_id(reply, id);
    reply.bulk(d.consumer);
    reply.integer(d.at);
    reply.integer(static_cast<std::int64_t>(d.count));
  });
  reply.bulk("consumers");
  reply.array(consumers_of(s, name));
  s.for_each_consumer(name, [&](std::string_view consumer, UnixMs seen) {
    reply_full_consumer(reply, pending, consumer, seen, count);
  });
}

void reply_full(CommandContext& ctx, const StreamCollection& s, const StreamHead& head,
                std::uint64_t count) {
  ctx.reply.map(9);
  reply_outline(ctx, s, head);
  ctx.reply.bulk("entries");
  reply_range(ctx.reply, s, {}, StreamId::highest(), count, false, [](StreamId) {});
  ctx.reply.bulk("groups");
  ctx.reply.array(s.groups());
  s.for_each_group([&](std::string_view name, const StreamGroup& group) {
    reply_full_group(ctx.reply, s, head, name, group, count);
  });
}

// The stream of argument 2; answers the error and nothing when there is none.
std::optional<KeyRef> existing_stream(CommandContext& ctx) {
  auto key = typed_key(ctx, 2, TypeId::stream);
  if (!key || key->exists()) return key;
  ctx.reply.error(Errc::no_key);
  return std::nullopt;
}

void xinfo_stream(CommandContext& ctx) {
  const auto key = existing_stream(ctx);
  if (!key) return;
  const StreamCollection& s = *of(*key);
  const StreamHead head = s.head();
  if (ctx.argc() == 3) return reply_short(ctx, s, head);
  const bool words = ctx.argc() == 4 || (ctx.argc() == 6 && arg_is(ctx, 4, "count"));
  if (!words || !arg_is(ctx, 3, "full")) return ctx.reply.error(wrong_subcommand(ctx.args));
  std::int64_t count = 10;
  if (ctx.argc() == 6) {
    const auto n = int_arg(ctx, 5);
    if (!n) return;
    if (*n >= 0) count = *n;
  }
  reply_full(ctx, s, head, static_cast<std::uint64_t>(count));
}

// ---- the rest

void xinfo_groups(CommandContext& ctx) {
  const auto key = existing_stream(ctx);
  if (!key) return;
  const StreamCollection& s = *of(*key);
  const StreamHead head = s.head();
  ctx.reply.array(s.groups());
  s.for_each_group([&](std::string_view name, const StreamGroup& group) {
    Reply& reply = ctx.reply;
    reply.map(6);
    reply.bulk("name");
    reply.bulk(name);
    reply.bulk("consumers");
    reply.integer(static_cast<std::int64_t>(consumers_of(s, name)));
    reply.bulk("pending");
    reply.integer(pending_count(s.pending(name)));
    reply.bulk("last-delivered-id");
    reply_id(reply, group.last_delivered);
    reply.bulk("entries-read");
    reply_read_count(reply, group);
    reply.bulk("lag");
    reply_lag(reply, s, head, group);
  });
}

void xinfo_consumers(CommandContext& ctx) {
  const auto key = existing_stream(ctx);
  if (!key) return;
  const StreamCollection& s = *of(*key);
  const std::string_view group = ctx.arg(3);
  if (!s.group(group)) return no_such_group(ctx, *key, group);
  ctx.reply.array(consumers_of(s, group));
  s.for_each_consumer(group, [&](std::string_view name, UnixMs seen) {
    ctx.reply.map(3);
    ctx.reply.bulk("name");
    ctx.reply.bulk(name);
    ctx.reply.bulk("pending");
    ctx.reply.integer(pending_count(s.pending(group), name));
    ctx.reply.bulk("idle");
    ctx.reply.integer(std::max<std::int64_t>(ctx.now - seen, 0));
  });
}

void xinfo_help(CommandContext& ctx) {
  reply_help(ctx, {
                      "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
                      "CONSUMERS <key> <groupname>",
                      "    Show consumers of <groupname>.",
                      "GROUPS <key>",
                      "    Show the stream consumer groups.",
                      "STREAM <key> [FULL [COUNT <count>]",
                      "    Show information about the stream.",
                      "HELP",
                      "    Prints this help.",
                  });
}

using namespace flag;
constexpr KeyRange second_key{2, 2, 1};

// clang-format off
constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "XINFO", .arity = -2, .flags = session, .since = "5.0.0", .summary = "Commands about what a stream looks like"},
    {.name = "XINFO|STREAM", .arity = -3, .flags = read, .keys = second_key, .run = xinfo_stream, .since = "5.0.0", .summary = "Describes a stream"},
    {.name = "XINFO|GROUPS", .arity = 3, .flags = read, .keys = second_key, .run = xinfo_groups, .since = "5.0.0", .summary = "Describes the groups of a stream"},
    {.name = "XINFO|CONSUMERS", .arity = 4, .flags = read, .keys = second_key, .run = xinfo_consumers, .since = "5.0.0", .summary = "Describes the consumers of a group"},
    {.name = "XINFO|HELP", .arity = 2, .flags = loading | stale, .run = xinfo_help, .since = "5.0.0", .summary = "Lists the subcommands"},
});
// clang-format on

}  // namespace

std::span<const CommandSpec> stream_info_commands() {
  return rows;
}

}  // namespace gyre
