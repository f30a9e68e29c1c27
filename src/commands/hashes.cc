// Hashes: fields of a record, each a cell of its own, so that writes to different fields both stay.
//
// A field that HINCRBY changed on a ring has sums beside its base: values are read with value_of().

#include <array>
#include <cmath>
#include <unordered_map>

#include "commands/elements.h"
#include "commands/parse.h"
#include "commands/scan_options.h"
#include "commands/table.h"

namespace gyre {
namespace {

// ---- reading

// The value as bytes; `scratch` holds it when it is computed from sums.
std::string_view value_of(const Cell& cell, std::string& scratch) {
  if (!cell.has_sums) return cell.stored;
  scratch = cell_text(cell);
  return scratch;
}

void reply_cell(CommandContext& ctx, const Cell& cell) {
  if (!cell.has_sums) return ctx.reply.bulk(cell.stored);
  ctx.reply.bulk(cell_text(cell));
}

void reply_field(CommandContext& ctx, const MapCollection* map, std::string_view field) {
  Cell cell;
  map && map->find(field, cell) && cell.live() ? reply_cell(ctx, cell) : ctx.reply.null();
}

void hget(CommandContext& ctx) {
  if (const auto key = typed_key(ctx, 1, TypeId::hash)) reply_field(ctx, map_of(*key), ctx.arg(2));
}

void hmget(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::hash);
  if (!key) return;
  ctx.reply.array(ctx.argc() - 2);
  for (std::size_t i = 2; i < ctx.argc(); ++i) reply_field(ctx, map_of(*key), ctx.arg(i));
}

// Calls f for each field that can be read.
template <class F>
void each_field(const MapCollection* map, F&& f) {
  if (!map) return;
  map->each([&f](const ElementView& e) {
    if (e.cell.live()) f(e);
    return true;
  });
}

void hgetall(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::hash);
  if (!key) return;
  ctx.reply.map(live_in(map_of(*key)));
  each_field(map_of(*key), [&ctx](const ElementView& e) {
    ctx.reply.bulk(e.id);
    reply_cell(ctx, e.cell);
  });
}

void hkeys(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::hash);
  if (!key) return;
  ctx.reply.array(live_in(map_of(*key)));
  each_field(map_of(*key), [&ctx](const ElementView& e) { ctx.reply.bulk(e.id); });
}

void hvals(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::hash);
  if (!key) return;
  ctx.reply.array(live_in(map_of(*key)));
  each_field(map_of(*key), [&ctx](const ElementView& e) { reply_cell(ctx, e.cell); });
}

void hlen(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::hash);
  if (key) ctx.reply.integer(static_cast<std::int64_t>(live_in(map_of(*key))));
}

void hexists(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::hash);
  if (key) ctx.reply.integer(has_live(map_of(*key), ctx.arg(2)));
}

void hstrlen(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::hash);
  if (!key) return;
  const MapCollection* map = map_of(*key);
  Cell cell;
  std::string scratch;
  const bool there = map && map->find(ctx.arg(2), cell) && cell.live();
  ctx.reply.integer(there ? static_cast<std::int64_t>(value_of(cell, scratch).size()) : 0);
}

void hscan(CommandContext& ctx) {
  const auto cursor = scan_cursor(ctx, 2);
  if (!cursor) return;
  const auto key = typed_key(ctx, 1, TypeId::hash);
  if (!key) return;
  if (!key->exists()) return empty_scan(ctx);
  ScanOptions how;
  if (!scan_options(ctx, 3, how)) return;
  std::vector<ElementView> found;
  const std::uint64_t next = map_of(*key)->walk(*cursor, how.count, [&](const ElementView& e) {
    if (e.cell.live() && how.takes(e.id)) found.push_back(e);
  });
  scan_reply(ctx, next);
  ctx.reply.array(2 * found.size());
  for (const ElementView& e : found) {
    ctx.reply.bulk(e.id);
    reply_cell(ctx, e.cell);
  }
}

