// StoreBatch: what one loop turn of a shard writes to the store, in order, all or nothing.
//
// The bytes are RocksDB's own WriteBatch representation (db/write_batch.cc in its sources), so that
// the storage thread hands them over without a second encoding:
//
//   0        8      12
//   +--------+------+----------------------------------------------+
//   | seq 0  |count | records ...                                  |   little-endian
//   +--------+------+----------------------------------------------+
//   put          0x01 | varint32 n, key   | varint32 n, value
//   erase        0x00 | varint32 n, key
//   erase_range  0x0f | varint32 n, first | varint32 n, last (exclusive)
//   note         0x03 | varint32 n, text            in the log only, never a row, not counted
//
// Invariants: count() is the number of puts, erases and range erases; a later record wins.
// Threading:  a value; one owner at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gyre {

class StoreBatch {
 public:
  enum class Kind : std::uint8_t { erase = 0x0, put = 0x1, note = 0x3, erase_range = 0xf };

  // One record as read back. value: what was put, or the end of an erased range.
  struct Record {
    Kind kind;
    std::string_view key;
    std::string_view value;
  };

  static constexpr std::size_t header_bytes = 12;

  StoreBatch() = default;
  StoreBatch(const StoreBatch&) = default;
  StoreBatch& operator=(const StoreBatch&) = default;
  StoreBatch(StoreBatch&& other) noexcept : rep_(std::move(other.rep_)), count_(other.count_) {
    other.clear();
  }
  StoreBatch& operator=(StoreBatch&& other) noexcept {
    if (this == &other) return *this;
    rep_ = std::move(other.rep_);
    count_ = other.count_;
    other.clear();
    return *this;
  }

  void put(std::string_view key, std::string_view value);
  void erase(std::string_view key);
  // Erases every row from `first` on, `last` not included. Nothing when last <= first.
  void erase_range(std::string_view first, std::string_view last);
  void note(std::string_view text);
  // Adds the other batch's records after one's own.
  void append(const StoreBatch& other);

  // Makes room for so many more bytes of keys and values.
  void reserve(std::size_t more_bytes) { rep_.reserve(rep_.size() + header_bytes + more_bytes); }

  std::uint32_t count() const { return count_; }
  bool empty() const { return rep_.size() <= header_bytes; }
  // Size of the representation; 0 before the first record.
  std::size_t bytes() const { return rep_.size(); }
  // Forgets the records and keeps the memory.
  void clear() {
    rep_.clear();
    count_ = 0;
  }
  // The finished representation; the batch is empty afterwards.
  std::string take();

  // Calls visit(const Record&) for each record in order. Views live as long as the batch.
  template <class Visitor>
  void for_each(Visitor&& visit) const {
    std::string_view rest = records(rep_);
    Record record{};
    while (next(rest, record)) visit(static_cast<const Record&>(record));
  }

  // The records behind the header of a representation; empty when it is too short.
  static std::string_view records(std::string_view rep);
  // Takes the first record off `rest`. False at the end; also when what is left is no record, and
  // then `rest` is not empty.
  static bool next(std::string_view& rest, Record& record);

 private:
  void begin(Kind kind);
  void string(std::string_view bytes);

  std::string rep_;
  std::uint32_t count_ = 0;
};

}  // namespace gyre
