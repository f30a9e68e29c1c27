// Slabs: memory for the small things a shard holds by the million.
//
// Size classes are 8 bytes apart up to 512 bytes, cut from 64 KiB slabs; larger sizes go to malloc.
// The caller gives the size back when it frees, so a block carries no header. Freed blocks wait in
// their class for the next of the same size.
// Threading: one instance per shard, used by its thread alone. The address sanitizer's builds send
// everything to malloc, so that it sees each block.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/assert.h"

namespace gyre {

class Slabs {
 public:
  static constexpr std::size_t largest = 512;
  static constexpr std::size_t slab_bytes = std::size_t{64} << 10;

  Slabs() = default;
  Slabs(const Slabs&) = delete;
  Slabs& operator=(const Slabs&) = delete;
  ~Slabs() {
    for (void* slab : slabs_) std::free(slab);
  }

  // The bytes that a block of `size` really takes.
  static constexpr std::size_t rounded(std::size_t size) { return (size + 7) & ~std::size_t{7}; }

  void* allocate(std::size_t size) {
    used_ += rounded(size);
#if defined(__SANITIZE_ADDRESS__) || defined(GYRE_NO_SLABS)
    return checked(
        std::malloc(rounded(size) + (size == 0)));  // whole classes: nodes grow within theirs
#else
    if (size > largest) return checked(std::malloc(rounded(size)));
    const std::size_t c = (size + 7) / 8;
    if (void* block = free_[c]) {
      std::memcpy(&free_[c], block, sizeof(void*));
      return block;
    }
    return cut(c * 8);
#endif
  }

  void release(void* block, std::size_t size) {
    used_ -= rounded(size);
#if defined(__SANITIZE_ADDRESS__) || defined(GYRE_NO_SLABS)
    std::free(block);
#else
    if (size > largest) {
      std::free(block);
      return;
    }
    const std::size_t c = (size + 7) / 8;
    std::memcpy(block, &free_[c], sizeof(void*));
    free_[c] = block;
#endif
  }

  // Bytes handed out and not yet given back, rounded to their classes.
  std::size_t used() const {
    return used_;
  }

 private:
  static void* checked(void* p) {
    GYRE_ASSERT(p != nullptr);
    return p;
  }
  void* cut(std::size_t bytes) {
    if (static_cast<std::size_t>(end_ - at_) < bytes) {
      at_ = static_cast<char*>(checked(std::malloc(slab_bytes)));
      end_ = at_ + slab_bytes;
      slabs_.push_back(at_);
    }
    void* block = at_;
    at_ += bytes;
    return block;
  }

  std::array<void*, largest / 8 + 1> free_{};
  char* at_ = nullptr;
  char* end_ = nullptr;
  std::size_t used_ = 0;
  std::vector<void*> slabs_;
};

}  // namespace gyre
