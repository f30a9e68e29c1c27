// What a key's 20 bits tell of its uses.
#include "shard/access.h"

#include <doctest/doctest.h>

using namespace gyre;

namespace {

constexpr UnixMs minute = 60'000;

struct Key {
  ~Key() { Node::release(slabs, node); }
  Slabs slabs;
  Node* node = Node::make(slabs, "key", 5, 3, Node::tombstone, {1});
  Random random{1};
};

}  // namespace

TEST_CASE("access: idle seconds, beside type and flags") {
  Key k;
  AccessClock clock;
  const UnixMs start = 1'790'000'000'000;
  clock.set(start, {});
  clock.begin(*k.node);
  CHECK(clock.idle_seconds(*k.node) == 0);
  clock.set(start + 7'000, {});
  CHECK(clock.idle_seconds(*k.node) == 7);
  clock.set(start + 12 * 24 * 60 * minute, {});
  CHECK(clock.idle_seconds(*k.node) == 12 * 24 * 3600);
  CHECK(clock.dispensable(*k.node) == 12 * 24 * 3600);
  clock.touch(*k.node, k.random);
  CHECK(clock.idle_seconds(*k.node) == 0);
  clock.set_idle(*k.node, 40);
  CHECK(clock.idle_seconds(*k.node) == 40);
  clock.set_uses(*k.node, 9);  // not under this policy
  CHECK(clock.idle_seconds(*k.node) == 40);
  CHECK(k.node->type() == 3);
  k.node->set_access((1u << Node::access_bits) - 1);
  CHECK(k.node->type() == 3);
  CHECK(k.node->flags() == Node::tombstone);
  CHECK(k.node->key() == "key");
}

TEST_CASE("access: the counter of uses grows ever slower, and decays") {
  Key k;
  AccessClock clock;
  const UnixMs start = 1'790'000'000'000;
  const AccessClock::Settings settings{.frequency = true, .log_factor = 10, .decay_minutes = 1};
  clock.set(start, settings);
  clock.begin(*k.node);
  CHECK(clock.uses(*k.node) == 5);
  for (int i = 0; i < 100; ++i) clock.touch(*k.node, k.random);
  const std::uint32_t hundred = clock.uses(*k.node);
  CHECK(hundred > 6);
  CHECK(hundred < 20);
  for (int i = 0; i < 10'000; ++i) clock.touch(*k.node, k.random);
  const std::uint32_t many = clock.uses(*k.node);
  CHECK(many > hundred + 10);
  CHECK(many < 120);
  for (int i = 0; i < 3'000'000; ++i) clock.touch(*k.node, k.random);
  CHECK(clock.uses(*k.node) == 255);
  CHECK(clock.dispensable(*k.node) == 0);
  clock.set(start + 10 * minute, settings);
  CHECK(clock.uses(*k.node) == 245);
  clock.touch(*k.node, k.random);  // what has decayed is stored now
  CHECK(clock.uses(*k.node) <= 246);
  clock.set(start + 500 * minute, settings);
  CHECK(clock.uses(*k.node) == 0);
  clock.set(start + 500 * minute, {.frequency = true, .log_factor = 10, .decay_minutes = 0});
  CHECK(clock.uses(*k.node) >= 245);
  clock.set_uses(*k.node, 77);
  CHECK(clock.uses(*k.node) == 77);
}
