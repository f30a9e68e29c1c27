#include "shard/holds.h"

#include <doctest/doctest.h>

#include "ring/slot.h"

using namespace gyre;

TEST_CASE("holds: each slot has a word of its own") {
  for (std::uint16_t s = 0; s < slots_total; ++s) {
    const Slot slot{s};
    REQUIRE(key_slot(slot_tag(slot)) == slot);
    REQUIRE(key_slot(part_key(slot, "any}thing{")) == slot);
  }
  CHECK(transaction_of(part_key({77}, "na}me")) == "na}me");
}

TEST_CASE("holds: a part is read back, and nothing else is") {
  const Part part{.slots = {{1}, {500}, {16383}}, .effects = "bytes"};
  const std::string text = encode_part(part);
  Part got;
  REQUIRE(decode_part(text, got));
  CHECK(got.slots == part.slots);
  CHECK(got.effects == "bytes");
  for (std::size_t n = 0; n < text.size() - 5; ++n) {
    CAPTURE(n);
    CHECK_FALSE(decode_part(std::string_view(text).substr(0, n), got));
  }
  std::string other = text;
  other[0] = 1;  // a format of before
  CHECK_FALSE(decode_part(other, got));
}

TEST_CASE("holds: what was seen is read back") {
  std::string bytes;
  encode_seen(bytes, {.db = {3}, .key = "key", .newest = {12345}});
  encode_seen(bytes, {.db = {0}, .key = "", .newest = {}});
  std::vector<Seen> got;
  REQUIRE(decode_seen(bytes, got));
  REQUIRE(got.size() == 2);
  CHECK(got[0].db.value == 3);
  CHECK(got[0].key == "key");
  CHECK(got[0].newest == Version{12345});
  CHECK(got[1].key == "");
  got.clear();
  CHECK_FALSE(decode_seen(std::string_view(bytes).substr(0, bytes.size() - 1), got));
}
