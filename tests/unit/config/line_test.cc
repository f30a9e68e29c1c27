#include "config/line.h"

#include <doctest/doctest.h>

namespace gyre {
namespace {

using Words = std::vector<std::string>;

TEST_CASE("config: words of a line") {
  CHECK(split_words("") == Words{});
  CHECK(split_words(" \t ") == Words{});
  CHECK(split_words("  a  b\tc ") == Words{"a", "b", "c"});
  CHECK(split_words(R"(a "" '')") == Words{"a", "", ""});
  CHECK(split_words(R"("a b" 'c d')") == Words{"a b", "c d"});
  CHECK(split_words(R"("\x41\n\r\t\b\a\\\"\q")") == Words{"A\n\r\t\b\a\\\"q"});
  CHECK(split_words(R"("\x4")") == Words{"x4"});
  CHECK(split_words(R"('it\'s \n')") == Words{"it's \\n"});
  CHECK(split_words(R"(a"b c" d)") == Words{"ab c", "d"});
  CHECK(split_words(R"(a\b)") == Words{"a\\b"});
  for (const char* const bad : {"\"", "'", "\"a", "'a", "\"a\"b", "'a'b", "\"a\\\"", "a \"b"}) {
    CHECK_FALSE(split_words(bad));
  }
}

TEST_CASE("config: quoted words read back as they were") {
  CHECK(quote_word("plain-1:2/3") == "plain-1:2/3");
  CHECK(quote_word("") == "\"\"");
  CHECK(quote_word("#a") == "\"#a\"");
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  const Words words{all, "", "a b", "\"", "'", "\\", "\n", "\xff"};
  CHECK(split_words(joined_words(words)) == words);
}

}  // namespace
}  // namespace gyre
