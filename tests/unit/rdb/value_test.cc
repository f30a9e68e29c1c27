#include "rdb/value.h"

#include <doctest/doctest.h>

#include "base/clock.h"
#include "rdb/crc64.h"

namespace rdb = gyre::rdb;
using gyre::TypeId;

namespace {

constexpr std::size_t room = 1 << 20;

std::string from_hex(std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return out;
}

// "type: part part ..."; a sorted set's scores stand behind its members.
std::string shown(const std::optional<rdb::Value>& value) {
  if (!value) return "refused";
  constexpr const char* names[] = {"none", "string", "hash", "list", "set", "zset"};
  std::string out = std::string(names[static_cast<std::size_t>(value->type)]) + ":";
  for (std::size_t i = 0; i < value->parts.size(); ++i) {
    out += " " + std::string(value->parts[i].substr(0, 12));
    if (value->type == TypeId::zset) out += "=" + std::to_string(value->scores[i]);
  }
  return out;
}

std::string read_hex(std::string_view hex) {
  const std::string payload = from_hex(hex);
  CHECK(rdb::payload_intact(payload));
  return shown(rdb::payload_value(payload, room));
}

// Of a body alone: type byte and value.
std::string read_body(const std::string& body) {
  gyre::Reader in(body);
  const std::uint8_t type = in.u8();
  return shown(rdb::read_value(in, type, room));
}

}  // namespace

// Each was given to redis-server 7.0.15, which restored the same value.
TEST_CASE("rdb: forms of older servers") {
  std::string seventy;
  for (int i = 0; i < 70; ++i) seventy += "78";
  CHECK(read_hex("01030161c0f9c12c010600f5cd23c2b36fec1b") == "list: a -7 300");
  CHECK(read_hex("02020161c26079feff090076ce7aec1cc7ff63") == "set: a -100000");
  CHECK(read_hex("0303016103312e350162ff0163fe09003c8fbf40ef14e4e9") ==
        "zset: a=1.500000 b=-inf c=inf");
  CHECK(read_hex("04010166017609007d00129ae5006d4d") == "hash: f v");
  CHECK(read_hex("0501016d0000000000000240090063e9cc751660cb13") == "zset: m=2.250000");
  CHECK(read_hex("090d020166010076016702007777ff090040b8f89940152195") == "hash: f v g ww");
  CHECK(read_hex("0a407a7a000000300000000a0000016103f102fd02fe0d03feff03c02c0104f090eefe05d0ffffff"
                 "7f06e00000000000ffffff0a4046" +
                 seventy + "ff090077748f4bab5ff53c") ==
        "list: a 0 12 13 -1 300 -70000 2147483647 -10995116277 xxxxxxxxxxxx");
  CHECK(read_hex("0b0c0200000002000000fbff07000900d908447ae6eb74a5") == "set: -5 7");
  CHECK(read_hex("0b10040000000200000090eefeff0700000009006a1e22fe9e4c73ab") == "set: -70000 7");
  CHECK(read_hex("0b1808000000020000000000000000ffffff07000000000000000900daa542727730d574") ==
        "set: -10995116277 7");
  CHECK(read_hex("0c181800000012000000040000016103f20201620303322e35ff09008ca54c51c0e9cd06") ==
        "zset: a=1.000000 b=2.500000");
  CHECK(read_hex("0d181800000013000000040000016603017603016703c03930ff0900c4896995c75baa73") ==
        "hash: f v g 12345");
  CHECK(
      read_hex("0e0210100000000d000000020000016103f6ff0e0e0000000a0000000100000162ff0900d0849ea4b60"
               "819e9") == "list: a 5 b");
}

// What redis-server 7.0.15 answered to DUMP.
TEST_CASE("rdb: forms of Redis 7") {
  CHECK(read_hex("000568656c6c6f0a006372df766534200a") == "string: hello");
  CHECK(read_hex("00c00c0a003c2af8515c04bcd5") == "string: 12");
  CHECK(read_hex("00c30932016161e025000161610a0009ac48b9ab15fbc9") == "string: aaaaaaaaaaaa");
  CHECK(
      read_hex("120102c3407f540c1f0c1400000c008161020101dfff026401cfff02d00002f1881303f2a0860104"
               "f4030000008020030100094009080000ffffff09e04662e03c000648f08813000063e0ff00e0ff00"
               "e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0"
               "ff00e0ff00e0ff00e0ee0002278dff0a000f9ffbc59b5a707a") ==
      "list: a 1 -1 100 4095 -4096 5000 100000 2147483648 -10995116277 bbbbbbbbbbbb cccccccccccc");
  CHECK(read_hex("10121200000004008166028176028167020101ff0a0023c1a5e35dfae81c") ==
        "hash: f v g 1");
  CHECK(read_hex("1114140000000400816102010181620283322e3504ff0a00d44c6ea4f644d9d7") ==
        "zset: a=1.000000 b=2.500000");
  CHECK(read_hex("0b0c020000000200000001002c010a002908af514178a513") == "set: 1 300");
  // A quicklist of an element by itself and a listpack.
  CHECK(read_body(from_hex("1202010568656c6c6f020a0a00000001008162"
                           "02ff")) == "list: hello b");
}

