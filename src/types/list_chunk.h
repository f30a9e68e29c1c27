// ListChunk: up to a kilobyte of list elements, packed one behind the other.
//
// An entry says how its id differs from the one before: pushes one after another cost a byte or two
// for number and version together. Entries can be read from either end, because the differences can
// be undone and each entry ends with its length.
//
//   | head | [more length] | [step, node] | ticks | [odd id's size] | [own version] | [odd id] |
//   payload | size |
//
//   head      bits 0-4: payload length, 31: more follows; bit 5: own version; bits 6-7: the kind of
//   id
//             (0 plain, number steps by one on the same node; 1 stepped; 2 odd: stepped and the
//             whole id)
//   step      zigzag varint, difference of the numbers;  node: varint, exclusive or of the
//   versions' nodes ticks     zigzag varint, difference of the versions without their node bits own
//   only when the element's version is not its id's (LSET, pops): varint (zigzag ticks from the
//             id's version, then one bit: a tombstone), varint node as above
//   size      of all before it, 7 bits a byte, to be read backwards: the high bit says that more
//   follow
//
// A 3-byte value pushed by itself takes 6 bytes (7 when a few milliseconds passed).
// Invariants: not empty while it hangs in a list; more than one entry only within max_bytes.
// Threading: the shard's thread alone.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/slabs.h"
#include "types/list_id.h"

namespace gyre {

// What the next entry's id is relative to.
struct ListState {
  std::uint64_t number = 0;
  Version push{};
  bool operator==(const ListState&) const = default;
};

// One element, unpacked. The views point into the chunk, or to where the caller has them from.
struct ListEntry {
  std::uint64_t number = 0;  // of the id's first bytes
  Version push{};            // the id's version
  bool odd = false;
  std::string_view odd_id;  // the whole id when odd
  Version version{};        // of the element
  bool tombstone = false;
  std::string_view payload;
  std::uint32_t offset = 0, size = 0;  // in the chunk

  ListState state() const { return {number, push}; }
  // The id; a plain one is written to `buffer` (16 bytes).
  std::string_view id(char* buffer) const {
    if (odd) return odd_id;
    put_list_id(buffer, number, push);
    return {buffer, list_plain_id_bytes};
  }
};

// An id that is looked for, taken apart once.
struct ListKey {
  explicit ListKey(std::string_view id)
      : bytes(id),
        number(list_id_number(id)),
        push(list_id_version(id)),
        odd(id.size() != list_plain_id_bytes) {}
  std::string_view bytes;
  std::uint64_t number;
  Version push;
  bool odd;
};

// Negative, zero, positive: the entry's id is before, at, behind the key.
int compare(const ListEntry& entry, const ListKey& key);

// Where in a chunk something is or belongs.
struct ListPlace {
  std::uint32_t offset = 0;
  std::uint32_t size = 0;  // of the entry there; 0: nothing is to be replaced
  bool live = false;       // that entry counts as live
  ListState before{};      // of the entry that precedes
  ListState after{};       // of the entry itself; == before without one
  static ListPlace of(const ListEntry& entry, ListState before) {
    return {entry.offset, entry.size, !entry.tombstone, before, entry.state()};
  }
};

class ListChunk {
 public:
  // A larger element has a chunk of its own.
  static constexpr std::uint32_t max_bytes = 1024;

  // A chunk with this one entry. roomy: with space for more to come.
  static ListChunk* make(Slabs& slabs, const ListEntry& entry, bool roomy);
  static void release(Slabs& slabs, ListChunk* chunk) { slabs.release(chunk, chunk->capacity_); }

  std::uint32_t bytes() const { return capacity_; }
  std::uint32_t used() const { return used_; }
  std::uint32_t count() const { return count_; }
  std::uint32_t live() const { return live_; }
  ListState start() const { return start_; }
  std::uint64_t first_number() const;
  ListState end() const { return end_; }

  // Unpacks the entry at `offset`; `before` is the state there.
  void read(std::uint32_t offset, ListState before, ListEntry& entry) const;
  // Unpacks the entry that ends at `end`; returns the state before it.
  ListState read_back(std::uint32_t end, ListState after, ListEntry& entry) const;
  // Finds the place of a key; true when it is there.
  bool find(const ListKey& key, ListPlace& place, ListEntry& entry) const;

  // Puts `entry` (nullptr: nothing) in the place of what is there. Returns the chunk, perhaps in
  // another allocation, or nullptr when it would get too large; then nothing has changed. The
  // entry's views must not point into this chunk.
  static ListChunk* splice(Slabs& slabs, ListChunk* chunk, const ListPlace& place,
                           const ListEntry* entry, bool roomy);
  // Moves the second half into a new chunk; there are two entries at least.
  static ListChunk* split(Slabs& slabs, ListChunk*& chunk);
  // Appends all of `next` and releases it; false when both do not fit into one.
  static bool join(Slabs& slabs, ListChunk*& chunk, ListChunk* next);

 private:
  char* data() { return reinterpret_cast<char*>(this + 1); }
  const char* data() const { return reinterpret_cast<const char*>(this + 1); }
  static bool push_front(Slabs& slabs, ListChunk*& chunk, const ListEntry& entry, bool roomy);
  static ListChunk* resized(Slabs& slabs, ListChunk* chunk, std::uint32_t used, bool roomy);

  ListState start_{};  // before the first entry
  ListState end_{};    // of the last entry
  std::uint32_t used_ = 0;
  std::uint32_t capacity_ = 0;  // of the whole allocation
  std::uint32_t count_ = 0;
  std::uint32_t live_ = 0;
};
static_assert(sizeof(ListChunk) == 48);

}  // namespace gyre
