#include "rdb/value.h"

#include <cmath>
#include <cstring>
#include <unordered_set>

#include <liblzf/lzf.h>

#include "base/assert.h"
#include "base/numbers.h"
#include "rdb/crc64.h"
#include "rdb/packed.h"
#include "rdb/stream.h"

namespace gyre::rdb {
namespace {

// The numbers of the format. 8 was never used; 6 and 7 are modules.
namespace form {
constexpr std::uint8_t string = 0, list = 1, set = 2, zset_text = 3, hash = 4, zset = 5,
                       hash_zipmap = 9, list_ziplist = 10, set_intset = 11, zset_ziplist = 12,
                       hash_ziplist = 13, quicklist = 14, stream = 15, hash_listpack = 16,
                       zset_listpack = 17, quicklist_2 = 18, stream_2 = 19;
}

constexpr std::size_t footer_bytes = 10;
constexpr std::size_t compress_above = 20;
constexpr std::uint8_t encoded = 0xc0;  // with 0, 1, 2: a number of 1, 2, 4 bytes; 3: compressed

// ---- lengths and strings

struct Length {
  std::uint64_t n = 0;
  bool special = false;  // n says how the string is encoded
};

std::optional<Length> read_length(Reader& in) {
  const std::uint8_t first = in.u8();
  if (!in.ok()) return std::nullopt;
  Length length{static_cast<std::uint64_t>(first & 0x3f), false};
  switch (first >> 6) {
    case 0:
      break;
    case 1:
      length.n = length.n << 8 | in.u8();
      break;
    case 2:
      if (first != 0x80 && first != 0x81) return std::nullopt;
      length.n = first == 0x80 ? in.be32() : in.be64();
      break;
    default:
      length.special = true;
  }
  return in.ok() ? std::optional(length) : std::nullopt;
}

// Reads the parts of one value.
class ValueReader {
 public:
  ValueReader(Reader& in, Value& value, std::size_t room) : in_(in), value_(value), room_(room) {}

  bool read(std::uint8_t type);

 private:
  std::optional<std::string_view> string();
  std::optional<std::string_view> compressed();
  bool strings(std::uint64_t count);
  bool plain(std::uint64_t per_element);
  bool plain_zset(bool text_scores);
  std::optional<double> text_score();
  bool quicklist(bool with_containers);
  bool packed(TypeId type, bool (*unpack)(std::string_view, Value&));
  bool split_scores();
  bool distinct(std::size_t step) const;

