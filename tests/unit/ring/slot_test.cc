#include "ring/slot.h"

#include <string>

#include <doctest/doctest.h>

#include "base/hash.h"

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

TEST_CASE("a tag is found wherever it stands, in keys of every size") {
  for (std::size_t before = 0; before < 40; ++before) {
    for (std::size_t behind = 0; behind < 40; ++behind) {
      const std::string key = std::string(before, 'a') + "{t}" + std::string(behind, '|');
      CHECK(key_slot(key) == key_slot("t"));
      std::string none = key;
      none[before] = 'z';
      CHECK(key_slot(none).value == (crc16(none) & 16383));
    }
  }
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
