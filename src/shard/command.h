// Command: what a command may touch while it runs, and what the table says of it.
//
// A command gets its arguments and its records, and gives a reply and effects, no more. It runs
// where its slot is acted for; it does not know whether the client is here, on another thread or
// elsewhere.
//
// The pattern: look the key up once (CommandContext::find), read, and for a change make one Write,
// fill it and commit it:
//
//     KeyRef key = ctx.find(ctx.arg(1));
//     if (!key.is(TypeId::set)) return ctx.reply.error(Errc::wrong_type);
//     Write w(ctx, key, TypeId::set);
//     w.put(member, {});
//     w.commit();
#pragma once

#include <forward_list>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "record/effect.h"
#include "record/record.h"
#include "resp/reply.h"
#include "resp/request.h"
#include "shard/database_names.h"
#include "shard/defrag.h"
#include "shard/eviction.h"
#include "shard/key_events.h"
#include "shard/keyspace.h"
#include "shard/publisher.h"

namespace gyre {

class CommandContext;
struct CommandSpec;
class ScriptRunner;
class ScriptGuard;
class SlotHolds;
class ScriptRights;

// Settings that commands read; a snapshot per node, changed by CONFIG SET. Plain numbers.
// What maxmemory and its companions ask for.
struct MemoryOptions {
  std::uint64_t limit = 0;  // of the whole node; 0: none
  EvictionPolicy policy;
  AccessClock::Settings access;
  // maxmemory-eviction-tenacity: keys that one turn may evict beyond what its writes need.
  std::uint64_t keys_a_turn = 500;
  DefragOptions defrag;
};

struct CommandOptions {
  std::size_t hash_max_listpack_entries = 128, hash_max_listpack_value = 64;
  std::size_t set_max_intset_entries = 512;
  std::size_t zset_max_listpack_entries = 128, zset_max_listpack_value = 64;
  std::int64_t list_max_listpack_size = -2;
  std::size_t hll_sparse_max_bytes = 3000;
  std::uint64_t stream_node_max_entries = 100;  // what XADD and XTRIM with ~ remove at once
  std::size_t proto_max_bulk_len = std::size_t{512} << 20;
  MemoryOptions memory;
  std::uint64_t min_replicas = 0;  // other nodes that must be there for a write
  std::uint32_t notify = 0;        // classes of key events that are published (shard/key_events.h)
  DatabaseNames databases;
};

// The shards of this node, as far as the running command may reach them: its own, or all while a
// barrier holds them.
class KeySpaces {
 public:
  virtual ~KeySpaces() = default;
  virtual KeySpace& of(Slot slot) = 0;
  // Where this key is; whoever does not have it may note that.
  virtual KeySpace& of_key(Slot slot, DbIndex, std::string_view /*key*/) { return of(slot); }
  // Every key there is can be read here: the node is alone.
  virtual bool whole() const { return false; }
};

// Told of every effect that a command makes, after it was merged: replication and WATCH hang here.
class EffectSink {
 public:
  virtual ~EffectSink() = default;
  virtual void made(Slot slot, std::uint64_t hash, const Effect& effect,
                    const ApplyResult& result) = 0;
};

// One key as a command sees it. Valid until the next commit into the same slot.
struct KeyRef {
  std::string_view key;
  Slot slot{};
  std::uint64_t hash = 0;
  KeySpace* space = nullptr;
  KeySpace::Found found{};  // where it hangs
  Node* node = nullptr;     // the record, also when dead or expired
  bool visible = false;     // live and not expired

