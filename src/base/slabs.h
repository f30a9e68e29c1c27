// Slabs: memory for the small things a shard holds by the million.
//
// Size classes are 8 bytes apart up to 512 bytes, then 1/16 apart up to 8 KiB; larger sizes,
// rounded the same way, go to malloc. A slab is 64 KiB of blocks of one class, aligned to its size,
// so that a block finds it by its address. The caller gives the size back when it frees, so a block
// carries no header. A slab whose blocks are all free serves any other class or goes back to
// malloc: what a shard held once in one size does not stay reserved for that size.
//
//   slab:  | owner, free blocks, room at the end, counts, links: 64 bytes | block | block | ...
//
// After many deletes and changes of size slabs are left with few blocks each. Those that others of
// their class have room for are chosen to drain: nothing is given out of them any more, and whoever
// owns a block there that can move (drains()) is to move it.
//
// Threading: one instance per shard, used by its thread alone. The address sanitizer's builds send
// everything to malloc, so that it sees each block.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace gyre {

// What one step of a walk that moves blocks did (Slabs::drains).
struct MoveStep {
  std::uint64_t next = 0;  // where the next step begins; 0: it was the last
  std::uint64_t moved = 0, left = 0;
};

class Slabs {
 public:
  static constexpr std::size_t fine = 512;
  static constexpr std::size_t largest = std::size_t{8} << 10;
  static constexpr std::size_t slab_bytes = std::size_t{64} << 10;

  Slabs() = default;
  Slabs(const Slabs&) = delete;
  Slabs& operator=(const Slabs&) = delete;
  ~Slabs() {
    while (all_) {
      Slab* const next = all_->newer;
      std::free(all_);
      all_ = next;
    }
    drop_spare();
  }

  // The bytes that a block of `size` really takes.
  static constexpr std::size_t rounded(std::size_t size) {
    const std::size_t step = size <= fine ? 8 : std::bit_floor(size - 1) / 16;
    return (size + step - 1) & ~(step - 1);
  }

  void* allocate(std::size_t size) {
    const std::size_t bytes = rounded(size);
    used_ += bytes;
#if defined(__SANITIZE_ADDRESS__) || defined(GYRE_NO_SLABS)
    auto* const owner = static_cast<Slabs**>(checked(std::malloc(bytes + prefix)));
    *owner = this;
    return reinterpret_cast<char*>(owner) + prefix;
#else
    if (bytes > largest) {
      large_ += bytes;
      return checked(std::malloc(bytes));
    }
    const std::size_t c = class_of(bytes);
    Slab* s = room_[c];
    if (!s) s = new_slab(c, bytes);
    void* block = s->free;
    if (block) {
      std::memcpy(&s->free, block, sizeof(void*));
    } else {
      block = s->at;
      s->at += s->size;
    }
    ++s->used;
    if (!s->has_room()) unlink(room_[c], s);
    return block;
#endif
  }

  void release(void* block, std::size_t size) {
    const std::size_t bytes = rounded(size);
    used_ -= bytes;
#if defined(__SANITIZE_ADDRESS__) || defined(GYRE_NO_SLABS)
    std::free(static_cast<char*>(block) - prefix);
#else
    if (bytes > largest) {
      large_ -= bytes;
      return std::free(block);
    }
    Slab* const s = slab_of(block);
    const bool had_room = s->has_room();
    std::memcpy(block, &s->free, sizeof(void*));
    s->free = block;
    --s->used;
    Slab*& list = s->drains ? draining_ : room_[class_of(bytes)];
    if (!had_room && !s->drains) {
      link(list, s);
    } else if (s->used == 0 && (s->drains || s->prev || s->next)) {
      // The last slab with room of a class stays: it is wanted again soon.
      retire(list, s);
    }
#endif
  }

  // Whose a block is that allocate() has given out: one of at most `largest` bytes.
  static Slabs& of(const void* block) {
#if defined(__SANITIZE_ADDRESS__) || defined(GYRE_NO_SLABS)
    Slabs* owner;
    std::memcpy(&owner, static_cast<const char*>(block) - prefix, sizeof owner);
    return *owner;
#else
    return *slab_of(block)->owner;
#endif
  }

  // Bytes handed out and not yet given back, rounded to their classes.
  std::size_t used() const {
    return used_;
  }
  // Slabs that hold blocks, or room for some.
  std::size_t slabs() const {
    return slab_count_;
  }
  // Bytes of these that hold nothing.
  std::size_t waste() const {
    return slab_count_ * slab_bytes - (used_ - large_);
  }

  // ---- draining

