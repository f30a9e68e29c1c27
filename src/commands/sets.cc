// Sets: members of a record, each an element without a value.
//
// What reads several sets (SINTER, SUNION, SDIFF and their STORE forms) gathers views first and
// writes or answers afterwards, as the destination may be one of the sources.

#include <algorithm>
#include <array>
#include <unordered_set>

#include "commands/elements.h"
#include "commands/parse.h"
#include "commands/scan_options.h"
#include "commands/table.h"

namespace gyre {
namespace {

// ---- one set

void sadd(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::set);
  if (!key) return;
  const MapCollection* map = map_of(*key);
  const std::size_t before = live_in(map);
  const bool all = stamps_all(ctx, *key);
  Write w(ctx, *key, TypeId::set);
  for (std::size_t i = 2; i < ctx.argc(); ++i) {
    if (all || !has_live(map, ctx.arg(i))) w.put(ctx.arg(i), {});
  }
  if (w.empty()) return ctx.reply.integer(0);
  w.commit();
  const std::size_t now = live_now(ctx, *key);
  if (now != before) ctx.event(event::set, "sadd", key->key);
  ctx.reply.integer(static_cast<std::int64_t>(now - before));
}

void srem(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::set);
  if (!key) return;
  ctx.reply.integer(
      static_cast<std::int64_t>(remove_elements(ctx, *key, TypeId::set, 2, {event::set, "srem"})));
}

void sismember(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::set);
  if (key) ctx.reply.integer(has_live(map_of(*key), ctx.arg(2)));
}

void smismember(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::set);
  if (!key) return;
  ctx.reply.array(ctx.argc() - 2);
  for (std::size_t i = 2; i < ctx.argc(); ++i) {
    ctx.reply.integer(has_live(map_of(*key), ctx.arg(i)));
  }
}

void scard(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::set);
  if (key) ctx.reply.integer(static_cast<std::int64_t>(live_in(map_of(*key))));
}

void smembers(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::set);
  if (!key) return;
  ctx.reply.set(live_in(map_of(*key)));
  if (!key->exists()) return;
  map_of(*key)->each([&ctx](const ElementView& e) {
    if (e.cell.live()) ctx.reply.bulk(e.id);
    return true;
  });
}

void sscan(CommandContext& ctx) {
  const auto cursor = scan_cursor(ctx, 2);
  if (!cursor) return;
  const auto key = typed_key(ctx, 1, TypeId::set);
  if (!key) return;
  if (!key->exists()) return empty_scan(ctx);
  ScanOptions how;
  if (!scan_options(ctx, 3, how)) return;
  std::vector<std::string_view> found;
  const std::uint64_t next = map_of(*key)->walk(*cursor, how.count, [&](const ElementView& e) {
    if (e.cell.live() && how.takes(e.id)) found.push_back(e.id);
  });
  scan_reply(ctx, next);
  ctx.reply.array(found.size());
  for (const std::string_view id : found) ctx.reply.bulk(id);
}

// ---- at random

void srandmember(CommandContext& ctx) {
  std::int64_t count = 1;
  if (ctx.argc() > 3) return ctx.reply.error(Errc::syntax);
  if (ctx.argc() == 3) {
    const auto n = random_count(ctx, 2);
    if (!n) return;
    count = *n;
  }
  const auto key = typed_key(ctx, 1, TypeId::set);
  if (!key) return;
  const MapCollection* map = map_of(*key);
  if (ctx.argc() == 2) return map ? ctx.reply.bulk(map->random(ctx.random).id) : ctx.reply.null();
  if (!map) return ctx.reply.array(0);
  if (count < 0) {
    if (!repetitions_fit(ctx, -count)) return;
    const auto n = static_cast<std::size_t>(-count);
    ctx.reply.array(n);
    return draw_repeated(*map, n, ctx.random,
                         [&ctx](const ElementView& e) { ctx.reply.bulk(e.id); });
  }
  const auto drawn = draw_distinct(*map, static_cast<std::size_t>(count), ctx.random);
  ctx.reply.array(drawn.size());
  for (const ElementView& e : drawn) ctx.reply.bulk(e.id);
}