  bool exists() const { return visible; }
  TypeId type() const { return visible ? stored_type(*node) : TypeId::none; }
  // Absent, or of this type: what a command of the type can work on.
  bool is(TypeId t) const { return !visible || stored_type(*node) == t; }
  // The value of a string: its cell (base and sums). exists() and the type were checked.
  Cell cell() const { return string_cell(*node); }
  Collection* collection() const { return visible ? collection_of(*node) : nullptr; }
  UnixMs expires_at() const {
    return visible && node->has(Node::has_expiry) ? node->expiry().at_ms : 0;
  }
};

// How a command waits that cannot be answered yet (BLPOP of absent lists). Who runs it gives one of
// these when its client may wait; without, it answers as when its time-out is over.
struct Waiting {
  enum class Run : std::uint8_t {
    first,
    again,  // for a client that has waited
    look,   // only to know whether it would be answered: it then answers and changes nothing
  };
  Run run = Run::first;
  bool asked = false;           // it waits: nothing was answered, and nothing changed
  std::int64_t ms = 0;          // how long; 0: until it can be answered
  bool first_key_only = false;  // the others need not change for it
  // What to run again, when it is not what came: `$` of XREAD says which id it meant.
  std::vector<std::string> args{};
};

class CommandContext {
 public:
  CommandContext(Args arguments, Reply& writer, DbIndex database, UnixMs time,
                 KeySpaces& key_spaces, EffectSink* effect_sink, Random& randomness,
                 const CommandOptions& settings)
      : args(arguments),
        reply(writer),
        db(database),
        now(time),
        random(randomness),
        options(settings),
        spaces(key_spaces),
        sink(effect_sink) {}

  Args args;
  Reply& reply;
  DbIndex db;
  const UnixMs now;
  Random& random;
  const CommandOptions& options;
  KeySpaces& spaces;
  EffectSink* sink;
  Publisher* publisher = nullptr;  // nullptr: nobody listens
  // Whoever runs the command says where it may publish.
  inline void publish_to(Publisher& to, const CommandSpec& spec);

  std::string_view arg(std::size_t i) const { return args[i]; }
  std::size_t argc() const { return args.size(); }

  KeyRef find(std::string_view key) {
    if (!first_key_known) return find(key, db);
    first_key_known = false;
    return find_in(*first_space, key, first_slot, first_hash, db);
  }
  KeyRef find(std::string_view key, DbIndex in);
  // The lookup that the caller has prepared (slot and hash are known).
  KeyRef find(std::string_view key, Slot slot, std::uint64_t hash, DbIndex in) {
    return find_in(spaces.of_key(slot, in, key), key, slot, hash, in);
  }

  // The command's version in this key space: one per command.
  Version version(KeySpace& space) {
    if (stamped_in_ != &space) {
      stamped_in_ = &space;
      version_ = space.clock().stamp(now);
    }
    return version_;
  }
  // A new value for a string, where that is all there is to do: nobody is told of the effect, and
  // the record stays where it is. False: a Write is needed.
  bool overwrite_in_place(const KeyRef& key, std::string_view value) {
    if (sink || options.notify || !key.visible) return false;
    if (!key.space->overwrite_in_place(key.slot, key.key, key.found, value, version(*key.space)))
      return false;
    wrote = true;
    return true;
  }
  // Stamps anew: the commands of an EXEC stamp each for itself, and the reads of an XREADGROUP.
  void next_version() { stamped_in_ = nullptr; }
  bool wrote = false;

  // What became of a key (a keyspace notification), after it did. One comparison while nobody wants
  // to know.
  void event(std::uint32_t of, std::string_view name, std::string_view key) {
    event(of, name, key, db);
  }
  void event(std::uint32_t of, std::string_view name, std::string_view key, DbIndex in) {
    if ((options.notify & of) && publisher) [[unlikely]]
      publish_event(*publisher, options.notify, name, key, options.databases.name(in));
  }
  bool tells_misses = false;  // its row: a lookup that finds nothing is an event
  bool uses = true;           // a lookup counts as a use of the key (shard/access.h)
  bool met_expired = false;   // a lookup found what has expired and still lies there

  Waiting* waiting = nullptr;  // nullptr: it may not wait
  bool woken() const { return waiting && waiting->run != Waiting::Run::first; }
  bool only_looks() const { return waiting && waiting->run == Waiting::Run::look; }
  // Nothing can be answered yet. The last thing that a command does.
  void wait(std::int64_t ms) {
    if (!waiting) return reply.null_array();
    waiting->asked = true;
    waiting->ms = ms;
  }

