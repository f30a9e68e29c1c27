// Rounds: raising T, so that tombstones can be forgotten (design, section 9).
//
// The acting node of a slot with something to forget takes T = now, less the larger of twice the
// clock skew and the age that comparisons leave out; compares with all other replicas, where
// differences above T do not count; asks all to confirm: each says yes, durably, when it has merged
// nothing at or below T since it was compared. Then T is theirs: each purges by it. One no, and the
// slot's round is void; the next one comes soon.
//
// Happy path of a slot: chosen -> compared equal with N - 1 -> confirmed by N - 1 and here ->
// settled. One round of up to `slots_at_once` slots at a time and shard.
// Threading: the shard's thread alone. Pure.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "sync/merkle.h"

namespace gyre {

struct RoundOptions {
  NodeIndex self{};
  ShardIndex shard{};
  std::int64_t margin_ms = 2000;  // T lies so far back
  std::int64_t pause_ms = 5000;   // a slot's T is older than this beyond the margin, or it has many
  std::uint32_t many = 1000;      // tombstones that do not wait
  std::size_t slots_at_once = 2048;
  std::int64_t timeout_ms = 10'000;
};

class Rounds {
 public:
  Rounds(const RoundOptions& options, MerkleSync& sync, KeySpace& space, const Clock& clock,
         Metrics& metrics, SyncHost& host, std::uint64_t first_id)
      : options_(options),
        sync_(sync),
        space_(space),
        clock_(clock),
        metrics_(metrics),
        host_(host),
        next_id_(first_id) {}

  void tick();
  void compared(std::uint64_t id, NodeIndex peer, Slot slot, const SyncHost::Outcome& outcome);
  void ended(std::uint64_t id, bool failed);
  void on_confirm_answer(NodeIndex from, const ConfirmAnswer& m);
  void peer_down(NodeIndex) { give_up(); }
  bool running() const { return !slots_.empty(); }

 private:
  struct Going {
    std::uint8_t equal = 0;  // replicas that compared equal, then that confirmed
    bool out = false;        // not in this round
  };
  void begin();
  void ask_to_confirm();
  void settle();
  void give_up();

  const RoundOptions options_;
  MerkleSync& sync_;
  KeySpace& space_;
  const Clock& clock_;
  Metrics& metrics_;
  SyncHost& host_;
  std::uint64_t next_id_;

  Version upto_{};
  SteadyMs began_ = 0, next_at_ = 0;
  bool confirming_ = false;
  std::map<std::uint16_t, Going> slots_;
  std::set<std::uint64_t> out_;  // comparisons, then questions
};

}  // namespace gyre
