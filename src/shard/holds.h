// Holds: what a transaction over several slots leaves in each of them (design, section 11).
//
//   hold      the acting node lets nobody else run on the slot; volatile, with a lease
//   prepared  the part's effects, kept as a record of the node's own database (prepared_db) under a
//             key of the slot, so that it is durable, replicated, hinted, gathered and compared
//             like any other record
//
// A transaction is committed exactly when each of its parts is prepared on as many replicas as the
// write level says; nothing else decides. A part that is asked for and is not there is promised
// never to be: a record that says so takes its place, conditionally, as SET NX would.
//
//   absent -> prepared -> committed -> forgotten     absent -> never -> forgotten
//
// Here: the name of a transaction, the record's form, and what a command may do to the hold.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "record/effect.h"
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

struct Part {
  enum class State : std::uint8_t { prepared = 'P', committed = 'C', never = 'N' };
  State state{};
  std::vector<Slot> slots;   // of the whole transaction, ascending
  std::string_view effects;  // of this part, encoded one behind the other; of a prepared one
};
std::string encode_part(const Part& part);
// False: it is none.
bool decode_part(std::string_view bytes, Part& part);

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