void hrandfield(CommandContext& ctx) {
  std::int64_t count = 1;
  bool with_values = false;
  if (ctx.argc() > 2) {
    const auto n = random_count(ctx, 2);
    if (!n) return;
    count = *n;
    with_values = arg_is(ctx, 3, "withvalues");
    if (ctx.argc() > 4 || (ctx.argc() == 4 && !with_values)) return ctx.reply.error(Errc::syntax);
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / 2;
    if (with_values && (count < -most || count > most)) {
      return ctx.reply.error("value is out of range");
    }
  }
  const auto key = typed_key(ctx, 1, TypeId::hash);
  if (!key) return;
  const MapCollection* map = map_of(*key);
  if (ctx.argc() == 2) return map ? ctx.reply.bulk(map->random(ctx.random).id) : ctx.reply.null();
  if (!map) return ctx.reply.array(0);
  const bool pairs = with_values && ctx.reply.protocol() == 3;
  const auto reply_one = [&](const ElementView& e) {
    if (pairs) ctx.reply.array(2);
    ctx.reply.bulk(e.id);
    if (with_values) reply_cell(ctx, e.cell);
  };
  const std::size_t per_field = with_values && !pairs ? 2 : 1;
  if (count < 0) {
    if (!repetitions_fit(ctx, -count)) return;
    const auto n = static_cast<std::size_t>(-count);
    ctx.reply.array(n * per_field);
    return draw_repeated(*map, n, ctx.random, reply_one);
  }
  const auto drawn = draw_distinct(*map, static_cast<std::size_t>(count), ctx.random);
  ctx.reply.array(drawn.size() * per_field);
  for (const ElementView& e : drawn) reply_one(e);
}

// ---- writing

// Puts the pairs of arguments from 2 on. All get the command's version, and of two equal versions
// apply keeps the first: a field named twice gets its last value here.
void put_pairs(CommandContext& ctx, Write& w) {
  constexpr std::size_t few = 32;  // below that, comparing all is quicker than a table
  std::unordered_map<std::string_view, std::size_t> places;
  auto& changes = w.effect().changes;
  changes.reserve(ctx.argc() / 2 - 1);
  for (std::size_t i = 2; i + 1 < ctx.argc(); i += 2) {
    const std::string_view field = ctx.arg(i);
    std::size_t at = changes.size();
    if (ctx.argc() <= few) {
      for (std::size_t j = 0; j < changes.size() && at == changes.size(); ++j) {
        if (changes[j].id == field) at = j;
      }
    } else {
      at = places.emplace(field, at).first->second;
    }
    if (at == changes.size()) {
      w.put(field, ctx.arg(i + 1));
    } else {
      changes[at].payload = ctx.arg(i + 1);
    }
  }
}

void set_fields(CommandContext& ctx, bool answer_count) {
  if (ctx.argc() % 2 == 1) {
    return ctx.reply.error("wrong number of arguments for '" + command_name(ctx) + "' command");
  }
  const auto key = typed_key(ctx, 1, TypeId::hash);
  if (!key) return;
  const std::size_t before = live_in(map_of(*key));
  Write w(ctx, *key, TypeId::hash);
  put_pairs(ctx, w);
  w.commit(event::hash, "hset");
  if (!answer_count) return ctx.reply.ok();
  ctx.reply.integer(static_cast<std::int64_t>(live_now(ctx, *key) - before));
}
void hset(CommandContext& ctx) {
  set_fields(ctx, true);
}
void hmset(CommandContext& ctx) {
  set_fields(ctx, false);
}

void hsetnx(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::hash);
  if (!key) return;
  if (has_live(map_of(*key), ctx.arg(2))) return ctx.reply.integer(0);
  Write w(ctx, *key, TypeId::hash);
  w.put(ctx.arg(2), ctx.arg(3));
  w.commit(event::hash, "hset");
  ctx.reply.integer(1);
}

void hdel(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::hash);
  if (!key) return;
  ctx.reply.integer(static_cast<std::int64_t>(
      remove_elements(ctx, *key, TypeId::hash, 2, {event::hash, "hdel"})));
}

// ---- counters

void hincrby(CommandContext& ctx) {
  const auto delta = int_arg(ctx, 3);
  if (!delta) return;
  const auto key = typed_key(ctx, 1, TypeId::hash);
  if (!key) return;
  const MapCollection* map = map_of(*key);
  Cell cell;
  const bool there = map && map->find(ctx.arg(2), cell);
  std::int64_t value = 0;
  if (there && cell.live()) {
    const auto now = shown_integer(cell);
    if (!now) return ctx.reply.error("hash value is not an integer");
    value = *now;
  }
  const auto total = checked_add(value, *delta);
  if (!total) return ctx.reply.error("increment or decrement would overflow");
  Write w(ctx, *key, TypeId::hash);
  w.add(ctx.arg(2), there ? &cell : nullptr, w.keep(format_int(*delta)),
        w.keep(format_int(*total)));
  w.commit(event::hash, "hincrby");
  ctx.reply.integer(*total);
}