  std::uint32_t hits = 0, misses = 0;  // lookups, for INFO
  // From the command's row: its effects carry the version of what it read.
  bool based = false;

  // Slot and hash of the first key, when whoever routed the command has them already.
  bool first_key_known = false;
  KeySpace* first_space = nullptr;
  Slot first_slot{};
  std::uint64_t first_hash = 0;

  // For a command that runs a script (flag::script_call). guard nullptr: it may call anything.
  ScriptRunner* scripts = nullptr;
  ScriptGuard* guard = nullptr;
  SlotHolds* holds = nullptr;            // for the steps of transactions
  const ScriptRights* rights = nullptr;  // nullptr: its user may do everything

 private:
  KeyRef find_in(KeySpace& space, std::string_view key, Slot slot, std::uint64_t hash, DbIndex in);

  KeySpace* stamped_in_ = nullptr;
  Version version_{};
};

// One effect in the making. Ids and payloads given as views must live until commit(); keep() takes
// over strings that were made on the way.
class Write {
 public:
  // `type`: of the record after the write. A key that expired, or held nothing live, starts anew.
  Write(CommandContext& ctx, const KeyRef& key, TypeId type);
  Write(CommandContext& ctx, const KeyRef& key, TypeId type, DbIndex db);
  ~Write() { space_.return_changes(std::move(effect_.changes)); }
  Write(const Write&) = delete;
  Write& operator=(const Write&) = delete;

  Version version() const { return effect_.version; }
  std::string_view keep(std::string text) { return kept_.emplace_front(std::move(text)); }

  // Everything older goes: what SET, *STORE and RESTORE do. Also drops the expiry, unless kept or
  // set after this call. The type may differ from the record's.
  void overwrite();
  // As overwrite, but the key's expiry stays, stamped anew: APPEND, SETRANGE, SET KEEPTTL.
  void overwrite_keeping_expiry();
  void put(std::string_view id, std::string_view payload) { change(id).payload = payload; }
  void remove(std::string_view id) { change(id).tombstone = true; }
  // Sets the value of a string.
  void set_string(std::string_view value) { put({}, value); }
  // Adds to a counter (a string with id "", a hash field, a sorted set's member) so that no
  // increment of another node is lost. `cell` is the element as it stands (nullptr: absent),
  // `delta` and `total` what is added and what comes out, as decimal text. With one replica the
  // total simply becomes the value.
  void add(std::string_view id, const Cell* cell, std::string_view delta, std::string_view total);
  // The sum of an element that this run has opened not long ago and that still counts.
  std::optional<Sum> own_sum(const Cell& cell) const;
  // 0: no expiry.
  void expire_at(UnixMs at_ms) { effect_.expiry = {at_ms, effect_.version}; }
  // The whole key goes.
  void remove_key();

  bool empty() const { return effect_.changes.empty() && !header_; }
  void commit() { commit(0, {}); }
  // The same, and tells what happened: `of` and `name` as for CommandContext::event(). When nothing
  // is left of the key, that it is deleted is told, too.
  void commit(std::uint32_t of, std::string_view name) {
    if (ctx_.options.notify) [[unlikely]]
      return commit_telling(of, name);
    merge();
  }
  // For a payload that is not a counter's text (a sorted set's score).
  Effect& effect() { return effect_; }

 private:
  // Filled where it stands: a copy of what was written in pieces just now has to wait for them.
  Change& change(std::string_view id) {
    Change& c = effect_.changes.emplace_back();
    c.id = id;
    c.version = effect_.version;
    return c;
  }
  void commit_telling(std::uint32_t of, std::string_view name);
  const ApplyResult& merge();

