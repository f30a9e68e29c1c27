#include "fixture.h"

using gyre::test::Node1;

namespace {

// Of entries: "1-0 a 1, 2-0 a 2".
std::string shown(const std::string& range) {
  std::istringstream in(range);
  std::string word, out;
  while (in >> word) {
    if (word[0] == '*' || word[0] == '$') continue;
    if (!out.empty()) out += word.find('-') != std::string::npos ? ", " : " ";
    out += word;
  }
  return out;
}

}  // namespace

TEST_CASE("streams: adding and ranges") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("XADD s NOMKSTREAM 1-1 a 1") == "$-1");
    CHECK(node("XLEN s") == ":0");
    CHECK(node("XADD s 1-1 a 1") == "$3 1-1");
    CHECK(node("XADD s 1-1 a 1") ==
          "-ERR The ID specified in XADD is equal or smaller than the target stream top item");
    CHECK(node("XADD s 0-0 a 1") == "-ERR The ID specified in XADD must be greater than 0-0");
    CHECK(node("XADD s 2 a 1 b") == "-ERR wrong number of arguments for 'xadd' command");
    CHECK(node("XADD s x a 1") == "-ERR Invalid stream ID specified as stream command argument");
    CHECK(node("XADD s 2 a 2 b 3") == "$3 2-0");
    CHECK(node.run({"XRANGE", "s", " 1", "+01-+01"}) == "*1 *2 $3 1-1 *2 $1 a $1 1");
    CHECK(node("XRANGE s + +a") == "-ERR Invalid stream ID specified as stream command argument");
    CHECK(node("XADD s NOMKSTREAM 3 a 3") == "$3 3-0");
    CHECK(node("TYPE s") == "+stream");
    CHECK(node("OBJECT ENCODING s") == "$6 stream");
    CHECK(node("XLEN s") == ":3");
    CHECK(node("XRANGE s - +") ==
          "*3 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-0 *4 $1 a $1 2 $1 b $1 3 *2 $3 3-0 *2 $1 a $1 3");
    CHECK(shown(node("XREVRANGE s + - COUNT 2")) == "3-0 a 3, 2-0 a 2 b 3");
    CHECK(shown(node("XRANGE s (1-1 2")) == "2-0 a 2 b 3");
    CHECK(shown(node("XRANGE s 1-0 (2-0")) == "1-1 a 1");
    CHECK(node("XRANGE s 3-1 +") == "*0");
    CHECK(node("XRANGE s + -") == "*0");
    CHECK(node("XRANGE s - + COUNT 0") == "*-1");
    CHECK(node("XRANGE s - + COUNT x") == "-ERR value is not an integer or out of range");
    CHECK(node("XRANGE s (18446744073709551615-18446744073709551615 +") ==
          "-ERR invalid start ID for the interval");
    CHECK(node("XRANGE s - (0-0") == "-ERR invalid end ID for the interval");
    CHECK(node("XRANGE none - +") == "*0");
    CHECK(node("SET k 1") == "+OK");
    CHECK(node("XADD k 1 a 1").starts_with("-WRONGTYPE"));
  }
}

TEST_CASE("streams: ids that are made up") {
  Node1 node;
  CHECK(node("XADD s * a 1") == "$15 1700000000000-0");
  CHECK(node("XADD s * a 1") == "$15 1700000000000-1");
  node.now += 5;
  CHECK(node("XADD s * a 1") == "$15 1700000000005-0");
  node.now -= 50;  // ids never go back
  CHECK(node("XADD s * a 1") == "$15 1700000000005-1");
  CHECK(node("XADD t 0-* a 1") == "$3 0-1");
  CHECK(node("XADD t 7-* a 1") == "$3 7-0");
  CHECK(node("XADD t 7-* a 1") == "$3 7-1");
  CHECK(node("XADD t 6-* a 1").starts_with("-ERR The ID specified"));
  CHECK(node("XADD t 7-18446744073709551615 a 1") == "$22 7-18446744073709551615");
  CHECK(node("XADD t 7-* a 1").starts_with("-ERR The ID specified"));
  CHECK(node("XADD t 18446744073709551615-18446744073709551615 a 1").starts_with("$41"));
  CHECK(node("XADD t * a 1") ==
        "-ERR The stream has exhausted the last possible ID, unable to add more items");
}

TEST_CASE("streams: two nodes never make up the same id") {
  Node1 a(true, 8), b(true, 16);
  CHECK(a("XADD s * f a") == "$15 1700000000000-8");
  CHECK(b("XADD s * f b") == "$16 1700000000000-16");
  CHECK(a("XADD s * f a") == "$18 1700000000000-4104");
  CHECK(a("XADD s 1700000000000-* f a") == "$18 1700000000000-8200");
  CHECK(b("XADD t 5-* f b") == "$4 5-16");
}

