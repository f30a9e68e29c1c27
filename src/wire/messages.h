// Messages between nodes: shapes and kinds. No handlers (those are in coordination, sync,
// membership).
//
// A batch is what travels: one bulk string per loop turn and peer, in either direction.
//
//   | BatchHeader | message | message | ...        message:  | kind u8 | shard u16 varint | size
//   varint | body |
//
// `shard` is the receiver's thread that owns the slots spoken of; answers name the thread that
// asked. Ids belong to the asker. A lost connection loses messages: time-outs and ids are the
// protocol's.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "record/effect.h"
#include "wire/codec.h"

namespace gyre {

// Raised with every change of a shape; a peer with another number is refused at the handshake.
inline constexpr std::uint32_t wire_format = 20;

enum class Kind : std::uint8_t {
  forward = 1,
  forward_answer,
  effects,
  effects_ack,
  fetch,
  fetch_answer,
  compare,
  compare_answer,
  fetch_many,
  fetch_many_answer,
  repair,
  repair_ack,
  acted,
  acted_taken,
  walk,
  walk_answer,
  identity_ask,
  identity_answer,
  identity_store,
  identity_stored,
  compare_ranges,
  compare_ranges_answer,
  list_leaves,
  list_leaves_answer,
  list_parts,
  list_parts_answer,
  confirm,
  confirm_answer,
  settled,
  whole_ask,
  whole_answer,
  publish,
  invalidate,
  settings_told,
  settings_taken,
  channels_ask,
  channels_answer,
  evict,
  waits,
  woken,
  heartbeat,
  heartbeat_answer,
  end
};

inline constexpr auto kind_names = std::to_array<std::string_view>({"none",
                                                                    "forward",
                                                                    "forward_answer",
                                                                    "effects",
                                                                    "effects_ack",
                                                                    "fetch",
                                                                    "fetch_answer",
                                                                    "compare",
                                                                    "compare_answer",
                                                                    "fetch_many",
                                                                    "fetch_many_answer",
                                                                    "repair",
                                                                    "repair_ack",
                                                                    "acted",
                                                                    "acted_taken",
                                                                    "walk",
                                                                    "walk_answer",
                                                                    "identity_ask",
                                                                    "identity_answer",
                                                                    "identity_store",
                                                                    "identity_stored",
                                                                    "compare_ranges",
                                                                    "compare_ranges_answer",
                                                                    "list_leaves",
                                                                    "list_leaves_answer",
                                                                    "list_parts",
                                                                    "list_parts_answer",
                                                                    "confirm",
                                                                    "confirm_answer",
                                                                    "settled",
                                                                    "whole_ask",
                                                                    "whole_answer",
                                                                    "publish",
                                                                    "invalidate",
                                                                    "settings_told",
                                                                    "settings_taken",
                                                                    "channels_ask",
                                                                    "channels_answer",
                                                                    "evict",
                                                                    "waits",
                                                                    "woken",
                                                                    "heartbeat",
                                                                    "heartbeat_answer"});
static_assert(kind_names.size() == static_cast<std::size_t>(Kind::end));

// What runs, or is heard, in the order in which it was sent.
constexpr bool is_ordered(Kind k) {
  return k == Kind::forward || k == Kind::publish || k == Kind::walk;
}

// Answers may still reach a peer whose own link to us is up when ours to it is not; requests are
// given up with our link.
constexpr bool is_answer(Kind k) {
  switch (k) {
    case Kind::forward_answer:
    case Kind::effects_ack:
    case Kind::fetch_answer:
    case Kind::compare_answer:
    case Kind::fetch_many_answer:
    case Kind::repair_ack:
    case Kind::walk_answer:
    case Kind::identity_answer:
    case Kind::identity_stored:
    case Kind::compare_ranges_answer:
    case Kind::list_leaves_answer:
    case Kind::list_parts_answer:
    case Kind::confirm_answer:
    case Kind::whole_answer:
    case Kind::woken:
    case Kind::acted_taken:
    case Kind::settings_taken:
    case Kind::channels_answer:
    case Kind::heartbeat_answer:
      return true;
    default:
      return false;
  }
}

// Why a node should not act, as bits of BatchHeader::unfit.
inline constexpr std::uint8_t unfit_clock = 1;  // its clock is off (membership/wall_guard.h)
inline constexpr std::uint8_t unfit_disk = 2;   // it cannot write, and acks nothing

struct BatchHeader {
  std::uint32_t format = wire_format;
  std::uint64_t epoch{};
  std::uint64_t ring_hash{};
  std::int64_t wall_ms{};  // the sender's clock
  std::uint16_t incarnation{};
  std::uint16_t threads{};  // of the sender
  bool serving = false;     // ready to act for slots
  std::uint8_t unfit{};     // why others should act rather than it; 0: nothing
  bool answers = false;     // the reply to a batch, not a batch
  template <class A>
  void fields(A& a) {
    a(format), a(epoch), a(ring_hash), a(wall_ms), a(incarnation), a(threads), a(serving), a(unfit),
        a(answers);
  }
};

// One command of a request. args[0] is its name.
struct WireCommand {
  std::uint8_t db{};
  std::vector<std::string_view> args;
  template <class A>
  void fields(A& a) {
    a(db), a(args);
  }
};

// WATCH: the record's newest version when it was watched.
struct WireWatch {
  std::uint8_t db{};
  std::string_view key;
  Version version{};
  template <class A>
  void fields(A& a) {
    a(db), a(key), a(version);
  }
};

// Run this for me: the sender coordinates, the receiver acts for the slot.
struct Forward {
  static constexpr Kind kind = Kind::forward;
  std::uint64_t id{};
  std::uint16_t from_shard{};
  std::uint16_t slot{};
  std::uint8_t protocol{};
  std::uint8_t write_level{}, read_level{};
  bool exec = false;  // the commands are one transaction
  // Its sender used another node for this slot before, or effects of it may come after the command.
  bool moved = false;
  std::int64_t ceiling_ms{};  // stamp at or below this or answer late; 0: none
  std::int64_t above_ms{};    // first move the clock above this; 0: no need
  std::uint64_t wait{};       // the sender's number for a client that waits; 0: it must not
  bool waited = false;        // it has waited before
  bool tracks = false;        // some client of the sender keeps what it reads (Invalidate)
  std::uint64_t client{};     // that tracks, when what it changes comes back to the sender; or 0
  std::string_view rights;    // of scripts (shard/script.h); empty: their user may do everything
  std::vector<WireWatch> watches;
  std::vector<WireCommand> commands;
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(slot), a(protocol), a(write_level), a(read_level), a(exec), a(moved),
        a(ceiling_ms), a(above_ms), a(wait), a(waited), a(tracks), a(client), a(rights), a(watches),
        a(commands);
  }
};

