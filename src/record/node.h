// Node: one allocation that holds a key and its value; an entry of a NodeTable.
//
// The same layout serves records (key -> string value or pointer to a collection) and the elements
// of large collections (id -> payload):
//
//   0         8            10         12              13      14            16
//   | version | value size | key size | type, access | flags | access, low |
//             [expiry ms 8 | expiry version 8] | [key size 4 | value size 4] | key | value |
//
// The bracketed parts are there when their flag is set. Nothing in it is a pointer but a boxed
// value, so a Node moves by copying bytes. The type takes 4 bits; `access`, of a record, 20: when
// or how often it was used (shard/access.h).
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/slabs.h"
#include "record/version.h"

namespace gyre {

struct Expiry {
  UnixMs at_ms = 0;   // 0: no expiry
  Version version{};  // of the register; zero: the register was never written
  bool operator==(const Expiry&) const = default;
};

class Node {
 public:
  enum Flag : std::uint8_t {
    has_expiry = 1,
    long_sizes = 2,  // of key or value; both sizes have 4 bytes then
    boxed = 4,       // record: the value is a pointer to a Collection
    tombstone = 8,   // element: removed. record: no base value (counter sums alone, or nothing)
    sums = 16,       // the value is a cell in its long form (record/cell.h)
    floored = 32,    // the value starts with an explicit 8-byte floor: a string, or a stub
  };

  Version version;

  static Node* make(Slabs& slabs, std::string_view key, std::size_t value_size, std::uint8_t type,
                    std::uint8_t flags, Version version) {
    GYRE_ASSERT(key.size() <= 0xffffffffu && value_size <= 0xffffffffu);
    const bool is_long = needs_long(key.size(), value_size);
    flags = static_cast<std::uint8_t>(is_long ? flags | long_sizes : flags & ~long_sizes);
    auto* node = static_cast<Node*>(slabs.allocate(bytes_for(key.size(), value_size, flags)));
    node->version = version;
    node->key_size_ = static_cast<std::uint16_t>(is_long ? 0 : key.size());
    node->type_ = type;
    node->flags_ = flags;
    node->access_ = 0;
    if (is_long) node->set_long(0, key.size());
    node->resize_in_place(value_size);
    std::memcpy(node->key_data(), key.data(), key.size());
    return node;
  }
  static void release(Slabs& slabs, Node* node) { slabs.release(node, node->bytes()); }
  // Somewhere else, when its slab is to become empty. Whether it was.
  static bool move_if_draining(Slabs& slabs, Node*& node) {
    return move_if_draining(slabs, node, [](Node*, Node*) {});
  }
  // As above; while both are there it calls moving(old, fresh).
  template <class F>
  static bool move_if_draining(Slabs& slabs, Node*& node, F&& moving) {
    Node* const old = node;
    const std::size_t bytes = old->bytes();
    Node* const fresh = slabs.copy_if_draining(old, bytes);
    if (!fresh) return false;
    moving(old, fresh);
    slabs.release(old, bytes);
    node = fresh;
    return true;
  }

  // True when a node of these sizes takes the same block, so that it can be overwritten in place.
  bool fits(std::size_t value_size, std::uint8_t flags) const {
    if (value_size == this->value_size()) return ((flags ^ flags_) & has_expiry) == 0;
    const std::size_t key = key_size();
    return ((flags ^ flags_) & has_expiry) == 0 && needs_long(key, value_size) == has(long_sizes) &&
           Slabs::rounded(bytes_for(key, value_size, flags_)) == Slabs::rounded(bytes());
  }
  // Only to a size that fits().
  void resize_in_place(std::size_t value_size) {
    if (flags_ & long_sizes) return set_long(4, value_size);
    value_size_ = static_cast<std::uint16_t>(value_size);
  }

  std::uint8_t type() const { return type_ & type_mask; }
  static constexpr std::uint32_t access_bits = 20;
  std::uint32_t access() const { return access_ | (std::uint32_t{type_} >> 4) << 16; }
  void set_access(std::uint32_t access) {
    access_ = static_cast<std::uint16_t>(access);
    type_ = static_cast<std::uint8_t>((type_ & type_mask) | (access >> 16) << 4);
  }
  std::uint8_t flags() const { return flags_; }
  bool has(Flag f) const { return (flags_ & f) != 0; }
  // Only flags that do not change the layout.
  void set_flags(std::uint8_t flags) { flags_ = flags; }

  std::size_t key_size() const { return flags_ & long_sizes ? long_size(0) : key_size_; }
  std::string_view key() const { return {key_data(), key_size()}; }
  std::string_view value() const { return {key_data() + key_size(), value_size()}; }
  char* value_data() { return key_data() + key_size(); }
  std::size_t value_size() const { return flags_ & long_sizes ? long_size(4) : value_size_; }

  Expiry expiry() const {
    Expiry e;
    if (flags_ & has_expiry) {
      std::memcpy(&e.at_ms, tail(), 8);
      std::memcpy(&e.version, tail() + 8, 8);
    }
    return e;
  }
  void set_expiry(Expiry e) {
    GYRE_ASSERT(flags_ & has_expiry);
    std::memcpy(tail(), &e.at_ms, 8);
    std::memcpy(tail() + 8, &e.version, 8);
  }

  std::size_t bytes() const { return bytes_for(key_size(), value_size(), flags_); }

 private:
  static constexpr std::uint8_t type_mask = 15;

  static bool needs_long(std::size_t key_size, std::size_t value_size) {
    return (key_size | value_size) > 0xffff;
  }
  std::size_t long_size(std::size_t at) const {
    std::uint32_t n;
    std::memcpy(&n, tail() + ((flags_ & has_expiry) ? 16 : 0) + at, 4);
    return n;
  }
  void set_long(std::size_t at, std::size_t size) {
    const auto n = static_cast<std::uint32_t>(size);
    std::memcpy(tail() + ((flags_ & has_expiry) ? 16 : 0) + at, &n, 4);
  }
  static std::size_t bytes_for(std::size_t key_size, std::size_t value_size, std::uint8_t flags) {
    return sizeof(Node) + ((flags & has_expiry) ? 16u : 0u) + ((flags & long_sizes) ? 8u : 0u) +
           key_size + value_size;
  }
  const char* tail() const { return reinterpret_cast<const char*>(this + 1); }
  char* tail() { return reinterpret_cast<char*>(this + 1); }
  const char* key_data() const {
    return tail() + ((flags_ & has_expiry) ? 16 : 0) + ((flags_ & long_sizes) ? 8 : 0);
  }
  char* key_data() {
    return tail() + ((flags_ & has_expiry) ? 16 : 0) + ((flags_ & long_sizes) ? 8 : 0);
  }

  std::uint16_t value_size_, key_size_;  // when both are short
  std::uint8_t type_;                    // the low 4 bits; the others are of the access
  std::uint8_t flags_;
  std::uint16_t access_;
};
static_assert(sizeof(Node) == 16);

}  // namespace gyre
