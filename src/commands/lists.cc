// Lists: pushes and pops at both ends, and what reaches into the middle.
//
// A push makes ids behind the ends; a pop removes exactly the ids that it answers, so pops of one
// side leave what the other side pushes meanwhile. Only LTRIM that leaves nothing removes the key
// as such.

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "commands/parse.h"
#include "commands/table.h"
#include "types/list_collection.h"

namespace gyre {
namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

const ListCollection* list_of(const KeyRef& key) {
  return static_cast<const ListCollection*>(key.collection());
}
std::int64_t length_of(const KeyRef& key) {
  return key.exists() ? static_cast<std::int64_t>(list_of(key)->live()) : 0;
}

enum class End : std::uint8_t { left, right };

// Room for the ids of one command, which its Write borrows.
class IdArena {
 public:
  explicit IdArena(std::size_t ids) {
    if (ids * list_plain_id_bytes <= sizeof few_) return;
    many_ = std::make_unique<char[]>(ids * list_plain_id_bytes);
    at_ = many_.get();
  }
  std::string_view plain(std::uint64_t number, Version version) {
    char* to = at_;
    put_list_id(to, number, version);
    at_ += list_plain_id_bytes;
    return {to, list_plain_id_bytes};
  }

 private:
  char few_[8 * list_plain_id_bytes];
  std::unique_ptr<char[]> many_;
  char* at_ = few_;
};

// Redis' text for an integer outside of what the command takes.
std::optional<std::int64_t> ranged_arg(CommandContext& ctx, std::size_t i, std::int64_t least,
                                       const char* error) {
  const auto n = int_arg(ctx, i, error);
  if (!n || *n >= least) return n;
  ctx.reply.error(std::string_view(error));
  return std::nullopt;
}

constexpr const char* must_be_positive = "value is out of range, must be positive";

// ---- the ends

void push_values(CommandContext& ctx, const KeyRef& key, End end,
                 std::span<const std::string_view> values) {
  Write w(ctx, key, TypeId::list);
  const ListCollection* list = key.exists() ? list_of(key) : nullptr;
  std::uint64_t number = list_origin;
  if (list) number = end == End::left ? list->number_before_first() : list->number_after_last();
  IdArena ids(values.size());
  for (const std::string_view value : values) {
    w.put(ids.plain(number, w.version()), value);
    end == End::left ? --number : ++number;
  }
  w.commit(event::list, end == End::left ? "lpush" : "rpush");
}

void push(CommandContext& ctx, End end, bool only_existing) {
  const auto key = typed_key(ctx, 1, TypeId::list);
  if (!key) return;
  if (only_existing && !key->exists()) return ctx.reply.integer(0);
  const auto values = ctx.args.subspan(2);
  const std::int64_t length = length_of(*key) + static_cast<std::int64_t>(values.size());
  push_values(ctx, *key, end, values);
  ctx.reply.integer(length);
}
void lpush(CommandContext& ctx) {
  push(ctx, End::left, false);
}
void rpush(CommandContext& ctx) {
  push(ctx, End::right, false);
}
void lpushx(CommandContext& ctx) {
  push(ctx, End::left, true);
}
void rpushx(CommandContext& ctx) {
  push(ctx, End::right, true);
}

ListWalk at_end(const ListCollection& list, End end) {
  return list.at(end == End::left ? 0 : list.live() - 1);
}
void step_inwards(ListWalk& walk, End end) {
  end == End::left ? walk.next() : walk.previous();
}

// Answers and removes `count` elements from an end; there are that many.
void pop_values(CommandContext& ctx, const KeyRef& key, End end, std::int64_t count) {
  Write w(ctx, key, TypeId::list);
  ListWalk walk = at_end(*list_of(key), end);
  for (; count > 0; --count) {
    ctx.reply.bulk(walk.payload());
    // The last id stays in the walk until the commit, unless it lies in the list itself.
    const bool stays = count == 1 && !walk.entry().odd;
    w.remove(stays ? walk.id() : w.keep(std::string(walk.id())));
    if (count > 1) step_inwards(walk, end);
  }
  w.commit(event::list, end == End::left ? "lpop" : "rpop");
}

void pop(CommandContext& ctx, End end) {
  if (ctx.argc() > 3) {
    return ctx.reply.error("wrong number of arguments for '" + command_name(ctx) + "' command");
  }
  const bool counted = ctx.argc() == 3;
  std::int64_t count = 1;
  if (counted) {
    const auto n = ranged_arg(ctx, 2, 0, must_be_positive);
    if (!n) return;
    count = *n;
  }
  const auto key = typed_key(ctx, 1, TypeId::list);
  if (!key) return;
  if (!key->exists()) return counted ? ctx.reply.null_array() : ctx.reply.null();
  count = std::min(count, length_of(*key));
  if (counted) ctx.reply.array(static_cast<std::size_t>(count));
  if (count > 0) pop_values(ctx, *key, end, count);
}
void lpop(CommandContext& ctx) {
  pop(ctx, End::left);
}
void rpop(CommandContext& ctx) {
  pop(ctx, End::right);
}

// LEFT or RIGHT; answers a syntax error and nothing for another word.
std::optional<End> end_arg(CommandContext& ctx, std::size_t i) {
  if (arg_is(ctx, i, "left")) return End::left;
  if (arg_is(ctx, i, "right")) return End::right;
  ctx.reply.error(Errc::syntax);
  return std::nullopt;
}

// wait_ms: how long to wait for the source; nothing: not at all.
void move_value(CommandContext& ctx, End from, End to,
                std::optional<std::int64_t> wait_ms = std::nullopt) {
  const auto source = waited_key(ctx, 1, TypeId::list);
  if (!source) return;
  if (!source->exists()) {
    if (!wait_ms || !ctx.waiting) return ctx.reply.null();
    ctx.waiting->first_key_only = true;
    return ctx.wait(*wait_ms);
  }
  if (ctx.only_looks()) return;  // the destination may be of another thread
  if (!typed_key(ctx, 2, TypeId::list)) return;
  ListWalk walk = at_end(*list_of(*source), from);
  const std::string value(walk.payload());
  Write taken(ctx, *source, TypeId::list);
  const std::string id(walk.id());
  taken.remove(id);
  if (ctx.arg(1) == ctx.arg(2)) {
    // One effect, so that no replica sees the list without the element.
    const ListCollection& list = *list_of(*source);
    IdArena ids(1);
    taken.put(ids.plain(to == End::left ? list.number_before_first() : list.number_after_last(),
                        taken.version()),
              value);
    taken.commit();
    ctx.event(event::list, to == End::left ? "lpush" : "rpush", ctx.arg(2));
    ctx.event(event::list, from == End::left ? "lpop" : "rpop", ctx.arg(1));
  } else {
    const bool last = length_of(*source) == 1;
    taken.commit();
    // Looked up now: both keys may lie in one slot, whose records the first commit may have moved.
    const std::string_view values[] = {value};
    push_values(ctx, ctx.find(ctx.arg(2)), to, values);
    ctx.event(event::list, from == End::left ? "lpop" : "rpop", ctx.arg(1));
    if (last) ctx.event(event::generic, "del", ctx.arg(1));
  }
  ctx.reply.bulk(value);
}

void lmove(CommandContext& ctx) {
  const auto from = end_arg(ctx, 3);
  if (!from) return;
  const auto to = end_arg(ctx, 4);
  if (to) move_value(ctx, *from, *to);
}
void rpoplpush(CommandContext& ctx) {
  move_value(ctx, End::right, End::left);
}
void blmove(CommandContext& ctx) {
  const auto from = end_arg(ctx, 3);
  if (!from) return;
  const auto to = end_arg(ctx, 4);
  if (!to) return;
  if (const auto ms = timeout_arg(ctx, 5)) move_value(ctx, *from, *to, ms);
}
void brpoplpush(CommandContext& ctx) {
  if (const auto ms = timeout_arg(ctx, 3)) move_value(ctx, End::right, End::left, ms);
}

// numkeys: the position of their number, right before them.
template <std::size_t numkeys>
void find_lmpop_keys(Args args, std::vector<std::size_t>& positions) {
  constexpr std::size_t first = numkeys + 1;
  const auto n = args.size() > numkeys ? parse_int(args[numkeys]) : std::nullopt;
  // A number that cannot be right names no keys; the command answers the error.
  if (!n || *n <= 0 || *n > static_cast<std::int64_t>(args.size()) - static_cast<int>(first))
    return;
  for (std::size_t i = first; i < first + static_cast<std::size_t>(*n); ++i) positions.push_back(i);
}

// BLMPOP has its time-out before the number of keys.
void pop_from_first(CommandContext& ctx, std::size_t numkeys, bool waits) {
  const auto keys = ranged_arg(ctx, numkeys, 1, "numkeys should be greater than 0");
  if (!keys) return;
  const std::size_t first = numkeys + 1;
  if (static_cast<std::uint64_t>(*keys) >= ctx.argc() - first) return ctx.reply.error(Errc::syntax);
  const std::size_t words = static_cast<std::size_t>(*keys) + first;
  const auto end = end_arg(ctx, words);
  if (!end) return;
  std::int64_t count = 1;
  if (ctx.argc() > words + 1) {
    if (!arg_is(ctx, words + 1, "count") || ctx.argc() == words + 2)
      return ctx.reply.error(Errc::syntax);
    const auto n = ranged_arg(ctx, words + 2, 1, "count should be greater than 0");
    if (!n) return;
    if (ctx.argc() > words + 3) return ctx.reply.error(Errc::syntax);
    count = *n;
  }
  const auto ms = waits ? timeout_arg(ctx, 1) : std::int64_t{0};
  if (!ms) return;
  for (std::size_t i = first; i < words; ++i) {
    const auto key = waited_key(ctx, i, TypeId::list);
    if (!key) return;
    if (!key->exists()) continue;
    if (ctx.only_looks()) return;
    count = std::min(count, length_of(*key));
    ctx.reply.array(2);
    ctx.reply.bulk(key->key);
    ctx.reply.array(static_cast<std::size_t>(count));
    return pop_values(ctx, *key, *end, count);
  }
  ctx.wait(*ms);
}
void lmpop(CommandContext& ctx) {
  pop_from_first(ctx, 1, false);
}
void blmpop(CommandContext& ctx) {
  pop_from_first(ctx, 2, true);
}

void blocking_pop(CommandContext& ctx, End end) {
  const std::size_t last = ctx.argc() - 1;
  const auto ms = timeout_arg(ctx, last);
  if (!ms) return;
  for (std::size_t i = 1; i < last; ++i) {
    const auto key = waited_key(ctx, i, TypeId::list);
    if (!key) return;
    if (!key->exists()) continue;
    if (ctx.only_looks()) return;
    ctx.reply.array(2);
    ctx.reply.bulk(key->key);
    return pop_values(ctx, *key, end, 1);
  }
  ctx.wait(*ms);
}
void blpop(CommandContext& ctx) {
  blocking_pop(ctx, End::left);
}
void brpop(CommandContext& ctx) {
  blocking_pop(ctx, End::right);
}

// ---- reading

void llen(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::list);
  if (key) ctx.reply.integer(length_of(*key));
}

