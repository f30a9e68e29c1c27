// Expiry: an absolute time in milliseconds beside the record, with a version of its own. A time
// that has passed already removes the key at once.

#include <array>

#include "commands/keys.h"
#include "commands/parse.h"

namespace gyre {
namespace {

struct Conditions {
  bool nx = false, xx = false, gt = false, lt = false;

  // Whether `at` may replace `current` (0: the key does not expire, which counts as never).
  bool allow(UnixMs current, UnixMs at) const {
    if (nx && current != 0) return false;
    if (xx && current == 0) return false;
    if (gt && (current == 0 || at <= current)) return false;
    if (lt && current != 0 && at >= current) return false;
    return true;
  }
};

// Reads NX, XX, GT and LT; false when an error was answered.
bool parse_conditions(CommandContext& ctx, Conditions& out) {
  for (std::size_t i = 3; i < ctx.argc(); ++i) {
    if (arg_is(ctx, i, "nx")) {
      out.nx = true;
    } else if (arg_is(ctx, i, "xx")) {
      out.xx = true;
    } else if (arg_is(ctx, i, "gt")) {
      out.gt = true;
    } else if (arg_is(ctx, i, "lt")) {
      out.lt = true;
    } else {
      return ctx.reply.error("Unsupported option " + std::string(ctx.arg(i))), false;
    }
  }
  if (out.nx && (out.xx || out.gt || out.lt)) {
    ctx.reply.error("NX and XX, GT or LT options at the same time are not compatible");
    return false;
  }
  if (out.gt && out.lt) {
    ctx.reply.error("GT and LT options at the same time are not compatible");
    return false;
  }
  return true;
}

void set_expiry(CommandContext& ctx, TimeUnit unit) {
  Conditions conditions;
  if (!parse_conditions(ctx, conditions)) return;
  const auto at = expire_time(ctx, ctx.arg(2), unit, false, command_name(ctx));
  if (!at) return;
  const KeyRef key = ctx.find(ctx.arg(1));
  if (!key.exists() || !conditions.allow(key.expires_at(), *at)) return ctx.reply.integer(0);
  Write w(ctx, key, key.type());
  const bool past = *at <= ctx.now;
  past ? w.remove_key() : w.expire_at(*at);
  w.commit(event::generic, past ? "del" : "expire");
  ctx.reply.integer(1);
}
void expire(CommandContext& ctx) {
  set_expiry(ctx, {.seconds = true, .absolute = false});
}
void pexpire(CommandContext& ctx) {
  set_expiry(ctx, {.seconds = false, .absolute = false});
}
void expireat(CommandContext& ctx) {
  set_expiry(ctx, {.seconds = true, .absolute = true});
}
void pexpireat(CommandContext& ctx) {
  set_expiry(ctx, {.seconds = false, .absolute = true});
}

void persist(CommandContext& ctx) {
  const KeyRef key = ctx.find(ctx.arg(1));
  if (key.expires_at() == 0) return ctx.reply.integer(0);
  Write w(ctx, key, key.type());
  w.expire_at(0);
  w.commit(event::generic, "persist");
  ctx.reply.integer(1);
}

// -2: no such key; -1: it does not expire. Seconds are rounded to the nearest, as in Redis.
void reply_expiry(CommandContext& ctx, TimeUnit unit) {
  ctx.uses = false;
  const KeyRef key = ctx.find(ctx.arg(1));
  if (!key.exists()) return ctx.reply.integer(-2);
  const UnixMs at = key.expires_at();
  if (at == 0) return ctx.reply.integer(-1);
  const std::int64_t ms = unit.absolute ? at : at - ctx.now;
  // Not (ms + 500) / 1000: PEXPIREAT takes times up to the last millisecond there is.
  ctx.reply.integer(unit.seconds ? ms / 1000 + (ms % 1000 >= 500) : ms);
}
void ttl(CommandContext& ctx) {
  reply_expiry(ctx, {.seconds = true, .absolute = false});
}
void pttl(CommandContext& ctx) {
  reply_expiry(ctx, {.seconds = false, .absolute = false});
}
void expiretime(CommandContext& ctx) {
  reply_expiry(ctx, {.seconds = true, .absolute = true});
}
void pexpiretime(CommandContext& ctx) {
  reply_expiry(ctx, {.seconds = false, .absolute = true});
}

using namespace flag;
// With NX, XX, GT or LT the outcome depends on the expiry that was read. A row cannot tell whether
// they were given, and without them the command must not fail when two sides act: so a base goes
// along, but nobody answers -NOQUORUM for it.
constexpr std::uint32_t sets_expiry = write | fast | based;

constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "EXPIRE",
     .arity = -3,
     .flags = sets_expiry,
     .keys = first_key,
     .run = expire,
     .since = "1.0.0",
     .summary = "Lets a key expire in some seconds"},
    {.name = "PEXPIRE",
     .arity = -3,
     .flags = sets_expiry,
     .keys = first_key,
     .run = pexpire,
     .since = "2.6.0",
     .summary = "Lets a key expire in some milliseconds"},
    {.name = "EXPIREAT",
     .arity = -3,
     .flags = sets_expiry,
     .keys = first_key,
     .run = expireat,
     .since = "1.2.0",
     .summary = "Lets a key expire at a time in seconds"},
    {.name = "PEXPIREAT",
     .arity = -3,
     .flags = sets_expiry,
     .keys = first_key,
     .run = pexpireat,
     .since = "2.6.0",
     .summary = "Lets a key expire at a time in milliseconds"},
    {.name = "EXPIRETIME",
     .arity = 2,
     .flags = read | fast,
     .keys = first_key,
     .run = expiretime,
     .since = "7.0.0",
     .summary = "Returns when a key expires, in seconds"},
    {.name = "PEXPIRETIME",
     .arity = 2,
     .flags = read | fast,
     .keys = first_key,
     .run = pexpiretime,
     .since = "7.0.0",
     .summary = "Returns when a key expires, in milliseconds"},
    {.name = "TTL",
     .arity = 2,
     .flags = read | fast,
     .keys = first_key,
     .run = ttl,
     .since = "1.0.0",
     .summary = "Returns the seconds until a key expires"},
    {.name = "PTTL",
     .arity = 2,
     .flags = read | fast,
     .keys = first_key,
     .run = pttl,
     .since = "2.6.0",
     .summary = "Returns the milliseconds until a key expires"},
    {.name = "PERSIST",
     .arity = 2,
     .flags = sets_expiry,
     .keys = first_key,
     .run = persist,
     .since = "2.2.0",
     .summary = "Lets a key expire no more"},
});

}  // namespace

std::span<const CommandSpec> expire_commands() {
  return rows;
}

}  // namespace gyre
