// Strings: whole values and counters.
//
// A string is one cell: a base value and, on a ring, the sums of INCR beside it (record/cell.h).
// What changes a value in place (APPEND, SETRANGE) writes it anew and keeps the expiry.

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

#include "base/hash.h"
#include "commands/parse.h"
#include "commands/table.h"
#include "ring/slot.h"

namespace gyre {
namespace {

// ---- reading

void reply_value(CommandContext& ctx, const KeyRef& key) {
  if (!key.exists()) return ctx.reply.null();
  if ((key.node->flags() & (Node::sums | Node::floored)) == 0) [[likely]]
    return ctx.reply.bulk(key.node->value());
  std::string scratch;
  ctx.reply.bulk(bytes_of(key, scratch));
}

void get(CommandContext& ctx) {
  const KeyRef key = ctx.find(ctx.arg(1));
  if (!key.is(TypeId::string)) return ctx.reply.error(Errc::wrong_type);
  reply_value(ctx, key);
}

void strlen_(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::string);
  if (!key) return;
  std::string scratch;
  ctx.reply.integer(key->exists() ? static_cast<std::int64_t>(bytes_of(*key, scratch).size()) : 0);
}

// The lookups of a command that names many keys: what each needs is asked for some keys ahead, so
// that the memory answers them together.
class ManyKeys {
 public:
  // Keys are every `step`th argument from the first on.
  ManyKeys(CommandContext& ctx, std::size_t step) : ctx_(ctx), step_(step) {}

  // Of the argument at `place`; the places come in order.
  KeyRef find(std::size_t place) {
    const std::size_t n = (place - 1) / step_;
    if (n % window == 0) fetch(place);
    const Key& key = keys_[n % window];
    return ctx_.find(ctx_.arg(place), key.slot, key.hash, ctx_.db);
  }

 private:
  static constexpr std::size_t window = 32;
  struct Key {
    Slot slot{};
    std::uint64_t hash = 0;
  };

  void fetch(std::size_t place) {
    std::size_t count = 0;
    for (; place < ctx_.argc() && count < window; place += step_, ++count) {
      const Slot slot = key_slot(ctx_.arg(place));
      keys_[count] = {slot, key_hash(ctx_.arg(place))};
      ctx_.spaces.of(slot).prefetch_slot(slot);
    }
    const std::span<const Key> keys(keys_, count);
    for (const Key& k : keys) ctx_.spaces.of(k.slot).prefetch_group(k.slot, ctx_.db, k.hash);
    for (const Key& k : keys) ctx_.spaces.of(k.slot).prefetch_node(k.slot, ctx_.db, k.hash);
  }

