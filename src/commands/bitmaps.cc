// Bitmaps: single bits of strings. A change writes the whole value anew and keeps the expiry, as
// SETRANGE.

#include <array>
#include <string>

#include "commands/parse.h"
#include "commands/table.h"

namespace gyre {
namespace {

// The bit that argument `i` names; answers the error and nothing when the value could not be so
// long.
std::optional<std::uint64_t> bit_offset(CommandContext& ctx, std::size_t i) {
  constexpr const char* error = "bit offset is not an integer or out of range";
  const auto bit = int_arg(ctx, i, error);
  if (!bit) return std::nullopt;
  if (*bit < 0 || static_cast<std::uint64_t>(*bit) >> 3 >= ctx.options.proto_max_bulk_len) {
    ctx.reply.error(error);
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(*bit);
}

// Bit 0 is the first byte's highest.
unsigned mask_of(std::uint64_t bit) {
  return 0x80u >> (bit & 7);
}

bool bit_of(std::string_view value, std::uint64_t bit) {
  const std::uint64_t at = bit >> 3;
  return at < value.size() && (static_cast<unsigned char>(value[at]) & mask_of(bit)) != 0;
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
  if (value.size() <= at) value.resize(at + 1, '\0');
  const unsigned rest = static_cast<unsigned char>(value[at]) & ~mask_of(*bit);
  value[at] = static_cast<char>(*on ? rest | mask_of(*bit) : rest);
  Write w(ctx, *key, TypeId::string);
  w.overwrite_keeping_expiry();
  w.set_string(value);
  w.commit();
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
});

}  // namespace

std::span<const CommandSpec> bitmap_commands() {
  return rows;
}

}  // namespace gyre
