#include "resp/request.h"

#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace gyre {
namespace {

using Words = std::vector<std::string>;

// A connection in small: bytes arrive, commands are taken from the front, the rest stays.
struct Feed {
  RequestParser parser;
  std::string buffer;
  std::vector<Words> commands;
  std::string error;

  void arrive(std::string_view bytes) {
    buffer += bytes;
    std::string_view rest = buffer;
    std::vector<std::string_view> arena;
    for (;;) {
      const std::size_t first = arena.size();
      std::size_t used = 0;
      const Parsed parsed = parser.next(rest, used, arena);
      rest.remove_prefix(used);
      if (parsed == Parsed::command) {
        commands.emplace_back(arena.begin() + static_cast<std::ptrdiff_t>(first), arena.end());
        continue;
      }
      REQUIRE(arena.size() == first);
      if (parsed == Parsed::error) error = parser.error().text();
      break;
    }
    buffer = std::string(rest);
    parser.reset_scratch();
  }
};

// The command as a client library sends it.
std::string multibulk(const Words& words) {
  std::string out = "*" + std::to_string(words.size()) + "\r\n";
  for (const auto& word : words) out += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  return out;
}

std::vector<Words> commands_of(std::string_view input) {
  Feed feed;
  feed.arrive(input);
  CHECK(feed.error.empty());
  CHECK(feed.buffer.empty());
  return feed.commands;
}

std::string error_of(std::string_view input) {
  Feed feed;
  feed.arrive(input);
  return feed.error;
}

std::string error_before_login(std::string_view input) {
  Feed feed;
  feed.parser.set_authenticated(false);
  feed.arrive(input);
  return feed.error;
}

TEST_SUITE("resp/request") {
  TEST_CASE("one command, and the views point into the input") {
    RequestParser parser;
    const std::string input = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n";
    std::vector<std::string_view> args = {"kept"};
    std::size_t used = 0;
    REQUIRE(parser.next(input, used, args) == Parsed::command);
    CHECK(used == 20);
    REQUIRE(args.size() == 3);
    CHECK(args[0] == "kept");
    CHECK(args[1] == "GET");
    CHECK(args[2].data() == input.data() + 17);
    CHECK(parser.next(std::string_view(input).substr(used), used, args) == Parsed::need_more);
    CHECK(used == 0);
    CHECK(args.size() == 3);
  }

  TEST_CASE("a pipeline, binary and empty arguments") {
    const std::string binary("\0\r\n$*\xff", 6);
    const std::vector<Words> sent = {{"SET", "", binary}, {"PING"}, {std::string(100'000, 'x')}};
    std::string input;
    for (const auto& words : sent) input += multibulk(words);
    CHECK(commands_of(input) == sent);
    CHECK(commands_of("") == std::vector<Words>{});
  }

  TEST_CASE("split at every byte, the answer is the same") {
    const std::string input = multibulk({"SET", "key", "a\r\nb"}) +
                              "*0\r\nset 'a b' \"\\x41\\n\"\r\n\r\n" + multibulk({"", ""}) +
                              "*-1\r\nPING\n" + multibulk({std::string(1000, 'v'), "w"});
    const auto whole = commands_of(input);
    REQUIRE(whole.size() == 5);
    for (std::size_t cut = 0; cut <= input.size(); ++cut) {
      Feed feed;
      feed.arrive(input.substr(0, cut));
      feed.arrive(input.substr(cut));
      REQUIRE(feed.error.empty());
      REQUIRE(feed.commands == whole);
    }
    Feed bytes;
    for (const char c : input) bytes.arrive({&c, 1});
    CHECK(bytes.commands == whole);
  }

  TEST_CASE("bytes_wanted counts the bulk and its end of line") {
    RequestParser parser;
    std::vector<std::string_view> args;
    std::size_t used = 0;
    CHECK(parser.next("*2\r\n$3\r\nSET\r\n$100\r\nabc", used, args) == Parsed::need_more);
    CHECK(used == 0);
    CHECK(args.empty());
    CHECK(parser.bytes_wanted() == 99);
    CHECK(parser.next("*2\r\n$3\r\nSET\r\n$100\r\nabcdef", used, args) == Parsed::need_more);
    CHECK(parser.bytes_wanted() == 96);
    const std::string whole = "*2\r\n$3\r\nSET\r\n$100\r\n" + std::string(100, 'z') + "\r\n";
    CHECK(parser.next(whole, used, args) == Parsed::command);
    CHECK(parser.bytes_wanted() == 0);
    CHECK(args[1].data() == whole.data() + 19);
    CHECK(parser.next("*1\r\n$", used, args) == Parsed::need_more);
    CHECK(parser.bytes_wanted() == 0);
  }

  TEST_CASE("blank commands before an incomplete one are dropped") {
    RequestParser parser;
    std::vector<std::string_view> args;
    std::size_t used = 0;
    CHECK(parser.next("\r\n\n*0\r\n*-7\r\n  \r\n*1\r\n$4\r\nPI", used, args) == Parsed::need_more);
    CHECK(used == 16);
    CHECK(parser.next("*1\r\n$4\r\nPING\r\n", used, args) == Parsed::command);
    CHECK(args.size() == 1);
  }

  TEST_CASE("a command in many pieces costs its bytes") {
    // 200 000 arguments, 16 bytes at a time: pieces x arguments would be 10^10 steps.
    const std::string input = multibulk(Words(200'000, "x"));
    RequestParser parser;
    std::vector<std::string_view> args;
    std::size_t used = 0;
    for (std::size_t size = 16; size < input.size(); size += 16) {
      REQUIRE(parser.next({input.data(), size}, used, args) == Parsed::need_more);
    }
    REQUIRE(parser.next(input, used, args) == Parsed::command);
    CHECK(used == input.size());
    CHECK(args.size() == 200'000);
    CHECK(args.back().data() == input.data() + input.size() - 3);
  }

  TEST_CASE("what follows a bulk is skipped unseen, as Redis does") {
    CHECK(commands_of("*1\r\n$4\r\nPINGxx") == std::vector<Words>{{"PING"}});
  }

  TEST_CASE("multibulk errors") {
    const std::string bad_count = "Protocol error: invalid multibulk length";
    for (const char* input : {"*\r\n", "*a\r\n", "*01\r\n", "*1 \r\n", "*+1\r\n", "*2147483648\r\n",
                              "*-99999999999999999999\r\n", "*-0\r\n"}) {
      CAPTURE(input);
      CHECK(error_of(input) == bad_count);
    }
    const std::string bad_size = "Protocol error: invalid bulk length";
    for (const char* input : {"*1\r\n$\r\n", "*1\r\n$-1\r\n", "*1\r\n$03\r\n", "*1\r\n$x\r\n",
                              "*1\r\n$536870913\r\n", "*1\r\n$9223372036854775808\r\n"}) {
      CAPTURE(input);
      CHECK(error_of(input) == bad_size);
    }
    CHECK(error_of("*1\r\nfoo\r\n") == "Protocol error: expected '$', got 'f'");
    CHECK(error_of("*1\r\n\r\n") == "Protocol error: expected '$', got '\r'");
    CHECK(error_of("*2147483647\r\n").empty());
    CHECK(error_of("*1\r\n$536870912\r\n").empty());
  }

  TEST_CASE("an error is final, and takes back what it began") {
    RequestParser parser;
    std::vector<std::string_view> args;
    std::size_t used = 0;
    CHECK(parser.next("*3\r\n$1\r\na\r\n$1\r\nb\r\nX\r\n", used, args) == Parsed::error);
    CHECK(args.empty());
    CHECK(parser.error().code == Errc::protocol);
    CHECK(parser.next("PING\r\n", used, args) == Parsed::error);
    CHECK(used == 0);
  }

  TEST_CASE("lines that are too long, in one piece and in many") {
    struct Case {
      std::string start;
      std::string error;
    };
    const Case cases[] = {{"", "Protocol error: too big inline request"},
                          {"*", "Protocol error: too big mbulk count string"},
                          {"*1\r\n$", "Protocol error: too big bulk count string"}};
    for (const auto& [start, error] : cases) {
      const std::size_t header = start.size() - (start.size() > 1 ? 4 : 0);
      const std::string longest = start + std::string(65536 - header, '1');
      CHECK(error_of(longest).empty());
      CHECK(error_of(longest + "1") == error);
      CHECK(error_of(longest + "1\r\n") == error);
      Feed feed;
      for (const char c : longest) feed.arrive({&c, 1});
      CHECK(feed.error.empty());
      feed.arrive("1");
      CHECK(feed.error == error);
    }
  }

  TEST_CASE("limits can be set") {
    Feed feed;
    feed.parser.set_max_bulk(5);
    feed.arrive(multibulk({"12345"}));
    CHECK(feed.commands.size() == 1);
    feed.arrive(multibulk({"123456"}));
    CHECK(feed.error == "Protocol error: invalid bulk length");
  }

  TEST_CASE("before authentication only little is taken") {
    CHECK(error_before_login(multibulk(Words(10, "x"))).empty());
    CHECK(error_before_login("*11\r\n") == "Protocol error: unauthenticated multibulk length");
    CHECK(error_before_login(multibulk({std::string(16384, 'x')})).empty());
    CHECK(error_before_login("*1\r\n$16385\r\n") == "Protocol error: unauthenticated bulk length");
  }
}

TEST_SUITE("resp/request inline") {
  TEST_CASE("words") {
    CHECK(commands_of("PING\r\n") == std::vector<Words>{{"PING"}});
    CHECK(commands_of("PING\n") == std::vector<Words>{{"PING"}});
    CHECK(commands_of("  set \t a   b \r\n") == std::vector<Words>{{"set", "a", "b"}});
    CHECK(commands_of("echo a\vb\f\r\n") == std::vector<Words>{{"echo", "a\vb\f"}});
    CHECK(commands_of("\r\n \r\n\n").empty());
    CHECK(commands_of("a $1 *2\r\n") == std::vector<Words>{{"a", "$1", "*2"}});
  }

  TEST_CASE("quotes") {
    CHECK(commands_of("set \"\" ''\r\n") == std::vector<Words>{{"set", "", ""}});
    CHECK(commands_of("\"a b\" 'c d'\r\n") == std::vector<Words>{{"a b", "c d"}});
    CHECK(commands_of("pre\"a b\" pre'c d'\r\n") == std::vector<Words>{{"prea b", "prec d"}});
    CHECK(commands_of("\"\\n\\r\\t\\b\\a\\\\\\\"\\q\"\r\n") ==
          std::vector<Words>{{"\n\r\t\b\a\\\"q"}});
    CHECK(commands_of("\"\\x41\\xfF\\x00\"\r\n") ==
          std::vector<Words>{{std::string("A\xff\0", 3)}});
    CHECK(commands_of("\"\\x4\" \"\\xg1\"\r\n") == std::vector<Words>{{"x4", "xg1"}});
    CHECK(commands_of("'a\\'b\\n\"'\r\n") == std::vector<Words>{{"a'b\\n\""}});
    CHECK(commands_of("\"it's\"\vb\r\n") == std::vector<Words>{{"it's", "b"}});
  }

  TEST_CASE("unquoted words of a pipeline live until the scratch is reset") {
    RequestParser parser;
    const std::string input = "\"a\" plain\r\n'b'\r\n\"" + std::string(500, 'c') + "\"\r\n";
    std::string_view rest = input;
    std::vector<std::string_view> args;
    std::size_t used = 0;
    while (parser.next(rest, used, args) == Parsed::command) rest.remove_prefix(used);
    REQUIRE(args.size() == 4);
    CHECK(args[0] == "a");
    CHECK(args[1].data() == input.data() + 4);
    CHECK(args[2] == "b");
    CHECK(args[3] == std::string(500, 'c'));
    parser.reset_scratch();
  }

  TEST_CASE("unbalanced quotes") {
    for (const char* input : {"\"a\r\n", "'a\r\n", "\"a\"b\r\n", "'a'b\r\n", "\"a\\\r\n",
                              "\"\\\"\n", "a\"\r\n", "\"a\"\"b\"\r\n", "'\\'\r\n"}) {
      CAPTURE(input);
      CHECK(error_of(input) == "Protocol error: unbalanced quotes in request");
    }
  }
}

}  // namespace
}  // namespace gyre
