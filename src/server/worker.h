// Worker: one thread: a loop, a shard, its clients, its links to other nodes.
//
// A turn of the loop:
//   poll        clients' bytes are parsed into turn_ops_, keys' table groups are prefetched;
//   batches and
//               replies from peers go to the engine; completions of the store and mail of other
//               threads come in
//   after_poll  the commands run, in the order in which they arrived
//   end         mail that is new is taken too; the engine's turn ends: rows to the store, one batch
//   to each
//               peer; mail to other threads; one write per client
//
// Threading: everything on its own thread, but post(), persisted() and what is atomic.
#pragma once

#include <array>
#include <atomic>
#include <bitset>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "coordination/engine.h"
#include "membership/identity.h"
#include "membership/link_watch.h"
#include "metrics/metrics.h"
#include "net/bus_server.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/peer_link.h"
#include "script/program.h"
#include "server/blocking.h"
#include "server/connection.h"
#include "server/info.h"
#include "server/inside.h"
#include "server/latency.h"
#include "server/mailbox.h"
#include "server/migrate.h"
#include "server/pubsub.h"
#include "server/ring_channels.h"
#include "server/standing.h"
#include "server/sync_feed.h"

namespace gyre {

class Server;
struct SessionCall;
class UserRights;
class WorkerScripts;

// Counters that other threads read (INFO): published at the end of a turn.
struct Published {
  struct Db {
    std::atomic<std::uint64_t> keys{0}, expires{0}, tombstones{0};
  };
  std::array<Db, 256> dbs;
  std::atomic<std::uint64_t> memory{0}, changes{0};
  std::atomic<std::uint64_t> tracked_keys{0}, tracked_items{0}, tracked_prefixes{0};
  bool tracking = false;                  // these were not all 0
  std::atomic<bool> memory_full{false};   // over the limit, and nothing left to evict
  std::atomic<std::int64_t> stamp_ms{0};  // of the newest stamp that it would give
  std::atomic<std::uint64_t> clients{0};
  std::atomic<std::uint64_t> hints_pending{0}, slots_differing{0};
  std::atomic<std::int64_t> clock_offset_ms_max{0};
  std::atomic<std::uint64_t> peers_up_bits{0};  // of the first 64 nodes
  std::atomic<std::uint64_t> turn_us{0};        // the longest turn since somebody took it
  std::atomic<std::uint64_t> waiting{0};        // operations that wait for peers
  PublishedInside inside;
};

// Statistics per command (INFO commandstats), one writer.
struct CommandStats {
  MetricCell calls, rejected, failed;
  MetricCell
      ticks;  // of the processor (base/ticks.h): single commands take less than a microsecond
  Durations took;
};

class Worker final : public EngineHost {
 public:
  Worker(Server& server, ShardIndex shard);
  ~Worker() override;

  void run();   // the thread's body
  void stop();  // any thread

  // ---- other threads
  // Runs task on this worker's thread in its next turn. From a worker, send_mail() unless
  // it is late in the turn.
  void post(std::function<void(Worker&)> task);
  void store_persisted(std::uint64_t turn);
  void store_failing(bool failing);

  // ---- this thread
  void send_mail(ShardIndex to, Task task);
  void refresh_expire();  // after a change of what it depends on
  void adopt_client(int fd, bool cluster_aware);
  void adopt_bus(int fd);
  void connect_peers();

  Server& server() { return server_; }
  Loop& loop() { return loop_; }
  Engine& engine() { return *engine_; }
  KeySpace& space() { return *space_; }
  Metrics& metrics() { return metrics_; }
  ShardIndex shard() const { return shard_; }
  Published& published() { return published_; }
  CommandStats& stats(std::size_t command) { return command_stats_[command]; }
  // Error replies to clients, by prefix.
  ErrorCounts& errors() { return errors_; }
  Random& random() { return random_; }
  UnixMs wall_ms() const;
  SteadyMs now_ms() const;
  // As the loop last read it: where a few milliseconds do not matter.
  SteadyMs loop_ms() const { return static_cast<SteadyMs>(loop_.now_ms()); }

  // What every batch to a peer begins with.
  BatchHeader header(bool answers) const;
  // The detector changed its mind about a peer.
  void peer_detected(NodeIndex peer);

