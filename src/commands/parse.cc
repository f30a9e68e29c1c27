#include "commands/parse.h"

#include <limits>

namespace gyre {

std::optional<std::int64_t> int_arg(CommandContext& ctx, std::size_t i, const char* error) {
  auto value = parse_int(ctx.arg(i));
  if (!value) error ? ctx.reply.error(std::string_view(error)) : ctx.reply.error(Errc::not_integer);
  return value;
}

std::optional<double> double_arg(CommandContext& ctx, std::size_t i, const char* error) {
  auto value = parse_double(ctx.arg(i));
  if (!value) error ? ctx.reply.error(std::string_view(error)) : ctx.reply.error(Errc::not_float);
  return value;
}

namespace {
// Becomes what find() gives, in the place where that is wanted.
struct Found {
  CommandContext& ctx;
  std::size_t i;
  operator KeyRef() const { return ctx.find(ctx.arg(i)); }
};
}  // namespace

std::optional<KeyRef> typed_key(CommandContext& ctx, std::size_t i, TypeId type) {
  std::optional<KeyRef> key(std::in_place, Found{ctx, i});
  if (!key->is(type)) [[unlikely]] {
    ctx.reply.error(Errc::wrong_type);
    key.reset();
  }
  return key;
}

std::string not_of_32_bits() {
  return "value is out of range, value must between " +
         format_int(std::numeric_limits<std::int32_t>::min()) + " and " +
         format_int(std::numeric_limits<std::int32_t>::max());
}

std::string_view summed_bytes(const Cell& cell, std::string& scratch) {
  scratch = cell_text(cell);
  return scratch;
}

std::optional<UnixMs> expire_time(CommandContext& ctx, std::string_view text, TimeUnit unit,
                                  bool positive, std::string_view command) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  const auto value = parse_int(text);
  if (!value) {
    ctx.reply.error(Errc::not_integer);
    return std::nullopt;
  }
  std::int64_t at = *value;
  bool bad = positive && at <= 0;
  if (unit.seconds) {
    if (at > most / 1000 || at < -(most / 1000)) bad = true;
    if (!bad) at *= 1000;
  }
  if (!unit.absolute && !bad) {
    if (at > most - ctx.now) bad = true;
    if (!bad) at += ctx.now;
  }
  if (bad) {
    ctx.reply.error("invalid expire time in '" + std::string(command) + "' command");
    return std::nullopt;
  }
  return at;
}

void reply_help(CommandContext& ctx, std::initializer_list<std::string_view> lines) {
  ctx.reply.array(lines.size());
  for (const std::string_view line : lines) ctx.reply.simple(line);
}

Result<std::array<std::uint8_t, 2>> databases_to_swap(Args args, std::size_t databases) {
  std::array<std::uint8_t, 2> dbs{};
  const auto a = parse_int(args[1]), b = parse_int(args[2]);
  if (!a) return Error(Errc::err, "invalid first DB index");
  if (!b) return Error(Errc::err, "invalid second DB index");
  for (const auto& [n, db] : {std::pair(*a, &dbs[0]), std::pair(*b, &dbs[1])}) {
    if (n < 0 || n >= static_cast<std::int64_t>(databases))
      return Error(Errc::err, "DB index is out of range");
    *db = static_cast<std::uint8_t>(n);
  }
  return dbs;
}

Error wrong_subcommand(Args args) {
  return {Errc::err, "unknown subcommand or wrong number of arguments for '" +
                         std::string(args[1].substr(0, 128)) + "'. Try " + to_upper(args[0]) +
                         " HELP."};
}

std::string command_name(const CommandContext& ctx) {
  return to_lower(ctx.args[0]);
}

}  // namespace gyre