void spop(CommandContext& ctx) {
  if (ctx.argc() > 3) return ctx.reply.error(Errc::syntax);
  std::int64_t count = 1;
  if (ctx.argc() == 3) {
    const char* bad = "value is out of range, must be positive";
    const auto n = int_arg(ctx, 2, bad);
    if (!n) return;
    if (*n < 0) return ctx.reply.error(std::string_view(bad));
    count = *n;
  }
  const auto key = typed_key(ctx, 1, TypeId::set);
  if (!key) return;
  const MapCollection* map = map_of(*key);
  if (ctx.argc() == 2 && !map) return ctx.reply.null();
  if (!map || count == 0) return ctx.reply.set(0);
  Write w(ctx, *key, TypeId::set);
  if (ctx.argc() == 2) {
    const std::string_view member = w.keep(std::string(map->random(ctx.random).id));
    ctx.reply.bulk(member);
    w.remove(member);
  } else {
    // Member by member also when all go: a member added elsewhere meanwhile was not popped.
    const auto drawn = draw_distinct(*map, static_cast<std::size_t>(count), ctx.random);
    ctx.reply.set(drawn.size());
    for (const ElementView& e : drawn) {
      ctx.reply.bulk(e.id);
      w.remove(w.keep(std::string(e.id)));
    }
  }
  w.commit(event::set, "spop");
}

// ---- several sets

void smove(CommandContext& ctx) {
  const KeyRef from = ctx.find(ctx.arg(1));
  const KeyRef to = ctx.find(ctx.arg(2));
  if (!from.exists()) return ctx.reply.integer(0);
  if (!from.is(TypeId::set) || !to.is(TypeId::set)) return ctx.reply.error(Errc::wrong_type);
  const std::string_view member = ctx.arg(3);
  const bool there = has_live(map_of(from), member);
  if (!there || from.key == to.key) return ctx.reply.integer(there);
  Write taken(ctx, from, TypeId::set);
  taken.remove(member);
  taken.commit(event::set, "srem");
  const KeyRef target = ctx.find(to.key, to.slot, to.hash, ctx.db);
  const bool added = !has_live(map_of(target), member);
  if (stamps_all(ctx, target) || added) {
    Write put(ctx, target, TypeId::set);
    put.put(member, {});
    put.commit(added ? event::set : 0, "sadd");
  }
  ctx.reply.integer(1);
}

using Sets = std::vector<const MapCollection*>;  // nullptr: absent
using Members = std::vector<std::string_view>;

// Looks up the sets of the arguments [from, to); false when one is of another type, answered.
bool find_sets(CommandContext& ctx, std::size_t from, std::size_t to, Sets& sets) {
  for (std::size_t i = from; i < to; ++i) {
    const auto key = typed_key(ctx, i, TypeId::set);
    if (!key) return false;
    sets.push_back(map_of(*key));
  }
  return true;
}

// At most `limit` members that all sets have. Goes through the smallest set.
Members intersect(const Sets& sets, std::size_t limit) {
  Members out;
  const auto size = [](const MapCollection* a) { return live_in(a); };
  const auto least = std::min_element(sets.begin(), sets.end(),
                                      [&](auto* a, auto* b) { return size(a) < size(b); });
  if (!*least) return out;
  (*least)->each([&](const ElementView& e) {
    if (!e.cell.live()) return true;
    const bool in_all = std::all_of(sets.begin(), sets.end(), [&](const MapCollection* s) {
      return s == *least || has_live(s, e.id);
    });
    if (in_all) out.push_back(e.id);
    return out.size() < limit;
  });
  return out;
}

Members unite(const Sets& sets) {
  Members out;
  std::unordered_set<std::string_view> seen;
  for (const MapCollection* s : sets) {
    if (!s) continue;
    s->each([&](const ElementView& e) {
      if (e.cell.live() && seen.insert(e.id).second) out.push_back(e.id);
      return true;
    });
  }
  return out;
}

