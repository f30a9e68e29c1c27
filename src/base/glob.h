// Redis' glob patterns (KEYS, SCAN MATCH, CONFIG GET): * ? [a-z] [^a] and backslash.
#pragma once

#include <string_view>

namespace gyre {

// Iterative, without backtracking beyond the last star: O(pattern x text) at worst.
bool glob_match(std::string_view pattern, std::string_view text, bool ignore_case = false);

}  // namespace gyre
