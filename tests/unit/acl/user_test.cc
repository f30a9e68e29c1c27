#include "acl/user.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "commands/command_command.h"
#include "commands/table.h"

namespace gyre {
namespace {

using Words = std::vector<std::string>;

Words split(const std::string& text) {
  Words words;
  std::string word;
  for (const char c : text + " ") {
    if (c != ' ') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  return words;
}

User user(const std::string& rules) {
  User made("alice", 1, false);
  const auto done = set_rules(made, split(rules), false);
  CAPTURE(rules);
  REQUIRE(done);
  return made;
}

// What the rules say once they were taken in.
std::string said(const std::string& rules) {
  return user(rules).describe();
}

std::string error(const std::string& rules) {
  User made("alice", 1, false);
  const std::string before = made.describe();
  const auto done = set_rules(made, split(rules), false);
  REQUIRE(!done);
  CHECK(made.describe() == before);
  return std::string(done.error().text());
}

// "" where the line may run, else the word that speaks against it.
std::string denied(const User& who, const std::string& line) {
  const Words words = split(line);
  const std::vector<std::string_view> args(words.begin(), words.end());
  const CommandSpec* spec = find_command(args);
  REQUIRE(spec);
  const Verdict verdict = who.check(*spec, args);
  if (verdict.why == Denied::nothing) return "";
  return verdict.why == Denied::command ? "command" : words[verdict.at];
}

TEST_CASE("users: rules as Redis 7.0.15 shows them") {
  CHECK(said("") == "off resetchannels -@all");
  CHECK(said("reset") == "off sanitize-payload resetchannels -@all");
  CHECK(said("on nopass allkeys allchannels allcommands") == "on nopass ~* &* +@all");
  CHECK(said("on ~a %R~b %W~c %RW~d %R~d &x +get") ==
        "on ~a %R~b %W~c ~d resetchannels &x -@all +get");
  CHECK(said("%R~foo %W~foo") == "off ~foo resetchannels -@all");
  CHECK(said("+@all -client +client|id") == "off resetchannels +@all -client +client|id");
  CHECK(said("+select|0") == "off resetchannels -@all +select|0");
  CHECK(said("+config -config|set") == "off resetchannels -@all +config -config|set");
  CHECK(said("skip-sanitize-payload (+get ~x) ( ~y +set )") ==
        "off skip-sanitize-payload resetchannels -@all (~x resetchannels -@all +get) "
        "(~y resetchannels -@all +set)");
  CHECK(said("(+get ~x) clearselectors") == "off resetchannels -@all");
  CHECK(said("~* resetkeys ~k") == "off ~k resetchannels -@all");
}

TEST_CASE("users: each category alone is said by its name") {
  for (const std::string_view category : command_category_names()) {
    const std::string name(category);
    CHECK(user("+@all -" + name).root().describe_commands() == "+@all -" + name);
    CHECK(user("+" + name).root().describe_commands() == "-@all +" + name);
  }
}

TEST_CASE("users: what is described, taken in again, allows the same") {
  for (const std::string rules :
       {"on +@all -@dangerous +info ~a* &x", "-@all +@read +@hash -hget +debug|sleep",
        "+@all -@string +incr -config +config|get", "+@all -get (+@write ~w %R~r) (+@read ~r &n)",
        "off >secret nopass", "on >one >two ~*", "+@slow -@list", "-@all +client -client|kill"}) {
    const User first = user(rules);
    const User again = user(first.describe());
    CHECK(again.describe() == first.describe());
    for (const CommandSpec* spec : all_commands()) {
      if (spec->flags & flag::internal) continue;
      CAPTURE(spec->name);
      std::vector<std::string_view> args(16, "1");  // enough for every command
      args.front() = spec->name;
      const bool before = first.root().check(*spec, args).why == Denied::command;
      CHECK(before == (again.root().check(*spec, args).why == Denied::command));
    }
  }
}

TEST_CASE("users: errors, and nothing of the rules stays") {
  const std::string head = "Error in ACL SETUSER modifier '";
  CHECK(error("on foo") == head + "foo': Syntax error");
  CHECK(error("+nothing") == head + "+nothing': Unknown command or category name in ACL");
  CHECK(error("+@nothing") == head + "+@nothing': Unknown command or category name in ACL");
  CHECK(error("+gyre.version").ends_with("Unknown command or category name in ACL"));
  CHECK(error("+config|asdf").ends_with("Unknown command or category name in ACL"));
  CHECK(error("+get|a|b").ends_with("Unknown command or category name in ACL"));
  CHECK(error("+config|get|x").ends_with("Allowing first-arg of a subcommand is not supported"));
  CHECK(error("+debug|").ends_with("Syntax error"));
  CHECK(error("%~a") == head + "%~a': Syntax error");
  CHECK(error("%") == head + "%': Syntax error");
  CHECK(error("%RR~a").ends_with("Syntax error"));
  CHECK(error("~* ~a").find("Try 'resetkeys'") != std::string::npos);
  CHECK(error("&* &a").find("Try 'resetchannels'") != std::string::npos);
  CHECK(
      error("<pw").ends_with("The password you are trying to remove from the user does not exist"));
  CHECK(error("#12").find("exactly 64 characters") != std::string::npos);
  CHECK(error("(+get ~x") == "Unmatched parenthesis in acl selector starting at '(+get'.");
  CHECK(error(")") == head + ")': Syntax error");
  CHECK(error("(nonsense)") == head + "(nonsense)': Syntax error");
}

TEST_CASE("users: passwords") {
  const std::string hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
  CHECK(password_hash("secret") == hash);
  User who = user("on >secret");
  CHECK(who.accepts("secret"));
  CHECK(!who.accepts("Secret"));
  CHECK(!who.accepts(""));
  CHECK(who.describe() == "on #" + hash + " resetchannels -@all");
  CHECK(user("on #" + hash).accepts("secret"));
  CHECK(!user(">secret").accepts("secret"));
  CHECK(user("on nopass").accepts("anything"));
  CHECK(!user("on").accepts(""));
  CHECK(!user("on >secret !" + hash).accepts("secret"));
  CHECK(!user("on nopass resetpass").accepts("x"));
}

TEST_CASE("users: commands") {
  const User some = user("+get +client|id +select|0 ~*");
  CHECK(denied(some, "GET a").empty());
  CHECK(denied(some, "SET a b") == "command");
  CHECK(denied(some, "CLIENT ID").empty());
  CHECK(denied(some, "CLIENT LIST") == "command");
  CHECK(denied(some, "SELECT 0").empty());
  CHECK(denied(some, "SELECT 1") == "command");
  // Whoever is not logged in must be able to.
  CHECK(denied(some, "AUTH x y").empty());
  CHECK(!some.may_everything());
  CHECK(user("allcommands allkeys allchannels").may_everything());
  CHECK(user("(+@all ~* &*)").may_everything());
  CHECK(!user("+@all ~*").may_everything());
  CHECK(!user("+@all -get ~* &*").may_everything());
}

TEST_CASE("users: keys, read and written") {
  const User who = user("+@all %R~read* %W~write* %RW~rw*");
  CHECK(denied(who, "GET read").empty());
  CHECK(denied(who, "GET write") == "write");
  CHECK(denied(who, "SET write v").empty());
  CHECK(denied(who, "SET write v GET") == "write");
  CHECK(denied(who, "SET read v") == "read");
  CHECK(denied(who, "SET rw v GET").empty());
  CHECK(denied(who, "LPUSH write 1").empty());
  CHECK(denied(who, "COPY read write").empty());
  CHECK(denied(who, "COPY write read") == "write");
  CHECK(denied(who, "RENAME read write") == "read");
  CHECK(denied(who, "MGET read1 read2 other") == "other");
  CHECK(denied(who, "EXISTS read write").empty());
  CHECK(denied(who, "EXISTS nothing") == "nothing");
  CHECK(denied(who, "HEXISTS write f").empty());
  CHECK(denied(who, "BITFIELD read GET u4 0").empty());
  CHECK(denied(who, "BITFIELD read GET u4 0 SET u4 0 1") == "read");
  CHECK(denied(who, "BITFIELD write GET u4 0") == "write");
  CHECK(denied(who, "SORT read STORE write").empty());
  CHECK(denied(who, "SORT write STORE write") == "write");
  CHECK(denied(who, "SINTERCARD 2 read write") == "write");
  CHECK(denied(who, "ZUNIONSTORE write 2 read1 read2").empty());
  CHECK(denied(who, "ZUNIONSTORE read 2 read1 read2") == "read");
  CHECK(denied(who, "GEORADIUS read 0 0 1 m STORE write").empty());
  CHECK(denied(who, "GEORADIUS read1 0 0 1 m STOREDIST read2") == "read2");
  CHECK(denied(who, "MEMORY USAGE write").empty());
  CHECK(denied(who, "XREADGROUP GROUP g c STREAMS nothing >") == "nothing");
  CHECK(denied(who, "PFCOUNT write") == "write");
}

TEST_CASE("users: selectors do not add up") {
  const User who = user("+mget ~key (+mget ~key ~otherkey) (%R~r +@all) (%W~w +@all)");
  CHECK(denied(who, "MGET key").empty());
  CHECK(denied(who, "MGET otherkey key").empty());
  CHECK(denied(who, "MGET otherkey someotherkey") == "someotherkey");
  CHECK(denied(who, "MGET key otherkey someotherkey") == "someotherkey");
  CHECK(denied(who, "GET r").empty());
  CHECK(denied(who, "SET w v").empty());
  CHECK(!denied(who, "COPY r w").empty());
}

TEST_CASE("users: channels") {
  const User who = user("+@all &news &bar:*");
  CHECK(denied(who, "PUBLISH news x").empty());
  CHECK(denied(who, "PUBLISH bar:1 other").empty());
  CHECK(denied(who, "PUBLISH other x") == "other");
  CHECK(denied(who, "SPUBLISH other x") == "other");
  CHECK(denied(who, "SUBSCRIBE news bar:2").empty());
  CHECK(denied(who, "SUBSCRIBE news other") == "other");
  CHECK(denied(who, "SSUBSCRIBE other") == "other");
  CHECK(denied(who, "PSUBSCRIBE bar:*").empty());
  CHECK(denied(who, "PSUBSCRIBE bar:x") == "bar:x");
  CHECK(denied(who, "SUNSUBSCRIBE other").empty());
  CHECK(denied(who, "UNSUBSCRIBE other").empty());
  CHECK(user("&a &b").listens_as(user("&a")));
  CHECK(!user("&a").listens_as(user("&a &b")));
  CHECK(!user("&a").listens_as(user("allchannels")));
  CHECK(user("allchannels").listens_as(user("&a")));
}

TEST_CASE("users: the file") {
  std::uint64_t next = 10;
  const auto read = parse_user_file("user bob on -@all +@set ~s*\n\n user carl (+get ~x) \n",
                                    "users.acl", true, next);
  REQUIRE(read);
  CHECK(next == 12);
  CHECK(read->find("bob")->describe() == "on ~s* &* -@all +@set");
  CHECK(user_file_text(*read) ==
        "user bob on ~s* &* -@all +@set\n"
        "user carl off &* -@all (~x &* -@all +get)\n");
  const auto again = parse_user_file(user_file_text(*read), "users.acl", false, next);
  REQUIRE(again);
  CHECK(user_file_text(*again) == user_file_text(*read));

  const auto text_of = [&](const std::string& text) {
    const auto bad = parse_user_file(text, "u", false, next);
    REQUIRE(!bad);
    return std::string(bad.error().text());
  };
  const std::string tail =
      "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
  CHECK(text_of("user a\nuser a\n") == "WARNING: Duplicate user 'a' found on line 2. " + tail);
  CHECK(text_of("# none\n") ==
        "u:1 should start with user keyword followed by the username. " + tail);
  CHECK(text_of("user a >secret nonsense") == "u:1: Syntax error. " + tail);
  CHECK(text_of("user a +nosuch +get") ==
        "u:1: Error in applying operation '+nosuch': Unknown command or category name in ACL. " +
            tail);
}

}  // namespace
}  // namespace gyre