  CommandContext& ctx_;
  const std::size_t step_;
  Key keys_[window];
};

void mget(CommandContext& ctx) {
  ctx.reply.array(ctx.argc() - 1);
  ManyKeys keys(ctx, 1);
  for (std::size_t i = 1; i < ctx.argc(); ++i) {
    const KeyRef key = keys.find(i);
    key.type() == TypeId::string ? reply_value(ctx, key) : ctx.reply.null();
  }
}

// ---- SET and its relatives

// The words of SET, and of GETEX.
struct SetOptions {
  bool nx = false, xx = false, keep_ttl = false, get = false, persist = false;
  std::optional<TimeUnit> unit;
  std::string_view time;  // in it, not read yet: all words are looked at first
  bool ends() const { return unit.has_value(); }
};

std::optional<TimeUnit> unit_arg(CommandContext& ctx, std::size_t i) {
  const bool ex = arg_is(ctx, i, "ex"), px = arg_is(ctx, i, "px");
  const bool exat = arg_is(ctx, i, "exat"), pxat = arg_is(ctx, i, "pxat");
  if (!ex && !px && !exat && !pxat) return std::nullopt;
  return TimeUnit{.seconds = ex || exat, .absolute = exat || pxat};
}

// Parses the words from argument `from` on; false when an error was answered. A unit may come
// again, and the last one counts.
bool parse_words(CommandContext& ctx, std::size_t from, bool of_set, SetOptions& out) {
  for (std::size_t i = from; i < ctx.argc(); ++i) {
    if (of_set && arg_is(ctx, i, "nx") && !out.xx) {
      out.nx = true;
    } else if (of_set && arg_is(ctx, i, "xx") && !out.nx) {
      out.xx = true;
    } else if (of_set && arg_is(ctx, i, "get")) {
      out.get = true;
    } else if (of_set && arg_is(ctx, i, "keepttl") && !out.ends()) {
      out.keep_ttl = true;
    } else if (!of_set && arg_is(ctx, i, "persist") && !out.ends()) {
      out.persist = true;
    } else {
      const auto unit = unit_arg(ctx, i);
      if (!unit || i + 1 == ctx.argc() || out.keep_ttl || out.persist ||
          (out.unit && *out.unit != *unit)) {
        return ctx.reply.error(Errc::syntax), false;
      }
      out.unit = unit;
      out.time = ctx.arg(++i);
    }
  }
  return true;
}

// When it ends, 0: never. Nothing: an error was answered.
std::optional<UnixMs> end_of(CommandContext& ctx, const SetOptions& how, std::string_view command) {
  return how.unit ? expire_time(ctx, how.time, *how.unit, true, command) : std::optional<UnixMs>(0);
}

// `told`: what the event of it is called; none when empty.
void store_value(CommandContext& ctx, const KeyRef& key, std::string_view value, UnixMs expire_at,
                 bool keep_ttl, std::string_view told = "set") {
  if (expire_at == 0 && ctx.overwrite_in_place(key, value)) return;
  Write w(ctx, key, TypeId::string);
  keep_ttl ? w.overwrite_keeping_expiry() : w.overwrite();
  if (expire_at != 0) w.expire_at(expire_at);
  w.set_string(value);
  w.commit(told.empty() ? 0 : event::string, told);
  if (expire_at != 0) ctx.event(event::generic, "expire", key.key);
}

void set(CommandContext& ctx) {
  SetOptions how;
  if (ctx.argc() > 3 && !parse_words(ctx, 3, true, how)) return;
  const auto expire_at = end_of(ctx, how, "set");
  if (!expire_at) return;
  ctx.tells_misses = how.get;
  const KeyRef key = ctx.find(ctx.arg(1));
  if (how.get) {
    if (!key.is(TypeId::string)) return ctx.reply.error(Errc::wrong_type);
    reply_value(ctx, key);
  }
  if ((how.nx && key.exists()) || (how.xx && !key.exists())) {
    if (!how.get) ctx.reply.null();
    return;
  }
  store_value(ctx, key, ctx.arg(2), *expire_at, how.keep_ttl);
  if (!how.get) ctx.reply.ok();
}

void setnx(CommandContext& ctx) {
  const KeyRef key = ctx.find(ctx.arg(1));
  if (!key.exists()) store_value(ctx, key, ctx.arg(2), 0, false);
  ctx.reply.integer(key.exists() ? 0 : 1);
}

void set_with_time(CommandContext& ctx, bool seconds) {
  const auto at = expire_time(ctx, ctx.arg(2), {.seconds = seconds, .absolute = false}, true,
                              command_name(ctx));
  if (!at) return;
  store_value(ctx, ctx.find(ctx.arg(1)), ctx.arg(3), *at, false);
  ctx.reply.ok();
}
void setex(CommandContext& ctx) {
  set_with_time(ctx, true);
}
void psetex(CommandContext& ctx) {
  set_with_time(ctx, false);
}

void getset(CommandContext& ctx) {
  ctx.tells_misses = true;
  const auto key = typed_key(ctx, 1, TypeId::string);
  if (!key) return;
  reply_value(ctx, *key);
  store_value(ctx, *key, ctx.arg(2), 0, false);
}

void getdel(CommandContext& ctx) {
  ctx.tells_misses = true;
  const auto key = typed_key(ctx, 1, TypeId::string);
  if (!key) return;
  reply_value(ctx, *key);
  if (!key->exists()) return;
  Write w(ctx, *key, TypeId::string);
  w.remove_key();
  w.commit(event::generic, "del");
}

void getex(CommandContext& ctx) {
  SetOptions how;
  if (!parse_words(ctx, 2, false, how)) return;
  ctx.tells_misses = true;
  const auto key = typed_key(ctx, 1, TypeId::string);
  if (!key) return;
  // A time is judged only where there is something that it would be for.
  if (!key->exists()) return ctx.reply.null();
  const auto at = end_of(ctx, how, "getex");
  if (!at) return;
  reply_value(ctx, *key);
  if (*at == 0 && !(how.persist && key->expires_at() != 0)) return;
  Write w(ctx, *key, TypeId::string);
  const bool past = *at != 0 && *at <= ctx.now;
  past ? w.remove_key() : w.expire_at(*at);
  w.commit(event::generic, past ? "del" : *at != 0 ? "expire" : "persist");
}

// Whether the key at `place` comes again behind it.
bool comes_again(CommandContext& ctx, std::size_t place) {
  const std::string_view key = ctx.arg(place);
  for (std::size_t i = place + 2; i < ctx.argc(); i += 2) {
    if (ctx.arg(i) == key) return true;
  }
  return false;
}

// Stores the pairs of MSET and MSETNX. A command has one version per slot, so of a key that occurs
// twice only the last pair is written: of two writes with one version the first would stay.
void store_pairs(CommandContext& ctx) {
  constexpr std::size_t few = 64;  // words; up to them, comparing all is quicker than a table
  std::unordered_map<std::string_view, std::size_t> last;
  if (ctx.argc() > few) {
    for (std::size_t i = 1; i < ctx.argc(); i += 2) last[ctx.arg(i)] = i;
  }
  ManyKeys keys(ctx, 2);
  for (std::size_t i = 1; i < ctx.argc(); i += 2) {
    const KeyRef key = keys.find(i);
    if (ctx.argc() > few ? last[key.key] != i : comes_again(ctx, i)) continue;
    store_value(ctx, key, ctx.arg(i + 1), 0, false, {});
  }
  for (std::size_t i = 1; i < ctx.argc(); i += 2) ctx.event(event::string, "set", ctx.arg(i));
}

void mset(CommandContext& ctx) {
  if (ctx.argc() % 2 == 0) return ctx.reply.error("wrong number of arguments for 'mset' command");
  store_pairs(ctx);
  ctx.reply.ok();
}

void msetnx(CommandContext& ctx) {
  if (ctx.argc() % 2 == 0) return ctx.reply.error("wrong number of arguments for 'msetnx' command");
  for (std::size_t i = 1; i < ctx.argc(); i += 2) {
    if (ctx.find(ctx.arg(i)).exists()) return ctx.reply.integer(0);
  }
  store_pairs(ctx);
  ctx.reply.integer(1);
}

// ---- in place

bool too_long(CommandContext& ctx, std::size_t size) {
  if (size <= ctx.options.proto_max_bulk_len) return false;
  ctx.reply.error("string exceeds maximum allowed size (proto-max-bulk-len)");
  return true;
}

void append(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::string);
  if (!key) return;
  std::string scratch;
  std::string value(key->exists() ? bytes_of(*key, scratch) : std::string_view());
  if (too_long(ctx, value.size() + ctx.arg(2).size())) return;
  value.append(ctx.arg(2));
  store_value(ctx, *key, value, 0, true, "append");
  ctx.reply.integer(static_cast<std::int64_t>(value.size()));
}