// The element at Redis' index, which counts from the end when negative; not valid when there is
// none.
ListWalk at_index(const ListCollection& list, std::int64_t index) {
  const auto length = static_cast<std::int64_t>(list.live());
  if (index < 0) index += length;
  return list.at(index < 0 ? list.live() : static_cast<std::size_t>(index));
}

void lindex(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::list);
  if (!key) return;
  if (!key->exists()) return ctx.reply.null();
  const auto index = int_arg(ctx, 2);
  if (!index) return;
  const ListWalk walk = at_index(*list_of(*key), *index);
  walk.valid() ? ctx.reply.bulk(walk.payload()) : ctx.reply.null();
}

// A range of Redis' indexes, cut to the list. first > last: nothing.
struct IndexRange {
  std::int64_t first, last;
  // Both stay near the list, whatever was asked for, so that their difference does not overflow.
  IndexRange(std::int64_t from, std::int64_t to, std::int64_t length)
      : first(std::clamp<std::int64_t>(from < 0 ? from + length : from, 0, length)),
        last(std::clamp<std::int64_t>(to < 0 ? to + length : to, -1, length - 1)) {}
  std::int64_t size() const { return std::max<std::int64_t>(last - first + 1, 0); }
};

void lrange(CommandContext& ctx) {
  const auto from = int_arg(ctx, 2);
  if (!from) return;
  const auto to = int_arg(ctx, 3);
  if (!to) return;
  const auto key = typed_key(ctx, 1, TypeId::list);
  if (!key) return;
  const IndexRange range(*from, *to, length_of(*key));
  ctx.reply.array(static_cast<std::size_t>(range.size()));
  if (range.size() == 0) return;
  ListWalk walk = list_of(*key)->at(static_cast<std::size_t>(range.first));
  for (std::int64_t left = range.size(); left > 0; --left) {
    ctx.reply.bulk(walk.payload());
    walk.next();
  }
}

