// What a comparison carries was read a moment before: meanwhile a removal may have come, been
// confirmed by all, and been forgotten (simulator, seed 279).
#include <doctest/doctest.h>

#include "../unit/effort.h"
#include "record/record.h"
#include "three_nodes.h"
#include "wire/messages.h"

using namespace gyre;
using namespace gyre::sim;

namespace {

// As the push of a comparison, from a node that read the records under T = `bound`.
void push(ThreeNodes& ring, std::size_t from, std::size_t to, Slot slot, Version bound,
          std::string_view effect) {
  Repair m;
  m.synced = true;
  m.bounds.push_back({slot.value, bound});
  m.count = 1;
  m.effects = effect;
  std::string batch;
  put_header(batch, {});
  put_message(batch, 0, m);
  BatchHeader header;
  BatchReader in(batch);
  Envelope envelope;
  REQUIRE(in.header(header));
  REQUIRE(in.next(envelope));
  ring.nodes[to]->worker(0).engine().on_message({static_cast<std::uint16_t>(from)}, envelope);
}

}  // namespace

TEST_CASE("healing: what was read before a removal does not revive what all have purged since") {
  for (std::uint64_t seed = 1; seed <= test::effort(3); ++seed) {
    ThreeNodes ring(seed);
    CAPTURE(seed);
    const Slot slot = key_slot("k");
    const std::size_t acts = ring.acting("k"), peer = (acts + 1) % 3;
    KeySpace& space = ring.nodes[acts]->worker(0).space();
    REQUIRE(ring.ask(acts, {"HSET", "k", "f", "1", "g", "2"}) == ":2\r\n");
    ring.run(second);

    const Version bound = ring.nodes[peer]->worker(0).space().repaired(slot);
    Effect effect;
    record_effect(*ring.record(peer, "k"), {0}, {}, effect);
    std::string read_before;
    encode_effect(read_before, effect);

    REQUIRE(ring.ask(acts, {"HDEL", "k", "f"}) == ":1\r\n");
    const Version removed = record_newest(*ring.record(acts, "k"));
    for (int i = 0; i < 300 && space.repaired(slot) < removed; ++i) ring.run(second);
    REQUIRE(space.repaired(slot) > removed);
    const std::uint64_t digest = space.slot_digest(slot);

    push(ring, peer, acts, slot, bound, read_before);
    CHECK(space.slot_digest(slot) == digest);
    CHECK(ring.nodes[acts]->read({0}, {"HGET", "k", "f"}) == "$-1\r\n");
    // Read under the T of today it would be something that this node has lost.
    push(ring, peer, acts, slot, space.repaired(slot), read_before);
    CHECK(ring.nodes[acts]->read({0}, {"HGET", "k", "f"}) == "$1\r\n1\r\n");
  }
}
