#include "base/hash.h"

#include <array>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/clock.h"

namespace gyre {
namespace {

// Of a byte, and of a byte with 1 to 7 zeros behind it: eight bytes then go at once.
using CrcTables = std::array<std::array<std::uint16_t, 256>, 8>;

constexpr CrcTables make_crc_tables() {
  CrcTables tables{};
  for (unsigned i = 0; i < 256; ++i) {
    unsigned crc = i << 8;
    for (std::size_t zeros = 0; zeros < tables.size(); ++zeros) {
      for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000u) ? (crc << 1) ^ 0x1021u : crc << 1;
      tables[zeros][i] = static_cast<std::uint16_t>(crc);
    }
  }
  return tables;
}

constexpr CrcTables crc_tables = make_crc_tables();

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
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  std::size_t left = bytes.size();
  unsigned crc = 0;
  // As it begins with zero, what comes before the last eights needs no chain of look-ups.
  for (std::size_t odd = left % 8; odd > 0; --odd, --left, ++at) crc ^= crc_tables[odd - 1][*at];
  for (; left > 0; left -= 8, at += 8) {
    crc = crc_tables[7][at[0] ^ (crc >> 8)] ^ crc_tables[6][at[1] ^ (crc & 0xffu)] ^
          crc_tables[5][at[2]] ^ crc_tables[4][at[3]] ^ crc_tables[3][at[4]] ^
          crc_tables[2][at[5]] ^ crc_tables[1][at[6]] ^ crc_tables[0][at[7]];
  }
  return static_cast<std::uint16_t>(crc);
}

}  // namespace gyre
