#include "shard/database_names.h"

#include <doctest/doctest.h>

#include "base/clock.h"

using namespace gyre;

TEST_CASE("database names: swaps are a permutation, also as a setting") {
  Random random(3);
  for (int round = 0; round < 200; ++round) {
    DatabaseNames names;
    std::array<std::size_t, 16> lies{};
    for (std::size_t i = 0; i < lies.size(); ++i) lies[i] = i;
    for (std::uint64_t swaps = random.below(40); swaps > 0; --swaps) {
      const std::size_t a = random.below(lies.size()), b = random.below(lies.size());
      names.swap(a, b);
      std::swap(lies[a], lies[b]);
    }
    for (std::size_t i = 0; i < lies.size(); ++i) {
      REQUIRE(names.lies(i).value == lies[i]);
      REQUIRE(names.name(names.lies(i)) == i);
    }
    REQUIRE(names.name(prepared_db) == prepared_db.value);
    const auto read = DatabaseNames::decoded(names.encoded());
    REQUIRE(read.has_value());
    REQUIRE(bool(*read == names));
  }
}

TEST_CASE("database names: a client stays at its number") {
  DatabaseNames before, after;
  before.swap(0, 3);
  after = before;
  after.swap(0, 5);
  const DbIndex at = before.lies(5);
  CHECK(after.name(after.moved(before, at)) == 5);
  CHECK(after.moved(before, before.lies(7)) == before.lies(7));
}

TEST_CASE("database names: bytes that are no permutation are refused") {
  for (const std::string_view bytes :
       {std::string_view("\1"), std::string_view("\0\0", 2), std::string_view("\2\1\0\4", 4)})
    CHECK(!DatabaseNames::decoded(bytes));
  CHECK(!DatabaseNames::decoded(std::string(300, '\0')));
  CHECK(bool(*DatabaseNames::decoded("") == DatabaseNames()));
}
