// XPENDING, XCLAIM and XAUTOCLAIM: what was delivered and not acknowledged, and who takes it over.

#include <algorithm>
#include <array>

#include "commands/stream_group.h"

namespace gyre {
namespace {

using namespace streams;

// ---- XPENDING

void pending_summary(CommandContext& ctx, const StreamPending* pending) {
  ctx.reply.array(4);
  const std::size_t total = pending ? pending->all().live() : 0;
  ctx.reply.integer(static_cast<std::int64_t>(total));
  if (total == 0) {
    ctx.reply.null();
    ctx.reply.null();
    return ctx.reply.null_array();
  }
  reply_id(ctx.reply, pending->all().at(0).id());
  reply_id(ctx.reply, pending->all().at(total - 1).id());
  ctx.reply.array(pending->consumers().size());
  for (const auto& [name, ids] : pending->consumers()) {
    ctx.reply.array(2);
    ctx.reply.bulk(name);
    ctx.reply.bulk_int(static_cast<std::int64_t>(ids.live()));
  }
}

struct PendingRange {
  StreamId start, end;
  std::int64_t count = 0, least_idle = 0;
  std::optional<std::string_view> consumer;
};

bool parse_range(CommandContext& ctx, PendingRange& range) {
  std::size_t at = 3;
  if (arg_is(ctx, 3, "idle")) {
    const auto idle = int_arg(ctx, 4);
    if (!idle) return false;
    if (ctx.argc() < 8) return ctx.reply.error(Errc::syntax), false;
    range.least_idle = *idle;
    at = 5;
  }
  const auto count = int_arg(ctx, at + 2);
  if (!count) return false;
  range.count = std::max<std::int64_t>(*count, 0);
  const auto start = range_start(ctx, at);
  if (!start) return false;
  const auto end = range_end(ctx, at + 1);
  if (!end) return false;
  range.start = *start;
  range.end = *end;
  if (at + 3 < ctx.argc()) range.consumer = ctx.arg(at + 3);
  return true;
}

void pending_range(CommandContext& ctx, const StreamPending* pending, const PendingRange& range) {
  const ListCollection* ids = nullptr;
  if (pending) ids = range.consumer ? pending->of(*range.consumer) : &pending->all().list();
  if (!ids) return ctx.reply.array(0);
  const std::size_t mark = ctx.reply.deferred();
  std::size_t answered = 0;
  const StreamIdBytes bytes = encode_stream_id(range.start);
  StreamWalk walk(ids->at(ids->rank({bytes.data(), bytes.size()})));
  for (; walk.valid() && walk.id() <= range.end; walk.next()) {
    if (answered == static_cast<std::uint64_t>(range.count)) break;
    Cell cell;
    pending->all().find(walk.id(), cell);
    const StreamDelivery d = StreamDelivery::decode(cell.stored);
    const std::int64_t idle = ctx.now - d.at;
    if (range.least_idle != 0 && idle < range.least_idle) continue;
    ++answered;
    ctx.reply.array(4);
    reply_id(ctx.reply, walk.id());
    ctx.reply.bulk(d.consumer);
    ctx.reply.integer(std::max<std::int64_t>(idle, 0));
    ctx.reply.integer(static_cast<std::int64_t>(d.count));
  }
  ctx.reply.finish_array(mark, answered);
}

void xpending(CommandContext& ctx) {
  const bool summary = ctx.argc() == 3;
  if (!summary && (ctx.argc() < 6 || ctx.argc() > 9)) return ctx.reply.error(Errc::syntax);
  PendingRange range;
  if (!summary && !parse_range(ctx, range)) return;
  const auto key = typed_key(ctx, 1, TypeId::stream);
  if (!key || !group_of(ctx, *key, ctx.arg(2))) return;
  const StreamPending* pending = of(*key)->pending(ctx.arg(2));
  summary ? pending_summary(ctx, pending) : pending_range(ctx, pending, range);
}

// ---- XCLAIM

struct Claim {
  std::string_view consumer;
  std::int64_t least_idle = 0;
  std::vector<StreamId> ids;
  UnixMs delivered_at = 0;
  std::optional<std::uint64_t> deliveries;
  StreamId last_id;
  bool force = false, only_ids = false;
};

bool parse_claim_option(CommandContext& ctx, std::size_t& i, Claim& claim,
                        std::optional<UnixMs>& delivered_at) {
  const bool more = i + 1 < ctx.argc();
  if (arg_is(ctx, i, "force")) {
    claim.force = true;
  } else if (arg_is(ctx, i, "justid")) {
    claim.only_ids = true;
  } else if (arg_is(ctx, i, "idle") && more) {
    const auto idle = int_arg(ctx, ++i, "Invalid IDLE option argument for XCLAIM");
    if (!idle) return false;
    UnixMs at = 0;
    delivered_at = __builtin_sub_overflow(ctx.now, *idle, &at) ? -1 : at;
  } else if (arg_is(ctx, i, "time") && more) {
    delivered_at = int_arg(ctx, ++i, "Invalid TIME option argument for XCLAIM");
    if (!delivered_at) return false;
  } else if (arg_is(ctx, i, "retrycount") && more) {
    const auto count = int_arg(ctx, ++i, "Invalid RETRYCOUNT option argument for XCLAIM");
    if (!count) return false;
    if (*count >= 0) claim.deliveries = static_cast<std::uint64_t>(*count);
  } else if (arg_is(ctx, i, "lastid") && more) {
    const auto id = id_arg(ctx, ++i);
    if (!id) return false;
    claim.last_id = *id;
  } else {
    ctx.reply.error("Unrecognized XCLAIM option '" + std::string(ctx.arg(i)) + "'");
    return false;
  }
  return true;
}

bool parse_claim(CommandContext& ctx, Claim& claim) {
  claim.consumer = ctx.arg(3);
  const auto idle = int_arg(ctx, 4, "Invalid min-idle-time argument for XCLAIM");
  if (!idle) return false;
  claim.least_idle = std::max<std::int64_t>(*idle, 0);
  std::size_t i = 5;
  for (; i < ctx.argc(); ++i) {
    const auto id = parse_id(ctx.arg(i));
    if (!id) break;
    claim.ids.push_back(*id);
  }
  std::optional<UnixMs> at;
  for (; i < ctx.argc(); ++i) {
    if (!parse_claim_option(ctx, i, claim, at)) return false;
  }
  // A time that cannot be counts as the present one, as in Redis: clients have clocks of their own.
  claim.delivered_at = at && *at >= 0 && *at <= ctx.now ? *at : ctx.now;
  return true;
}

// Gives one entry to the consumer and answers it.
void take_over(Reply& reply, const Claim& claim, StreamId id, std::string_view payload,
               std::uint64_t deliveries, GroupWrite& write) {
  write.set_pending(id, {claim.delivered_at, deliveries, claim.consumer});
  write.see_consumer(claim.consumer);
  claim.only_ids ? reply_id(reply, id) : reply_entry(reply, id, payload);
}

void xclaim(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::stream);
  if (!key) return;
  auto group = group_of(ctx, *key, ctx.arg(2));
  if (!group) return;
  Claim claim;
  if (!parse_claim(ctx, claim)) return;
  const StreamCollection& s = *of(*key);
  GroupWrite write(ctx, *key, ctx.arg(2));
  if (claim.last_id > group->last_delivered) {
    group->last_delivered = claim.last_id;
    write.set_group(*group);
  }
  const std::size_t mark = ctx.reply.deferred();
  std::size_t claimed = 0;
  for (const StreamId id : claim.ids) {
    const auto before = write.pending(id);
    const auto payload = s.entry(id);
    if (!payload) {
      if (before) write.remove_pending(id);
      continue;
    }
    if (!before && !claim.force) continue;
    if (before && claim.least_idle != 0 && ctx.now - before->at < claim.least_idle) continue;
    std::uint64_t count = before ? before->count : 1;
    if (claim.deliveries) {
      count = *claim.deliveries;
    } else if (!claim.only_ids) {
      ++count;
    }
    take_over(ctx.reply, claim, id, *payload, count, write);
    ++claimed;
  }
  ctx.reply.finish_array(mark, claimed);
  write.commit();
}

// ---- XAUTOCLAIM

struct Autoclaim {
  Claim claim;
  StreamId start;
  std::int64_t count = 100;
};

bool parse_autoclaim(CommandContext& ctx, Autoclaim& a) {
  a.claim.consumer = ctx.arg(3);
  a.claim.delivered_at = ctx.now;
  const auto idle = int_arg(ctx, 4, "Invalid min-idle-time argument for XAUTOCLAIM");
  if (!idle) return false;
  a.claim.least_idle = std::max<std::int64_t>(*idle, 0);
  const auto start = range_start(ctx, 5);
  if (!start) return false;
  a.start = *start;
  constexpr const char* bad_count = "COUNT must be > 0";
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / 16;
  for (std::size_t i = 6; i < ctx.argc(); ++i) {
    if (arg_is(ctx, i, "count") && i + 1 < ctx.argc()) {
      const auto count = int_arg(ctx, ++i, bad_count);
      if (!count) return false;
      if (*count < 1 || *count > most) return ctx.reply.error(std::string_view(bad_count)), false;
      a.count = *count;
    } else if (arg_is(ctx, i, "justid")) {
      a.claim.only_ids = true;
    } else {
      return ctx.reply.error(Errc::syntax), false;
    }
  }
  return true;
}

// Answers what it takes over; returns where the next call goes on, 0-0 at the end.
StreamId autoclaim(Reply& reply, const StreamCollection& s, const StreamPending* pending,
                   const Autoclaim& a, GroupWrite& write, std::vector<StreamId>& deleted) {
  constexpr std::int64_t attempts_factor = 10;
  const std::size_t mark = reply.deferred();
  std::size_t claimed = 0;
  StreamId next;
  if (pending) {
    std::int64_t left = a.count, attempts = a.count * attempts_factor;
    StreamWalk walk = pending->all().at(pending->all().rank(a.start));
    for (; walk.valid() && left > 0 && attempts > 0; walk.next(), --attempts) {
      const StreamId id = walk.id();
      const auto payload = s.entry(id);
      if (!payload) {
        write.remove_pending(id);
        deleted.push_back(id);
        --left;
        continue;
      }
      const StreamDelivery before = StreamDelivery::decode(walk.payload());
      if (a.claim.least_idle != 0 && a.claim.delivered_at - before.at < a.claim.least_idle)
        continue;
      take_over(reply, a.claim, id, *payload, before.count + (a.claim.only_ids ? 0 : 1), write);
      ++claimed;
      --left;
    }
    if (walk.valid()) next = walk.id();
  }
  reply.finish_array(mark, claimed);
  return next;
}

void xautoclaim(CommandContext& ctx) {
  Autoclaim a;
  if (!parse_autoclaim(ctx, a)) return;
  const auto key = typed_key(ctx, 1, TypeId::stream);
  if (!key || !group_of(ctx, *key, ctx.arg(2))) return;
  GroupWrite write(ctx, *key, ctx.arg(2));
  std::vector<StreamId> deleted;
  // The cursor stands first and is known last.
  std::string claimed;
  Reply part(claimed, ctx.reply.protocol());
  const StreamCollection& s = *of(*key);
  const StreamId next = autoclaim(part, s, s.pending(ctx.arg(2)), a, write, deleted);
  ctx.reply.array(3);
  reply_id(ctx.reply, next);
  ctx.reply.raw(claimed);
  ctx.reply.array(deleted.size());
  for (const StreamId id : deleted) reply_id(ctx.reply, id);
  write.commit();
}

using namespace flag;
constexpr std::uint32_t claims = write | fast | once | based;

// clang-format off
constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "XPENDING", .arity = -3, .flags = read, .keys = first_key, .run = xpending, .since = "5.0.0", .summary = "Returns what was delivered to a group and not acknowledged"},
    {.name = "XCLAIM", .arity = -6, .flags = claims, .keys = first_key, .run = xclaim, .since = "5.0.0", .summary = "Gives pending entries to another consumer"},
    {.name = "XAUTOCLAIM", .arity = -6, .flags = claims, .keys = first_key, .run = xautoclaim, .since = "6.2.0", .summary = "Gives pending entries to a consumer, one part of them after another"},
});
// clang-format on

}  // namespace

std::span<const CommandSpec> stream_claim_commands() {
  return rows;
}

}  // namespace gyre
