#include "base/bytes.h"

#include <cstdint>
#include <limits>
#include <string>

#include <doctest/doctest.h>

namespace gyre {
namespace {

TEST_SUITE("base/bytes") {
  TEST_CASE("equal_bytes tells every difference, at every size") {
    for (std::size_t size = 0; size < 80; ++size) {
      std::string a;
      for (std::size_t i = 0; i < size; ++i) a.push_back(static_cast<char>(i));
      CHECK(equal_bytes(a, std::string(a)));
      CHECK(!equal_bytes(a, a + "x"));
      for (std::size_t at = 0; at < size; ++at) {
        std::string b = a;
        b[at] = static_cast<char>(b[at] ^ 0x80);
        CHECK(!equal_bytes(a, b));
      }
    }
  }

  TEST_CASE("a buffer that is used again gives back what a burst has made of it") {
    std::string s(1000, 'x');
    const std::size_t before = s.capacity();
    clear_buffer(s);
    CHECK(s.empty());
    CHECK(s.capacity() == before);
    s.assign(1'000'000, 'x');
    clear_buffer(s);
    CHECK(s.empty());
    CHECK(s.capacity() < 100);
  }

  TEST_CASE("what is written is read back") {
    std::string out;
    put_u8(out, 0xAB);
    put_be16(out, 0x0102);
    put_be32(out, 0x03040506);
    put_be64(out, 0x0708090A0B0C0D0Eu);
    put_varint(out, 300);
    put_bytes(out, "hello");
    out += "rest";
    CHECK(out.substr(1, 6) == "\1\2\3\4\5\6");

    Reader in(out);
    CHECK(in.u8() == 0xAB);
    CHECK(in.be16() == 0x0102);
    CHECK(in.be32() == 0x03040506);
    CHECK(in.be64() == 0x0708090A0B0C0D0Eu);
    CHECK(in.varint() == 300);
    CHECK(in.bytes() == "hello");
    CHECK_FALSE(in.finished());
    CHECK(in.rest() == "rest");
    CHECK(in.finished());
  }

  TEST_CASE("varints at their borders") {
    constexpr std::uint64_t values[] = {0,
                                        1,
                                        127,
                                        128,
                                        16383,
                                        16384,
                                        std::uint64_t{1} << 63,
                                        std::numeric_limits<std::uint64_t>::max()};
    for (const std::uint64_t value : values) {
      std::string out;
      put_varint(out, value);
      CHECK(out.size() <= 10);
      Reader in(out);
      CHECK(in.varint() == value);
      CHECK(in.finished());
    }
    Reader endless(std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
    CHECK(endless.varint() == 0);
    CHECK_FALSE(endless.ok());
  }

  TEST_CASE("a reader that failed answers nothing more") {
    Reader in("\1\2");
    CHECK(in.be32() == 0);
    CHECK_FALSE(in.ok());
    CHECK(in.u8() == 0);
    CHECK(in.rest().empty());
    CHECK_FALSE(in.finished());
  }

  TEST_CASE("a length beyond the end is refused") {
    std::string out;
    put_varint(out, std::numeric_limits<std::uint64_t>::max());
    out += "abc";
    Reader in(out);
    CHECK(in.bytes().empty());
    CHECK_FALSE(in.ok());
  }

  TEST_CASE("byte order is number order") {
    char low[8];
    char high[8];
    store_be64(low, 255);
    store_be64(high, 256);
    CHECK(std::string_view(low, 8) < std::string_view(high, 8));
    CHECK(load_be64(high) == 256);
  }
}

}  // namespace
}  // namespace gyre
