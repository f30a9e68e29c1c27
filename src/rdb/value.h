// Values in Redis' RDB encoding: what DUMP gives out and RESTORE takes, and what stands behind each
// key of an RDB file.
//
// Written is one form per type, the plain one (string, list, set, hash, zset 2), which every Redis
// since 4 reads and turns into its own; a stream as Redis 7.0 does (rdb/stream.h). Read is every
// form that Redis 4 to 7.0 writes: plain ones, ziplists, listpacks, intsets, zipmaps, quicklists,
// and strings that are numbers or compressed.
//
// A payload of DUMP is  | type u8 | value | version le16 | crc64 le64 of all before |.
//
// Bytes come from clients: each length is checked before it is used, what unpacks must fit `room`,
// and an element that is named twice, an empty collection or a score that is no number is refused.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "record/effect.h"

namespace gyre::rdb {

inline constexpr std::uint16_t version = 10;  // of Redis 7.0

// What a stream has beside the fields and values of its entries, which are the Value's parts.
struct StreamValue {
  struct Id {
    std::uint64_t ms = 0, seq = 0;
    auto operator<=>(const Id&) const = default;
  };
  struct Entry {
    Id id;
    std::size_t words = 0;  // of the parts: fields and values
    bool operator==(const Entry&) const = default;
  };
  static constexpr std::size_t nobody = ~std::size_t{0};
  struct Delivery {
    Id id;
    std::int64_t at = 0;  // ms
    std::uint64_t count = 0;
    std::size_t consumer = nobody;
    bool operator==(const Delivery&) const = default;
  };
  struct Consumer {
    std::string_view name;
    std::int64_t seen = 0;  // ms
    bool operator==(const Consumer&) const = default;
  };
  struct Group {
    std::string_view name;
    Id last;
    std::int64_t entries_read = -1;
    std::vector<Delivery> pending;  // ids ascending
    std::vector<Consumer> consumers;
    bool operator==(const Group&) const = default;
  };
  std::vector<Entry> entries;  // ids ascending
  Id last, highest_deleted;
  std::uint64_t added = 0;
  std::vector<Group> groups;
  bool operator==(const StreamValue&) const = default;
};

// A value on its way in or out. Views point into the input, into `kept`, or where the writer said.
struct Value {
  Value() = default;
  Value(Value&&) = default;  // `kept` stays where it is; a copy's views would not
  Value& operator=(Value&&) = default;

  TypeId type = TypeId::none;
  // A string's bytes; the elements of a list or set in order; field after value of a hash; the
  // members of a sorted set; field and value of each of a stream's entries.
  std::vector<std::string_view> parts;
  std::vector<double> scores;  // of the members of a sorted set
  std::optional<StreamValue> stream;
  std::deque<std::string> kept;

  std::string_view keep(std::string text) { return kept.emplace_back(std::move(text)); }
};

// Appends type byte and value.
void write_value(std::string& to, const Value& value);
// Reads a value whose type byte was read; nothing when it is not whole, or of a type that is not
// known (modules). `room`: how many bytes its compressed parts may unpack to.
std::optional<Value> read_value(Reader& in, std::uint8_t type, std::size_t room);

// Parts of an RDB file as well. A length; a string, compressed when that is shorter.
void write_length(std::string& to, std::uint64_t n);
std::optional<std::uint64_t> read_count(Reader& in);
void write_string(std::string& to, std::string_view text);

std::string dump_payload(const Value& value);
// The same of type byte and value as they stand in an RDB file.
std::string sealed_payload(std::string value);
// Whether version and checksum are right.
bool payload_intact(std::string_view payload);
// The value of an intact payload.
std::optional<Value> payload_value(std::string_view payload, std::size_t room);

}  // namespace gyre::rdb