// What the first set has and no other.
Members subtract(const Sets& sets) {
  Members out;
  if (!sets.front()) return out;
  sets.front()->each([&](const ElementView& e) {
    const bool elsewhere = std::any_of(sets.begin() + 1, sets.end(),
                                       [&](const MapCollection* s) { return has_live(s, e.id); });
    if (e.cell.live() && !elsewhere) out.push_back(e.id);
    return true;
  });
  return out;
}

enum class Algebra : std::uint8_t { intersection, set_union, difference };

Members compute(Algebra operation, const Sets& sets) {
  switch (operation) {
    case Algebra::intersection:
      return intersect(sets, std::numeric_limits<std::size_t>::max());
    case Algebra::set_union:
      return unite(sets);
    default:
      return subtract(sets);
  }
}

void answer(CommandContext& ctx, Algebra operation) {
  Sets sets;
  if (!find_sets(ctx, 1, ctx.argc(), sets)) return;
  const Members members = compute(operation, sets);
  ctx.reply.set(members.size());
  for (const std::string_view m : members) ctx.reply.bulk(m);
}

void store(CommandContext& ctx, Algebra operation) {
  const KeyRef target = ctx.find(ctx.arg(1));
  Sets sets;
  if (!find_sets(ctx, 2, ctx.argc(), sets)) return;
  const Members members = compute(operation, sets);
  ctx.reply.integer(static_cast<std::int64_t>(members.size()));
  if (members.empty() && !target.exists() && !stamps_all(ctx, target)) return;
  Write w(ctx, target, TypeId::set);
  if (members.empty()) {
    w.remove_key();
  } else {
    const auto last = ctx.args.end();
    const bool own = std::find(ctx.args.begin() + 2, last, target.key) != last;
    w.overwrite();
    // Views into the record that is overwritten would not outlive the merge.
    for (const std::string_view m : members) w.put(own ? w.keep(std::string(m)) : m, {});
  }
  w.commit(members.empty() ? (target.exists() ? event::generic : 0) : event::set,
           members.empty()                      ? "del"
           : operation == Algebra::intersection ? "sinterstore"
           : operation == Algebra::set_union    ? "sunionstore"
                                                : "sdiffstore");
}

void sinter(CommandContext& ctx) {
  answer(ctx, Algebra::intersection);
}
void sunion(CommandContext& ctx) {
  answer(ctx, Algebra::set_union);
}
void sdiff(CommandContext& ctx) {
  answer(ctx, Algebra::difference);
}
void sinterstore(CommandContext& ctx) {
  store(ctx, Algebra::intersection);
}
void sunionstore(CommandContext& ctx) {
  store(ctx, Algebra::set_union);
}
void sdiffstore(CommandContext& ctx) {
  store(ctx, Algebra::difference);
}

void sintercard(CommandContext& ctx) {
  const char* bad_count = "numkeys should be greater than 0";
  const auto count = int_arg(ctx, 1, bad_count);
  if (!count) return;
  if (*count < 1) return ctx.reply.error(std::string_view(bad_count));
  if (*count > static_cast<std::int64_t>(ctx.argc() - 2)) {
    return ctx.reply.error("Number of keys can't be greater than number of args");
  }
  const std::size_t end = 2 + static_cast<std::size_t>(*count);
  std::size_t limit = 0;
  for (std::size_t i = end; i < ctx.argc(); i += 2) {
    if (!arg_is(ctx, i, "limit") || i + 1 == ctx.argc()) return ctx.reply.error(Errc::syntax);
    const char* bad_limit = "LIMIT can't be negative";
    const auto n = int_arg(ctx, i + 1, bad_limit);
    if (!n) return;
    if (*n < 0) return ctx.reply.error(std::string_view(bad_limit));
    limit = static_cast<std::size_t>(*n);
  }
  Sets sets;
  if (!find_sets(ctx, 2, end, sets)) return;
  if (limit == 0) limit = std::numeric_limits<std::size_t>::max();
  ctx.reply.integer(static_cast<std::int64_t>(intersect(sets, limit).size()));
}