struct PosOptions {
  std::int64_t rank = 1, count = -1, max_length = 0;
};

bool parse_pos(CommandContext& ctx, PosOptions& out) {
  for (std::size_t i = 3; i < ctx.argc(); i += 2) {
    const bool more = i + 1 < ctx.argc();
    if (arg_is(ctx, i, "rank") && more) {
      const auto n = int_arg(ctx, i + 1);
      if (!n) return false;
      if (*n == 0) {
        ctx.reply.error(
            "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use "
            "negative to "
            "start from the end of the list");
        return false;
      }
      out.rank = *n;
    } else if (arg_is(ctx, i, "count") && more) {
      const auto n = ranged_arg(ctx, i + 1, 0, "COUNT can't be negative");
      if (!n) return false;
      out.count = *n;
    } else if (arg_is(ctx, i, "maxlen") && more) {
      const auto n = ranged_arg(ctx, i + 1, 0, "MAXLEN can't be negative");
      if (!n) return false;
      out.max_length = *n;
    } else {
      return ctx.reply.error(Errc::syntax), false;
    }
  }
  return true;
}

void lpos(CommandContext& ctx) {
  PosOptions how;
  if (!parse_pos(ctx, how)) return;
  const auto key = typed_key(ctx, 1, TypeId::list);
  if (!key) return;
  const bool counted = how.count != -1;
  if (!key->exists()) return counted ? ctx.reply.array(0) : ctx.reply.null();
  const End from = how.rank < 0 ? End::right : End::left;
  // The lowest rank cannot be negated; Redis then takes the first match from the end.
  std::int64_t skip = how.rank < -most ? 0 : (how.rank < 0 ? -how.rank : how.rank) - 1;
  const std::int64_t length = length_of(*key);
  std::int64_t looked_at = 0;
  std::vector<std::int64_t> found;
  ListWalk walk = at_end(*list_of(*key), from);
  for (; walk.valid() && (how.max_length == 0 || looked_at < how.max_length);
       ++looked_at, step_inwards(walk, from)) {
    if (walk.payload() != ctx.arg(2) || skip-- > 0) continue;
    skip = 0;
    found.push_back(from == End::left ? looked_at : length - 1 - looked_at);
    if (!counted || (how.count != 0 && static_cast<std::int64_t>(found.size()) == how.count)) break;
  }
  if (!counted) return found.empty() ? ctx.reply.null() : ctx.reply.integer(found.front());
  ctx.reply.array(found.size());
  for (const std::int64_t index : found) ctx.reply.integer(index);
}

