// Keys of any type: removing, looking, and copying whole records.
//
// A copy takes what a client can see: each element under the version of the command, counters as
// their totals, no removals. So to merge it is an overwrite like any other (SET, *STORE), and the
// two keys go their own ways from there. The ids stay, also those of list elements, whose order
// they are.

#include "commands/keys.h"

#include <array>
#include <limits>
#include <vector>

#include "base/bytes.h"
#include "base/numbers.h"
#include "commands/parse.h"
#include "commands/table.h"
#include "types/stream_collection.h"
#include "types/zset_collection.h"

namespace gyre {
namespace {

// ---- removing and looking

void remove(CommandContext& ctx, const KeyRef& key) {
  Write w(ctx, key, TypeId::none);
  w.remove_key();
  w.commit();
}

void del(CommandContext& ctx) {
  std::int64_t removed = 0;
  for (std::size_t i = 1; i < ctx.argc(); ++i) {
    const KeyRef key = ctx.find(ctx.arg(i));
    removed += key.exists();
    // On a ring also what is not here gets a floor: another replica may have seen it already.
    // Alone, only a record that is there, perhaps expired, has to go.
    if (key.node || ctx.spaces.of(key.slot).options().keep_tombstones) remove(ctx, key);
    if (key.exists()) ctx.event(event::generic, "del", key.key);
  }
  ctx.reply.integer(removed);
}

// Looking is a use.
void touch(CommandContext& ctx) {
  std::int64_t found = 0;
  for (std::size_t i = 1; i < ctx.argc(); ++i) found += ctx.find(ctx.arg(i)).exists();
  ctx.reply.integer(found);
}

void exists(CommandContext& ctx) {
  ctx.uses = false;
  touch(ctx);
}

void type(CommandContext& ctx) {
  ctx.uses = false;
  ctx.reply.simple(type_spec(ctx.find(ctx.arg(1)).type()).name);
}

// ---- copying

// Puts one live element of a record of this type into the copy.
void put_cell(Write& w, TypeId type, std::string_view id, const Cell& cell) {
  if (!cell.has_sums) return w.put(id, cell.stored);
  if (type != TypeId::zset) return w.put(id, w.keep(cell_text(cell)));
  const ScoreBytes score = encode_score(score_of(cell));
  w.put(id, w.keep(std::string(score.begin(), score.end())));
}

// Overwrites `to` by what `from` holds, its expiry included. Valid for two different records only.
void copy_record(CommandContext& ctx, const KeyRef& from, const KeyRef& to, DbIndex to_db) {
  const TypeId type = from.type();
  Write w(ctx, to, type, to_db);
  w.overwrite();
  if (from.expires_at() != 0) w.expire_at(from.expires_at());
  if (type == TypeId::string) {
    put_cell(w, type, {}, from.cell());
  } else {
    const bool made = from.collection()->makes_ids();
    from.collection()->for_each([&](const ElementView& e) {
      if (e.cell.live()) put_cell(w, type, made ? w.keep(std::string(e.id)) : e.id, e.cell);
      return true;
    });
  }
  w.commit();
  if (type != TypeId::stream) return;
  const KeyRef copy = ctx.find(to.key, to.slot, to.hash, to_db);
  if (copy.exists() && copy.type() == type)
    static_cast<StreamCollection*>(copy.collection())
        ->take_seen(*static_cast<const StreamCollection*>(from.collection()));
}

void rename_key(CommandContext& ctx, bool only_if_absent) {
  const KeyRef from = ctx.find(ctx.arg(1));
  if (!from.exists()) return ctx.reply.error(Errc::no_key);
  const bool same = ctx.arg(1) == ctx.arg(2);
  const KeyRef to = ctx.find(ctx.arg(2));
  if (only_if_absent && to.exists()) return ctx.reply.integer(0);
  if (!same) {
    const bool replaces = to.exists();
    copy_record(ctx, from, to, ctx.db);
    remove(ctx, ctx.find(ctx.arg(1)));
    if (replaces) ctx.event(event::created, "new", to.key);  // of a record that is removed first
    ctx.event(event::generic, "rename_from", ctx.arg(1));
    ctx.event(event::generic, "rename_to", ctx.arg(2));
  }
  only_if_absent ? ctx.reply.integer(1) : ctx.reply.ok();
}
void rename(CommandContext& ctx) {
  rename_key(ctx, false);
}
void renamenx(CommandContext& ctx) {
  rename_key(ctx, true);
}

// Reads a database's number; answers the error and nothing when there is no such database.
std::optional<DbIndex> db_arg(CommandContext& ctx, std::size_t i) {
  const auto n = int_arg(ctx, i);
  if (!n) return std::nullopt;
  if (*n != static_cast<std::int32_t>(*n)) {
    ctx.reply.error(not_of_32_bits());
    return std::nullopt;
  }
  const std::size_t databases = ctx.spaces.of(ctx.find(ctx.arg(1)).slot).databases();
  if (*n < 0 || *n >= static_cast<std::int64_t>(databases)) {
    ctx.reply.error("DB index is out of range");
    return std::nullopt;
  }
  return ctx.options.databases.lies(static_cast<std::size_t>(*n));
}

constexpr std::string_view same_object = "source and destination objects are the same";

void copy(CommandContext& ctx) {
  DbIndex db = ctx.db;
  bool replace = false;
  for (std::size_t i = 3; i < ctx.argc(); ++i) {
    if (arg_is(ctx, i, "replace")) {
      replace = true;
    } else if (arg_is(ctx, i, "db") && i + 1 < ctx.argc()) {
      const auto chosen = db_arg(ctx, ++i);
      if (!chosen) return;
      db = *chosen;
    } else {
      return ctx.reply.error(Errc::syntax);
    }
  }
  if (db == ctx.db && ctx.arg(1) == ctx.arg(2)) return ctx.reply.error(same_object);
  const KeyRef from = ctx.find(ctx.arg(1));
  if (!from.exists()) return ctx.reply.integer(0);
  const KeyRef to = ctx.find(ctx.arg(2), db);
  if (to.exists() && !replace) return ctx.reply.integer(0);
  copy_record(ctx, from, to, db);
  ctx.event(event::generic, "copy_to", ctx.arg(2), db);
  ctx.reply.integer(1);
}

void move(CommandContext& ctx) {
  const auto db = db_arg(ctx, 2);
  if (!db) return;
  if (*db == ctx.db) return ctx.reply.error(same_object);
  const KeyRef from = ctx.find(ctx.arg(1));
  if (!from.exists()) return ctx.reply.integer(0);
  const KeyRef to = ctx.find(ctx.arg(1), *db);
  if (to.exists()) return ctx.reply.integer(0);
  copy_record(ctx, from, to, *db);
  remove(ctx, ctx.find(ctx.arg(1)));
  ctx.event(event::generic, "move_from", ctx.arg(1));
  ctx.event(event::generic, "move_to", ctx.arg(1), *db);
  ctx.reply.integer(1);
}

// A slot's records of two databases change places: as effects, because rows on disk, counts,
// expiries and whoever waits for a key hang on the database.
void swap_in(KeySpace& space, Slot slot, DbIndex a, DbIndex b) {
  std::string effects;
  std::vector<std::pair<DbIndex, std::string>> gone;
  for (const auto& way : {std::pair{a, b}, {b, a}}) {
    const DbIndex from = way.first, to = way.second;
    const NodeTable* const table = space.table_of(slot, from);
    if (!table) continue;
    table->for_each([&](Node* n) {
      Effect effect;
      record_effect(*n, to, {}, effect);
      encode_effect(effects, effect);
      gone.emplace_back(from, n->key());
      return true;
    });
  }
  for (const auto& [db, key] : gone) {
    space.forget(slot, db, key, key_hash(key));
    space.tracked().changed(key);
  }
  Reader in(effects);
  Effect effect;
  while (in.left() > 0 && decode_effect(in, effect))
    space.merge(slot, key_hash(effect.key), effect);
}

bool swapdb_wanders(Args) {
  return true;
}

// Takes time by the keys that both hold, while all other threads stand still. On a ring the numbers
// of the two change instead (server/ring_settings.h).
void swapdb(CommandContext& ctx) {
  const auto dbs = databases_to_swap(ctx.args, ctx.spaces.of({0}).databases());
  if (!dbs) return ctx.reply.error(dbs.error());
  const DbIndex a{(*dbs)[0]}, b{(*dbs)[1]};
  if (a == b) return ctx.reply.ok();
  if (!ctx.spaces.whole())
    return ctx.reply.error("SWAPDB inside of MULTI or a script does not work on a ring");
  for (std::size_t slot = 0; slot < slots_total; ++slot) {
    const Slot s{static_cast<std::uint16_t>(slot)};
    swap_in(ctx.spaces.of(s), s, a, b);
  }
  ctx.wrote = true;
  ctx.reply.ok();
}

using namespace flag;
// What is written is what was read under another key: both must be seen together, once.
constexpr std::uint32_t copies = write | once | based | conditional;

constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "DEL",
     .arity = -2,
     .flags = write,
     .keys = all_keys,
     .run = del,
     .scatter = Scatter::sum,
     .since = "1.0.0",
     .summary = "Removes keys"},
    {.name = "UNLINK",
     .arity = -2,
     .flags = write | fast,
     .keys = all_keys,
     .run = del,
     .scatter = Scatter::sum,
     .since = "4.0.0",
     .summary = "Removes keys; the same as DEL here"},
    {.name = "EXISTS",
     .arity = -2,
     .flags = read | fast,
     .keys = all_keys,
     .run = exists,
     .scatter = Scatter::sum,
     .since = "1.0.0",
     .summary = "Counts the keys that exist"},
    {.name = "TOUCH",
     .arity = -2,
     .flags = read | fast,
     .keys = all_keys,
     .run = touch,
     .scatter = Scatter::sum,
     .since = "3.2.1",
     .summary = "Counts the keys that exist, as used now"},
    {.name = "TYPE",
     .arity = 2,
     .flags = read | fast,
     .keys = first_key,
     .run = type,
     .since = "1.0.0",
     .summary = "Returns the type of a key"},
    {.name = "RENAME",
     .arity = 3,
     .flags = copies | atomic,
     .keys = two_keys,
     .run = rename,
     .since = "1.0.0",
     .summary = "Gives a key another name"},
    {.name = "RENAMENX",
     .arity = 3,
     .flags = copies | atomic | fast,
     .keys = two_keys,
     .run = renamenx,
     .since = "1.0.0",
     .summary = "Gives a key another name that is free"},
    {.name = "COPY",
     .arity = -3,
     .flags = copies | atomic | denyoom,
     .keys = two_keys,
     .run = copy,
     .since = "6.2.0",
     .summary = "Copies a key"},
    {.name = "MOVE",
     .arity = 3,
     .flags = copies | fast,
     .keys = first_key,
     .run = move,
     .since = "1.0.0",
     .summary = "Moves a key to another database"},
    {.name = "SWAPDB",
     .arity = 3,
     .flags = write | fast,
     .run = swapdb,
     .categories = "@keyspace @dangerous",
     .wanders = swapdb_wanders,
     .group = "server",
     .since = "4.0.0",
     .summary = "Exchanges two databases"},
});

std::vector<CommandSpec> joined() {
  std::vector<CommandSpec> all;
  for (const std::span<const CommandSpec> part :
       {std::span<const CommandSpec>(rows), expire_commands(), object_commands(), sort_commands(),
        dump_commands()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace

std::span<const CommandSpec> key_commands() {
  static const std::vector<CommandSpec> all = joined();
  return all;
}

}  // namespace gyre