void hincrbyfloat(CommandContext& ctx) {
  const auto delta = parse_long_double(ctx.arg(3));
  if (!delta) return ctx.reply.error(Errc::not_float);
  if (std::isnan(*delta) || std::isinf(*delta)) {
    return ctx.reply.error("value is NaN or Infinity");
  }
  const auto key = typed_key(ctx, 1, TypeId::hash);
  if (!key) return;
  const MapCollection* map = map_of(*key);
  Cell cell;
  const bool there = map && map->find(ctx.arg(2), cell);
  long double value = 0;
  if (there && cell.live()) {
    std::string scratch;
    const auto now = parse_long_double(value_of(cell, scratch));
    if (!now) return ctx.reply.error("hash value is not a float");
    value = *now;
  }
  const long double total = value + *delta;
  if (std::isnan(total) || std::isinf(total)) {
    return ctx.reply.error("increment would produce NaN or Infinity");
  }
  Write w(ctx, *key, TypeId::hash);
  const std::string_view text = w.keep(format_long_double(total));
  w.add(ctx.arg(2), there ? &cell : nullptr, w.keep(format_long_double(*delta)), text);
  ctx.reply.bulk(text);
  w.commit(event::hash, "hincrbyfloat");
}

using namespace flag;
constexpr std::uint32_t grow = write | denyoom | fast;

// clang-format off
constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "HSET", .arity = -4, .flags = grow, .keys = first_key, .run = hset, .since = "2.0.0", .summary = "Sets fields of a hash"},
    {.name = "HMSET", .arity = -4, .flags = grow, .keys = first_key, .run = hmset, .since = "2.0.0", .summary = "Sets fields of a hash"},
    {.name = "HSETNX", .arity = 4, .flags = grow | once | based | conditional, .keys = first_key, .run = hsetnx, .since = "2.0.0", .summary = "Sets a field when it is absent"},
    {.name = "HGET", .arity = 3, .flags = read | fast, .keys = first_key, .run = hget, .since = "2.0.0", .summary = "Returns the value of a field"},
    {.name = "HMGET", .arity = -3, .flags = read | fast, .keys = first_key, .run = hmget, .since = "2.0.0", .summary = "Returns the values of several fields"},
    {.name = "HGETALL", .arity = 2, .flags = read, .keys = first_key, .run = hgetall, .since = "2.0.0", .summary = "Returns all fields with their values"},
    {.name = "HDEL", .arity = -3, .flags = write | fast, .keys = first_key, .run = hdel, .since = "2.0.0", .summary = "Removes fields; the key goes with the last"},
    {.name = "HEXISTS", .arity = 3, .flags = read | fast, .keys = first_key, .run = hexists, .since = "2.0.0", .summary = "Tells whether a field is there"},
    {.name = "HLEN", .arity = 2, .flags = read | fast, .keys = first_key, .run = hlen, .since = "2.0.0", .summary = "Returns the number of fields"},
    {.name = "HKEYS", .arity = 2, .flags = read, .keys = first_key, .run = hkeys, .since = "2.0.0", .summary = "Returns all fields"},
    {.name = "HVALS", .arity = 2, .flags = read, .keys = first_key, .run = hvals, .since = "2.0.0", .summary = "Returns all values"},
    {.name = "HSTRLEN", .arity = 3, .flags = read | fast, .keys = first_key, .run = hstrlen, .since = "3.2.0", .summary = "Returns the length of a field's value"},
    {.name = "HINCRBY", .arity = 4, .flags = grow | once, .keys = first_key, .run = hincrby, .since = "2.0.0", .summary = "Adds to the integer in a field"},
    {.name = "HINCRBYFLOAT", .arity = 4, .flags = grow | once, .keys = first_key, .run = hincrbyfloat, .since = "2.6.0", .summary = "Adds to the number in a field"},
    {.name = "HRANDFIELD", .arity = -2, .flags = read, .keys = first_key, .run = hrandfield, .since = "6.2.0", .summary = "Returns fields at random"},
    {.name = "HSCAN", .arity = -3, .flags = read, .keys = first_key, .run = hscan, .since = "2.8.0", .summary = "Walks over a hash in steps"},
});
// clang-format on

}  // namespace

std::span<const CommandSpec> hash_commands() {
  return rows;
}

}  // namespace gyre