  Reader& in_;
  Value& value_;
  std::size_t room_;
};

std::optional<std::string_view> ValueReader::string() {
  const auto length = read_length(in_);
  if (!length) return std::nullopt;
  if (!length->special) {
    if (length->n > in_.left()) return std::nullopt;
    return in_.raw(static_cast<std::size_t>(length->n));
  }
  if (length->n == 3) return compressed();
  if (length->n > 2) return std::nullopt;
  const std::int64_t number = le_signed(in_, 1u << length->n);
  if (!in_.ok()) return std::nullopt;
  return value_.keep(format_int(number));
}

std::optional<std::string_view> ValueReader::compressed() {
  const auto packed = read_count(in_), size = read_count(in_);
  if (!packed || !size || *packed > in_.left() || *packed == 0 || *size == 0) return std::nullopt;
  // Three bytes of LZF become 264 at most: what claims more is not worth the memory.
  if (*size > room_ || *size / 88 > *packed) return std::nullopt;
  room_ -= static_cast<std::size_t>(*size);
  const std::string_view from = in_.raw(static_cast<std::size_t>(*packed));
  std::string text(static_cast<std::size_t>(*size), '\0');
  const unsigned made = lzf_decompress(from.data(), static_cast<unsigned>(from.size()), text.data(),
                                       static_cast<unsigned>(text.size()));
  if (made != text.size()) return std::nullopt;
  return value_.keep(std::move(text));
}

bool ValueReader::strings(std::uint64_t count) {
  // Each takes a byte at least, so a count that lies ends with the input.
  for (; count > 0; --count) {
    const auto text = string();
    if (!text) return false;
    value_.parts.push_back(*text);
  }
  return true;
}

bool ValueReader::plain(std::uint64_t per_element) {
  const auto count = read_count(in_);
  return count && *count <= in_.left() && strings(*count * per_element);
}

std::optional<double> ValueReader::text_score() {
  const std::uint8_t size = in_.u8();
  if (!in_.ok() || size == 253) return std::nullopt;
  if (size > 253) return size == 254 ? INFINITY : -INFINITY;
  return parse_double(in_.raw(size));
}

bool ValueReader::plain_zset(bool text_scores) {
  const auto count = read_count(in_);
  if (!count || *count > in_.left()) return false;
  for (std::uint64_t i = 0; i < *count; ++i) {
    if (!strings(1)) return false;
    const auto score =
        text_scores ? text_score() : std::optional(std::bit_cast<double>(le_unsigned(in_, 8)));
    if (!score || !in_.ok() || std::isnan(*score)) return false;
    value_.scores.push_back(*score);
  }
  return true;
}

bool ValueReader::quicklist(bool with_containers) {
  const auto nodes = read_count(in_);
  if (!nodes) return false;
  for (std::uint64_t i = 0; i < *nodes; ++i) {
    std::uint64_t container = 2;  // 1: one element by itself, 2: a packed list
    if (with_containers) {
      const auto given = read_count(in_);
      if (!given || (*given != 1 && *given != 2)) return false;
      container = *given;
    }
    const auto bytes = string();
    if (!bytes) return false;
    if (container == 1) {
      value_.parts.push_back(*bytes);
    } else if (!(with_containers ? read_listpack : read_ziplist)(*bytes, value_)) {
      return false;
    }
  }
  return true;
}

bool ValueReader::packed(TypeId type, bool (*unpack)(std::string_view, Value&)) {
  value_.type = type;
  const auto bytes = string();
  if (!bytes || !unpack(*bytes, value_)) return false;
  return type != TypeId::zset || split_scores();
}

// Members and scores came one after the other.
bool ValueReader::split_scores() {
  std::vector<std::string_view>& parts = value_.parts;
  if (parts.size() % 2 != 0) return false;
  for (std::size_t i = 0; i < parts.size(); i += 2) {
    const auto score = parse_double(parts[i + 1]);
    if (!score) return false;
    value_.scores.push_back(*score);
    parts[i / 2] = parts[i];
  }
  parts.resize(parts.size() / 2);
  return true;
}

bool ValueReader::distinct(std::size_t step) const {
  std::unordered_set<std::string_view> seen;
  for (std::size_t i = 0; i < value_.parts.size(); i += step) {
    if (!seen.insert(value_.parts[i]).second) return false;
  }
  return true;
}

bool ValueReader::read(std::uint8_t type) {
  bool whole = false;
  switch (type) {
    case form::string:
      value_.type = TypeId::string;
      return strings(1);
    case form::list:
      value_.type = TypeId::list;
      whole = plain(1);
      break;
    case form::set:
      value_.type = TypeId::set;
      whole = plain(1);
      break;
    case form::hash:
      value_.type = TypeId::hash;
      whole = plain(2);
      break;
    case form::zset_text:
    case form::zset:
      value_.type = TypeId::zset;
      whole = plain_zset(type == form::zset_text);
      break;
    case form::hash_zipmap:
      whole = packed(TypeId::hash, read_zipmap);
      break;
    case form::list_ziplist:
      whole = packed(TypeId::list, read_ziplist);
      break;
    case form::set_intset:
      whole = packed(TypeId::set, read_intset);
      break;
    case form::zset_ziplist:
      whole = packed(TypeId::zset, read_ziplist);
      break;
    case form::hash_ziplist:
      whole = packed(TypeId::hash, read_ziplist);
      break;
    case form::hash_listpack:
      whole = packed(TypeId::hash, read_listpack);
      break;
    case form::zset_listpack:
      whole = packed(TypeId::zset, read_listpack);
      break;
    case form::quicklist:
    case form::quicklist_2:
      value_.type = TypeId::list;
      whole = quicklist(type == form::quicklist_2);
      break;
    case form::stream:
    case form::stream_2:
      value_.type = TypeId::stream;
      return read_stream(in_, type == form::stream_2, value_, [this] { return string(); });
    default:
      break;
  }
  if (!whole || value_.parts.empty()) return false;
  if (value_.type == TypeId::list) return true;
  if (value_.type != TypeId::hash) return distinct(1);
  return value_.parts.size() % 2 == 0 && distinct(2);
}

// ---- writing

// As a number of up to four bytes; false when the text is none in its canonical form.
bool write_as_number(std::string& to, std::string_view text) {
  if (text.size() > 11) return false;
  const auto number = parse_int(text);
  if (!number) return false;
  for (unsigned form = 0; form <= 2; ++form) {
    const unsigned bytes = 1u << form;
    const std::int64_t bound = std::int64_t{1} << (8 * bytes - 1);
    if (*number < -bound || *number >= bound) continue;
    put_u8(to, static_cast<std::uint8_t>(encoded | form));
    put_le(to, static_cast<std::uint64_t>(*number), bytes);
    return true;
  }
  return false;
}

bool write_compressed(std::string& to, std::string_view text) {
  if (text.size() <= compress_above || text.size() > UINT32_MAX) return false;
  std::string packed(text.size() - 4, '\0');
  const unsigned size = lzf_compress(text.data(), static_cast<unsigned>(text.size()), packed.data(),
                                     static_cast<unsigned>(packed.size()));
  if (size == 0) return false;
  put_u8(to, encoded | 3);
  write_length(to, size);
  write_length(to, text.size());
  to.append(packed, 0, size);
  return true;
}

std::uint8_t form_of(TypeId type) {
  switch (type) {
    case TypeId::string:
      return form::string;
    case TypeId::list:
      return form::list;
    case TypeId::set:
      return form::set;
    case TypeId::hash:
      return form::hash;
    case TypeId::stream:
      return form::stream_2;
    default:
      GYRE_ASSERT(type == TypeId::zset);
      return form::zset;
  }
}

}  // namespace

std::optional<std::uint64_t> read_count(Reader& in) {
  const auto length = read_length(in);
  return length && !length->special ? std::optional(length->n) : std::nullopt;
}

void write_length(std::string& to, std::uint64_t n) {
  if (n < 1u << 6) return put_u8(to, static_cast<std::uint8_t>(n));
  if (n < 1u << 14) return put_be16(to, static_cast<std::uint16_t>(0x4000 | n));
  if (n <= UINT32_MAX) return put_u8(to, 0x80), put_be32(to, static_cast<std::uint32_t>(n));
  put_u8(to, 0x81);
  put_be64(to, n);
}

void write_string(std::string& to, std::string_view text) {
  if (write_as_number(to, text) || write_compressed(to, text)) return;
  write_length(to, text.size());
  to.append(text);
}

void write_value(std::string& to, const Value& value) {
  put_u8(to, form_of(value.type));
  if (value.type == TypeId::string) return write_string(to, value.parts.front());
  if (value.type == TypeId::stream) return write_stream(to, value);
  write_length(to, value.type == TypeId::hash ? value.parts.size() / 2 : value.parts.size());
  for (std::size_t i = 0; i < value.parts.size(); ++i) {
    write_string(to, value.parts[i]);
    if (value.type == TypeId::zset) put_le(to, std::bit_cast<std::uint64_t>(value.scores[i]), 8);
  }
}

std::optional<Value> read_value(Reader& in, std::uint8_t type, std::size_t room) {
  std::optional<Value> value(std::in_place);
  if (!ValueReader(in, *value, room).read(type)) value.reset();
  return value;
}

std::string dump_payload(const Value& value) {
  std::string out;
  write_value(out, value);
  return sealed_payload(std::move(out));
}

std::string sealed_payload(std::string value) {
  put_le(value, version, 2);
  put_le(value, crc64(0, value), 8);
  return value;
}

bool payload_intact(std::string_view payload) {
  if (payload.size() < footer_bytes) return false;
  Reader footer(payload.substr(payload.size() - footer_bytes));
  if (le_unsigned(footer, 2) > version) return false;
  return le_unsigned(footer, 8) == crc64(0, payload.substr(0, payload.size() - 8));
}

std::optional<Value> payload_value(std::string_view payload, std::size_t room) {
  Reader in(payload.substr(0, payload.size() - footer_bytes));
  const std::uint8_t type = in.u8();
  return in.ok() ? read_value(in, type, room) : std::nullopt;
}

}  // namespace gyre::rdb