void sintercard_keys(Args args, std::vector<std::size_t>& positions) {
  const auto count = parse_int(args[1]);
  if (!count || *count < 1 || *count > static_cast<std::int64_t>(args.size() - 2)) return;
  for (std::int64_t i = 0; i < *count; ++i) positions.push_back(2 + static_cast<std::size_t>(i));
}

using namespace flag;
constexpr std::uint32_t grow = write | denyoom;
constexpr std::uint32_t stores = grow | based | conditional | atomic;

// clang-format off
constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "SADD", .arity = -3, .flags = grow | fast, .keys = first_key, .run = sadd, .since = "1.0.0", .summary = "Adds members to a set"},
    {.name = "SREM", .arity = -3, .flags = write | fast, .keys = first_key, .run = srem, .since = "1.0.0", .summary = "Removes members; the key goes with the last"},
    {.name = "SISMEMBER", .arity = 3, .flags = read | fast, .keys = first_key, .run = sismember, .since = "1.0.0", .summary = "Tells whether a member is there"},
    {.name = "SMISMEMBER", .arity = -3, .flags = read | fast, .keys = first_key, .run = smismember, .since = "6.2.0", .summary = "Tells of several members whether they are there"},
    {.name = "SMEMBERS", .arity = 2, .flags = read, .keys = first_key, .run = smembers, .since = "1.0.0", .summary = "Returns all members"},
    {.name = "SCARD", .arity = 2, .flags = read | fast, .keys = first_key, .run = scard, .since = "1.0.0", .summary = "Returns the number of members"},
    {.name = "SPOP", .arity = -2, .flags = write | fast | once | based, .keys = first_key, .run = spop, .since = "1.0.0", .summary = "Removes members at random and returns them"},
    {.name = "SRANDMEMBER", .arity = -2, .flags = read, .keys = first_key, .run = srandmember, .since = "1.0.0", .summary = "Returns members at random"},
    {.name = "SMOVE", .arity = 4, .flags = write | fast | once | based | conditional | atomic, .keys = two_keys, .run = smove, .since = "1.0.0", .summary = "Moves a member to another set"},
    {.name = "SINTER", .arity = -2, .flags = read | atomic, .keys = all_keys, .run = sinter, .since = "1.0.0", .summary = "Returns what all sets have"},
    {.name = "SINTERSTORE", .arity = -3, .flags = stores, .keys = all_keys, .run = sinterstore, .since = "1.0.0", .summary = "Stores what all sets have"},
    {.name = "SINTERCARD", .arity = -3, .flags = read | movablekeys | atomic, .run = sintercard, .find_keys = sintercard_keys, .since = "7.0.0", .summary = "Counts what all sets have"},
    {.name = "SUNION", .arity = -2, .flags = read | atomic, .keys = all_keys, .run = sunion, .since = "1.0.0", .summary = "Returns what any of the sets has"},
    {.name = "SUNIONSTORE", .arity = -3, .flags = stores, .keys = all_keys, .run = sunionstore, .since = "1.0.0", .summary = "Stores what any of the sets has"},
    {.name = "SDIFF", .arity = -2, .flags = read | atomic, .keys = all_keys, .run = sdiff, .since = "1.0.0", .summary = "Returns what the first set has alone"},
    {.name = "SDIFFSTORE", .arity = -3, .flags = stores, .keys = all_keys, .run = sdiffstore, .since = "1.0.0", .summary = "Stores what the first set has alone"},
    {.name = "SSCAN", .arity = -3, .flags = read, .keys = first_key, .run = sscan, .since = "2.8.0", .summary = "Walks over a set in steps"},
});
// clang-format on

}  // namespace

std::span<const CommandSpec> set_commands() {
  return rows;
}

}  // namespace gyre
