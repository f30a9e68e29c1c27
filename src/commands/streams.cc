// Streams: adding, ranges and removing. Reading, groups and XINFO are in stream_*.cc.
//
// XADD sends the new entry alone. An id that the node makes up never collides with another node's:
// where there are replicas its sequence ends in the node's number, as a version does (twelve bits).
// What removes entries removes exactly those that it saw, and notes in the head that they were.

#include <algorithm>
#include <array>
#include <vector>

#include "commands/stream_common.h"
#include "commands/table.h"

namespace gyre {
namespace {

using namespace streams;

// ---- trimming

enum class TrimBy : std::uint8_t { none, length, id };

// MAXLEN or MINID of XADD and XTRIM.
struct Trim {
  TrimBy by = TrimBy::none;
  bool roughly = false;
  bool limited = false;     // LIMIT was given
  std::uint64_t limit = 0;  // 0: none
  std::uint64_t most = 0;
  StreamId least;
};

struct AddOptions {
  Trim trim;
  bool only_existing = false;
  bool id_given = false, seq_given = true;
  StreamId id;
  std::size_t id_at = 0;  // the argument
};

bool trim_by_arg(CommandContext& ctx, std::size_t& i, bool by_id, Trim& trim) {
  if (trim.by != TrimBy::none) {
    ctx.reply.error("syntax error, MAXLEN and MINID options at the same time are not compatible");
    return false;
  }
  const bool more = ctx.argc() - i > 2;
  trim.roughly = more && ctx.arg(i + 1) == "~";
  if (trim.roughly || (more && ctx.arg(i + 1) == "=")) ++i;
  ++i;
  if (by_id) {
    const auto id = id_arg(ctx, i);
    if (!id) return false;
    trim.least = *id;
    trim.by = TrimBy::id;
    return true;
  }
  const auto most = int_arg(ctx, i);
  if (!most) return false;
  if (*most < 0) return ctx.reply.error("The MAXLEN argument must be >= 0."), false;
  trim.most = static_cast<std::uint64_t>(*most);
  trim.by = TrimBy::length;
  return true;
}

bool limit_arg(CommandContext& ctx, std::size_t i, Trim& trim) {
  const auto limit = int_arg(ctx, i);
  if (!limit) return false;
  if (*limit < 0) return ctx.reply.error("The LIMIT argument must be >= 0."), false;
  trim.limit = static_cast<std::uint64_t>(*limit);
  trim.limited = true;
  return true;
}

// The id of XADD: "*" was seen before, "ms-*" leaves the sequence open.
bool new_id_arg(CommandContext& ctx, std::size_t i, AddOptions& o) {
  std::string_view text = ctx.arg(i);
  if (text.ends_with("-*")) {
    o.seq_given = false;
    text.remove_suffix(2);
    if (text.find('-') != std::string_view::npos) return bad_id(ctx);
  }
  const auto id = parse_id(text);
  if (!id) return bad_id(ctx);
  o.id = *id;
  o.id_given = true;
  return true;
}

// How many entries count as one node of Redis' streams, of which ~ removes whole ones.
std::uint64_t node_entries(const CommandContext& ctx) {
  return ctx.options.stream_node_max_entries == 0 ? 100 : ctx.options.stream_node_max_entries;
}

bool finish_trim(CommandContext& ctx, Trim& trim) {
  if (trim.limit != 0 && trim.by == TrimBy::none) {
    ctx.reply.error("syntax error, LIMIT cannot be used without specifying a trimming strategy");
    return false;
  }
  if (trim.limited && !trim.roughly) {
    ctx.reply.error("syntax error, LIMIT cannot be used without the special ~ option");
    return false;
  }
  if (!trim.limited && trim.roughly) {
    constexpr std::uint64_t nodes = 100, most = 1'000'000;
    trim.limit = std::min(nodes * std::min(node_entries(ctx), most), most);
  }
  return true;
}

// Reads what stands between key and fields; false when an error was answered.
bool parse_add(CommandContext& ctx, AddOptions& o) {
  for (o.id_at = 2; o.id_at < ctx.argc(); ++o.id_at) {
    std::size_t& i = o.id_at;
    const bool more = i + 1 < ctx.argc();
    if (ctx.arg(i) == "*") return finish_trim(ctx, o.trim);
    if (arg_is(ctx, i, "maxlen") && more) {
      if (!trim_by_arg(ctx, i, false, o.trim)) return false;
    } else if (arg_is(ctx, i, "minid") && more) {
      if (!trim_by_arg(ctx, i, true, o.trim)) return false;
    } else if (arg_is(ctx, i, "limit") && more) {
      if (!limit_arg(ctx, ++i, o.trim)) return false;
    } else if (arg_is(ctx, i, "nomkstream")) {
      o.only_existing = true;
    } else {
      return new_id_arg(ctx, i, o) && finish_trim(ctx, o.trim);
    }
  }
  return finish_trim(ctx, o.trim);
}

// How many entries go from the front. `below`: how many have an id below trim.least. `gone_before`:
// how many went before, because nodes begin where they did when the first entry was added.
std::size_t trimmed(const CommandContext& ctx, const Trim& trim, std::size_t length,
                    std::size_t below, std::int64_t gone_before) {
  std::size_t over = below;
  if (trim.by == TrimBy::length)
    over = length > trim.most ? length - static_cast<std::size_t>(trim.most) : 0;
  if (!trim.roughly) return over;
  const std::uint64_t node = node_entries(ctx);
  std::uint64_t in_node = node - static_cast<std::uint64_t>(gone_before) % node;
  std::size_t gone = 0;
  while (gone < over) {
    const auto next = static_cast<std::size_t>(std::min<std::uint64_t>(in_node, length - gone));
    if (gone + next > over || (trim.limit != 0 && gone + next > trim.limit)) break;
    gone += next;
    in_node = node;
  }
  return gone;
}

// Ids of entries that are removed, which the Write borrows.
class EntryIds {
 public:
  explicit EntryIds(std::size_t ids) : bytes_(ids * stream_element::entry_bytes) {}
  std::string_view put(StreamId id) {
    char* to = bytes_.data() + used_;
    used_ += stream_element::entry_bytes;
    return stream_element::put_entry(to, id);
  }

