#include "base/numbers.h"

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include <doctest/doctest.h>

#include "base/clock.h"

namespace gyre {
namespace {

TEST_SUITE("base/numbers") {
  TEST_CASE("parse_int takes the canonical form only") {
    CHECK(parse_int("0") == 0);
    CHECK(parse_int("-1") == -1);
    CHECK(parse_int("9223372036854775807") == std::numeric_limits<std::int64_t>::max());
    CHECK(parse_int("-9223372036854775808") == std::numeric_limits<std::int64_t>::min());
    for (const char* bad :
         {"", "-", "-0", "+1", " 1", "1 ", "01", "-01", "1.0", "0x1", "1e3", "a",
          "9223372036854775808", "-9223372036854775809", "99999999999999999999999"}) {
      CAPTURE(bad);
      CHECK_FALSE(parse_int(bad));
    }
    CHECK_FALSE(parse_int(std::string_view("1\0", 2)));
  }

  TEST_CASE("parse_uint") {
    CHECK(parse_uint("18446744073709551615") == std::numeric_limits<std::uint64_t>::max());
    CHECK(parse_uint("0") == 0u);
    for (const char* bad : {"", "-1", "+1", "007", "18446744073709551616", " 1"}) {
      CAPTURE(bad);
      CHECK_FALSE(parse_uint(bad));
    }
  }

  TEST_CASE("parse_double takes what strtod takes whole") {
    CHECK(parse_double("0") == 0.0);
    CHECK(parse_double("0.0") == 0.0);
    CHECK(std::signbit(*parse_double("-0")));
    CHECK(parse_double("1.5") == 1.5);
    CHECK(parse_double("+1.5e3") == 1500.0);
    CHECK(parse_double(".5") == 0.5);
    CHECK(parse_double("5.") == 5.0);
    CHECK(parse_double("-.5") == -0.5);
    CHECK(parse_double("0x10") == 16.0);
    CHECK(parse_double("-0x1p-3") == -0.125);
    CHECK(parse_double("4e-320") == 4e-320);
    const double inf = std::numeric_limits<double>::infinity();
    for (const char* text : {"inf", "+inf", "INF", "Infinity", "+iNfInItY"}) {
      CAPTURE(text);
      CHECK(parse_double(text) == inf);
    }
    CHECK(parse_double("-inf") == -inf);
    CHECK(parse_double(std::string(100, '0') + "7") == 7.0);
    for (const char* bad : {"", " ", " 1", "1 ", "1a", "nan", "-nan", "NaN(1)", "1e400", "-1e400",
                            "1e-400", "e3", "-", "+", ".", "1..2", "0x", "in", "\t1"}) {
      CAPTURE(bad);
      CHECK_FALSE(parse_double(bad));
    }
    CHECK_FALSE(parse_double(std::string_view("1\0", 2)));
    CHECK_FALSE(parse_double(std::string_view("1\0002", 3)));
  }

  TEST_CASE("parse_long_double") {
    CHECK(parse_long_double("3.0e3") == 3000.0L);
    CHECK(parse_long_double("1e400") == 1e400L);
    CHECK(std::isinf(*parse_long_double("-inf")));
    for (const char* bad : {"", " 1", "1 ", "nan", "1e5000", "1e-5000", "x"}) {
      CAPTURE(bad);
      CHECK_FALSE(parse_long_double(bad));
    }
    CHECK_FALSE(parse_long_double(std::string(5 * 1024, '1')));
  }

  TEST_CASE("format_double is %.17g") {
    CHECK(format_double(0) == "0");
    CHECK(format_double(-0.0) == "-0");
    CHECK(format_double(3) == "3");
    CHECK(format_double(-17.5) == "-17.5");
    CHECK(format_double(0.1) == "0.10000000000000001");
    CHECK(format_double(1e20) == "1e+20");
    CHECK(format_double(4e-320) == "3.999955468730732e-320");
    CHECK(format_double(std::numeric_limits<double>::infinity()) == "inf");
    CHECK(format_double(-std::numeric_limits<double>::infinity()) == "-inf");
  }

  TEST_CASE("format_double agrees with printf and reads back") {
    Random random(7);
    for (int i = 0; i < 20'000; ++i) {
      double value = std::bit_cast<double>(random.next());
      if (i % 2 == 0)
        value = static_cast<double>(static_cast<std::int64_t>(random.next()) >> (i % 64));
      if (!std::isfinite(value)) continue;
      char expected[64];
      std::snprintf(expected, sizeof expected, "%.17g", value);
      REQUIRE(format_double(value) == expected);
      REQUIRE(parse_double(expected) == value);
      REQUIRE(std::strtod(expected, nullptr) == value);
    }
  }

  TEST_CASE("format_long_double is the human form of INCRBYFLOAT") {
    CHECK(format_long_double(0) == "0");
    CHECK(format_long_double(-0.0L) == "0");
    CHECK(format_long_double(-1e-20L) == "0");
    CHECK(format_long_double(0.1L) == "0.1");
    CHECK(format_long_double(100) == "100");
    CHECK(format_long_double(-2.50L) == "-2.5");
    // Redis answers this to INCRBYFLOAT of 0.1 by 3.0e3.
    CHECK(format_long_double(*parse_long_double("0.1") + *parse_long_double("3.0e3")) ==
          "3000.10000000000000009");
    CHECK(format_long_double(std::numeric_limits<long double>::max()).size() == 4933);
  }

  TEST_CASE("checked_add") {
    constexpr auto max = std::numeric_limits<std::int64_t>::max();
    constexpr auto min = std::numeric_limits<std::int64_t>::min();
    CHECK(checked_add(1, 2) == 3);
    CHECK(checked_add(max, min) == -1);
    CHECK_FALSE(checked_add(max, 1));
    CHECK_FALSE(checked_add(min, -1));
  }

  TEST_CASE("case") {
    CHECK(equals_ignore_case("GeT", "gEt"));
    CHECK_FALSE(equals_ignore_case("get", "gets"));
    CHECK_FALSE(equals_ignore_case("@", "`"));  // differ in the bit that tells cases apart
    CHECK(to_lower("Ab\xC4Z") == "ab\xC4z");
    CHECK(to_upper("aB\xE4z") == "AB\xE4Z");
    CHECK(format_int(std::numeric_limits<std::int64_t>::min()) == "-9223372036854775808");
  }
}

}  // namespace
}  // namespace gyre
