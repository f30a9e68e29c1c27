// OBJECT and MEMORY USAGE: what a key looks like from inside.
//
// OBJECT ENCODING names the encoding that Redis 7.0 would use for this value under the *-max-*
// options. It is a rule over the value, not our layout, and not the value's history either: Redis
// keeps a hashtable a hashtable after it shrank.

#include <algorithm>
#include <array>
#include <initializer_list>
#include <limits>

#include "commands/keys.h"
#include "commands/parse.h"

namespace gyre {
namespace {

constexpr std::size_t embstr_max = 44;  // Redis: what fits 64 bytes with its headers

std::string_view string_encoding(const Cell& cell) {
  const std::string text = cell_text(cell);
  if (parse_int(text)) return "int";
  return text.size() <= embstr_max ? "embstr" : "raw";
}

// Whether f(id, cell) holds for every element that can be read.
template <class F>
bool all_elements(const Collection& c, F&& f) {
  return c.for_each([&](const ElementView& e) { return !e.cell.live() || f(e.id, e.cell); });
}

bool small_hash(const Collection& c, const CommandOptions& options) {
  const std::size_t most = options.hash_max_listpack_value;
  return c.live() <= options.hash_max_listpack_entries &&
         all_elements(c, [&](std::string_view field, const Cell& cell) {
           const std::size_t value = cell.has_sums ? cell_text(cell).size() : cell.stored.size();
           return field.size() <= most && value <= most;
         });
}

bool small_set(const Collection& c, const CommandOptions& options) {
  return c.live() <= options.set_max_intset_entries &&
         all_elements(
             c, [](std::string_view member, const Cell&) { return parse_int(member).has_value(); });
}

bool small_zset(const Collection& c, const CommandOptions& options) {
  return c.live() <= options.zset_max_listpack_entries &&
         all_elements(c, [&](std::string_view member, const Cell&) {
           return member.size() <= options.zset_max_listpack_value;
         });
}

std::string_view encoding_of(const KeyRef& key, const CommandOptions& options) {
  switch (key.type()) {
    case TypeId::string:
      return string_encoding(key.cell());
    case TypeId::hash:
      return small_hash(*key.collection(), options) ? "listpack" : "hashtable";
    case TypeId::list:
      return "quicklist";
    case TypeId::set:
      return small_set(*key.collection(), options) ? "intset" : "hashtable";
    case TypeId::zset:
      return small_zset(*key.collection(), options) ? "listpack" : "skiplist";
    case TypeId::stream:
      return "stream";
    case TypeId::none:
      break;
  }
  return "unknown";
}

// That a key which is only looked at is missing is no event.
KeyRef look_at(CommandContext& ctx) {
  ctx.tells_misses = ctx.uses = false;
  return ctx.find(ctx.arg(2));
}

void object_encoding(CommandContext& ctx) {
  const KeyRef key = look_at(ctx);
  key.exists() ? ctx.reply.bulk(encoding_of(key, ctx.options)) : ctx.reply.null();
}

// By the same rule: small integers are one value for all keys in Redis, unless each key needs its
// own time of use.
void object_refcount(CommandContext& ctx) {
  const KeyRef key = look_at(ctx);
  if (!key.exists()) return ctx.reply.null();
  constexpr std::int64_t shared_below = 10'000, shared = std::numeric_limits<std::int32_t>::max();
  const MemoryOptions& memory = ctx.options.memory;
  const bool own = memory.limit != 0 && memory.policy.by == EvictionPolicy::By::access;
  const auto n = key.type() == TypeId::string ? parse_int(cell_text(key.cell())) : std::nullopt;
  ctx.reply.integer(n && *n >= 0 && *n < shared_below && !own ? shared : 1);
}

void object_idletime(CommandContext& ctx) {
  const KeyRef key = look_at(ctx);
  if (!key.exists()) return ctx.reply.null();
  const AccessClock& access = ctx.spaces.of(key.slot).access();
  if (access.frequency()) {
    return ctx.reply.error(
        "An LFU maxmemory policy is selected, idle time not tracked. Please note that when "
        "switching between policies at runtime LRU and LFU data will take some time to adjust.");
  }
  ctx.reply.integer(access.idle_seconds(*key.node));
}

void object_freq(CommandContext& ctx) {
  const KeyRef key = look_at(ctx);
  if (!key.exists()) return ctx.reply.null();
  const AccessClock& access = ctx.spaces.of(key.slot).access();
  if (!access.frequency()) {
    return ctx.reply.error(
        "An LFU maxmemory policy is not selected, access frequency not tracked. Please note that "
        "when switching between policies at runtime LRU and LFU data will take some time to "
        "adjust.");
  }
  ctx.reply.integer(access.uses(*key.node));
}

void object_help(CommandContext& ctx) {
  reply_help(ctx,
             {
                 "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
                 "ENCODING <key>",
                 "    Return the encoding that Redis would use for the value of <key>.",
                 "FREQ <key>",
                 "    Return the counter of uses of <key>, under an LFU policy.",
                 "IDLETIME <key>",
                 "    Return the seconds since <key> was used last, unless under an LFU policy.",
                 "REFCOUNT <key>",
                 "    Return the references to the value of <key>: always 1.",
                 "HELP",
                 "    Prints this help.",
             });
}

void memory_usage(CommandContext& ctx) {
  for (std::size_t i = 3; i < ctx.argc(); i += 2) {
    if (!arg_is(ctx, i, "samples") || i + 1 >= ctx.argc()) return ctx.reply.error(Errc::syntax);
    // The size is counted, not estimated from samples; the number is only checked.
    const auto samples = int_arg(ctx, i + 1);
    if (!samples) return;
    if (*samples < 0) return ctx.reply.error(Errc::syntax);
  }
  const KeyRef key = look_at(ctx);
  if (!key.exists()) return ctx.reply.null();
  ctx.reply.integer(static_cast<std::int64_t>(record_bytes(*key.node)));
}

using namespace flag;
constexpr KeyRange second_key{2, 2, 1};

constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "OBJECT",
     .arity = -2,
     .flags = session,
     .since = "2.2.3",
     .summary = "Commands about how a value is kept"},
    {.name = "OBJECT|ENCODING",
     .arity = 3,
     .flags = read,
     .keys = second_key,
     .run = object_encoding,
     .since = "2.2.3",
     .summary = "Returns the encoding that Redis would use"},
    {.name = "OBJECT|REFCOUNT",
     .arity = 3,
     .flags = read,
     .keys = second_key,
     .run = object_refcount,
     .since = "2.2.3",
     .summary = "Returns the number of references to a value"},
    {.name = "OBJECT|IDLETIME",
     .arity = 3,
     .flags = read,
     .keys = second_key,
     .run = object_idletime,
     .since = "2.2.3",
     .summary = "Returns how long a key was not used"},
    {.name = "OBJECT|FREQ",
     .arity = 3,
     .flags = read,
     .keys = second_key,
     .run = object_freq,
     .since = "4.0.0",
     .summary = "Returns how often a key is used"},
    {.name = "OBJECT|HELP",
     .arity = 2,
     .flags = loading | stale,
     .run = object_help,
     .since = "6.2.0",
     .summary = "Lists the subcommands"},
    {.name = "MEMORY|USAGE",
     .arity = -3,
     .flags = read,
     .keys = second_key,
     .run = memory_usage,
     .group = "server",
     .since = "4.0.0",
     .summary = "Returns the memory that a key takes"},
});

}  // namespace

std::span<const CommandSpec> object_commands() {
  return rows;
}

}  // namespace gyre
