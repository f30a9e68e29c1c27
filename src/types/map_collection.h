// MapCollection: the elements of a hash or a set, by id; the dictionary of a sorted set as well.
//
// Small: one packed block, searched from its front. Most hashes have a few short fields, and then
// this takes two bytes beside id and value, one beside a set's member; one or a few more for what
// was written later than the first.
//
//   0                8      10         12
//   | first version  | used | capacity | entry | entry | ...
//   entry:  | head | [id size - 63] | id | [varint zigzag(version - first)] |
//           [varint size << 2 + flags | stored] |
//   head:   bits 0-5 the id's size, 63: more follows; bit 6: not of the first version; bit 7: not
//           merely a member that is there
//
// Large: a NodeTable of Nodes, past 128 elements, with an id or a value over 64 bytes, or with a
// block over 8 KiB; it does not become small again, as it would grow back.
//
// Ownership: the object itself, block, table and Nodes are of the Slabs given to create(); `delete`
// gives all back, also through a pointer to Collection. Only the table's groups are of malloc.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include "base/clock.h"
#include "record/collection.h"
#include "record/node_table.h"
#include "types/packed.h"

namespace gyre {

class MapCollection : public Collection {
 public:
  static constexpr std::size_t small_elements = 128;
  static constexpr std::size_t small_size = 64;  // of an id, of a value
  static constexpr std::size_t small_block = std::size_t{8} << 10;

  // A new collection of class T (this or derived) in memory of `slabs`.
  template <class T>
  static T* create(Slabs& slabs) {
    return ::new (slabs.allocate(sizeof(T))) T();
  }
  static Collection* make(Slabs& slabs) { return create<MapCollection>(slabs); }

  MapCollection() = default;
  MapCollection(const MapCollection&) = delete;
  MapCollection& operator=(const MapCollection&) = delete;
  ~MapCollection() override;
  // The size given is that of the class that was created.
  static void operator delete(MapCollection* self, std::destroying_delete_t, std::size_t size);

  CellMerge merge(const Change& change, bool keep_tombstones) override;
  bool find(std::string_view id, Cell& cell) const override;
  bool for_each(const std::function<bool(const ElementView&)>& f) const override { return each(f); }
  void drop_below(Version bound,
                  const std::function<void(std::string_view, bool)>& dropped) override;
  void drop_tombstone(std::string_view id) override;
  std::size_t live() const override { return live_; }
  std::size_t tombstones() const override { return dead_; }
  std::size_t bytes() const override;

  MoveStep move_blocks(std::uint64_t from, std::size_t limit) override;
  Collection* move_object() override;

  bool is_large() const { return large_ != 0; }

  // for_each without the indirection.
  template <class F>
  bool each(F&& f) const {
    if (large_) return table_->for_each([&f](const Node* n) { return f(view(*n)); });
    if (!block_) return true;
    const char* const end = block_end();
    const Version first = first_version();
    for (const char* at = block_ + header_size; at != end;) {
      ElementView e;
      at = read_entry(at, first, e);
      if (!f(std::as_const(e))) return false;
    }
    return true;
  }

  // One step of a scan: calls f for about `count` elements from `cursor` (0: the start), tombstones
  // too, and returns the next cursor; 0 at the end. An element that is there all the while is seen.
  template <class F>
  std::uint64_t walk(std::uint64_t cursor, std::size_t count, F&& f) const {
    if (!large_) {
      each([&f](const ElementView& e) { return f(e), true; });
      return 0;
    }
    std::size_t seen = 0;
    // Groups may be empty: a bound on the steps keeps one call short.
    for (std::size_t steps = 0; steps < count; ++steps) {
      cursor = table_->walk(cursor, [&](const Node* n) { f(view(*n)), ++seen; });
      if (cursor == 0 || seen >= count) break;
    }
    return cursor;
  }

  // A live element, each as likely as the others; there must be one.
  ElementView random(Random& random) const;

 private:
  static constexpr std::size_t header_size = 12;

  // Where an element lies: in the block, or where its Node hangs.
  struct Place {
    char* entry = nullptr;
    std::size_t size = 0;
    Node** node = nullptr;
    explicit operator bool() const { return entry || node; }
  };
  // What an element is to become.
  struct Content {
    Version version;
    bool tombstone;
    bool has_sums;
    std::string_view stored;
    // As in an entry: 1 a tombstone, 2 with sums.
    unsigned flags() const { return (tombstone ? 1u : 0u) | (has_sums ? 2u : 0u); }
  };

  static ElementView view(const Node& n) {
    return {n.key(), {n.version, n.has(Node::tombstone), n.has(Node::sums), n.value()}};
  }
  static constexpr unsigned id_mask = 63, later_bit = 64, content_bit = 128;

  static const char* read_id(const char* at, unsigned& head, std::string_view& id) {
    head = static_cast<unsigned char>(*at++);
    std::size_t n = head & id_mask;
    if (n == id_mask) n += static_cast<unsigned char>(*at++);
    id = {at, n};
    return at + n;
  }
  // Reads what stands behind the id.
  static const char* read_content(const char* at, unsigned head, Version first, Cell& cell) {
    std::uint64_t delta = 0, tail = 0;
    if (head & later_bit) at = read_varint(at, delta);
    if (head & content_bit) at = read_varint(at, tail);
    cell.version = version_at(first, delta);
    cell.tombstone = (tail & 1) != 0;
    cell.has_sums = (tail & 2) != 0;
    cell.stored = {at, static_cast<std::size_t>(tail >> 2)};
    return at + (tail >> 2);
  }
  static const char* read_entry(const char* at, Version first, ElementView& e) {
    unsigned head;
    at = read_id(at, head, e.id);
    return read_content(at, head, first, e.cell);
  }

  std::uint16_t header_u16(std::size_t offset) const {
    std::uint16_t v;
    std::memcpy(&v, block_ + offset, 2);
    return v;
  }
  void set_header_u16(std::size_t offset, std::size_t value) {
    const auto v = static_cast<std::uint16_t>(value);
    std::memcpy(block_ + offset, &v, 2);
  }
  Version first_version() const {
    Version v;
    std::memcpy(&v.bits, block_, 8);
    return v;
  }
  std::size_t used() const { return header_u16(8); }
  std::size_t capacity() const { return header_u16(10); }
  char* block_end() const { return block_ + used(); }

  Place place_of(std::string_view id, std::uint64_t hash, Cell& cell) const;
  void put(const Place& place, std::string_view id, std::uint64_t hash, const Content& content);
  // False when it does not fit the small form.
  bool put_small(const Place& place, std::string_view id, const Content& content);
  void put_large(Node** at, std::string_view id, std::uint64_t hash, const Content& content);
  void forget(const Place& place);
  // Makes the part of the block at `entry` that is `before` bytes long `after` bytes long.
  char* resize_entry(char* entry, std::size_t before, std::size_t after);
  void become_large();
  void count(bool was, bool was_live, bool is, bool is_live);

  Slabs& slabs() const { return Slabs::of(this); }

  union {
    char* block_ = nullptr;  // nullptr: empty
    NodeTable* table_;
  };
  std::uint32_t live_ = 0;
  std::uint32_t dead_ : 31 = 0;
  std::uint32_t large_ : 1 = 0;
};
static_assert(sizeof(MapCollection) == 32);

}  // namespace gyre