struct ForwardAnswer {
  static constexpr Kind kind = Kind::forward_answer;
  std::uint64_t id{};
  bool late = false;    // not executed: the clock is past the ceiling
  bool parked = false;  // it waits here; no reply yet
  std::int64_t clock_ms{};
  std::string_view reply;
  std::int64_t wait_ms{};              // when parked: how long its client waits; 0: for ever
  std::vector<std::string_view> args;  // when parked: what to send later, unless it is the same
  template <class A>
  void fields(A& a) {
    a(id), a(late), a(parked), a(clock_ms), a(reply), a(wait_ms), a(args);
  }
};

// Clients of the sender that wait for keys of the receiver's thread: once a second those that still
// do, and at once those that no longer do.
struct Waits {
  static constexpr Kind kind = Kind::waits;
  std::uint16_t from_shard{};
  std::vector<std::uint64_t> keep, drop;
  template <class A>
  void fields(A& a) {
    a(from_shard), a(keep), a(drop);
  }
};

// Clients of the receiver whose command may be answered now, or that do not wait here: it is to be
// sent again.
struct Woken {
  static constexpr Kind kind = Kind::woken;
  std::vector<std::uint64_t> waits;
  template <class A>
  void fields(A& a) {
    a(waits);
  }
};

// What one loop turn of an acting shard changed, for one replica.
struct Effects {
  // What a command did that the receiver had forwarded for a client that tracks.
  struct Own {
    std::uint32_t index{};  // of the effect
    std::uint64_t client{};
    template <class A>
    void fields(A& a) {
      a(index), a(client);
    }
  };
  static constexpr Kind kind = Kind::effects;
  std::uint64_t turn{};
  std::uint16_t from_shard{};
  std::uint32_t count{};
  std::string_view effects;  // `count` encoded effects (record/effect.h)
  std::vector<Own> own;      // ascending
  template <class A>
  void fields(A& a) {
    a(turn), a(from_shard), a(count), a(effects), a(own);
  }
};

