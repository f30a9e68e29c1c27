#include "config/options.h"

#include <algorithm>
#include <array>

#include "base/assert.h"
#include "base/numbers.h"
#include "config/value.h"

namespace gyre {
namespace {

using namespace option_flag;  // NOLINT(google-build-using-namespace): the rows are written in these
                              // words

constexpr std::int64_t kb = 1024;
constexpr std::int64_t mb = 1024 * kb;
constexpr std::int64_t gb = 1024 * mb;

constexpr auto specs = std::to_array<OptionSpec>({
#define GYRE_BOOL(id, name, preset, flags, help) \
  {Option::id, OptionKind::boolean, name, preset, "", 0, 1, "", "", flags, help},
#define GYRE_INT(id, name, preset, min, max, unit, flags, help) \
  {Option::id, OptionKind::integer, name, preset, "", min, max, unit, "", flags, help},
#define GYRE_MEMORY(id, name, preset, min, max, flags, help) \
  {Option::id, OptionKind::memory, name, preset, "", min, max, "bytes", "", flags, help},
#define GYRE_ENUM(Type, id, name, preset, flags, help, ...) \
  {Option::id,                                              \
   OptionKind::choice,                                      \
   name,                                                    \
   static_cast<std::int64_t>(choice::Type::preset),         \
   "",                                                      \
   0,                                                       \
   0,                                                       \
   "",                                                      \
   #__VA_ARGS__,                                            \
   flags,                                                   \
   help},
#define GYRE_TEXT(id, name, preset, flags, help) \
  {Option::id, OptionKind::text, name, 0, preset, 0, 0, "", "", flags, help},
#define GYRE_LINES(id, name, flags, help) \
  {Option::id, OptionKind::lines, name, 0, "", 0, 0, "", "", flags, help},
#include "config/options.def"
});
static_assert(specs.size() == options_total);

constexpr auto aliases = std::to_array<OptionAlias>({
#define GYRE_ALIAS(id, other) {Option::id, other},
#include "config/options.def"
});

constexpr auto chapters = std::to_array<OptionChapter>({
#define GYRE_CHAPTER(id, title, text) {Option::chapter_##id, title, text},
#include "config/options.def"
});

// Levenshtein's distance: insertions, deletions and replacements that lead from a to b. `limit` is
// the answer for all that is not nearer: most names are far off, and cost nearly nothing.
std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t limit) {
  if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) >= limit) return limit;
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    std::size_t least = row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min(std::min(row[j], row[j - 1]) + 1, replaced);
      least = std::min(least, row[j]);
    }
    if (least >= limit) return limit;
  }
  return row[b.size()];
}

}  // namespace

std::span<const OptionSpec> option_table() {
  return specs;
}
std::span<const OptionAlias> option_aliases() {
  return aliases;
}
std::span<const OptionChapter> option_chapters() {
  return chapters;
}

const OptionSpec& option_spec(Option option) {
  const auto index = static_cast<std::size_t>(option);
  GYRE_ASSERT(index < options_total);
  return specs[index];
}

std::optional<Option> find_option(std::string_view name) {
  for (const OptionSpec& spec : specs) {
    if (equals_ignore_case(spec.name, name)) return spec.option;
  }
  for (const OptionAlias& alias : aliases) {
    if (equals_ignore_case(alias.name, name)) return alias.option;
  }
  return std::nullopt;
}

std::string_view nearest_option(std::string_view name) {
  constexpr std::size_t longest_name = 64;  // bounds the work: the input may be anything
  if (name.size() > longest_name) return {};
  const std::string wanted = to_lower(name);
  std::size_t best = std::max<std::size_t>(2, wanted.size() / 4) + 1;
  std::string_view nearest;
  const auto consider = [&](std::string_view known) {
    const std::size_t distance = edit_distance(wanted, known, best);
    if (distance >= best) return;
    best = distance;
    nearest = known;
  };
  for (const OptionSpec& spec : specs) consider(spec.name);
  for (const OptionAlias& alias : aliases) consider(alias.name);
  return nearest;
}

std::vector<std::string> choice_names(const OptionSpec& spec) {
  std::vector<std::string> names;
  std::string name;
  for (const char c : spec.choices) {
    if (c == ',') {
      names.push_back(std::move(name));
      name.clear();
    } else if (c != ' ') {
      name.push_back(c == '_' ? '-' : c);
    }
  }
  names.push_back(std::move(name));
  return names;
}

std::string allowed_values(const OptionSpec& spec) {
  const auto number = [&](std::int64_t value) {
    return spec.kind == OptionKind::memory ? memory_text(value) : format_int(value);
  };
  std::string text;
  switch (spec.kind) {
    case OptionKind::boolean:
      return "yes, no";
    case OptionKind::integer:
    case OptionKind::memory:
      text = number(spec.min);
      text += spec.max == INT64_MAX ? " or more" : " to " + number(spec.max);
      if (!spec.unit.empty()) text += " (" + std::string(spec.unit) + ")";
      break;
    case OptionKind::choice:
      for (const std::string& name : choice_names(spec)) text += (text.empty() ? "" : ", ") + name;
      break;
    case OptionKind::text:
    case OptionKind::lines:
      break;
  }
  return text;
}

}  // namespace gyre
