// Turn: what one turn of a shard's loop has made, until all of it has reached its level: effects
// for the replicas, operations whose replies wait, acks that peers get once it is durable.
//
// Data of the engine (write_path.cc, acks.cc); its shard's thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "coordination/request.h"
#include "wire/messages.h"

namespace gyre {

// Where an operation is.
struct OperationAt {
  std::uint64_t turn;
  std::uint32_t index;
};

// A command of a client, or an EXEC, from its execution until its level is reached.
struct Operation {
  Ticket ticket;
  std::string reply;
  Slot slot{};
  int need = 1;
  int restamps = 0;
  std::uint32_t flags = 0;
  UnixMs ceiling = 0;
  std::uint64_t client = 0;  // of the node that forwarded it: to be named where its effects go back
  bool done = false;
  std::uint64_t moved_to = 0;  // the turn in which it waits on, after it was stamped again
  std::uint32_t moved_index = 0;
  bool reader = false;  // made nothing itself: waits for what it has read
  bool failed = false;  // done, and not as it should
  // Covered by a later one of this node where another node's write covers both: ends as that
  // does.
  bool follows = false;
  std::vector<OperationAt> followers{};
};

inline constexpr std::uint32_t no_operation = 0xffffffffu;
// An effect of a turn, and the operation that made it.
struct MadeEffect {
  std::size_t at, size;  // in Turn::effects
  Slot slot{};
  std::uint32_t operation = no_operation;
};

// How far a peer is with a turn.
struct PeerPart {
  enum class State : std::uint8_t { nothing, sent, acked, failed } state = State::nothing;
  std::uint64_t parts_left = 0;  // bit per thread of the peer that has not acked its part
};

// Of whom an ack tells what is here: as it is when the ack leaves.
struct NewerRecord {
  Slot slot{};
  DbIndex db{};
  std::string key;
  bool purged = false;  // the effect lay below T
};

// What a peer is told when the turn is durable.
struct WaitingAck {
  NodeIndex peer{};
  std::uint16_t shard = 0;
  std::uint64_t turn = 0;
  std::uint64_t repair_id = 0;   // a RepairAck instead, when not zero
  std::uint64_t confirm_id = 0;  // a ConfirmAnswer instead
  std::vector<Newer> newer{};
  std::vector<NewerRecord> records{};
  std::vector<std::uint16_t> confirmed{};
  std::vector<std::uint64_t> untaken{};  // by whom it must be taken that another one acts
};

// What one turn of the loop has made. It is open, then flushed: its rows are with the store, its
// effects with the peers; then it is persisted, and acked.
struct Turn {
  std::uint64_t number = 0;
  SteadyMs at = 0;
  Version first{}, last{};
  std::string effects;
  std::vector<MadeEffect> made;
  std::vector<Operation> operations;
  std::vector<PeerPart> peers;
  std::vector<WaitingAck> acks;
  bool flushed = false, persisted = false;
  bool empty() const { return made.empty() && operations.empty() && acks.empty(); }
};

}  // namespace gyre