// An effect that did not stand, or whose base may not have.
struct Newer {
  static constexpr std::uint32_t none = 0xffffffffu;
  // Whether the record was still what the effect builds on. Unclear: the effect's own state, or a
  // later one of its node, had come before it by another way.
  enum class Base : std::uint8_t { stands, unclear, moved };
  std::uint32_t index{};
  Base base{};
  bool stands = false;  // the effect itself does: only its base is in question
  Version too_old{};    // T, when the effect or some of it lies at or below it
  // Which of the ack's records is this one's, as the replica has it; none: the effect stands, and
  // only its base is unclear.
  std::uint32_t record = none;
  template <class A>
  void fields(A& a) {
    a(index), a(base), a(stands), a(too_old), a(record);
  }
};

// All of a turn is durable here and stands here, but for what `newer` lists. However many effects
// of a record did not, the record is in `records` once: a turn may hold hundreds of a large one.
struct EffectsAck {
  static constexpr Kind kind = Kind::effects_ack;
  std::uint64_t turn{};
  std::vector<Newer> newer;
  std::vector<std::string_view> records;  // encoded effects
  template <class A>
  void fields(A& a) {
    a(turn), a(newer), a(records);
  }
};

// One record's state, unless it has this digest.
struct Fetch {
  static constexpr Kind kind = Kind::fetch;
  std::uint64_t id{};
  std::uint16_t from_shard{};
  std::uint8_t db{};
  std::string_view key;
  std::uint64_t digest{};  // 0: absent at the asker
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(db), a(key), a(digest);
  }
};

struct FetchAnswer {
  static constexpr Kind kind = Kind::fetch_answer;
  enum class What : std::uint8_t { same, record, absent, unknown };
  std::uint64_t id{};
  What what{};
  // What the slot holds there has changed, and is not on disk yet.
  bool unwritten{};
  std::string_view record;
  template <class A>
  void fields(A& a) {
    a(id), a(what), a(unwritten), a(record);
  }
};

struct SlotDigest {
  std::uint16_t slot{};
  Version repaired{};  // T
  std::uint64_t digest{};
  template <class A>
  void fields(A& a) {
    a(slot), a(repaired), a(digest);
  }
};

// Comparing, from the top: ranges of slots by their sums, slots by digest and leaf sums, leaves by
// lists of keys, large records by sums over ranges of their elements (sync/merkle.h).
struct CompareRanges {
  static constexpr Kind kind = Kind::compare_ranges;
  struct Range {
    std::uint16_t first{}, count{};
    std::uint64_t sum{};  // of what both nodes hold
    template <class A>
    void fields(A& a) {
      a(first), a(count), a(sum);
    }
  };
  std::uint64_t id{};
  std::uint16_t from_shard{};
  std::vector<Range> ranges;
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(ranges);
  }
};