// ---- the middle

void lset(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::list);
  if (!key) return;
  if (!key->exists()) return ctx.reply.error(Errc::no_key);
  const auto index = int_arg(ctx, 2);
  if (!index) return;
  ListWalk walk = at_index(*list_of(*key), *index);
  if (!walk.valid()) return ctx.reply.error(Errc::index_range);
  const std::string id(walk.id());
  Write w(ctx, *key, TypeId::list);
  w.put(id, ctx.arg(3));
  w.commit(event::list, "lset");
  ctx.reply.ok();
}

// The id of a new element beside the pivot.
std::string id_beside(const ListCollection& list, ListWalk pivot, bool before, Version version) {
  const std::string here(pivot.id());
  before ? pivot.previous() : pivot.next();
  if (!pivot.valid()) {
    // The pivot is at that end: as a push.
    char id[list_plain_id_bytes];
    put_list_id(id, before ? list.number_before_first() : list.number_after_last(), version);
    return {id, sizeof id};
  }
  std::string id = before ? position_between(pivot.id(), here) : position_between(here, pivot.id());
  put_be64(id, version.bits);
  return id;
}

void linsert(CommandContext& ctx) {
  const bool before = arg_is(ctx, 2, "before");
  if (!before && !arg_is(ctx, 2, "after")) return ctx.reply.error(Errc::syntax);
  const auto key = typed_key(ctx, 1, TypeId::list);
  if (!key) return;
  if (!key->exists()) return ctx.reply.integer(0);
  const ListCollection& list = *list_of(*key);
  ListWalk walk = list.at(0);
  while (walk.valid() && walk.payload() != ctx.arg(3)) walk.next();
  if (!walk.valid()) return ctx.reply.integer(-1);
  const std::int64_t length = length_of(*key) + 1;
  Write w(ctx, *key, TypeId::list);
  const std::string id = id_beside(list, walk, before, w.version());
  w.put(id, ctx.arg(4));
  w.commit(event::list, "linsert");
  ctx.reply.integer(length);
}