void setrange(CommandContext& ctx) {
  const auto offset = int_arg(ctx, 2);
  if (!offset) return;
  if (*offset < 0) return ctx.reply.error("offset is out of range");
  const auto key = typed_key(ctx, 1, TypeId::string);
  if (!key) return;
  std::string scratch;
  std::string value(key->exists() ? bytes_of(*key, scratch) : std::string_view());
  const std::string_view part = ctx.arg(3);
  if (part.empty()) return ctx.reply.integer(static_cast<std::int64_t>(value.size()));
  const auto at = static_cast<std::size_t>(*offset);
  if (at > ctx.options.proto_max_bulk_len || too_long(ctx, at + part.size())) {
    if (at > ctx.options.proto_max_bulk_len) too_long(ctx, at);
    return;
  }
  if (value.size() < at + part.size()) value.resize(at + part.size(), '\0');
  value.replace(at, part.size(), part);
  store_value(ctx, *key, value, 0, true, "setrange");
  ctx.reply.integer(static_cast<std::int64_t>(value.size()));
}

void getrange(CommandContext& ctx) {
  const auto from = int_arg(ctx, 2);
  if (!from) return;
  const auto to = int_arg(ctx, 3);
  if (!to) return;
  const auto key = typed_key(ctx, 1, TypeId::string);
  if (!key) return;
  std::string scratch;
  const std::string_view value = key->exists() ? bytes_of(*key, scratch) : std::string_view();
  const auto size = static_cast<std::int64_t>(value.size());
  std::int64_t first = *from, last = *to;
  if (first < 0 && last < 0 && first > last) return ctx.reply.bulk("");
  if (first < 0) first = std::max<std::int64_t>(first + size, 0);
  if (last < 0) last = std::max<std::int64_t>(last + size, 0);
  last = std::min(last, size - 1);
  if (first > last || size == 0) return ctx.reply.bulk("");
  ctx.reply.bulk(
      value.substr(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first + 1)));
}

