#include "fixture.h"

using gyre::test::Node1;

TEST_CASE("streams: XREAD") {
  Node1 node;
  for (int i = 1; i <= 3; ++i) node("XADD s " + std::to_string(i) + " n v");
  node("XADD t 7 n v");
  CHECK(node("XREAD STREAMS s 2") == "*1 *2 $1 s *1 *2 $3 3-0 *2 $1 n $1 v");
  CHECK(node("XREAD COUNT 1 STREAMS s t 0 0") ==
        "*2 *2 $1 s *1 *2 $3 1-0 *2 $1 n $1 v *2 $1 t *1 *2 $3 7-0 *2 $1 n $1 v");
  CHECK(node("XREAD STREAMS s t 3 0").starts_with("*1 *2 $1 t"));
  CHECK(node("XREAD STREAMS s none 3 0") == "*-1");
  CHECK(node("XREAD STREAMS s $") == "*-1");
  CHECK(node.run({"XREAD", "STREAMS", "s", "2"}, 3) == "%1 $1 s *1 *2 $3 3-0 *2 $1 n $1 v");
  CHECK(node("XREAD STREAMS s t 0").starts_with("-ERR Unbalanced XREAD list of streams"));
  CHECK(node("XREAD COUNT x STREAMS s 0") == "-ERR value is not an integer or out of range");
  CHECK(node("XREAD STREAMS s >").starts_with("-ERR The > ID can be specified only"));
  CHECK(node("XREAD GROUP g c STREAMS s 0").starts_with("-ERR The GROUP option is only"));
  CHECK(node("XREAD NOACK STREAMS s 0").starts_with("-ERR The NOACK option is only"));
  CHECK(node("XREAD BLOCK 5 STREAMS s 0").starts_with("*1"));
  CHECK(node("XREAD BLOCK 5 STREAMS s $") == "*-1");  // nobody here may wait
  CHECK(node("XREAD BLOCK -5 STREAMS s $") == "-ERR timeout is negative");
}

TEST_CASE("streams: a reader that names a stream twice is given each entry once") {
  Node1 node;
  for (int i = 1; i <= 3; ++i) node("XADD s " + std::to_string(i) + " n v");
  CHECK(node("XGROUP CREATE s g 0") == "+OK");
  CHECK(node("XREADGROUP GROUP g a COUNT 2 STREAMS s s s > > >") ==
        "*2 *2 $1 s *2 *2 $3 1-0 *2 $1 n $1 v *2 $3 2-0 *2 $1 n $1 v"
        " *2 $1 s *1 *2 $3 3-0 *2 $1 n $1 v");
  CHECK(node("XREADGROUP GROUP g a STREAMS s s > >") == "*-1");
  CHECK(node("XREADGROUP GROUP g a STREAMS s s 2 2").starts_with("*2"));
  CHECK(node("XPENDING s g 3 3 1") == "*1 *4 $3 3-0 $1 a :0 :3");
  CHECK(node("XADD s 4 n v") == "$3 4-0");
  CHECK(node("XREADGROUP GROUP g a STREAMS s s > >") == "*1 *2 $1 s *1 *2 $3 4-0 *2 $1 n $1 v");
}

TEST_CASE("streams: a group is given each entry once") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    for (int i = 1; i <= 4; ++i) node("XADD s " + std::to_string(i) + " n v");
    CHECK(node("XREADGROUP GROUP g a STREAMS s >") ==
          "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option");
    CHECK(node("XGROUP CREATE s g 1") == "+OK");
    CHECK(node("XREADGROUP GROUP g a COUNT 1 STREAMS s >") ==
          "*1 *2 $1 s *1 *2 $3 2-0 *2 $1 n $1 v");
    CHECK(node("XREADGROUP GROUP g b COUNT 1 STREAMS s >") ==
          "*1 *2 $1 s *1 *2 $3 3-0 *2 $1 n $1 v");
    CHECK(node("XREADGROUP GROUP g b NOACK STREAMS s >") == "*1 *2 $1 s *1 *2 $3 4-0 *2 $1 n $1 v");
    CHECK(node("XREADGROUP GROUP g b STREAMS s >") == "*-1");
    CHECK(node("XPENDING s g") == "*4 :2 $3 2-0 $3 3-0 *2 *2 $1 a $1 1 *2 $1 b $1 1");
    // A consumer's history is its own, and shows what was removed meanwhile.
    CHECK(node("XDEL s 3") == ":1");
    CHECK(node("XREADGROUP GROUP g b STREAMS s 0") == "*1 *2 $1 s *1 *2 $3 3-0 *-1");
    node.now += 7;
    CHECK(node("XREADGROUP GROUP g a STREAMS s 0") == "*1 *2 $1 s *1 *2 $3 2-0 *2 $1 n $1 v");
    CHECK(node("XPENDING s g - + 9") == "*2 *4 $3 2-0 $1 a :0 :2 *4 $3 3-0 $1 b :7 :1");
    CHECK(node("XREADGROUP GROUP g new STREAMS s 0") == "*1 *2 $1 s *0");
    CHECK(node("XACK s g 3 3 9") == ":1");
    CHECK(node("XACK s g 3") == ":0");
    CHECK(node("XACK s g 1-x").starts_with("-ERR Invalid stream ID"));
    CHECK(node("XACK s none 2") == ":0");
    CHECK(node("XPENDING s g") == "*4 :1 $3 2-0 $3 2-0 *1 *2 $1 a $1 1");
    // Going back: the entry is delivered again, to another one.
    CHECK(node("XGROUP SETID s g 1") == "+OK");
    CHECK(node("XREADGROUP GROUP g b COUNT 1 STREAMS s >").starts_with("*1 *2 $1 s *1 *2 $3 2-0"));
    CHECK(node("XPENDING s g - + 9") == "*1 *4 $3 2-0 $1 b :0 :1");
  }
}
