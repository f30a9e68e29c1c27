// MerkleSync: comparing slots with other replicas and healing what differs, in both directions.
//
//   ranges of slots by sums -> slots by digest -> leaves by sums -> lists of (hash, digest, newest)
//     -> records; large ones by sums over parts of their elements -> what each side lacks
//
// Replicas in sync exchange one sum for each pair of threads (a root). A comparison is asked for by
// begin(), or starts by itself in the background: of two nodes the one with the lower index asks,
// every interval, leaves out what is younger than `young_ms`, and looks twice before it lists.
// Lists, fetches and pushes of a comparison go one after the other, each bounded in size and
// answered, so that healing never fills a queue.
//
// Comparisons carry T. Who holds a lower one and had confirmed so much purges before it answers;
// who had not confirmed has lost state, and starts over (design, section 9).
//
// Ownership: one for each shard, its thread alone. Pure: the host sends, merges and knows.
// Source:    Dynamo (SOSP 2007), section 4.7; leaves that are sums are our own.
#pragma once

#include <deque>
#include <map>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "base/clock.h"
#include "metrics/metrics.h"
#include "shard/keyspace.h"
#include "wire/messages.h"

namespace gyre {

// What a comparison is for.
enum class Purpose : std::uint8_t {
  sureness,  // the youngest writes included
  heal,      // the background, or a command
  round,     // of T: what lies above T makes no difference
};

class SyncHost {
 public:
  virtual ~SyncHost() = default;
  // Where a message for the peer is put.
  virtual std::string& to_peer(NodeIndex peer, bool answer) = 0;
  virtual std::uint16_t thread_of(NodeIndex peer, Slot slot) const = 0;
  virtual bool reachable(NodeIndex peer) const = 0;
  virtual bool replica(Slot slot, NodeIndex node) const = 0;
  virtual bool knows(Slot slot) const = 0;
  virtual std::span<const NodeIndex> replicas(Slot slot) const = 0;
  // Whether a round of T may begin: this node acts and is sure, and all replicas can be reached.
  virtual bool may_round(Slot slot) const = 0;
  // Whether in this node's view somebody other than `node` acts for the slot.
  virtual bool elsewhere(Slot slot, NodeIndex node) const = 0;
  // That node was told so: it may be sure from now on.
  virtual void agreed(Slot slot, NodeIndex node) = 0;
  // Merges what another replica held while its T was `bound`; also below T, where that is not
  // higher here. False: refused.
  virtual bool merge_synced(Effect& effect, Version bound, bool& changed) = 0;
  // This node's copy of the slot was found to lack state.
  virtual void lost_state(Slot slot) = 0;
  // The peer is equal in the slot: it misses nothing any more.
  virtual void equal(NodeIndex peer, Slot slot) = 0;
  // The outcome for one slot, after healing; then the end of the comparison (failed: not all of its
  // slots were told).
  struct Outcome {
    bool known = false, elsewhere = false;  // as the peer says
    bool differed = false;
  };
  virtual void compared(std::uint64_t id, NodeIndex peer, Slot slot, const Outcome& outcome) = 0;
  virtual void ended(std::uint64_t id, NodeIndex peer, bool failed) = 0;
};

struct SyncOptions {
  NodeIndex self{};
  ShardIndex shard{};
  std::int64_t max_skew_ms = 500;
  std::int64_t interval_ms = 5000;  // between background comparisons of a pair; 0: none
  std::int64_t young_ms = 2000;     // what is younger is left out
  // An answer lost with its link is waited for so long; doubled for a peer that is only slow.
  std::int64_t timeout_ms = 2000, slow_timeout_ms = 16'000;
  std::size_t rate_bytes = std::size_t{32} << 20;  // a second, of what healing pushes; 0: no bound
};

// How background comparisons with a peer go.
struct SyncProgress {
  SteadyMs last_completed = 0;  // 0: never
  std::uint64_t rounds = 0;
  std::size_t slots_left = 0;  // differed when looked at last
  bool running = false;
};

class MerkleSync {
 public:
  MerkleSync(const SyncOptions& options, std::size_t nodes, KeySpace& space, const Clock& clock,
             Metrics& metrics, SyncHost& host, std::uint64_t first_id);

  // Compares these slots with the peer, which is a replica of each. One comparison for each of its
  // threads; the ids are told by compared() and ended().
  std::vector<std::uint64_t> begin(NodeIndex peer, const std::vector<Slot>& slots, Purpose purpose,
                                   Version round = {}) {
    return start(peer, slots, purpose, round, false);
  }
  void tick();
  // A background comparison with the peer begins now, whichever side's turn it is; when one is
  // running, another follows it.
  void kick(NodeIndex peer);
  void peer_down(NodeIndex peer);
  const SyncProgress& progress(NodeIndex peer) const { return pairs_[peer.value].progress; }
  std::size_t running() const { return comparisons_.size(); }
  // Whether a comparison of the slot, with any peer, was begun here and has not ended: another one
  // would carry the same records again.
  bool busy(Slot slot) const {
    return busy_[static_cast<std::size_t>(slot.value - space_.first_slot().value)] > 0;
  }

