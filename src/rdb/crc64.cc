#include "rdb/crc64.h"

#include <array>
#include <cstring>

namespace gyre::rdb {
namespace {

constexpr std::uint64_t polynomial =
    0x95ac9329ac4bc9b5;  // 0xad93d23594c935a9 with its bits reversed

// tables[k][b]: what byte b does to the sum when k more bytes follow it. Eight bytes a step.
using Tables = std::array<std::array<std::uint64_t, 256>, 8>;
constexpr Tables make_tables() {
  Tables t{};
  for (std::uint64_t b = 0; b < 256; ++b) {
    std::uint64_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) ? (crc >> 1) ^ polynomial : crc >> 1;
    t[0][b] = crc;
  }
  for (std::size_t b = 0; b < 256; ++b) {
    for (std::size_t k = 1; k < 8; ++k) t[k][b] = t[0][t[k - 1][b] & 0xff] ^ (t[k - 1][b] >> 8);
  }
  return t;
}
constexpr Tables tables = make_tables();

}  // namespace

std::uint64_t crc64(std::uint64_t crc, std::string_view bytes) {
  while (bytes.size() >= 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data(), 8);
    crc ^= word;
    std::uint64_t next = 0;
    for (std::size_t k = 0; k < 8; ++k) next ^= tables[7 - k][(crc >> (8 * k)) & 0xff];
    crc = next;
    bytes.remove_prefix(8);
  }
  for (const char c : bytes)
    crc = tables[0][(crc ^ static_cast<unsigned char>(c)) & 0xff] ^ (crc >> 8);
  return crc;
}

}  // namespace gyre::rdb