TEST_CASE("rdb: what is refused") {
  CHECK(read_body(from_hex("0100")) == "refused");  // empty
  CHECK(read_body(from_hex("02020161"
                           "0161")) == "refused");  // twice
  CHECK(read_body(from_hex("04020166"
                           "0176"
                           "0166"
                           "0177")) == "refused");
  CHECK(read_body(from_hex("0501016d000000000000f87f")) == "refused");  // not a number
  CHECK(read_body(from_hex("0301016dfd")) == "refused");
  CHECK(read_body(from_hex("01bf0161")) == "refused");  // a length of no kind
  CHECK(read_body(from_hex("018100000000ffffffff0161")) == "refused");
  CHECK(read_body(from_hex("0081ffffffffffffffff61")) == "refused");
  CHECK(read_body(from_hex("0f00")) == "refused");  // a stream
  CHECK(read_body(from_hex("00c303bfffffffff616161")) == "refused");
  // Claims 64 KB of three bytes.
  CHECK(read_body(from_hex("00c3038000010000e0ff00")) == "refused");
  CHECK(read_body(from_hex("0b0c0200000003000000fbff0700")) == "refused");
  CHECK(read_body(from_hex("0b0c0300000002000000fbff0700")) == "refused");
  const std::string intact = rdb::dump_payload([] {
    rdb::Value v;
    v.type = TypeId::string;
    v.parts = {"x"};
    return v;
  }());
  CHECK(rdb::payload_intact(intact));
  CHECK_FALSE(rdb::payload_intact(intact.substr(0, intact.size() - 1)));
  CHECK_FALSE(rdb::payload_intact("short"));
  std::string later = intact;
  later[later.size() - 10] = 11;
  CHECK_FALSE(rdb::payload_intact(later));
}

TEST_CASE("rdb: room for what is compressed") {
  rdb::Value value;
  value.type = TypeId::string;
  const std::string text(5000, 'a');
  value.parts = {text};
  const std::string payload = rdb::dump_payload(value);
  CHECK(payload.size() < 200);
  CHECK(rdb::payload_value(payload, 5000).has_value());
  CHECK_FALSE(rdb::payload_value(payload, 4999).has_value());
}

TEST_CASE("rdb: what is written is read back, and lies never reach outside") {
  gyre::Random random(3);
  for (int round = 0; round < 3000; ++round) {
    rdb::Value value;
    value.type = static_cast<TypeId>(random.below(5) + 1);
    const std::size_t n = value.type == TypeId::string ? 1 : 2 * (random.below(20) + 1);
    for (std::size_t i = 0; i < n; ++i) {
      // Distinct by their beginning.
      std::string text = std::to_string(i);
      if (random.below(2)) text += std::string(random.below(300), static_cast<char>(random.next()));
      if (random.below(4) == 0) text = "-" + std::to_string(random.next() >> random.below(60));
      value.parts.push_back(value.keep(std::move(text)));
      if (value.type == TypeId::zset) value.scores.push_back(random.unit() * 1e9);
    }
    std::string payload = rdb::dump_payload(value);
    REQUIRE(rdb::payload_intact(payload));
    const auto back = rdb::payload_value(payload, room);
    if (back) {
      CHECK(back->type == value.type);
      CHECK(back->parts == value.parts);
      CHECK(back->scores == value.scores);
    } else {
      CHECK(
          (value.type == TypeId::set || value.type == TypeId::hash || value.type == TypeId::zset));
    }
    for (int mutation = 0; mutation < 10; ++mutation) {
      std::string other = payload;
      if (random.below(2)) other.resize(random.below(other.size() - 10) + 11);
      other[random.below(other.size())] = static_cast<char>(random.next());
      rdb::payload_value(other, room);
    }
  }
}

TEST_CASE("rdb: mutated packed forms never reach outside") {
  const char* forms[] = {
      "090d020166010076016702007777ff",
      "0a22220000001f000000070000016103f102fd02fe0d03feff03c02c0104f090eefeff",
      "0b1808000000020000000000000000ffffff0700000000000000",
      "0c181800000012000000040000016103f20201620303322e35ff",
      "0e0210100000000d000000020000016103f6ff0e0e0000000a0000000100000162ff",
      "10121200000004008166028176028167020101ff",
      "1114140000000400816102010181620283322e3504ff",
      "1202010568656c6c6f020a0a0000000100816202ff",
  };
  gyre::Random random(5);
  for (const char* form : forms) {
    const std::string whole = from_hex(form);
    for (std::size_t cut = 1; cut < whole.size(); ++cut) read_body(whole.substr(0, cut));
    for (int round = 0; round < 5000; ++round) {
      std::string other = whole;
      for (std::uint64_t n = random.below(3) + 1; n > 0; --n)
        other[random.below(other.size())] = static_cast<char>(random.next());
      // Exactly as long as it is, so that a sanitizer sees a step outside.
      const std::vector<char> exact(other.begin(), other.end());
      gyre::Reader in({exact.data(), exact.size()});
      const std::uint8_t type = in.u8();
      if (const auto value = rdb::read_value(in, type, room)) {
        std::size_t bytes = 0;
        for (const std::string_view part : value->parts) bytes += part.size();
        CHECK(bytes < room);
      }
    }
  }
}
