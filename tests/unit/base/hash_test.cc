#include "base/hash.h"

#include <string>

#include <doctest/doctest.h>

namespace gyre {
namespace {

TEST_SUITE("base/hash") {
  TEST_CASE("crc16 is Redis Cluster's") {
    CHECK(crc16("123456789") == 0x31C3);
    CHECK(crc16("") == 0);
    std::string bytes;
    for (unsigned n = 0; n < 40; ++n) {
      unsigned crc = 0;
      for (const char c : bytes) {
        crc ^= static_cast<unsigned>(static_cast<unsigned char>(c)) << 8;
        for (int bit = 0; bit < 8; ++bit)
          crc = ((crc << 1) ^ (crc & 0x8000u ? 0x1021u : 0u)) & 0xffffu;
      }
      CHECK(crc16(bytes) == crc);
      bytes.push_back(static_cast<char>(n * 37 + 200));
    }
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
