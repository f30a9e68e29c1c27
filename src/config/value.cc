#include "config/value.h"

#include <algorithm>
#include <array>

#include "base/numbers.h"
#include "config/checks.h"

namespace gyre {
namespace {

struct MemoryUnit {
  std::string_view name;
  std::int64_t bytes;
};

constexpr auto memory_units = std::to_array<MemoryUnit>({
    {"gb", std::int64_t{1} << 30},
    {"mb", std::int64_t{1} << 20},
    {"kb", std::int64_t{1} << 10},
    {"g", 1'000'000'000},
    {"m", 1'000'000},
    {"k", 1'000},
    {"b", 1},
    {"", 1},
});

Error out_of_range(const OptionSpec& spec) {
  return {Errc::config, "argument must be between " + format_int(spec.min) + " and " +
                            format_int(spec.max) + " inclusive"};
}

Result<std::int64_t> parse_number(const OptionSpec& spec, std::string_view text) {
  switch (spec.kind) {
    case OptionKind::boolean:
      if (equals_ignore_case(text, "yes")) return std::int64_t{1};
      if (equals_ignore_case(text, "no")) return std::int64_t{0};
      return Error(Errc::config, "argument must be 'yes' or 'no'");
    case OptionKind::choice: {
      const std::vector<std::string> names = choice_names(spec);
      std::string all;
      for (std::size_t i = 0; i < names.size(); ++i) {
        if (equals_ignore_case(names[i], text)) return static_cast<std::int64_t>(i);
        all += (i == 0 ? "" : ", ") + names[i];
      }
      return Error(Errc::config, "argument(s) must be one of the following: " + all);
    }
    case OptionKind::integer: {
      const auto number = parse_int(text);
      if (!number) return Error(Errc::config, "argument couldn't be parsed into an integer");
      if (*number < spec.min || *number > spec.max) return out_of_range(spec);
      return *number;
    }
    case OptionKind::memory: {
      const auto number = parse_memory(text);
      if (!number) return Error(Errc::config, "argument must be a memory value");
      if (*number < spec.min || *number > spec.max) return out_of_range(spec);
      return *number;
    }
    case OptionKind::text:
    case OptionKind::lines:
      break;
  }
  return std::int64_t{0};
}

std::string join_blank(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text.push_back(' ');
    text += word;
  }
  return text;
}

}  // namespace

Result<OptionValue> parse_value(const OptionSpec& spec, std::string_view current,
                                std::string_view text) {
  OptionValue value;
  if (spec.kind == OptionKind::text || spec.kind == OptionKind::lines) {
    value.text = spec.has(option_flag::many) ? join_blank(split_blanks(text)) : std::string(text);
    if (value.text.find('\0') != std::string::npos) {
      return Error(Errc::config, "argument must not contain a zero byte");
    }
  } else {
    auto number = parse_number(spec, text);
    if (!number) return number.error();
    value.number = *number;
  }
  if (auto checked = run_check({spec, current, value}); !checked) return checked.error();
  return value;
}

std::string value_text(const OptionSpec& spec, const OptionValue& value) {
  switch (spec.kind) {
    case OptionKind::boolean:
      return value.number != 0 ? "yes" : "no";
    case OptionKind::integer:
    case OptionKind::memory:
      return format_int(value.number);
    case OptionKind::choice:
      return choice_names(spec)[static_cast<std::size_t>(value.number)];
    case OptionKind::text:
    case OptionKind::lines:
      break;
  }
  return value.text;
}

OptionValue default_value(const OptionSpec& spec) {
  return {spec.number, std::string(spec.text)};
}

std::optional<std::int64_t> parse_memory(std::string_view text) {
  std::size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
  if (digits == 0) return std::nullopt;
  std::int64_t number = 0;
  for (const char c : text.substr(0, digits)) {
    if (__builtin_mul_overflow(number, 10, &number)) return std::nullopt;
    if (__builtin_add_overflow(number, c - '0', &number)) return std::nullopt;
  }
  for (const MemoryUnit& unit : memory_units) {
    if (!equals_ignore_case(unit.name, text.substr(digits))) continue;
    if (__builtin_mul_overflow(number, unit.bytes, &number)) return std::nullopt;
    return number;
  }
  return std::nullopt;
}

std::string memory_text(std::int64_t bytes) {
  for (const MemoryUnit& unit : memory_units) {
    const bool binary = unit.name.size() == 2;
    if (binary && bytes != 0 && bytes % unit.bytes == 0) {
      return format_int(bytes / unit.bytes) + std::string(unit.name);
    }
  }
  return format_int(bytes);
}

std::vector<std::string> split_blanks(std::string_view text) {
  std::vector<std::string> words;
  while (true) {
    const std::size_t start = text.find_first_not_of(" \t\r\n");
    if (start == std::string_view::npos) return words;
    const std::size_t end = std::min(text.find_first_of(" \t\r\n", start), text.size());
    words.emplace_back(text.substr(start, end - start));
    text.remove_prefix(end);
  }
}

}  // namespace gyre
