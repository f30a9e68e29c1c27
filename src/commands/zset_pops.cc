// Sorted sets: what takes members by their place: pops from either end, random members.

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>
#include <unordered_set>

#include "commands/zset_common.h"

namespace gyre::zset {
namespace {

// An integer argument in [least, most]; answers `error` when it is an integer outside of it.
std::optional<std::int64_t> bounded_arg(CommandContext& ctx, std::size_t i, std::int64_t least,
                                        const char* error, const char* no_number = nullptr) {
  const auto value = int_arg(ctx, i, no_number);
  if (!value || *value >= least) return value;
  ctx.reply.error(std::string_view(error));
  return std::nullopt;
}

// ---- pops

// Answers and removes up to `count` elements from one end; the set is not empty.
void pop(CommandContext& ctx, const KeyRef& key, std::int64_t count, bool highest, Emit emit) {
  const ZsetCollection* z = of(key);
  const std::size_t n = std::min(z->live(), static_cast<std::size_t>(count));
  std::vector<Scored> popped;
  popped.reserve(n);
  reply_header(ctx, n, emit);
  z->walk(highest ? z->live() - 1 : 0, n, highest, [&](std::string_view member, double score) {
    reply_element(ctx, member, score, emit);
    popped.push_back({member, score});
    return true;
  });
  remove(ctx, key, popped, highest ? "zpopmax" : "zpopmin");
}

void pop_one_key(CommandContext& ctx, bool highest) {
  if (ctx.argc() > 3) return ctx.reply.error(Errc::syntax);
  std::int64_t count = 1;
  if (ctx.argc() == 3) {
    const auto n = bounded_arg(ctx, 2, 0, "value is out of range, must be positive",
                               "value is out of range, must be positive");
    if (!n) return;
    count = *n;
  }
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  if (!key->exists() || count == 0) return ctx.reply.array(0);
  pop(ctx, *key, count, highest,
      emit_scores(ctx, true) == Emit::pairs && ctx.argc() == 3 ? Emit::pairs : Emit::flat);
}

// BZMPOP has its time-out before the number of keys.
void pop_from_first(CommandContext& ctx, std::size_t numkeys, bool waits) {
  const auto keys = bounded_arg(ctx, numkeys, 1, "numkeys should be greater than 0",
                                "numkeys should be greater than 0");
  if (!keys) return;
  const std::size_t first = numkeys + 1;
  if (*keys >= static_cast<std::int64_t>(ctx.argc() - first)) return ctx.reply.error(Errc::syntax);
  const std::size_t where = static_cast<std::size_t>(*keys) + first;
  const bool highest = arg_is(ctx, where, "max");
  if (!highest && !arg_is(ctx, where, "min")) return ctx.reply.error(Errc::syntax);
  std::int64_t count = 1;
  if (where + 1 < ctx.argc()) {
    if (!arg_is(ctx, where + 1, "count") || where + 2 == ctx.argc())
      return ctx.reply.error(Errc::syntax);
    const auto n = bounded_arg(ctx, where + 2, 1, "count should be greater than 0",
                               "count should be greater than 0");
    if (!n) return;
    if (where + 3 != ctx.argc()) return ctx.reply.error(Errc::syntax);
    count = *n;
  }
  const auto ms = waits ? timeout_arg(ctx, 1) : std::int64_t{0};
  if (!ms) return;
  for (std::size_t i = first; i < where; ++i) {
    const auto key = waited_key(ctx, i, TypeId::zset);
    if (!key) return;
    if (!key->exists()) continue;
    if (ctx.only_looks()) return;
    ctx.reply.array(2);
    ctx.reply.bulk(key->key);
    return pop(ctx, *key, count, highest, Emit::pairs);
  }
  ctx.wait(*ms);
}

void blocking_pop(CommandContext& ctx, bool highest) {
  const std::size_t last = ctx.argc() - 1;
  const auto ms = timeout_arg(ctx, last);
  if (!ms) return;
  for (std::size_t i = 1; i < last; ++i) {
    const auto key = waited_key(ctx, i, TypeId::zset);
    if (!key) return;
    if (!key->exists()) continue;
    if (ctx.only_looks()) return;
    const ZsetCollection* z = of(*key);
    std::vector<Scored> popped;
    ctx.reply.array(3);
    ctx.reply.bulk(key->key);
    z->walk(highest ? z->live() - 1 : 0, 1, highest, [&](std::string_view member, double score) {
      reply_element(ctx, member, score, Emit::flat);
      popped.push_back({member, score});
      return true;
    });
    return remove(ctx, *key, popped, highest ? "zpopmax" : "zpopmin");
  }
  ctx.wait(*ms);
}
// ---- ZRANDMEMBER

// Distinct ranks below `size` in random order; count < size.
std::vector<std::size_t> random_ranks(Random& random, std::size_t size, std::size_t count) {
  std::vector<std::size_t> out;
  if (count * 3 > size) {
    // Most of them: shuffle as far as needed.
    out.resize(size);
    std::iota(out.begin(), out.end(), std::size_t{0});
    for (std::size_t i = 0; i < count; ++i) std::swap(out[i], out[i + random.below(size - i)]);
    out.resize(count);
    return out;
  }
  std::unordered_set<std::size_t> taken;
  while (out.size() < count) {
    const std::size_t rank = random.below(size);
    if (taken.insert(rank).second) out.push_back(rank);
  }
  return out;
}

void random_members(CommandContext& ctx, const ZsetCollection& z, std::int64_t count, Emit emit) {
  const auto element = [&](std::string_view member, double score) {
    reply_element(ctx, member, score, emit);
    return true;
  };
  if (count < 0) {
    const auto n = static_cast<std::size_t>(-count);
    reply_header(ctx, n, emit);
    for (std::size_t i = 0; i < n; ++i) z.walk(ctx.random.below(z.live()), 1, false, element);
    return;
  }
  const auto n = static_cast<std::size_t>(count);
  if (n >= z.live()) {
    reply_header(ctx, z.live(), emit);
    return z.walk(0, z.live(), false, element);
  }
  reply_header(ctx, n, emit);
  for (const std::size_t rank : random_ranks(ctx.random, z.live(), n))
    z.walk(rank, 1, false, element);
}

}  // namespace

void zpopmin(CommandContext& ctx) {
  pop_one_key(ctx, false);
}

void zpopmax(CommandContext& ctx) {
  pop_one_key(ctx, true);
}

void zmpop(CommandContext& ctx) {
  pop_from_first(ctx, 1, false);
}
void bzmpop(CommandContext& ctx) {
  pop_from_first(ctx, 2, true);
}

void bzpopmin(CommandContext& ctx) {
  blocking_pop(ctx, false);
}
void bzpopmax(CommandContext& ctx) {
  blocking_pop(ctx, true);
}

void zrandmember(CommandContext& ctx) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  // Redis would build such an answer until it is killed.
  constexpr std::int64_t repeated_max = std::int64_t{1} << 26;
  std::int64_t count = 1;
  if (ctx.argc() > 2) {
    const auto n = bounded_arg(
        ctx, 2, -most,
        "value is out of range, value must between -9223372036854775807 and 9223372036854775807");
    if (!n) return;
    if (ctx.argc() > 4 || (ctx.argc() == 4 && !arg_is(ctx, 3, "withscores"))) {
      return ctx.reply.error(Errc::syntax);
    }
    count = *n;
    if (ctx.argc() == 4 && (count > most / 2 || count < -most / 2)) {
      return ctx.reply.error("value is out of range");
    }
  }
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  if (ctx.argc() > 2) {
    if (!key->exists() || count == 0) return ctx.reply.array(0);
    if (count < -repeated_max) return ctx.reply.error("value is out of range");
    return random_members(ctx, *of(*key), count, emit_scores(ctx, ctx.argc() == 4));
  }
  if (!key->exists()) return ctx.reply.null();
  of(*key)->walk(ctx.random.below(of(*key)->live()), 1, false,
                 [&](std::string_view member, double) {
                   ctx.reply.bulk(member);
                   return true;
                 });
}

}  // namespace gyre::zset
