// Bitmaps: bits of strings, counted, searched and combined. A change writes the whole value anew
// and keeps the expiry, as SETRANGE; BITOP overwrites its destination. Integers within
// bits: bitfield.cc.

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>

#include "commands/bits.h"
#include "commands/elements.h"
#include "commands/parse.h"
#include "commands/table.h"

namespace gyre {
namespace {

// The bit that argument `i` names; answers the error and nothing when the value could not be so
// long.
std::optional<std::uint64_t> bit_offset(CommandContext& ctx, std::size_t i) {
  const auto bit = int_arg(ctx, i, bit_offset_error);
  if (!bit) return std::nullopt;
  if (*bit < 0 || static_cast<std::uint64_t>(*bit) >> 3 >= ctx.options.proto_max_bulk_len) {
    ctx.reply.error(bit_offset_error);
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(*bit);
}

void setbit(CommandContext& ctx) {
  const auto bit = bit_offset(ctx, 2);
  if (!bit) return;
  constexpr const char* error = "bit is not an integer or out of range";
  const auto on = int_arg(ctx, 3, error);
  if (!on) return;
  if (*on != 0 && *on != 1) return ctx.reply.error(error);
  const auto key = typed_key(ctx, 1, TypeId::string);
  if (!key) return;
  std::string value = key->exists() ? cell_text(key->cell()) : std::string();
  const bool before = bit_of(value, *bit);
  const std::size_t at = *bit >> 3;
  if (at < value.size() && before == (*on == 1)) return ctx.reply.integer(*on);
  if (value.size() <= at) value.resize(at + 1, '\0');
  set_bit(value, *bit, *on == 1);
  Write w(ctx, *key, TypeId::string);
  w.overwrite_keeping_expiry();
  w.set_string(value);
  w.commit(event::string, "setbit");
  ctx.reply.integer(before ? 1 : 0);
}

void getbit(CommandContext& ctx) {
  const auto bit = bit_offset(ctx, 2);
  if (!bit) return;
  const auto key = typed_key(ctx, 1, TypeId::string);
  if (!key) return;
  if (!key->exists()) return ctx.reply.integer(0);
  const Cell cell = key->cell();
  const bool on = cell.has_sums ? bit_of(cell_text(cell), *bit) : bit_of(cell.stored, *bit);
  ctx.reply.integer(on ? 1 : 0);
}

std::uint64_t count_bytes(std::string_view bytes) {
  std::uint64_t n = 0, word = 0;
  while (bytes.size() >= sizeof word) {
    std::memcpy(&word, bytes.data(), sizeof word);
    n += static_cast<std::uint64_t>(std::popcount(word));
    bytes.remove_prefix(sizeof word);
  }
  for (const char c : bytes)
    n += static_cast<std::uint64_t>(std::popcount(static_cast<unsigned char>(c)));
  return n;
}

// Bits first..last, both in the value.
std::uint64_t count_bits(std::string_view value, std::uint64_t first, std::uint64_t last) {
  std::uint64_t n = count_bytes(value.substr(first >> 3, (last >> 3) - (first >> 3) + 1));
  for (std::uint64_t b = first & ~std::uint64_t{7}; b < first; ++b) n -= bit_of(value, b);
  for (std::uint64_t b = last + 1; (b & 7) != 0; ++b) n -= bit_of(value, b);
  return n;
}

// A range of bits from the arguments `at` (start), at + 1 (end) and at + 2 (BYTE or BIT), which may
// count from the end. `empty`: nothing lies in it.
struct BitRange {
  std::uint64_t first = 0, last = 0;
  bool empty = false;
};
std::optional<BitRange> bit_range(CommandContext& ctx, std::size_t at, std::size_t bytes,
                                  bool counting) {
  std::int64_t first = 0, last = -1;
  if (ctx.argc() > at) {
    const auto start = int_arg(ctx, at);
    if (!start) return std::nullopt;
    first = *start;
  }
  if (ctx.argc() > at + 1) {
    const auto end = int_arg(ctx, at + 1);
    if (!end) return std::nullopt;
    last = *end;
  }
  BitRange range;
  // Only BITCOUNT looks at this before it cuts the range to the value, and before the unit.
  if (counting && first < 0 && last < 0 && first > last) {
    range.empty = true;
    return range;
  }
  bool bits = false;
  if (ctx.argc() > at + 2) {
    bits = arg_is(ctx, at + 2, "BIT");
    if (!bits && !arg_is(ctx, at + 2, "BYTE")) {
      ctx.reply.error(Errc::syntax);
      return std::nullopt;
    }
  }
  const auto total = static_cast<std::int64_t>(bits ? bytes << 3 : bytes);
  if (first < 0) first = std::max<std::int64_t>(0, total + first);
  if (last < 0) last = std::max<std::int64_t>(0, total + last);
  last = std::min(last, total - 1);
  range.empty = first > last;
  range.first = static_cast<std::uint64_t>(first) << (bits ? 0 : 3);
  range.last =
      bits ? static_cast<std::uint64_t>(last) : (static_cast<std::uint64_t>(last) << 3) + 7;
  return range;
}

void bitcount(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::string);
  if (!key) return;
  if (!key->exists()) return ctx.reply.integer(0);
  if (ctx.argc() == 3 || ctx.argc() > 5) return ctx.reply.error(Errc::syntax);
  std::string scratch;
  const std::string_view value = bytes_of(*key, scratch);
  const auto range = bit_range(ctx, 2, value.size(), true);
  if (!range) return;
  const std::uint64_t n = range->empty ? 0 : count_bits(value, range->first, range->last);
  ctx.reply.integer(static_cast<std::int64_t>(n));
}

void bitpos(CommandContext& ctx) {
  const auto bit = int_arg(ctx, 2);
  if (!bit) return;
  if (*bit != 0 && *bit != 1) return ctx.reply.error("The bit argument must be 1 or 0.");
  const auto key = typed_key(ctx, 1, TypeId::string);
  if (!key) return;
  if (!key->exists()) return ctx.reply.integer(*bit ? -1 : 0);
  if (ctx.argc() > 6) return ctx.reply.error(Errc::syntax);
  // The unit is judged before the end of the range, and behind its start.
  if (ctx.argc() == 6 && parse_int(ctx.arg(3)) && !arg_is(ctx, 5, "bit") && !arg_is(ctx, 5, "byte"))
    return ctx.reply.error(Errc::syntax);
  std::string scratch;
  const std::string_view value = bytes_of(*key, scratch);
  const auto range = bit_range(ctx, 3, value.size(), false);
  if (!range) return;
  if (range->empty) return ctx.reply.integer(-1);
  const char dull = static_cast<char>(*bit ? 0 : 0xff);  // a byte without such a bit
  for (std::uint64_t b = range->first; b <= range->last;) {
    if ((b & 7) == 0 && value[b >> 3] == dull) {
      b += 8;
    } else if (bit_of(value, b) == (*bit == 1)) {
      return ctx.reply.integer(static_cast<std::int64_t>(b));
    } else {
      ++b;
    }
  }
  // Behind the value all is zero; an end that was given is an end.
  const bool open = *bit == 0 && ctx.argc() <= 4;
  ctx.reply.integer(open ? static_cast<std::int64_t>(value.size() << 3) : -1);
}

void bitop(CommandContext& ctx) {
  enum class Op { conjunction, disjunction, exclusive, negation } op{};
  if (arg_is(ctx, 1, "AND"))
    op = Op::conjunction;
  else if (arg_is(ctx, 1, "OR"))
    op = Op::disjunction;
  else if (arg_is(ctx, 1, "XOR"))
    op = Op::exclusive;
  else if (arg_is(ctx, 1, "NOT"))
    op = Op::negation;
  else
    return ctx.reply.error(Errc::syntax);
  if (op == Op::negation && ctx.argc() != 4)
    return ctx.reply.error("BITOP NOT must be called with a single source key.");
  std::string out;
  for (std::size_t i = 3; i < ctx.argc(); ++i) {
    const auto source = typed_key(ctx, i, TypeId::string);
    if (!source) return;
    std::string scratch;
    const std::string_view value = bytes_of(*source, scratch);
    if (i == 3) {
      out = value;
      continue;
    }
    if (out.size() < value.size()) out.resize(value.size(), '\0');
    for (std::size_t b = 0; b < out.size(); ++b) {
      const char c = b < value.size() ? value[b] : '\0';
      out[b] = static_cast<char>(op == Op::conjunction   ? out[b] & c
                                 : op == Op::disjunction ? out[b] | c
                                                         : out[b] ^ c);
    }
  }
  if (op == Op::negation) {
    for (char& c : out) c = static_cast<char>(~c);
  }
  const KeyRef to = ctx.find(ctx.arg(2));
  if (!out.empty()) {
    Write w(ctx, to, TypeId::string);
    w.overwrite();
    w.set_string(out);
    w.commit(event::string, "set");
  } else if (to.exists() || stamps_all(ctx, to)) {
    Write w(ctx, to, TypeId::string);
    w.remove_key();
    w.commit(to.exists() ? event::generic : 0, "del");
  }
  ctx.reply.integer(static_cast<std::int64_t>(out.size()));
}

using namespace flag;

constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "SETBIT",
     .arity = 4,
     .flags = write | denyoom | once | based | conditional,
     .keys = first_key,
     .run = setbit,
     .group = "bitmap",
     .since = "2.2.0",
     .summary = "Sets or clears a bit of a value"},
    {.name = "GETBIT",
     .arity = 3,
     .flags = read | fast,
     .keys = first_key,
     .run = getbit,
     .group = "bitmap",
     .since = "2.2.0",
     .summary = "Returns a bit of a value"},
    {.name = "BITCOUNT",
     .arity = -2,
     .flags = read,
     .keys = first_key,
     .run = bitcount,
     .group = "bitmap",
     .since = "2.6.0",
     .summary = "Counts the bits that are set"},
    {.name = "BITPOS",
     .arity = -3,
     .flags = read,
     .keys = first_key,
     .run = bitpos,
     .group = "bitmap",
     .since = "2.8.7",
     .summary = "Finds the first bit that is set, or not"},
    {.name = "BITOP",
     .arity = -4,
     .flags = write | denyoom | based | conditional | atomic,
     .keys = {2, -1, 1},
     .run = bitop,
     .group = "bitmap",
     .since = "2.6.0",
     .summary = "Combines the bits of several values"},
});

}  // namespace

std::span<const CommandSpec> bitmap_commands() {
  return rows;
}

}  // namespace gyre
