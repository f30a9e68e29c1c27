// Node: one allocation that holds a key and its value; an entry of a NodeTable.
//
// The same layout serves records (key -> string value or pointer to a collection) and the elements
// of large collections (id -> payload):
//
//   0        8            12         14     15      16
//   | version | value size | key size | type | flags | [expiry ms 8 | expiry version 8] | [key size
//   4] | key | value |
//
// The bracketed parts are there when their flag is set. Nothing in it is a pointer but a boxed
// value, so a Node moves by copying bytes.
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
    long_key = 2,
    boxed = 4,      // record: the value is a pointer to a Collection
    tombstone = 8,  // element: removed. record: no base value (counter sums alone, or nothing)
    sums = 16,      // the value is a cell in its long form (record/cell.h)
    floored = 32,   // the value starts with an explicit 8-byte floor: a string, or a stub
  };

  Version version;

  static Node* make(Slabs& slabs, std::string_view key, std::size_t value_size, std::uint8_t type,
                    std::uint8_t flags, Version version) {
    const bool is_long = key.size() >= 0xffff;
    flags = static_cast<std::uint8_t>(is_long ? flags | long_key : flags & ~long_key);
    GYRE_ASSERT(value_size <= 0xffffffffu);
    auto* node = static_cast<Node*>(slabs.allocate(bytes_for(key.size(), value_size, flags)));
    node->version = version;
    node->value_size_ = static_cast<std::uint32_t>(value_size);
    node->key_size_ = is_long ? std::uint16_t{0xffff} : static_cast<std::uint16_t>(key.size());
    node->type_ = type;
    node->flags_ = flags;
    if (is_long) {
      const auto n = static_cast<std::uint32_t>(key.size());
      std::memcpy(node->tail() + ((flags & has_expiry) ? 16 : 0), &n, 4);
    }
    std::memcpy(node->key_data(), key.data(), key.size());
    return node;
  }
  static void release(Slabs& slabs, Node* node) { slabs.release(node, node->bytes()); }

  // True when a node of these sizes takes the same block, so that it can be overwritten in place.
  bool fits(std::size_t value_size, std::uint8_t flags) const {
    return ((flags ^ flags_) & has_expiry) == 0 &&
           Slabs::rounded(bytes_for(key_size(), value_size, flags_)) == Slabs::rounded(bytes());
  }
  void resize_in_place(std::size_t value_size) {
    value_size_ = static_cast<std::uint32_t>(value_size);
  }

  std::uint8_t type() const { return type_; }
  void set_type(std::uint8_t type) { type_ = type; }
  std::uint8_t flags() const { return flags_; }
  bool has(Flag f) const { return (flags_ & f) != 0; }
  // Only flags that do not change the layout.
  void set_flags(std::uint8_t flags) { flags_ = flags; }

  std::size_t key_size() const {
    if (!(flags_ & long_key)) return key_size_;
    std::uint32_t n;
    std::memcpy(&n, tail() + ((flags_ & has_expiry) ? 16 : 0), 4);
    return n;
  }
  std::string_view key() const { return {key_data(), key_size()}; }
  std::string_view value() const { return {key_data() + key_size(), value_size_}; }
  char* value_data() { return key_data() + key_size(); }
  std::size_t value_size() const { return value_size_; }

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

  std::size_t bytes() const { return bytes_for(key_size(), value_size_, flags_); }

 private:
  static std::size_t bytes_for(std::size_t key_size, std::size_t value_size, std::uint8_t flags) {
    return sizeof(Node) + ((flags & has_expiry) ? 16u : 0u) + ((flags & long_key) ? 4u : 0u) +
           key_size + value_size;
  }
  const char* tail() const { return reinterpret_cast<const char*>(this + 1); }
  char* tail() { return reinterpret_cast<char*>(this + 1); }
  const char* key_data() const {
    return tail() + ((flags_ & has_expiry) ? 16 : 0) + ((flags_ & long_key) ? 4 : 0);
  }
  char* key_data() {
    return tail() + ((flags_ & has_expiry) ? 16 : 0) + ((flags_ & long_key) ? 4 : 0);
  }

  std::uint32_t value_size_;
  std::uint16_t key_size_;
  std::uint8_t type_;
  std::uint8_t flags_;
};
static_assert(sizeof(Node) == 16);

}  // namespace gyre
