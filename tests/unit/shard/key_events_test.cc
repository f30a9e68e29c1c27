// Keyspace notifications: which commands tell what, with and without replicas.

#include "shard/key_events.h"

#include <string>
#include <vector>

#include "../commands/fixture.h"

namespace gyre::test {
namespace {

class Ear : public Publisher {
 public:
  std::uint64_t publish(ChannelKind, std::string_view channel, std::string_view message) override {
    if (!heard.empty()) heard += ' ';
    heard.append(channel).append("=").append(message);
    return 0;
  }
  std::string heard;
};

// Runs a line and tells its events as "name key"; those of other lines run before it are dropped.
struct Telling {
  explicit Telling(bool replicas, std::string_view letters = "EAn") : node(replicas) {
    node.options.notify = event_classes(letters);
    node.publisher = &ear;
  }
  std::string operator()(const std::string& line) {
    ear.heard.clear();
    node(line);
    std::string out = ear.heard;
    for (std::size_t at; (at = out.find("__keyevent@0__:")) != std::string::npos;)
      out.erase(at, 15);
    return out;
  }
  Ear ear;
  Node1 node;
};

TEST_CASE("key events: letters") {
  CHECK(event_classes("") == 0);
  CHECK(event_classes("A") == 0);  // no channel is told
  CHECK(event_classes("Kg") == (event::to_keyspace | event::generic));
  CHECK((event_classes("KEA") & event::miss) == 0);
  CHECK((event_classes("KEA") & event::created) == 0);
  CHECK((event_classes("EAm") & event::miss) != 0);
}

TEST_CASE("key events: RESTORE of every type") {
  for (const bool replicas : {false, true}) {
    Telling tell(replicas);
    for (const std::string make :
         {"SET k v", "RPUSH k v", "SADD k v", "HSET k f v", "ZADD k 1 v", "XADD k 1-1 f v"}) {
      CAPTURE(make);
      tell.node("DEL k");
      tell.node(make);
      const std::string payload = tell.node.payload_of("k");
      tell.ear.heard.clear();
      CHECK(tell.node.run({"RESTORE", "copy", "0", payload, "REPLACE"}) == "+OK");
      CHECK(tell.ear.heard.find("__keyevent@0__:restore=copy") != std::string::npos);
      tell.node("DEL copy");
    }
  }
}

TEST_CASE("key events: both channels, and none that were not asked for") {
  Telling tell(false, "KE$");
  CHECK(tell("SET a 1") == "__keyspace@0__:a=set set=a");
  CHECK(tell("DEL a").empty());
  tell.node.options.notify = event_classes("Km");
  CHECK(tell("GET nokey") == "__keyspace@0__:nokey=keymiss");
  CHECK(tell("OBJECT ENCODING nokey").empty());
  CHECK(tell("SET nokey 1").empty());
  CHECK(tell("GET nokey").empty());
  tell.node.options.notify = 0;
  CHECK(tell("SET a 1").empty());
}

TEST_CASE("key events: what commands tell") {
  for (const bool replicas : {false, true}) {
    CAPTURE(replicas);
    Telling tell(replicas);
    CHECK(tell("SET a 1") == "new=a set=a");
    CHECK(tell("SET a 1 EX 10") == "set=a expire=a");
    CHECK(tell("GETEX a PERSIST") == "persist=a");
    CHECK(tell("SETEX a 10 1") == "set=a expire=a");
    CHECK(tell("APPEND a 1") == "append=a");
    CHECK(tell("SETRANGE a 0 1") == "setrange=a");
    CHECK(tell("INCR a") == "incrby=a");
    CHECK(tell("INCRBYFLOAT a 1") == "incrbyfloat=a");
    CHECK(tell("SETBIT a 1 1") == "setbit=a");
    CHECK(tell("MSET b 1 a 2 b 3") == "new=b set=b set=a set=b");
    CHECK(tell("SETNX a 1").empty());
    CHECK(tell("EXPIRE a 100") == "expire=a");
    CHECK(tell("PERSIST a") == "persist=a");
    CHECK(tell("PERSIST a").empty());
    CHECK(tell("EXPIRE a -1") == "del=a");
    CHECK(tell("DEL a b") == "del=b");
    CHECK(tell("DEL a b").empty());
    CHECK(tell("GETDEL a").empty());

    CHECK(tell("HSET h f 1 g 2") == "new=h hset=h");
    CHECK(tell("HINCRBY h f 1") == "hincrby=h");
    CHECK(tell("HDEL h x").empty());
    CHECK(tell("HDEL h f g") == "hdel=h del=h");

    CHECK(tell("RPUSH l 1 2 3") == "new=l rpush=l");
    CHECK(tell("LPOP l") == "lpop=l");
    CHECK(tell("LSET l 0 x") == "lset=l");
    CHECK(tell("LINSERT l BEFORE x y") == "linsert=l");
    CHECK(tell("LTRIM l 0 1") == "ltrim=l");
    CHECK(tell("LREM l 0 x") == "lrem=l");
    CHECK(tell("LMOVE l k LEFT RIGHT") == "new=k rpush=k lpop=l del=l");
    CHECK(tell("LMOVE k k LEFT RIGHT") == "rpush=k lpop=k");
    CHECK(tell("RPOP k 5") == "rpop=k del=k");

    CHECK(tell("SADD s a b c") == "new=s sadd=s");
    CHECK(tell("SADD s a").empty());
    CHECK(tell("SREM s x").empty());
    CHECK(tell("SMOVE s t a") == "srem=s new=t sadd=t");
    CHECK(tell("SINTERSTORE u s t").empty());
    CHECK(tell("SUNIONSTORE u s t") == "new=u sunionstore=u");
    CHECK(tell("SINTERSTORE u s t") == "del=u");
    CHECK(tell("SPOP s 9") == "spop=s del=s");

    CHECK(tell("ZADD z 1 a 2 b 3 c") == "new=z zadd=z");
    CHECK(tell("ZADD z 1 a").empty());
    CHECK(tell("ZINCRBY z 1 a") == "zincr=z");
    CHECK(tell("ZREM z x").empty());
    CHECK(tell("ZPOPMIN z") == "zpopmin=z");
    CHECK(tell("ZRANGESTORE y z 0 -1") == "new=y zrangestore=y");
    CHECK(tell("ZREMRANGEBYRANK y 0 -1") == "zremrangebyrank=y del=y");
    CHECK(tell("ZUNIONSTORE y 1 z") == "new=y zunionstore=y");

    CHECK(tell("RENAME z w") == "new=w rename_from=z rename_to=w");
    CHECK(tell("COPY w z") == "new=z copy_to=z");
    CHECK(tell("SORT w BY nosort STORE l") == "new=l sortstore=l");
    CHECK(tell("PFADD p a") == "new=p pfadd=p");
    CHECK(tell("PFADD p a").empty());

    CHECK(tell("XADD x 1-1 f v") == "new=x xadd=x");
    CHECK(tell("XADD x MAXLEN 1 2-1 f v") == "xadd=x xtrim=x");
    CHECK(tell("XGROUP CREATE x g 0") == "xgroup-create=x");
    CHECK(tell("XREADGROUP GROUP g c STREAMS x >") == "xgroup-createconsumer=x");
    CHECK(tell("XREADGROUP GROUP g c STREAMS x >").empty());
    CHECK(tell("XGROUP DELCONSUMER x g d").empty());
    CHECK(tell("XGROUP DELCONSUMER x g c") == "xgroup-delconsumer=x");
    CHECK(tell("XDEL x 9-9").empty());
    CHECK(tell("XDEL x 2-1") == "xdel=x");
    CHECK(tell("XSETID x 5-5") == "xsetid=x");
    CHECK(tell("XGROUP DESTROY x g") == "xgroup-destroy=x");
  }
}

TEST_CASE("key events: an expired key is told once, by the queue or by who writes it anew") {
  for (const bool replicas : {false, true}) {
    CAPTURE(replicas);
    Telling tell(replicas);
    tell("SET a 1 PX 10");
    tell.node.now += 20;
    CHECK(tell("SET a 2") == "expired=a new=a set=a");
    tell("SET a 1 PX 10");
    tell.node.now += 20;
    int told = 0;
    tell.node.space.expire_due(tell.node.now, 100,
                               [&](Slot, DbIndex, std::string_view) { ++told; });
    CHECK(told == 1);
    CHECK(tell("SET a 2") == "new=a set=a");
  }
}

TEST_CASE("PUBLISH: answers what the publisher says; without one, nobody listens") {
  class Three : public Publisher {
   public:
    std::uint64_t publish(ChannelKind kind, std::string_view, std::string_view) override {
      return kind == ChannelKind::shard ? 4 : 3;
    }
  };
  Three three;
  Node1 node;
  CHECK(node("PUBLISH c m") == ":0");
  node.publisher = &three;
  CHECK(node("PUBLISH c m") == ":3");
  CHECK(node("SPUBLISH c m") == ":4");
}

}  // namespace
}  // namespace gyre::test
