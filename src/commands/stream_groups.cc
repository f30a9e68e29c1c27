// XGROUP and XACK: consumer groups, their consumers, and what they are done with.

#include <algorithm>
#include <array>

#include "commands/stream_group.h"

namespace gyre {
namespace {

using namespace streams;

struct GroupOptions {
  bool make_stream = false;
  std::int64_t entries_read = StreamGroup::unknown;
};

bool parse_options(CommandContext& ctx, bool may_make, GroupOptions& o) {
  for (std::size_t i = 5; i < ctx.argc(); ++i) {
    if (may_make && arg_is(ctx, i, "mkstream")) {
      o.make_stream = true;
    } else if (arg_is(ctx, i, "entriesread") && i + 1 < ctx.argc()) {
      const auto read = int_arg(ctx, ++i);
      if (!read) return false;
      if (*read < 0 && *read != StreamGroup::unknown) {
        ctx.reply.error("value for ENTRIESREAD must be positive or -1");
        return false;
      }
      o.entries_read = *read;
    } else {
      ctx.reply.error(wrong_subcommand(ctx.args));
      return false;
    }
  }
  return true;
}

// The stream of argument 2; answers the error and nothing when there is none.
std::optional<KeyRef> group_key(CommandContext& ctx) {
  auto key = typed_key(ctx, 2, TypeId::stream);
  if (!key || key->exists()) return key;
  ctx.reply.error(
      "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use "
      "the "
      "MKSTREAM option to create an empty stream automatically.");
  return std::nullopt;
}

// The same with the group of argument 3.
std::optional<KeyRef> existing_group(CommandContext& ctx) {
  auto key = group_key(ctx);
  if (!key || of(*key)->group(ctx.arg(3))) return key;
  no_such_group(ctx, *key, ctx.arg(3));
  return std::nullopt;
}

// Removes what hangs on a group: all of it, or one consumer's part.
void remove_parts(Write& w, const StreamCollection& s, std::string_view group,
                  std::optional<std::string_view> consumer) {
  s.for_each_consumer(group, [&](std::string_view name, UnixMs) {
    if (!consumer || name == *consumer) w.remove(w.keep(stream_element::of_consumer(group, name)));
  });
  const StreamPending* pending = s.pending(group);
  if (!pending) return;
  const ListCollection* ids = consumer ? pending->of(*consumer) : &pending->all().list();
  if (!ids || ids->live() == 0) return;
  for (StreamWalk walk(ids->at(0)); walk.valid(); walk.next())
    w.remove(w.keep(stream_element::of_pending(group, walk.id())));
}

void xgroup_create(CommandContext& ctx) {
  GroupOptions o;
  if (!parse_options(ctx, true, o)) return;
  const auto key = o.make_stream ? typed_key(ctx, 2, TypeId::stream) : group_key(ctx);
  if (!key) return;
  // Words may come again as far as their number allows, which is looked at late.
  if (ctx.argc() > 8) return ctx.reply.error(wrong_subcommand(ctx.args));
  const StreamCollection* s = key->exists() ? of(*key) : nullptr;
  StreamGroup group;
  group.entries_read = o.entries_read;
  if (ctx.arg(4) == "$") {
    if (s) group.last_delivered = s->last_id();
  } else {
    const auto id = id_arg(ctx, 4);
    if (!id) return;
    group.last_delivered = *id;
  }
  const std::string_view name = ctx.arg(3);
  if (s && s->group(name)) return ctx.reply.error(Errc::busy_group);
  Write w(ctx, *key, TypeId::stream);
  // What a destroyed group of this name was sent by nodes that did not know of its end.
  if (s) remove_parts(w, *s, name, std::nullopt);
  w.put(w.keep(stream_element::of_group(name)), w.keep(group.encode()));
  // The stream outlives its groups.
  if (!s) w.put(stream_element::head, w.keep(StreamHead{}.encode()));
  w.commit(event::stream, "xgroup-create");
  ctx.reply.ok();
}

void xgroup_setid(CommandContext& ctx) {
  GroupOptions o;
  if (!parse_options(ctx, false, o)) return;
  const auto key = existing_group(ctx);
  if (!key) return;
  if (ctx.argc() > 7) return ctx.reply.error(wrong_subcommand(ctx.args));
  StreamGroup group;
  group.entries_read = o.entries_read;
  const std::string_view text = ctx.arg(4);
  if (text == "$") {
    group.last_delivered = of(*key)->last_id();
  } else if (text == "+") {
    group.last_delivered = StreamId::highest();
  } else if (text != "-") {
    const auto id = id_arg(ctx, 4);
    if (!id) return;
    group.last_delivered = *id;
  }
  GroupWrite write(ctx, *key, ctx.arg(3));
  write.set_group(group);
  write.commit();
  ctx.event(event::stream, "xgroup-setid", key->key);
  ctx.reply.ok();
}

void xgroup_destroy(CommandContext& ctx) {
  const auto key = group_key(ctx);
  if (!key) return;
  const StreamCollection& s = *of(*key);
  const std::string_view name = ctx.arg(3);
  if (!s.group(name)) return ctx.reply.integer(0);
  Write w(ctx, *key, TypeId::stream);
  w.remove(w.keep(stream_element::of_group(name)));
  remove_parts(w, s, name, std::nullopt);
  // Also where an entry was the first that was written: a stream stays when its groups go.
  if (Cell cell; s.length() == 0 && !s.find(stream_element::head, cell))
    w.put(stream_element::head, w.keep(s.head().encode()));
  w.commit(event::stream, "xgroup-destroy");
  ctx.reply.integer(1);
}

void xgroup_createconsumer(CommandContext& ctx) {
  const auto key = existing_group(ctx);
  if (!key) return;
  const bool there = of(*key)->consumer(ctx.arg(3), ctx.arg(4)).has_value();
  if (!there) {
    GroupWrite write(ctx, *key, ctx.arg(3));
    write.see_consumer(ctx.arg(4));
    write.commit();
  }
  ctx.reply.integer(there ? 0 : 1);
}

void xgroup_delconsumer(CommandContext& ctx) {
  const auto key = existing_group(ctx);
  if (!key) return;
  const StreamCollection& s = *of(*key);
  const std::string_view group = ctx.arg(3), name = ctx.arg(4);
  if (!s.consumer(group, name)) return ctx.reply.integer(0);
  const StreamPending* pending = s.pending(group);
  const std::size_t owned = pending ? pending->count_of(name) : 0;
  Write w(ctx, *key, TypeId::stream);
  remove_parts(w, s, group, name);
  w.commit(event::stream, "xgroup-delconsumer");
  ctx.reply.integer(static_cast<std::int64_t>(owned));
}

void xgroup_help(CommandContext& ctx) {
  reply_help(ctx, {
                      "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
                      "CREATE <key> <groupname> <id|$> [option]",
                      "    Create a new consumer group. Options are:",
                      "    * MKSTREAM",
                      "      Create the empty stream if it does not exist.",
                      "    * ENTRIESREAD entries_read",
                      "      Set the group's entries_read counter (internal use).",
                      "CREATECONSUMER <key> <groupname> <consumer>",
                      "    Create a new consumer in the specified group.",
                      "DELCONSUMER <key> <groupname> <consumer>",
                      "    Remove the specified consumer.",
                      "DESTROY <key> <groupname>",
                      "    Remove the specified group.",
                      "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
                      "    Set the current group ID and entries_read counter.",
                      "HELP",
                      "    Prints this help.",
                  });
}

void xack(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::stream);
  if (!key) return;
  const std::string_view group = ctx.arg(2);
  if (!key->exists() || !of(*key)->group(group)) return ctx.reply.integer(0);
  std::vector<StreamId> ids;
  for (std::size_t i = 3; i < ctx.argc(); ++i) {
    const auto id = id_arg(ctx, i);
    if (!id) return;
    ids.push_back(*id);
  }
  const bool all = stamps_all(ctx, *key);
  GroupWrite write(ctx, *key, group);
  std::int64_t acknowledged = 0;
  for (const StreamId id : ids) {
    const bool there = write.pending(id).has_value();
    acknowledged += there;
    if (there || all) write.remove_pending(id);
  }
  write.commit();
  ctx.reply.integer(acknowledged);
}

using namespace flag;
constexpr KeyRange second_key{2, 2, 1};
constexpr std::uint32_t changes = write | once | based;

// clang-format off
constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "XGROUP", .arity = -2, .flags = session, .since = "5.0.0", .summary = "Commands for consumer groups"},
    {.name = "XGROUP|CREATE", .arity = -5, .flags = changes | denyoom | conditional, .keys = second_key, .run = xgroup_create, .since = "5.0.0", .summary = "Makes a consumer group"},
    {.name = "XGROUP|SETID", .arity = -5, .flags = changes | conditional, .keys = second_key, .run = xgroup_setid, .since = "5.0.0", .summary = "Sets the last id that a group was given"},
    {.name = "XGROUP|DESTROY", .arity = 4, .flags = changes, .keys = second_key, .run = xgroup_destroy, .since = "5.0.0", .summary = "Removes a consumer group"},
    {.name = "XGROUP|CREATECONSUMER", .arity = 5, .flags = changes | denyoom, .keys = second_key, .run = xgroup_createconsumer, .since = "6.2.0", .summary = "Makes a consumer in a group"},
    {.name = "XGROUP|DELCONSUMER", .arity = 5, .flags = changes, .keys = second_key, .run = xgroup_delconsumer, .since = "5.0.0", .summary = "Removes a consumer and what is pending at it"},
    {.name = "XGROUP|HELP", .arity = 2, .flags = loading | stale, .run = xgroup_help, .since = "5.0.0", .summary = "Lists the subcommands"},
    {.name = "XACK", .arity = -4, .flags = write | fast | once | based, .keys = first_key, .run = xack, .since = "5.0.0", .summary = "Acknowledges entries that were delivered to a group"},
});
// clang-format on

}  // namespace

std::span<const CommandSpec> stream_group_commands() {
  return rows;
}

}  // namespace gyre
