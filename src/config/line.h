// Words of a configuration line, by the grammar of redis.conf: words stand between blanks; "..."
// knows \n \r \t \b \a \\ \" and \xHH; '...' knows only \'. A quote closes before a blank or the
// end.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gyre {

// The words of `line`; nothing when a quote is not closed or is followed by anything but a blank.
std::optional<std::vector<std::string>> split_words(std::string_view line);

// `word` as split_words() reads it back: as it is, or in double quotes with escapes.
std::string quote_word(std::string_view word);

// Words, quoted where needed, with one blank between.
std::string joined_words(std::span<const std::string> words);

}  // namespace gyre
