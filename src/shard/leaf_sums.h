// LeafSums: the lowest level of a slot's Merkle tree: sums of record digests by key hash.
//
// leaf += digest(new) - digest(old), modulo 2^64, with every merge; a record's leaf is named by the
// high bits of its key hash, which all nodes of a ring share, so arrays of different sizes compare
// at the smaller one. The levels above (a slot's sum, groups of slots, the root) are added up when
// a comparison asks (sync/), which costs less than keeping them. Ownership: one for each slot of a
// ring's KeySpace; no array before the first record.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/assert.h"
#include "base/prefetch.h"

namespace gyre {

class LeafSums {
 public:
  static constexpr unsigned first_bits = 4, max_bits = 16;
  static constexpr std::size_t keys_per_leaf = 8;

  static std::size_t leaf_of(std::uint64_t hash, unsigned bits) {
    return static_cast<std::size_t>(hash >> (64 - bits));
  }

  unsigned bits() const { return bits_; }
  void add(std::uint64_t hash, std::uint64_t delta) {
    if (!sums_) sums_ = std::make_unique<std::uint64_t[]>(std::size_t{1} << bits_);
    sums_[leaf_of(hash, bits_)] += delta;
  }
  void prefetch_for(std::uint64_t hash) const {
    if (sums_) prefetch(&sums_[leaf_of(hash, bits_)]);
  }
  // Whether so many records ask for more leaves; then reset(bits() + 1) and add each record again.
  bool crowded(std::size_t records) const {
    return bits_ < max_bits && records > keys_per_leaf << bits_;
  }
  void reset(unsigned bits) {
    GYRE_ASSERT(first_bits <= bits && bits <= max_bits);
    bits_ = static_cast<std::uint8_t>(bits);
    sums_.reset();
  }
  // The sums as an array of 2^bits; bits <= bits().
  std::vector<std::uint64_t> at(unsigned bits) const {
    std::vector<std::uint64_t> out(std::size_t{1} << bits);
    if (!sums_) return out;
    for (std::size_t i = 0; i < std::size_t{1} << bits_; ++i) out[i >> (bits_ - bits)] += sums_[i];
    return out;
  }

 private:
  std::unique_ptr<std::uint64_t[]> sums_;
  std::uint8_t bits_ = first_bits;
};

}  // namespace gyre
