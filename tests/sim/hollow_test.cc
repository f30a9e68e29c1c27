// A replica that was away while a key was made to live on, and has dropped its elements meanwhile,
// asks for the whole record before it acks what it missed.
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/hash.h"
#include "base/log.h"
#include "record/record.h"
#include "ring/slot.h"
#include "tools/sim/network.h"
#include "tools/sim/node.h"
#include "tools/sim/worker.h"
#include "tools/sim/world.h"

using namespace gyre;
using namespace gyre::sim;

namespace {

class ThreeNodes {
 public:
  explicit ThreeNodes(std::uint64_t seed) : world(seed), network(world, 3) {
    log_level(LogLevel::warning);
    std::vector<NodeInfo> infos;
    for (int i = 0; i < 3; ++i) {
      NodeInfo info;
      info.name = "n" + std::to_string(i + 1);
      info.host = info.name;
      info.bus_port = static_cast<std::uint16_t>(1 + i);
      infos.push_back(info);
    }
    auto ring = Ring::build(std::move(infos), 3);
    ring_ = std::make_shared<const Ring>(std::move(*ring));
    SimNode::Options options;
    options.threads = {1, 1, 1};
    for (std::size_t i = 0; i < 3; ++i) {
      nodes.push_back(std::make_unique<SimNode>(
          world, network, ring_, i, options, nullptr,
          [this](std::uint64_t, std::string&& reply) { replies_.push_back(std::move(reply)); }));
      nodes.back()->start();
    }
    run(3 * second);
  }

  void run(Us time) { world.run_until(world.now() + time); }
  std::string ask(std::size_t node, std::vector<std::string> args) {
    replies_.clear();
    Command c;
    c.id = ++id_;
    c.connection = 1;
    c.commands.push_back(std::move(args));
    nodes[node]->command(std::move(c));
    run(500 * ms);
    return replies_.size() == 1 ? replies_.front() : "(no answer)";
  }
  void cut_off(std::size_t node, bool on) {
    for (std::size_t i = 0; i < 3; ++i) {
      if (i == node) continue;
      network.block(i, node, on);
      network.block(node, i, on);
    }
  }
  std::size_t acting(std::string_view key) const {
    return ring_->replicas(key_slot(key)).front().value;
  }
  const Node* record(std::size_t node, std::string_view key) const {
    return nodes[node]->worker(0).space().find(key_slot(key), {0}, key, key_hash(key));
  }
  std::uint64_t asked() const {
    std::uint64_t n = 0;
    for (const auto& node : nodes) n += node->metrics().hollow_asked.get();
    return n;
  }

  World world;
  Network network;
  std::vector<std::unique_ptr<SimNode>> nodes;

 private:
  RingPtr ring_;
  std::uint64_t id_ = 0;
  std::vector<std::string> replies_;
};

}  // namespace

TEST_CASE("hollow: what revives a dropped record comes with all of it") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    ThreeNodes ring(seed);
    CAPTURE(seed);
    const std::size_t acts = ring.acting("k"), away = (acts + 1) % 3, other = (acts + 2) % 3;
    REQUIRE(ring.ask(acts, {"HSET", "k", "f", "1", "g", "2"}) == ":2\r\n");
    REQUIRE(ring.ask(acts, {"PEXPIRE", "k", "3000"}) == ":1\r\n");
    ring.cut_off(away, true);
    REQUIRE(ring.ask(acts, {"PERSIST", "k"}) == ":1\r\n");
    ring.run(8 * second);
    REQUIRE(ring.record(away, "k") != nullptr);
    CHECK(record_stub(*ring.record(away, "k")));
    CHECK(ring.nodes[away]->metrics().expired_stubs.get() == 1);
    CHECK(ring.nodes[away]->read({0}, {"HGET", "k", "g"}) == "$-1\r\n");
    CHECK(ring.nodes[other]->read({0}, {"HGET", "k", "g"}) == "$1\r\n2\r\n");
    ring.cut_off(away, false);
    ring.run(8 * second);
    CHECK(ring.asked() > 0);
    for (const auto& node : ring.nodes) {
      CHECK(node->waiting() == "");
      CHECK(node->read({0}, {"HGET", "k", "g"}) == "$1\r\n2\r\n");
      CHECK(node->worker(0).space().slot_digest(key_slot("k")) ==
            ring.nodes[acts]->worker(0).space().slot_digest(key_slot("k")));
    }
  }
}

TEST_CASE("hollow: a write that finds a stub is acknowledged once the record is whole") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    ThreeNodes ring(seed);
    CAPTURE(seed);
    const std::size_t acts = ring.acting("k"), early = (acts + 1) % 3, away = (acts + 2) % 3;
    REQUIRE(ring.ask(acts, {"HSET", "k", "f", "1", "g", "2"}) == ":2\r\n");
    REQUIRE(ring.ask(acts, {"PEXPIRE", "k", "4000"}) == ":1\r\n");
    // A clock far ahead drops the elements long before their time.
    ring.nodes[early]->clock().offset_ms = 6000;
    ring.run(1 * second);
    REQUIRE(record_stub(*ring.record(early, "k")));
    ring.nodes[early]->clock().offset_ms = 0;
    ring.cut_off(away, true);
    ring.run(1 * second);
    const std::uint64_t before = ring.asked();
    // Two of three have to have it, and one of them has only a stub.
    CHECK(ring.ask(acts, {"PERSIST", "k"}) == ":1\r\n");
    CHECK(ring.asked() == before + 1);
    CHECK(ring.nodes[early]->read({0}, {"HGET", "k", "g"}) == "$1\r\n2\r\n");
  }
}
