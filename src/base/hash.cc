#include "base/hash.h"

#include <array>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/clock.h"

namespace gyre {
namespace {

constexpr std::array<std::uint16_t, 256> make_crc_table() {
  std::array<std::uint16_t, 256> table{};
  for (unsigned i = 0; i < 256; ++i) {
    unsigned crc = i << 8;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000u) ? (crc << 1) ^ 0x1021u : crc << 1;
    table[i] = static_cast<std::uint16_t>(crc);
  }
  return table;
}

constexpr auto crc_table = make_crc_table();

std::uint64_t seed_of_tables = random_seed();

}  // namespace

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::uint64_t table_seed() {
  return seed_of_tables;
}
void set_table_seed(std::uint64_t seed) {
  seed_of_tables = seed;
}
std::uint64_t key_hash(std::string_view key) {
  return XXH3_64bits_withSeed(key.data(), key.size(), seed_of_tables);
}

std::uint16_t crc16(std::string_view bytes) {
  unsigned crc = 0;
  for (const char c : bytes) {
    crc = ((crc << 8) ^ crc_table[((crc >> 8) ^ static_cast<unsigned char>(c)) & 0xffu]) & 0xffffu;
  }
  return static_cast<std::uint16_t>(crc);
}

}  // namespace gyre
