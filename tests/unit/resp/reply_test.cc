#include "resp/reply.h"

#include <limits>
#include <string>

#include <doctest/doctest.h>

namespace gyre {
namespace {

// What `write` appends for a client of that protocol.
template <class Write>
std::string written(int protocol, Write write) {
  std::string out;
  Reply reply(out, protocol);
  write(reply);
  return out;
}

TEST_SUITE("resp/reply") {
  TEST_CASE("both protocols write these alike") {
    for (const int protocol : {2, 3}) {
      CHECK(written(protocol, [](Reply& r) { r.ok(); }) == "+OK\r\n");
      CHECK(written(protocol, [](Reply& r) { r.simple("PO\r\nNG"); }) == "+PO  NG\r\n");
      CHECK(written(protocol, [](Reply& r) { r.integer(0); }) == ":0\r\n");
      CHECK(written(protocol, [](Reply& r) { r.integer(-1); }) == ":-1\r\n");
      CHECK(written(protocol, [](Reply& r) { r.integer(10); }) == ":10\r\n");
      CHECK(written(protocol, [](Reply& r) {
              r.integer(std::numeric_limits<std::int64_t>::min());
            }) == ":-9223372036854775808\r\n");
      CHECK(written(protocol, [](Reply& r) { r.bulk(""); }) == "$0\r\n\r\n");
      CHECK(written(protocol, [](Reply& r) { r.bulk({}); }) == "$0\r\n\r\n");
      CHECK(written(protocol, [](Reply& r) { r.bulk_int(-42); }) == "$3\r\n-42\r\n");
      CHECK(written(protocol, [](Reply& r) { r.array(3); }) == "*3\r\n");
      CHECK(written(protocol, [](Reply& r) { r.raw(":1\r\n"); }) == ":1\r\n");
    }
  }

  TEST_CASE("bulks of all lengths around the short one") {
    for (std::size_t size = 0; size < 300; ++size) {
      const std::string text(size, 'v');
      REQUIRE(written(2, [&](Reply& r) { r.bulk(text); }) ==
              "$" + std::to_string(size) + "\r\n" + text + "\r\n");
    }
  }

  TEST_CASE("errors have a prefix, and are one line") {
    CHECK(written(2, [](Reply& r) { r.error(Errc::wrong_type); }) ==
          "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    CHECK(written(2, [](Reply& r) { r.error("bad\r\n+OK"); }) == "-ERR bad  +OK\r\n");
    CHECK(written(3, [](Reply& r) { r.error(Error(Errc::no_key, "gone")); }) == "-ERR gone\r\n");
  }

  TEST_CASE("what the protocols spell differently") {
    const auto both = [](auto write) { return written(2, write) + "|" + written(3, write); };
    CHECK(both([](Reply& r) { r.real(1.5); }) == "$3\r\n1.5\r\n|,1.5\r\n");
    CHECK(both([](Reply& r) { r.real(-std::numeric_limits<double>::infinity()); }) ==
          "$4\r\n-inf\r\n|,-inf\r\n");
    CHECK(both([](Reply& r) { r.boolean(true); }) == ":1\r\n|#t\r\n");
    CHECK(both([](Reply& r) { r.boolean(false); }) == ":0\r\n|#f\r\n");
    CHECK(both([](Reply& r) { r.verbatim("txt", "hi"); }) == "$2\r\nhi\r\n|=6\r\ntxt:hi\r\n");
    CHECK(both([](Reply& r) { r.big_number("123"); }) == "$3\r\n123\r\n|(123\r\n");
    CHECK(both([](Reply& r) { r.null(); }) == "$-1\r\n|_\r\n");
    CHECK(both([](Reply& r) { r.null_array(); }) == "*-1\r\n|_\r\n");
    CHECK(both([](Reply& r) { r.map(2); }) == "*4\r\n|%2\r\n");
    CHECK(both([](Reply& r) { r.set(2); }) == "*2\r\n|~2\r\n");
    CHECK(both([](Reply& r) { r.push(2); }) == "*2\r\n|>2\r\n");
  }

  TEST_CASE("lengths that are found out late") {
    const auto write = [](Reply& r) {
      r.integer(7);
      const auto outer = r.deferred();
      const auto inner = r.deferred();
      r.bulk("a");
      r.finish_set(inner, 1);
      r.bulk("b");
      r.finish_map(outer, 1);
      r.finish_array(r.deferred(), 0);
    };
    CHECK(written(2, write) == ":7\r\n*2\r\n*1\r\n$1\r\na\r\n$1\r\nb\r\n*0\r\n");
    CHECK(written(3, write) == ":7\r\n%1\r\n~1\r\n$1\r\na\r\n$1\r\nb\r\n*0\r\n");
  }
}

}  // namespace
}  // namespace gyre
