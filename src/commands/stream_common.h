// What the files of the stream family share: reading ids, answering entries, and their rows.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "commands/parse.h"
#include "types/stream_collection.h"

namespace gyre {

std::span<const CommandSpec> stream_read_commands();
std::span<const CommandSpec> stream_group_commands();
std::span<const CommandSpec> stream_claim_commands();
std::span<const CommandSpec> stream_info_commands();

namespace streams {

inline const StreamCollection* of(const KeyRef& key) {
  return static_cast<const StreamCollection*>(key.collection());
}

// "ms-seq", or "ms" alone with `missing_seq`; nothing for another text.
std::optional<StreamId> parse_id(std::string_view text, std::uint64_t missing_seq = 0);
// An id argument; answers Redis' error and nothing when it is none.
std::optional<StreamId> id_arg(CommandContext& ctx, std::size_t i);
// The ends of a range, which may be "-", "+" or exclusive with "(".
std::optional<StreamId> range_start(CommandContext& ctx, std::size_t i);
std::optional<StreamId> range_end(CommandContext& ctx, std::size_t i);
bool bad_id(CommandContext& ctx);  // answers the error of an id; false

inline void reply_id(Reply& reply, StreamId id) {
  reply.bulk(id.text());
}
// [id, [field, value, ...]]
void reply_entry(Reply& reply, StreamId id, std::string_view payload);
// All entries from start to end, at most `count` (0: all); calls f(id) for each.
template <class F>
void reply_range(Reply& reply, const StreamCollection& s, StreamId start, StreamId end,
                 std::uint64_t count, bool backwards, F&& f) {
  const std::size_t first = s.rank(start);
  const auto behind = end.next();
  const std::size_t last = behind ? s.rank(*behind) : s.length();
  std::size_t n = last > first ? last - first : 0;
  if (count != 0 && count < n) n = static_cast<std::size_t>(count);
  reply.array(n);
  StreamWalk walk = s.at(backwards ? last - 1 : first);
  for (; n > 0; --n) {
    reply_entry(reply, walk.id(), walk.payload());
    f(walk.id());
    if (n > 1) backwards ? walk.previous() : walk.next();
  }
}

// How many entries were ever added up to an id, where that can be told.
std::int64_t entries_up_to(const StreamCollection& s, const StreamHead& head, StreamId id);
// Whether XDEL has removed something at or behind an id.
bool holes_from(const StreamCollection& s, const StreamHead& head, StreamId id);

// Redis' error for a group that is not there.
void no_such_group(CommandContext& ctx, const KeyRef& key, std::string_view group);

// Whether a removal of what is not there must still be stamped, for replicas that saw otherwise.
inline bool stamps_all(CommandContext& ctx, const KeyRef& key) {
  return ctx.spaces.of(key.slot).options().keep_tombstones;
}

}  // namespace streams
}  // namespace gyre
