#include "base/result.h"

#include <memory>

#include <doctest/doctest.h>

namespace gyre {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return Errc::not_integer;
  return n / 2;
}

Result<void> only_even(int n) {
  if (auto h = half(n); !h) return h.error();
  return {};
}

TEST_SUITE("base/result") {
  TEST_CASE("a value or an error") {
    CHECK(*half(4) == 2);
    CHECK_FALSE(half(3));
    CHECK(half(3).error().code == Errc::not_integer);
    CHECK(only_even(2));
    CHECK(only_even(3).error().code == Errc::not_integer);
  }

  TEST_CASE("an error has a prefix and a text") {
    const Error plain(Errc::wrong_type);
    CHECK(error_prefix(plain.code) == "WRONGTYPE");
    CHECK(plain.text() == "Operation against a key holding the wrong kind of value");
    CHECK(Error(Errc::err, "why").text() == "why");
  }

  TEST_CASE("values may be movable only") {
    Result<std::unique_ptr<int>> result(std::make_unique<int>(5));
    REQUIRE(result);
    const std::unique_ptr<int> taken = std::move(*result);
    CHECK(*taken == 5);
  }
}

}  // namespace
}  // namespace gyre