  // ---- for connections
  std::span<char> arena_piece();
  // Bytes up to `end` are viewed by commands of this turn.
  void arena_used(const char* end);
  // Adds a parsed command to this turn.
  void add_command(Connection& c, std::size_t first_arg, std::size_t arg_count);
  std::vector<std::string_view>& args() { return turn_args_; }
  // Runs everything parsed so far, before the end of the poll.
  void run_commands_now();
  void closed(Connection& c);
  void mark_dirty(Connection& c);
  // Room for a client's output while it has some: an idle one holds none.
  void lend_output(std::string& to);
  void return_output(std::string&& from);
  Connection* find(std::uint64_t id);
  std::unordered_map<std::uint64_t, std::unique_ptr<Connection>>& connections() {
    return connections_;
  }
  bool congested() const;
  Subscribers& subscribers() { return subscribers_; }
  // MONITOR: from now on the client sees every command of this node, or no longer.
  void monitor(Connection& c, bool on);
  void pause_reading(Connection& c) { paused_.push_back(c.id); }

  // ---- dispatch (server/dispatch.cc)
  // A command to run (spec nullptr: an unknown one), and what of it is known already: the slot and
  // hash of its first key. As the engine takes it, so that nothing is copied on the way.
  struct Call : Engine::CommandView, Engine::Known {
    Call() : CommandView{} {}
    explicit Call(const CommandView& view) : CommandView(view) {}
    bool plain = false;  // its only key is known, and of this thread; its arity is right
  };
  // Before one or more of them.
  void read_clock();
  void clock_again();
  // Runs one command of a connection: checks, MULTI, session handlers, routing.
  void dispatch(Connection& c, Call& call);
  void dispatch_carefully(Connection& c, Call& call);
  // Sends a request to the shard of its slot; the answer comes to request.ticket.
  void submit(Request&& request);
  // A ticket whose answer calls `done` on this thread.
  Ticket callback_ticket(Answered done);
  // The answer to that ticket.
  void call_back(std::uint64_t id, std::string&& reply, std::uint64_t gate);
  // Walks all shards of the node (and by them the ring); `done` gets the joined result.
  void walk_all(WalkRequest request, std::function<void(WalkResult&&)> done);
  // The same at once, under the barrier of a node that is alone.
  WalkResult walk_all_here(const WalkRequest& request);
  // Holds every other thread of a node that is alone while f runs here (server/standing.cc). What f
  // answers, by answer_from_barrier(), leaves when what it wrote and read in any shard is durable.
  // False: another thread has it, or the store takes no more; try again later.
  // for_script: of a script that pauses between its slices.
  bool with_barrier(const std::function<void()>& f, bool for_script = false);
  void answer_from_barrier(const Ticket& ticket, std::string&& reply);
  // The same on a ring as well, for what changes nothing: nobody waits for the disk.
  bool while_others_stand(const std::function<void()>& f, bool for_script = false);
  // The store is to get less from this shard.
  bool store_congested() const;
  // Runs a command whose keys are of several threads and which may wait for the first of them,
  // under that number; `done` gets its answer unless it does. False: as with_barrier().
  bool run_waiting_under_barrier(const OwnedCommand& command, std::uint64_t wait, Waiting& how,
                                 int protocol, const Answered& done);
  // Why the client's user may not run the command; counted, and noted in ACL LOG.
  std::optional<Error> denied(Connection& c, const CommandSpec& spec, Args args,
                              bool at_exec = false);
  // The same of a key that no row names; what is read of it.
  std::optional<Error> denied_read(Connection& c, const CommandSpec& spec, std::string_view key);
  // What the calls of its scripts are asked about; nullptr: it may do everything.
  ScriptRightsPtr rights_of(Connection& c);
  void note_denied_call(const UserRights& rights, const CommandSpec& spec, Args args);
  void count_denied(Denied why);
  void note_denied(Connection& c, Denied why, std::string_view object, bool in_multi);
  // AUTH or HELLO, by which somebody tried to be `name`.
  void note_denied_login(Connection& c, std::string_view command, std::string_view name);
  const Users& users() const { return *users_; }
  // ---- caches of clients (server/worker_tracking.cc)
  Tracking tracking_of(const Connection& c) const;
  void set_acting_everywhere(std::uint64_t client);
  void stop_tracking(Connection& c);
  void forget_prefixes(std::uint64_t client);
  // Its blocking command has its reply.
  void tell_behind_reply(Connection& c);

