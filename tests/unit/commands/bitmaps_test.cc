#include "fixture.h"

using gyre::test::Node1;

TEST_CASE("bitmaps: single bits") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("SETBIT b 7 1") == ":0");
    CHECK(node("SETBIT b 7 0") == ":1");
    CHECK(node.wrote);
    CHECK(node("SETBIT b 7 0") == ":0");  // as it is
    CHECK_FALSE(node.wrote);
    CHECK(node("SETBIT b 16 1") == ":0");
    CHECK(node("STRLEN b") == ":3");
    CHECK(node("GETBIT b 16") == ":1");
    CHECK(node("GETBIT b 10000") == ":0");
    CHECK(node("SETBIT b -1 1") == "-ERR bit offset is not an integer or out of range");
    CHECK(node("SETBIT b 1 2") == "-ERR bit is not an integer or out of range");
  }
}

TEST_CASE("bitmaps: counting") {
  Node1 node(false);
  CHECK(node("SET s foobar") == "+OK");
  CHECK(node("BITCOUNT s") == ":26");
  CHECK(node("BITCOUNT s 0 0") == ":4");
  CHECK(node("BITCOUNT s 1 1 BYTE") == ":6");
  CHECK(node("BITCOUNT s 5 30 BIT") == ":17");
  CHECK(node("BITCOUNT s -2 -1") == ":7");
  CHECK(node("BITCOUNT s 3 1") == ":0");
  CHECK(node("BITCOUNT s -1 -2") == ":0");
  CHECK(node("BITCOUNT nothing") == ":0");
  CHECK(node("BITCOUNT s 1") == "-ERR syntax error");
  CHECK(node("BITCOUNT s 0 1 WORD") == "-ERR syntax error");
  CHECK(node("INCR n") == ":1");  // a counter's text, on a ring kept as a sum
  CHECK(node("BITCOUNT n") == ":3");
  CHECK(node("RPUSH l x") == ":1");
  CHECK(node("BITCOUNT l").starts_with("-WRONGTYPE"));
}

TEST_CASE("bitmaps: searching") {
  Node1 node(false);
  CHECK(node("BITPOS nothing 0") == ":0");
  CHECK(node("BITPOS nothing 1") == ":-1");
  CHECK(node("SETBIT b 19 1") == ":0");
  CHECK(node("BITPOS b 1") == ":19");
  CHECK(node("BITPOS b 0") == ":0");
  CHECK(node("BITPOS b 1 0 1") == ":-1");
  CHECK(node("BITPOS b 1 19 -1 BIT") == ":19");
  CHECK(node("BITPOS b 1 20 -1 BIT") == ":-1");
  for (int i = 0; i < 16; ++i) node("SETBIT full " + std::to_string(i) + " 1");
  CHECK(node("BITPOS full 0") == ":16");
  CHECK(node("BITPOS full 0 1") == ":16");
  CHECK(node("BITPOS full 0 0 -1") == ":-1");
  CHECK(node("BITPOS full 0 5") == ":-1");
  CHECK(node("BITPOS full 1 -8 -9") == ":0");  // cut to the value first, unlike BITCOUNT
  CHECK(node("BITCOUNT full -8 -9") == ":0");
  CHECK(node("BITPOS full 2") == "-ERR The bit argument must be 1 or 0.");
  CHECK(node("BITPOS full 1 7 x 0") == "-ERR syntax error");
  CHECK(node("BITPOS full 1 x x 0") == "-ERR value is not an integer or out of range");
}

TEST_CASE("bitmaps: combining") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("SET {t}a abc") == "+OK");
    CHECK(node("SET {t}b ab") == "+OK");
    CHECK(node("BITOP AND {t}d {t}a {t}b") == ":3");
    CHECK(node("BITCOUNT {t}d") == ":6");
    CHECK(node("GETRANGE {t}d 0 1") == "$2 ab");
    CHECK(node("BITOP OR {t}d {t}a {t}b {t}none") == ":3");
    CHECK(node("GET {t}d") == "$3 abc");
    CHECK(node("BITOP XOR {t}d {t}a {t}a") == ":3");
    CHECK(node("BITCOUNT {t}d") == ":0");
    CHECK(node("BITOP NOT {t}d {t}a") == ":3");
    CHECK(node("BITOP NOT {t}d {t}d") == ":3");
    CHECK(node("GET {t}d") == "$3 abc");
    CHECK(node("RPUSH {t}l x") == ":1");
    CHECK(node("BITOP NOT {t}l {t}a") == ":3");  // the destination may be of any type
    CHECK(node("BITOP AND {t}l {t}none") == ":0");
    CHECK(node("EXISTS {t}l") == ":0");
    CHECK(node("BITOP NOT {t}d {t}a {t}b") ==
          "-ERR BITOP NOT must be called with a single source key.");
    CHECK(node("BITOP NAND {t}d {t}a") == "-ERR syntax error");
  }
}

TEST_CASE("bitmaps: fields of integers") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("BITFIELD f GET u8 0") == "*1 :0");
    CHECK(node("EXISTS f") == ":0");
    CHECK(node("BITFIELD g OVERFLOW FAIL SET u8 8 256") == "*1 $-1");
    CHECK(node("STRLEN g") == ":2");
    CHECK(node("BITFIELD f SET u8 0 255 GET u8 0 GET i8 0") == "*3 :0 :255 :-1");
    CHECK_FALSE((node("BITFIELD f SET u8 0 255"), node.wrote));
    CHECK((node("BITFIELD f INCRBY u8 0 0"), node.wrote));
    CHECK(node("BITFIELD f INCRBY u8 0 1") == "*1 :0");
    CHECK(node("BITFIELD f OVERFLOW SAT INCRBY u8 #1 300 INCRBY i8 #2 -300") == "*2 :255 :-128");
    CHECK(node("BITFIELD f OVERFLOW FAIL INCRBY u8 #1 1 OVERFLOW WRAP INCRBY i8 #2 -1") ==
          "*2 $-1 :127");
    CHECK(node("STRLEN f") == ":3");
    CHECK(node("BITFIELD f SET i64 3 -2 GET i64 3 GET u63 4") ==
          "*3 :575326056303558656 :-2 :9223372036854775806");
    CHECK(node("BITFIELD f OVERFLOW SAT INCRBY i64 3 -9223372036854775808") ==
          "*1 :-9223372036854775808");
    CHECK(node("BITFIELD f OVERFLOW SAT SET u4 0 -1 GET u4 0") == "*2 :1 :15");
    CHECK(node("BITFIELD_RO f GET u4 0") == "*1 :15");
    CHECK(node("BITFIELD_RO f SET u4 0 1") == "-ERR BITFIELD_RO only supports the GET subcommand");
    CHECK(node("BITFIELD f GET u64 0").starts_with("-ERR Invalid bitfield type"));
    CHECK(node("BITFIELD f GET i65 0").starts_with("-ERR Invalid bitfield type"));
    CHECK(node("BITFIELD f GET u8 -1") == "-ERR bit offset is not an integer or out of range");
    CHECK(node("BITFIELD f GET u8 #99999999999999999") ==
          "-ERR bit offset is not an integer or out of range");
    CHECK(node("BITFIELD f OVERFLOW MAYBE GET u8 0") == "-ERR Invalid OVERFLOW type specified");
    CHECK(node("BITFIELD f SET u8 0") == "-ERR syntax error");
  }
}
