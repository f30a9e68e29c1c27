// BITFIELD: integers of 1 to 64 bits anywhere within a string, read, set and added to.
//
// All operations of a command see what the ones before them wrote; the value is written once, at
// the end. Wider than 64 bits is only the arithmetic in between.

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "commands/bits.h"
#include "commands/parse.h"
#include "commands/table.h"

namespace gyre {
namespace {

__extension__ typedef __int128 Wide;  // not in ISO C++

enum class Overflow { wrap, saturate, fail };

struct Field {
  bool is_signed = false;
  unsigned bits = 0;
  std::uint64_t at = 0;  // of its highest bit

  Wide lowest() const { return is_signed ? -(Wide{1} << (bits - 1)) : Wide{0}; }
  Wide highest() const { return (Wide{1} << (is_signed ? bits - 1 : bits)) - 1; }
};

struct Step {
  enum class Kind { get, set, add } kind{};
  Overflow overflow{};
  Field field;
  std::int64_t operand = 0;
};

bool read_type(std::string_view text, Field& f) {
  if (text.size() < 2 || (text[0] != 'i' && text[0] != 'u')) return false;
  f.is_signed = text[0] == 'i';
  const auto bits = parse_int(text.substr(1));
  if (!bits || *bits < 1 || *bits > (f.is_signed ? 64 : 63)) return false;
  f.bits = static_cast<unsigned>(*bits);
  return true;
}

// Where a field lies: a bit, or "#n", the n-th of its size.
bool read_offset(CommandContext& ctx, std::string_view text, Field& f) {
  const bool times = text.starts_with('#');
  const auto n = parse_int(times ? text.substr(1) : text);
  const Wide at = n ? Wide{*n} * (times ? f.bits : 1) : -1;
  if (at < 0 || static_cast<std::uint64_t>(at >> 3) >= ctx.options.proto_max_bulk_len) {
    ctx.reply.error(bit_offset_error);
    return false;
  }
  f.at = static_cast<std::uint64_t>(at);
  return true;
}

// The steps of the command; answers the error and nothing when one cannot be read.
std::optional<std::vector<Step>> read_steps(CommandContext& ctx) {
  std::vector<Step> steps;
  Overflow overflow = Overflow::wrap;
  for (std::size_t i = 2; i < ctx.argc();) {
    const std::size_t left = ctx.argc() - i - 1;
    Step s;
    if (arg_is(ctx, i, "OVERFLOW") && left >= 1) {
      if (arg_is(ctx, i + 1, "WRAP"))
        overflow = Overflow::wrap;
      else if (arg_is(ctx, i + 1, "SAT"))
        overflow = Overflow::saturate;
      else if (arg_is(ctx, i + 1, "FAIL"))
        overflow = Overflow::fail;
      else
        return ctx.reply.error("Invalid OVERFLOW type specified"), std::nullopt;
      i += 2;
      continue;
    }
    if (arg_is(ctx, i, "GET") && left >= 2)
      s.kind = Step::Kind::get;
    else if (arg_is(ctx, i, "SET") && left >= 3)
      s.kind = Step::Kind::set;
    else if (arg_is(ctx, i, "INCRBY") && left >= 3)
      s.kind = Step::Kind::add;
    else
      return ctx.reply.error(Errc::syntax), std::nullopt;
    if (!read_type(ctx.arg(i + 1), s.field)) {
      ctx.reply.error(
          "Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but "
          "i64 is.");
      return std::nullopt;
    }
    if (!read_offset(ctx, ctx.arg(i + 2), s.field)) return std::nullopt;
    if (s.kind != Step::Kind::get) {
      const auto operand = int_arg(ctx, i + 3);
      if (!operand) return std::nullopt;
      s.operand = *operand;
    }
    s.overflow = overflow;
    i += s.kind == Step::Kind::get ? 3 : 4;
    steps.push_back(s);
  }
  return steps;
}

Wide load(std::string_view value, const Field& f) {
  std::uint64_t n = 0;
  for (std::uint64_t b = f.at; b < f.at + f.bits; ++b) n = n << 1 | (bit_of(value, b) ? 1u : 0u);
  if (f.is_signed && f.bits < 64 && n >> (f.bits - 1) != 0) n |= ~std::uint64_t{0} << f.bits;
  return f.is_signed ? Wide{static_cast<std::int64_t>(n)} : Wide{n};
}

// The value reaches so far.
void save(std::string& value, const Field& f, Wide n) {
  for (std::uint64_t b = f.at + f.bits; b-- > f.at; n >>= 1) set_bit(value, b, (n & 1) != 0);
}

// What of a number fits into the field; nothing when it does not and shall fail.
std::optional<Wide> fit(const Field& f, Wide n, Overflow overflow) {
  if (n >= f.lowest() && n <= f.highest()) return n;
  if (overflow == Overflow::fail) return std::nullopt;
  if (overflow == Overflow::saturate) return n < f.lowest() ? f.lowest() : f.highest();
  const Wide span = Wide{1} << f.bits;
  Wide rest = n % span;
  if (rest < f.lowest()) rest += span;
  if (rest > f.highest()) rest -= span;
  return rest;
}

void run(CommandContext& ctx, bool may_write) {
  const auto steps = read_steps(ctx);
  if (!steps) return;
  const bool writes = std::any_of(steps->begin(), steps->end(),
                                  [](const Step& s) { return s.kind != Step::Kind::get; });
  if (writes && !may_write) return ctx.reply.error("BITFIELD_RO only supports the GET subcommand");
  const auto key = typed_key(ctx, 1, TypeId::string);
  if (!key) return;
  std::string value(key->exists() ? cell_text(key->cell()) : std::string());
  const std::string before = value;
  // As long as the last bit that any step may write, whether it does or not.
  for (const Step& s : *steps) {
    const std::size_t bytes = ((s.field.at + s.field.bits - 1) >> 3) + 1;
    if (s.kind != Step::Kind::get && value.size() < bytes) value.resize(bytes, '\0');
  }
  bool added = false;  // nothing to a number is a write as well
  ctx.reply.array(steps->size());
  for (const Step& s : *steps) {
    const Wide old = load(value, s.field);
    if (s.kind == Step::Kind::get) {
      ctx.reply.integer(static_cast<std::int64_t>(old));
      continue;
    }
    // What is set in an unsigned field is taken as unsigned, so that -1 is too large for it.
    const Wide wanted = s.kind == Step::Kind::add ? old + s.operand
                        : s.field.is_signed       ? Wide{s.operand}
                                                  : Wide{static_cast<std::uint64_t>(s.operand)};
    const std::optional<Wide> is = fit(s.field, wanted, s.overflow);
    if (!is) {
      ctx.reply.null();
      continue;
    }
    save(value, s.field, *is);
    added |= s.kind == Step::Kind::add;
    ctx.reply.integer(static_cast<std::int64_t>(s.kind == Step::Kind::add ? *is : old));
  }
  if (value == before && !added) return;
  Write w(ctx, *key, TypeId::string);
  w.overwrite_keeping_expiry();
  w.set_string(value);
  w.commit(event::string, "setbit");
}

void bitfield(CommandContext& ctx) {
  run(ctx, true);
}
void bitfield_ro(CommandContext& ctx) {
  run(ctx, false);
}

using namespace flag;

constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "BITFIELD",
     .arity = -2,
     .flags = write | denyoom | once | based | conditional,
     .keys = first_key,
     .run = bitfield,
     .group = "bitmap",
     .since = "3.2.0",
     .summary = "Reads and changes integers within a value"},
    {.name = "BITFIELD_RO",
     .arity = -2,
     .flags = read | fast,
     .keys = first_key,
     .run = bitfield_ro,
     .group = "bitmap",
     .since = "6.0.0",
     .summary = "Reads integers within a value"},
});

}  // namespace

std::span<const CommandSpec> bitfield_commands() {
  return rows;
}

}  // namespace gyre
