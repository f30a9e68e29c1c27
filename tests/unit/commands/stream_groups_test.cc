#include "base/hash.h"
#include "fixture.h"
#include "ring/slot.h"

using gyre::test::Node1;

TEST_CASE("streams: groups") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("XGROUP CREATE s g $").starts_with("-ERR The XGROUP subcommand requires the key"));
    CHECK(node("XGROUP CREATE s g $ MKSTREAM") == "+OK");
    CHECK(node("XGROUP CREATE s g $") == "-BUSYGROUP Consumer Group name already exists");
    CHECK(node("XLEN s") == ":0");
    CHECK(node("TYPE s") == "+stream");
    CHECK(node("XGROUP DESTROY s g") == ":1");
    CHECK(node("XGROUP DESTROY s g") == ":0");
    CHECK(node("EXISTS s") == ":1");
    CHECK(node("XGROUP CREATE s g 0 ENTRIESREAD -2") ==
          "-ERR value for ENTRIESREAD must be positive or -1");
    CHECK(node("XGROUP CREATE s g 0 MKSTREAM MKSTREAM MKSTREAM") == "+OK");
    CHECK(node("XGROUP DESTROY s g") == ":1");
    CHECK(node("XGROUP CREATE s g 0 ENTRIESREAD 1 MKSTREAM MKSTREAM")
              .starts_with("-ERR unknown subcommand or wrong number"));
    CHECK(node("XGROUP CREATE s g 0 WHAT").starts_with("-ERR unknown subcommand or wrong number"));
    CHECK(node("XGROUP CREATE s g 0") == "+OK");
    CHECK(node("XGROUP CREATECONSUMER s g a") == ":1");
    CHECK(node("XGROUP CREATECONSUMER s g a") == ":0");
    CHECK(node("XGROUP CREATECONSUMER s none a") ==
          "-NOGROUP No such consumer group 'none' for key name 's'");
    for (int i = 1; i <= 3; ++i) node("XADD s " + std::to_string(i) + " n v");
    node("XREADGROUP GROUP g b COUNT 2 STREAMS s >");
    node.now += 10;
    CHECK(node("XINFO CONSUMERS s g") ==
          "*2 *6 $4 name $1 a $7 pending :0 $4 idle :10 *6 $4 name $1 b $7 pending :2 $4 idle :10");
    CHECK(node("XINFO GROUPS s") ==
          "*1 *12 $4 name $1 g $9 consumers :2 $7 pending :2 $17 last-delivered-id $3 2-0 $12 "
          "entries-read :2 $3 lag :1");
    CHECK(node("XGROUP DELCONSUMER s g b") == ":2");
    CHECK(node("XGROUP DELCONSUMER s g b") == ":0");
    CHECK(node("XPENDING s g") == "*4 :0 $-1 $-1 *-1");
    node("XREADGROUP GROUP g b STREAMS s >");
    CHECK(node("XGROUP DESTROY s g") == ":1");
    CHECK(node("XGROUP CREATE s g 3") == "+OK");
    CHECK(
        node("XINFO GROUPS s")
            .starts_with(
                "*1 *12 $4 name $1 g $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 3-0"));
  }
}

TEST_CASE("streams: how far a group is behind") {
  Node1 node;
  const auto lag = [&node] {
    const std::string info = node("XINFO GROUPS s");
    return info.substr(info.find("entries-read") + 13);
  };
  node("XGROUP CREATE s g $ MKSTREAM");
  CHECK(lag() == "$-1 $3 lag :0");
  for (int i = 1; i <= 5; ++i) node("XADD s " + std::to_string(i) + " n v");
  CHECK(lag() == "$-1 $3 lag :5");
  node("XREADGROUP GROUP g c COUNT 1 STREAMS s >");
  CHECK(lag() == ":1 $3 lag :4");
  node("XDEL s 3");  // a hole ahead: nobody can tell
  CHECK(lag() == ":1 $3 lag $-1");
  node("XREADGROUP GROUP g c COUNT 1 STREAMS s >");
  CHECK(lag() == "$-1 $3 lag $-1");
  node("XREADGROUP GROUP g c STREAMS s >");
  CHECK(lag() == ":5 $3 lag :0");
  node("XTRIM s MAXLEN 0");
  CHECK(lag() == ":5 $3 lag :0");
  // Counters that a client set to the highest stay there.
  node("XSETID s 5 ENTRIESADDED 9223372036854775807");
  node("XGROUP SETID s g 5 ENTRIESREAD 9223372036854775807");
  node("XADD s MAXLEN 0 6 n v");
  node("XADD s 7 n v");
  node("XREADGROUP GROUP g c STREAMS s >");
  CHECK(lag() == ":9223372036854775807 $3 lag :0");
}

