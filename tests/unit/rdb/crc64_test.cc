#include "rdb/crc64.h"

#include <string>

#include <doctest/doctest.h>

using gyre::rdb::crc64;

TEST_CASE("crc64: the check value, in one piece and in many") {
  CHECK(crc64(0, "123456789") == 0xe9c6d914c4b8d9ca);
  CHECK(crc64(0, "") == 0);
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 7);
  std::uint64_t pieces = 0;
  for (std::size_t at = 0; at < text.size(); at += 13) pieces = crc64(pieces, text.substr(at, 13));
  CHECK(pieces == crc64(0, text));
}
