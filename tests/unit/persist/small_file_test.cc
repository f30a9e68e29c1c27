#include "persist/small_file.h"

#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include "helpers.h"

namespace gyre {
namespace {

using test::TempFolder;

TEST_CASE("a small file reads back, and knows absent from empty") {
  const TempFolder folder;
  const std::string path = folder / "identity";
  auto absent = read_small_file(path, "identity", 1);
  REQUIRE(absent);
  CHECK_FALSE(absent->has_value());

  for (const std::string& content :
       {std::string(), std::string("a\0b", 3), std::string(100'000, 'x')}) {
    REQUIRE(write_small_file(path, "identity", 3, content));
    auto read = read_small_file(path, "identity", 3);
    REQUIRE(read);
    REQUIRE(read->has_value());
    CHECK((*read)->content == content);
    CHECK((*read)->format == 3);
    CHECK_FALSE((*read)->previous);
  }
  CHECK_FALSE(std::filesystem::exists(path + ".new"));
}

TEST_CASE("every damage of a small file is found, and the previous one stands in") {
  const TempFolder folder;
  const std::string path = folder / "ring";
  REQUIRE(write_small_file(path, "ring", 1, "first"));
  REQUIRE(write_small_file(path, "ring", 1, "second"));
  const std::string whole = test::read_file(path);

  for (std::size_t n = 0; n < whole.size(); ++n) {
    for (const bool cut : {true, false}) {
      std::string bytes = cut ? whole.substr(0, n) : whole;
      if (!cut) bytes[n] = static_cast<char>(bytes[n] ^ 1);
      test::write_file(path, bytes);
      auto read = read_small_file(path, "ring", 1);
      REQUIRE(read);
      REQUIRE(read->has_value());
      CHECK((*read)->content == "first");
      CHECK((*read)->previous);
    }
  }
  std::filesystem::remove(path);
  auto gone = read_small_file(path, "ring", 1);
  REQUIRE(gone);
  REQUIRE(gone->has_value());
  CHECK((*gone)->previous);

  test::write_file(path, "junk");
  test::write_file(path + ".old", "junk");
  const auto both = read_small_file(path, "ring", 1);
  REQUIRE_FALSE(both);
  CHECK(both.error().code == Errc::corrupt);
  CHECK(both.error().detail.find(path) != std::string::npos);
}

TEST_CASE("a newer format and another kind of small file are refused") {
  const TempFolder folder;
  const std::string path = folder / "clock";
  REQUIRE(write_small_file(path, "clock", 1, "old"));
  REQUIRE(write_small_file(path, "clock", 7, "new"));
  const auto newer = read_small_file(path, "clock", 2);
  REQUIRE_FALSE(newer);
  CHECK(newer.error().code == Errc::config);
  CHECK(newer.error().detail.find('7') != std::string::npos);
  CHECK(newer.error().detail.find('2') != std::string::npos);
  const auto other = read_small_file(path, "ring", 9);
  REQUIRE_FALSE(other);
  CHECK(other.error().code == Errc::corrupt);
}

TEST_CASE("a small file that cannot be written says where") {
  const TempFolder folder;
  const auto wrote = write_small_file(folder / "no/such/folder", "kind", 1, "x");
  REQUIRE_FALSE(wrote);
  CHECK(wrote.error().code == Errc::io);
  CHECK(wrote.error().detail.find("no/such/folder") != std::string::npos);
}

}  // namespace
}  // namespace gyre