  void on_compare_ranges(NodeIndex from, const CompareRanges& m);
  void on_compare_ranges_answer(NodeIndex from, const CompareRangesAnswer& m);
  void on_compare(NodeIndex from, const Compare& m);
  void on_compare_answer(NodeIndex from, const CompareAnswer& m);
  void on_list_leaves(NodeIndex from, const ListLeaves& m);
  void on_list_leaves_answer(NodeIndex from, const ListLeavesAnswer& m);
  void on_list_parts(NodeIndex from, const ListParts& m);
  void on_list_parts_answer(NodeIndex from, const ListPartsAnswer& m);
  void on_fetch_many(NodeIndex from, const FetchMany& m);
  void on_fetch_many_answer(NodeIndex from, const FetchManyAnswer& m);
  // False when the id is none of its pushes.
  bool on_push_ack(NodeIndex from, std::uint64_t id);

  // Takes over a T that all replicas have confirmed.
  void adopt(Slot slot, Version repaired);

 private:
  using Name = std::tuple<std::uint16_t, std::uint8_t, std::uint64_t>;  // slot, db, key hash
  struct Listed {
    std::uint64_t digest = 0;
    std::uint64_t elements = 0;
    Version newest{};
  };
  struct Comparison {
    NodeIndex peer{};
    std::uint16_t thread = 0;  // of the peer
    Purpose purpose{};
    bool first_look = false;  // only which slots differ: they are looked at again
    Version upto{};
    SteadyMs at = 0;  // of the last progress
    std::vector<Slot> slots;
    std::map<std::uint16_t, SyncHost::Outcome> open;  // those being healed
    std::deque<ListLeaves::Leaves> todo;
    std::vector<ListLeaves::Leaves> listing;
    std::map<Name, std::uint64_t> theirs;  // digests at the peer of records that differ
    std::deque<Name> want, large;
    Name parts_of{};
    bool in_parts = false;
    std::string push;
    std::uint32_t push_count = 0;
    std::map<std::uint16_t, Version> push_bounds;  // T when the first of a slot was read
    bool waiting = false;                          // for an answer
    SteadyMs resume_at = 0;                        // held back by the rate
  };
  struct Pair {
    SteadyMs next_at = 0, again_at = 0, asked_at = 0;
    std::int64_t patience_ms = 0;  // how long an answer is waited for
    std::map<std::uint64_t, std::vector<CompareRanges::Range>> questions;  // out
    std::vector<Slot> again;  // differed at the first look
    bool kicked = false;
    SyncProgress progress;
  };

  template <class M>
  void send(NodeIndex peer, std::uint16_t thread, const M& m) {
    put_message(host_.to_peer(peer, is_answer(M::kind)), thread, m);
  }
  template <class M>
  void ask(Comparison& c, std::uint64_t id, M& m) {
    m.id = id;
    m.from_shard = options_.shard.value;
    c.waiting = true;
    send(c.peer, c.thread, m);
  }
  std::uint64_t new_id() { return next_id_++ << 8 | options_.shard.value; }
  bool both_hold(Slot slot, NodeIndex peer) const {
    return slot.value < slots_total && space_.owns(slot) && host_.replica(slot, options_.self) &&
           host_.replica(slot, peer);
  }
  std::vector<std::uint64_t> start(NodeIndex peer, const std::vector<Slot>& slots, Purpose purpose,
                                   Version round, bool first_look);
  Comparison* answered(NodeIndex from, std::uint64_t id);
  void advance(std::uint64_t id);
  void end(std::uint64_t id, bool failed);

  void compare_leaves(Comparison& c, const SlotDifference& d);
  void push_floors(Comparison& c, const SlotDifference& d);
  // The records of these leaves here.
  std::map<Name, Listed> list(const ListLeaves::Leaves& leaves, Version upto) const;
  Node* record_of(const Name& name) const;
  std::vector<std::uint64_t> part_sums(const Name& name, Version upto) const;
  // Encodes the record, or those parts of it, in pieces of bounded size.
  static std::uint32_t put_pieces(std::string& to, const Node& n, DbIndex db,
                                  std::string_view parts);
  void push_record(Comparison& c, const Name& name, std::string_view parts = {});

  std::uint64_t range_sum(std::uint16_t first, std::uint16_t count, NodeIndex peer) const;
  void ask_ranges(NodeIndex peer, const std::vector<CompareRanges::Range>& ranges);
  void background(NodeIndex peer);
  void less_patience(Pair& p, SteadyMs asked_at);

  const SyncOptions options_;
  KeySpace& space_;
  const Clock& clock_;
  Metrics& metrics_;
  SyncHost& host_;
  std::uint64_t next_id_;
  std::map<std::uint64_t, Comparison> comparisons_;
  std::vector<Pair> pairs_;
  std::vector<std::uint8_t> busy_;  // comparisons of each slot
};

// The digest of what a record holds at or below `upto` (zero: of all); zero when that is nothing.
std::uint64_t digest_upto(const Node& record, DbIndex db, Version upto);

}  // namespace gyre