  // The error of a reply that came after dispatch() had returned.
  void count_error(const CommandSpec& spec, std::string_view reply);
  void count_error(std::string_view reply);
  void count_inside(const CommandSpec& spec, std::string_view reply);
  // blocked_clients: those that wait for keys, and those that CLIENT PAUSE holds.
  void tell_blocked();
  void note_latency(std::string_view event, std::int64_t us);
  void tell_monitors_of_call(const CommandSpec& spec, DbIndex db, Args args);
  // A timer has run: what it made leaves before the poll.
  void timer_ran() { timer_ran_ = true; }
  Blocking& blocking() { return blocking_; }
  void run_transaction(Connection& c, Transaction&& t);
  void run_one_under_barrier(Connection& c, Transaction&& one);
  KeySpaces& spaces() { return spaces_; }
  WorkerScripts& scripts() { return *scripts_; }
  SyncFeeds& sync_feeds() { return sync_feeds_; }
  RingChannels& ring_channels() { return ring_channels_; }
  Migrations& migrations() { return migrations_; }
  const CommandOptions& command_options() const { return command_options_; }

  // Commands whose keys lie in several slots of a ring; the client's next ones wait.
  void transact(Connection& c, Request&& request);

  // ---- EngineHost
  void submit_anywhere(Request&& request, std::function<void(std::string&&)> done) override;
  void script_reached(const OwnedCommand& script, bool further) override;
  void answer(const Ticket& ticket, std::string&& reply) override;
  void walked(const Ticket& ticket, WalkResult&& result) override;
  void parked(const Ticket& ticket, Parked&& how) override;
  void woken(std::uint64_t wait) override;
  bool store(std::uint64_t turn, StoreBatch&& rows) override;
  std::int64_t give_up_ms(NodeIndex peer) override;
  void node_message(NodeIndex peer, const Envelope& envelope) override;
  bool gone(const Ticket& ticket) const override;
  // ---- and pub/sub (server/worker_pubsub.cc)
  void apart(const std::function<void()>& f) override;
  void run_everywhere(const Ticket& ticket, OwnedCommand&& command, int protocol,
                      const Tracking& tracking) override;
  ScriptRightsPtr rights_from(std::string_view text) override;
  void published_elsewhere(NodeIndex from, const Publish& message) override;
  std::uint64_t publish(ChannelKind kind, std::string_view channel,
                        std::string_view message) override;
  // The same; each of the peers that it was sent to tells by a ChannelsAnswer with this id, not 0,
  // how many of its clients it was for.
  std::uint64_t publish_asking(ChannelKind kind, std::string_view channel, std::string_view message,
                               std::uint64_t id, std::set<std::uint16_t>& peers);
  std::uint64_t listeners(ChannelKind kind, std::string_view channel) override;

  // By this worker's link. Questions are dropped while it is down: they are asked again.
  void send_identity(NodeIndex to, std::uint16_t shard, const IdentityMessage& message);

 private:
  struct TurnOp {
    TurnOp(Connection& c, std::size_t first_arg, std::size_t args)
        : connection(&c),
          first(static_cast<std::uint32_t>(first_arg)),
          count(static_cast<std::uint32_t>(args)) {}
    Connection* connection;
    const NodeTable* table = nullptr;  // of the key, when it lies here in database 0
    std::uint32_t first, count;        // of turn_args_, which still moves
    Call call;                         // its arguments and database are given when it runs
  };
  struct Link {
    std::unique_ptr<PeerLink> link;
    LinkWatch watch;
    std::uint16_t threads = 1;  // of the peer
    bool held = false;          // the detector calls the peer down: the link is not used
    std::vector<BusConnection*> answering;  // with batches not yet replied to, oldest first
    SteadyMs answer_by = 0;
    SteadyMs last_sent = 0;
    std::deque<UnixMs> sent_wall;  // our clock at each batch that is out
    std::unique_ptr<Timer> answer_timer{};
  };
  class Spaces final : public KeySpaces {
   public:
    explicit Spaces(Worker& w) : worker_(w) {}
    KeySpace& of(Slot slot) override;
    bool whole() const override;

   private:
    Worker& worker_;
  };

