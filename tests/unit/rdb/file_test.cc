#include "rdb/file.h"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace rdb = gyre::rdb;
using gyre::TypeId;

namespace {

constexpr std::size_t room = 1 << 20;

rdb::Value string_value(std::string_view text) {
  rdb::Value v;
  v.type = TypeId::string;
  v.parts.push_back(text);
  return v;
}

std::string written() {
  std::string file;
  rdb::FileWriter out([&](std::string_view bytes) { return file.append(bytes), true; });
  out.note("redis-ver", "7.0.15");
  out.database(0, 2, 1);
  out.key("a", 0, string_value("one"));
  out.key("12", 1234567890123, string_value("2"));
  out.database(9, 1, 0);
  rdb::Value list;
  list.type = TypeId::list;
  list.parts = {"x", "y"};
  out.key("l", 0, list);
  REQUIRE(out.finish());
  return file;
}

// "db key expiry value; ..." and how it ended.
std::string read(const std::string& file) {
  rdb::FileReader in(file, room);
  if (!in.intact()) return "not intact: " + in.error();
  std::string out;
  while (const auto key = in.next()) {
    const std::string payload = rdb::sealed_payload(std::string(key->value));
    CHECK(rdb::payload_intact(payload));
    const auto value = rdb::payload_value(payload, room);
    REQUIRE(value.has_value());
    out += std::to_string(key->db) + " " + std::string(key->key) + " " +
           std::to_string(key->expires_at);
    for (const std::string_view part : value->parts) out += " " + std::string(part);
    out += "; ";
  }
  return out + (in.error().empty() ? "end" : in.error());
}

// With what stands behind the header, and a checksum of 0: none.
std::string file_of(std::string_view body, std::string_view header = "REDIS0010") {
  return std::string(header) + std::string(body) + std::string(8, '\0');
}

}  // namespace

TEST_CASE("rdb file: what is written is read") {
  CHECK(read(written()) == "0 a 0 one; 0 12 1234567890123 2; 9 l 0 x y; end");
  CHECK(written().starts_with("REDIS0010"));
}

TEST_CASE("rdb file: any change is found, and any cut") {
  const std::string whole = written();
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 0x20);
    CHECK(read(changed) != read(whole));
    CHECK(read(whole.substr(0, i)).starts_with("not intact"));
  }
}

TEST_CASE("rdb file: what others write") {
  using namespace std::string_literals;
  CHECK(read(file_of("\xff")) == "end");
  // An expiry in seconds, an idle time, a frequency; a file before checksums.
  CHECK(read(file_of("\xfd\x01\x00\x00\x00\xf8\x05\x00\x01k\x01v\xff"s)) == "0 k 1000 v; end");
  CHECK(read(file_of("\xf9\x05\x00\x01k\x01v\xff"s)) == "0 k 0 v; end");
  CHECK(read("REDIS0004\xfe\x03\x00\x01k\x01v\xff"s) == "3 k 0 v; end");
  CHECK(read(file_of("\xf5\x05#!lua\xff"s)) == "end");
  CHECK(read(file_of("\xf7\x01\xff"s)).starts_with("data of a module"));
  CHECK(read(file_of("\x06\x01k\xff"s)).starts_with("a value that cannot be read (type 6)"));
  CHECK(read(file_of("\x00\x01k\x01v"s)) == "0 k 0 v; it ends too early at byte 14");
  CHECK(read(file_of("\xff", "REDIS0011")).starts_with("not intact: version 11"));
  CHECK(read(file_of("\xff", "REDISxxxx")) == "not intact: no RDB file at byte 0");
}

TEST_CASE("rdb file: what cannot be written is told") {
  int pieces = 0;
  rdb::FileWriter out([&](std::string_view) { return ++pieces < 2; });
  out.database(0, 100, 0);
  const std::string large(1 << 19, 'x');
  for (int i = 0; i < 100; ++i) {
    std::string text = large;
    for (std::size_t at = 0; at < text.size(); ++at)
      text[at] = static_cast<char>(at * 2654435761u >> (i % 20));
    out.key("k" + std::to_string(i), 0, string_value(text));
  }
  CHECK_FALSE(out.finish());
  CHECK(pieces == 2);
}
TEST_CASE("rdb file: libraries of functions are written and given back") {
  std::string file;
  rdb::FileWriter out([&](std::string_view bytes) { return file.append(bytes), true; });
  out.function("#!lua name=a\n");
  out.function("#!lua name=b\n");
  out.database(0, 1, 0);
  out.key("k", 0, string_value("v"));
  REQUIRE(out.finish());
  CHECK(read(file) == "0 k 0 v; end");
  rdb::FileReader in(file, room);
  REQUIRE(in.intact());
  REQUIRE(in.next());
  CHECK(in.functions() == std::vector<std::string>{"#!lua name=a\n", "#!lua name=b\n"});
}