  static constexpr std::size_t classes = fine / 8 + 4 * 16 + 1;
  // Chooses slabs of the class, as many as the others have room for, the emptiest first. Looks at
  // no more than `limit`; returns at how many.
  std::size_t drain_class(std::size_t c, std::size_t limit) {
    std::vector<Slab*> some;
    std::size_t room = 0, moved = 0;
    for (Slab* s = room_[c]; s && some.size() < limit; s = s->next) {
      some.push_back(s);
      room += s->capacity() - s->used;
    }
    std::sort(some.begin(), some.end(), [](Slab* a, Slab* b) { return a->used < b->used; });
    for (Slab* s : some) {
      room -= s->capacity() - s->used;
      moved += s->used;
      if (moved > room) break;
      unlink(room_[c], s);
      s->drains = true;
      link(draining_, s);
      ++draining_count_;
    }
    return some.size();
  }
  // Slabs that were chosen and hold blocks yet.
  std::size_t draining() const {
    return draining_count_;
  }
  // Of a block of that size that allocate() has given out.
  static bool drains(const void* block, std::size_t size) {
#if defined(__SANITIZE_ADDRESS__) || defined(GYRE_NO_SLABS)
    return (void)block, (void)size, false;
#else
    return size <= largest && slab_of(block)->drains;
#endif
  }
  // A copy of the block's bytes in another slab, when its own is to become empty; the block is
  // still to be released. Otherwise nullptr.
  template <class T>
  T* copy_if_draining(const T* block, std::size_t size) {
    if (!drains(block, size)) return nullptr;
    void* const copy = allocate(size);
    std::memcpy(copy, block, size);
    return static_cast<T*>(copy);
  }
  // Those that were chosen serve again.
  void stop_draining() {
    while (Slab* const s = draining_) {
      unlink(draining_, s);
      s->drains = false;
      link(room_[class_of(s->size)], s);
    }
    draining_count_ = 0;
  }
  // Gives back what was kept to be used again.
  void drop_spare() {
    while (spare_) std::free(pop_spare());
  }

 private:
  struct Slab {
    Slabs* owner;
    void* free;  // blocks given back
    char* at;    // never given out from here on
    std::uint32_t size;
    std::uint16_t used;
    bool drains;
    Slab *prev, *next;    // those of the class that have room, or those that drain
    Slab *older, *newer;  // all

    bool has_room() const {
      return free || at + size <= reinterpret_cast<const char*>(this) + slab_bytes;
    }
    std::size_t capacity() const { return (slab_bytes - sizeof(Slab)) / size; }
  };
  static_assert(sizeof(Slab) == 64);
  static constexpr std::size_t prefix = 16;
  static constexpr std::size_t spare_max = 16;
  static constexpr std::size_t fine_classes = fine / 8;

  static void* checked(void* p) {
    GYRE_ASSERT(p != nullptr);
    return p;
  }
  static Slab* slab_of(const void* block) {
    return reinterpret_cast<Slab*>(reinterpret_cast<std::uintptr_t>(block) & ~(slab_bytes - 1));
  }
  static constexpr std::size_t class_of(std::size_t bytes) {
    if (bytes <= fine) return bytes / 8;
    const auto log = static_cast<std::size_t>(std::bit_width(bytes - 1)) - 1;
    const std::size_t doubling = log - 9;
    return fine_classes + doubling * 16 + ((bytes - (std::size_t{1} << log)) >> (log - 4));
  }

  static void link(Slab*& list, Slab* s) {
    s->prev = nullptr;
    s->next = list;
    if (s->next) s->next->prev = s;
    list = s;
  }
  static void unlink(Slab*& list, Slab* s) {
    (s->prev ? s->prev->next : list) = s->next;
    if (s->next) s->next->prev = s->prev;
    s->prev = s->next = nullptr;
  }
  Slab* pop_spare() {
    Slab* const s = spare_;
    spare_ = s->next;
    --spare_count_;
    return s;
  }

  Slab* new_slab(std::size_t c, std::size_t bytes) {
    void* const memory = spare_ ? pop_spare() : checked(std::aligned_alloc(slab_bytes, slab_bytes));
    auto* const s = ::new (memory) Slab{};
    s->owner = this;
    s->size = static_cast<std::uint32_t>(bytes > 0 ? bytes : 8);
    s->at = static_cast<char*>(memory) + sizeof(Slab);
    s->newer = all_;
    if (all_) all_->older = s;
    all_ = s;
    ++slab_count_;
    link(room_[c], s);
    return s;
  }
  void retire(Slab*& list, Slab* s) {
    unlink(list, s);
    if (s->drains) --draining_count_;
    (s->older ? s->older->newer : all_) = s->newer;
    if (s->newer) s->newer->older = s->older;
    --slab_count_;
    if (spare_count_ == spare_max) return std::free(s);
    s->next = spare_;
    spare_ = s;
    ++spare_count_;
  }

  std::array<Slab*, classes> room_{};
  Slab* all_ = nullptr;
  Slab* spare_ = nullptr;
  Slab* draining_ = nullptr;
  std::size_t spare_count_ = 0, slab_count_ = 0, draining_count_ = 0;
  std::size_t used_ = 0, large_ = 0;  // of all, and of those that malloc serves
};

}  // namespace gyre
