// Effects of one node go by two connections and may overtake each other: a healthy ring does not
// take that for a second node that acts.
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/probe.h"
#include "three_nodes.h"

using namespace gyre;
using namespace gyre::sim;

TEST_CASE("overtaking: a conditional command stands under what its own node did next") {
  const Levels all{.write = {Level::all}};
  const std::uint64_t before = probe_count(Probe::effects_overtaken);
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    ThreeNodes ring(seed);
    CAPTURE(seed);
    const std::size_t acts = ring.acting("k"), other = (acts + 1) % 3, third = (acts + 2) % 3;
    ring.network.set_delay(acts, other, 50, 3000);
    for (int i = 0; i < 100; ++i) {
      CAPTURE(i);
      REQUIRE(ring.ask(acts, {"SET", "k", "value"}, all) == "+OK\r\n");
      ring.run(20 * ms);
      // The second depends on nothing, so it carries no base; its effects go to `other` with the
      // answer.
      const std::uint64_t id = ring.start(third, {"GETDEL", "k"}, all);
      ring.run(200);
      const std::uint64_t later = ring.start(other, {"HSET", "k", "field", "value"}, all);
      REQUIRE(ring.answer(id) == "$5\r\nvalue\r\n");
      const std::string reply = ring.answer(later);
      REQUIRE((reply == ":1\r\n" || reply.starts_with("-WRONGTYPE")));
    }
  }
  CHECK(probe_count(Probe::effects_overtaken) > before + 20);
}

TEST_CASE("overtaking: whole batches of a busy record do not look like another node's writes") {
  const std::uint64_t before = probe_count(Probe::effects_overtaken);
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    ThreeNodes ring(seed);
    CAPTURE(seed);
    const std::size_t acts = ring.acting("k"), other = (acts + 1) % 3, third = (acts + 2) % 3;
    ring.network.set_delay(acts, other, 50, 3000);
    std::vector<std::uint64_t> ids;
    for (int i = 0; i < 200; ++i) {
      for (const std::size_t from : {third, other}) {
        for (int k = 0; k < 20; ++k)
          ids.push_back(ring.start(from, {"ZADD", "k", "1", std::to_string(ids.size())}));
        ring.run(200);
      }
    }
    for (const std::uint64_t id : ids) REQUIRE(ring.answer(id) == ":1\r\n");
    for (const auto& node : ring.nodes) CHECK(node->metrics().newer_answers.get() == 0);
  }
  CHECK(probe_count(Probe::effects_overtaken) > before + 20);
}

// Who coordinates acts for other slots meanwhile: that these effects have not come yet says nothing
// of the slot of a command.
TEST_CASE("overtaking: effects of other slots make no slot unsure") {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    ThreeNodes ring(seed);
    CAPTURE(seed);
    const std::size_t acts = ring.acting("k"), from = (acts + 1) % 3;
    std::string own = "a";
    while (ring.acting(own) != from) own += 'a';
    ring.network.set_delay(from, acts, 50, 3000);
    ring.ask(from, {"SET", "k", "0"});
    ring.run(5 * second);
    const std::uint64_t before = ring.nodes[acts]->metrics().unsure_reads.get();
    for (int i = 0; i < 200; ++i) {
      ring.start(from, {"SET", own, std::to_string(i)});
      ring.run(100);
      REQUIRE(ring.ask(from, {"APPEND", "k", "x"}) == ":" + std::to_string(i + 2) + "\r\n");
    }
    CHECK(ring.nodes[acts]->metrics().unsure_reads.get() == before);
  }
}

// Some of their messages would fit into an answer to the peer, which goes by another connection.
TEST_CASE("overtaking: commands of one connection run in the order in which they came") {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    ThreeNodes ring(seed);
    CAPTURE(seed);
    const std::size_t acts = ring.acting("k"), from = (acts + 1) % 3;
    std::string own = "a";
    while (ring.acting(own) != acts) own += 'a';
    ring.network.set_delay(from, acts, 50, 3000);
    std::vector<std::uint64_t> ids;
    for (int i = 0; i < 300; ++i) {
      ring.start(acts, {"SET", own, std::to_string(i)});  // whose effects are to be answered
      ids.push_back(ring.start(from, {"RPUSH", "k", std::to_string(i)}));
      ring.run(200);
    }
    for (std::size_t i = 0; i < ids.size(); ++i)
      REQUIRE(ring.answer(ids[i]) == ":" + std::to_string(i + 1) + "\r\n");
  }
}

// The acting node's stamps are ahead of what the other one knows of them: all of a pipeline is
// late, and goes again in its order. Nothing of it fails.
TEST_CASE("overtaking: a pipeline that comes late goes again in its order") {
  const std::uint64_t before = probe_count(Probe::late);
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    ThreeNodes ring(seed);
    CAPTURE(seed);
    const std::size_t acts = ring.acting("k"), other = (acts + 1) % 3;
    std::size_t pushed = 0;
    for (int i = 1; i <= 20; ++i) {
      CAPTURE(i);
      ring.nodes[acts]->worker(0).space().clock().see(
          Version::at_ms(ring.nodes[acts]->time().wall_ms() + 100 * i));
      std::vector<std::uint64_t> pushes, reads;
      const std::size_t first = pushed;
      for (int k = 0; k < 5; ++k) {
        pushes.push_back(ring.start(other, {"RPUSH", "k", std::to_string(pushed++)}));
        reads.push_back(ring.start(other, {"LINDEX", "k", "-1"}));
        if (k == 2) ring.run(200);  // these come to be sent while the others are out
      }
      for (std::size_t k = 0; k < pushes.size(); ++k) {
        const std::string last = std::to_string(first + k);
        CHECK(ring.answer(pushes[k]) == ":" + std::to_string(first + k + 1) + "\r\n");
        CHECK(ring.answer(reads[k]) == "$" + std::to_string(last.size()) + "\r\n" + last + "\r\n");
      }
    }
  }
  CHECK(probe_count(Probe::late) > before + 60);
}
