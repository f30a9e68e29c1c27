#include "coordination/waiters.h"

#include <map>
#include <set>

#include <doctest/doctest.h>

#include "../sync/quiet_host.h"
#include "base/hash.h"
#include "commands/table.h"
#include "shard/lookup.h"

using namespace gyre;

namespace {

constexpr NodeIndex self{0}, other{1};
constexpr Slot slot{7};

struct Host final : WaitersHost {
  std::string& to_peer(NodeIndex, bool) override { return sent; }
  std::uint16_t thread_of(NodeIndex, Slot) const override { return 0; }
  bool reachable(NodeIndex) const override { return up; }
  NodeIndex acting_node(Slot) const override { return acting; }
  bool answers_now(const OwnedCommand& command) override {
    return there.contains(std::string(command.args()[1]));
  }
  void wake(std::uint64_t wait) override { woken.push_back(wait); }
  std::vector<std::uint64_t> take_woken() { return std::exchange(woken, {}); }

  // What was sent, as "kind: number ...".
  std::vector<std::string> take_sent() {
    std::string batch;
    put_header(batch, {});
    batch += std::exchange(sent, {});
    std::vector<std::string> told;
    BatchReader in(batch);
    BatchHeader header;
    REQUIRE(in.header(header));
    for (Envelope e; in.next(e);) {
      Woken woke;
      Waits waits;
      const auto add = [&](std::string what, const auto& numbers) {
        if (numbers.empty()) return;
        for (const std::uint64_t n : numbers) what += ' ' + std::to_string(n);
        told.push_back(what);
      };
      if (e.kind == Kind::woken && decode_message(e, woke)) add("woken", woke.waits);
      if (e.kind == Kind::waits && decode_message(e, waits)) {
        add("keep", waits.keep);
        add("drop", waits.drop);
      }
    }
    return told;
  }

  NodeIndex acting = self;
  bool up = true;
  std::set<std::string> there;  // keys that have something
  std::vector<std::uint64_t> woken;
  std::string sent;
};

struct Node1Waiters {
  test::TestClock clock;
  Metrics metrics;
  KeySpace space{{.slots = 16, .databases = 1, .keep_tombstones = true}};
  Host host;
  Waiters waiters{host, self, {0}, space, clock, metrics};

  bool add(NodeIndex node, std::uint64_t wait, std::vector<std::string_view> words) {
    return waiters.add({.node = node, .wait = wait}, slot,
                       OwnedCommand(*lookup_command(Args(words)), {0}, Args(words)), false);
  }
  void push(const std::string& key) {
    host.there.insert(key);
    space.waits().note(KeyWaits::line_of({0}, key_hash(key)));
    waiters.serve_ready();
  }
  void run(std::int64_t ms) {
    for (const SteadyMs end = clock.now + ms; clock.now < end;) {
      clock.now += 100;
      waiters.tick(clock.now);
      waiters.serve_ready();
    }
  }
};

using Numbers = std::vector<std::uint64_t>;
using Told = std::vector<std::string>;

}  // namespace

TEST_CASE("waiters: one element wakes one, first come first served") {
  Node1Waiters n;
  REQUIRE(n.add(self, 1, {"BLPOP", "k", "0"}));
  REQUIRE(n.add(self, 2, {"BLPOP", "k", "0"}));
  n.push("other");
  CHECK(n.host.take_woken().empty());
  n.push("k");
  CHECK(n.host.take_woken() == Numbers{1});
  // A second element: the first client's command is still on its way.
  n.push("k");
  CHECK(n.host.take_woken().empty());
  SUBCASE("it took it, and something is left") {
    n.waiters.drop(self, 1);
    n.waiters.serve_ready();
    CHECK(n.host.take_woken() == Numbers{2});
  }
  SUBCASE("it came for nothing, and keeps its place") {
    n.host.there.clear();
    REQUIRE(n.add(self, 1, {"BLPOP", "k", "0"}));
    n.waiters.serve_ready();
    CHECK(n.host.take_woken().empty());
    n.push("k");
    CHECK(n.host.take_woken() == Numbers{1});
  }
  SUBCASE("it is gone") {
    n.waiters.stop(1);
    n.waiters.serve_ready();
    CHECK(n.host.take_woken() == Numbers{2});
  }
}

TEST_CASE("waiters: who only reads is woken beside others") {
  Node1Waiters n;
  REQUIRE(n.add(self, 1, {"XREAD", "BLOCK", "0", "STREAMS", "k", "$"}));
  REQUIRE(n.add(self, 2, {"XREAD", "BLOCK", "0", "STREAMS", "k", "$"}));
  n.host.there.insert("BLOCK");  // the word that the host looks at
  n.push("k");
  CHECK(n.host.take_woken() == Numbers{1, 2});
}

TEST_CASE("waiters: a client of another node that does not come is passed over") {
  Node1Waiters n;
  REQUIRE(n.add(other, 8, {"BLPOP", "k", "0"}));
  REQUIRE(n.add(self, 9, {"BLPOP", "k", "0"}));
  n.push("k");
  CHECK(n.host.take_sent() == Told{"woken 8"});
  CHECK(n.host.take_woken().empty());
  n.run(700);
  CHECK(n.host.take_woken() == Numbers{9});
  // Heard again, it is offered what comes next.
  n.waiters.drop(self, 9);
  n.waiters.on_waits(other, {.from_shard = 0, .keep = {8, 77}, .drop = {}});
  CHECK(n.host.take_sent() == Told{"woken 77"});  // not known here: it is to come again
  n.push("k");
  CHECK(n.host.take_sent() == Told{"woken 8"});
  // Not told of for long, it is dropped.
  n.run(6000);
  CHECK(n.metrics.blocked_waits.get() == 0);
}

TEST_CASE("waiters: a link that breaks passes its clients over at once") {
  Node1Waiters n;
  REQUIRE(n.add(other, 8, {"BLPOP", "k", "0"}));
  REQUIRE(n.add(self, 9, {"BLPOP", "k", "0"}));
  n.push("k");
  CHECK(n.host.take_sent() == Told{"woken 8"});
  n.waiters.peer_down(other);
  n.waiters.serve_ready();
  CHECK(n.host.take_woken() == Numbers{9});
}

TEST_CASE("waiters: clients that wait elsewhere are told of, and follow who acts") {
  Node1Waiters n;
  n.host.acting = other;
  n.waiters.away(5, other, slot);
  n.run(300);
  CHECK(n.host.take_sent() == Told{"keep 5"});
  n.host.acting = self;
  n.run(200);
  CHECK(n.host.take_woken() == Numbers{5});
  n.run(2000);
  CHECK(n.host.take_sent().empty());

  n.host.acting = other;
  n.waiters.away(6, other, slot);
  n.waiters.stop(6);
  CHECK(n.host.take_sent() == Told{"drop 6"});
  // One that waits here, where another node acts by now.
  n.host.acting = self;
  REQUIRE(n.add(self, 7, {"BLPOP", "k", "0"}));
  n.host.acting = other;
  n.run(200);
  CHECK(n.host.take_woken() == Numbers{7});
  CHECK(n.metrics.blocked_waits.get() == 0);
}
