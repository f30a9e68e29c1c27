// Holds: what a transaction over several slots leaves in each of them (design, section 11).
//
//   hold   the acting node lets nobody else run on the slot; volatile, with a lease
//   part   a record of the node's own database (prepared_db) under a key of the slot, so that it is
//          durable, replicated, hinted, gathered and compared like any other record
//
// A transaction is committed exactly when each of its parts is prepared on as many replicas as the
// write level says; nothing else decides. Whether a part is prepared is agreed by its replicas as
// in Paxos Commit (Gray and Lamport, 2006): the coordinator's PREPARE is the first proposal, which
// a replica takes only while it has heard of no other; whoever wants to know later asks as many
// replicas under a ballot (a version) first, then proposes what has been accepted, or that the part
// never will be prepared. The record is a hash, so no proposal covers another:
//
//   p   prepared: the effects, with all slots of the transaction
//   b   the highest ballot that was asked under, which is its version
//   v   what was proposed under a ballot, P or N; its version is that ballot
//   c   committed: the effects are merged          d   dropped: some part never will be prepared
//
// A replica agrees to a proposal when its record is then exactly what the proposal says
// (Holds::same_part): it knew nothing that the proposer did not.
//
// Here: the name of a transaction, the record's form, and what a command may do to the hold.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "record/effect.h"
#include "record/node.h"
#include "record/version.h"

namespace gyre {

// What the running command may do to the hold of its slot.
class SlotHolds {
 public:
  virtual ~SlotHolds() = default;
  // The transaction holds the slot from now on; false: another one does.
  virtual bool take(Slot slot, std::string_view transaction) = 0;
  virtual bool held_by(Slot slot, std::string_view transaction) const = 0;
  // Those who wait go on behind the command.
  virtual void release(Slot slot, std::string_view transaction) = 0;
};

// Where a transaction's part in a slot is kept.
std::string part_key(Slot slot, std::string_view transaction);
std::string_view transaction_of(std::string_view part_key);

// What a transaction does in a slot: `p` of its record, and without effects `c`.
struct Part {
  std::vector<Slot> slots;   // of the whole transaction, ascending
  std::string_view effects;  // of this part, encoded one behind the other
};
std::string encode_part(const Part& part);
// False: it is none.
bool decode_part(std::string_view bytes, Part& part);

namespace part_field {
inline constexpr std::string_view prepared = "p", asked = "b", accepted = "v", committed = "c",
                                  dropped = "d";
}

// A part's record, read.
struct PartRecord {
  enum class State : std::uint8_t {
    none,      // nothing is known of it
    asked,     // others have asked for it; it is not prepared
    prepared,  // or it was tried; not known to be committed or dropped
    committed,
    dropped
  };
  State state = State::none;
  std::string text;  // what `part` views
  Part part;         // of a prepared or a committed one
  Version prepared_at{}, asked{}, accepted_at{};
  bool accepted_never = false;

  // What a proposal has to say after as many replicas as its level asks for were asked.
  bool proposes_never() const {
    return accepted_at ? accepted_never : state == State::asked || state == State::none;
  }
};
// nullptr: none.
PartRecord read_part(const Node* record);

// The records that a part was computed from, with the versions that they had: it may only take its
// place where these still stand.
struct Seen {
  DbIndex db{};
  std::string_view key;
  Version newest{};
};
void encode_seen(std::string& to, const Seen& seen);
bool decode_seen(std::string_view bytes, std::vector<Seen>& to);

// Calls f for each; false: they cannot be read.
template <class F>
bool for_each_effect(std::string_view bytes, F&& f) {
  Reader in(bytes);
  Effect effect;
  while (in.left() > 0) {
    if (!decode_effect(in, effect)) return false;
    f(effect);
  }
  return true;
}

}  // namespace gyre
