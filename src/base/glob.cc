#include "base/glob.h"

#include <utility>

namespace gyre {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

// Ranges compare signed bytes, because Redis does: [a-\xff] is a range from \xff up to 'a'.
bool in_range(char first, char last, char c, bool ignore_case) {
  auto low = static_cast<signed char>(first);
  auto high = static_cast<signed char>(last);
  if (low > high) std::swap(low, high);
  if (!ignore_case)
    return low <= static_cast<signed char>(c) && static_cast<signed char>(c) <= high;
  const auto folded = static_cast<signed char>(lower(c));
  return lower(static_cast<char>(low)) <= folded && folded <= lower(static_cast<char>(high));
}

// Matches c with the class that begins behind the '[' at `at`; leaves `at` behind its ']'. A class
// that is not closed ends with the pattern.
bool match_class(std::string_view pattern, std::size_t& at, char c, bool ignore_case) {
  const bool negated = at < pattern.size() && pattern[at] == '^';
  if (negated) ++at;
  bool found = false;
  while (at < pattern.size()) {
    const std::size_t left = pattern.size() - at;
    if (pattern[at] == '\\' && left >= 2) {
      found |= pattern[at + 1] == c;
      at += 2;
    } else if (pattern[at] == ']') {
      ++at;
      break;
    } else if (left >= 3 && pattern[at + 1] == '-') {
      found |= in_range(pattern[at], pattern[at + 2], c, ignore_case);
      at += 3;
    } else {
      found |= ignore_case ? lower(pattern[at]) == lower(c) : pattern[at] == c;
      ++at;
    }
  }
  return found != negated;
}

// Matches c with the one element (anything but a star) at `at`; leaves `at` behind it.
bool match_one(std::string_view pattern, std::size_t& at, char c, bool ignore_case) {
  char wanted = pattern[at++];
  if (wanted == '?') return true;
  if (wanted == '[') return match_class(pattern, at, c, ignore_case);
  // A backslash at the very end stands for itself.
  if (wanted == '\\' && at < pattern.size()) wanted = pattern[at++];
  return ignore_case ? lower(wanted) == lower(c) : wanted == c;
}

}  // namespace

// Past so many stars nothing matches, as in Redis: such patterns are made to keep a server busy.
constexpr int stars_max = 1000;

bool glob_match(std::string_view pattern, std::string_view text, bool ignore_case) {
  // As in Redis, where not even a star matches nothing when there is nothing else.
  if (text.empty()) return pattern.empty();
  // Every element but the star takes exactly one byte, so only the last star needs to be retried:
  // what an earlier one could give, the last one can give too.
  constexpr std::size_t none = std::string_view::npos;
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t after_star = none;
  std::size_t retry_at = 0;
  int stars = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      if ((p == 0 || pattern[p - 1] != '*') && ++stars > stars_max) return false;
      after_star = ++p;
      retry_at = t;
      if (p == pattern.size()) return true;
    } else if (p < pattern.size() && match_one(pattern, p, text[t], ignore_case)) {
      ++t;
    } else if (after_star != none) {
      p = after_star;
      t = ++retry_at;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace gyre
