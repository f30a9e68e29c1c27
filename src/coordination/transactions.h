// Transactions: commands, EXECs and scripts whose keys lie in several slots of a ring, coordinated
// by the shard whose client sent them (design, section 11).
//
//   hold every slot -> copy the records here -> run on the copies -> what came of it goes back
//     nothing written: the slots are released
//     to one slot:     GYRE.APPLY there
//     to several:      GYRE.PREPARE at each; when all are prepared it is committed: the reply
//                      leaves, then GYRE.COMMIT, then GYRE.FORGET
//
// First all slots are asked at once, and none may wait; when one is held, all are given back and
// taken again in ascending order, waiting at each: nobody waits for a lower slot than it holds, so
// nobody waits in a circle. A script that wants a key which it does not declare runs again with it,
// from the copies that are here; its slot is waited for only when it lies above all that are held.
// The copies stamp in the name of who acts for their slot, with stamps that the hold has reserved.
//
// Failures: before a part is prepared everything is given back, and tried again when other nodes
// took over. When it is not known whether a part is prepared, those who act for the slots are asked
// until they agree (Holds::ask_parts): it is committed, or begins again. -NOQUORUM when they cannot
// in settle_max_ms, and for what writes to one slot alone; they then settle it among themselves.
//
// Bounds: transactions_max at once, keys as the command has them; it takes its slots tries_max
// times and runs runs_max times. Pure; its shard's thread. Answers of others are taken by run(),
// never within a call.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "coordination/holds.h"
#include "coordination/request.h"
#include "metrics/metrics.h"
#include "shard/command.h"
#include "shard/holds.h"
#include "shard/keyspace.h"
#include "shard/publisher.h"
#include "shard/script.h"

namespace gyre {

// Of a command that came too late to who acts for it (coordination/forward.cc), and did nothing.
inline constexpr std::string_view came_too_late =
    "it came too late to the node that acts for this key: slow nodes, or clocks too far apart; "
    "nothing was written";

class TransactionHost {
 public:
  virtual ~TransactionHost() = default;
  // Runs it where its slot is acted for; `done` gets the reply, now or later.
  virtual void run_at(Request&& request, std::function<void(std::string&&)> done) = 0;
  virtual void finish(const Ticket& ticket, std::string&& reply) = 0;
  virtual void run_apart(const std::function<void()>& f) = 0;
  virtual Publisher& publisher() = 0;
  // A script pauses: nothing else runs.
  virtual bool pauses() const = 0;
  // A script has run: whether it called keys of other slots than those that it declares.
  virtual void reached(const OwnedCommand& script, bool further) = 0;
};

class Transactions {
 public:
  Transactions(TransactionHost& host, Holds& holds, KeySpace& space, ShardIndex shard, int replicas,
               const Clock& clock, Random& random, const CommandOptions& command_options,
               Metrics& metrics);
  ~Transactions();

  void begin(Request&& request);
  // Goes on with what was answered; false: nothing was.
  bool run();
  void tick(SteadyMs now);
  void set_scripts(ScriptRunner* scripts) { scripts_ = scripts; }
  std::size_t running() const { return running_.size(); }

 private:
  static constexpr std::size_t transactions_max = 10'000;
  static constexpr int tries_max = 40, runs_max = 2000, rounds_lost_max = 3;
  static constexpr std::int64_t settle_max_ms = 4000, settle_again_ms = 100;
  static_assert(settle_max_ms < Holds::told_ms);
  static constexpr std::size_t holds_at_once = 500;  // questions out: a turn must not take long

  using Name = std::pair<std::uint8_t, std::string>;  // database and key
  struct Place {                                      // of a slot
    std::set<Name> names;
    std::string head;  // what the hold told of the slot
    struct Copied {
      std::string record;  // as it came
      Version newest{};
    };
    std::map<Name, Copied> copied;
    std::unique_ptr<KeySpace> space;
    Version first_stamp{};  // of those that the hold has reserved
    std::string effects;
    std::set<Name> written;
    bool asked = false, held = false;  // under the transaction's present name
    enum class Sent : std::uint8_t { nothing, asked, done, refused, unknown } sent = Sent::nothing;
  };
  struct Transaction {
    std::uint64_t id = 0;
    Request request;
    std::string name;
    std::map<std::uint16_t, Place> places;  // by slot
    bool writes = false;
    bool in_order = false;  // slot by slot
    bool busy = false;      // a slot was held
    bool lost = false;      // who was asked for a slot stopped answering
    bool wants_more = false;
    std::size_t out = 0;  // answers that are awaited
    std::string error, reply;
    std::vector<std::function<void()>> events;
    std::int64_t stamps = 0;
    int tries = 0, runs = 0, rounds_lost = 0;
    SteadyMs sent_at = 0;    // its parts
    SteadyMs settle_at = 0;  // those who act are asked then; 0: they need not be
    void (Transactions::*next)(Transaction&) = nullptr;  // when all answers are in
  };
  class Copies;     // KeySpaces of a transaction
  class Collector;  // its EffectSink
  class Events;     // its Publisher
  class Guard;      // of its scripts

  Transaction* find(std::uint64_t id);
  void want(Transaction& t, DbIndex db, std::string_view key);
  void ask_holds(Transaction& t);
  void ask_hold(Transaction& t, Slot slot, Place& place);
  void take_hold(Transaction& t, Slot slot, const std::string& reply);
  bool copy(Slot slot, Place& place, std::string_view reply);
  void make_space(Slot slot, Place& place) const;
  // Its newest version; nothing when the bytes are no record.
  static std::optional<Version> put_copy(Slot slot, Place& place, const Name& name,
                                         std::string_view record);
  void holds_answered(Transaction& t);
  void begin_again(Transaction& t);
  void execute(std::uint64_t id);
  void run_commands(Transaction& t, std::string& out, bool& again);
  void executed(Transaction& t);
  static bool wanders(const Transaction& t);
  void send_parts(Transaction& t);
  void parts_answered(Transaction& t);
  void drop_parts(Transaction& t);
  void settle(Transaction& t);
  void settled(Transaction& t, Holds::Parts parts);
  void committed(Transaction& t);
  void give_up(Transaction& t, std::string error);
  void forget(std::uint64_t id);
  // One step to one slot; `done` runs later, in run().
  void step(const Transaction& t, Slot slot, std::vector<std::string> words,
            std::function<void(Transaction&, const std::string&)> done);
  void step_alone(const Transaction& t, Slot slot, std::vector<std::string> words);
  void release_all(Transaction& t);
  void answer(Transaction& t);

  TransactionHost& host_;
  Holds& holds_;
  KeySpace& space_;
  const ShardIndex shard_;
  const int n_;
  const Clock& clock_;
  Random& random_;
  const CommandOptions& command_options_;
  Metrics& metrics_;
  ScriptRunner* scripts_ = nullptr;
  std::uint64_t next_id_ = 1;
  std::unordered_map<std::uint64_t, std::unique_ptr<Transaction>> running_;
  std::deque<std::function<void()>> answers_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// The strings of a flat array of bulk strings; false: it is something else.
bool bulks_of(std::string_view resp, std::vector<std::string_view>& to);

}  // namespace gyre
