#include "membership/identity.h"

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace gyre {
namespace {

// Nodes that pass identity messages to each other at once, in virtual time.
struct Town {
  struct House {
    MemoryFiles files;
    std::unique_ptr<Identity> identity;
    bool away = false;
    std::int64_t clock_offset = 0;
  };
  struct Letter {
    NodeIndex from, to;
    Kind kind;
    std::string body;
  };
  std::deque<House> houses;
  std::deque<Letter> letters;
  SteadyMs now = 5'000'000;

  explicit Town(std::size_t nodes) : houses(nodes) {
    for (std::uint16_t i = 0; i < nodes; ++i) REQUIRE(start(i));
  }
  Result<void> start(std::uint16_t i, bool keeps = true, std::uint16_t index_shift = 0) {
    House& h = houses[i];
    h.identity = std::make_unique<Identity>();
    h.away = false;
    for (auto& other : houses) {
      if (other.identity) other.identity->peer_up({i});
    }
    return h.identity->open({.name = "n" + std::to_string(i),
                             .cluster = "town",
                             .self = {i},
                             .index = static_cast<std::uint16_t>(i + index_shift),
                             .nodes = houses.size(),
                             .boot_id = "boot"},
                            keeps ? &h.files : nullptr);
  }
  void wipe(std::uint16_t i) {
    houses[i].files.wipe();
    REQUIRE(start(i));
  }
  Identity::Send send_of(std::uint16_t from) {
    return [this, from](NodeIndex to, std::uint16_t shard, const IdentityMessage& m) {
      std::visit(
          [&](const auto& message) {
            std::string bytes;
            put_message(bytes, shard, message);
            Reader in(bytes);
            const Kind kind{in.u8()};
            in.varint();
            letters.push_back({{from}, to, kind, std::string(in.bytes())});
          },
          m);
    };
  }
  void run(std::int64_t ms) {
    for (const SteadyMs end = now + ms; now < end; now += 20) {
      for (std::uint16_t i = 0; i < houses.size(); ++i) {
        if (!houses[i].away) houses[i].identity->step(now, send_of(i));
      }
      while (!letters.empty()) {
        const Letter l = letters.front();
        letters.pop_front();
        House& to = houses[l.to.value];
        if (to.away || houses[l.from.value].away) continue;
        to.identity->on_message(l.from, {l.kind, 0, l.body}, now, now + to.clock_offset,
                                send_of(l.to.value));
      }
    }
  }
  Identity& of(std::size_t i) { return *houses[i].identity; }
};

TEST_CASE("a ring that starts settles on incarnation 0, and keeps it over restarts") {
  Town town(3);
  town.run(1000);
  for (std::uint16_t i = 0; i < 3; ++i) {
    CHECK(town.of(i).settled());
    CHECK(town.of(i).incarnation() == 0);
    CHECK(town.of(i).clock_node() == i * 8);
  }
  REQUIRE(town.start(1));
  CHECK(town.of(1).settled());
  CHECK(town.of(1).same_boot());
  CHECK(town.of(1).generation() == 0);
}

TEST_CASE("a wiped node takes the next incarnation, whichever clocks the others have") {
  Town town(3);
  town.run(1000);
  town.houses[0].clock_offset = 86'400'000;
  for (std::uint64_t g = 1; g <= 3; ++g) {
    town.wipe(1);
    CHECK_FALSE(town.of(1).settled());
    town.run(1000);
    REQUIRE(town.of(1).settled());
    CHECK(town.of(1).generation() == g);
    town.houses[0].clock_offset = -86'400'000;
  }
}

TEST_CASE("without files every start is that of a wiped node") {
  Town town(3);
  REQUIRE(town.start(2, false));
  town.run(1000);
  CHECK(town.of(2).generation() == 0);
  REQUIRE(town.start(2, false));
  town.run(1000);
  CHECK(town.of(2).generation() == 1);
}

TEST_CASE("an incarnation is taken again a minute after its last use, not before") {
  Town town(3);
  town.run(1000);
  const SteadyMs began = town.now;
  for (std::uint64_t g = 1; g <= 7; ++g) {
    town.wipe(0);
    town.run(1000);
    REQUIRE(town.of(0).generation() == g);
  }
  // Generation 8 has the bits of generation 0, whose use ended when generation 1 was stored.
  town.wipe(0);
  const SteadyMs start = town.now;
  town.run(1000);
  CHECK_FALSE(town.of(0).settled());
  CHECK(town.of(0).waiting_for().find("to be free") != std::string::npos);
  town.run(began + Identity::reuse_after_ms - town.now - 700);
  CHECK_FALSE(town.of(0).settled());
  town.run(2500);
  CHECK(town.of(0).settled());
  CHECK(town.of(0).generation() == 8);
  CHECK(town.of(0).incarnation() == 0);
  CHECK(town.now - start < Identity::reuse_after_ms);
}

TEST_CASE("peers whose clocks went back cannot make a start wait for more than a minute") {
  Town town(3);
  town.run(1000);
  for (std::uint64_t g = 1; g <= 7; ++g) {
    town.wipe(0);
    town.run(1000);
  }
  for (auto& h : town.houses) h.clock_offset = -3'600'000;
  town.wipe(0);
  town.run(Identity::reuse_after_ms - 1000);
  CHECK_FALSE(town.of(0).settled());
  town.run(2500);
  CHECK(town.of(0).settled());
}

TEST_CASE("with too few to meet who stored the last, a wait does instead") {
  Town town(3);
  town.houses[2].away = true;
  // The first start needs every node of three, or five seconds.
  town.run(Identity::few_wait_ms - 1000);
  CHECK_FALSE(town.of(0).settled());
  town.run(3000);
  CHECK(town.of(0).settled());
  CHECK(town.of(1).settled());
  // Alone it never settles.
  town.houses[1].away = true;
  town.wipe(0);
  town.run(3 * Identity::reuse_after_ms);
  CHECK_FALSE(town.of(0).settled());
  CHECK(town.of(0).waiting_for().find("2 of 2 other nodes") != std::string::npos);
}

TEST_CASE("a settled node tells those who have forgotten it") {
  Town town(3);
  town.run(1000);
  town.wipe(1);
  town.run(1000);
  REQUIRE(town.of(1).generation() == 1);
  town.wipe(0);
  town.wipe(2);
  town.run(3000);
  // Now nobody but node 1 itself knew of it.
  town.wipe(1);
  town.run(1000);
  CHECK(town.of(1).generation() == 2);
}

TEST_CASE("a peer that knows more than those who answered makes it ask again") {
  Town town(3);
  town.run(1000);
  town.wipe(0);
  town.run(1000);
  REQUIRE(town.of(0).generation() == 1);
  town.houses[2].away = true;
  town.wipe(1);
  town.wipe(0);
  town.run(Identity::few_wait_ms - 100);
  CHECK_FALSE(town.of(0).settled());
  // It chooses by what node 1 has told, which has forgotten, and asks node 2 to store that.
  town.houses[2].away = false;
  town.run(2000);
  CHECK(town.of(0).settled());
  CHECK(town.of(0).generation() == 2);
}

TEST_CASE("an old copy of a folder is noticed") {
  Town town(3);
  town.run(1000);
  const MemoryFiles old = town.houses[0].files;
  town.wipe(0);
  town.run(1000);
  REQUIRE(town.of(0).generation() == 1);
  CHECK_FALSE(town.of(0).outdated());
  town.houses[0].files = old;
  REQUIRE(town.start(0));
  town.run(2000);
  CHECK(town.of(0).generation() == 0);
  CHECK(town.of(0).outdated());
}

TEST_CASE("a disk that cannot store keeps the node from settling, or from answering for others") {
  Town town(3);
  town.houses[0].files.failing = true;
  town.run(2000);
  CHECK_FALSE(town.of(0).settled());
  CHECK(town.of(1).settled());
  town.houses[0].files.failing = false;
  town.run(1000);
  CHECK(town.of(0).settled());
}

TEST_CASE("another node's, cluster's or index's folder is refused") {
  Town town(3);
  town.run(1000);
  CHECK_FALSE(town.start(1, true, 4));
  Identity other;
  const auto opened = other.open(
      {.name = "n9", .cluster = "town", .self = {1}, .index = 1, .nodes = 3, .boot_id = "boot"},
      &town.houses[1].files);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().text().find("n9") != std::string::npos);
  CHECK_FALSE(other.open(
      {.name = "n1", .cluster = "city", .self = {1}, .index = 1, .nodes = 3, .boot_id = "boot"},
      &town.houses[1].files));
}

}  // namespace
}  // namespace gyre
