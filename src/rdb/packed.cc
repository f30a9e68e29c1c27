#include "rdb/packed.h"

#include "base/numbers.h"

namespace gyre::rdb {
namespace {

constexpr std::uint8_t end_mark = 0xff;

void add_number(Value& value, std::int64_t n) {
  value.parts.push_back(value.keep(format_int(n)));
}

// A text of a length that was read; false when there is not so much.
bool add_text(Value& value, Reader& in, std::uint64_t length) {
  if (length > in.left()) return false;
  value.parts.push_back(in.raw(static_cast<std::size_t>(length)));
  return in.ok();
}

// One element of a ziplist behind the length of its predecessor; `head` is its first byte.
bool read_ziplist_element(Reader& in, std::uint8_t head, Value& value) {
  switch (head >> 6) {
    case 0:
      return add_text(value, in, head & 0x3f);
    case 1:
      return add_text(value, in, static_cast<std::uint64_t>(head & 0x3f) << 8 | in.u8());
    case 2:
      return head == 0x80 && add_text(value, in, in.be32());
    default:
      break;
  }
  unsigned bytes = 0;
  switch (head) {
    case 0xc0:
      bytes = 2;
      break;
    case 0xd0:
      bytes = 4;
      break;
    case 0xe0:
      bytes = 8;
      break;
    case 0xf0:
      bytes = 3;
      break;
    case 0xfe:
      bytes = 1;
      break;
    default:
      if (head < 0xf1 || head > 0xfd) return false;
      return add_number(value, (head & 0x0f) - 1), true;
  }
  add_number(value, le_signed(in, bytes));
  return in.ok();
}

// How many bytes the length of a listpack's element takes behind it.
std::size_t back_length_bytes(std::size_t element) {
  if (element <= 127) return 1;
  if (element < 16383) return 2;
  if (element < 2097151) return 3;
  return element < 268435455 ? 4 : 5;
}

bool read_listpack_element(Reader& in, std::uint8_t head, Value& value) {
  if (head < 0x80) return add_number(value, head), true;
  if (head < 0xc0) return add_text(value, in, head & 0x3f);
  if (head < 0xe0) {
    const int raw = (head & 0x1f) << 8 | in.u8();
    add_number(value, raw < 4096 ? raw : raw - 8192);
    return in.ok();
  }
  if (head < 0xf0)
    return add_text(value, in, static_cast<std::uint64_t>(head & 0x0f) << 8 | in.u8());
  switch (head) {
    case 0xf0:
      return add_text(value, in, le_unsigned(in, 4));
    case 0xf1:
      add_number(value, le_signed(in, 2));
      break;
    case 0xf2:
      add_number(value, le_signed(in, 3));
      break;
    case 0xf3:
      add_number(value, le_signed(in, 4));
      break;
    case 0xf4:
      add_number(value, le_signed(in, 8));
      break;
    default:
      return false;
  }
  return in.ok();
}

// A length of a zipmap: one byte, or 254 and four more. 255 is the end and no length.
std::optional<std::uint64_t> zipmap_length(Reader& in, std::uint8_t first) {
  if (first == end_mark) return std::nullopt;
  return first < 254 ? first : le_unsigned(in, 4);
}

}  // namespace

void put_le(std::string& to, std::uint64_t n, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) put_u8(to, static_cast<std::uint8_t>(n >> (8 * i)));
}

std::uint64_t le_unsigned(Reader& in, unsigned bytes) {
  std::uint64_t n = 0;
  for (unsigned i = 0; i < bytes; ++i) n |= static_cast<std::uint64_t>(in.u8()) << (8 * i);
  return n;
}

std::int64_t le_signed(Reader& in, unsigned bytes) {
  const unsigned unused = 64 - 8 * bytes;
  return static_cast<std::int64_t>(le_unsigned(in, bytes) << unused) >> unused;
}

bool read_ziplist(std::string_view bytes, Value& value) {
  Reader in(bytes);
  const std::uint64_t total = le_unsigned(in, 4);
  le_unsigned(in, 4);  // where the last element begins
  const std::uint64_t count = le_unsigned(in, 2);
  if (!in.ok() || total != bytes.size()) return false;
  const std::size_t before = value.parts.size();
  for (;;) {
    const std::uint8_t previous = in.u8();
    if (!in.ok()) return false;
    if (previous == end_mark) break;
    if (previous == 0xfe) in.be32();
    if (!read_ziplist_element(in, in.u8(), value) || !in.ok()) return false;
  }
  // 65535 stands for any number that does not fit.
  return in.done() && (count == 0xffff || count == value.parts.size() - before);
}

bool read_listpack(std::string_view bytes, Value& value) {
  Reader in(bytes);
  const std::uint64_t total = le_unsigned(in, 4);
  const std::uint64_t count = le_unsigned(in, 2);
  if (!in.ok() || total != bytes.size()) return false;
  const std::size_t before = value.parts.size();
  for (;;) {
    const std::size_t left = in.left();
    const std::uint8_t head = in.u8();
    if (!in.ok()) return false;
    if (head == end_mark) break;
    if (!read_listpack_element(in, head, value)) return false;
    in.raw(back_length_bytes(left - in.left()));
    if (!in.ok()) return false;
  }
  return in.done() && (count == 0xffff || count == value.parts.size() - before);
}

bool read_zipmap(std::string_view bytes, Value& value) {
  Reader in(bytes);
  in.u8();  // how many pairs, when few; the end mark says it anyway
  for (;;) {
    const std::uint8_t first = in.u8();
    if (!in.ok()) return false;
    if (first == end_mark) return in.done();
    const auto field = zipmap_length(in, first);
    if (!field || !add_text(value, in, *field)) return false;
    const auto length = zipmap_length(in, in.u8());
    const std::uint8_t unused = in.u8();  // bytes behind the value that an earlier one had taken
    if (!length || !add_text(value, in, *length)) return false;
    in.raw(unused);
    if (!in.ok()) return false;
  }
}

bool read_intset(std::string_view bytes, Value& value) {
  Reader in(bytes);
  const auto width = static_cast<unsigned>(le_unsigned(in, 4));
  const std::uint64_t count = le_unsigned(in, 4);
  if (!in.ok() || (width != 2 && width != 4 && width != 8)) return false;
  if (count != in.left() / width || in.left() % width != 0) return false;
  for (std::uint64_t i = 0; i < count; ++i) add_number(value, le_signed(in, width));
  return in.ok();
}

}  // namespace gyre::rdb
