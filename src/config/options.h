// The table of options: what config/options.def says, as data.
//
// Rows are constant and complete at compile time; whoever prints, parses or checks an option reads
// its OptionSpec. The values themselves live in class Config.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gyre {

// One name per row. A chapter's name is that of its first row: the second enumerator of a chapter
// steps back by one, so that the numbering of options has no holes.
enum class Option : std::int16_t {
#define GYRE_CHAPTER(id, title, text) chapter_##id, before_##id = chapter_##id - 1,
#define GYRE_OPTION(id) id,
#include "config/options.def"
  end
};
inline constexpr std::size_t options_total = static_cast<std::size_t>(Option::end);

enum class OptionKind : std::uint8_t { boolean, integer, memory, choice, text, lines };

// Values of the options of kind choice: choice::AppendFsync::everysec.
namespace choice {
#define GYRE_ENUM(Type, id, name, preset, flags, help, ...) \
  enum class Type : std::int64_t { __VA_ARGS__ };
#include "config/options.def"
}  // namespace choice

namespace option_flag {
inline constexpr unsigned at_start = 0;
inline constexpr unsigned runtime = 1;
inline constexpr unsigned restart = 2;
inline constexpr unsigned compat = 4;
inline constexpr unsigned secret = 8;
inline constexpr unsigned many = 16;
inline constexpr unsigned guarded = 32;
inline constexpr unsigned unwritten = 64;  // CONFIG REWRITE leaves it out
inline constexpr unsigned ring = 128;      // CONFIG SET sets it on all nodes of the ring
}  // namespace option_flag

struct OptionSpec {
  Option option{};
  OptionKind kind{};
  std::string_view name;
  std::int64_t number = 0;  // the default of boolean, integer, memory, choice (its index)
  std::string_view text;    // the default of text
  std::int64_t min = 0;
  std::int64_t max = 0;
  std::string_view unit;
  std::string_view choices;  // "everysec, always, no", as the C++ names
  unsigned flags = 0;
  std::string_view help;

  constexpr bool has(unsigned flag) const { return (flags & flag) != 0; }
};

struct OptionAlias {
  Option option{};
  std::string_view name;
};

struct OptionChapter {
  Option first{};
  std::string_view title;
  std::string_view text;
};

std::span<const OptionSpec> option_table();  // in the order of Option
std::span<const OptionAlias> option_aliases();
std::span<const OptionChapter> option_chapters();
const OptionSpec& option_spec(Option option);

// By name or alias, upper and lower case alike.
std::optional<Option> find_option(std::string_view name);

// The known name that `name` most likely meant; empty when none is near.
std::string_view nearest_option(std::string_view name);

// The values of a choice as they are written in files: {"everysec", "always", "no"}.
std::vector<std::string> choice_names(const OptionSpec& spec);

// What a number or choice may be: "10 to 60000 (ms)", "1mb or more (bytes)", "everysec, always,
// no". Empty for text and lines.
std::string allowed_values(const OptionSpec& spec);

}  // namespace gyre
