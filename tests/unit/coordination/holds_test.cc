#include "coordination/holds.h"

#include <algorithm>
#include <map>

#include <doctest/doctest.h>

#include "../sync/quiet_host.h"
#include "base/hash.h"
#include "commands/table.h"
#include "ring/slot.h"
#include "shard/lookup.h"

using namespace gyre;

namespace {

constexpr NodeIndex self{0}, other{1};
constexpr Slot here{7}, there{9};

// Answers each step with what `says` has for its command, and takes down what was asked.
struct Host final : HoldsHost {
  bool acts_for(Slot) const override { return true; }
  NodeIndex acting_node(Slot) const override { return acting; }
  bool reachable(NodeIndex) const override { return up; }
  Level write_level() const override { return {Level::quorum}; }
  void run_at(Request&& r, std::function<void(std::string&&)> done) override {
    const std::string name(r.commands.front().spec().name);
    asked.push_back(name + " " + std::to_string(r.slot.value));
    done(std::string(says.contains(name) ? says.at(name) : "-ERR\r\n"));
  }
  void deliver_error(const Ticket&, const Error&) override { ++refused; }
  std::vector<std::string> take_asked() { return std::exchange(asked, {}); }

  NodeIndex acting = self;
  bool up = true;
  std::map<std::string, std::string> says;
  std::vector<std::string> asked;
  int refused = 0;
};

struct Node1Holds {
  test::TestClock clock;
  Metrics metrics;
  KeySpace space{{.slots = 16, .databases = 1, .keep_tombstones = true}};
  Host host;
  Holds holds{host, self, space, clock, metrics};

