// Sorted sets: members and scores, the scan; and the family's rows.
//
// A score on a ring is a counter: ZINCRBY and ZADD INCR add a sum (record/cell.h), so that
// increments of two sides both count, and ZADD writes a base above all sums.

#include <array>
#include <cmath>
#include <unordered_set>

#include "commands/scan_options.h"
#include "commands/table.h"
#include "commands/zset_common.h"

namespace gyre {
namespace zset {
namespace {

// Whether the options let a score be written over `now` (nothing: the member is absent).
bool may_write(const AddOptions& how, std::optional<double> now, double score) {
  if (!now) return !how.xx;
  return !(how.nx || (how.gt && score <= *now) || (how.lt && score >= *now));
}

}  // namespace

void store(CommandContext& ctx, const KeyRef& to, const std::vector<Scored>& elements, bool copy,
           std::string_view told) {
  if (elements.empty() && !to.exists() && !on_ring(ctx, to)) return;
  Write w(ctx, to, TypeId::zset);
  std::vector<ScoreBytes> payloads;
  payloads.reserve(elements.size());
  if (elements.empty()) {
    w.remove_key();
  } else {
    w.overwrite();
    for (const Scored& e : elements) {
      const ScoreBytes& bytes = payloads.emplace_back(encode_score(e.score));
      w.put(copy ? w.keep(std::string(e.member)) : e.member, {bytes.data(), bytes.size()});
    }
  }
  if (!elements.empty()) return w.commit(event::zset, told);
  w.commit(to.exists() ? event::generic : 0, "del");
}

void remove(CommandContext& ctx, const KeyRef& key, const std::vector<Scored>& elements,
            std::string_view told) {
  if (elements.empty()) return;
  Write w(ctx, key, TypeId::zset);
  for (const Scored& e : elements) w.remove(w.keep(std::string(e.member)));
  w.commit(event::zset, told);
}

void add_scores(CommandContext& ctx, const AddOptions& how, const std::vector<Scored>& elements) {
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  const ZsetCollection* z = of(*key);
  const bool ring = on_ring(ctx, *key);
  std::int64_t added = 0, updated = 0;
  Write w(ctx, *key, TypeId::zset);
  std::vector<ScoreBytes> payloads(elements.size());
  // A member may come twice: the later score is the one that is written, decided upon the earlier.
  std::unordered_map<std::string_view, std::size_t> named;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const auto& [member, score] = elements[i];
    auto now = z ? z->score(member) : std::nullopt;
    std::size_t slot = i;
    const auto before = elements.size() > 1 ? named.find(member) : named.end();
    if (before != named.end()) {
      slot = before->second;
      now = decode_score({payloads[slot].data(), 8});
    }
    if (!may_write(how, now, score)) continue;
    const bool same = now && *now == score;
    if (!now) ++added;
    if (now && !same) ++updated;
    if (same && !ring) continue;
    payloads[slot] = encode_score(score);
    if (slot != i) continue;
    w.put(member, {payloads[i].data(), 8});
    if (elements.size() > 1) named.emplace(member, i);
  }
  ctx.reply.integer(how.ch ? added + updated : added);
  if (!w.empty()) w.commit(added + updated > 0 ? event::zset : 0, "zadd");
}

}  // namespace zset