// ---- counters

void increment(CommandContext& ctx, std::int64_t delta) {
  const auto key = typed_key(ctx, 1, TypeId::string);
  if (!key) return;
  Cell cell;
  std::int64_t value = 0;
  if (key->exists()) {
    cell = key->cell();
    const auto now = shown_integer(cell);
    if (!now) return ctx.reply.error(Errc::not_integer);
    value = *now;
  }
  const auto total = checked_add(value, delta);
  if (!total) return ctx.reply.error("increment or decrement would overflow");
  Write w(ctx, *key, TypeId::string);
  const std::string delta_text = format_int(delta), total_text = format_int(*total);
  w.add({}, key->exists() ? &cell : nullptr, delta_text, total_text);
  w.commit(event::string, "incrby");
  ctx.reply.integer(*total);
}

void incr(CommandContext& ctx) {
  increment(ctx, 1);
}
void decr(CommandContext& ctx) {
  increment(ctx, -1);
}
void incrby(CommandContext& ctx) {
  if (const auto n = int_arg(ctx, 2)) increment(ctx, *n);
}
void decrby(CommandContext& ctx) {
  const auto n = int_arg(ctx, 2);
  if (!n) return;
  if (*n == std::numeric_limits<std::int64_t>::min())
    return ctx.reply.error("decrement would overflow");
  increment(ctx, -*n);
}

void incrbyfloat(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::string);
  if (!key) return;
  Cell cell;
  long double value = 0;
  if (key->exists()) {
    cell = key->cell();
    const auto now = parse_long_double(cell_text(cell));
    if (!now) return ctx.reply.error(Errc::not_float);
    value = *now;
  }
  const auto delta = parse_long_double(ctx.arg(2));
  if (!delta) return ctx.reply.error(Errc::not_float);
  const long double total = value + *delta;
  if (std::isnan(total) || std::isinf(total))
    return ctx.reply.error("increment would produce NaN or Infinity");
  Write w(ctx, *key, TypeId::string);
  const std::string_view text = w.keep(format_long_double(total));
  w.add({}, key->exists() ? &cell : nullptr, w.keep(format_long_double(*delta)), text);
  ctx.reply.bulk(text);
  w.commit(event::string, "incrbyfloat");
}

// ---- LCS

struct LcsOptions {
  bool len = false, idx = false, with_match_len = false;
  std::int64_t min_match_len = 0;
};

bool parse_lcs(CommandContext& ctx, LcsOptions& out) {
  for (std::size_t i = 3; i < ctx.argc(); ++i) {
    if (arg_is(ctx, i, "idx")) {
      out.idx = true;
    } else if (arg_is(ctx, i, "len")) {
      out.len = true;
    } else if (arg_is(ctx, i, "withmatchlen")) {
      out.with_match_len = true;
    } else if (arg_is(ctx, i, "minmatchlen") && i + 1 < ctx.argc()) {
      const auto n = int_arg(ctx, ++i);
      if (!n) return false;
      out.min_match_len = std::max<std::int64_t>(*n, 0);
    } else {
      return ctx.reply.error(Errc::syntax), false;
    }
  }
  if (out.idx && out.len) {
    ctx.reply.error("If you want both the length and indexes, please just use IDX.");
    return false;
  }
  return true;
}

