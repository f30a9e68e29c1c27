// What is shown of a peer's hints.
#include "hints/hints.h"

#include <doctest/doctest.h>

using namespace gyre;

TEST_CASE("hints: oldest age, drops and marks by peer") {
  Hints hints({.nodes = 3, .hints_max = 2, .age_max_ms = 1000});
  StoreBatch rows;
  const NodeIndex peer{1}, other{2};
  CHECK(hints.oldest_ms(peer) == 0);
  hints.note(peer, {5}, {0}, "a", {10}, 500, rows);
  hints.note(peer, {6}, {0}, "b", {11}, 900, rows);
  CHECK(hints.oldest_ms(peer) == 500);
  CHECK(hints.oldest_ms(other) == 0);

  CHECK(hints.note(peer, {7}, {0}, "c", {12}, 950, rows) == Kept::marked);
  CHECK(hints.dropped_for(peer) == 1);
  CHECK(hints.dropped_for(other) == 0);
  CHECK(hints.marks_count(peer) == 1);

  hints.expire(1600, rows);  // the first one is too old by now
  CHECK(hints.oldest_ms(peer) == 900);
  CHECK(hints.dropped_for(peer) == 2);
  CHECK(hints.marks_count(peer) == 2);
  for (const auto& [name, hint] : hints.take(peer, 10)) hints.delivered(peer, name, hint, rows);
  CHECK(hints.pending(peer) == 0);
  CHECK(hints.oldest_ms(peer) == 0);
}
