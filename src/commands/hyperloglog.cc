// HyperLogLog commands: strings in the format of types/hyperloglog.h.
//
// A change writes the whole value anew and keeps the expiry, as SETBIT does. Alone, PFCOUNT keeps
// the count that it made in the value, as Redis does; on a ring a read does not write.

#include "types/hyperloglog.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "commands/elements.h"
#include "commands/parse.h"
#include "commands/table.h"

namespace gyre {
namespace {

// Looks a key up, which may be absent; answers the error and nothing when it holds something else.
std::optional<KeyRef> hll_key(CommandContext& ctx, std::size_t i) {
  const auto key = typed_key(ctx, i, TypeId::string);
  if (!key || !key->exists()) return key;
  std::string scratch;
  if (hll::recognised(bytes_of(*key, scratch))) return key;
  ctx.reply.error(Error(Errc::wrong_type, "Key is not a valid HyperLogLog string value."));
  return std::nullopt;
}

std::string value_of(const KeyRef& key) {
  return key.exists() ? cell_text(key.cell()) : hll::empty();
}

void store(CommandContext& ctx, const KeyRef& key, std::string_view value) {
  Write w(ctx, key, TypeId::string);
  w.overwrite_keeping_expiry();
  w.set_string(value);
  w.commit();
}

// Whether nothing that PFADD names is new, found out without a copy of the value.
bool all_counted(CommandContext& ctx, const KeyRef& key) {
  if (!key.exists() || key.cell().has_sums) return false;
  const std::string_view value = key.cell().stored;
  return !hll::is_sparse(value) &&
         std::all_of(ctx.args.begin() + 2, ctx.args.end(),
                     [&](std::string_view element) { return hll::dense_has(value, element); });
}

void pfadd(CommandContext& ctx) {
  const auto key = hll_key(ctx, 1);
  if (!key) return;
  if (!stamps_all(ctx, *key) && all_counted(ctx, *key)) return ctx.reply.integer(0);
  std::string value = value_of(*key);
  bool changed = !key->exists();
  for (std::size_t i = 2; i < ctx.argc(); ++i) {
    const hll::Outcome added = hll::add(value, ctx.arg(i), ctx.options.hll_sparse_max_bytes);
    if (added == hll::Outcome::corrupt) return ctx.reply.error(Errc::invalid_object);
    changed |= added == hll::Outcome::changed;
  }
  if (changed) hll::forget_cached_count(value);
  if (changed || stamps_all(ctx, *key)) store(ctx, *key, value);
  if (changed) ctx.event(event::string, "pfadd", key->key);
  ctx.reply.integer(changed ? 1 : 0);
}

// Joins the registers of the keys from argument `from` on; false when an error was answered.
bool join_keys(CommandContext& ctx, std::size_t from, hll::Registers& registers, bool& dense) {
  for (std::size_t i = from; i < ctx.argc(); ++i) {
    const auto key = hll_key(ctx, i);
    if (!key) return false;
    if (!key->exists()) continue;
    std::string scratch;
    const std::string_view value = bytes_of(*key, scratch);
    dense |= !hll::is_sparse(value);
    if (hll::merge_into(registers, value)) continue;
    ctx.reply.error(Errc::invalid_object);
    return false;
  }
  return true;
}

void pfcount(CommandContext& ctx) {
  hll::Registers registers{};
  bool dense = false;
  if (ctx.argc() > 2) {
    if (!join_keys(ctx, 1, registers, dense)) return;
    return ctx.reply.integer(static_cast<std::int64_t>(hll::estimate(registers)));
  }
  const auto key = hll_key(ctx, 1);
  if (!key) return;
  if (!key->exists()) return ctx.reply.integer(0);
  std::string scratch;
  const std::string_view value = bytes_of(*key, scratch);
  if (const auto known = hll::cached_count(value))
    return ctx.reply.integer(static_cast<std::int64_t>(*known));
  if (!hll::merge_into(registers, value)) return ctx.reply.error(Errc::invalid_object);
  const std::uint64_t count = hll::estimate(registers);
  if (!stamps_all(ctx, *key)) {
    std::string counted(value);
    hll::set_cached_count(counted, count);
    store(ctx, *key, counted);
  }
  ctx.reply.integer(static_cast<std::int64_t>(count));
}

void pfmerge(CommandContext& ctx) {
  hll::Registers registers{};
  bool dense = false;
  if (!join_keys(ctx, 1, registers, dense)) return;
  const auto to = hll_key(ctx, 1);
  if (!to) return;
  std::string value = value_of(*to);
  if (dense && !hll::make_dense(value)) return ctx.reply.error(Errc::invalid_object);
  for (std::size_t i = 0; i < registers.size(); ++i) {
    if (registers[i] == 0) continue;
    if (hll::raise(value, i, registers[i], ctx.options.hll_sparse_max_bytes) ==
        hll::Outcome::corrupt) {
      return ctx.reply.error(Errc::invalid_object);
    }
  }
  hll::forget_cached_count(value);
  store(ctx, *to, value);
  ctx.event(event::string, "pfadd", to->key);
  ctx.reply.ok();
}

// ---- looking inside

void debug_registers(CommandContext& ctx, const KeyRef& key, std::string& value) {
  const bool sparse = hll::is_sparse(value);
  if (!hll::make_dense(value)) return ctx.reply.error(Errc::invalid_object);
  if (sparse) store(ctx, key, value);  // as Redis does
  hll::Registers registers{};
  hll::merge_into(registers, value);
  ctx.reply.array(registers.size());
  for (const std::uint8_t r : registers) ctx.reply.integer(r);
}

void debug_decode(CommandContext& ctx, const KeyRef&, std::string& value) {
  if (!hll::is_sparse(value)) return ctx.reply.error("HLL encoding is not sparse");
  ctx.reply.bulk(hll::runs_text(value));
}

void debug_encoding(CommandContext& ctx, const KeyRef&, std::string& value) {
  ctx.reply.simple(hll::is_sparse(value) ? "sparse" : "dense");
}

void debug_to_dense(CommandContext& ctx, const KeyRef& key, std::string& value) {
  const bool sparse = hll::is_sparse(value);
  if (!hll::make_dense(value)) return ctx.reply.error(Errc::invalid_object);
  if (sparse) store(ctx, key, value);
  ctx.reply.integer(sparse ? 1 : 0);
}

struct DebugWord {
  std::string_view name;
  void (*run)(CommandContext& ctx, const KeyRef& key, std::string& value);
};
constexpr auto debug_words = std::to_array<DebugWord>({
    {"getreg", debug_registers},
    {"decode", debug_decode},
    {"encoding", debug_encoding},
    {"todense", debug_to_dense},
});

void pfdebug(CommandContext& ctx) {
  if (!ctx.find(ctx.arg(2)).exists()) return ctx.reply.error("The specified key does not exist");
  const auto key = hll_key(ctx, 2);
  if (!key) return;
  const std::string word(ctx.arg(1));
  for (const DebugWord& w : debug_words) {
    if (!equals_ignore_case(word, w.name)) continue;
    std::string value = value_of(*key);
    return w.run(ctx, *key, value);
  }
  ctx.reply.error("Unknown PFDEBUG subcommand '" + word + "'");
}

// Adds numbers to a sparse and to a dense value: they must agree, and the estimate must lie within
// six standard errors of what was added.
std::string self_test(std::size_t sparse_max) {
  constexpr std::uint64_t most = 100'000;
  const double standard_error = 1.04 / std::sqrt(double{hll::registers_total});
  std::string sparse = hll::empty(), dense = hll::empty();
  if (!hll::make_dense(dense)) return "TESTFAILED an empty value is not whole";
  const std::uint64_t seed = random_seed();
  for (std::uint64_t n = 1; n <= most; ++n) {
    const std::uint64_t number = seed + n;
    const std::string_view element(reinterpret_cast<const char*>(&number), sizeof number);
    if (hll::add(sparse, element, sparse_max) != hll::add(dense, element, sparse_max))
      return "TESTFAILED sparse and dense disagree about adding";
    if (!std::has_single_bit(n) && n != most) continue;
    hll::Registers one{}, other{};
    if (!hll::merge_into(one, sparse) || !hll::merge_into(other, dense) || one != other)
      return "TESTFAILED sparse and dense disagree";
    const double error = std::abs(static_cast<double>(hll::estimate(one)) - static_cast<double>(n));
    if (error > std::ceil(standard_error * 6 * static_cast<double>(n)))
      return "TESTFAILED Too big error: card " + std::to_string(n);
  }
  return {};
}

void pfselftest(CommandContext& ctx) {
  const std::string wrong = self_test(ctx.options.hll_sparse_max_bytes);
  wrong.empty() ? ctx.reply.ok() : ctx.reply.error(wrong);
}

using namespace flag;
constexpr std::uint32_t grows = write | denyoom | based | conditional;

constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "PFADD",
     .arity = -2,
     .flags = grows | fast,
     .keys = first_key,
     .run = pfadd,
     .group = "hyperloglog",
     .since = "2.8.9",
     .summary = "Counts elements in"},
    {.name = "PFCOUNT",
     .arity = -2,
     .flags = read | atomic | may_replicate,
     .keys = all_keys,
     .run = pfcount,
     .group = "hyperloglog",
     .since = "2.8.9",
     .summary = "Returns about how many different elements were counted"},
    {.name = "PFMERGE",
     .arity = -2,
     .flags = grows | atomic,
     .keys = all_keys,
     .run = pfmerge,
     .group = "hyperloglog",
     .since = "2.8.9",
     .summary = "Joins several into one"},
    {.name = "PFDEBUG",
     .arity = 3,
     .flags = grows | admin,
     .keys = {2, 2, 1},
     .run = pfdebug,
     .group = "hyperloglog",
     .since = "2.8.9",
     .summary = "Shows and changes how one is kept"},
    {.name = "PFSELFTEST",
     .arity = 1,
     .flags = admin,
     .run = pfselftest,
     .group = "hyperloglog",
     .since = "2.8.9",
     .summary = "Checks the estimates"},
});

}  // namespace

std::span<const CommandSpec> hyperloglog_commands() {
  return rows;
}

}  // namespace gyre
