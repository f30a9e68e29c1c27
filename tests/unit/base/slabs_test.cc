// Slabs: classes, and that memory of one size serves another when it is free.
#include "base/slabs.h"

#include <set>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/clock.h"

using namespace gyre;

TEST_CASE("slabs: sizes are rounded to classes a sixteenth apart") {
  CHECK(Slabs::rounded(1) == 8);
  CHECK(Slabs::rounded(40) == 40);
  CHECK(Slabs::rounded(512) == 512);
  CHECK(Slabs::rounded(513) == 544);
  CHECK(Slabs::rounded(1024) == 1024);
  CHECK(Slabs::rounded(1056) == 1088);
  for (std::size_t size = 1; size < 100000; ++size) {
    const std::size_t r = Slabs::rounded(size);
    REQUIRE(r >= size);
    REQUIRE(r - size < std::max<std::size_t>(8, size / 16 + 1));
    REQUIRE(Slabs::rounded(r) == r);
  }
}

TEST_CASE("slabs: blocks do not overlap, and are counted") {
  Slabs slabs;
  Random random(5);
  struct Block {
    char* at;
    std::size_t size;
    char fill;
  };
  std::vector<Block> blocks;
  std::size_t used = 0;
  for (int step = 0; step < 30000; ++step) {
    if (blocks.empty() || random.below(100) < (step / 5000 % 2 ? 35u : 65u)) {
      const std::size_t size = 8 + random.below(random.below(20) ? 700 : 10000);
      Block b{static_cast<char*>(slabs.allocate(size)), size, static_cast<char>(step)};
      std::memset(b.at, b.fill, size);
      blocks.push_back(b);
      used += Slabs::rounded(size);
      if (size <= Slabs::largest) REQUIRE(&Slabs::of(b.at) == &slabs);
    } else {
      const std::size_t i = random.below(blocks.size());
      const Block b = blocks[i];
      REQUIRE(b.at[0] == b.fill);
      REQUIRE(b.at[b.size / 2] == b.fill);
      REQUIRE(b.at[b.size - 1] == b.fill);
      slabs.release(b.at, b.size);
      used -= Slabs::rounded(b.size);
      blocks[i] = blocks.back();
      blocks.pop_back();
    }
    REQUIRE(slabs.used() == used);
  }
  for (const Block& b : blocks) slabs.release(b.at, b.size);
  CHECK(slabs.used() == 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(GYRE_NO_SLABS)
TEST_CASE("slabs: what was free in one size serves another") {
  Slabs slabs;
  const auto fill = [&slabs](std::size_t size) {
    std::vector<void*> blocks;
    for (int i = 0; i < 20000; ++i) blocks.push_back(slabs.allocate(size));
    return blocks;
  };
  const auto drop = [&slabs](const std::vector<void*>& blocks, std::size_t size) {
    for (void* b : blocks) slabs.release(b, size);
  };
  const auto small = fill(48);
  const std::size_t held = slabs.slabs();
  CHECK(held <= 20000 * 48 / (Slabs::slab_bytes - 64) + 1);
  drop(small, 48);
  CHECK(slabs.slabs() == 1);  // the last of its class stays
  const auto large = fill(1088);
  drop(large, 1088);
  CHECK(slabs.slabs() == 2);
  CHECK(slabs.used() == 0);
}

TEST_CASE("slabs: those with few blocks drain into the others of their class") {
  Slabs slabs;
  std::vector<void*> blocks;
  for (int i = 0; i < 20000; ++i) blocks.push_back(slabs.allocate(48));
  std::vector<void*> kept;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    // The first half keeps one of eight, the other half three of four.
    if (i < blocks.size() / 2 ? i % 8 == 0 : i % 4 != 0)
      kept.push_back(blocks[i]);
    else
      slabs.release(blocks[i], 48);
  }
  const std::size_t before = slabs.slabs(), waste = slabs.waste();
  CHECK(slabs.drain_class(48 / 8, 1000) >= before - 1);
  CHECK(slabs.draining() > before / 3);
  for (void*& b : kept) {
    if (!Slabs::drains(b, 48)) continue;
    void* const moved = slabs.allocate(48);
    CHECK_FALSE(Slabs::drains(moved, 48));
    slabs.release(std::exchange(b, moved), 48);
  }
  CHECK(slabs.draining() == 0);
  CHECK(slabs.slabs() <= before * 5 / 8);
  CHECK(slabs.waste() < waste / 4);
  // What is chosen and not emptied serves again.
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (i % 2 == 0) slabs.release(std::exchange(kept[i], nullptr), 48);
  }
  slabs.drain_class(48 / 8, 1000);
  CHECK(slabs.draining() > 0);
  slabs.stop_draining();
  CHECK(slabs.draining() == 0);
  const std::size_t now = slabs.slabs();
  for (void*& b : kept) {
    if (!b) b = slabs.allocate(48);
  }
  CHECK(slabs.slabs() == now);
  for (void* b : kept) slabs.release(b, 48);
  CHECK(slabs.used() == 0);
}
#endif