 private:
  std::vector<char> bytes_;
  std::size_t used_ = 0;
};

void put_head(Write& w, const StreamHead& head) {
  w.put(stream_element::head, w.keep(head.encode()));
}

void remove_front(Write& w, const StreamCollection& s, std::size_t count, EntryIds& ids) {
  if (count == 0) return;
  StreamWalk walk = s.at(0);
  for (; count > 0; --count) {
    w.remove(ids.put(walk.id()));
    if (count > 1) walk.next();
  }
}

// ---- XADD

// The lowest sequence from `least` on that this node may give out; nothing when there is none left.
std::optional<std::uint64_t> own_sequence(CommandContext& ctx, const KeyRef& key,
                                          std::uint64_t least) {
  if (!stamps_all(ctx, key)) return least;
  constexpr std::uint64_t nodes = std::uint64_t{1} << Version::node_bits;
  const std::uint64_t node = ctx.spaces.of(key.slot).clock().node();
  const std::uint64_t step = (node - least) & (nodes - 1);
  std::uint64_t sequence = 0;
  if (__builtin_add_overflow(least, step, &sequence)) return std::nullopt;
  return sequence;
}

// The id of the new entry; nothing when none is left above the last.
std::optional<StreamId> new_id(CommandContext& ctx, const KeyRef& key, const AddOptions& o,
                               StreamId last) {
  if (o.id_given && o.seq_given) return o.id > last ? std::optional(o.id) : std::nullopt;
  StreamId id = o.id;
  if (!o.id_given) id.ms = std::max(static_cast<std::uint64_t>(ctx.now), last.ms);
  if (id.ms < last.ms) return std::nullopt;
  std::uint64_t least = 0;
  bool exhausted = false;
  if (id.ms == last.ms) {
    exhausted = last.seq == StreamId::highest().seq;
    least = last.seq + 1;
  }
  auto sequence = exhausted ? std::nullopt : own_sequence(ctx, key, least);
  if (!sequence && !o.id_given && id.ms != StreamId::highest().ms) {
    ++id.ms;
    sequence = own_sequence(ctx, key, 0);
  }
  if (!sequence) return std::nullopt;
  id.seq = *sequence;
  return id;
}

std::string entry_payload(Args fields) {
  std::string payload;
  std::size_t size = 8;
  for (const std::string_view word : fields) size += word.size() + 5;
  payload.reserve(size);
  put_varint(payload, fields.size() / 2);
  for (const std::string_view word : fields) put_bytes(payload, word);
  return payload;
}

void write_entry(CommandContext& ctx, const KeyRef& key, const AddOptions& o, StreamId id) {
  const StreamCollection* s = of(key);
  const std::size_t length = s ? s->length() : 0;
  std::size_t below = 0;
  if (o.trim.by == TrimBy::id) below = (s ? s->rank(o.trim.least) : 0) + (id < o.trim.least);
  const std::size_t gone =
      o.trim.by == TrimBy::none
          ? 0
          : trimmed(ctx, o.trim, length + 1, below, o.trim.roughly && s ? s->head().removed : 0);
  Write w(ctx, key, TypeId::stream);
  char element[stream_element::entry_bytes];
  std::string payload;
  EntryIds ids(gone);
  if (gone <= length) {
    payload = entry_payload(ctx.args.subspan(o.id_at + 1));
    w.put(stream_element::put_entry(element, id), payload);
  }
  if (gone > 0) {
    StreamHead head = s ? s->head() : StreamHead{};
    head.last = id;
    head.removed = added_up(head.removed, static_cast<std::int64_t>(gone));
    put_head(w, head);
    if (s) remove_front(w, *s, std::min(gone, length), ids);
  }
  w.commit(event::stream, "xadd");
  if (gone > 0) ctx.event(event::stream, "xtrim", key.key);
}

void xadd(CommandContext& ctx) {
  AddOptions o;
  if (!parse_add(ctx, o)) return;
  if (ctx.argc() < o.id_at + 3 || (ctx.argc() - o.id_at - 1) % 2 != 0)
    return ctx.reply.error("wrong number of arguments for 'xadd' command");
  if (o.id_given && o.seq_given && o.id.zero())
    return ctx.reply.error("The ID specified in XADD must be greater than 0-0");
  const auto key = typed_key(ctx, 1, TypeId::stream);
  if (!key) return;
  if (!key->exists() && o.only_existing) return ctx.reply.null();
  const StreamId last = key->exists() ? of(*key)->last_id() : StreamId{};
  if (last == StreamId::highest()) {
    return ctx.reply.error(
        "The stream has exhausted the last possible ID, unable to add more items");
  }
  const auto id = new_id(ctx, *key, o, last);
  if (!id) {
    return ctx.reply.error(
        "The ID specified in XADD is equal or smaller than the target stream top item");
  }
  write_entry(ctx, *key, o, *id);
  reply_id(ctx.reply, *id);
}

// ---- reading

void xlen(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::stream);
  if (!key) return;
  ctx.reply.integer(key->exists() ? static_cast<std::int64_t>(of(*key)->length()) : 0);
}

void range(CommandContext& ctx, bool backwards) {
  const auto start = range_start(ctx, backwards ? 3 : 2);
  if (!start) return;
  const auto end = range_end(ctx, backwards ? 2 : 3);
  if (!end) return;
  std::optional<std::int64_t> count;
  for (std::size_t i = 4; i < ctx.argc(); i += 2) {
    if (!arg_is(ctx, i, "count") || i + 1 == ctx.argc()) return ctx.reply.error(Errc::syntax);
    count = int_arg(ctx, i + 1);
    if (!count) return;
  }
  const auto key = typed_key(ctx, 1, TypeId::stream);
  if (!key) return;
  if (!key->exists()) return ctx.reply.array(0);
  if (count && *count <= 0) return ctx.reply.null_array();
  reply_range(ctx.reply, *of(*key), *start, *end, static_cast<std::uint64_t>(count.value_or(0)),
              backwards, [](StreamId) {});
}
void xrange(CommandContext& ctx) {
  range(ctx, false);
}
void xrevrange(CommandContext& ctx) {
  range(ctx, true);
}

// ---- removing

void xdel(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::stream);
  if (!key) return;
  const StreamCollection* s = of(*key);
  const bool all = stamps_all(ctx, *key);
  if (!s && !all) return ctx.reply.integer(0);
  std::vector<StreamId> named;
  for (std::size_t i = 2; i < ctx.argc(); ++i) {
    if (!s && !parse_id(ctx.arg(i))) return ctx.reply.integer(0);  // as where nothing is stamped
    const auto id = id_arg(ctx, i);
    if (!id) return;
    named.push_back(*id);
  }
  std::sort(named.begin(), named.end());
  named.erase(std::unique(named.begin(), named.end()), named.end());
  StreamHead head = s ? s->head() : StreamHead{};
  EntryIds ids(named.size());
  Write w(ctx, *key, TypeId::stream);
  std::int64_t removed = 0;
  for (const StreamId id : named) {
    const bool there = s && s->entry(id);
    if (!there && !all) continue;
    w.remove(ids.put(id));
    if (!there) continue;
    ++removed;
    head.highest_deleted = std::max(head.highest_deleted, id);
  }
  if (removed > 0) {
    head.removed = added_up(head.removed, removed);
    put_head(w, head);
  }
  if (!w.empty()) w.commit(removed > 0 ? event::stream : 0, "xdel");
  ctx.reply.integer(removed);
}

