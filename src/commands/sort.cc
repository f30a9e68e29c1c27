// SORT: the elements of a list, a set or a sorted set in another order, perhaps with values of keys
// that their names lead to.
//
// BY and GET patterns name keys that the arguments do not: with them the command runs where all
// keys can be read (Wanders in shard/command.h); on a ring's cluster port it is refused.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>

#include "commands/elements.h"
#include "commands/keys.h"
#include "commands/list_store.h"
#include "commands/parse.h"
#include "commands/zset_common.h"
#include "types/list_collection.h"

namespace gyre {
namespace {

struct Sorting {
  bool descending = false, alpha = false;
  bool sorts = true;  // false: BY a pattern without a place for the element
  bool by_pattern = false;
  std::string_view by;
  std::vector<std::string_view> get;
  std::int64_t offset = 0, count = -1;
  std::size_t store_at = 0;
};

struct Element {
  std::string_view text;
  double weight = 0;
  std::optional<std::string> by;  // with ALPHA and BY
};

bool names_keys(std::string_view pattern) {
  return pattern.find('*') != std::string_view::npos;
}

// ---- arguments

// Whether this node can read what the patterns name; else the error is answered.
bool may_wander(CommandContext& ctx, std::string_view pattern, const char* error) {
  if (!names_keys(pattern) || ctx.spaces.whole()) return true;
  ctx.reply.error(std::string_view(error));
  return false;
}

bool order_word(CommandContext& ctx, std::size_t i, Sorting& s) {
  if (arg_is(ctx, i, "asc")) return s.descending = false, true;
  if (arg_is(ctx, i, "desc")) return s.descending = true;
  if (arg_is(ctx, i, "alpha")) return s.alpha = true;
  return false;
}

bool limit_args(CommandContext& ctx, std::size_t i, Sorting& s) {
  const auto offset = int_arg(ctx, i);
  const auto count = offset ? int_arg(ctx, i + 1) : std::nullopt;
  if (!count) return false;
  s.offset = *offset;
  s.count = *count;
  return true;
}

bool by_arg(CommandContext& ctx, std::size_t i, Sorting& s) {
  s.by = ctx.arg(i);
  s.by_pattern = true;
  // Once a constant was given, a later pattern does not bring the sorting back.
  if (!names_keys(s.by)) s.sorts = false;
  return may_wander(ctx, s.by, "BY option of SORT denied in cluster mode.");
}

bool get_arg(CommandContext& ctx, std::size_t i, Sorting& s) {
  s.get.push_back(ctx.arg(i));
  return may_wander(ctx, s.get.back(), "GET option of SORT denied in cluster mode.");
}

// Reads the words; false when an error was answered.
bool parse_words(CommandContext& ctx, bool stores, Sorting& s) {
  for (std::size_t i = 2; i < ctx.argc(); ++i) {
    const std::size_t more = ctx.argc() - i - 1;
    if (order_word(ctx, i, s)) continue;
    if (arg_is(ctx, i, "limit") && more >= 2) {
      if (!limit_args(ctx, i + 1, s)) return false;
      i += 2;
    } else if (stores && arg_is(ctx, i, "store") && more >= 1) {
      s.store_at = ++i;
    } else if (arg_is(ctx, i, "by") && more >= 1) {
      if (!by_arg(ctx, ++i, s)) return false;
    } else if (arg_is(ctx, i, "get") && more >= 1) {
      if (!get_arg(ctx, ++i, s)) return false;
    } else {
      return ctx.reply.error(Errc::syntax), false;
    }
  }
  return true;
}

// ---- patterns

// What a pattern leads to: the first '*' stands for the element; "->field" behind it reads a hash.
std::optional<std::string> look_up(CommandContext& ctx, std::string_view pattern,
                                   std::string_view element) {
  if (pattern == "#") return std::string(element);
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return std::nullopt;
  std::string_view behind = pattern.substr(star + 1), field;
  const std::size_t arrow = behind.find("->");
  const bool of_hash = arrow != std::string_view::npos && arrow + 2 < behind.size();
  if (of_hash) {
    field = behind.substr(arrow + 2);
    behind = behind.substr(0, arrow);
  }
  std::string name(pattern.substr(0, star));
  name.append(element).append(behind);
  const KeyRef key = ctx.find(name);
  if (!key.exists()) return std::nullopt;
  if (!of_hash) {
    return key.is(TypeId::string) ? std::optional(cell_text(key.cell())) : std::nullopt;
  }
  Cell cell;
  if (!key.is(TypeId::hash) || !map_of(key)->find(field, cell) || !cell.live()) return std::nullopt;
  return cell_text(cell);
}

// ---- elements

std::vector<Element> load(const KeyRef& key, bool backward) {
  std::vector<Element> out;
  if (!key.exists()) return out;
  out.reserve(key.collection()->live());
  const auto add = [&out](std::string_view text) { out.push_back({.text = text, .by = {}}); };
  if (key.is(TypeId::list)) {
    const auto& list = static_cast<const ListCollection&>(*key.collection());
    for (ListWalk walk = list.at(0); walk.valid(); walk.next()) add(walk.payload());
  } else if (key.is(TypeId::zset)) {
    zset::of(key)->walk(0, zset::of(key)->live(), false,
                        [&](std::string_view member, double) { return add(member), true; });
  } else {
    for (const ElementView& e : live_elements(*map_of(key))) add(e.id);
  }
  if (backward) std::reverse(out.begin(), out.end());
  return out;
}

// As strtod reads it, whole; nothing when it is no number or none that a double holds.
std::optional<double> weight_of(const std::string& text) {
  char* end = nullptr;
  errno = 0;
  const double weight = std::strtod(text.c_str(), &end);
  if (*end != '\0' || errno == ERANGE || std::isnan(weight)) return std::nullopt;
  return weight;
}

// Finds what each element is sorted by; false when some has no number.
bool weigh(CommandContext& ctx, const Sorting& s, std::vector<Element>& elements) {
  bool numbers = true;
  for (Element& e : elements) {
    std::optional<std::string> by;
    if (s.by_pattern) by = look_up(ctx, s.by, e.text);
    if (s.alpha) {
      e.by = std::move(by);
    } else if (!s.by_pattern || by) {
      const auto weight = weight_of(s.by_pattern ? *by : std::string(e.text));
      numbers &= weight.has_value();
      e.weight = weight.value_or(0);
    }
  }
  return numbers;
}

bool before(const Sorting& s, const Element& a, const Element& b) {
  if (!s.alpha) {
    // Equal weights: by the element, so that the order is always the same.
    return a.weight < b.weight || (a.weight == b.weight && a.text < b.text);
  }
  return s.by_pattern ? a.by < b.by : a.text < b.text;
}

void sort_elements(const Sorting& s, std::vector<Element>& elements) {
  std::stable_sort(elements.begin(), elements.end(), [&s](const Element& a, const Element& b) {
    return s.descending ? before(s, b, a) : before(s, a, b);
  });
}

void limit(const Sorting& s, std::vector<Element>& elements) {
  const auto total = static_cast<std::int64_t>(elements.size());
  const std::int64_t from = std::clamp<std::int64_t>(s.offset, 0, total);
  const std::int64_t count = s.count < 0 ? total - from : std::min(s.count, total - from);
  elements.erase(elements.begin() + from + count, elements.end());
  elements.erase(elements.begin(), elements.begin() + from);
}

// ---- output

// Calls f(text) for each value that is given out; nothing for one that is not there.
template <class F>
void for_each_value(CommandContext& ctx, const Sorting& s, const std::vector<Element>& elements,
                    F&& f) {
  for (const Element& e : elements) {
    if (s.get.empty()) f(std::optional(std::string(e.text)));
    for (const std::string_view pattern : s.get) f(look_up(ctx, pattern, e.text));
  }
}

void store(CommandContext& ctx, const Sorting& s, const std::vector<Element>& elements) {
  std::vector<std::string> values;
  for_each_value(ctx, s, elements, [&](std::optional<std::string>&& value) {
    values.push_back(value ? std::move(*value) : std::string());
  });
  const KeyRef to = ctx.find(ctx.arg(s.store_at));
  if (!values.empty()) {
    Write w(ctx, to, TypeId::list);
    w.overwrite();
    FreshListIds ids(values.size());
    for (const std::string& value : values) w.put(ids.next(w.version()), value);
    w.commit(event::list, "sortstore");
  } else if (to.exists() || stamps_all(ctx, to)) {
    Write w(ctx, to, TypeId::list);
    w.remove_key();
    w.commit(to.exists() ? event::generic : 0, "del");
  }
  ctx.reply.integer(static_cast<std::int64_t>(values.size()));
}

void sort_key(CommandContext& ctx, bool stores) {
  Sorting s;
  if (!parse_words(ctx, stores, s)) return;
  const KeyRef key = ctx.find(ctx.arg(1));
  if (key.exists() && !key.is(TypeId::list) && !key.is(TypeId::set) && !key.is(TypeId::zset))
    return ctx.reply.error(Errc::wrong_type);
  // What is stored of a set, or what a script makes of it, must not depend on how it lies in
  // memory.
  if (!s.sorts && key.is(TypeId::set) && (s.store_at != 0 || ctx.guard)) {
    s.sorts = s.alpha = true;
    s.by_pattern = false;
  }
  std::vector<Element> elements = load(key, !s.sorts && s.descending && !key.is(TypeId::set));
  if (s.sorts) {
    if (!weigh(ctx, s, elements))
      return ctx.reply.error("One or more scores can't be converted into double");
    sort_elements(s, elements);
  }
  limit(s, elements);
  if (s.store_at != 0) return store(ctx, s, elements);
  ctx.reply.array(elements.size() * std::max<std::size_t>(s.get.size(), 1));
  for_each_value(ctx, s, elements, [&](const std::optional<std::string>& value) {
    value ? ctx.reply.bulk(*value) : ctx.reply.null();
  });
}
void sort(CommandContext& ctx) {
  sort_key(ctx, true);
}
void sort_ro(CommandContext& ctx) {
  sort_key(ctx, false);
}

// Calls f(word position) for each word with an argument or two, as SORT reads them.
template <class F>
void for_each_word(Args args, F&& f) {
  for (std::size_t i = 2; i + 1 < args.size(); ++i) {
    if (equals_ignore_case(args[i], "limit")) {
      i += 2;
    } else if (equals_ignore_case(args[i], "store") || equals_ignore_case(args[i], "by") ||
               equals_ignore_case(args[i], "get")) {
      f(i);
      ++i;
    }
  }
}

void sort_keys(Args args, std::vector<std::size_t>& positions) {
  positions.push_back(1);
  std::size_t store_at = 0;
  for_each_word(args, [&](std::size_t i) {
    if (equals_ignore_case(args[i], "store")) store_at = i + 1;
  });
  if (store_at != 0) positions.push_back(store_at);
}

bool sort_wanders(Args args) {
  bool wanders = false;
  for_each_word(args, [&](std::size_t i) {
    if (!equals_ignore_case(args[i], "store")) wanders |= names_keys(args[i + 1]);
  });
  return wanders;
}

using namespace flag;

constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "SORT",
     .arity = -2,
     .flags = write | denyoom | movablekeys | based | conditional | atomic,
     .keys = first_key,
     .run = sort,
     .categories = "@set @sortedset @list @dangerous",
     .find_keys = sort_keys,
     .wanders = sort_wanders,
     .since = "1.0.0",
     .summary = "Returns or stores the elements of a key in another order"},
    {.name = "SORT_RO",
     .arity = -2,
     .flags = read | movablekeys,
     .keys = first_key,
     .run = sort_ro,
     .categories = "@set @sortedset @list @dangerous",
     .wanders = sort_wanders,
     .since = "7.0.0",
     .summary = "Returns the elements of a key in another order"},
});

}  // namespace

std::span<const CommandSpec> sort_commands() {
  return rows;
}

}  // namespace gyre