struct CompareRangesAnswer {
  static constexpr Kind kind = Kind::compare_ranges_answer;
  std::uint64_t id{};
  std::vector<std::uint16_t> differ;  // indexes of the ranges
  template <class A>
  void fields(A& a) {
    a(id), a(differ);
  }
};

struct Compare {
  static constexpr Kind kind = Kind::compare;
  std::uint64_t id{};
  std::uint16_t from_shard{};
  bool leaves = false;  // answer what differs with leaf sums
  Version round{};      // the T that a round is about to confirm, if it is one
  std::vector<SlotDigest> slots;
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(leaves), a(round), a(slots);
  }
};

struct DbFloor {
  std::uint8_t db{};
  Version floor{};
  template <class A>
  void fields(A& a) {
    a(db), a(floor);
  }
};

struct SlotDifference {
  std::uint16_t slot{};
  bool known = false;  // false: the answerer may itself lack acknowledged state
  bool same = false;   // nothing follows
  bool elsewhere =
      false;           // in the answerer's view another node acts: being equal now proves nothing
  Version repaired{};  // T at the answerer
  std::vector<DbFloor> floors;
  std::string_view leaves;  // sums, 8 bytes each, a power of two of them
  template <class A>
  void fields(A& a) {
    a(slot), a(known), a(same), a(elsewhere), a(repaired), a(floors), a(leaves);
  }
};

struct CompareAnswer {
  static constexpr Kind kind = Kind::compare_answer;
  std::uint64_t id{};
  std::vector<SlotDifference> slots;
  template <class A>
  void fields(A& a) {
    a(id), a(slots);
  }
};

// The records of some leaves, by (key hash, digest, newest version).
struct ListLeaves {
  static constexpr Kind kind = Kind::list_leaves;
  struct Leaves {
    std::uint16_t slot{};
    std::uint8_t bits{};  // 2^bits leaves in the slot, for this comparison
    std::vector<std::uint32_t> leaves;
    template <class A>
    void fields(A& a) {
      a(slot), a(bits), a(leaves);
    }
  };
  std::uint64_t id{};
  std::uint16_t from_shard{};
  Version upto{};  // digests cover what lies at or below this; zero: everything
  std::vector<Leaves> slots;
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(upto), a(slots);
  }
};

struct ListLeavesAnswer {
  static constexpr Kind kind = Kind::list_leaves_answer;
  struct Keys {
    std::uint16_t slot{};
    std::string_view keys;  // db u8, key hash be64, digest be64, elements varint, newest be64; ...
    template <class A>
    void fields(A& a) {
      a(slot), a(keys);
    }
  };
  std::uint64_t id{};
  std::vector<Keys> slots;
  template <class A>
  void fields(A& a) {
    a(id), a(slots);
  }
};

// A record by its key's hash, which all nodes of a ring share.
struct RecordName {
  std::uint16_t slot{};
  std::uint8_t db{};
  Version hash{};  // 8 plain bytes
  template <class A>
  void fields(A& a) {
    a(slot), a(db), a(hash);
  }
};

// The element sums of a large record: 256, by the high bits of the ids' hashes.
struct ListParts {
  static constexpr Kind kind = Kind::list_parts;
  std::uint64_t id{};
  std::uint16_t from_shard{};
  Version upto{};
  RecordName record;
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(upto), a(record);
  }
};

struct ListPartsAnswer {
  static constexpr Kind kind = Kind::list_parts_answer;
  std::uint64_t id{};
  std::string_view sums;  // 256 x 8 bytes; empty: there is no such record
  template <class A>
  void fields(A& a) {
    a(id), a(sums);
  }
};

// Whole records, or some parts of one.
struct FetchMany {
  static constexpr Kind kind = Kind::fetch_many;
  std::uint64_t id{};
  std::uint16_t from_shard{};
  std::vector<RecordName> records;
  std::string_view parts;  // one bit for each of 256 parts, of the only record named
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(records), a(parts);
  }
};