// The classic table of longest common subsequences, walked back from its end.
class LcsTable {
 public:
  LcsTable(std::string_view a, std::string_view b)
      : a_(a), b_(b), width_(b.size() + 1), cells_((a.size() + 1) * width_) {
    for (std::size_t i = 1; i <= a.size(); ++i) {
      for (std::size_t j = 1; j <= b.size(); ++j) {
        at(i, j) =
            a[i - 1] == b[j - 1] ? at(i - 1, j - 1) + 1 : std::max(at(i - 1, j), at(i, j - 1));
      }
    }
  }
  struct Match {
    std::size_t a_first, a_last, b_first, b_last;
  };
  std::uint32_t length() { return at(a_.size(), b_.size()); }
  // Fills the subsequence and the runs of matches, last run first.
  void walk(std::string& text, std::vector<Match>& runs) {
    std::size_t i = a_.size(), j = b_.size();
    text.resize(length());
    std::size_t k = text.size();
    while (i > 0 && j > 0) {
      if (a_[i - 1] == b_[j - 1]) {
        text[--k] = a_[i - 1];
        --i, --j;
        if (!runs.empty() && runs.back().a_first == i + 1 && runs.back().b_first == j + 1) {
          runs.back().a_first = i;
          runs.back().b_first = j;
        } else {
          runs.push_back({i, i, j, j});
        }
      } else if (at(i - 1, j) > at(i, j - 1)) {
        --i;
      } else {
        --j;
      }
    }
  }

 private:
  std::uint32_t& at(std::size_t i, std::size_t j) { return cells_[i * width_ + j]; }
  std::string_view a_, b_;
  std::size_t width_;
  std::vector<std::uint32_t> cells_;
};

