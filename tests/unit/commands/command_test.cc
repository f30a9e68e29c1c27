#include <algorithm>

#include "commands/command_command.h"
#include "fixture.h"

using namespace gyre;
using gyre::test::Node1;

namespace {

std::string command(const std::string& line, int protocol = 2) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string w; in >> w;) words.push_back(w);
  const std::vector<std::string_view> args(words.begin(), words.end());
  std::string out;
  Reply reply(out, protocol);
  command_reply(args, reply);
  std::string readable;
  for (const char c : out) {
    if (c != '\r') readable.push_back(c == '\n' ? ' ' : c);
  }
  readable.pop_back();
  return readable;
}

std::string categories(std::string_view name) {
  std::string out;
  const CommandSpec* spec = find_command(name);
  REQUIRE(bool(spec));
  for (const auto category : command_categories(*spec)) out.append(category).append(" ");
  return out;
}

}  // namespace

TEST_CASE("command: INFO as Redis answers it") {
  CHECK(command("COMMAND INFO get nope") ==
        "*2 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 *3 +@read +@string +@fast *0 "
        "*1 *6 $5 flags *2 +RO +access $12 begin_search *4 $4 type $5 index $4 spec *2 $5 index :1 "
        "$9 find_keys *4 $4 type $5 range $4 spec *6 $7 lastkey :0 $7 keystep :1 $5 limit :0 "
        "*0 $-1");
  CHECK(command("COMMAND INFO get", 3) ==
        "*1 *10 $3 get :2 ~2 +readonly +fast :1 :1 :1 ~3 +@read +@string +@fast ~0 "
        "~1 %3 $5 flags ~2 +RO +access $12 begin_search %2 $4 type $5 index $4 spec %1 $5 index :1 "
        "$9 find_keys %2 $4 type $5 range $4 spec %3 $7 lastkey :0 $7 keystep :1 $5 limit :0 "
        "~0");
  CHECK(command("COMMAND INFO config|get") ==
        "*1 *10 $10 config|get :-3 *4 +admin +noscript +loading +stale :0 :0 :0 "
        "*3 +@admin +@slow +@dangerous *0 *0 *0");
  CHECK(
      command("COMMAND INFO module", 3)
          .starts_with("*1 *10 $6 module :-2 ~0 :0 :0 :0 ~1 +@slow ~0 ~0 *5 *10 $11 module|list"));
}

TEST_CASE("command: categories") {
  CHECK(categories("SET") == "@write @string @slow ");
  CHECK(categories("RENAME") == "@keyspace @write @slow ");
  CHECK(categories("WATCH") == "@fast @transaction ");
  CHECK(categories("INFO") == "@slow @dangerous ");
  CHECK(categories("KEYS") == "@keyspace @read @slow @dangerous ");
  CHECK(categories("FUNCTION|FLUSH") == "@write @slow @scripting ");
  CHECK(categories("OBJECT|ENCODING") == "@keyspace @read @slow ");
  CHECK(categories("OBJECT") == "@slow ");
  CHECK(categories("COMMAND") == "@slow @connection ");
  CHECK(categories("CLIENT|LIST") == "@admin @slow @dangerous @connection ");
  CHECK(categories("MEMORY|USAGE") == "@read @slow ");
}

TEST_CASE("command: LIST and COUNT") {
  CHECK(command("COMMAND COUNT").starts_with(":"));
  CHECK(command("COMMAND LIST FILTERBY PATTERN rename*") == "*2 $6 rename $8 renamenx");
  CHECK(command("COMMAND LIST FILTERBY ACLCAT transaction") ==
        "*5 $5 multi $4 exec $7 discard $5 watch $7 unwatch");
  CHECK(command("COMMAND LIST FILTERBY ACLCAT nope") == "*0");
  CHECK(command("COMMAND LIST FILTERBY MODULE x") == "*0");
  CHECK(command("COMMAND LIST FILTERBY x y") == "-ERR syntax error");
  CHECK(command("COMMAND LIST FOO") == "-ERR syntax error");
  CHECK(command("COMMAND LIST").starts_with("*" + std::to_string(all_commands().size()) + " "));
  CHECK(command("COMMAND FOO") == "-ERR unknown subcommand 'FOO'. Try COMMAND HELP.");
}

TEST_CASE("command: GETKEYS") {
  CHECK(command("COMMAND GETKEYS GET a") == "*1 $1 a");
  CHECK(command("COMMAND GETKEYS MSET a 1 b 2") == "*2 $1 a $1 b");
  CHECK(command("COMMAND GETKEYS OBJECT ENCODING k") == "*1 $1 k");
  CHECK(command("COMMAND GETKEYS OBJECT NOPE k") == "-ERR Invalid command specified");
  CHECK(command("COMMAND GETKEYS NOPE a") == "-ERR Invalid command specified");
  CHECK(command("COMMAND GETKEYS PING a") == "-ERR The command has no key arguments");
  CHECK(command("COMMAND GETKEYS GET a b") ==
        "-ERR Invalid number of arguments specified for command");
  CHECK(command("COMMAND GETKEYSANDFLAGS MSET a 1 b 2", 3) ==
        "*2 *2 $1 a ~2 +OW +update *2 $1 b ~2 +OW +update");
  CHECK(command("COMMAND GETKEYSANDFLAGS RENAME a b") ==
        "*2 *2 $1 a *3 +RW +access +delete *2 $1 b *2 +OW +update");
}

TEST_CASE("command: DOCS") {
  CHECK(command("COMMAND DOCS nope", 3) == "%0");
  CHECK(command("COMMAND DOCS get", 3) ==
        "%1 $3 get %3 $7 summary $26 Returns the value of a key $5 since $5 1.0.0 $5 group "
        "$6 string");
  CHECK(command("COMMAND DOCS module", 3).find("$12 subcommands") == std::string::npos);
  CHECK(command("COMMAND DOCS module", 3).find("$11 subcommands %5 $11 module|list %3") !=
        std::string::npos);
}

TEST_CASE("command: every row can be described") {
  for (const CommandSpec* spec : all_commands()) {
    CAPTURE(spec->name);
    CHECK(spec->arity != 0);
    CHECK(!spec->summary.empty());
    CHECK(!command_group(*spec).empty());
    CHECK(!command_categories(*spec).empty());
    // A subcommand has its container, and a row without a function is the connection's to run.
    const auto bar = spec->name.find('|');
    if (bar != std::string_view::npos) CHECK(bool(find_command(spec->name.substr(0, bar))));
    if (!spec->run) CHECK((spec->flags & flag::session) != 0);
  }
  // Well-formed in both protocols: every reply is what its headers announce.
  CHECK(command("COMMAND").size() > 1000);
  CHECK(command("COMMAND DOCS", 3).size() > 1000);
}

TEST_CASE("command: PING, ECHO and TIME run anywhere") {
  Node1 node;
  CHECK(node("PING") == "+PONG");
  CHECK(node("PING hello") == "$5 hello");
  CHECK(node("PING a b") == "-ERR wrong number of arguments for 'ping' command");
  CHECK(node("ECHO x") == "$1 x");
  node.now = 1'700'000'000'123;
  CHECK(node("TIME") == "*2 $10 1700000000 $6 123000");
}