// The T that a slot's records in a message were read under. Who has purged by a higher one knows
// all up to there, and must not be told again what it has forgotten since.
struct SlotBound {
  std::uint16_t slot{};
  Version repaired{};
  template <class A>
  void fields(A& a) {
    a(slot), a(repaired);
  }
};
inline Version bound_of(std::span<const SlotBound> bounds, Slot slot) {
  for (const SlotBound& b : bounds) {
    if (b.slot == slot.value) return b.repaired;
  }
  return {};
}

struct FetchManyAnswer {
  static constexpr Kind kind = Kind::fetch_many_answer;
  std::uint64_t id{};
  std::uint32_t taken{};  // of the records asked for, from the first; the rest did not fit
  std::vector<SlotBound> bounds;
  std::uint32_t count{};
  std::string_view effects;
  template <class A>
  void fields(A& a) {
    a(id), a(taken), a(bounds), a(count), a(effects);
  }
};

// State with its original versions, for a replica that missed it: hints and read repair. A floor of
// (slot, db) travels as an effect without a key.
struct Repair {
  static constexpr Kind kind = Kind::repair;
  std::uint64_t id{};
  std::uint16_t from_shard{};
  // From a comparison: what lies below T counts as well.
  bool synced = false;
  std::vector<SlotBound> bounds;
  std::uint32_t count{};
  std::string_view effects;
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(synced), a(bounds), a(count), a(effects);
  }
};

struct RepairAck {
  static constexpr Kind kind = Kind::repair_ack;
  std::uint64_t id{};
  template <class A>
  void fields(A& a) {
    a(id);
  }
};

// A round of T: do you hold everything of these slots up to T, all of it compared, durably?
struct Confirm {
  static constexpr Kind kind = Kind::confirm;
  std::uint64_t id{};
  std::uint16_t from_shard{};
  Version upto{};
  std::vector<std::uint16_t> slots;
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(upto), a(slots);
  }
};

struct ConfirmAnswer {
  static constexpr Kind kind = Kind::confirm_answer;
  std::uint64_t id{};
  std::vector<std::uint16_t> slots;  // those with a yes
  template <class A>
  void fields(A& a) {
    a(id), a(slots);
  }
};

// Every replica has confirmed these slots up to T.
struct Settled {
  static constexpr Kind kind = Kind::settled;
  Version upto{};
  std::vector<std::uint16_t> slots;
  template <class A>
  void fields(A& a) {
    a(upto), a(slots);
  }
};

// Your effects revive records of which this replica has dropped the elements: send all of them.
struct WholeKey {
  std::uint8_t db{};
  std::string_view key;
  template <class A>
  void fields(A& a) {
    a(db), a(key);
  }
};
struct WholeAsk {
  static constexpr Kind kind = Kind::whole_ask;
  std::uint64_t id{};
  std::uint16_t from_shard{};
  std::vector<WholeKey> keys;
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(keys);
  }
};
struct WholeAnswer {
  static constexpr Kind kind = Kind::whole_answer;
  std::uint64_t id{};
  bool more = false;  // another part follows
  std::uint32_t count{};
  std::string_view effects;
  template <class A>
  void fields(A& a) {
    a(id), a(more), a(count), a(effects);
  }
};

// Another node than the receiver acts for these slots, or has: whoever acted for them is unsure of
// them now.
struct Acted {
  static constexpr Kind kind = Kind::acted;
  std::uint64_t id{};
  std::uint16_t from_shard{};
  bool missed{};  // something was written that the receiver may not have
  std::vector<std::uint16_t> slots;
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(missed), a(slots);
  }
};

// From now on the receiver of the Acted answers no read by its own word alone.
struct ActedTaken {
  static constexpr Kind kind = Kind::acted_taken;
  std::uint64_t id{};
  template <class A>
  void fields(A& a) {
    a(id);
  }
};

