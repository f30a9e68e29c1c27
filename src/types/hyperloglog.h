// HyperLogLog: about how many different elements were seen, in at most 12 KB.
//
// The value is a plain string in the format that Redis documents, byte for byte, so that GET, SET
// and DUMP move it between both servers:
//
//   | HYLL | encoding: 0 dense, 1 sparse | 3 unused | cached count, le64 | registers |
//
// The highest bit of the cached count says that it is out of date. An element's hash chooses one of
// 16384 registers by its lowest 14 bits; the register keeps the longest run of zeros, plus one,
// that the rest of a hash began with.
//
//   dense    6 bits a register, lowest bits first: 12288 bytes
//   sparse   runs: 00nnnnnn              n + 1 registers of zero
//                  01nnnnnn nnnnnnnn     n + 1 registers of zero
//                  1vvvvvnn              n + 1 registers of v + 1
//
// Values come from clients and may be anything: what does not add up to 16384 registers is called
// corrupt, and nothing is read or written outside of it.
//
// Source: P. Flajolet et al., HyperLogLog, 2007; the estimate is that of O. Ertl, New cardinality
// estimation algorithms for HyperLogLog sketches, 2017.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gyre::hll {

inline constexpr std::size_t registers_total = 16384;
inline constexpr std::size_t header_bytes = 16;
inline constexpr std::size_t dense_bytes = header_bytes + registers_total * 6 / 8;

using Registers = std::array<std::uint8_t, registers_total>;

enum class Outcome : std::uint8_t { same, changed, corrupt };

// Whether the bytes look like a HyperLogLog; the runs of a sparse one are not walked.
bool recognised(std::string_view value);
inline bool is_sparse(std::string_view value) {
  return value[4] == 1;
}

// The functions below take what is recognised.

std::string empty();
// Whether a dense value would stay as it is: what most additions find.
bool dense_has(std::string_view value, std::string_view element);
// Counts an element in. Past `sparse_max` bytes a sparse value becomes dense.
Outcome add(std::string& value, std::string_view element, std::size_t sparse_max);
// Raises one register to `count`, which is 1 to 51.
Outcome raise(std::string& value, std::size_t index, std::uint8_t count, std::size_t sparse_max);
// Takes the higher of each register; false when the value is corrupt.
bool merge_into(Registers& registers, std::string_view value);
// False when the value is corrupt.
bool make_dense(std::string& value);

// The count that the value has cached; nothing when it is out of date.
std::optional<std::uint64_t> cached_count(std::string_view value);
void set_cached_count(std::string& value, std::uint64_t count);
void forget_cached_count(std::string& value);

std::uint64_t estimate(const Registers& registers);

// The runs of a sparse value as text, also of a corrupt one.
std::string runs_text(std::string_view value);

// MurmurHash64A, as the format demands.
std::uint64_t hash_element(std::string_view element);

}  // namespace gyre::hll