TEST_CASE("streams: trimming") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    for (int i = 1; i <= 10; ++i) node("XADD s " + std::to_string(i) + " n v");
    CHECK(node("XADD s MAXLEN 5 11 n v") == "$4 11-0");
    CHECK(node("XLEN s") == ":5");
    CHECK(shown(node("XRANGE s - + COUNT 1")) == "7-0 n v");
    CHECK(node("XTRIM s MINID 9") == ":2");
    CHECK(node("XTRIM s MAXLEN = 2") == ":1");
    CHECK(shown(node("XRANGE s - +")) == "10-0 n v, 11-0 n v");
    CHECK(node("XTRIM s MAXLEN ~ 1") == ":0");  // not a whole node
    CHECK(node("XADD s MINID 20 12 n v") == "$4 12-0");
    CHECK(node("XLEN s") == ":0");
    CHECK(node("EXISTS s") == ":1");
    CHECK(node("XADD s 12 n v").starts_with("-ERR The ID"));
    CHECK(node("XADD s MAXLEN 0 13 n v") == "$4 13-0");
    CHECK(node("XADD s 13-1 n v") == "$4 13-1");
    CHECK(node("XTRIM s MAXLEN 3 MINID 2") ==
          "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
    CHECK(node("XTRIM s LIMIT 3") ==
          "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
    CHECK(node("XTRIM s MAXLEN 3 LIMIT 1") ==
          "-ERR syntax error, LIMIT cannot be used without the special ~ option");
    CHECK(node("XADD s LIMIT 1 * a b") ==
          "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
    CHECK(node("XTRIM s MAXLEN -1") == "-ERR The MAXLEN argument must be >= 0.");
    CHECK(node("XTRIM s MAXLEN ~ 5 LIMIT -1") == "-ERR The LIMIT argument must be >= 0.");
    CHECK(node("XTRIM none MAXLEN 3") == ":0");
  }
}

TEST_CASE("streams: roughly, whole nodes go") {
  Node1 node;
  node.options.stream_node_max_entries = 10;
  for (int i = 1; i <= 55; ++i) node("XADD s " + std::to_string(i) + " n v");
  CHECK(node("XTRIM s MAXLEN ~ 51") == ":0");
  CHECK(node("XTRIM s MAXLEN ~ 41 LIMIT 5") == ":0");
  CHECK(node("XTRIM s MAXLEN ~ 41") == ":10");
  CHECK(node("XTRIM s MINID ~ 35 LIMIT 10") == ":10");
  CHECK(node("XTRIM s MINID ~ 35") == ":10");
  CHECK(node("XTRIM s MAXLEN ~ 0 LIMIT 0") == ":25");
  CHECK(node("XLEN s") == ":0");
  // Nodes begin where they did at first: five are left of this one.
  for (int i = 1; i <= 30; ++i) node("XADD t " + std::to_string(i) + " n v");
  CHECK(node("XTRIM t MAXLEN 25") == ":5");
  CHECK(node("XTRIM t MAXLEN ~ 19") == ":5");
}

TEST_CASE("streams: removing keeps the last id") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    for (int i = 1; i <= 3; ++i) node("XADD s " + std::to_string(i) + " n v");
    CHECK(node("XDEL s 3 3 9 x") == "-ERR Invalid stream ID specified as stream command argument");
    CHECK(node("XDEL s 3 3 9") == ":1");
    CHECK(node("XDEL s 3") == ":0");
    CHECK(node("XLEN s") == ":2");
    CHECK(node("XADD s 3 n v").starts_with("-ERR The ID"));
    CHECK(node("XSETID s 1") ==
          "-ERR The ID specified in XSETID is smaller than the target stream top item");
    CHECK(node("XSETID s 2") == "+OK");
    CHECK(node("XADD s 3 n v") == "$3 3-0");
    CHECK(node("XDEL s 1 2 3") == ":3");
    CHECK(node("EXISTS s") == ":1");
    CHECK(node("XRANGE s - +") == "*0");
    CHECK(node("XINFO STREAM s").find("$3 0-0 $6 groups") != std::string::npos);
    CHECK(node("XSETID s 9 ENTRIESADDED 7 MAXDELETEDID 8") == "+OK");
    const std::string info = node("XINFO STREAM s");
    CHECK(info.find("last-generated-id $3 9-0") != std::string::npos);
    CHECK(info.find("max-deleted-entry-id $3 8-0 $13 entries-added :7") != std::string::npos);
    CHECK(node("XSETID none 1") == "-ERR no such key");
    CHECK(node("DEL s") == ":1");
    CHECK(node("XDEL s 1") == ":0");
    CHECK(node("EXISTS s") == ":0");
    CHECK(node("XADD s 1 n v") == "$3 1-0");
  }
}

TEST_CASE("streams: copies") {
  Node1 node;
  node("XADD s 1 a 1");
  node("XADD s 2 a 2");
  node("XDEL s 2");
  node("XGROUP CREATE s g 0");
  node("XREADGROUP GROUP g c STREAMS s >");
  CHECK(node("COPY s t") == ":1");
  CHECK(node("XINFO STREAM t FULL") == node("XINFO STREAM s FULL"));
  CHECK(node("RENAME t u") == "+OK");
  CHECK(node("XINFO STREAM u FULL") == node("XINFO STREAM s FULL"));
  node("XADD s 3 a 3");
  CHECK(node("XLEN u") == ":1");
}
