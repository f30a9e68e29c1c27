// NodeTable: open addressing over pointers to Nodes, in groups of 16 with a byte of hash each.
//
// A miss ends after one cache line; a hit compares one key. The home group is a multiply-shift of
// the hash, so the table grows by half and not only double, and stays small: one lives in every
// slot and database, and one in every large collection. It does not own the Nodes.
//
//   group:  | 16 control bytes | 16 pointers |      control: 0x80 empty, 0xfe deleted, else 7 hash
//   bits
//
// A table of few keys is one group whose pointers end after the 4th or the 8th place: of a hundred
// thousand keys six lie in each slot. The control bytes of the places that are not there stay
// empty.
//
// The caller gives the hash (key_hash); growing asks for it again per node.
// Invariant: at least one empty place in every table that is not without groups.
// Source: the control bytes are those of Abseil's Swiss tables; the growth and layout are ours.
#pragma once

#include <emmintrin.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/prefetch.h"
#include "record/node.h"

namespace gyre {

class NodeTable {
 public:
  explicit NodeTable(Slabs& slabs) : slabs_(&slabs) {}
  NodeTable(const NodeTable&) = delete;
  NodeTable& operator=(const NodeTable&) = delete;
  NodeTable(NodeTable&& other) noexcept : slabs_(other.slabs_) { swap(other); }
  NodeTable& operator=(NodeTable&& other) noexcept {
    swap(other);
    return *this;
  }
  ~NodeTable() { clear(); }
  void swap(NodeTable& other) noexcept {
    std::swap(slabs_, other.slabs_);
    std::swap(groups_, other.groups_);
    std::swap(group_count_, other.group_count_);
    std::swap(used_, other.used_);
    std::swap(deleted_, other.deleted_);
    std::swap(places_, other.places_);
  }

  std::size_t size() const { return used_; }
  std::size_t bytes() const { return Slabs::rounded(bytes_for(group_count_, places_)); }

  void prefetch_group(std::uint64_t hash) const {
    if (!groups_) return;
    const Group& g = groups_[home(hash)];
    prefetch(&g);
    prefetch(reinterpret_cast<const char*>(&g) + 64);
    prefetch(reinterpret_cast<const char*>(&g) + 128);
  }
  void prefetch_node(std::uint64_t hash) const {
    if (!groups_) return;
    const Group& g = groups_[home(hash)];
    if (const unsigned m = match(g, tag(hash))) {
      const char* node = reinterpret_cast<const char*>(g.node[__builtin_ctz(m)]);
      prefetch(node);
      prefetch(node + 63);
    }
  }

  // Where the node of this key hangs, or nullptr. Valid until the next insert or erase.
  Node** find(std::string_view key, std::uint64_t hash) const {
    if (!groups_) return nullptr;
    for (std::uint32_t g = home(hash);; g = g + 1 == group_count_ ? 0 : g + 1) {
      Group& group = groups_[g];
      for (unsigned m = match(group, tag(hash)); m; m &= m - 1) {
        Node*& node = group.node[__builtin_ctz(m)];
        if (equal_bytes(node->key(), key)) return &node;
      }
      if (match(group, empty)) return nullptr;
    }
  }

  // The key must not be there. Returns where it hangs.
  Node** insert(Node* node, std::uint64_t hash) {
    const std::size_t most = places_ < 16 ? places_ : std::size_t{group_count_} * 14;
    if (std::size_t{used_} + deleted_ + 1 > most) rehash(group_count_ ? group_count_ : 1);
    Node** at = place(node, hash);
    ++used_;
    return at;
  }

  // `at` comes from find(); the Node itself is the caller's to release.
  void erase(Node** at) {
    const auto offset =
        static_cast<std::size_t>(reinterpret_cast<char*>(at) - reinterpret_cast<char*>(groups_));
    Group& group = groups_[offset / sizeof(Group)];
    const auto i = static_cast<std::size_t>(at - group.node);
    // A group that still has an empty place ended every probe, so no probe went past it.
    const bool ends_probe = match(group, empty) != 0;
    group.control[i] = ends_probe ? empty : dead;
    if (!ends_probe) ++deleted_;
    group.node[i] = nullptr;
    if (--used_ == 0) clear();
  }

  // Gives room back after many erases: sparse tables make walks and random draws slow. Moves every
  // entry, so its owner calls it when it holds no place in the table.
  void shrink() {
    if (group_count_ >= 8 && std::size_t{used_} * 8 < std::size_t{group_count_} * 16)
      rehash(used_ / 8 + 1);
  }

  // A walk in pieces that may put a copy in a node's place: calls f(Node*&) for those of a group.
  std::size_t groups() const { return group_count_; }
  template <class F>
  void for_group(std::size_t g, F&& f) {
    for (unsigned i = 0; i < places_; ++i) {
      if (groups_[g].node[i]) f(groups_[g].node[i]);
    }
  }
  // One step of a walk over the groups, from one of them on over about `limit` nodes, that moves
  // what lies in draining slabs: the table itself first, then nodes, of which moving(old, fresh) is
  // told while both are there.
  template <class F>
  MoveStep move_nodes(std::uint64_t from, std::size_t limit, F&& moving) {
    MoveStep step;
    if (from == 0 && tighten()) ++step.moved;
    for (std::size_t g = from; g < groups(); ++g) {
      if (step.moved + step.left >= limit) {
        step.next = g;
        break;
      }
      for_group(g, [&](Node*& node) {
        ++(Node::move_if_draining(*slabs_, node, moving) ? step.moved : step.left);
      });
    }
    return step;
  }
  // Moves the table if its block is to be moved, or if it needs far less; whether it did.
  bool tighten() {
    if (!groups_) return false;
    const std::size_t bytes = bytes_for(group_count_, places_);
    const auto [count, places] = fitting(1, std::size_t{used_} + 1);
    if (!Slabs::drains(groups_, bytes) && bytes_for(count, places) * 4 > bytes * 3) return false;
    rehash(1);
    return true;
  }

