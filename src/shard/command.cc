#include "shard/command.h"

#include "base/hash.h"
#include "base/numbers.h"
#include "ring/slot.h"

namespace gyre {

KeyRef CommandContext::find(std::string_view key, DbIndex in) {
  if (first_key_known) {
    first_key_known = false;
    if (in == db) return find_in(*first_space, key, first_slot, first_hash, in);
  }
  return find(key, key_slot(key), key_hash(key), in);
}

KeyRef CommandContext::find_in(KeySpace& space, std::string_view key, Slot slot, std::uint64_t hash,
                               DbIndex in) {
  KeyRef ref{.key = key,
             .slot = slot,
             .hash = hash,
             .space = &space,
             .found = space.locate(slot, in, key, hash)};
  ref.node = ref.found.node();
  if (ref.node && record_live(*ref.node)) {
    ref.visible = !record_expired(*ref.node, now);
    if (!ref.visible) [[unlikely]] {
      if (record_outlives(*ref.node)) {
        // Its register is dead then.
        space.end_expiry(slot, hash, in, *ref.node);
        ref.found = space.locate(slot, in, key, hash);
        ref.node = ref.found.node();
        ref.visible = ref.node && record_live(*ref.node);
      }
      met_expired |= !ref.visible;
    }
  }
  ref.visible ? ++hits : ++misses;
  if (ref.visible && uses) space.access().touch(*ref.node, random);
  if (!ref.visible && tells_misses) event(event::miss, "keymiss", key, in);
  return ref;
}

Write::Write(CommandContext& ctx, const KeyRef& key, TypeId type) : Write(ctx, key, type, ctx.db) {}

Write::Write(CommandContext& ctx, const KeyRef& key, TypeId type, DbIndex db)
    : ctx_(ctx), space_(*key.space), slot_(key.slot), hash_(key.hash), key_(key) {
  effect_.changes = space_.lend_changes();
  effect_.db = db;
  effect_.key = key.key;
  effect_.type = type;
  effect_.version = ctx.version(space_);
  effect_.has_base = ctx.based;
  if (ctx.based) {
    // What others hold up to T is known here, also where its purge has left less.
    effect_.base = key.node ? std::max(record_newest(*key.node), space_.repaired(key.slot))
                            : space_.absent_since(key.slot, db);
  } else if (key.node && space_.options().keep_tombstones) {
    constexpr UnixMs moment_ms = 1000;
    const Version newest = record_newest(*key.node);
    if (newest.node() == effect_.version.node() && effect_.version.ms() - newest.ms() < moment_ms)
      effect_.base = newest;
  }
  if (!key.node) {
    // What may have been here is purged or covered; a replica that still has it, if only as a stub,
    // learns that it is dead: no element travels without its record's floor.
    effect_.floor = space_.absent_since(key.slot, db);
    return;
  }
  effect_.floor = record_floor(*key.node);
  if (key.node->has(Node::has_expiry)) effect_.expiry = key.node->expiry();
  if (key.visible) {
    // The clock may run ahead of the wall that expiry goes by: what is written to a key with an
    // expiry dies with it.
    if (effect_.expiry.at_ms != 0 && effect_.version > expiry_floor(effect_.expiry))
      effect_.expiry.version = effect_.version;
    return;
  }
  if (record_live(*key.node) || record_stub(*key.node)) {
    // Expired: dead for good, on every node the same way, whether it still has its elements or not.
    effect_.floor = std::min(record_newest(*key.node), expiry_floor(effect_.expiry));
    effect_.expiry = {};
  } else if (effect_.expiry.at_ms != 0) {
    effect_.expiry = {0, effect_.version};
  }
}

void Write::overwrite() {
  effect_.floor = effect_.version.before();
  effect_.expiry = {};
  header_ = true;
}

void Write::overwrite_keeping_expiry() {
  const UnixMs at = key_.expires_at();
  overwrite();
  if (at != 0) effect_.expiry = {at, effect_.version};
}

void Write::add(std::string_view id, const Cell* cell, std::string_view delta,
                std::string_view total) {
  const auto replace = [&] {
    if (effect_.type == TypeId::string) overwrite_keeping_expiry();
    put(id, total);
  };
  if (!space_.options().keep_tombstones) return replace();
  Change change{id, effect_.version, effect_.version, false, delta};
  if (const auto own = cell ? own_sum(*cell) : std::nullopt) {
    change.sum = own->id;
    change.payload = keep(sum_of_amounts(own->amount, delta));
  }
  // Fractions are rounded at each step for who counts, and the parts apart from each other when
  // they are read. Nobody is to read another number than was answered.
  if (cell && !(parse_int(total) && parse_int(delta) && cell_integer(*cell).ok)) {
    CellState after = CellState::of(*cell);
    after.drop_below(effect_.floor);
    after.merge(change);
    const std::string stored = after.stored();
    if (cell_text({after.version, after.tombstone, after.has_sums(), stored}) != total)
      return replace();
  }
  effect_.changes.push_back(change);
}

std::optional<Sum> Write::own_sum(const Cell& cell) const {
  if (!cell.has_sums) return {};
  const HybridClock& clock = space_.clock();
  const Version above = std::max(cell.version, effect_.floor);
  for (const Sum& s : cell.sums()) {
    if (s.id.node() == clock.node() && s.id > above && s.id >= clock.started() &&
        space_.sum_open(s.id, effect_.version))
      return s;
  }
  return {};
}

void Write::remove_key() {
  effect_.type = TypeId::none;
  effect_.floor = effect_.version;
  effect_.expiry = {};
  effect_.changes.clear();
  header_ = true;
}

// Here all up to T is known, and gone where there is no record. Others may have to learn it; a
// floor that stood on this replica alone would be a difference to be repaired.
const ApplyResult& Write::merge() {
  ctx_.wrote = true;
  const Version told = effect_.floor;
  if (!key_.node && told <= space_.repaired(slot_)) effect_.floor = {};
  const ApplyResult& result = space_.merge(slot_, hash_, effect_, key_.found);
  effect_.floor = told;
  if (ctx_.sink) ctx_.sink->made(slot_, hash_, effect_, result);
  return result;
}

void Write::commit_telling(std::uint32_t of, std::string_view name) {
  const DbIndex db = effect_.db;
  const bool was = key_.visible;
  if (key_.node && !was) {
    // Written anew before the queue of expiries came to it, which will not know it again.
    const Node& n = *key_.node;
    if (record_live(n) && n.has(Node::has_expiry) && !space_.expiry_told(n.expiry().at_ms))
      ctx_.event(event::expired, "expired", key_.key, db);
  }
  const bool is = merge().live_after;
  if (!was && is) ctx_.event(event::created, "new", key_.key, db);
  if (of != 0) ctx_.event(of, name, key_.key, db);
  if (of != 0 && was && !is && name != "del") ctx_.event(event::generic, "del", key_.key, db);
}

}  // namespace gyre
