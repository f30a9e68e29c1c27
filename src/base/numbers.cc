#include "base/numbers.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace gyre {
namespace {

// The longest long double in "%.17Lf" has 4933 digits before the point. Redis reads no longer ones.
constexpr std::size_t long_double_chars = 5 * 1024;

// Most numbers are short: they are copied here to gain the NUL that the C library needs.
constexpr std::size_t short_number_chars = 64;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
char upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c;
}

// Digits without a leading zero, "0" itself excepted.
std::optional<std::uint64_t> parse_magnitude(std::string_view digits) {
  if (digits.empty() || !is_digit(digits[0])) return std::nullopt;
  if (digits[0] == '0' && digits.size() > 1) return std::nullopt;
  std::uint64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [stopped, failure] = std::from_chars(digits.data(), end, value);
  if (failure != std::errc() || stopped != end) return std::nullopt;
  return value;
}

double read_c_number(const char* text, char** end, double) {
  return std::strtod(text, end);
}
long double read_c_number(const char* text, char** end, long double) {
  return std::strtold(text, end);
}

// text ends with a NUL that `size` does not count. Denormal results are accepted; what became
// infinite or zero only because it does not fit is not.
template <class Real>
std::optional<Real> parse_terminated(const char* text, std::size_t size) {
  char* end = nullptr;
  errno = 0;
  const Real value = read_c_number(text, &end, Real{});
  if (static_cast<std::size_t>(end - text) != size || std::isnan(value)) return std::nullopt;
  if (errno == ERANGE && (std::isinf(value) || value == 0)) return std::nullopt;
  return value;
}

template <class Real>
std::optional<Real> parse_real(std::string_view text) {
  if (text.empty() || is_space(text[0])) return std::nullopt;
  if (text.size() < short_number_chars) {
    char copy[short_number_chars];
    std::memcpy(copy, text.data(), text.size());
    copy[text.size()] = '\0';
    return parse_terminated<Real>(copy, text.size());
  }
  const std::string copy(text);
  return parse_terminated<Real>(copy.c_str(), copy.size());
}

}  // namespace

std::optional<std::int64_t> parse_int(std::string_view text) {
  const bool negative = !text.empty() && text[0] == '-';
  const auto magnitude = parse_magnitude(negative ? text.substr(1) : text);
  if (!magnitude) return std::nullopt;
  constexpr auto max = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!negative) {
    if (*magnitude > max) return std::nullopt;
    return static_cast<std::int64_t>(*magnitude);
  }
  if (*magnitude == 0 || *magnitude > max + 1) return std::nullopt;  // "-0" is not canonical
  return static_cast<std::int64_t>(0 - *magnitude);
}

std::optional<std::uint64_t> parse_uint(std::string_view text) {
  return parse_magnitude(text);
}

std::optional<double> parse_double(std::string_view text) {
  // Plain decimals, nearly all scores, need no copy and no C library. What from_chars does not take
  // whole (a plus sign, hexadecimal, names) is left to strtod, and so is a zero or an infinity that
  // may come from a number out of range.
  if (!text.empty() && (is_digit(text[0]) || text[0] == '-')) {
    double value = 0;
    const char* end = text.data() + text.size();
    const auto [stopped, failure] = std::from_chars(text.data(), end, value);
    if (failure == std::errc() && stopped == end && std::isfinite(value) &&
        (value != 0 || text.size() == 1)) {
      return value;
    }
  }
  return parse_real<double>(text);
}

std::optional<long double> parse_long_double(std::string_view text) {
  if (text.size() >= long_double_chars) return std::nullopt;
  return parse_real<long double>(text);
}

std::optional<std::int64_t> checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

std::string format_int(std::int64_t value) {
  char text[24];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return std::string(text, end);
}

std::string format_double(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  // "%.17g" prints integers of up to 17 digits in plain form; the range here is well inside, and
  // every integer in it is a double. Minus zero keeps its sign, as printf has it.
  constexpr double plain_max = 1e15;
  if (value > -plain_max && value < plain_max && value == std::trunc(value) &&
      !(value == 0 && std::signbit(value))) {
    return format_int(static_cast<std::int64_t>(value));
  }
  char text[32];
  const auto end =
      std::to_chars(text, text + sizeof text, value, std::chars_format::general, 17).ptr;
  return std::string(text, end);
}

std::string format_long_double(long double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char text[long_double_chars];
  const int written = std::snprintf(text, sizeof text, "%.17Lf", value);
  std::string_view kept(text, static_cast<std::size_t>(written));
  kept = kept.substr(0, kept.find_last_not_of('0') + 1);  // there is always a point to stop at
  if (kept.back() == '.') kept.remove_suffix(1);
  return kept == "-0" ? "0" : std::string(kept);
}

bool equals_ignore_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::string to_lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = lower(c);
  return result;
}

std::string to_upper(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = upper(c);
  return result;
}

}  // namespace gyre