void lrem(CommandContext& ctx) {
  const auto count = int_arg(ctx, 2);
  if (!count) return;
  const auto key = typed_key(ctx, 1, TypeId::list);
  if (!key) return;
  if (!key->exists()) return ctx.reply.integer(0);
  const End from = *count < 0 ? End::right : End::left;
  const std::int64_t wanted = *count == 0 || *count < -most ? most : *count < 0 ? -*count : *count;
  Write w(ctx, *key, TypeId::list);
  std::int64_t removed = 0;
  for (ListWalk walk = at_end(*list_of(*key), from); walk.valid() && removed < wanted;
       step_inwards(walk, from)) {
    if (walk.payload() != ctx.arg(3)) continue;
    w.remove(w.keep(std::string(walk.id())));
    ++removed;
  }
  if (!w.empty()) w.commit(event::list, "lrem");
  ctx.reply.integer(removed);
}

void ltrim(CommandContext& ctx) {
  const auto from = int_arg(ctx, 2);
  if (!from) return;
  const auto to = int_arg(ctx, 3);
  if (!to) return;
  const auto key = typed_key(ctx, 1, TypeId::list);
  if (!key) return;
  const std::int64_t length = length_of(*key);
  const IndexRange kept(*from, *to, length);
  ctx.reply.ok();
  if (length == kept.size()) {
    if (key->exists()) ctx.event(event::list, "ltrim", key->key);
    return;
  }
  Write w(ctx, *key, TypeId::list);
  if (kept.size() == 0) {
    w.remove_key();
    return w.commit(event::list, "ltrim");
  }
  const ListCollection& list = *list_of(*key);
  ListWalk walk = list.at(0);
  for (std::int64_t i = 0; i < kept.first; ++i, walk.next())
    w.remove(w.keep(std::string(walk.id())));
  walk = list.at(static_cast<std::size_t>(kept.last + 1));
  for (; walk.valid(); walk.next()) w.remove(w.keep(std::string(walk.id())));
  w.commit(event::list, "ltrim");
}

using namespace flag;
constexpr std::uint32_t push_flags = write | denyoom | fast | once;
constexpr std::uint32_t pushx_flags = push_flags | based | conditional;
constexpr std::uint32_t pop_flags = write | fast | once | based;
constexpr std::uint32_t move_flags = write | denyoom | once | based | atomic;
constexpr std::uint32_t blocking_pop_flags = write | noscript | blocking | once | based;
constexpr KeyRange all_but_timeout{1, -2, 1};