bool parse_trim(CommandContext& ctx, Trim& trim) {
  for (std::size_t i = 2; i < ctx.argc(); ++i) {
    const bool more = i + 1 < ctx.argc();
    if (arg_is(ctx, i, "maxlen") && more) {
      if (!trim_by_arg(ctx, i, false, trim)) return false;
    } else if (arg_is(ctx, i, "minid") && more) {
      if (!trim_by_arg(ctx, i, true, trim)) return false;
    } else if (arg_is(ctx, i, "limit") && more) {
      if (!limit_arg(ctx, ++i, trim)) return false;
    } else {
      return ctx.reply.error(Errc::syntax), false;
    }
  }
  if (trim.limit == 0 && trim.by == TrimBy::none) {
    ctx.reply.error("syntax error, XTRIM must be called with a trimming strategy");
    return false;
  }
  return finish_trim(ctx, trim);
}

void xtrim(CommandContext& ctx) {
  Trim trim;
  if (!parse_trim(ctx, trim)) return;
  const auto key = typed_key(ctx, 1, TypeId::stream);
  if (!key) return;
  if (!key->exists()) return ctx.reply.integer(0);
  const StreamCollection& s = *of(*key);
  StreamHead head = s.head();
  const std::size_t gone = trimmed(ctx, trim, s.length(), s.rank(trim.least), head.removed);
  if (gone > 0) {
    head.removed = added_up(head.removed, static_cast<std::int64_t>(gone));
    EntryIds ids(gone);
    Write w(ctx, *key, TypeId::stream);
    put_head(w, head);
    remove_front(w, s, gone, ids);
    w.commit(event::stream, "xtrim");
  }
  ctx.reply.integer(static_cast<std::int64_t>(gone));
}

