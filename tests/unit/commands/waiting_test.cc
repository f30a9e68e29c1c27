#include <doctest/doctest.h>

#include "commands/parse.h"
#include "fixture.h"

using namespace gyre;
using gyre::test::Node1;

namespace {

// Runs a line that may wait; "" when it does.
std::string may_wait(Node1& node, Waiting& how, const std::string& line, int protocol = 2) {
  how.asked = false;
  node.waiting = &how;
  const std::string reply = node(line, protocol);
  node.waiting = nullptr;
  CHECK(how.asked == reply.empty());
  return reply;
}

std::vector<std::string> part(const std::string& line, std::vector<std::size_t> keys) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string w; in >> w;) words.push_back(w);
  const std::vector<std::string_view> args(words.begin(), words.end());
  return command_of_keys(*find_command(Args(args)), Args(args), keys);
}

bool asks(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string w; in >> w;) words.push_back(w);
  const std::vector<std::string_view> args(words.begin(), words.end());
  return asks_to_wait(*find_command(Args(args)), Args(args));
}

}  // namespace

TEST_CASE("waiting: what is there is popped at once") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    node("RPUSH l a b c d");
    CHECK(node("BLPOP no l 0") == "*2 $1 l $1 a");
    CHECK(node("BRPOP l 0.5") == "*2 $1 l $1 d");
    CHECK(node("BLMOVE l to LEFT RIGHT 0") == "$1 b");
    CHECK(node("BRPOPLPUSH l to 0") == "$1 c");
    CHECK(node("LRANGE to 0 -1") == "*2 $1 c $1 b");
    CHECK(node("BLMPOP 0 2 l to RIGHT COUNT 5") == "*2 $2 to *2 $1 b $1 c");
    node("ZADD z 1 one 2 two 3 three");
    CHECK(node("BZPOPMIN no z 0") == "*3 $1 z $3 one $1 1");
    CHECK(node("BZPOPMAX z 0", 3) == "*3 $1 z $5 three ,3");
    CHECK(node("BZMPOP 0 2 no z MIN") == "*2 $1 z *1 *2 $3 two $1 2");
    CHECK(node("EXISTS l to z") == ":0");
  }
}

TEST_CASE("waiting: nobody waits where the client must not") {
  Node1 node;
  CHECK(node("BLPOP l 0") == "*-1");
  CHECK(node("BRPOP l m 0") == "*-1");
  CHECK(node("BLMPOP 0 1 l LEFT") == "*-1");
  CHECK(node("BLMOVE l to LEFT LEFT 0") == "$-1");
  CHECK(node("BRPOPLPUSH l to 0") == "$-1");
  CHECK(node("BZPOPMIN z 0") == "*-1");
  CHECK(node("BZMPOP 0 1 z MAX") == "*-1");
  CHECK(node("XREAD BLOCK 0 STREAMS s $") == "*-1");
}

TEST_CASE("waiting: arguments") {
  Node1 node;
  CHECK(node("BLPOP l x") == "-ERR timeout is not a float or out of range");
  CHECK(node("BLPOP l nan") == "-ERR timeout is not a float or out of range");
  CHECK(node("BLPOP l -1") == "-ERR timeout is negative");
  CHECK(node("BLPOP l 1e18") == "-ERR timeout is negative");
  CHECK(node("BLPOP l inf") == "-ERR timeout is negative");
  CHECK(node("BZPOPMAX l 1 x") == "-ERR timeout is not a float or out of range");
  CHECK(node("BLMPOP -1 0 l LEFT") == "-ERR numkeys should be greater than 0");
  CHECK(node("BLMPOP x 1 l LEFT") == "-ERR timeout is not a float or out of range");
  CHECK(node("BLMPOP 0 1 l MIDDLE") == "-ERR syntax error");
  CHECK(node("BLMPOP 0 1 l LEFT COUNT 0") == "-ERR count should be greater than 0");
  CHECK(node("BLMPOP 0 1 l LEFT COUNT") == "-ERR syntax error");
  CHECK(node("BZMPOP 0 0 z MIN") == "-ERR numkeys should be greater than 0");
  CHECK(node("BZMPOP 0 1 z LEAST") == "-ERR syntax error");
  CHECK(node("BLMOVE a b x LEFT 0") == "-ERR syntax error");
  CHECK(node("BLMOVE a b LEFT LEFT x") == "-ERR timeout is not a float or out of range");
  Waiting how;
  CHECK(may_wait(node, how, "BLPOP l 0.0001") == "");
  CHECK(how.ms == 1);
  CHECK(may_wait(node, how, "BLMPOP 1.5 1 l LEFT") == "");
  CHECK(how.ms == 1500);
}

