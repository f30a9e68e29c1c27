// CRC-64 as Redis' payloads and RDB files carry it: the Jones polynomial, reflected, from 0.
#pragma once

#include <cstdint>
#include <string_view>

namespace gyre::rdb {

// Goes on from `crc`, so that a long input may come in pieces.
std::uint64_t crc64(std::uint64_t crc, std::string_view bytes);

}  // namespace gyre::rdb