// clang-format off
constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "LPUSH", .arity = -3, .flags = push_flags, .keys = first_key, .run = lpush, .since = "1.0.0", .summary = "Adds values at the head of a list"},
    {.name = "RPUSH", .arity = -3, .flags = push_flags, .keys = first_key, .run = rpush, .since = "1.0.0", .summary = "Adds values at the tail of a list"},
    {.name = "LPUSHX", .arity = -3, .flags = pushx_flags, .keys = first_key, .run = lpushx, .since = "2.2.0", .summary = "Adds values at the head of a list that exists"},
    {.name = "RPUSHX", .arity = -3, .flags = pushx_flags, .keys = first_key, .run = rpushx, .since = "2.2.0", .summary = "Adds values at the tail of a list that exists"},
    {.name = "LPOP", .arity = -2, .flags = pop_flags, .keys = first_key, .run = lpop, .since = "1.0.0", .summary = "Removes and returns values from the head of a list"},
    {.name = "RPOP", .arity = -2, .flags = pop_flags, .keys = first_key, .run = rpop, .since = "1.0.0", .summary = "Removes and returns values from the tail of a list"},
    {.name = "LMPOP", .arity = -4, .flags = write | movablekeys | once | based | atomic, .run = lmpop, .find_keys = find_lmpop_keys<1>, .since = "7.0.0", .summary = "Removes and returns values from the first list that has any"},
    {.name = "LMOVE", .arity = 5, .flags = move_flags, .keys = two_keys, .run = lmove, .since = "6.2.0", .summary = "Moves a value from an end of a list to an end of another"},
    {.name = "RPOPLPUSH", .arity = 3, .flags = move_flags, .keys = two_keys, .run = rpoplpush, .since = "1.2.0", .summary = "Moves a list's last value to the head of another"},
    {.name = "BLPOP", .arity = -3, .flags = blocking_pop_flags, .keys = all_but_timeout, .run = blpop, .since = "2.0.0", .summary = "Removes and returns the first value of a list, or waits for one"},
    {.name = "BRPOP", .arity = -3, .flags = blocking_pop_flags, .keys = all_but_timeout, .run = brpop, .since = "2.0.0", .summary = "Removes and returns the last value of a list, or waits for one"},
    {.name = "BLMPOP", .arity = -5, .flags = write | blocking | movablekeys | once | based, .run = blmpop, .find_keys = find_lmpop_keys<2>, .since = "7.0.0", .summary = "Removes and returns values from the first list that has any, or waits for some"},
    {.name = "BLMOVE", .arity = 6, .flags = move_flags | noscript | blocking, .keys = two_keys, .run = blmove, .since = "6.2.0", .summary = "Moves a value from an end of a list to an end of another, or waits for one"},
    {.name = "BRPOPLPUSH", .arity = 4, .flags = move_flags | noscript | blocking, .keys = two_keys, .run = brpoplpush, .since = "2.2.0", .summary = "Moves a list's last value to the head of another, or waits for one"},
    {.name = "LLEN", .arity = 2, .flags = read | fast, .keys = first_key, .run = llen, .since = "1.0.0", .summary = "Returns the length of a list"},
    {.name = "LINDEX", .arity = 3, .flags = read, .keys = first_key, .run = lindex, .since = "1.0.0", .summary = "Returns the value at an index of a list"},
    {.name = "LRANGE", .arity = 4, .flags = read, .keys = first_key, .run = lrange, .since = "1.0.0", .summary = "Returns a range of a list"},
    {.name = "LPOS", .arity = -3, .flags = read, .keys = first_key, .run = lpos, .since = "6.0.6", .summary = "Returns the indexes of matching values in a list"},
    {.name = "LSET", .arity = 4, .flags = write | denyoom | based | conditional, .keys = first_key, .run = lset, .since = "1.0.0", .summary = "Overwrites the value at an index of a list"},
    {.name = "LINSERT", .arity = 5, .flags = write | denyoom | once | based | conditional, .keys = first_key, .run = linsert, .since = "2.2.0", .summary = "Inserts a value beside another in a list"},
    {.name = "LREM", .arity = 4, .flags = write | once | based, .keys = first_key, .run = lrem, .since = "1.0.0", .summary = "Removes values from a list that equal one"},
    {.name = "LTRIM", .arity = 4, .flags = write | once | based, .keys = first_key, .run = ltrim, .since = "1.0.0", .summary = "Keeps only a range of a list"},
});
// clang-format on

}  // namespace

std::span<const CommandSpec> list_commands() {
  return rows;
}

}  // namespace gyre
