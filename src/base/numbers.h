// Text to numbers and back, by Redis' exact rules.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gyre {

// A signed 64-bit integer in canonical form: no spaces, no plus, no leading zeros, no "-0".
std::optional<std::int64_t> parse_int(std::string_view text);
std::optional<std::uint64_t> parse_uint(std::string_view text);

// A double: what strtod takes whole, without leading spaces; "inf", "+inf", "-inf" allowed; NaN
// not.
std::optional<double> parse_double(std::string_view text);
std::optional<long double> parse_long_double(std::string_view text);

// Sums without overflow; nothing when the sum would not fit.
std::optional<std::int64_t> checked_add(std::int64_t a, std::int64_t b);

std::string format_int(std::int64_t value);
// As Redis prints a score: shortest text that reads back as the same double ("%.17g" with integers
// in plain form), "inf", "-inf".
std::string format_double(double value);
// As Redis prints the result of INCRBYFLOAT: "%.17Lf" without trailing zeros.
std::string format_long_double(long double value);

bool equals_ignore_case(std::string_view a, std::string_view b);
std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);

}  // namespace gyre
