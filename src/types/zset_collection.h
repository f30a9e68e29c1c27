// ZsetCollection: the members of one sorted set with their scores, and their order.
//
// Member -> score is what replicates (design, section 5); the order is an index of this node alone,
// kept up to date inside merge(). A score is 8 bytes, the IEEE bits big-endian; the sums of ZINCRBY
// on a ring are decimal text beside it. What a reader sees, base plus sums, is stored with the
// element, so that comparing never parses text.
//
//   small   one block: live elements in order of (score, member), then tombstones in any order
//           | first version 8 | entry | entry | ...
//           entry:  | member size 1 | varint zigzag(version - first) | varint kind | [score be64] |
//                   [stored size 2: sums] | member | [stored] |
//           kind:   bit 0 a tombstone, bit 1 with sums, bit 2: the score is the number in the bits
//                   above, which is a small integer, and takes no bytes of its own
//   large   a NodeTable by member beside an OrderTree of the live Nodes; a live Node's value is
//           | score be64 | [long form of the cell (record/cell.h): sums] |
//
// Past 128 elements, tombstones too, or with a member over 64 bytes a set becomes large, for good.
// Memory is from the Slabs, the object itself too (make() and delete).
// Invariants: no score is NaN; a live element is in the order exactly once, a tombstone never.
#pragma once

#include <array>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include "record/collection.h"
#include "record/node_table.h"
#include "types/order_tree.h"

namespace gyre {

using ScoreBytes = std::array<char, 8>;

ScoreBytes encode_score(double score);
// Of 8 bytes; anything else, and NaN, is 0: such bytes come from no client.
double decode_score(std::string_view payload);
// The score that a live cell means: base plus sums, added as doubles in the order of the sums' ids.
double score_of(const Cell& cell);

// A border in the order: it says which elements lie before it.
struct ZsetBorder {
  enum class By : std::uint8_t { score, member, both };
  By by = By::score;
  bool past = false;  // what equals the border lies before it, too
  double score = 0;
  std::string_view member;

  static ZsetBorder at_score(double score, bool past) { return {By::score, past, score, {}}; }
  // Among elements of one score, or of all scores where the caller knows them equal.
  static ZsetBorder at_member(std::string_view member, bool past) {
    return {By::member, past, 0, member};
  }
  static ZsetBorder at(double score, std::string_view member) {
    return {By::both, false, score, member};
  }
  // member_of() is called only where scores do not decide.
  template <class F>
  bool above(double s, F&& member_of) const {
    if (by == By::score) return s < score || (past && s == score);
    if (by == By::both && s != score) return s < score;
    const int order = std::string_view(member_of()).compare(member);
    return order < 0 || (past && order == 0);
  }
};

class ZsetCollection final : public Collection {
 public:
  static constexpr std::size_t small_elements_max = 128;
  static constexpr std::size_t small_member_max = 64;

  static Collection* make(Slabs& slabs);
  ~ZsetCollection() override;
  // Gives the object back to the Slabs that it came from.
  static void operator delete(ZsetCollection* self, std::destroying_delete_t);

  CellMerge merge(const Change& change, bool keep_tombstones) override;
  bool find(std::string_view id, Cell& cell) const override;
  bool for_each(const std::function<bool(const ElementView&)>& f) const override;
  void drop_below(Version floor,
                  const std::function<void(std::string_view, bool)>& dropped) override;
  void drop_tombstone(std::string_view id) override;
  std::optional<std::string> total(const Cell& cell) const override;
  std::size_t live() const override { return live_; }
  std::size_t tombstones() const override { return tombstones_; }
  std::size_t bytes() const override;
  // The pages of the order stay where they are.
  MoveStep move_blocks(std::uint64_t from, std::size_t limit) override;
  Collection* move_object() override;

  // The visible score; nothing when the member is absent or removed.
  std::optional<double> score(std::string_view member) const;
  // How many live elements lie before the border.
  std::size_t rank(const ZsetBorder& border) const;
  // Calls visit for `count` elements from a rank on, upward or downward; rank and count lie within
  // what is there. visit must not change anything; it returns false to stop.
  using Visit = std::function<bool(std::string_view member, double score)>;
  void walk(std::size_t rank, std::size_t count, bool downward, const Visit& visit) const;
  // One step of a walk over the live elements that survives changes in between, in no order;
  // returns where the next step begins, 0 after the last. A small set is one step.
  std::uint64_t scan(std::uint64_t cursor, const Visit& visit) const;

  bool small() const { return capacity_ != large_form; }
  // Whether order, counts and table agree; walks everything, for tests.
  bool consistent() const;

 private:
  struct Large {
    explicit Large(Slabs& slabs) : table(slabs), order(slabs) {}
    NodeTable table;
    OrderTree order;
    std::size_t node_bytes = 0;
  };
  // One element of the small form where it lies.
  struct Entry {
    std::size_t at = 0, size = 0;
    Version version{};
    std::uint8_t flags = 0;
    double score = 0;
    std::string_view member;
    std::string_view stored;

    bool live() const;
    Cell cell() const;
  };
  // What an element is to become.
  struct Next {
    Version version{};
    bool tombstone = false;
    bool sums = false;
    std::string_view stored;
    double score = 0;

    bool live() const { return !tombstone || sums; }
    std::uint8_t flags() const;
  };
  static constexpr std::uint32_t large_form = 0xffffffff;

  ZsetCollection() = default;

  Slabs& slabs() const { return Slabs::of(this); }
  char* block() const { return static_cast<char*>(body_); }
  Large& large() const { return *static_cast<Large*>(body_); }
  void account(bool was_known, bool was_live, bool is_known, bool is_live);

  static CellMerge next_of(const Cell* cell, const Change& change, CellState& state, Next& next);
  static Next next_from(const CellState& state, std::string& stored);

  Entry entry(std::size_t at) const;
  std::optional<Entry> find_small(std::string_view member) const;
  std::size_t entries() const { return std::size_t{live_} + tombstones_; }
  void put_small(const std::optional<Entry>& old, std::string_view member, const Next& next);
  void take_out(const Entry& old);
  void forget_small(const Entry& old);
  char* splice(std::size_t at, std::size_t cut, std::size_t add);
  void resize_block(std::size_t needed);
  void become_large();
  bool must_grow(std::string_view member, const Next& next, bool known) const;

  Node** find_large(std::string_view member) const;
  void put_large(Node** at, std::string_view member, const Next& next);
  void forget_large(Node** at);
  static bool node_live(const Node& n);
  static Cell node_cell(const Node& n);

  void put(std::string_view member, const Next& next);
  void forget(std::string_view member);

  static constexpr std::size_t block_header = 8;
  Version first_version() const;

  void* body_ = nullptr;                   // the block, or Large
  std::uint32_t used_ = 0, capacity_ = 0;  // of the block; used by entries
  std::uint32_t live_ = 0, tombstones_ = 0;
};

}  // namespace gyre
