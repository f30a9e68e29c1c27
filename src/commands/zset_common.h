// What the files of the sorted-set family share: zsets.cc (members, the scan, the table's
// rows), zset_ranges.cc, zset_pops.cc, zset_algebra.cc.
#pragma once

#include <string_view>
#include <unordered_map>
#include <vector>

#include "commands/parse.h"
#include "shard/command.h"
#include "types/zset_collection.h"

namespace gyre::zset {

// A member with its score; the member lies in a record or in an argument.
struct Scored {
  std::string_view member;
  double score = 0;
};

// The set behind a key whose type was checked; nullptr when there is none.
inline const ZsetCollection* of(const KeyRef& key) {
  return static_cast<const ZsetCollection*>(key.collection());
}

// Somebody else must learn of removals and of writes that find their outcome there.
inline bool on_ring(CommandContext& ctx, const KeyRef& key) {
  return ctx.spaces.of(key.slot).options().keep_tombstones;
}

// WITHSCORES in RESP3 answers pairs, in RESP2 a flat array.
enum class Emit : std::uint8_t { members, flat, pairs };
inline Emit emit_scores(const CommandContext& ctx, bool with_scores) {
  if (!with_scores) return Emit::members;
  return ctx.reply.protocol() == 3 ? Emit::pairs : Emit::flat;
}
inline void reply_header(CommandContext& ctx, std::size_t elements, Emit emit) {
  ctx.reply.array(emit == Emit::flat ? elements * 2 : elements);
}
inline void reply_element(CommandContext& ctx, std::string_view member, double score, Emit emit) {
  if (emit == Emit::pairs) ctx.reply.array(2);
  ctx.reply.bulk(member);
  if (emit != Emit::members) ctx.reply.real(score);
}

// The words of ZADD and GEOADD before the scores.
struct AddOptions {
  bool nx = false, xx = false, gt = false, lt = false, ch = false, incr = false;
};
// Adds or updates members of the sorted set at argument 1, and answers how many.
void add_scores(CommandContext& ctx, const AddOptions& how, const std::vector<Scored>& elements);

// Makes `to` a sorted set of these elements and nothing else, or removes it when there are none.
// `copy`: the members may lie in the record of `to`. `told`: the name of the event.
void store(CommandContext& ctx, const KeyRef& to, const std::vector<Scored>& elements, bool copy,
           std::string_view told);
// Removes these members, which may lie in the record.
void remove(CommandContext& ctx, const KeyRef& key, const std::vector<Scored>& elements,
            std::string_view told);

void zrange(CommandContext& ctx);
void zrangestore(CommandContext& ctx);
void zrevrange(CommandContext& ctx);
void zrangebyscore(CommandContext& ctx);
void zrevrangebyscore(CommandContext& ctx);
void zrangebylex(CommandContext& ctx);
void zrevrangebylex(CommandContext& ctx);
void zcount(CommandContext& ctx);
void zlexcount(CommandContext& ctx);
void zremrangebyrank(CommandContext& ctx);
void zremrangebyscore(CommandContext& ctx);
void zremrangebylex(CommandContext& ctx);

void zpopmin(CommandContext& ctx);
void zpopmax(CommandContext& ctx);
void zmpop(CommandContext& ctx);
void bzpopmin(CommandContext& ctx);
void bzpopmax(CommandContext& ctx);
void bzmpop(CommandContext& ctx);
void zrandmember(CommandContext& ctx);

void zunion(CommandContext& ctx);
void zinter(CommandContext& ctx);
void zdiff(CommandContext& ctx);
void zintercard(CommandContext& ctx);
void zunionstore(CommandContext& ctx);
void zinterstore(CommandContext& ctx);
void zdiffstore(CommandContext& ctx);

// Keys behind a number of keys: ZUNION, ZMPOP and their like; with a destination before it: *STORE.
void numbered_keys(Args args, std::vector<std::size_t>& positions);
void stored_and_numbered_keys(Args args, std::vector<std::size_t>& positions);
// Behind a time-out and their number: BZMPOP.
void timed_and_numbered_keys(Args args, std::vector<std::size_t>& positions);

}  // namespace gyre::zset
