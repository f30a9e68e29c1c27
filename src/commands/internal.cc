// Commands that nodes send each other on behalf of a client; no client calls them by these names.

#include <array>

#include "base/hash.h"
#include "commands/parse.h"
#include "commands/table.h"
#include "record/record.h"
#include "types/stream_id.h"
#include "types/zset_collection.h"

namespace gyre {
namespace {

// What WATCH remembers: the record's newest version, 0 when there is nothing to see.
void version(CommandContext& ctx) {
  const KeyRef key = ctx.find(ctx.arg(1));
  ctx.reply.integer(key.exists() ? static_cast<std::int64_t>(record_newest(*key.node).bits) : 0);
}

// DEBUG DIGEST-VALUE: 40 hexadecimal digits over what a client can see of the value and whether it
// expires, so that equal values have equal digests, whatever their history; zeros without a value.
void digest(CommandContext& ctx) {
  const KeyRef key = ctx.find(ctx.arg(1));
  std::array<std::uint64_t, 3> sums{};
  std::string element;
  const auto mix = [&](std::uint64_t place) {
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += hash64(element, place << 2 | i);
  };
  const auto part = [&](std::string_view bytes) {
    element += std::to_string(bytes.size());
    element += ':';
    element += bytes;
  };
  const TypeId type = key.type();
  if (type == TypeId::string) part(cell_text(key.cell())), mix(1);
  std::uint64_t place = 1;
  if (const Collection* c = type == TypeId::string ? nullptr : key.collection()) {
    c->for_each([&](const ElementView& e) {
      if (!e.cell.live()) return true;
      // As Redis, what a stream holds and not who has read it.
      if (type == TypeId::stream && !stream_element::is_entry(e.id)) return true;
      element.clear();
      if (type != TypeId::list) part(e.id);
      if (type == TypeId::zset) {
        const ScoreBytes score = encode_score(score_of(e.cell));
        part({score.data(), score.size()});
      } else {
        part(e.cell.has_sums ? cell_text(e.cell) : e.cell.stored);
      }
      mix(place);
      if (type == TypeId::list) ++place;  // the order counts
      return true;
    });
  }
  if (key.exists()) {
    element = type_spec(type).name;
    if (key.expires_at() != 0) element += " expires";
    mix(0);
  }
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < 40; ++i) text += digits[sums[i / 16] >> (i % 16 * 4) & 15];
  ctx.reply.bulk(text);
}

// GYRE.AWAIT list timeout: OK as soon as something is in the list. Written like a command that
// takes it, so that one client is woken for one element.
void await_list(CommandContext& ctx) {
  const auto ms = timeout_arg(ctx, 2);
  if (!ms) return;
  const auto list = waited_key(ctx, 1, TypeId::list);
  if (!list) return;
  if (!list->exists()) return ctx.wait(*ms);
  ctx.reply.ok();
}

constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "GYRE.VERSION",
     .arity = 2,
     .flags = flag::read | flag::fast | flag::internal,
     .keys = first_key,
     .run = version,
     .group = "gyre",
     .since = "0.1.0",
     .summary = "The version that WATCH compares"},
    {.name = "GYRE.DIGEST",
     .arity = 2,
     .flags = flag::read | flag::internal,
     .keys = first_key,
     .run = digest,
     .group = "gyre",
     .since = "0.1.0",
     .summary = "What DEBUG DIGEST-VALUE answers"},
    {.name = "GYRE.AWAIT",
     .arity = 3,
     .flags = flag::write | flag::internal,
     .keys = first_key,
     .run = await_list,
     .group = "gyre",
     .since = "0.1.0",
     .summary = "Waits for a list's first element"},
});

}  // namespace

std::span<const CommandSpec> internal_commands() {
  return rows;
}

}  // namespace gyre