void lcs(CommandContext& ctx) {
  LcsOptions how;
  std::string scratch[2], value[2];
  for (std::size_t i = 0; i < 2; ++i) {
    const KeyRef key = ctx.find(ctx.arg(i + 1));
    if (!key.is(TypeId::string))
      return ctx.reply.error("The specified keys must contain string values");
    if (key.exists()) value[i] = bytes_of(key, scratch[i]);
  }
  if (!parse_lcs(ctx, how)) return;
  if ((value[0].size() + 1) * (value[1].size() + 1) > (std::size_t{512} << 20) / 4) {
    return ctx.reply.error(
        "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
  }
  LcsTable table(value[0], value[1]);
  if (how.len) return ctx.reply.integer(table.length());
  std::string text;
  std::vector<LcsTable::Match> runs;
  table.walk(text, runs);
  if (!how.idx) return ctx.reply.bulk(text);
  std::erase_if(runs, [&](const LcsTable::Match& m) {
    return static_cast<std::int64_t>(m.a_last - m.a_first + 1) < how.min_match_len;
  });
  ctx.reply.map(2);
  ctx.reply.bulk("matches");
  ctx.reply.array(runs.size());
  for (const auto& m : runs) {
    ctx.reply.array(how.with_match_len ? 3 : 2);
    for (const auto& [first, last] :
         {std::pair(m.a_first, m.a_last), std::pair(m.b_first, m.b_last)}) {
      ctx.reply.array(2);
      ctx.reply.integer(static_cast<std::int64_t>(first));
      ctx.reply.integer(static_cast<std::int64_t>(last));
    }
    if (how.with_match_len) ctx.reply.integer(static_cast<std::int64_t>(m.a_last - m.a_first + 1));
  }
  ctx.reply.bulk("len");
  ctx.reply.integer(table.length());
}

using namespace flag;
constexpr std::uint32_t rmw = write | denyoom | once | based | conditional;

constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "GET",
     .arity = 2,
     .flags = read | fast,
     .keys = first_key,
     .run = get,
     .since = "1.0.0",
     .summary = "Returns the value of a key"},
    {.name = "SET",
     .arity = -3,
     .flags = write | denyoom | blind,
     .keys = first_key,
     .run = set,
     .since = "1.0.0",
     .summary = "Sets a key's value, whatever it held"},
    {.name = "SETNX",
     .arity = 3,
     .flags = write | denyoom | fast | once | based | conditional,
     .keys = first_key,
     .run = setnx,
     .since = "1.0.0",
     .summary = "Sets a key's value when the key is absent"},
    {.name = "SETEX",
     .arity = 4,
     .flags = write | denyoom | blind,
     .keys = first_key,
     .run = setex,
     .since = "2.0.0",
     .summary = "Sets value and expiry in seconds"},
    {.name = "PSETEX",
     .arity = 4,
     .flags = write | denyoom | blind,
     .keys = first_key,
     .run = psetex,
     .since = "2.6.0",
     .summary = "Sets value and expiry in milliseconds"},
    {.name = "GETSET",
     .arity = 3,
     .flags = write | denyoom | fast | once | based | conditional,
     .keys = first_key,
     .run = getset,
     .since = "1.0.0",
     .summary = "Sets a value and returns the old one"},
    {.name = "GETDEL",
     .arity = 2,
     .flags = write | fast | once | based | conditional,
     .keys = first_key,
     .run = getdel,
     .since = "6.2.0",
     .summary = "Returns a value and removes its key"},
    {.name = "GETEX",
     .arity = -2,
     .flags = write | fast,
     .keys = first_key,
     .run = getex,
     .since = "6.2.0",
     .summary = "Returns a value and changes its expiry"},
    {.name = "MGET",
     .arity = -2,
     .flags = read | fast,
     .keys = all_keys,
     .run = mget,
     .scatter = Scatter::gather_array,
     .since = "1.0.0",
     .summary = "Returns the values of several keys"},
    {.name = "MSET",
     .arity = -3,
     .flags = write | denyoom | blind,
     .keys = odd_keys,
     .run = mset,
     .scatter = Scatter::all_ok,
     .since = "1.0.1",
     .summary = "Sets several keys"},
    {.name = "MSETNX",
     .arity = -3,
     .flags = write | denyoom | once | based | conditional | atomic,
     .keys = odd_keys,
     .run = msetnx,
     .since = "1.0.1",
     .summary = "Sets several keys when none of them exists"},
    {.name = "APPEND",
     .arity = 3,
     .flags = rmw | fast,
     .keys = first_key,
     .run = append,
     .since = "2.0.0",
     .summary = "Appends to a value"},
    {.name = "STRLEN",
     .arity = 2,
     .flags = read | fast,
     .keys = first_key,
     .run = strlen_,
     .since = "2.2.0",
     .summary = "Returns the length of a value"},
    {.name = "SETRANGE",
     .arity = 4,
     .flags = rmw,
     .keys = first_key,
     .run = setrange,
     .since = "2.2.0",
     .summary = "Overwrites part of a value"},
    {.name = "GETRANGE",
     .arity = 4,
     .flags = read,
     .keys = first_key,
     .run = getrange,
     .since = "2.4.0",
     .summary = "Returns part of a value"},
    {.name = "SUBSTR",
     .arity = 4,
     .flags = read,
     .keys = first_key,
     .run = getrange,
     .since = "1.0.0",
     .summary = "Returns part of a value"},
    {.name = "INCR",
     .arity = 2,
     .flags = write | denyoom | fast | once,
     .keys = first_key,
     .run = incr,
     .since = "1.0.0",
     .summary = "Adds one to an integer"},
    {.name = "DECR",
     .arity = 2,
     .flags = write | denyoom | fast | once,
     .keys = first_key,
     .run = decr,
     .since = "1.0.0",
     .summary = "Takes one from an integer"},
    {.name = "INCRBY",
     .arity = 3,
     .flags = write | denyoom | fast | once,
     .keys = first_key,
     .run = incrby,
     .since = "1.0.0",
     .summary = "Adds to an integer"},
    {.name = "DECRBY",
     .arity = 3,
     .flags = write | denyoom | fast | once,
     .keys = first_key,
     .run = decrby,
     .since = "1.0.0",
     .summary = "Takes from an integer"},
    {.name = "INCRBYFLOAT",
     .arity = 3,
     .flags = write | denyoom | fast | once,
     .keys = first_key,
     .run = incrbyfloat,
     .since = "2.6.0",
     .summary = "Adds to a number"},
    {.name = "LCS",
     .arity = -3,
     .flags = read | atomic,
     .keys = two_keys,
     .run = lcs,
     .since = "7.0.0",
     .summary = "Finds the longest common subsequence of two values"},
});

}  // namespace

std::span<const CommandSpec> string_commands() {
  return rows;
}

}  // namespace gyre
