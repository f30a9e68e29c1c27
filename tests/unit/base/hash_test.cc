#include "base/hash.h"

#include <doctest/doctest.h>

namespace gyre {
namespace {

TEST_SUITE("base/hash") {
  TEST_CASE("crc16 is Redis Cluster's") {
    CHECK(crc16("123456789") == 0x31C3);
    CHECK(crc16("") == 0);
    CHECK((crc16("foo") & 16383) == 12182);  // CLUSTER KEYSLOT foo
    CHECK((crc16("somekey") & 16383) == 11058);
  }

  TEST_CASE("hash64 depends on bytes and seed, and on nothing else") {
    CHECK(hash64("key") == hash64("key"));
    CHECK(hash64("key") != hash64("kez"));
    CHECK(hash64("key", 1) != hash64("key", 2));
    CHECK(hash64("") == 0x2D06800538D394C2u);  // all nodes must agree, today and after an upgrade
    CHECK(table_seed() == table_seed());
  }
}

}  // namespace
}  // namespace gyre