namespace {

using namespace zset;

constexpr const char* nan_error = "resulting score is not a number (NaN)";

// ---- ZADD, ZINCRBY

// Reads the words before the scores; the position of the first score, 0 when an error was answered.
std::size_t parse_add(CommandContext& ctx, AddOptions& how) {
  std::size_t i = 2;
  for (; i < ctx.argc(); ++i) {
    if (arg_is(ctx, i, "nx")) {
      how.nx = true;
    } else if (arg_is(ctx, i, "xx")) {
      how.xx = true;
    } else if (arg_is(ctx, i, "ch")) {
      how.ch = true;
    } else if (arg_is(ctx, i, "incr")) {
      how.incr = true;
    } else if (arg_is(ctx, i, "gt")) {
      how.gt = true;
    } else if (arg_is(ctx, i, "lt")) {
      how.lt = true;
    } else {
      break;
    }
  }
  const std::size_t rest = ctx.argc() - i;
  if (rest == 0 || rest % 2 != 0) return ctx.reply.error(Errc::syntax), 0;
  if (how.nx && how.xx) {
    return ctx.reply.error("XX and NX options at the same time are not compatible"), 0;
  }
  if ((how.gt && how.nx) || (how.lt && how.nx) || (how.gt && how.lt)) {
    return ctx.reply.error("GT, LT, and/or NX options at the same time are not compatible"), 0;
  }
  if (how.incr && rest > 2) {
    return ctx.reply.error("INCR option supports a single increment-element pair"), 0;
  }
  return i;
}

// Adds to a score on a ring: this node's sum grows, or a new one is opened. As Write::add, but a
// score is a double: the amounts add up as doubles do in Redis.
// False when the sum would be no number.
bool add_to_sum(const KeyRef& key, Write& w, std::string_view member, double delta) {
  Cell cell;
  Version opened = w.version();
  if (const ZsetCollection* z = of(key); z && z->find(member, cell)) {
    if (const auto own = w.own_sum(cell)) {
      delta += parse_double(own->amount).value_or(0);
      opened = own->id;
    }
  }
  if (std::isnan(delta)) return false;
  w.effect().changes.push_back({member, w.version(), opened, false, w.keep(format_double(delta))});
  return true;
}

void add_increment(CommandContext& ctx, const AddOptions& how, double delta,
                   std::string_view member) {
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  const ZsetCollection* z = of(*key);
  const auto now = z ? z->score(member) : std::nullopt;
  const double total = now.value_or(0) + delta;
  // NX finds the member before the sum is made, so it cannot fail on it.
  if (now && how.nx) return ctx.reply.null();
  if (std::isnan(total)) return ctx.reply.error(nan_error);
  if (!may_write(how, now, total)) return ctx.reply.null();
  const bool ring = on_ring(ctx, *key);
  if (ring || !now || *now != total) {
    Write w(ctx, *key, TypeId::zset);
    const ScoreBytes bytes = encode_score(total);
    if (!ring) {
      w.put(member, {bytes.data(), bytes.size()});
    } else if (!add_to_sum(*key, w, member, delta)) {
      return ctx.reply.error(nan_error);
    }
    w.commit(!now || *now != total ? event::zset : 0, "zincr");
  }
  if (!ring) return ctx.reply.real(total);
  // Sums add up in their own order; the reply is what a reader will see.
  const KeyRef after = ctx.find(ctx.arg(1));
  const ZsetCollection* written = after.is(TypeId::zset) ? of(after) : nullptr;
  ctx.reply.real(written ? written->score(member).value_or(total) : total);
}

void zadd(CommandContext& ctx) {
  AddOptions how;
  const std::size_t from = parse_add(ctx, how);
  if (from == 0) return;
  std::vector<Scored> elements;
  elements.reserve((ctx.argc() - from) / 2);
  for (std::size_t i = from; i < ctx.argc(); i += 2) {
    const auto score = double_arg(ctx, i);
    if (!score) return;
    elements.push_back({ctx.arg(i + 1), *score});
  }
  how.incr ? add_increment(ctx, how, elements[0].score, elements[0].member)
           : add_scores(ctx, how, elements);
}

void zincrby(CommandContext& ctx) {
  AddOptions how{.incr = true};
  if (parse_add(ctx, how) == 0) return;  // Redis takes a word of ZADD for one here, too
  if (const auto delta = double_arg(ctx, 2)) add_increment(ctx, how, *delta, ctx.arg(3));
}

// ---- single members

void zrem(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  const ZsetCollection* z = of(*key);
  const bool ring = on_ring(ctx, *key);
  std::int64_t removed = 0;
  Write w(ctx, *key, TypeId::zset);
  std::unordered_set<std::string_view> named;
  for (std::size_t i = 2; i < ctx.argc(); ++i) {
    const bool there = z && z->score(ctx.arg(i)).has_value();
    if (!there && !ring) continue;
    if (ctx.argc() > 3 && !named.insert(ctx.arg(i)).second) continue;
    if (there) ++removed;
    w.remove(ctx.arg(i));
  }
  ctx.reply.integer(removed);
  if (!w.empty()) w.commit(removed > 0 ? event::zset : 0, "zrem");
}

void reply_score(CommandContext& ctx, const ZsetCollection* z, std::string_view member) {
  const auto score = z ? z->score(member) : std::nullopt;
  score ? ctx.reply.real(*score) : ctx.reply.null();
}

void zscore(CommandContext& ctx) {
  if (const auto key = typed_key(ctx, 1, TypeId::zset)) reply_score(ctx, of(*key), ctx.arg(2));
}

void zmscore(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  ctx.reply.array(ctx.argc() - 2);
  for (std::size_t i = 2; i < ctx.argc(); ++i) reply_score(ctx, of(*key), ctx.arg(i));
}

void zcard(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  ctx.reply.integer(key->exists() ? static_cast<std::int64_t>(of(*key)->live()) : 0);
}

void rank_of(CommandContext& ctx, bool downward) {
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  const ZsetCollection* z = of(*key);
  const auto score = z ? z->score(ctx.arg(2)) : std::nullopt;
  if (!score) return ctx.reply.null();
  const std::size_t rank = z->rank(ZsetBorder::at(*score, ctx.arg(2)));
  ctx.reply.integer(static_cast<std::int64_t>(downward ? z->live() - 1 - rank : rank));
}
void zrank(CommandContext& ctx) {
  rank_of(ctx, false);
}
void zrevrank(CommandContext& ctx) {
  rank_of(ctx, true);
}

// ---- ZSCAN

// Redis keeps the scores of a small set as text, whole numbers without an exponent.
std::string scan_score(double score, bool small) {
  constexpr double whole_max = 0x1p62;
  const bool whole = small && std::abs(score) < whole_max && score == std::trunc(score);
  return whole ? format_int(static_cast<std::int64_t>(score)) : format_double(score);
}

void zscan(CommandContext& ctx) {
  auto cursor = scan_cursor(ctx, 2);
  if (!cursor) return;
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  if (!key->exists()) return empty_scan(ctx);
  ScanOptions how;
  if (!scan_options(ctx, 3, how)) return;
  std::vector<Scored> found;
  std::size_t seen = 0;
  do {
    *cursor = of(*key)->scan(*cursor, [&](std::string_view member, double score) {
      ++seen;
      if (how.takes(member)) found.push_back({member, score});
      return true;
    });
  } while (*cursor != 0 && seen < how.count);
  scan_reply(ctx, *cursor);
  ctx.reply.array(found.size() * 2);
  for (const Scored& e : found) {
    ctx.reply.bulk(e.member);
    ctx.reply.bulk(scan_score(e.score, of(*key)->small()));
  }
}

// ---- the table

using namespace flag;
constexpr std::uint32_t changes = write | based | conditional;
constexpr std::uint32_t stores = write | denyoom | based | conditional | atomic;

constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "ZADD",
     .arity = -4,
     .flags = write | denyoom | fast | based,
     .keys = first_key,
     .run = zadd,
     .since = "1.2.0",
     .summary = "Adds members, or updates their scores"},
    {.name = "ZINCRBY",
     .arity = 4,
     .flags = write | denyoom | fast | once,
     .keys = first_key,
     .run = zincrby,
     .since = "1.2.0",
     .summary = "Adds to the score of a member"},
    {.name = "ZREM",
     .arity = -3,
     .flags = write | fast,
     .keys = first_key,
     .run = zrem,
     .since = "1.2.0",
     .summary = "Removes members"},
    {.name = "ZSCORE",
     .arity = 3,
     .flags = read | fast,
     .keys = first_key,
     .run = zscore,
     .since = "1.2.0",
     .summary = "Returns the score of a member"},
    {.name = "ZMSCORE",
     .arity = -3,
     .flags = read | fast,
     .keys = first_key,
     .run = zmscore,
     .since = "6.2.0",
     .summary = "Returns the scores of several members"},
    {.name = "ZCARD",
     .arity = 2,
     .flags = read | fast,
     .keys = first_key,
     .run = zcard,
     .since = "1.2.0",
     .summary = "Returns the number of members"},
    {.name = "ZCOUNT",
     .arity = 4,
     .flags = read | fast,
     .keys = first_key,
     .run = zset::zcount,
     .since = "2.0.0",
     .summary = "Counts the members with scores in a range"},
    {.name = "ZLEXCOUNT",
     .arity = 4,
     .flags = read | fast,
     .keys = first_key,
     .run = zset::zlexcount,
     .since = "2.8.9",
     .summary = "Counts the members in a range of members"},
    {.name = "ZRANK",
     .arity = 3,
     .flags = read | fast,
     .keys = first_key,
     .run = zrank,
     .since = "2.0.0",
     .summary = "Returns the rank of a member, lowest score first"},
    {.name = "ZREVRANK",
     .arity = 3,
     .flags = read | fast,
     .keys = first_key,
     .run = zrevrank,
     .since = "2.0.0",
     .summary = "Returns the rank of a member, highest score first"},
    {.name = "ZRANGE",
     .arity = -4,
     .flags = read,
     .keys = first_key,
     .run = zset::zrange,
     .since = "1.2.0",
     .summary = "Returns a range of members by rank, score or member"},
    {.name = "ZRANGESTORE",
     .arity = -5,
     .flags = stores,
     .keys = two_keys,
     .run = zset::zrangestore,
     .since = "6.2.0",
     .summary = "Stores a range of members in a key"},
    {.name = "ZREVRANGE",
     .arity = -4,
     .flags = read,
     .keys = first_key,
     .run = zset::zrevrange,
     .since = "1.2.0",
     .summary = "Returns a range of members by rank, highest score first"},
    {.name = "ZRANGEBYSCORE",
     .arity = -4,
     .flags = read,
     .keys = first_key,
     .run = zset::zrangebyscore,
     .since = "1.0.5",
     .summary = "Returns the members with scores in a range"},
    {.name = "ZREVRANGEBYSCORE",
     .arity = -4,
     .flags = read,
     .keys = first_key,
     .run = zset::zrevrangebyscore,
     .since = "2.2.0",
     .summary = "Returns the members with scores in a range, highest first"},
    {.name = "ZRANGEBYLEX",
     .arity = -4,
     .flags = read,
     .keys = first_key,
     .run = zset::zrangebylex,
     .since = "2.8.9",
     .summary = "Returns the members in a range of members"},
    {.name = "ZREVRANGEBYLEX",
     .arity = -4,
     .flags = read,
     .keys = first_key,
     .run = zset::zrevrangebylex,
     .since = "2.8.9",
     .summary = "Returns the members in a range of members, last first"},
    {.name = "ZREMRANGEBYRANK",
     .arity = 4,
     .flags = changes,
     .keys = first_key,
     .run = zset::zremrangebyrank,
     .since = "2.0.0",
     .summary = "Removes the members in a range of ranks"},
    {.name = "ZREMRANGEBYSCORE",
     .arity = 4,
     .flags = changes,
     .keys = first_key,
     .run = zset::zremrangebyscore,
     .since = "1.2.0",
     .summary = "Removes the members with scores in a range"},
    {.name = "ZREMRANGEBYLEX",
     .arity = 4,
     .flags = changes,
     .keys = first_key,
     .run = zset::zremrangebylex,
     .since = "2.8.9",
     .summary = "Removes the members in a range of members"},
    {.name = "ZPOPMIN",
     .arity = -2,
     .flags = write | fast | once | based,
     .keys = first_key,
     .run = zset::zpopmin,
     .since = "5.0.0",
     .summary = "Returns and removes the members with the lowest scores"},
    {.name = "ZPOPMAX",
     .arity = -2,
     .flags = write | fast | once | based,
     .keys = first_key,
     .run = zset::zpopmax,
     .since = "5.0.0",
     .summary = "Returns and removes the members with the highest scores"},
    {.name = "ZMPOP",
     .arity = -4,
     .flags = write | movablekeys | once | based | atomic,
     .run = zset::zmpop,
     .find_keys = numbered_keys,
     .since = "7.0.0",
     .summary = "Returns and removes members of the first sorted set that has any"},
    {.name = "BZPOPMIN",
     .arity = -3,
     .flags = write | fast | noscript | blocking | once | based,
     .keys = {1, -2, 1},
     .run = zset::bzpopmin,
     .since = "5.0.0",
     .summary = "Returns and removes the member with the lowest score, or waits for one"},
    {.name = "BZPOPMAX",
     .arity = -3,
     .flags = write | fast | noscript | blocking | once | based,
     .keys = {1, -2, 1},
     .run = zset::bzpopmax,
     .since = "5.0.0",
     .summary = "Returns and removes the member with the highest score, or waits for one"},
    {.name = "BZMPOP",
     .arity = -5,
     .flags = write | blocking | movablekeys | once | based,
     .run = zset::bzmpop,
     .find_keys = timed_and_numbered_keys,
     .since = "7.0.0",
     .summary =
         "Returns and removes members of the first sorted set that has any, or waits for some"},
    {.name = "ZRANDMEMBER",
     .arity = -2,
     .flags = read,
     .keys = first_key,
     .run = zset::zrandmember,
     .since = "6.2.0",
     .summary = "Returns random members"},
    {.name = "ZSCAN",
     .arity = -3,
     .flags = read,
     .keys = first_key,
     .run = zscan,
     .since = "2.8.0",
     .summary = "Walks members and scores step by step"},
    {.name = "ZUNION",
     .arity = -3,
     .flags = read | movablekeys | atomic,
     .run = zset::zunion,
     .find_keys = numbered_keys,
     .since = "6.2.0",
     .summary = "Returns the union of sorted sets"},
    {.name = "ZINTER",
     .arity = -3,
     .flags = read | movablekeys | atomic,
     .run = zset::zinter,
     .find_keys = numbered_keys,
     .since = "6.2.0",
     .summary = "Returns the intersection of sorted sets"},
    {.name = "ZDIFF",
     .arity = -3,
     .flags = read | movablekeys | atomic,
     .run = zset::zdiff,
     .find_keys = numbered_keys,
     .since = "6.2.0",
     .summary = "Returns the first sorted set without the members of the others"},
    {.name = "ZINTERCARD",
     .arity = -3,
     .flags = read | movablekeys | atomic,
     .run = zset::zintercard,
     .find_keys = numbered_keys,
     .since = "7.0.0",
     .summary = "Counts the members of an intersection"},
    {.name = "ZUNIONSTORE",
     .arity = -4,
     .flags = stores | movablekeys,
     .keys = first_key,
     .run = zset::zunionstore,
     .find_keys = stored_and_numbered_keys,
     .since = "2.0.0",
     .summary = "Stores the union of sorted sets in a key"},
    {.name = "ZINTERSTORE",
     .arity = -4,
     .flags = stores | movablekeys,
     .keys = first_key,
     .run = zset::zinterstore,
     .find_keys = stored_and_numbered_keys,
     .since = "2.0.0",
     .summary = "Stores the intersection of sorted sets in a key"},
    {.name = "ZDIFFSTORE",
     .arity = -4,
     .flags = stores | movablekeys,
     .keys = first_key,
     .run = zset::zdiffstore,
     .find_keys = stored_and_numbered_keys,
     .since = "6.2.0",
     .summary = "Stores a difference of sorted sets in a key"},
});

}  // namespace

std::span<const CommandSpec> zset_commands() {
  return rows;
}

}  // namespace gyre
