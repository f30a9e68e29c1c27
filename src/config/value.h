// Values of options between text and number, by Redis' rules and in Redis' error texts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/options.h"

namespace gyre {

// A parsed value. number: of boolean, integer, memory, choice (its index). text: of text and lines.
struct OptionValue {
  std::int64_t number = 0;
  std::string text;
};

// Reads one value. current: the option's value so far as value_text() writes it; options that are
// set class by class (client-output-buffer-limit) take from it what `text` does not name.
// Errors: config, with the text that CONFIG SET shows behind its dash.
Result<OptionValue> parse_value(const OptionSpec& spec, std::string_view current,
                                std::string_view text);

// As CONFIG GET shows it: yes and no, plain numbers, a choice's name, the text itself.
std::string value_text(const OptionSpec& spec, const OptionValue& value);

OptionValue default_value(const OptionSpec& spec);

// "64mb" to bytes: digits and one of b k kb m mb g gb, upper and lower case alike.
std::optional<std::int64_t> parse_memory(std::string_view text);

// Bytes in the largest unit that divides them: "64mb", "1000".
std::string memory_text(std::int64_t bytes);

// Text between blanks, without any quoting.
std::vector<std::string> split_blanks(std::string_view text);

}  // namespace gyre
