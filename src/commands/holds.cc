// The steps of a transaction over several slots, each a command to one of them (shard/holds.h);
// no client calls them by these names. Their first argument is the part's key, in the node's own
// database. Who sends them: coordination/transactions.h, and acting nodes that settle what others
// left (coordination/holds.cc).

#include "shard/holds.h"

#include <array>

#include "base/bytes.h"
#include "base/hash.h"
#include "commands/parse.h"
#include "commands/table.h"
#include "record/record.h"
#include "ring/slot.h"

namespace gyre {
namespace {

struct PartRef {
  explicit PartRef(CommandContext& ctx)
      : key(ctx.find(ctx.arg(1))),
        transaction(transaction_of(ctx.arg(1))),
        record(read_part(key.node)) {}
  bool is(PartRecord::State state) const { return record.state == state; }

  KeyRef key;
  std::string_view transaction;
  PartRecord record;
};

// Sets one field and says all else that is known here: a replica that knows more does not agree.
// `at`: the version, where it is not a new one.
Version propose(CommandContext& ctx, const PartRef& ref, std::string_view field,
                std::string_view payload, Version at = {}) {
  const PartRecord& r = ref.record;
  Write w(ctx, ref.key, TypeId::hash);
  Effect& effect = w.effect();
  if (at) effect.version = at;
  const auto known = [&](std::string_view id, Version version, std::string_view value) {
    if (version && id != field) effect.changes.push_back({id, version, {}, false, value});
  };
  known(part_field::prepared, r.prepared_at, r.text);
  known(part_field::asked, r.asked, {});
  known(part_field::accepted, r.accepted_at, r.accepted_never ? "N" : "P");
  w.put(field, payload);
  w.commit();
  return w.version();
}

// What it was until now is not needed any more.
void end(CommandContext& ctx, const PartRef& ref, std::string_view field,
         std::string_view payload) {
  Write w(ctx, ref.key, TypeId::hash);
  w.put(field, payload);
  if (ref.record.prepared_at) w.remove(part_field::prepared);
  w.commit();
}

void merge_effects(CommandContext& ctx, Slot slot, std::string_view effects) {
  KeySpace& space = ctx.spaces.of(slot);
  const bool readable = for_each_effect(effects, [&](Effect& effect) {
    const std::uint64_t hash = key_hash(effect.key);
    const ApplyResult& result = space.merge(slot, hash, effect);
    ctx.wrote = true;
    if (ctx.sink) ctx.sink->made(slot, hash, effect, result);
  });
  GYRE_ASSERT(readable);
}

// oldest: the lowest version of them.
bool readable_effects(std::string_view bytes, Slot slot, const KeySpace& space, Version& oldest) {
  bool own = true;
  return for_each_effect(bytes,
                         [&](Effect& e) {
                           own &= valid_effect(e) && !e.slot_floor && key_slot(e.key) == slot &&
                                  space.has_database(e.db);
                           oldest = std::min(oldest, e.version);
                         }) &&
         own;
}

// Whether the hold still stands and what the part was computed from as well; else answers why not.
bool may_take_place(CommandContext& ctx, const PartRef& ref, std::string_view effects,
                    std::string_view seen) {
  const Slot slot = ref.key.slot;
  KeySpace& space = ctx.spaces.of(slot);
  std::vector<Seen> all;
  Version oldest = ctx.version(space);
  if (!decode_seen(seen, all) || !readable_effects(effects, slot, space, oldest))
    return ctx.reply.error("a part of a transaction that cannot be read"), false;
  // At or below T they would count as known to all, and be refused.
  bool stands = ctx.holds && ctx.holds->held_by(slot, ref.transaction) &&
                ref.is(PartRecord::State::none) && oldest > space.agreement(slot).confirmed;
  for (const Seen& s : all) {
    const Node* n =
        key_slot(s.key) == slot ? space.find(slot, s.db, s.key, key_hash(s.key)) : nullptr;
    stands &= (n ? record_newest(*n) : Version{}) == s.newest;
  }
  if (!stands) ctx.reply.error(Errc::try_again);
  return stands;
}

// GYRE.HOLD part now|wait stamps: the slot is the transaction's; what its effects here are stamped
// with lies above the version returned, and so many are reserved.
void hold(CommandContext& ctx) {
  const Slot slot = key_slot(ctx.arg(1));
  const auto stamps = parse_int(ctx.arg(3));
  if (!stamps || *stamps < 1 || *stamps > 1'000'000) return ctx.reply.error(Errc::not_integer);
  if (!ctx.holds || !ctx.holds->take(slot, transaction_of(ctx.arg(1))))
    return ctx.reply.error(Errc::held);
  HybridClock& clock = ctx.spaces.of(slot).clock();
  const Version from = clock.stamp(ctx.now);
  clock.see({from.bits + (static_cast<std::uint64_t>(*stamps) << Version::tick_shift)});
  std::string out;
  put_be64(out, from.bits);
  put_be64(out, clock.started().bits);
  put_be64(out, ctx.spaces.of(slot).repaired(slot).bits);
  ctx.reply.bulk(out);
}

// GYRE.RECORD key: the floor of its database in the slot, its newest version, the whole record.
void record(CommandContext& ctx) {
  const KeyRef key = ctx.find(ctx.arg(1));
  std::string out;
  put_be64(out, key.space->slot_floor(key.slot, ctx.db).bits);
  put_be64(out, key.node ? record_newest(*key.node).bits : 0);
  if (key.node) {
    Effect whole;
    record_effect(*key.node, ctx.db, {}, whole);
    encode_effect(out, whole);
  }
  ctx.reply.bulk(out);
}

// GYRE.PREPARE part slots effects seen
void prepare(CommandContext& ctx) {
  const PartRef ref(ctx);
  if (!may_take_place(ctx, ref, ctx.arg(3), ctx.arg(4))) return;
  Part part{.slots = {}, .effects = ctx.arg(3)};
  Reader in(ctx.arg(2));
  while (in.left() > 0) part.slots.push_back({in.be16()});
  if (!in.ok()) return ctx.reply.error("a part of a transaction that cannot be read");
  propose(ctx, ref, part_field::prepared, encode_part(part));
  ctx.reply.ok();
}

// GYRE.APPLY part effects seen: all that the transaction writes is in this slot.
void apply_part(CommandContext& ctx) {
  const PartRef ref(ctx);
  if (!may_take_place(ctx, ref, ctx.arg(2), ctx.arg(3))) return;
  merge_effects(ctx, ref.key.slot, ctx.arg(2));
  ctx.holds->release(ref.key.slot, ref.transaction);
  ctx.reply.ok();
}

// GYRE.COMMIT part: every part is prepared.
void commit(CommandContext& ctx) {
  const PartRef ref(ctx);
  if (ref.is(PartRecord::State::dropped))
    return ctx.reply.error("a transaction of which a part was never prepared");
  if (ref.is(PartRecord::State::prepared)) {
    merge_effects(ctx, ref.key.slot, ref.record.part.effects);
    end(ctx, ref, part_field::committed,
        encode_part({.slots = ref.record.part.slots, .effects = {}}));
  }
  if (ctx.holds) ctx.holds->release(ref.key.slot, ref.transaction);
  ctx.reply.ok();
}

// GYRE.DROP part: some part of the transaction never will be prepared.
void drop(CommandContext& ctx) {
  const PartRef ref(ctx);
  if (ref.is(PartRecord::State::committed))
    return ctx.reply.error("a transaction that is committed");
  if (ref.is(PartRecord::State::prepared)) end(ctx, ref, part_field::dropped, {});
  if (ctx.holds) ctx.holds->release(ref.key.slot, ref.transaction);
  ctx.reply.ok();
}

// GYRE.ASK part: C or N when that is known, else the ballot under which as many replicas as the
// level asks for were asked.
void ask(CommandContext& ctx) {
  const PartRef ref(ctx);
  if (ref.is(PartRecord::State::committed)) return ctx.reply.simple("C");
  if (ref.is(PartRecord::State::dropped)) return ctx.reply.simple("N");
  const Version ballot = propose(ctx, ref, part_field::asked, {});
  ctx.reply.bulk(std::to_string(ballot.bits));
}

// GYRE.SETTLE part ballot: whether it is prepared (P), or never will be (N).
void settle(CommandContext& ctx) {
  const PartRef ref(ctx);
  if (ref.is(PartRecord::State::committed)) return ctx.reply.simple("P");
  if (ref.is(PartRecord::State::dropped)) return ctx.reply.simple("N");
  if (std::to_string(ref.record.asked.bits) != ctx.arg(2))
    return ctx.reply.error(Errc::try_again);  // somebody else has asked since
  const bool never = ref.record.proposes_never();
  propose(ctx, ref, part_field::accepted, never ? "N" : "P", ref.record.asked);
  if (never && ctx.holds) ctx.holds->release(ref.key.slot, ref.transaction);
  ctx.reply.simple(never ? "N" : "P");
}

// GYRE.FORGET part: every part is committed, or never will be.
void forget(CommandContext& ctx) {
  const PartRef ref(ctx);
  if (!ref.is(PartRecord::State::none) && !ref.is(PartRecord::State::prepared)) {
    Write w(ctx, ref.key, TypeId::none);
    w.remove_key();
    w.commit();
  }
  ctx.reply.ok();
}

void release(CommandContext& ctx) {
  if (ctx.holds) ctx.holds->release(key_slot(ctx.arg(1)), transaction_of(ctx.arg(1)));
  ctx.reply.ok();
}

constexpr std::uint32_t step = flag::internal | flag::of_hold;

constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "GYRE.HOLD",
     .arity = 4,
     .flags = flag::read | step,
     .keys = first_key,
     .run = hold,
     .group = "gyre",
     .since = "0.1.0",
     .summary = "Holds a slot for a transaction that reads"},
    {.name = "GYRE.HOLDWRITE",
     .arity = 4,
     .flags = flag::write | flag::denyoom | step,
     .keys = first_key,
     .run = hold,
     .group = "gyre",
     .since = "0.1.0",
     .summary = "Holds a slot for a transaction that writes"},
    {.name = "GYRE.RECORD",
     .arity = 2,
     .flags = flag::read | flag::internal,
     .keys = first_key,
     .run = record,
     .group = "gyre",
     .since = "0.1.0",
     .summary = "A whole record, for a transaction that holds its slot"},
    {.name = "GYRE.PREPARE",
     .arity = 5,
     .flags = flag::write | flag::denyoom | flag::once | flag::based | flag::conditional | step,
     .keys = first_key,
     .run = prepare,
     .group = "gyre",
     .since = "0.1.0",
     .summary = "Keeps a part of a transaction"},
    {.name = "GYRE.APPLY",
     .arity = 4,
     .flags = flag::write | flag::denyoom | flag::once | step,
     .keys = first_key,
     .run = apply_part,
     .group = "gyre",
     .since = "0.1.0",
     .summary = "Ends a transaction that writes to one slot"},
    {.name = "GYRE.COMMIT",
     .arity = 2,
     .flags = flag::write | step,
     .keys = first_key,
     .run = commit,
     .group = "gyre",
     .since = "0.1.0",
     .summary = "Ends a part of a transaction of which all are prepared"},
    {.name = "GYRE.DROP",
     .arity = 2,
     .flags = flag::write | step,
     .keys = first_key,
     .run = drop,
     .group = "gyre",
     .since = "0.1.0",
     .summary = "Ends a part of a transaction that never will be"},
    {.name = "GYRE.ASK",
     .arity = 2,
     .flags = flag::write | flag::once | flag::based | flag::conditional | step,
     .keys = first_key,
     .run = ask,
     .group = "gyre",
     .since = "0.1.0",
     .summary = "Asks the replicas of a part under a new ballot"},
    {.name = "GYRE.SETTLE",
     .arity = 3,
     .flags = flag::write | flag::once | flag::based | flag::conditional | step,
     .keys = first_key,
     .run = settle,
     .group = "gyre",
     .since = "0.1.0",
     .summary = "Whether a part is prepared; if not, it never will be"},
    {.name = "GYRE.FORGET",
     .arity = 2,
     .flags = flag::write | step,
     .keys = first_key,
     .run = forget,
     .group = "gyre",
     .since = "0.1.0",
     .summary = "Drops what is left of a part"},
    {.name = "GYRE.RELEASE",
     .arity = 2,
     .flags = flag::blind | step,
     .keys = first_key,
     .run = release,
     .group = "gyre",
     .since = "0.1.0",
     .summary = "Gives a hold back"},
});

}  // namespace

std::span<const CommandSpec> hold_commands() {
  return rows;
}

}  // namespace gyre
