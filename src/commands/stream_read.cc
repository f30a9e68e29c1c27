// XREAD and XREADGROUP.
//
// A group's register says up to where its entries were delivered; each delivered one becomes an
// element of its own until it is acknowledged (types/stream_parts.h). So what a read of the group
// sends to the replicas is a few bytes for each entry, never the entries.
//
// With BLOCK and nothing to answer they wait (CommandContext::wait). A group's reader also waits
// for its group: when that goes, or the stream, it hears so.

#include <array>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "commands/stream_common.h"
#include "commands/stream_group.h"

namespace gyre {
namespace {

using namespace streams;

// As many at most for a client that has waited and did not say how many: its id may lie far back.
constexpr std::uint64_t count_after_wait = 1000;

struct ReadOptions {
  bool of_group = false;
  std::optional<std::int64_t> block_ms;
  std::uint64_t count = 0;  // 0: all
  bool noack = false;
  std::size_t keys_at = 0, keys = 0;
  std::string_view group, consumer;
  bool group_given = false;
};

bool block_arg(CommandContext& ctx, std::size_t i, ReadOptions& o) {
  o.block_ms = int_arg(ctx, i, "timeout is not an integer or out of range");
  if (!o.block_ms) return false;
  if (*o.block_ms < 0) return ctx.reply.error("timeout is negative"), false;
  return true;
}

bool only_for_groups(CommandContext& ctx, const ReadOptions& o, std::string_view option) {
  if (o.of_group) return true;
  ctx.reply.error("The " + std::string(option) +
                  " option is only supported by XREADGROUP. You called XREAD instead.");
  return false;
}

bool parse_read(CommandContext& ctx, ReadOptions& o) {
  for (std::size_t i = 1; i < ctx.argc() && o.keys_at == 0; ++i) {
    const std::size_t more = ctx.argc() - i - 1;
    if (arg_is(ctx, i, "block") && more > 0) {
      if (!block_arg(ctx, ++i, o)) return false;
    } else if (arg_is(ctx, i, "count") && more > 0) {
      const auto count = int_arg(ctx, ++i);
      if (!count) return false;
      o.count = *count < 0 ? 0 : static_cast<std::uint64_t>(*count);
    } else if (arg_is(ctx, i, "streams") && more > 0) {
      if (more % 2 != 0) {
        ctx.reply.error(
            "Unbalanced XREAD list of streams: for each stream key an ID or '$' must be "
            "specified.");
        return false;
      }
      o.keys_at = i + 1;
      o.keys = more / 2;
    } else if (arg_is(ctx, i, "group") && more >= 2) {
      if (!only_for_groups(ctx, o, "GROUP")) return false;
      o.group = ctx.arg(i + 1);
      o.consumer = ctx.arg(i + 2);
      o.group_given = true;
      i += 2;
    } else if (arg_is(ctx, i, "noack")) {
      if (!only_for_groups(ctx, o, "NOACK")) return false;
      o.noack = true;
    } else {
      return ctx.reply.error(Errc::syntax), false;
    }
  }
  if (o.keys_at == 0) return ctx.reply.error(Errc::syntax), false;
  if (o.of_group && !o.group_given)
    return ctx.reply.error("Missing GROUP option for XREADGROUP"), false;
  return true;
}

void find_read_keys(Args args, std::vector<std::size_t>& positions) {
  for (std::size_t i = 1; i < args.size(); ++i) {
    if (equals_ignore_case(args[i], "streams")) {
      const std::size_t words = args.size() - i - 1;
      if (words % 2 != 0) return;
      for (std::size_t k = 1; k <= words / 2; ++k) positions.push_back(i + k);
      return;
    }
    if (equals_ignore_case(args[i], "block") || equals_ignore_case(args[i], "count")) {
      ++i;
    } else if (equals_ignore_case(args[i], "group")) {
      i += 2;
    } else if (!equals_ignore_case(args[i], "noack")) {
      return;
    }
  }
}

// Where to read one of the streams from: entries above this id.
struct From {
  StreamId above;
  bool undelivered = false;  // ">"
};

std::optional<From> from_arg(CommandContext& ctx, const ReadOptions& o, std::size_t at,
                             const StreamCollection* s) {
  const std::string_view text = ctx.arg(o.keys_at + o.keys + at);
  if (text == "$") {
    if (!o.of_group) return From{s ? s->last_id() : StreamId{}};
    ctx.reply.error(
        "The $ ID is meaningless in the context of XREADGROUP: you want to read the history of "
        "this "
        "consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would "
        "just return an empty result set.");
    return std::nullopt;
  }
  if (text == ">") {
    if (o.of_group) return From{{}, true};
    ctx.reply.error(
        "The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> "
        "option.");
    return std::nullopt;
  }
  const auto id = id_arg(ctx, o.keys_at + o.keys + at);
  if (!id) return std::nullopt;
  // Redis takes the highest id for ">" inside.
  return From{*id, o.of_group && *id == StreamId::highest()};
}

// What a reader of a group that has waited cannot wait for any more.
bool still_there(CommandContext& ctx, const ReadOptions& o, const StreamCollection* s) {
  if (!s) {
    ctx.reply.error(Error(Errc::unblocked, "the stream key no longer exists"));
    return false;
  }
  if (s->group(o.group)) return true;
  ctx.reply.error(
      Error(Errc::no_group, "the consumer group this client was blocked on no longer exists"));
  return false;
}

// Checks keys, groups and ids before anything is answered.
bool resolve(CommandContext& ctx, const ReadOptions& o, std::vector<From>& from) {
  for (std::size_t i = 0; i < o.keys; ++i) {
    const auto key = waited_key(ctx, o.keys_at + i, TypeId::stream);
    if (!key) return false;
    const StreamCollection* s = key->exists() ? of(*key) : nullptr;
    if (o.of_group && ctx.woken() && !still_there(ctx, o, s)) return false;
    if (o.of_group && (!s || !s->group(o.group))) {
      ctx.reply.error(Error(Errc::no_group, "No such key '" + std::string(key->key) +
                                                "' or consumer group '" + std::string(o.group) +
                                                "' in XREADGROUP with GROUP option"));
      return false;
    }
    const auto one = from_arg(ctx, o, i, s);
    if (!one) return false;
    from.push_back(*one);
  }
  return true;
}

// taken: new entries that go to this reader before, where it names the stream several times.
bool something_to_read(const ReadOptions& o, const StreamCollection& s, const From& from,
                       std::uint64_t taken) {
  if (o.of_group && !from.undelivered) return true;  // the consumer's history is always answered
  const StreamId above = from.undelivered ? s.group(o.group)->last_delivered : from.above;
  return s.length() > taken && s.at(s.length() - 1 - taken).id() > above;
}

// Entries that were never delivered to the group.
void deliver(CommandContext& ctx, const ReadOptions& o, const StreamCollection& s,
             GroupWrite& write) {
  const StreamHead head = s.head();
  StreamGroup group = *s.group(o.group);
  const StreamId start = group.last_delivered.next().value_or(StreamId::highest());
  const std::int64_t added = s.entries_added(head);
  reply_range(ctx.reply, s, start, StreamId::highest(), o.count, false, [&](StreamId id) {
    if (group.entries_read != StreamGroup::unknown && !holes_from(s, head, id)) {
      group.entries_read = added_up(group.entries_read, 1);
    } else if (added != 0) {
      group.entries_read = entries_up_to(s, head, id);
    }
    group.last_delivered = id;
    if (!o.noack) write.set_pending(id, {ctx.now, 1, o.consumer});
  });
  write.set_group(group);
}

// What was delivered to this consumer before.
void deliver_again(CommandContext& ctx, const ReadOptions& o, const StreamCollection& s,
                   StreamId above, GroupWrite& write) {
  const StreamPending* pending = s.pending(o.group);
  const ListCollection* own = pending ? pending->of(o.consumer) : nullptr;
  const auto start = above.next();
  if (!own || !start) return ctx.reply.array(0);
  const StreamIdBytes bytes = encode_stream_id(*start);
  const std::size_t first = own->rank({bytes.data(), bytes.size()});
  std::size_t n = own->live() - first;
  if (o.count != 0 && o.count < n) n = static_cast<std::size_t>(o.count);
  ctx.reply.array(n);
  for (StreamWalk walk(own->at(first)); n > 0; --n, walk.next()) {
    const StreamId id = walk.id();
    if (const auto payload = s.entry(id)) {
      reply_entry(ctx.reply, id, *payload);
      Cell cell;
      pending->all().find(id, cell);
      const StreamDelivery before = StreamDelivery::decode(cell.stored);
      write.set_pending(id, {ctx.now, before.count + 1, o.consumer});
    } else {
      ctx.reply.array(2);
      reply_id(ctx.reply, id);
      ctx.reply.null_array();
    }
  }
}

void read_one(CommandContext& ctx, const ReadOptions& o, const KeyRef& key, const From& from) {
  const StreamCollection& s = *of(key);
  if (ctx.reply.protocol() == 2) ctx.reply.array(2);
  ctx.reply.bulk(key.key);
  if (!o.of_group) {
    const StreamId start = from.above.next().value_or(StreamId::highest());
    return reply_range(ctx.reply, s, start, StreamId::highest(), o.count, false, [](StreamId) {});
  }
  GroupWrite write(ctx, key, o.group);
  write.see_consumer(o.consumer);
  if (from.undelivered) {
    deliver(ctx, o, s, write);
  } else {
    deliver_again(ctx, o, s, from.above, write);
  }
  write.commit();
}

// `$` means the last entry of now, whenever the command runs again.
void wait(CommandContext& ctx, const ReadOptions& o, const std::vector<From>& from) {
  if (ctx.waiting && !o.of_group) {
    std::vector<std::string> args(ctx.args.begin(), ctx.args.end());
    bool other = false;
    for (std::size_t i = 0; i < o.keys; ++i) {
      std::string& id = args[o.keys_at + o.keys + i];
      if (id != "$") continue;
      id = from[i].above.text();
      other = true;
    }
    if (other) ctx.waiting->args = std::move(args);
  }
  ctx.wait(*o.block_ms);
}

void read(CommandContext& ctx, bool of_group) {
  ReadOptions o;
  o.of_group = of_group;
  std::vector<From> from;
  if (!parse_read(ctx, o) || !resolve(ctx, o, from)) return;
  if (ctx.woken() && o.count == 0) o.count = count_after_wait;
  std::vector<std::size_t> readable;
  std::unordered_map<std::string_view, std::uint64_t> taken;
  for (std::size_t i = 0; i < o.keys; ++i) {
    const KeyRef key = ctx.find(ctx.arg(o.keys_at + i));
    if (key.type() != TypeId::stream) continue;
    const StreamCollection& s = *of(key);
    std::uint64_t* before = o.keys > 1 && from[i].undelivered ? &taken[key.key] : nullptr;
    if (!something_to_read(o, s, from[i], before ? *before : 0)) continue;
    readable.push_back(i);
    if (before) *before = o.count == 0 ? s.length() : *before + o.count;
  }
  if (readable.empty()) return o.block_ms ? wait(ctx, o, from) : ctx.reply.null_array();
  if (ctx.only_looks()) return;
  ctx.reply.protocol() == 2 ? ctx.reply.array(readable.size()) : ctx.reply.map(readable.size());
  for (const std::size_t i : readable) {
    // Looked up again: a read of one group may have moved the records of its slot. Of the same
    // stream it is to win over what the one before has noted.
    read_one(ctx, o, ctx.find(ctx.arg(o.keys_at + i)), from[i]);
    if (o.of_group) ctx.next_version();
  }
}

void xread(CommandContext& ctx) {
  read(ctx, false);
}
void xreadgroup(CommandContext& ctx) {
  read(ctx, true);
}

using namespace flag;

// clang-format off
constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "XREAD", .arity = -4, .flags = flag::read | blocking | movablekeys | atomic, .run = xread, .find_keys = find_read_keys, .since = "5.0.0", .summary = "Returns the entries of streams behind an id"},
    {.name = "XREADGROUP", .arity = -7, .flags = write | blocking | movablekeys | atomic | once | based, .run = xreadgroup, .find_keys = find_read_keys, .since = "5.0.0", .summary = "Returns entries of streams that a consumer of a group is to handle"},
});
// clang-format on

}  // namespace

std::span<const CommandSpec> stream_read_commands() {
  return rows;
}

}  // namespace gyre
