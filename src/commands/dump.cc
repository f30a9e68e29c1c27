// DUMP and RESTORE: a value as bytes that Redis 7.0 reads and writes as well (rdb/value.h).
//
// What is dumped is what a client sees: no versions, no removed elements, counters as their totals.

#include "commands/dump.h"

#include <array>
#include <limits>
#include <optional>

#include "commands/keys.h"
#include "commands/list_store.h"
#include "commands/parse.h"
#include "commands/stream_dump.h"
#include "rdb/value.h"
#include "types/zset_collection.h"

namespace gyre {
namespace {

// A cell's bytes, where they lie, or kept in the value when they are computed.
std::string_view text_of(const Cell& cell, rdb::Value& value) {
  return cell.has_sums ? value.keep(cell_text(cell)) : cell.stored;
}

}  // namespace

rdb::Value value_of(const KeyRef& key) {
  rdb::Value value;
  value.type = key.type();
  if (value.type == TypeId::string) {
    value.parts.push_back(text_of(key.cell(), value));
    return value;
  }
  if (value.type == TypeId::stream) {
    dump_stream(*static_cast<const StreamCollection*>(key.collection()), value);
    return value;
  }
  key.collection()->for_each([&](const ElementView& e) {
    if (!e.cell.live()) return true;
    if (value.type != TypeId::list) value.parts.push_back(e.id);
    if (value.type == TypeId::list || value.type == TypeId::hash)
      value.parts.push_back(text_of(e.cell, value));
    if (value.type == TypeId::zset) value.scores.push_back(score_of(e.cell));
    return true;
  });
  return value;
}

namespace {

void dump(CommandContext& ctx) {
  const KeyRef key = ctx.find(ctx.arg(1));
  key.exists() ? ctx.reply.bulk(rdb::dump_payload(value_of(key))) : ctx.reply.null();
}

// ---- RESTORE

struct RestoreOptions {
  bool replace = false, absolute = false;
  std::optional<std::int64_t> idle, frequency;
};

bool parse_options(CommandContext& ctx, RestoreOptions& o) {
  for (std::size_t i = 4; i < ctx.argc(); ++i) {
    const bool more = i + 1 < ctx.argc();
    if (arg_is(ctx, i, "replace")) {
      o.replace = true;
    } else if (arg_is(ctx, i, "absttl")) {
      o.absolute = true;
    } else if (arg_is(ctx, i, "idletime") && more && !o.frequency) {
      const auto seconds = int_arg(ctx, ++i);
      if (!seconds) return false;
      if (*seconds < 0) return ctx.reply.error("Invalid IDLETIME value, must be >= 0"), false;
      o.idle = *seconds;
    } else if (arg_is(ctx, i, "freq") && more && !o.idle) {
      const auto frequency = int_arg(ctx, ++i);
      if (!frequency) return false;
      if (*frequency < 0 || *frequency > 255)
        return ctx.reply.error("Invalid FREQ value, must be >= 0 and <= 255"), false;
      o.frequency = *frequency;
    } else {
      return ctx.reply.error(Errc::syntax), false;
    }
  }
  return true;
}

void write_record(CommandContext& ctx, const KeyRef& key, const rdb::Value& value,
                  UnixMs expires_at) {
  Write w(ctx, key, value.type);
  w.overwrite();
  if (expires_at != 0) w.expire_at(expires_at);
  if (value.type == TypeId::stream) {
    put_stream(w, value);
    return w.commit(event::generic, "restore");
  }
  std::vector<ScoreBytes> scores;  // until the commit
  scores.reserve(value.scores.size());
  FreshListIds ids(value.type == TypeId::list ? value.parts.size() : 0);
  for (std::size_t i = 0; i < value.parts.size(); ++i) {
    const std::string_view part = value.parts[i];
    if (value.type == TypeId::string) {
      w.set_string(part);
    } else if (value.type == TypeId::list) {
      w.put(ids.next(w.version()), part);
    } else if (value.type == TypeId::set) {
      w.put(part, {});
    } else if (value.type == TypeId::hash) {
      w.put(part, value.parts[i + 1]);
      ++i;
    } else {
      const ScoreBytes& score = scores.emplace_back(encode_score(value.scores[i]));
      w.put(part, {score.data(), score.size()});
    }
  }
  w.commit(event::generic, "restore");
}

// How the key was used before, as far as the policy tracks that.
void put_access(CommandContext& ctx, const KeyRef& key, const RestoreOptions& o) {
  KeySpace& space = ctx.spaces.of(key.slot);
  Node* n = space.find(key.slot, ctx.db, key.key, key.hash);
  if (n && o.idle) space.access().set_idle(*n, *o.idle);
  if (n && o.frequency) space.access().set_uses(*n, *o.frequency);
}

void restore(CommandContext& ctx) {
  RestoreOptions o;
  if (!parse_options(ctx, o)) return;
  const KeyRef key = ctx.find(ctx.arg(1));
  if (key.exists() && !o.replace) return ctx.reply.error(Errc::busy_key);
  const auto ttl = int_arg(ctx, 2);
  if (!ttl) return;
  if (*ttl < 0) return ctx.reply.error("Invalid TTL value, must be >= 0");
  const std::string_view payload = ctx.arg(3);
  if (!rdb::payload_intact(payload))
    return ctx.reply.error("DUMP payload version or checksum are wrong");
  const auto value = rdb::payload_value(payload, ctx.options.proto_max_bulk_len);
  if (!value) return ctx.reply.error("Bad data format");
  UnixMs expires_at = *ttl;
  if (*ttl != 0 && !o.absolute) {
    constexpr UnixMs never = std::numeric_limits<UnixMs>::max();
    expires_at = checked_add(*ttl, ctx.now).value_or(never);
  }
  if (expires_at == 0 || expires_at > ctx.now) {
    write_record(ctx, key, *value, expires_at);
    put_access(ctx, key, o);
  } else if (key.exists()) {
    // It would have expired already: only what was there goes.
    Write w(ctx, key, TypeId::none);
    w.remove_key();
    w.commit(event::generic, "del");
  }
  ctx.reply.ok();
}

using namespace flag;

constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "DUMP",
     .arity = 2,
     .flags = read,
     .keys = first_key,
     .run = dump,
     .since = "2.6.0",
     .summary = "Returns a value as bytes for RESTORE"},
    {.name = "RESTORE",
     .arity = -4,
     .flags = write | denyoom | based | conditional,
     .keys = first_key,
     .run = restore,
     .categories = "@keyspace @dangerous",
     .since = "2.6.0",
     .summary = "Makes a key of the bytes that DUMP returned"},
});

}  // namespace

std::span<const CommandSpec> dump_commands() {
  return rows;
}

}  // namespace gyre