  CommandContext& ctx_;
  KeySpace& space_;
  Slot slot_;
  std::uint64_t hash_;
  const KeyRef& key_;
  bool header_ = false;
  Effect effect_;
  std::forward_list<std::string> kept_;
};

namespace flag {
inline constexpr std::uint32_t write = 1u << 0, read = 1u << 1, fast = 1u << 2, denyoom = 1u << 3,
                               admin = 1u << 4, noscript = 1u << 5, loading = 1u << 6,
                               stale = 1u << 7, no_auth = 1u << 8, no_multi = 1u << 9,
                               movablekeys = 1u << 10, pubsub = 1u << 11, blocking = 1u << 12,
                               skip_slowlog = 1u << 13, skip_monitor = 1u << 14,
                               allow_busy = 1u << 15, may_replicate = 1u << 16,
                               // Gyre's own, not shown by COMMAND:
    once = 1u << 20,         // must not run twice: never sent to a second node
    based = 1u << 21,        // its effect depends on what it read: carries a base
    conditional = 1u << 22,  // answers -NOQUORUM when its base was not the last
    session = 1u << 23,      // runs at the connection, needs no key
    atomic = 1u << 24,       // several keys that must change or be read together
    of_hold = 1u << 29,      // a step of a transaction: passes those that wait for it
    script_call = 1u << 28,  // runs a script: on a stack of its own, and may take long
    internal = 1u << 27,     // between nodes: unknown to clients
    blind = 1u << 26,        // neither reply nor effect depend on what was there
    all_slots = 1u << 25;    // fans out over every slot (KEYS, FLUSHALL)
}  // namespace flag

// How a plain multi-key command is taken apart and its parts' answers joined.
enum class Scatter : std::uint8_t { none, gather_array, sum, all_ok };

// Which arguments are keys: first, last (negative: from the end), step. first 0: none.
struct KeyRange {
  int first = 0, last = 0, step = 0;
};
inline constexpr KeyRange no_keys{}, first_key{1, 1, 1}, all_keys{1, -1, 1}, two_keys{1, 2, 1},
    odd_keys{1, -1, 2};

using KeyFinder = void (*)(Args args, std::vector<std::size_t>& positions);
using CommandFunction = void (*)(CommandContext& ctx);
// Whether the command will read keys that its arguments do not name (SORT BY and GET): it then runs
// where KeySpaces::whole(): under a barrier, or on copies on a ring; it is refused elsewhere.
using Wanders = bool (*)(Args args);

struct CommandSpec {
  std::string_view name;  // upper case; a subcommand's container has no function of its own
  int arity = 0;          // as Redis: negative means at least
  std::uint32_t flags = 0;
  KeyRange keys{};
  CommandFunction run = nullptr;  // nullptr: a session command (server/session_commands.cc)
  std::string_view categories{};  // "@string @fast"; derived ones (@read, @write, ...) are added
  Scatter scatter = Scatter::none;
  KeyFinder find_keys = nullptr;  // for keys that a range cannot describe (numkeys)
  Wanders wanders = nullptr;
  std::string_view group{};  // COMMAND DOCS: "string", "hash", ...
  std::string_view since{};
  std::string_view summary{};
  // Set by the table that joins the rows: its place there; and that it has one key, its first
  // argument, and reads no other.
  std::uint16_t index = 0;
  bool plain = false;
};

void CommandContext::publish_to(Publisher& to, const CommandSpec& spec) {
  publisher = &to;
  tells_misses = (spec.flags & (flag::read | flag::internal)) == flag::read;
}

// Calls f(position) for each key argument of a command whose arity was checked.
template <class F>
void for_each_key(const CommandSpec& spec, Args args, F&& f) {
  if (spec.find_keys) {
    std::vector<std::size_t> positions;
    spec.find_keys(args, positions);
    for (const std::size_t i : positions) f(i);
    return;
  }
  if (spec.keys.first == 0) return;
  const int last =
      spec.keys.last < 0 ? static_cast<int>(args.size()) + spec.keys.last : spec.keys.last;
  for (int i = spec.keys.first; i <= last && i < static_cast<int>(args.size());
       i += spec.keys.step) {
    f(static_cast<std::size_t>(i));
  }
}

// Redis' argument check: true when the number of arguments is right.
inline bool arity_ok(const CommandSpec& spec, std::size_t argc) {
  return spec.arity >= 0 ? argc == static_cast<std::size_t>(spec.arity)
                         : argc >= static_cast<std::size_t>(-spec.arity);
}

}  // namespace gyre