// The sender holds more than its limit: who acts for these slots, of which it holds much, is to
// evict keys of so many bytes there. Sent again while it lasts, and unanswered.
struct Evict {
  static constexpr Kind kind = Kind::evict;
  std::vector<std::uint16_t> slots;
  std::uint64_t bytes{};
  template <class A>
  void fields(A& a) {
    a(slots), a(bytes);
  }
};

// A message to a channel, for the clients of the receiver. Once and unanswered: what a broken link
// loses is lost, as Redis Cluster has it. In order, for all of a thread go to one thread.
struct Publish {
  static constexpr Kind kind = Kind::publish;
  std::uint64_t id{};  // of the ChannelsAnswer that tells how many it was for; 0: nobody asks
  std::uint16_t from_shard{};
  std::uint8_t channel_kind{};  // ChannelKind
  std::string_view channel;
  std::string_view message;
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(channel_kind), a(channel), a(message);
  }
};

// What PUBSUB asks of the receiver's own subscribers, to thread 0: how many listen to each of the
// names, or which names match the pattern.
struct ChannelsAsk {
  static constexpr Kind kind = Kind::channels_ask;
  std::uint64_t id{};
  std::uint16_t from_shard{};
  std::uint8_t listening{};  // Listening
  bool counts = false;
  std::string_view pattern;
  std::vector<std::string_view> names;
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(listening), a(counts), a(pattern), a(names);
  }
};
struct ChannelsAnswer {
  static constexpr Kind kind = Kind::channels_answer;
  std::uint64_t id{};
  std::vector<std::uint64_t> counts;
  std::vector<std::string_view> names;
  template <class A>
  void fields(A& a) {
    a(id), a(counts), a(names);
  }
};

// Keys that clients of the receiver have read here have changed; none: all of them may have. Once
// and unanswered: who loses the link to a node tells its clients that everything has changed.
struct Invalidate {
  static constexpr Kind kind = Kind::invalidate;
  std::vector<std::string_view> keys;
  template <class A>
  void fields(A& a) {
    a(keys);
  }
};

// A register of what holds for the whole ring (membership/settings.h).
struct WireSetting {
  std::uint8_t kind{};
  bool gone = false;
  Version version{};
  std::string_view name, value;
  template <class A>
  void fields(A& a) {
    a(kind), a(gone), a(version), a(name), a(value);
  }
};

// Some of them, to thread 0.
struct SettingsTold {
  static constexpr Kind kind = Kind::settings_told;
  std::uint64_t id{};     // 0: nobody waits for SettingsTaken
  bool compares = false;  // the sender knows all that came before, and says its digest
  std::uint64_t digest{};
  std::vector<WireSetting> settings;
  template <class A>
  void fields(A& a) {
    a(id), a(compares), a(digest), a(settings);
  }
};
struct SettingsTaken {
  static constexpr Kind kind = Kind::settings_taken;
  std::uint64_t id{};
  template <class A>
  void fields(A& a) {
    a(id);
  }
};

// A command over many slots (KEYS, SCAN, DBSIZE, RANDOMKEY, FLUSHDB), for those the receiver acts
// for.
struct Walk {
  static constexpr Kind kind = Kind::walk;
  std::uint64_t id{};
  std::uint16_t from_shard{};
  std::uint8_t what{};
  std::uint8_t db{};
  bool all_dbs = false;
  std::uint8_t write_level{};
  std::int64_t ceiling_ms{};  // of a flush, as Forward's
  std::uint64_t place{};      // SCAN's cursor
  std::uint32_t count{};
  std::string_view pattern;
  std::string_view type;
  std::string_view slots;  // 2048 bytes, one bit per slot
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(what), a(db), a(all_dbs), a(write_level), a(ceiling_ms), a(place),
        a(count), a(pattern), a(type), a(slots);
  }
};