TEST_CASE("waiting: other types are errors at first, and passed by later") {
  Node1 node;
  node("SET s 1");
  node("RPUSH l a b");
  node("RPUSH x a");
  Waiting how;
  constexpr const char* wrong =
      "-WRONGTYPE Operation against a key holding the wrong kind of value";
  CHECK(may_wait(node, how, "BLPOP no s 0") == wrong);
  CHECK(may_wait(node, how, "BLMOVE s l LEFT LEFT 0") == wrong);
  CHECK(may_wait(node, how, "BLMOVE l s LEFT LEFT 0") == wrong);
  CHECK(may_wait(node, how, "BZPOPMIN l 0") == wrong);
  how.run = Waiting::Run::again;
  CHECK(may_wait(node, how, "BLPOP s l 0") == "*2 $1 l $1 a");
  CHECK(may_wait(node, how, "BLPOP s 0") == "");
  CHECK(may_wait(node, how, "BZMPOP 0 1 l MIN") == "");
  CHECK(may_wait(node, how, "BLMOVE s l LEFT LEFT 0") == "");
  CHECK(how.first_key_only);
  CHECK(may_wait(node, how, "BLMOVE l s LEFT LEFT 0") == wrong);
  CHECK(node("LLEN l") == ":1");
}

TEST_CASE("waiting: a look changes nothing") {
  Node1 node;
  node("RPUSH l a");
  node("ZADD z 1 a");
  node("XADD s 1 f v");
  node("XGROUP CREATE s g 0");
  Waiting how{.run = Waiting::Run::look};
  for (const char* line :
       {"BLPOP l 0", "BRPOPLPUSH l to 0", "BLMPOP 0 1 l LEFT", "BZPOPMIN z 0", "BZMPOP 0 1 z MAX",
        "XREAD BLOCK 0 STREAMS s 0", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"}) {
    how.asked = false;
    node.waiting = &how;
    CHECK(node(line) == "");
    CHECK(!how.asked);
    CHECK(!node.wrote);
  }
  node.waiting = nullptr;
  CHECK(node("LLEN l") == ":1");
  CHECK(node("ZCARD z") == ":1");
}

TEST_CASE("waiting: readers of streams") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    node("XADD s 5 f v");
    Waiting how;
    CHECK(may_wait(node, how, "XREAD BLOCK 70 STREAMS s $") == "");
    CHECK(how.ms == 70);
    CHECK(how.args == std::vector<std::string>{"XREAD", "BLOCK", "70", "STREAMS", "s", "5-0"});
    how.args.clear();
    CHECK(may_wait(node, how, "XREAD BLOCK 0 STREAMS none s $ 5") == "");
    CHECK(how.args.at(6) == "0-0");
    CHECK(how.args.at(7) == "5");
    node("XGROUP CREATE s g $");
    how.args.clear();
    CHECK(may_wait(node, how, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >") == "");
    CHECK(how.args.empty());
    CHECK(!node.wrote);
    CHECK(may_wait(node, how, "XREADGROUP GROUP g c BLOCK 0 STREAMS s 0") == "*1 *2 $1 s *0");
    CHECK(may_wait(node, how, "XREADGROUP GROUP no c BLOCK 0 STREAMS s >") ==
          "-NOGROUP No such key 's' or consumer group 'no' in XREADGROUP with GROUP option");
    how.run = Waiting::Run::again;
    node("XADD s 6 f v");
    CHECK(may_wait(node, how, "XREAD BLOCK 0 STREAMS s 5") ==
          "*1 *2 $1 s *1 *2 $3 6-0 *2 $1 f $1 v");
    CHECK(may_wait(node, how, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >") ==
          "*1 *2 $1 s *1 *2 $3 6-0 *2 $1 f $1 v");
    CHECK(may_wait(node, how, "XREADGROUP GROUP no c BLOCK 0 STREAMS s >") ==
          "-NOGROUP the consumer group this client was blocked on no longer exists");
    node("SET s 1");
    CHECK(may_wait(node, how, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >") ==
          "-UNBLOCKED the stream key no longer exists");
    CHECK(may_wait(node, how, "XREAD BLOCK 0 STREAMS s 5") == "");
    node("DEL s");
    CHECK(may_wait(node, how, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >") ==
          "-UNBLOCKED the stream key no longer exists");
  }
}

TEST_CASE("waiting: commands are taken apart by their keys") {
  using Words = std::vector<std::string>;
  CHECK(part("BLPOP a b c 5", {1, 2}) == Words{"BLPOP", "a", "b", "5"});
  CHECK(part("BZPOPMAX a b 0", {2}) == Words{"BZPOPMAX", "b", "0"});
  CHECK(part("BLMPOP 5 3 a b c LEFT COUNT 2", {4, 5}) ==
        Words{"BLMPOP", "5", "2", "b", "c", "LEFT", "COUNT", "2"});
  CHECK(part("XREAD COUNT 1 BLOCK 0 STREAMS a b c 1 2 3", {6, 8}) ==
        Words{"XREAD", "COUNT", "1", "BLOCK", "0", "STREAMS", "a", "c", "1", "3"});
  CHECK(part("XREADGROUP GROUP streams c BLOCK 0 STREAMS a b > >", {8}) ==
        Words{"XREADGROUP", "GROUP", "streams", "c", "BLOCK", "0", "STREAMS", "b", ">"});
  CHECK(part("BLMOVE a b LEFT LEFT 0", {1}).empty());
  CHECK(asks("BLPOP a 0"));
  CHECK(asks("XREAD block 0 STREAMS a 0"));
  CHECK(!asks("XREAD COUNT 1 STREAMS block 0"));
  CHECK(!asks("XREADGROUP GROUP block c STREAMS a 0"));
  CHECK(asks("XREADGROUP GROUP streams c BLOCK 1 STREAMS a 0"));
}
