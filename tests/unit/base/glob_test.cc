#include "base/glob.h"

#include <string>

#include <doctest/doctest.h>

namespace gyre {
namespace {

struct Case {
  const char* pattern;
  const char* text;
  bool matches;
};

TEST_SUITE("base/glob") {
  TEST_CASE("the language") {
    constexpr Case cases[] = {
        {"*", "", false},  // as in Redis
        {"**", "", false},
        {"*", "anything", true},
        {"", "", true},
        {"", "a", false},
        {"?", "", false},
        {"h?llo", "hello", true},
        {"h?llo", "hllo", false},
        {"h*llo", "hllo", true},
        {"h*llo", "heeeello", true},
        {"*llo*", "hello world", true},
        {"a**b", "ab", true},
        {"a*b*c", "a1b2b3c", true},
        {"a*b*c", "a1b2b3", false},
        {"a*", "a", true},
        {"abc", "ab", false},
        {"ab", "abc", false},
        {"h[ae]llo", "hallo", true},
        {"h[ae]llo", "hillo", false},
        {"h[^e]llo", "hallo", true},
        {"h[^e]llo", "hello", false},
        {"h[a-b]llo", "hbllo", true},
        {"h[b-a]llo", "hallo", true},
        {"h[a-b]llo", "hcllo", false},
        {"[a-]", "-", false},  // a range from ']' to 'a', in Redis too
        {"[a-]", "^", true},
        {"[]a]", "a]", false},
        {"[\\]]", "]", true},
        {"[abc", "b", true},
        {"[", "a", false},
        {"[^", "a", true},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"a\\", "a\\", true},
        {"*[0-9]", "user:7", true},
        {"*[0-9]", "user:x", false},
    };
    for (const Case& c : cases) {
      CAPTURE(std::string(c.pattern));
      CAPTURE(std::string(c.text));
      CHECK(glob_match(c.pattern, c.text) == c.matches);
    }
  }

  TEST_CASE("case is ignored on demand") {
    CHECK_FALSE(glob_match("HELLO*", "hello world"));
    CHECK(glob_match("HELLO*", "hello world", true));
    CHECK(glob_match("[A-C]x", "bX", true));
    CHECK(glob_match("[B]x", "bX", true));
  }

  TEST_CASE("bytes beyond ASCII, and zero") {
    CHECK(glob_match("\xff?\xfe", std::string_view("\xff\0\xfe", 3)));
    CHECK(glob_match("[\x80-\xff]", "\xc3"));
    CHECK_FALSE(glob_match("[\x80-\xff]", "a"));
  }

  TEST_CASE("many stars end in time") {
    std::string pattern;
    for (int i = 0; i < 1000; ++i) pattern += "a*";
    CHECK(glob_match(pattern, std::string(1'000, 'a')));
    CHECK_FALSE(glob_match(pattern + "b", std::string(20'000, 'a')));
    CHECK_FALSE(glob_match(pattern + "a*", std::string(1'002, 'a')));
    CHECK(glob_match(std::string(5'000, '*'), "a"));
  }
}

}  // namespace
}  // namespace gyre