  static bool flagged(const Connection& c, const CommandSpec& spec, std::uint32_t flag);
  bool refused(Connection& c, const Call& call, Reply& reply);
  void refuse(Connection& c, const CommandSpec* spec, const Error& error, Reply& reply);
  void unknown(Connection& c, Args args, Reply& reply);
  bool queue_in_multi(Connection& c, const CommandSpec& spec, Args args, Reply& reply);
  bool paused(const Connection& c, const CommandSpec& spec, Args args);
  bool script_says(const CommandSpec& spec, Args args, bool ScriptFlags::*flag);
  void measure(Connection& c, const CommandSpec& spec, Args args);
  void run_handler(Connection& c, void (*handler)(SessionCall&), const CommandSpec& spec, Args args,
                   Reply& reply);
  void run_session(Connection& c, const CommandSpec& spec, Args args, Reply& reply);
  void route(Connection& c, Call& call, Reply& reply);
  void route_keys(Connection& c, const CommandSpec& spec, Args args, Reply& reply);
  void route_script(Connection& c, const CommandSpec& spec, Args args, Reply& reply);
  void run_script_everywhere(Connection& c, Transaction&& t, bool exec);
  bool waits_for_script(Connection& c, const Call& call, Reply& reply);
  Request request_of(Connection& c, const CommandSpec& spec, Args args, Slot slot);
  void run_here(Connection& c, Call& call, Reply& reply);
  void run_alone(Connection& c, Call& call, Reply& reply);
  void tell_of_changes();
  void run_by_job(Connection& c, const Call& call, Reply& reply);
  void fetch_slot(const TurnOp& op) const;
  void fetch_group(const TurnOp& op) const;
  void fetch_record(const TurnOp& op) const;
  bool transaction_command(Connection& c, const CommandSpec& spec, Args args);
  std::string moved_text(Slot slot) const;
  bool answers_here(Connection& c, const CommandSpec& spec, Args args, Reply& reply);
  void scatter(Connection& c, const CommandSpec& spec, Args args);
  void run_inline(Connection& c, const Transaction& t, Reply& reply);
  void measure_inside(const Connection& c, const OwnedCommand& command, std::uint64_t began,
                      std::string_view reply);
  // later: who takes a reply that is not there at once; false is answered then. Without it such a
  // command is refused.
  bool run_session_inline(Connection& c, const OwnedCommand& command, Reply& reply,
                          bool all_here = false, Answered later = {});
  class Exec;
  struct Steps;
  ExecReach exec_reach(const Transaction& t) const;
  void run_part(Connection& c, Transaction&& t, Answered done = {});
  void run_in_steps(Connection& c, Transaction&& t);
  void run_step(const std::shared_ptr<Steps>& steps);
  void join_walk(WalkResult& all, WalkResult&& part, WalkKind what, std::size_t shard);
  void end_turn_of_all(const std::vector<Version>& stamped);
  Slot place_of_cursor(std::uint64_t cursor) const;
  std::uint64_t cursor_of_shard(std::size_t shard) const;
  void after_poll();
  SteadyMs waited_until(SteadyMs now);
  SteadyMs look_around_after_wait();
  void look_again();
  void drop_gone(const std::vector<TurnOp>& ops);
  void end_turn();
  std::uint64_t note_turn_cpu();
  void run_turn_ops();
  void flush_peers();
  void flush_mail();
  void take_mail();
  void refresh_command_options();
  void move_clients(const DatabaseNames& old);
  void tell_space();  // of the options; until it is loaded another thread has it
  void refresh_users();
  void tick();
  void start_ticker(std::uint64_t ms);
  void choose_tick(SteadyMs now);
  void publish_ring(bool count);
  void publish();
  void look_at_memory();
  void tell_of_memory();
  void bound_tracking();
  std::uint64_t elsewhere(std::atomic<std::uint64_t> Published::*figure) const;
  bool make_room();
  bool enough_replicas() const;  // for min-replicas-to-write
  void look_around();
  bool ordinary(const Connection& c, const Call& call) const;
  void ran(Connection& c, const Call& call, Reply& reply, std::size_t start);
  bool calm_ = false, unlimited_ = false;  // as look_around() saw it last
  void free_closed();
  void on_bus_batch(BusConnection& from, std::string_view batch);
  void on_link_reply(NodeIndex peer, std::string_view batch);
  bool on_batch(NodeIndex peer, std::string_view batch, UnixMs sent_wall);
  void send_batch(NodeIndex peer, std::string_view messages);
  void watch_links(SteadyMs now);
  void bring_up(NodeIndex peer);
  NodeIndex peer_of(BusConnection& c) const;
  void check_clients();
  void over_output_limit(Connection& c);
  std::uint64_t publish_here(ChannelKind kind, std::string_view channel, std::string_view message);
  void publish_to_peers(ChannelKind kind, std::string_view channel, std::string_view message,
                        std::uint64_t id, std::set<std::uint16_t>& peers);
  void deliver(ChannelKind kind, std::string_view channel, std::string_view message);
  void push(Connection& c, std::string_view bytes);
  void close_doomed();
  // Carries what this shard's changes make stale to the clients that may have it cached.
  void tell_readers();
  void invalidate(const TrackedKeys::Told& told);
  void invalidate_at(NodeIndex peer, const TrackedKeys::Told& told);
  void invalidated_elsewhere(const Invalidate& m);
  void lost_sight();
  void redirection_broken(std::uint64_t client, std::uint64_t redirect);
  // To every MONITOR client of the node: a command that has run.
  void tell_monitors(const Connection& by, const CommandSpec& spec, DbIndex db, Args args);
  void tell_monitors_of_script(const Connection& by, const CommandSpec& spec, DbIndex db,
                               Args args);
  void show_monitors(std::string_view by, DbIndex db, Args args);

