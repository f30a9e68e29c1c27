#include "server/slow_log.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace gyre {
namespace {

std::vector<std::string> kept(const std::vector<std::string_view>& words) {
  SlowLog log;
  log.note(words, 1, 1000, {"127.0.0.1:5", "me"}, 10);
  return log.newest(1).at(0).args;
}
using Words = std::vector<std::string>;

TEST_CASE("slow log: newest first, as many as asked for, numbers go on") {
  SlowLog log;
  const std::string_view words[] = {"GET", "a"};
  for (int i = 0; i < 5; ++i) log.note(words, i, 1000 + i, {"127.0.0.1:5", "me"}, 3);
  CHECK(log.size() == 3);
  const auto two = log.newest(2);
  REQUIRE(two.size() == 2);
  CHECK(two[0].id == 4);
  CHECK(two[0].us == 4);
  CHECK(two[1].id == 3);
  CHECK(two[1].address == "127.0.0.1:5");
  CHECK(two[1].name == "me");
  log.clear();
  CHECK(log.size() == 0);
  log.note(words, 9, 2000, {}, 0);
  CHECK(log.size() == 0);
}

TEST_CASE("slow log: long commands are trimmed as Redis trims them") {
  const std::string longest(130, 'x');
  const Words args = kept({"SET", "k", longest});
  CHECK(args[2] == std::string(128, 'x') + "... (2 more bytes)");

  const Words many = kept(std::vector<std::string_view>(33, "w"));
  REQUIRE(many.size() == 32);
  CHECK(many[30] == "w");
  CHECK(many[31] == "... (2 more arguments)");
  CHECK(kept(std::vector<std::string_view>(32, "w"))[31] == "w");
}

TEST_CASE("slow log: passwords are not kept") {
  const std::string_view r = "(redacted)";
  CHECK(kept({"auth", "p"})[1] == r);
  const Words both = kept({"AUTH", "default", "p"});
  CHECK(both[1] == r);
  CHECK(both[2] == r);
  const Words hello = kept({"HELLO", "3", "AUTH", "default", "p", "SETNAME", "n"});
  CHECK(hello == Words{"HELLO", "3", "AUTH", "(redacted)", "(redacted)", "SETNAME", "n"});
  const Words set = kept({"CONFIG", "SET", "requirepass", "p", "maxclients", "100"});
  CHECK(set == Words{"CONFIG", "SET", "requirepass", "(redacted)", "maxclients", "100"});
}

}  // namespace
}  // namespace gyre