struct WalkAnswer {
  static constexpr Kind kind = Kind::walk_answer;
  std::uint64_t id{};
  std::uint16_t shard{};  // whose part it is
  bool failed = false;
  bool late = false;  // came above its ceiling: nothing was done, the clock says where it would be
  std::int64_t clock_ms{};
  std::uint64_t count{};
  std::uint64_t next{};
  std::vector<std::string_view> keys;
  template <class A>
  void fields(A& a) {
    a(id), a(shard), a(failed), a(late), a(clock_ms), a(count), a(next), a(keys);
  }
};

// When a generation of a node's incarnations was stored (membership/identity.h).
struct IdentityUse {
  std::uint64_t generation{};
  std::int64_t age_ms{};  // by the answerer's clock
  template <class A>
  void fields(A& a) {
    a(generation), a(age_ms);
  }
};

// Which incarnation of this node did you store last?
struct IdentityAsk {
  static constexpr Kind kind = Kind::identity_ask;
  std::uint64_t id{};
  std::uint16_t from_shard{};
  std::string_view name;
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(name);
  }
};
struct IdentityAnswer {
  static constexpr Kind kind = Kind::identity_answer;
  std::uint64_t id{};
  bool any = false;
  std::uint64_t generation{};
  std::vector<IdentityUse> uses;  // of the last 8
  template <class A>
  void fields(A& a) {
    a(id), a(any), a(generation), a(uses);
  }
};
struct IdentityStore {
  static constexpr Kind kind = Kind::identity_store;
  std::uint64_t id{};
  std::uint16_t from_shard{};
  std::string_view name;
  std::uint64_t generation{};
  template <class A>
  void fields(A& a) {
    a(id), a(from_shard), a(name), a(generation);
  }
};
struct IdentityStored {
  static constexpr Kind kind = Kind::identity_stored;
  std::uint64_t id{};
  std::uint64_t generation{};  // what the answerer has now: a higher one is not replaced
  template <class A>
  void fields(A& a) {
    a(id), a(generation);
  }
};

// On the connections of the detector (membership/detector.h), one to a batch. The rest of what a
// node says of itself is in the header.
struct Heartbeat {
  static constexpr Kind kind = Kind::heartbeat;
  std::uint64_t sequence{};
  template <class A>
  void fields(A& a) {
    a(sequence);
  }
};
struct HeartbeatAnswer {
  static constexpr Kind kind = Kind::heartbeat_answer;
  std::uint64_t sequence{};
  std::int64_t machine_ahead_ms{};  // its machine's clock less the time it goes by
  std::uint64_t turn_us{};          // its longest turn of a loop lately
  std::uint64_t waiting{};          // its operations that wait for others
  std::int64_t stamp_ms{};          // the time of the newest stamp that it would give
  std::vector<std::uint16_t> suspects;
  template <class A>
  void fields(A& a) {
    a(sequence), a(machine_ahead_ms), a(turn_us), a(waiting), a(stamp_ms), a(suspects);
  }
};

// ---- batches

void put_header(std::string& batch, const BatchHeader& header);

template <class M>
void put_message(std::string& batch, std::uint16_t shard, const M& message) {
  thread_local std::string body;
  Encoder encoder(body);
  encoder(message);
  put_u8(batch, static_cast<std::uint8_t>(M::kind));
  put_varint(batch, shard);
  put_bytes(batch, body);
  clear_buffer(body);
}

struct Envelope {
  Kind kind{};
  std::uint16_t shard{};
  std::string_view body;
};

// Reads a batch piece by piece; false at the end, or with ok() false when it is not one.
class BatchReader {
 public:
  explicit BatchReader(std::string_view batch) : in_(batch) {}
  bool header(BatchHeader& header);
  bool next(Envelope& envelope);
  bool ok() const { return ok_; }

 private:
  Reader in_;
  bool ok_ = true;
};

template <class M>
bool decode_message(const Envelope& envelope, M& message) {
  Decoder decoder(envelope.body);
  decoder(message);
  return decoder.finished();
}

}  // namespace gyre
