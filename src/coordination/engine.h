// Engine: the distributed logic of one shard. Pure: it takes commands, messages, time and
// completions, and gives answers, batches for peers and rows for the store.
//
//   client or peer -> run()/submit() -> who acts for the slot?
//        another node: forward, wait for its answer, go elsewhere when it is silent
//        this node:    [merge from other replicas when unsure] -> execute -> effects join the turn
//   end_turn(): one batch of rows to the store, one message of effects to each replica
//   persisted(), acks -> the turn's operations reach their level -> answers leave
//
// Files: engine.cc (who acts, what waits or is refused), execute.cc (commands run here),
// write_path.cc (turns, the replica's side), acks.cc (what acks bring, NEWER), peers.cc (links and
// messages), forward.cc, gather.cc (unsure and quorum reads), compare.cc (slots against other
// replicas), told.cc (who acted before is told), replay.cc (hints), hollow.cc (whole records for
// stubs), stamp_again.cc (a clock that was ahead), walk.cc (commands over many slots), eviction.cc
// (memory). Parts of their own: holds.h (who waits for a slot, transactions over several slots
// where they are held), transactions.h (who coordinates them), waiters.h (commands that wait for
// keys), turn.h.
//
// On a ring of one node all of this reduces to: execute, and hold the reply until the turn is
// durable.
//
// Invariants: an operation is answered exactly once; nothing is answered before its level is
// reached
//             or has failed; per connection and slot, commands run in the order in which they came.
// Threading:  the shard's thread alone.
#pragma once

#include <array>
#include <bitset>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/prefetch.h"
#include "coordination/holds.h"
#include "coordination/request.h"
#include "coordination/transactions.h"
#include "coordination/turn.h"
#include "coordination/waiters.h"
#include "hints/hints.h"
#include "metrics/metrics.h"
#include "ring/ring.h"
#include "shard/command.h"
#include "shard/keyspace.h"
#include "shard/walk.h"
#include "sync/inquiry.h"
#include "sync/rounds.h"
#include "wire/messages.h"

