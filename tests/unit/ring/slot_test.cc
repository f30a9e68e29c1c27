#include "ring/slot.h"

#include <string>

#include <doctest/doctest.h>

namespace gyre {

TEST_CASE("a key's slot is what Redis Cluster says") {
  CHECK(key_slot("foo").value == 12182);
  CHECK(key_slot("bar").value == 5061);
  CHECK(key_slot("123456789").value == (0x31c3 & 16383));
  CHECK(key_slot("").value == 0);
  CHECK(key_slot(std::string(1, '\0')).value == 0);
}

TEST_CASE("keys with one tag share a slot") {
  CHECK(key_slot("{user1000}.following") == key_slot("{user1000}.followers"));
  CHECK(key_slot("{user1000}.following") == key_slot("user1000"));
  CHECK(key_slot("foo{{bar}}zap") == key_slot("{bar"));
  CHECK(key_slot("foo{bar}{zap}") == key_slot("bar"));
}

TEST_CASE("an empty or open tag is none: the whole key counts") {
  CHECK(key_slot("foo{}{bar}").value == 8363);
  CHECK(key_slot("foo{}{bar}") != key_slot("bar"));
  CHECK(key_slot("{}") != key_slot(""));
  CHECK(key_slot("foo{bar") != key_slot("bar"));
  CHECK(key_slot("foo}bar{") != key_slot("foo"));
  CHECK(key_slot("}{bar}") == key_slot("bar"));
}

}  // namespace gyre
