// Hashes: the only room that includes xxHash.
#pragma once

#include <cstdint>
#include <string_view>

namespace gyre {

// XXH3 with a seed. In-memory tables use a per-process random seed, because clients choose the
// keys; what all nodes must agree on (placement, Merkle leaves) uses seed 0.
std::uint64_t hash64(std::string_view bytes, std::uint64_t seed = 0);

// The seed of this process' in-memory tables: random, unless the nodes of a ring agree on one that
// clients do not know, so that SCAN cursors mean the same everywhere. Set before any table exists.
std::uint64_t table_seed();
void set_table_seed(std::uint64_t seed);

// The hash of a key in this process' tables.
std::uint64_t key_hash(std::string_view key);

// CRC16 (XMODEM: polynomial 0x1021, initial value 0), as Redis Cluster's key slots use it.
std::uint16_t crc16(std::string_view bytes);

}  // namespace gyre