  void clear() {
    if (groups_) slabs_->release(groups_, bytes_for(group_count_, places_));
    groups_ = nullptr;
    group_count_ = 0;
    used_ = deleted_ = 0;
    places_ = 0;
  }

  // Calls f(Node*) for each node; f must not change the table. f returns false to stop.
  template <class F>
  bool for_each(F&& f) const {
    for (std::uint32_t g = 0; g < group_count_; ++g) {
      for (unsigned i = 0; i < places_; ++i) {
        Node* const node = groups_[g].node[i];
        if (node && !f(node)) return false;
      }
    }
    return true;
  }

  // One step of a walk in the order of the hash: calls f(Node*) for every node whose home group is
  // that of `from`, and returns where the next step begins; 0 when all were seen. A key that is
  // there during the whole walk is seen at least once, also when the table grows between the steps.
  template <class F>
  std::uint64_t walk(std::uint64_t from, F&& f) const {
    if (!groups_) return 0;
    const std::uint32_t first = home(from);
    for (std::uint32_t g = first;;) {
      for (unsigned i = 0; i < places_; ++i) {
        Node* const node = groups_[g].node[i];
        if (node && home(key_hash(node->key())) == first) f(node);
      }
      if (match(groups_[g], empty)) break;
      g = g + 1 == group_count_ ? 0 : g + 1;
      if (g == first) break;
    }
    if (first + 1 == group_count_) return 0;
    // The smallest hash whose home is the next group.
    const uint128 next = (static_cast<uint128>(first + 1) << 64) + group_count_ - 1;
    return static_cast<std::uint64_t>(next / group_count_);
  }

  // A uniformly random node; the table is not empty. random() answers 64 random bits.
  template <class R>
  Node* random(R&& random_bits) const {
    for (;;) {
      const auto place = static_cast<std::size_t>(
          (static_cast<uint128>(random_bits()) * (std::size_t{group_count_} * places_)) >> 64);
      if (Node* node = groups_[place / 16].node[place % 16]) return node;
    }
  }

 private:
  struct Group {
    std::int8_t control[16];
    Node* node[16];
  };
  static constexpr std::int8_t empty = -128;
  static constexpr std::int8_t dead = -2;

  static std::int8_t tag(std::uint64_t hash) { return static_cast<std::int8_t>(hash & 0x7f); }
  static unsigned match(const Group& g, std::int8_t byte) {
    const __m128i control = _mm_loadu_si128(reinterpret_cast<const __m128i*>(g.control));
    return static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(control, _mm_set1_epi8(byte))));
  }
  std::uint32_t home(std::uint64_t hash) const {
    return static_cast<std::uint32_t>((static_cast<uint128>(hash) * group_count_) >> 64);
  }

  static std::size_t bytes_for(std::size_t count, unsigned places) {
    return count * sizeof(Group) - (count == 0 ? 0 : (16u - places) * sizeof(Node*));
  }

  // There is an open place; in a group that is cut short the lowest one lies before its end.
  Node** place(Node* node, std::uint64_t hash) {
    for (std::uint32_t g = home(hash);; g = g + 1 == group_count_ ? 0 : g + 1) {
      Group& group = groups_[g];
      const __m128i control = _mm_loadu_si128(reinterpret_cast<const __m128i*>(group.control));
      const auto open =
          static_cast<unsigned>(_mm_movemask_epi8(control));  // the high bit: empty or dead
      if (!open) continue;
      const int i = __builtin_ctz(open);
      if (group.control[i] == dead) --deleted_;
      group.control[i] = tag(hash);
      group.node[i] = node;
      return &group.node[i];
    }
  }

  // Groups, and places of each, for so many nodes.
  static std::pair<std::size_t, std::uint8_t> fitting(std::size_t count, std::size_t needed) {
    while (needed * 8 > count * 16 * 6) count += count / 2 ? count / 2 : 1;
    return {count, static_cast<std::uint8_t>(count > 1 || needed > 8 ? 16 : needed > 4 ? 8 : 4)};
  }

  // Into at least `count` groups, by half as many more until they are enough; the same number again
  // when dead places alone filled the table.
  void rehash(std::size_t count) {
    NodeTable old(*slabs_);
    swap(old);
    std::tie(count, places_) = fitting(count, std::size_t{old.used_} + 1);
    GYRE_ASSERT(count <= 0xffffffffu);
    groups_ = static_cast<Group*>(slabs_->allocate(bytes_for(count, places_)));
    group_count_ = static_cast<std::uint32_t>(count);
    for (std::size_t g = 0; g < count; ++g) {
      std::memset(groups_[g].control, empty, 16);
      std::memset(static_cast<void*>(groups_[g].node), 0, places_ * sizeof(Node*));
    }
    used_ = old.used_;
    deleted_ = 0;
    old.for_each([this](Node* node) {
      place(node, key_hash(node->key()));
      return true;
    });
  }

  Slabs* slabs_;
  Group* groups_ = nullptr;
  std::uint32_t group_count_ = 0;
  std::uint32_t used_ = 0;
  std::uint32_t deleted_ = 0;
  std::uint8_t places_ = 0;  // of each group: 16, or fewer in a table of one
};
static_assert(sizeof(NodeTable) == 32);

}  // namespace gyre