// ---- XSETID

struct SetId {
  StreamId last, highest_deleted;
  std::optional<std::int64_t> added;
};

bool parse_setid(CommandContext& ctx, SetId& to) {
  const auto last = id_arg(ctx, 2);
  if (!last) return false;
  to.last = *last;
  for (std::size_t i = 3; i < ctx.argc(); i += 2) {
    const bool more = i + 1 < ctx.argc();
    if (arg_is(ctx, i, "entriesadded") && more) {
      to.added = int_arg(ctx, i + 1);
      if (!to.added) return false;
      if (*to.added < 0) return ctx.reply.error("entries_added must be positive"), false;
    } else if (arg_is(ctx, i, "maxdeletedid") && more) {
      const auto id = id_arg(ctx, i + 1);
      if (!id) return false;
      if (to.last < *id) {
        ctx.reply.error(
            "The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
        return false;
      }
      to.highest_deleted = *id;
    } else {
      return ctx.reply.error(Errc::syntax), false;
    }
  }
  return true;
}

void xsetid(CommandContext& ctx) {
  SetId to;
  if (!parse_setid(ctx, to)) return;
  const auto key = typed_key(ctx, 1, TypeId::stream);
  if (!key) return;
  if (!key->exists()) return ctx.reply.error(Errc::no_key);
  const StreamCollection& s = *of(*key);
  const auto length = static_cast<std::int64_t>(s.length());
  if (length > 0) {
    if (to.last < s.at(s.length() - 1).id()) {
      return ctx.reply.error(
          "The ID specified in XSETID is smaller than the target stream top item");
    }
    if (to.added && *to.added < length) {
      return ctx.reply.error(
          "The entries_added specified in XSETID is smaller than the target stream length");
    }
  }
  StreamHead head = s.head();
  head.last = to.last;
  if (to.added) head.removed = *to.added - length;
  if (!to.highest_deleted.zero()) head.highest_deleted = to.highest_deleted;
  Write w(ctx, *key, TypeId::stream);
  put_head(w, head);
  w.commit(event::stream, "xsetid");
  ctx.reply.ok();
}

using namespace flag;

// clang-format off
constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "XADD", .arity = -5, .flags = write | denyoom | fast | once, .keys = first_key, .run = xadd, .since = "5.0.0", .summary = "Adds an entry to a stream, and may trim it"},
    {.name = "XLEN", .arity = 2, .flags = read | fast, .keys = first_key, .run = xlen, .since = "5.0.0", .summary = "Returns the number of entries of a stream"},
    {.name = "XRANGE", .arity = -4, .flags = read, .keys = first_key, .run = xrange, .since = "5.0.0", .summary = "Returns the entries of a range of ids"},
    {.name = "XREVRANGE", .arity = -4, .flags = read, .keys = first_key, .run = xrevrange, .since = "5.0.0", .summary = "Returns the entries of a range of ids, the last one first"},
    {.name = "XDEL", .arity = -3, .flags = write | fast | once | based, .keys = first_key, .run = xdel, .since = "5.0.0", .summary = "Removes entries from a stream"},
    {.name = "XTRIM", .arity = -4, .flags = write | once | based, .keys = first_key, .run = xtrim, .since = "5.0.0", .summary = "Removes the oldest entries of a stream"},
    {.name = "XSETID", .arity = -3, .flags = write | denyoom | fast | based | conditional, .keys = first_key, .run = xsetid, .since = "5.0.0", .summary = "Sets the last id of a stream"},
});
// clang-format on

std::vector<CommandSpec> joined() {
  std::vector<CommandSpec> all(rows.begin(), rows.end());
  for (const std::span<const CommandSpec> part :
       {stream_read_commands(), stream_group_commands(), stream_claim_commands(),
        stream_info_commands()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace

std::span<const CommandSpec> stream_commands() {
  static const std::vector<CommandSpec> all = joined();
  return all;
}

}  // namespace gyre