namespace gyre {

class EngineHost : public Publisher {
 public:
  // A local ticket's reply is ready.
  virtual void answer(const Ticket& ticket, std::string&& reply) = 0;
  // Nobody waits for it: its client has closed the connection.
  virtual bool gone(const Ticket& /*ticket*/) const { return false; }
  virtual void walked(const Ticket& ticket, WalkResult&& result) = 0;
  // A command that was submitted with Request::wait waits; no answer comes until it is submitted
  // again.
  virtual void parked(const Ticket& /*ticket*/, Parked&& /*how*/) {}
  // Something that it waits for has changed: it is to be submitted again.
  virtual void woken(std::uint64_t /*wait*/) {}
  // Rows of the turn; false when the store takes no more now.
  virtual bool store(std::uint64_t turn, StoreBatch&& rows) = 0;
  // How long this peer may be silent now (membership/link_watch.h).
  virtual std::int64_t give_up_ms(NodeIndex peer) = 0;
  // Something that another shard or the node itself answers (identity).
  virtual void node_message(NodeIndex peer, const Envelope& envelope) = 0;
  // What was published on another node. A host without subscribers does nothing.
  virtual void published_elsewhere(NodeIndex /*from*/, const Publish& /*message*/) {}
  std::uint64_t publish(ChannelKind, std::string_view, std::string_view) override { return 0; }
  // Runs it where its slot is acted for, on whichever thread and node; `done` gets the reply on
  // this thread.
  virtual void submit_anywhere(Request&& request, std::function<void(std::string&&)> done) = 0;
  // Runs f on a stack of its own, where the script in it may pause: returns when f has ended, or
  // pauses. Meanwhile the engine is held (hold()).
  virtual void apart(const std::function<void()>& f) { f(); }
  // Whether a script that ran on copies called keys of other slots than those that it declares.
  virtual void script_reached(const OwnedCommand& /*script*/, bool /*further*/) {}
  // A script wants keys of other threads: it begins anew, reaching all of them; the answer goes to
  // the ticket.
  virtual void run_everywhere(const Ticket&, OwnedCommand&&, int /*protocol*/, const Tracking&) {}
  // What another node wrote by ScriptRights::text(); nullptr when it makes no sense here.
  virtual ScriptRightsPtr rights_from(std::string_view /*text*/) { return nullptr; }
};

// Told of every effect that commands make here, and again when its operation reached its level: how
// the simulator knows what must not be lost. Not there in a server.
class EffectWatch {
 public:
  virtual ~EffectWatch() = default;
  virtual void made(NodeIndex at, Slot slot, const Effect& effect) = 0;
  virtual void acked(NodeIndex at, Slot slot, const Effect& effect, int need) = 0;
  virtual void stamped_again(Slot slot, const Restamp& again) = 0;
};

struct EngineOptions {
  NodeIndex self{};
  ShardIndex shard{};
  std::uint16_t shards = 1;  // of this node
  bool persist = false;
  Level write_level{Level::quorum};  // the configured ones, which sureness is counted by
  std::int64_t max_skew_ms = 500;
  std::int64_t ack_timeout_ms = 2000;
  // A loop that stood still longer, beyond its tick, may have been bypassed: the shortest give-up
  // time less a tick.
  std::int64_t stood_still_ms = 30;
  std::size_t hints_max = 1'000'000;
  std::int64_t hints_age_ms = 3 * 3600 * 1000;
  std::int64_t sync_interval_ms = 5000;
  std::size_t outstanding_bytes_max = std::size_t{64} << 20;  // effects that peers have not acked
  EffectWatch* watch = nullptr;
};

// How run() left a command.
enum class Ran : std::uint8_t {
  done,     // the reply was appended
  gated,    // the reply was appended and may leave when the turn returned is durable (one node)
  pending,  // the reply comes by EngineHost::answer
  parked,   // it waits, and whoever sent it knows
};

class Engine final : private SyncHost,
                     private TransactionHost,
                     private HoldsHost,
                     private WaitersHost {
 public:
  struct CommandView {
    const CommandSpec* spec;
    Args args;
    DbIndex db;
    const ScriptRights* rights = nullptr;  // as OwnedCommand::rights
  };
  struct Job {
    Ticket ticket;
    Slot slot{};
    std::uint64_t hash = 0;  // of the first key, when hash_known
    bool hash_known = false;
    int protocol = 2;
    Levels levels;
    bool exec = false;
    UnixMs ceiling = 0, above = 0;
    UnixMs now = 0;      // the time by the caller's last reading; 0: is read
    bool begun = false;  // as Request::begun
    std::uint64_t wait = 0;
    bool waited = false;
    bool spans = false;  // as Request::spans
    Tracking tracking{};
    std::span<const Watch> watches;
  };

  Engine(const EngineOptions& options, std::shared_ptr<const Ring> ring, KeySpace& space,
         KeySpaces& spaces, const Clock& clock, Random& random,
         const CommandOptions& command_options, Metrics& metrics, EngineHost& host);

  // ---- clients

  // Time and the first key of one command, as far as its caller knows them.
  struct Known {
    UnixMs now = 0;
    Slot slot{};
    std::uint64_t hash = 0;
    bool known = false;  // slot and hash
  };
  // On a ring of one node: runs the command at once. The reply may leave when the turn returned is
  // durable; 0: now.
  std::uint64_t run_alone(const CommandView& command, const Known& known, Reply& reply);
  // Runs one command whose slot this shard owns, or sends it to who acts. `gate` is set for
  // Ran::gated.
  Ran run(const CommandView& command, const Job& job, std::string& out, std::uint64_t& gate);
  void submit(Request&& request);
  // A command, EXEC or script whose keys lie in several slots of a ring.
  void transact(Request&& request) { transactions_.begin(std::move(request)); }
  void walk(WalkRequest&& request);
  // The same at once, on a node that is alone: EXEC asks under the barrier, from whichever thread.
  // The rows of a flush go with the next end_turn().
  void walk_alone(const WalkRequest& request, WalkResult& part);
  // A read on this node's replica alone (GYRE LOCAL); false when it holds none of the slot.
  bool read_local(const CommandView& command, Slot slot, int protocol, std::string& out);
  // The newest version of a key, for WATCH on a single node or the acting one.
  Version watch_version(Slot slot, DbIndex db, std::string_view key);

  // ---- commands that wait (waiters.h)

  // Wakes those whose keys have changed. At the end of a command, never within one.
  void serve_ready() {
    if (!held_) waiters_.serve_ready();  // held: when the script has ended
  }
  // What a client that tracks has read by a command, of any shard within reach.
  void remember(const CommandSpec& spec, Args args, DbIndex db, const TrackingClient& reader);
  void expect_reads(const CommandSpec& spec, Args args, DbIndex db, const Tracking& tracking);
  void remember_keys(const CommandSpec& spec, Args args, DbIndex db, const TrackingClient& reader);
  bool keys_ready() const { return space_.waits().ready(); }
  // A client of this node that does not wait any more.
  void stop_waiting(std::uint64_t wait) { waiters_.stop(wait); }
  // For what runs under the barrier, and waits for its first key; false: too many wait.
  bool wait_for(std::uint64_t wait, const OwnedCommand& command);

  // ---- the turn

  // After the poll and all commands: rows to the store, effects into the outboxes.
  void end_turn();
  // Periodic work: time-outs, expiry, hints, comparisons. `stood_still_ms`: how long the loop did
  // not run.
  void tick(std::int64_t stood_still_ms);
  // Others may have acted meanwhile: every slot it acts for is unsure, before anything else runs.
  void stood_still();
  // A link of the peer to this node broke: it may take this one for dead and act itself.
  void peer_doubts(NodeIndex peer);
  void persisted(std::uint64_t turn);
  // A node that cannot write acks nothing, and others act for its slots meanwhile.
  void store_failing(bool failing);
  // Whether this node's clock allows it to act (membership/wall_guard.h). One that may not acts
  // only where nobody better is left.
  void set_fit(bool fit);
  // What this node stamps from now on may say an earlier time than it is; what it took for expired
  // may live.
  void clock_set_back();
  // All others refuse what this node stamped later than that, when its clock was so far ahead; its
  // time is right by now. Once what it made is on its own disk, it stamps it again, hints it, and
  // its clock goes back. Commands that wait for acks by then fail.
  void stamp_again(UnixMs later_than, std::int64_t ahead_ms) {
    stamp_again_ms_ = later_than;
    stamped_ahead_ms_ = ahead_ms;
  }
  bool disk_failing() const { return disk_failing_; }
  // Whether a write may take more memory: evicts what must go first (eviction.cc).
  bool make_room() { return command_options_.memory.limit == 0 || evict_excess(); }
  // What the node's other threads hold.
  void set_memory_elsewhere(std::uint64_t bytes) { memory_elsewhere_ = bytes; }
  // More than the limit is held, by all threads together.
  bool memory_over() const { return command_options_.memory.limit != 0 && memory_excess() > 0; }
  // The same, and nothing here may go.
  bool memory_full() const { return memory_full_; }
  // active: what has expired goes when its time comes. lazy: when somebody comes upon it.
  void set_expire(bool active, bool lazy) {
    active_expire_ = active;
    lazy_expire_ = lazy;
  }
  void set_write_level(Level level) { options_.write_level = level; }
  // The newest turn not yet flushed, for whoever commits rows beside run() (barriers, expiry).
  std::uint64_t current_turn() const { return turn_; }
  std::uint64_t persisted_turn() const { return persisted_; }

  // ---- under the barrier of a node that is alone

  bool all_durable() const { return undurable_.empty() && space_.rows().count() == 0; }
  // Rows written since `stamped` are of the open turn: who reads them waits for it.
  void note_rows(Version stamped);
  // What `other` has written since goes to the store with this shard's turn. Its own next one is
  // durable then, too.
  void take_rows(Engine& other, Version stamped);
  // When the open turn is.
  void answer_when_durable(const Ticket& ticket, std::string&& reply);

  // ---- peers

  struct PeerView {
    bool up = false, serving = false;
    std::uint8_t unfit = 0;  // as in BatchHeader
    bool silent = false;     // set_silent()
    std::int64_t offset_ms = 0;
    std::uint16_t threads = 1;
  };
  void peer_up(NodeIndex peer, std::uint16_t threads);
  void peer_down(NodeIndex peer);
  void peer_heard(NodeIndex peer, const BatchHeader& header, UnixMs sent_ms);
  // What the peer says of itself, heard on another connection.
  void peer_says(NodeIndex peer, bool serving, std::uint8_t unfit);
  // Something sent to the peer has been without answer for longer than the shortest give-up time
  // (or no longer so). Where that holds for a majority of a slot's replicas they may already act
  // without this node, although no link broke yet: the slot is unsure.
  void set_silent(NodeIndex peer, bool silent);
  const PeerView& peer(NodeIndex n) const { return peers_[n.value].view; }
  // The thread of the slot at the peer.
  std::uint16_t shard_at(NodeIndex peer, Slot slot) const;
  // Of one batch, in their order.
  void on_messages(NodeIndex from, std::span<const Envelope> envelopes);
  void on_message(NodeIndex from, const Envelope& envelope) { on_messages(from, {&envelope, 1}); }
  // A script pauses in the middle of its commands: until it has ended nothing else runs on the
  // shard, and the open turn stays open. busy: it takes so long that clients are told.
  void set_scripts(ScriptRunner* scripts) {
    scripts_ = scripts;
    transactions_.set_scripts(scripts);
  }
  void hold();
  void tell_busy();
  void unhold() { held_ = busy_script_ = false; }
  void release();  // and those who waited go on
  bool held() const { return held_; }
  // What waits to be sent to a peer. The host takes it once per turn, when it can hand it on: by
  // this node's own link, or as the answer to a batch of the peer's, which goes by another
  // connection and may overtake. What has to keep its order goes by the link alone.
  bool outbox_empty(NodeIndex peer) const {
    return peers_[peer.value].outbox.empty() && peers_[peer.value].answers.empty() &&
           !wants_link(peer);
  }
  bool wants_link(NodeIndex peer) const { return !peers_[peer.value].ordered.empty(); }
  enum class Way : std::uint8_t { link, answer };
  void take_outbox(NodeIndex peer, Way way, std::string& to);
  std::size_t outbox_bytes(NodeIndex peer) const {
    return peers_[peer.value].outbox.size() + peers_[peer.value].ordered.size();
  }
  std::size_t answers_bytes(NodeIndex peer) const { return peers_[peer.value].answers.size(); }
  // The peer cannot be reached in any way: its answers are lost.
  void lose_answers(NodeIndex peer) { clear_buffer(peers_[peer.value].answers); }
  template <class M>
  void send(NodeIndex peer, std::uint16_t shard, const M& message) {
    Peer& p = peers_[peer.value];
    put_message(is_answer(M::kind)    ? p.answers
                : is_ordered(M::kind) ? p.ordered
                                      : p.outbox,
                shard, message);
  }

  // This node may act: identity settled, data loaded, clocks compared.
  void set_serving(bool serving);
  bool serving() const { return serving_; }
  // Whether this node may have lost acknowledged state (wiped, no clean stop): it counts for
  // nothing in a slot until that was compared.
  void set_known(bool known);

  // ---- looking inside

  bool alone() const { return alone_; }
  const Ring& ring() const { return *ring_; }
  Hints& hints() { return hints_; }
  MerkleSync& sync() { return sync_; }
  Inquiries& inquiries() { return inquiries_; }
  // Slots not yet compared after the start, and marked ones, as (peer, slot) pairs.
  std::size_t slots_differing() const;
  // Whether commands of the slot run here, as far as is known without asking the ring.
  bool acts_for(Slot slot) const override { return alone_ || state(slot).acting; }
  // What a command or an effect of the slot will ask for here.
  void prefetch_slot(Slot slot) const {
    if (alone_) return;
    prefetch(ring_->replicas(slot).data());
    prefetch(&state(slot));
  }
  NodeIndex acting_node(
      Slot slot) const override;  // a node that does not exist: none can be reached
  bool holds(Slot slot) const { return replica_index(slot, options_.self) >= 0; }
  KeySpace& space() { return space_; }
  std::size_t operations_waiting() const {
    const bool idle = !turns_.empty() && !turns_.back().flushed && turns_.back().empty();
    return forwards_.size() + waiting_in_lines_ + gathers_.size() + confirms_.size() +
           transactions_.running() + turns_.size() - idle;
  }

 private:
  static constexpr int restamps_max = 3;
  static constexpr std::int64_t marks_again_ms = 2000;

  // ---- state of slots, peers

  static constexpr NodeIndex unused{0xffff};
  static constexpr NodeIndex cut_off{0xfffe};  // a node whose link has broken since
  struct SlotState {
    bool acting = false;
    bool sure = false;                // knows what was acknowledged
    bool known = false;               // its own copy counts
    std::uint8_t compared = 0;        // bit per replica position compared since it became unsure
    std::uint8_t compared_known = 0;  // of these, the ones that knew
    std::uint8_t agreed = 0;          // of these, the ones in whose view this node acts
    std::uint8_t must = 0;      // bit per replica position that something may have been missed from
    NodeIndex actor{0xffff};    // whose effects came last
    NodeIndex used = unused;    // who ran the last command of this node's clients
    std::uint32_t doubts = 0;   // a comparison begun before the last doubt proves nothing
    std::uint64_t made = 0;     // this node's last turn that changed it
    std::uint64_t changed = 0;  // the turn whose rows hold its last change, by whomever
    // No comparison is wanted.
    bool well() const { return known && must == 0 && (sure || !acting); }
  };
  struct Peer {
    PeerView view;
    std::string outbox, answers, ordered;
    std::vector<std::uint64_t> unsent;  // forwarded commands that are still in `ordered`
    UnixMs highest_ceiling = 0;
    std::int64_t stamps_ahead_ms = 0;  // its stamps before our wall clock, by its last answer
    // Comparisons for sureness that are out, and the doubts of their slots when they began.
    std::vector<std::uint64_t> comparing;
    std::unordered_map<std::uint16_t, std::uint32_t> doubts;
    SteadyMs compare_at = 0;  // not before
    // When what may have been missed on a broken link is compared. Both sides do, and a comparison
    // heals both: the one that needs it most goes first, for it does not wait for this.
    SteadyMs must_at = 0;
    SteadyMs marks_at = 0;   // when it was told which slots it may have missed something in
    bool repairing = false;  // one batch of hints out at a time
    std::uint64_t repair_id = 0;
    SteadyMs repair_at = 0;
    std::vector<std::pair<Hints::Name, Hints::Hint>> repair_names;
  };

  SlotState& state(Slot s) {
    return slots_[static_cast<std::size_t>(s.value - space_.first_slot().value)];
  }
  const SlotState& state(Slot s) const {
    return slots_[static_cast<std::size_t>(s.value - space_.first_slot().value)];
  }
  int replica_index(Slot slot, NodeIndex node) const;
  // What speaks against this node's acting, as bits of BatchHeader::unfit; `absent` when it cannot.
  static constexpr unsigned absent = 256;
  unsigned against(NodeIndex n) const {
    if (n == options_.self) {
      return (serving_ ? 0u : absent) | (fit_ ? 0u : unfit_clock) |
             (disk_failing_ ? unfit_disk : 0u);
    }
    const PeerView& v = peers_[n.value].view;
    return (v.up && v.serving ? 0u : absent) | v.unfit;
  }
  void others_may_have_acted();
  void give_up_answers(NodeIndex peer);
  void doubt_where_cut_off(NodeIndex peer);
  int replicas_up(Slot slot) const;
  int sure_quorum() const { return n_ - options_.write_level.of(n_) + 1; }

  // ---- execution (engine.cc, execute.cc)

  class Guard;  // of the script that runs
  friend class Guard;
  Ran act(std::span<const CommandView> commands, const Job& job, std::string& out,
          std::uint64_t& gate);
  Ran execute(std::span<const CommandView> commands, const Job& job, std::string& out,
              std::uint64_t& gate, bool confirmed);
  Ran execute_for(std::span<const CommandView> commands, const Job& job, std::string& out,
                  std::uint64_t& gate, bool confirmed);
  Ran execute(std::span<const CommandView> commands, const Job& job, std::string& out,
              std::uint64_t& gate, bool confirmed, Guard* guard);
  // The same; a command that may wait does so when it cannot be answered.
  Ran execute_or_park(std::span<const CommandView> commands, const Job& job, std::string& out,
                      std::uint64_t& gate, bool confirmed);
  void run_commands(std::span<const CommandView> commands, const Job& job, UnixMs now,
                    std::string& out, EffectSink* sink, Guard* guard = nullptr);
  void run_command(const CommandView& command, const Known& known, bool based, Reply& reply,
                   EffectSink* sink, Waiting* waiting, Guard* guard = nullptr,
                   SlotHolds* holds = nullptr);
  std::uint64_t gate_of_rows(std::size_t rows_before, std::uint64_t floor_of_turn);
  UnixMs now_of(const Job& job) const { return job.now ? job.now : clock_.wall_ms(); }
  bool reads_unsettled(std::span<const CommandView> commands, std::uint64_t& turn);
  void begin_acting(Slot slot);
  bool moves_to(Slot slot, NodeIndex acting);
  Request request_of(std::span<const CommandView> commands, const Job& job) const;
  static Job job_of(const Request& request, const Known& known);
  static Job job_of(const Request& request) { return job_of(request, Known()); }
  static OwnedCommand owned(const CommandView& view);
  static CommandView view_of(const OwnedCommand& command) {
    return {&command.spec(), command.args(), command.db(), command.rights.get()};
  }
  void act_request(Request&& request) { act_request(std::move(request), Known()); }
  void act_request(Request&& request, const Known& known);
  void take_message(NodeIndex from, const Envelope& envelope);
  // Forwarded commands that came one behind the other: what they will need is fetched ahead.
  struct Arrived {
    Request request;
    std::uint64_t hash = 0;
    bool plain = false;  // one key, which has that hash
  };
  void run_arrived();
  void act_now(Request&& request, const Known& known);
  void deliver(const Ticket& ticket, std::string&& reply);
  void deliver_error(const Ticket& ticket, const Error& error) override;
  void deliver_late(const Ticket& ticket);
  static bool blind(const CommandView& c);

  // ---- turns (write_path.cc)

  // An effect came before those of its node that it builds on: the last of them, and what it came
  // over.
  struct Gap {
    std::uint64_t hash = 0;
    Version missing{}, before{};
  };
  // A conditional command that failed for what another node holds: until the end of the turn.
  struct Overtaken {
    Slot slot{};
    std::string failed;  // an effect
    std::shared_ptr<const std::string> theirs;
  };
  class Recorder;  // the EffectSink of a running operation
  friend class Recorder;

  Turn& open_turn();
  void end_one_turn();
  void expire(UnixMs wall);
  void record_effect(Slot slot, const Effect& effect, std::uint32_t operation);
  void flush_turn(Turn& turn);
  void send_effects(Turn& turn, NodeIndex peer);
  bool bypasses(const Turn& turn, Slot slot) const;
  void settle(Turn& turn);
  void settle(Turn& turn, Operation& op);
  void tell_acked(const Turn& turn, const Operation& op) const;
  // How many replicas of the slot have the turn, and how many may still get it.
  std::pair<int, int> reached(const Turn& turn, Slot slot) const;
  void drop_settled();
  void finish(Operation& op);
  void fail(Operation& op);
  Turn* find_turn(std::uint64_t number);
  void hint_turn(Turn& turn, NodeIndex peer);
  void stamp_again();
  void drop_early_stubs();
  void give_up(Turn& turn);
  void send_acks(Turn& turn);
  class EffectsAhead;  // those of a message, some of them fetched ahead
  struct EffectAhead {
    Effect effect;
    std::string_view bytes;
    Slot slot{};
    std::uint64_t hash = 0;
    bool here = false;  // of a record of this shard
  };
  void on_effects(NodeIndex from, const Effects& m);
  void judge(const Effect& effect, const ApplyResult& r, std::uint32_t index, Newer::Base base,
             WaitingAck& ack);
  UnixMs others_accept_ms() const;
  // What this node stamped last all others refuse.
  bool stamps_ahead() const { return space_.clock().peek(0).ms() > others_accept_ms(); }
  bool holds_far_ahead(const Effect& effect, Slot slot) const;
  bool fills_stub(const Effect& effect, Slot slot) const;
  void refuse_old(const Effect& effect, Version version, std::uint32_t index, WaitingAck& ack);
  static std::uint32_t newer_record(WaitingAck& ack, const Effect& effect, bool purged);
  std::string record_as_is(const NewerRecord& record);
  Newer::Base base_at(const Effect& effect, const ApplyResult& r) const;
  void note_gap(const Effect& effect, const ApplyResult& r);
  void forget_gaps(const Effect& effect, std::uint64_t hash);
  void on_effects_ack(NodeIndex from, const EffectsAck& m);
  struct TheirRecord;
  void on_newer(Turn& turn, NodeIndex from, std::uint16_t shard, const Newer& newer,
                TheirRecord* record);
  bool merge_theirs(TheirRecord& theirs);
  std::optional<OperationAt> drop_covered(const Turn& turn, std::uint32_t effect_index,
                                          Effect& effect) const;
  void follow(Turn& turn, std::uint32_t index, OperationAt cover);
  void end_followers(Operation& op);
  void restamp(Turn& turn, std::uint32_t effect_index, const Effect& original);
  void fail_overtaken(const Effect& theirs, Slot slot);
  void put_back_overtaken();
  void put_back(Slot slot, const Effect& failed, const Effect& theirs);
  // What becomes of parts of an effect that lie at or below T.
  enum class Below : std::uint8_t {
    dropped,  // known here, or purged
    merged,   // a comparison heals with them
  };
  Below below_of(const Effect& effect, Version bound) const;
  // False: refused, it is no effect for this node. No result: all of it lies below T.
  bool merge_from_peer(Effect& effect, const ApplyResult*& result, Below below = Below::dropped);
  bool merge_record_from_peer(Effect& effect, Slot slot, std::uint64_t hash,
                              const ApplyResult*& result, Below below);
  bool too_far_ahead(const Effect& effect);
  void time_out_turns(SteadyMs now);

  // ---- hollow.cc

  struct HollowEffect {
    std::uint32_t index = 0;
    Newer::Base base{};
    std::string bytes{};
  };
  // What a message would be acked with, once the whole records of some of its effects are here.
  struct HeldAck {
    WaitingAck ack;
    bool wanted = true;  // false: nobody waits for it
    SteadyMs at = 0;
    std::vector<HollowEffect> effects;
  };
  void ask_whole(HeldAck&& held);
  void on_whole_ask(NodeIndex from, const WholeAsk& m);
  void on_whole_answer(NodeIndex from, const WholeAnswer& m);
  void drop_held_acks(SteadyMs now);

  // ---- forward.cc

  struct Forwarded {
    Request request;
    NodeIndex target{};
    SteadyMs at = 0;
    bool left = false;
  };
  static std::uint64_t line_of(const Request& request);
  // How a forwarded command comes back: with its answer (or nobody can say), from a node that was
  // given up, or as one that did not run because it came late.
  enum class Back : std::uint8_t { ran, lost, late };
  Request take_forward(std::uint64_t id, Back back);
  bool strayed(Request& request, std::string_view reply);
  bool go_on_in_lines();
  void fail_late(Request&& request);
  void route(Request&& request);
  void forward(Request&& request, NodeIndex target);
  bool may_overtake(Slot slot, NodeIndex target);
  UnixMs stamps_of(NodeIndex peer) const;  // what a peer would stamp now, as far as it is known
  void on_forward(NodeIndex from, const Forward& m);
  void on_forward_answer(NodeIndex from, const ForwardAnswer& m);
  void reroute(Request&& request, NodeIndex failed, bool left);
  void time_out_forwards(SteadyMs now);

  // ---- gather.cc

  struct Gather {
    Request request;
    int need = 1, have = 0;
    struct Asked {
      NodeIndex peer{};
      int left = 0;            // answers still out
      bool bad = false;        // one of them was 'unknown', or the link broke
      bool lost = false;       // the link broke
      bool refused = false;    // an answer that was not merged
      bool unwritten = false;  // a crash may take what it answered
      bool repairing = false;
    };
    std::vector<Asked> asked;
    SteadyMs at = 0;
    bool unsure = false;  // why: an unsure slot, not only a read level
    struct Repairable {
      NodeIndex peer{};
      DbIndex db{};
      std::string key;
    };
    std::vector<Repairable> differ;
    std::uint64_t slot_digest = 0;  // of the state that was asked about
  };
  // A read above ONE that has run: nobody after it may read less.
  struct Confirming {
    Ticket ticket;
    std::string reply;
    int need = 1, holders = 0;
    std::vector<NodeIndex> out;  // are being repaired, or write what they hold
    std::uint64_t own_turn = 0;  // this node does not hold it before that is on disk; 0: it does
    SteadyMs at = 0;
  };
  // Starts merging the request's keys from other replicas; answers when that cannot reach enough.
  void start_gather(Request&& request, int need, bool unsure);
  void on_fetch(NodeIndex from, const Fetch& m);
  void on_fetch_answer(NodeIndex from, const FetchAnswer& m);
  void gather_step(std::uint64_t id);
  void finish_gather(std::uint64_t id, bool enough);
  void finish_gather_now(std::uint64_t id, bool enough);
  enum class Repaired : std::uint8_t { answered, silent };
  void repair_differing(Gather& g, std::uint64_t id, Repaired which);
  void confirm_read(Gather&& g, std::string&& reply);
  void confirm_step(std::uint64_t id);
  bool on_read_repaired(NodeIndex from, std::uint64_t id);
  template <class F>
  void step_confirms(F&& changed);
  void confirms_persisted();
  void fail_confirms(NodeIndex peer);
  void time_out_confirms(SteadyMs now);
  void drain(Slot slot);  // those who wait for the slot run, as far as they may

  // ---- what holds and transactions ask of this node (holds.h, transactions.h)

  void look_at_parts();
  bool go_on_behind_holds();
  Level write_level() const override { return options_.write_level; }
  void run_at(Request&& request, std::function<void(std::string&&)> done) override {
    host_.submit_anywhere(std::move(request), std::move(done));
  }
  void finish(const Ticket& ticket, std::string&& reply) override {
    deliver(ticket, std::move(reply));
  }
  void run_apart(const std::function<void()>& f) override { host_.apart(f); }
  Publisher& publisher() override { return host_; }
  bool pauses() const override { return held_; }
  void reached(const OwnedCommand& script, bool further) override {
    host_.script_reached(script, further);
  }

  // ---- compare.cc

  void compare_some(SteadyMs now);
  void start_compare(NodeIndex peer);
  std::string& to_peer(NodeIndex peer, bool answer) override {
    return answer ? peers_[peer.value].answers : peers_[peer.value].outbox;
  }
  std::uint16_t thread_of(NodeIndex peer, Slot slot) const override { return shard_at(peer, slot); }
  bool reachable(NodeIndex peer) const override { return peers_[peer.value].view.up; }
  bool replica(Slot slot, NodeIndex node) const override { return replica_index(slot, node) >= 0; }
  bool knows(Slot slot) const override { return state(slot).known; }
  std::span<const NodeIndex> replicas(Slot slot) const override { return ring_->replicas(slot); }
  bool may_round(Slot slot) const override;
  bool elsewhere(Slot slot, NodeIndex node) const override { return acting_node(slot) != node; }
  void agreed(Slot slot, NodeIndex node) override;
  void tell_replaced();
  bool merge_synced(Effect& effect, Version bound, bool& changed) override;
  void lost_state(Slot slot) override;
  void equal(NodeIndex peer, Slot slot) override { hints_.clear_mark(peer, slot, space_.rows()); }
  void compared(std::uint64_t id, NodeIndex peer, Slot slot, const Outcome& outcome) override;
  void ended(std::uint64_t id, NodeIndex peer, bool failed) override;
  void on_compare_answer(NodeIndex from, const CompareAnswer& m);
  void on_confirm(NodeIndex from, const Confirm& m);
  void on_settled(NodeIndex from, const Settled& m);
  void make_unsure(Slot slot);

  // ---- told.cc
  void on_acted(NodeIndex from, const Acted& m);
  void on_acted_taken(NodeIndex from, const ActedTaken& m);
  enum class Missed : std::uint8_t { nothing, something };
  void send_acted(NodeIndex peer, const std::vector<std::uint16_t>& slots,
                  Missed missed = Missed::something);
  void wait_until_taken(NodeIndex from, const Effects& m, WaitingAck& ack) const;
  void give_ack(WaitingAck&& ack);
  bool still_untaken(WaitingAck& ack) const;
  void give_held_acks();
  void untaken_peer_down(NodeIndex peer);
  void drop_untaken(SteadyMs now);

  // ---- replay.cc

  void replay_hints(NodeIndex peer);
  void on_repair(NodeIndex from, const Repair& m);
  void on_repair_ack(NodeIndex from, const RepairAck& m);
  void put_record(std::string& to, std::uint32_t& count, Slot slot, DbIndex db,
                  std::string_view key, Version since);

  // ---- commands that wait (waiters.h)

  Ran park(const CommandView& command, const Job& job, Waiting&& how);
  bool answers_now(const OwnedCommand& command) override;
  void on_waits(NodeIndex from, const Waits& m) { waiters_.on_waits(from, m); }
  void on_woken(NodeIndex, const Woken& m) {
    for (const std::uint64_t wait : m.waits) host_.woken(wait);
  }
  void wake(std::uint64_t wait) override { host_.woken(wait); }

  // ---- eviction.cc

  std::uint64_t going_anyway() const;
  std::uint64_t memory_excess() const;
  bool evict_excess();
  bool may_evict(Slot slot) const;
  bool evict_one();
  void evict(const Victim& victim);
  void tick_memory();
  void tick_defrag(SteadyMs now);
  void ask_to_evict(std::uint64_t excess);
  void on_evict(NodeIndex from, const Evict& m);

  // ---- walk.cc

  // One walk over this shard's slots: the parts of this node and of each peer that acts for some.
  struct Walking {
    WalkRequest request;
    WalkResult result;
    std::size_t left = 0;  // parts still out
    struct Asked {
      NodeIndex peer{};
      std::uint16_t shard = 0;
      bool again = false;  // it came too late once
    };
    std::vector<Asked> asked;
    std::map<std::uint16_t, std::string> slots;  // by peer, as bits
    SteadyMs at = 0;
  };
  // This node's part of a walk, when it waits for transactions.
  struct WalkBehindParts {
    std::uint64_t id = 0;
    SlotSet slots;
    std::vector<std::pair<Slot, std::string>> parts;  // prepared when the walk came, by key
    SteadyMs until = 0;
  };
  void walk_slots(const WalkRequest& request, const SlotSet& slots, std::uint64_t id);
  bool go_on_walks();
  void walk_here(const WalkRequest& request, const SlotSet& slots, WalkResult& part);
  void flush_here(const WalkRequest& request, const SlotSet& slots, std::uint64_t id);
  void on_walk(NodeIndex from, const Walk& m);
  void on_walk_answer(NodeIndex from, const WalkAnswer& m);
  void ask_walk(Walking& w, std::uint64_t id, const Walking::Asked& part, UnixMs clock);
  void walk_part_done(std::uint64_t id, WalkResult&& part);
  void end_walk(Walking&& walking);

  EngineOptions options_;
  std::shared_ptr<const Ring> ring_;
  KeySpace& space_;
  KeySpaces& spaces_;
  const Clock& clock_;
  Random& random_;
  const CommandOptions& command_options_;
  Metrics& metrics_;
  EngineHost& host_;
  const int n_;
  const bool alone_;
  bool serving_ = false;
  bool disk_failing_ = false;
  bool fit_ = true;
  bool active_expire_ = true, lazy_expire_ = true;
  bool met_expired_ = false;  // by a command of this turn

  std::vector<SlotState> slots_;
  std::vector<Peer> peers_;
  Hints hints_;
  MerkleSync sync_;
  Rounds rounds_;
  Evictor evictor_;
  Defrag defrag_;
  std::uint64_t evictions_left_ = 0;  // in this turn, beyond what its writes need
  std::uint64_t memory_elsewhere_ = 0;
  std::uint64_t memory_seen_ = 0;  // when room was made last
  bool memory_full_ = false;

  std::uint64_t turn_ = 1;  // number of the turn that is open
  std::uint64_t
      turn_base_;  // added on the wire: an ack for an earlier run of this node fits no turn
  std::uint64_t persisted_ = 0;
  bool rows_taken_ = false;  // by another shard, into a batch that goes before this turn's
  std::deque<std::pair<std::uint64_t, std::uint64_t>>
      undurable_;           // (turn, first version), one node
  std::deque<Turn> turns_;  // the open one last
  std::vector<Overtaken> overtaken_;
  std::deque<Gap> gaps_;  // the youngest, at a replica
  std::size_t outstanding_bytes_ = 0;

  std::uint64_t next_id_;  // begins anywhere, for the same reason
  Inquiries inquiries_;
  std::unordered_map<std::uint64_t, Forwarded> forwards_;
  struct Line {
    std::uint32_t out = 0;      // commands forwarded and not answered
    std::uint64_t ran = 0;      // the latest of those answered, by its place
    std::uint64_t write = 0;    // the latest write sent
    std::uint64_t written = 0;  // the latest write that came back and may have run
    // Came late while others were out, and what came to be sent after that: all go, in their order,
    // when none is out.
    struct Waiting {
      Request request;
      NodeIndex target{};  // which it was late for
    };
    std::vector<Waiting> waiting;
  };
  std::unordered_map<std::uint64_t, Line> lines_;
  std::vector<Request> anew_;  // scripts that become transactions with the end of the turn
  std::vector<std::uint64_t> lines_back_;  // nothing is out, and some wait
  std::size_t waiting_in_lines_ = 0;
  std::unordered_map<std::uint64_t, Gather> gathers_;
  std::map<std::uint64_t, Confirming> confirms_;
  Holds holds_;
  Transactions transactions_;
  std::unordered_map<std::uint64_t, HeldAck> held_acks_;
  std::uint64_t stubs_counted_ = 0;
  struct Untaken {  // an Acted that is not answered
    std::uint64_t id = 0;
    NodeIndex peer{};
    SteadyMs at = 0;
    std::vector<std::uint16_t> slots;  // ascending
  };
  std::vector<Untaken> untaken_;
  std::vector<WaitingAck> untold_acks_;
  // By peer: slots for which this node has just agreed that another one acts in its place.
  std::map<std::uint16_t, std::vector<std::uint16_t>> replaced_;
  UnixMs stamp_again_ms_ = 0;  // asked for and not done yet, when not 0
  std::int64_t stamped_ahead_ms_ = 0;
  std::int64_t others_ahead_ms_ = 0;        // the highest clock of those that are up, less this one
  std::vector<EffectAhead> effects_ahead_;  // their room
  std::vector<Arrived> arrived_;
  Version set_back_at_{};  // zero: not since the start
  std::unordered_map<std::uint64_t, Walking> walks_;
  std::vector<WalkBehindParts> walks_behind_parts_;
  std::unordered_map<std::uint64_t, std::pair<std::uint64_t, WalkResult>>
      flushes_;  // op id -> walk
  Waiters waiters_;
  Waiting* waiting_ = nullptr;  // of the command that runs
  SteadyMs last_hint_sweep_ = 0;
  std::uint64_t hints_dropped_counted_ = 0;  // of them are in the metric

  ScriptRunner* scripts_ = nullptr;
  bool held_ = false, busy_script_ = false;
  std::vector<Request> held_requests_;
  std::vector<std::function<void()>> held_tasks_;
};

}  // namespace gyre
