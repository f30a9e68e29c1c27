#include "resp/reply_reader.h"

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "resp/reply.h"

namespace gyre {
namespace {

ReplyValue read_one(std::string_view input) {
  ReplyReader reader;
  ReplyValue value;
  std::size_t used = 0;
  CAPTURE(input);
  REQUIRE(reader.next(input, used, value) == ReplyRead::reply);
  CHECK(used == input.size());
  return value;
}

std::string error_of(std::string_view input) {
  ReplyReader reader;
  ReplyValue value;
  std::size_t used = 0;
  if (reader.next(input, used, value) != ReplyRead::error) return "";
  CHECK(reader.next("+OK\r\n", used, value) == ReplyRead::error);
  return reader.error().detail;
}

std::string nested(std::size_t depth) {
  std::string out;
  for (std::size_t i = 0; i < depth; ++i) out += "*1\r\n";
  return out;
}

TEST_SUITE("resp/reply_reader") {
  TEST_CASE("scalars") {
    CHECK(read_one("+OK\r\n").text == "OK");
    CHECK(read_one("+\r\n").type == ReplyType::simple);
    CHECK(read_one("-ERR no\r\n").type == ReplyType::error);
    CHECK(read_one("-ERR no\r\n").text == "ERR no");
    CHECK(read_one(":-7\r\n").integer == -7);
    CHECK(read_one("$5\r\na\r\nbc\r\n").text == "a\r\nbc");
    CHECK(read_one("$0\r\n\r\n").type == ReplyType::bulk);
    for (const char* null : {"$-1\r\n", "*-1\r\n", "_\r\n"}) {
      CHECK(read_one(null).type == ReplyType::null);
    }
    CHECK(read_one("!5\r\nERR x\r\n").type == ReplyType::error);
    CHECK(read_one("!5\r\nERR x\r\n").text == "ERR x");
    CHECK(read_one("#t\r\n").integer == 1);
    CHECK(read_one("#f\r\n").integer == 0);
    CHECK(read_one(",1.5\r\n").real == 1.5);
    CHECK(std::isinf(read_one(",-inf\r\n").real));
    CHECK(std::isnan(read_one(",nan\r\n").real));
    CHECK(read_one("(-123456789012345678901\r\n").text == "-123456789012345678901");
    const ReplyValue verbatim = read_one("=6\r\nmkd:hi\r\n");
    CHECK(verbatim.format == "mkd");
    CHECK(verbatim.text == "hi");
  }

  TEST_CASE("aggregates") {
    const ReplyValue array = read_one("*3\r\n:1\r\n*0\r\n*2\r\n+a\r\n$-1\r\n");
    REQUIRE(array.elements.size() == 3);
    CHECK(array.elements[1].type == ReplyType::array);
    CHECK(array.elements[2].elements[1].type == ReplyType::null);
    const ReplyValue map = read_one("%2\r\n+a\r\n:1\r\n+b\r\n~1\r\n#t\r\n");
    CHECK(map.type == ReplyType::map);
    REQUIRE(map.elements.size() == 4);
    CHECK(map.elements[3].type == ReplyType::set);
    CHECK(read_one(">2\r\n+pubsub\r\n:1\r\n").type == ReplyType::push);
    CHECK(read_one("%0\r\n").type == ReplyType::map);
  }

  TEST_CASE("attributes belong to the value behind them") {
    const ReplyValue value = read_one("|1\r\n+ttl\r\n:5\r\n*2\r\n:1\r\n|1\r\n+k\r\n+v\r\n:2\r\n");
    CHECK(value.attributes.size() == 2);
    CHECK(value.elements[0].attributes.empty());
    CHECK(value.elements[1].attributes.at(1).text == "v");
    CHECK(read_one("|0\r\n:1\r\n").attributes.empty());
    CHECK(read_one("|1\r\n+a\r\n:1\r\n|1\r\n+b\r\n:2\r\n_\r\n").attributes.size() == 4);
  }

  TEST_CASE("split at every byte, the answer is the same") {
    const std::string input =
        "*4\r\n$5\r\na\r\nbc\r\n|1\r\n+k\r\n$1\r\nv\r\n%1\r\n+x\r\n,0.5\r\n=5\r\ntxt:y\r\n*-1\r\n";
    const ReplyValue whole = read_one(input);
    for (std::size_t cut = 0; cut < input.size(); ++cut) {
      ReplyReader reader;
      ReplyValue value;
      std::size_t used = 0;
      REQUIRE(reader.next(input.substr(0, cut), used, value) == ReplyRead::need_more);
      REQUIRE(used <= cut);
      REQUIRE(reader.next(input.substr(used), used, value) == ReplyRead::reply);
      REQUIRE(value == whole);
    }
  }

  TEST_CASE("several replies, one after the other") {
    ReplyReader reader;
    ReplyValue value;
    std::size_t used = 0;
    std::string_view rest = "+a\r\n:2\r\n*1\r\n+c\r\n+d";
    std::vector<ReplyType> types;
    while (reader.next(rest, used, value) == ReplyRead::reply) {
      types.push_back(value.type);
      rest.remove_prefix(used);
    }
    CHECK(types == std::vector{ReplyType::simple, ReplyType::integer, ReplyType::array});
    CHECK(rest == "+d");
  }

  TEST_CASE("what Reply writes, the reader reads") {
    std::string out;
    Reply reply(out, 3);
    reply.map(1);
    reply.bulk("k");
    reply.real(0.1);
    const ReplyValue value = read_one(out);
    CHECK(value.elements.at(0).text == "k");
    CHECK(value.elements.at(1).real == 0.1);
  }

  TEST_CASE("nonsense is refused") {
    for (const char* input :
         {"\r\n",           "x\r\n",  ":\r\n",     ":a\r\n",  ":1 \r\n", "$\r\n",
          "$-2\r\n",        "$a\r\n", "$1\r\nabc", "*-2\r\n", "%-1\r\n", "*9999999999999\r\n",
          "#x\r\n",         ",x\r\n", "(1x\r\n",   "(\r\n",   "_x\r\n",  "=3\r\ntxt\r\n",
          "=4\r\ntxtx\r\n", "$?\r\n", "*?\r\n"}) {
      CAPTURE(input);
      CHECK(error_of(input).starts_with("Protocol error: "));
    }
    CHECK(error_of("+" + std::string(2 * 1024 * 1024, 'x')) == "Protocol error: line too long");
  }

  TEST_CASE("depth is bounded") {
    CHECK(error_of(nested(reply_depth_max) + ":1\r\n").empty());
    CHECK(error_of(nested(reply_depth_max + 1)) == "Protocol error: nested too deeply");
  }

  TEST_CASE("a declared length is not believed") {
    ReplyReader reader;
    ReplyValue value;
    std::size_t used = 0;
    CHECK(reader.next("*4294967296\r\n$1099511627776\r\nabc", used, value) == ReplyRead::need_more);
  }
}

}  // namespace
}  // namespace gyre