  static OwnedCommand command(std::vector<std::string_view> words) {
    return OwnedCommand(*lookup_command(Args(words)), prepared_db, Args(words));
  }
  Holds::Passage passage(std::vector<std::string_view> words) const {
    return holds.passage(here, *lookup_command(Args(words)), Args(words));
  }
  void wait(std::vector<std::string_view> words) {
    Request r;
    r.slot = here;
    r.commands.push_back(command(std::move(words)));
    holds.wait(here, std::move(r));
  }
  void write(std::string_view transaction, std::string_view field, std::string_view value) {
    const std::string key = part_key(here, transaction);
    Effect e;
    e.db = prepared_db;
    e.key = key;
    e.type = TypeId::hash;
    e.version = space.clock().stamp(clock.wall_ms());
    e.changes.push_back({.id = field, .version = e.version, .payload = value});
    space.merge(here, key_hash(key), e);
    holds.notice();
  }
  void prepare(std::string_view transaction) {
    write(transaction, part_field::prepared, encode_part({.slots = {here, there}, .effects = ""}));
  }
  void commit(std::string_view transaction) {
    write(transaction, part_field::committed, encode_part({.slots = {here, there}, .effects = ""}));
  }
  void run(std::int64_t ms) {
    for (const SteadyMs end = clock.now + ms; clock.now < end;) {
      clock.now += 100;
      holds.tick(clock.now);
    }
  }
};

using Passage = Holds::Passage;
using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("holds: a slot has one transaction at a time, and others wait") {
  Node1Holds n;
  const std::string a = part_key(here, "a"), b = part_key(here, "b");
  CHECK_FALSE(n.holds.busy(here));
  REQUIRE(n.holds.take(here, "a", other));
  CHECK(n.holds.take(here, "a", other));
  CHECK_FALSE(n.holds.take(here, "b", other));
  CHECK(n.holds.held_by(here, "a"));
  CHECK_FALSE(n.holds.held(there));
  CHECK(n.passage({"GET", "k"}) == Passage::waits);
  CHECK(n.passage({"GYRE.HOLD", a, "now", ""}) == Passage::free);
  CHECK(n.passage({"GYRE.HOLD", b, "now", ""}) == Passage::refused);
  CHECK(n.passage({"GYRE.HOLD", b, "wait", ""}) == Passage::waits);
  CHECK(n.passage({"GYRE.DROP", b}) == Passage::free);

  n.wait({"SET", "k", "1"});
  n.wait({"SET", "k", "2"});
  CHECK(n.holds.take_waiting(here).empty());  // it is held
  n.holds.end(here, "b");
  CHECK(n.holds.take_released().empty());
  n.holds.end(here, "a");
  CHECK(n.holds.take_released() == std::vector<Slot>{here});
  // The first of them asks other replicas: the second stays behind it, and before who comes later.
  auto waiting = n.holds.take_waiting(here);
  REQUIRE(waiting.size() == 2);
  n.holds.gather_begins(here);
  n.wait({"SET", "k", "3"});
  waiting.pop_front();
  n.holds.wait_behind(here, std::move(waiting));
  CHECK(n.holds.take_waiting(here).empty());
  n.holds.gather_ended(here);
  CHECK(n.holds.take_waiting(here).size() == 2);
  CHECK_FALSE(n.holds.busy(here));
}

TEST_CASE("holds: what has prepared nothing ends with its lease, its node, or who acts") {
  Node1Holds n;
  REQUIRE(n.holds.take(here, "a", self));
  n.run(1900);
  CHECK(n.holds.held_by(here, "a"));
  n.run(200);
  CHECK_FALSE(n.holds.held(here));
  CHECK(n.holds.take_released().size() == 1);

  REQUIRE(n.holds.take(here, "a", other));
  n.host.up = false;
  n.run(100);
  CHECK_FALSE(n.holds.held(here));

  REQUIRE(n.holds.take(here, "a", self));
  n.holds.lose(here);
  CHECK_FALSE(n.holds.held(here));
  CHECK(n.metrics.holds_lost.get() == 3);
}

TEST_CASE("holds: a prepared part stays until all parts are known") {
  Node1Holds n;
  REQUIRE(n.holds.take(here, "a", other));
  CHECK(n.holds.settled(here));
  n.prepare("a");
  CHECK_FALSE(n.holds.settled(here));  // T stays below it
  n.holds.lose(here);
  n.host.up = false;
  n.wait({"SET", "k", "1"});

  // One of the others cannot be asked.
  n.run(100);
  CHECK(n.host.take_asked() == Words{"GYRE.ASK 7", "GYRE.ASK 9"});
  CHECK(n.holds.held_by(here, "a"));
  n.run(2100);
  CHECK(n.host.refused == 1);  // who waited was told
  CHECK(n.holds.held_by(here, "a"));

  SUBCASE("all prepared") {
    n.host.says = {{"GYRE.ASK", "$1\r\n5\r\n"}, {"GYRE.SETTLE", "+P\r\n"}};
    n.host.asked.clear();
    n.run(300);
    CHECK(n.host.asked.back() == "GYRE.COMMIT 7");
    n.commit("a");
  }
  SUBCASE("one never will be") {
    n.host.says = {{"GYRE.ASK", "$1\r\n5\r\n"}, {"GYRE.SETTLE", "+N\r\n"}};
    n.host.asked.clear();
    n.run(300);
    CHECK(n.host.asked.back() == "GYRE.DROP 7");
    n.write("a", part_field::dropped, "");
  }
  SUBCASE("another node acts: it settles, not this one") {
    n.host.acting = other;
    n.host.asked.clear();
    n.run(1000);
    CHECK(n.host.asked.empty());
    n.write("a", part_field::dropped, "");
  }
  CHECK_FALSE(n.holds.held(here));
  CHECK(n.holds.prepared(here).empty());
  CHECK(n.holds.settled(here));
  CHECK(n.holds.take_released() == std::vector<Slot>{here});
}

// Simulator, seed 324.
TEST_CASE("holds: who learns that a part is committed has what it wrote") {
  Node1Holds n;
  Effect e;
  e.key = "k";
  e.type = TypeId::string;
  e.version = n.space.clock().stamp(n.clock.wall_ms());
  e.changes.push_back({.id = {}, .version = e.version, .payload = "1"});
  std::string effects;
  encode_effect(effects, e);
  const auto there_is = [&] { return n.space.find(here, {0}, "k", key_hash("k")) != nullptr; };
  n.write("a", part_field::prepared, encode_part({.slots = {here, there}, .effects = effects}));
  n.write("b", part_field::prepared, encode_part({.slots = {here, there}, .effects = effects}));
  n.write("b", part_field::dropped, "");
  CHECK_FALSE(there_is());
  n.commit("a");
  CHECK(there_is());
}

TEST_CASE("holds: parts that a replica holds are adopted one after the other") {
  Node1Holds n;
  n.prepare("a");
  n.prepare("b");
  CHECK(n.holds.prepared(here).size() == 2);
  n.holds.begin_acting(here);
  CHECK(n.holds.held_by(here, "a"));
  n.write("a", part_field::dropped, "");
  CHECK(n.holds.held_by(here, "b"));
  n.commit("b");
  CHECK_FALSE(n.holds.held(here));
}

TEST_CASE("holds: what transactions have left is swept") {
  Node1Holds n;
  n.prepare("a");
  n.commit("a");
  n.prepare("b");
  n.write("b", part_field::dropped, "");
  n.run(Holds::told_ms);  // who coordinates may still ask
  CHECK(n.host.take_asked().empty());
  // Committed at every slot again before it is forgotten: one of them may not have heard.
  n.run(4000);
  CHECK(n.host.take_asked() == Words{"GYRE.COMMIT 7", "GYRE.COMMIT 9"});
  n.host.says = {{"GYRE.COMMIT", "+OK\r\n"}};
  n.run(2000);
  CHECK(n.host.take_asked() == Words{"GYRE.COMMIT 7", "GYRE.COMMIT 9", "GYRE.FORGET 7"});
  n.host.says.clear();
  n.run(22'000);
  CHECK(std::count(n.host.asked.begin(), n.host.asked.end(), "GYRE.FORGET 7") > 0);
}