// Each side acts for itself for a while; then both have what the other one wrote.
TEST_CASE("streams: two sides of a group meet") {
  Node1 a(true, 8), b(true, 16);
  struct Both : gyre::EffectSink {
    void made(gyre::Slot, std::uint64_t, const gyre::Effect& e, const gyre::ApplyResult&) override {
      gyre::encode_effect(bytes, e);
    }
    void to(Node1& node) {
      gyre::Reader in(bytes);
      gyre::Effect e;
      while (!in.done()) {
        REQUIRE(gyre::decode_effect(in, e));
        REQUIRE(gyre::valid_effect(e));
        node.space.merge(gyre::key_slot(e.key), gyre::key_hash(e.key), e);
      }
      bytes.clear();
    }
    std::string bytes;
  } from_a, from_b;
  a.sink = &from_a;
  b.sink = &from_b;
  const auto meet = [&] {
    from_a.to(b);
    from_b.to(a);
    CHECK(a("XRANGE s - +") == b("XRANGE s - +"));
    CHECK(a("XPENDING s g - + 99") == b("XPENDING s g - + 99"));
    CHECK(a("XINFO GROUPS s") == b("XINFO GROUPS s"));
  };
  for (int i = 1; i <= 6; ++i) a("XADD s " + std::to_string(i) + " n v");
  a("XGROUP CREATE s g 0");
  meet();
  b.now = a.now += 1;
  // Both deliver the same entry; one acknowledges it, the other one's delivery is later and stays.
  a("XREADGROUP GROUP g x COUNT 2 STREAMS s >");
  a("XACK s g 1");
  b.now += 1;
  b("XREADGROUP GROUP g y COUNT 1 STREAMS s >");
  a.now = b.now;
  meet();
  CHECK(a("XPENDING s g") == "*4 :2 $3 1-0 $3 2-0 *2 *2 $1 x $1 1 *2 $1 y $1 1");
  // Destroyed here while the other one delivers: what that wrote shows nowhere, a new group is
  // clean.
  a.now = b.now += 1;
  a("XGROUP DESTROY s g");
  b("XREADGROUP GROUP g late NOACK COUNT 1 STREAMS s >");
  b.now += 1;
  a.now = b.now;
  a("XGROUP CREATE s g 2");
  meet();
  CHECK(a("XPENDING s g") == "*4 :0 $-1 $-1 *-1");
  // Entries of both are there.
  a("XADD s * from a");
  b("XADD s * from b");
  meet();
  CHECK(a("XLEN s") == ":8");
}

TEST_CASE("streams: claims") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    CHECK(node("XCLAIM s g b 0 1") == "-NOGROUP No such key 's' or consumer group 'g'");
    for (int i = 1; i <= 4; ++i) node("XADD s " + std::to_string(i) + " n v");
    node("XGROUP CREATE s g 0");
    node("XREADGROUP GROUP g a COUNT 3 STREAMS s >");
    node.now += 100;
    CHECK(node("XCLAIM s g b 101 1") == "*0");
    CHECK(node("XCLAIM s g b 50 1 4 9") == "*1 *2 $3 1-0 *2 $1 n $1 v");
    CHECK(node("XPENDING s g - + 9 b") == "*1 *4 $3 1-0 $1 b :0 :2");
    CHECK(node("XCLAIM s g b 0 2 IDLE 40 RETRYCOUNT 7 JUSTID") == "*1 $3 2-0");
    CHECK(node("XPENDING s g IDLE 40 - + 9 b") == "*1 *4 $3 2-0 $1 b :40 :7");
    CHECK(node("XCLAIM s g c 0 4 FORCE JUSTID LASTID 4") == "*1 $3 4-0");
    CHECK(node("XINFO GROUPS s").find("last-delivered-id $3 4-0") != std::string::npos);
    CHECK(node("XCLAIM s g c 0 4 NOTHING") == "-ERR Unrecognized XCLAIM option 'NOTHING'");
    CHECK(node("XPENDING s g") == "*4 :4 $3 1-0 $3 4-0 *3 *2 $1 a $1 1 *2 $1 b $1 2 *2 $1 c $1 1");
    // What was removed from the stream leaves the group when it is claimed.
    node("XDEL s 3");
    CHECK(node("XCLAIM s g b 0 3") == "*0");
    CHECK(node("XPENDING s g - + 9 a") == "*0");
    CHECK(node("XPENDING s g x + 9").starts_with("-ERR Invalid stream ID"));
    CHECK(node("XPENDING s none") == "-NOGROUP No such key 's' or consumer group 'none'");
  }
}

TEST_CASE("streams: claims one part after another") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    for (int i = 1; i <= 5; ++i) node("XADD s " + std::to_string(i) + " n v");
    node("XGROUP CREATE s g 0");
    node("XREADGROUP GROUP g a STREAMS s >");
    node("XDEL s 2");
    node.now += 100;
    CHECK(node("XAUTOCLAIM s g b 200 - COUNT 3") == "*3 $3 0-0 *0 *1 $3 2-0");
    CHECK(node("XAUTOCLAIM s g b 50 - COUNT 2 JUSTID") == "*3 $3 4-0 *2 $3 1-0 $3 3-0 *0");
    CHECK(node("XAUTOCLAIM s g b 50 4") ==
          "*3 $3 0-0 *2 *2 $3 4-0 *2 $1 n $1 v *2 $3 5-0 *2 $1 n $1 v *0");
    CHECK(node("XAUTOCLAIM s g b 50 - COUNT 0") == "-ERR COUNT must be > 0");
    CHECK(node("XPENDING s g") == "*4 :4 $3 1-0 $3 5-0 *1 *2 $1 b $1 4");
  }
}
