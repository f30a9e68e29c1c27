// What hashes and sets share: reaching their elements, counting what a write did, drawing at
// random.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "commands/parse.h"
#include "shard/command.h"
#include "types/map_collection.h"

namespace gyre {

// The elements of a visible record of a map's type; nullptr when the key is absent.
inline const MapCollection* map_of(const KeyRef& key) {
  return static_cast<const MapCollection*>(key.collection());
}

inline std::size_t live_in(const MapCollection* map) {
  return map ? map->live() : 0;
}

inline bool has_live(const MapCollection* map, std::string_view id) {
  Cell cell;
  return map && map->find(id, cell) && cell.live();
}

// Whether writes that change nothing must still be stamped, for the replicas that saw otherwise.
inline bool stamps_all(CommandContext& ctx, const KeyRef& key) {
  return ctx.spaces.of(key.slot).options().keep_tombstones;
}

// How many elements the key has now, after a commit. Counting by the difference also counts an
// element once that the command named twice.
inline std::size_t live_now(CommandContext& ctx, const KeyRef& key) {
  const KeyRef now = ctx.find(key.key, key.slot, key.hash, ctx.db);
  return live_in(map_of(now));
}

// What a command tells of its key.
struct Told {
  std::uint32_t of;
  std::string_view name;
};

// Removes the elements named by the arguments from `from` on, and tells when there were any;
// returns how many.
inline std::size_t remove_elements(CommandContext& ctx, const KeyRef& key, TypeId type,
                                   std::size_t from, const Told& told) {
  const MapCollection* map = map_of(key);
  const std::size_t before = live_in(map);
  const bool all = stamps_all(ctx, key);
  if (!map && !all) return 0;
  Write w(ctx, key, type);
  for (std::size_t i = from; i < ctx.argc(); ++i) {
    if (all || has_live(map, ctx.arg(i))) w.remove(ctx.arg(i));
  }
  if (w.empty()) return 0;
  w.commit();
  const std::size_t left = live_now(ctx, key);
  if (left == before) return 0;
  ctx.event(told.of, told.name, key.key);
  if (left == 0) ctx.event(event::generic, "del", key.key);
  return before - left;
}

// Views of all live elements; they live until the record changes.
inline std::vector<ElementView> live_elements(const MapCollection& map) {
  std::vector<ElementView> all;
  all.reserve(map.live());
  map.each([&all](const ElementView& e) {
    if (e.cell.live()) all.push_back(e);
    return true;
  });
  return all;
}

// Whether `count` draws are better taken from a list of all elements.
inline bool worth_listing(const MapCollection& map, std::size_t count) {
  return !map.is_large() || count > map.live() / 4 || map.tombstones() / 8 > map.live();
}

// `count` different live elements at random, all of them when there are no more.
inline std::vector<ElementView> draw_distinct(const MapCollection& map, std::size_t count,
                                              Random& random) {
  std::vector<ElementView> out;
  if (worth_listing(map, count)) {
    out = live_elements(map);
    if (count >= out.size()) return out;
    for (std::size_t i = 0; i < count; ++i)
      std::swap(out[i], out[i + random.below(out.size() - i)]);
    out.resize(count);
    return out;
  }
  std::unordered_set<const char*> drawn;  // an id's place names it
  out.reserve(count);
  while (out.size() < count) {
    const ElementView e = map.random(random);
    if (drawn.insert(e.id.data()).second) out.push_back(e);
  }
  return out;
}

// Calls f for `count` live elements at random, each drawn from all.
template <class F>
void draw_repeated(const MapCollection& map, std::size_t count, Random& random, F&& f) {
  if (count > 1 && worth_listing(map, count)) {
    const std::vector<ElementView> all = live_elements(map);
    for (std::size_t i = 0; i < count; ++i) f(all[random.below(all.size())]);
    return;
  }
  for (std::size_t i = 0; i < count; ++i) f(map.random(random));
}

// The count of HRANDFIELD and SRANDMEMBER: negative asks for repetition. Answers Redis' error.
inline std::optional<std::int64_t> random_count(CommandContext& ctx, std::size_t i) {
  const auto n = int_arg(ctx, i);
  if (!n || *n != std::numeric_limits<std::int64_t>::min()) return n;
  ctx.reply.error(
      "value is out of range, value must between -9223372036854775807 and 9223372036854775807");
  return std::nullopt;
}

// Redis writes such a reply until its client's buffer limit is hit; here it is refused beforehand.
inline bool repetitions_fit(CommandContext& ctx, std::int64_t count) {
  constexpr std::int64_t most = 100'000'000;
  if (count <= most) return true;
  ctx.reply.error("value is out of range");
  return false;
}

}  // namespace gyre