  friend class Server;
  friend class WorkerScripts;

  Server& server_;
  const ShardIndex shard_;
  Loop loop_;
  Metrics metrics_;
  Published published_;
  std::vector<CommandStats> command_stats_;
  ErrorCounts errors_;
  Random random_;
  std::unique_ptr<KeySpace> space_;
  Spaces spaces_;
  CommandOptions command_options_;  // a copy of the server's
  std::uint64_t command_options_version_ = 0;
  std::shared_ptr<const Users> users_;  // the server's, as of the same version
  Connection* acting_ = nullptr;        // whose session command runs
  std::unique_ptr<Engine> engine_;
  Mailbox mailbox_;
  std::vector<std::vector<Task>> outgoing_;  // mail by thread
  std::atomic<std::uint64_t> store_persisted_{0};
  std::atomic<int> store_state_{0};  // 0: well, 1: failing
  std::uint64_t seen_persisted_ = 0;

  std::unique_ptr<BusServer> bus_;
  std::vector<Link> links_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<Connection>> graveyard_;
  std::vector<Connection*> dirty_;
  std::vector<std::uint64_t> gated_, paused_;
  std::vector<std::string> spare_outputs_;  // empty, with room
  Subscribers subscribers_;
  BufferLimits output_limits_{};  // of the configuration as this thread knows it
  std::vector<Connection*> monitors_;
  std::vector<std::uint64_t> doomed_;  // over them: closed at the end of the turn
  std::uint64_t next_connection_ = 1;

  std::unique_ptr<char[]> arena_;
  std::size_t arena_at_ = 0;
  std::vector<std::string_view> turn_args_;
  std::vector<TurnOp> turn_ops_;
  bool running_ops_ = false;
  const std::vector<TurnOp>* running_ = nullptr;  // while they run
  Connection* dispatching_ = nullptr;             // whose command runs now
  std::vector<Slot> route_slots_;
  UnixMs now_ = 0;                // as the commands of this turn know it: read_clock()
  std::uint64_t clock_read_ = 0;  // when, in ticks
  const std::uint64_t ticks_per_ms_;
  std::uint64_t slow_ticks_ =
      ~std::uint64_t{0};                  // of slowlog-log-slower-than or latency-monitor-threshold
  std::uint64_t measured_ = 0;            // up to when: the end of the last command
  std::vector<bool> missing_subcommand_;  // by command index: a container
  std::string early_;                     // its reply, when it came before its place was reserved
  std::uint64_t gate_seen_ = 0;
  std::string batch_;
  bool batch_had_messages_ = false;
  std::vector<Envelope> envelopes_;  // of the batch, for this thread
  SteadyMs last_client_check_ = 0;
  std::vector<std::uint64_t> client_paused_;  // by CLIENT PAUSE

  std::unordered_map<std::uint64_t, Answered> callbacks_;
  std::unordered_map<std::uint64_t, std::function<void(WalkResult&&)>> walk_callbacks_;
  std::uint64_t next_callback_ = 1;
  Timer ticker_;
  Blocking blocking_;
  Standing standing_{*this};
  std::vector<std::pair<Ticket, std::string>> barrier_answers_;
  RingChannels ring_channels_{*this};
  SyncFeeds sync_feeds_;
  Migrations migrations_;
  std::uint64_t ticks_ = 0;
  bool memory_over_ = false;  // as the others were told
  bool timer_ran_ = false;
  bool loaded_ =
      false;  // before, the main thread fills the shard and the engine is not touched here
  SteadyMs last_tick_ = 0, alive_at_ = 0, active_at_ = 0;
  SteadyMs looks_for_gone_until_ = 0;
  std::uint64_t ticking_ms_ = 0;
  std::int64_t turn_started_us_ = 0;
  std::uint64_t turn_began_cpu_us_ = 0;  // of this thread
  bool held_ = false;  // a script pauses: no command runs here (server/worker_scripts.h)
  std::unique_ptr<WorkerScripts> scripts_;
};

}  // namespace gyre
