#include "server/worker.h"

#include <algorithm>

#include "base/hash.h"
#include "base/log.h"
#include "base/ticks.h"
#include "commands/table.h"
#include "ring/slot.h"
#include "server/membership.h"
#include "server/server.h"
#include "server/session.h"
#include "server/worker_scripts.h"
#include "shard/walk.h"

namespace gyre {
namespace {

constexpr std::size_t arena_bytes = std::size_t{2} << 20;
constexpr std::size_t piece_bytes = std::size_t{32} << 10;
constexpr std::size_t ops_per_turn = 8192;
constexpr std::size_t stage_ops = 8;  // commands between the stages of fetching ahead
constexpr std::size_t spare_outputs = 64, spare_output_bytes = std::size_t{16} << 10;
const std::size_t inside_a_string = std::string().capacity();
constexpr std::uint64_t tick_ms = 20;
constexpr std::uint64_t rest_tick_ms = 30;  // while nothing is out and nobody asks
constexpr std::int64_t rest_after_ms = 1000;
constexpr std::uint64_t sample_every = 5;  // ticks

}  // namespace

KeySpace& Worker::Spaces::of(Slot slot) {
  if (worker_.space_->owns(slot)) return *worker_.space_;
  // Only while a barrier holds the other threads.
  return worker_.server_.worker(worker_.server_.shard_of(slot)).space();
}

bool Worker::Spaces::whole() const {
  return worker_.server_.alone();
}

Worker::Worker(Server& server, ShardIndex shard)
    : server_(server),
      shard_(shard),
      command_stats_(all_commands().size()),
      random_(random_seed()),
      spaces_(*this),
      subscribers_(server.channels, shard),
      output_limits_(server.config().buffer_limits()),
      arena_(std::make_unique<char[]>(arena_bytes)),
      ticks_per_ms_(us_to_ticks(1000)),
      ticker_(loop_),
      blocking_(*this),
      sync_feeds_(*this),
      migrations_(*this) {
  scripts_ = std::make_unique<WorkerScripts>(*this);
  missing_subcommand_.resize(all_commands().size());
  for (const CommandSpec* row : all_commands()) {
    const std::size_t bar = row->name.find('|');
    if (bar == std::string_view::npos) continue;
    if (const CommandSpec* container = find_command(row->name.substr(0, bar))) {
      // Called without its subcommand some containers answer (COMMAND); those have a handler of
      // their own.
      missing_subcommand_[command_index(*container)] =
          session_handler(*container) == nullptr && !container->run;
    }
  }
  // Timers run before the poll, which may sleep: what they made leaves first.
  loop_.before_poll = [this] {
    if (timer_ran_) {
      timer_ran_ = false;
      end_turn();
    }
    waited_until(now_ms());
  };
  loop_.after_poll = [this] { after_poll(); };
  loop_.on_wakeup = [] {};
}

Worker::~Worker() = default;

UnixMs Worker::wall_ms() const {
  return server_.clock().wall_ms();
}
SteadyMs Worker::now_ms() const {
  return server_.clock().steady_ms();
}

void Worker::run() {
  last_tick_ = alive_at_ = now_ms();
  turn_began_cpu_us_ = thread_cpu_us();
  start_ticker(tick_ms);
  loop_.run();
  scripts_->stop();
  // What was accepted is finished: rows that wait go to the store before it closes.
  run_turn_ops();
  end_turn();
  server_.barrier_leave();
  for (auto& [id, c] : connections_) c->close();
  connections_.clear();
  if (shard_.value == 0 && server_.membership()) server_.membership()->stop();
  for (Link& l : links_) l.link.reset();
  bus_.reset();
}

void Worker::start_ticker(std::uint64_t ms) {
  ticking_ms_ = ms;
  ticker_.start(ms, ms, [this] {
    timer_ran_ = true;
    tick();
  });
}

// Waking up is what a node in rest costs. How late a tick may be before the loop counts as having
// stood still does not change with it: that is measured from the shorter one.
void Worker::choose_tick(SteadyMs now) {
  bool rest = now - active_at_ > rest_after_ms && !server_.loading();
  for (const Link& l : links_) rest = rest && l.watch.unanswered() == 0;
  if (loaded_) rest = rest && engine_->operations_waiting() == 0 && engine_->sync().running() == 0;
  if (const std::uint64_t ms = rest ? rest_tick_ms : tick_ms; ms != ticking_ms_) start_ticker(ms);
}

void Worker::stop() {
  post([](Worker& w) { w.loop_.stop(); });
}

// ---- mail

void Worker::post(std::function<void(Worker&)> task) {
  std::vector<Task> one;
  one.push_back(std::move(task));
  mailbox_.send(std::move(one));
  loop_.post_wakeup();
}

void Worker::send_mail(ShardIndex to, Task task) {
  if (to == shard_) return task(*this);
  outgoing_.resize(server_.shards());
  outgoing_[to.value].push_back(std::move(task));
}

void Worker::flush_mail() {
  for (std::size_t i = 0; i < outgoing_.size(); ++i) {
    if (outgoing_[i].empty()) continue;
    Worker& to = server_.worker({static_cast<std::uint16_t>(i)});
    std::vector<Task> batch;
    batch.swap(outgoing_[i]);
    if (to.mailbox_.send(std::move(batch))) to.loop_.post_wakeup();
  }
}

// An event that took so long, when that is of interest.
void Worker::note_latency(std::string_view event, std::int64_t us) {
  const std::int64_t threshold = server_.config().latency_monitor_threshold;
  if (threshold > 0 && us >= threshold * 1000)
    server_.latency_log.note(event, us / 1000, wall_ms() / 1000);
}

void Worker::refresh_command_options() {
  const std::uint64_t version = server_.command_options_version();
  if (version == command_options_version_) return;
  const DatabaseNames names = command_options_.databases;
  command_options_ = server_.command_options();
  command_options_version_ = version;
  if (command_options_.databases != names) move_clients(names);
  if (loaded_) tell_space();
  output_limits_ = server_.config().buffer_limits();
  const std::int64_t slow_us = server_.config().slowlog_log_slower_than;
  const std::int64_t late_ms = server_.config().latency_monitor_threshold;
  slow_ticks_ = slow_us < 0 ? ~std::uint64_t{0} : us_to_ticks(slow_us);
  if (late_ms > 0) slow_ticks_ = std::min(slow_ticks_, us_to_ticks(late_ms * 1000));
  refresh_users();
}

// Each stays at its number.
void Worker::move_clients(const DatabaseNames& old) {
  const DatabaseNames& names = command_options_.databases;
  for (const auto& [id, c] : connections_) {
    c->db = names.moved(old, c->db);
    c->transaction.db = names.moved(old, c->transaction.db);
    for (OwnedCommand& command : c->transaction.commands)
      command.set_db(names.moved(old, command.db()));
    for (Watch& watch : c->transaction.watches) watch.db = names.moved(old, watch.db);
  }
  blocking_.databases_swapped([&](DbIndex db) { return names.moved(old, db); });
}

void Worker::tell_space() {
  space_->access().set(wall_ms(), command_options_.memory.access);
  bound_tracking();
}

// The sum of what the other threads have published.
std::uint64_t Worker::elsewhere(std::atomic<std::uint64_t> Published::*figure) const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < server_.shards(); ++i) {
    if (i == shard_.value) continue;
    const Published& other = server_.worker({static_cast<std::uint16_t>(i)}).published_;
    sum += (other.*figure).load(std::memory_order_relaxed);
  }
  return sum;
}

// A shard has its part of what the node may remember, and what others leave of theirs.
void Worker::bound_tracking() {
  const auto all = static_cast<std::size_t>(server_.config().tracking_table_max_keys.get());
  std::size_t bound = TrackedKeys::unbounded;
  if (all != 0) {
    const std::size_t shards = server_.shards();
    const std::size_t part = all / shards + (shard_.value < all % shards ? 1 : 0);
    const std::size_t others = elsewhere(&Published::tracked_keys);
    bound = std::max(part, all - std::min(all, others));
  }
  space_->tracked().set_limit(bound);
}

void Worker::take_mail() {
  refresh_command_options();
  auto tasks = mailbox_.take();
  look_again();  // what was sent while this turn stood still is among them
  for (Task& task : tasks) task(*this);
}

void Worker::store_persisted(std::uint64_t turn) {
  store_persisted_.store(turn, std::memory_order_release);
  loop_.post_wakeup();
}

void Worker::store_failing(bool failing) {
  store_state_.store(failing ? 1 : 0, std::memory_order_release);
  loop_.post_wakeup();
}

bool Worker::congested() const {
  if (store_congested()) return true;
  for (std::size_t i = 0; i < server_.shards(); ++i) {
    if (server_.worker({static_cast<std::uint16_t>(i)}).mailbox_.waiting() > Mailbox::limit)
      return true;
  }
  return false;
}

// ---- clients

void Worker::adopt_client(int fd, bool cluster_aware) {
  const std::uint64_t id = server_.next_client_id.fetch_add(1);
  auto c = std::make_unique<Connection>(*this, id, cluster_aware);
  if (auto adopted = c->adopt(loop_, fd); !adopted) {
    server_.clients.fetch_sub(1);
    return;
  }
  Config& config = server_.config();
  if (const std::int64_t s = config.tcp_keepalive; s > 0)
    c->set_keepalive(static_cast<unsigned>(s));
  refresh_command_options();
  c->db = command_options_.databases.lies(0);
  c->become(users_->default_user(), users_->open());
  // On a ring a value travels in one batch between nodes, which is bounded at 256 MiB.
  const auto bulk = static_cast<std::size_t>(config.proto_max_bulk_len.get());
  c->parser().set_max_bulk(server_.alone() ? bulk : std::min(bulk, std::size_t{128} << 20));
  c->levels = server_.default_levels();
  c->created_ms = c->active_ms = now_ms();
  metrics_.total_connections_received.add();
  c->read_start();
  connections_.emplace(id, std::move(c));
}

Connection* Worker::find(std::uint64_t id) {
  const auto at = connections_.find(id);
  return at == connections_.end() ? nullptr : at->second.get();
}

void Worker::closed(Connection& c) {
  const auto at = connections_.find(c.id);
  if (at == connections_.end()) return;
  c.close();
  if (!server_.alone() && !c.line_empty()) server_.gone_clients.add(c.id, now_ms());
  if (c.waits != 0) blocking_.closed(c);
  if (c.subscriptions) subscribers_.remove_all(*c.subscriptions);
  stop_tracking(c);
  sync_feeds_.end(c);
  monitor(c, false);
  server_.clients.fetch_sub(1);
  graveyard_.push_back(std::move(at->second));
  connections_.erase(at);
}

void Worker::free_closed() {
  if (graveyard_.empty()) return;
  for (const auto& dead : graveyard_) {
    std::erase_if(turn_ops_, [&](const TurnOp& op) { return op.connection == dead.get(); });
    std::erase(dirty_, dead.get());
  }
  graveyard_.clear();
}

void Worker::mark_dirty(Connection& c) {
  if (c.dirty) return;
  c.dirty = true;
  dirty_.push_back(&c);
}

void Worker::lend_output(std::string& to) {
  if (spare_outputs_.empty() || !to.empty() || to.capacity() > inside_a_string) return;
  to = std::move(spare_outputs_.back());
  spare_outputs_.pop_back();
}

void Worker::return_output(std::string&& from) {
  // One without room of its own would be lent again and again.
  if (from.capacity() <= inside_a_string || from.capacity() > spare_output_bytes) return;
  if (spare_outputs_.size() >= spare_outputs) return;
  from.clear();
  spare_outputs_.push_back(std::move(from));
}

std::span<char> Worker::arena_piece() {
  if (arena_at_ + piece_bytes > arena_bytes) run_commands_now();
  return {arena_.get() + arena_at_, piece_bytes};
}

void Worker::arena_used(const char* end) {
  const auto at = static_cast<std::size_t>(end - arena_.get());
  arena_at_ = std::max(arena_at_, (at + 63) & ~std::size_t{63});
}

void Worker::add_command(Connection& c, std::size_t first_arg, std::size_t arg_count) {
  const Args args(turn_args_.data() + first_arg, arg_count);
  TurnOp& op = turn_ops_.emplace_back(c, first_arg, arg_count);
  Call& call = op.call;
  const CommandSpec* const spec = call.spec = find_command(args);
  if (spec && spec->keys.first == 1 && arg_count > 1 && spec->run) {
    call.known = true;
    call.slot = key_slot(args[1]);
    call.hash = key_hash(args[1]);
    const bool here = loaded_ && space_->owns(call.slot);
    call.plain = here && spec->plain && arity_ok(*spec, arg_count);
    if (here && c.db.value == 0) op.table = &space_->first_table(call.slot);
  }
  ++c.in_turn;
  if (turn_ops_.size() >= ops_per_turn) run_commands_now();
}

void Worker::run_commands_now() {
  if (running_ops_) return;
  look_around_after_wait();
  run_turn_ops();
}

// Each stage reads what the one before it has asked for: the slot's table, the group of the hash,
// the record. A few commands apart, so that the memory has answered and the cache still has it.
// Only where the record lies in database 0: tables of others may move between the stages.
inline void Worker::fetch_slot(const TurnOp& op) const {
  if (!op.table) return;
  space_->prefetch_slot(op.call.slot);
  engine_->prefetch_slot(op.call.slot);
}
inline void Worker::fetch_group(const TurnOp& op) const {
  if (!op.table || !engine_->acts_for(op.call.slot)) return;
  op.table->prefetch_group(op.call.hash);
  space_->prefetch_leaf(op.call.slot, op.call.hash);
}
inline void Worker::fetch_record(const TurnOp& op) const {
  if (op.table && engine_->acts_for(op.call.slot)) op.table->prefetch_node(op.call.hash);
}

void Worker::run_turn_ops() {
  if (turn_ops_.empty()) {
    arena_at_ = 0;
    return;
  }
  running_ops_ = true;
  active_at_ = now_ms();
  refresh_command_options();
  look_at_memory();
  if (space_->tracked().any()) bound_tracking();
  look_around();
  read_clock();
  std::vector<TurnOp> ops;
  ops.swap(turn_ops_);
  running_ = &ops;
  look_again();
  std::vector<std::string_view> args;
  args.swap(turn_args_);
  TurnOp* const begin = ops.data();
  TurnOp* const end = begin + ops.size();
  const auto first = [&](std::size_t n) { return begin + std::min(n, ops.size()); };
  std::for_each(begin, first(3 * stage_ops), [this](const TurnOp& op) { fetch_slot(op); });
  std::for_each(begin, first(2 * stage_ops), [this](const TurnOp& op) { fetch_group(op); });
  std::for_each(begin, first(stage_ops), [this](const TurnOp& op) { fetch_record(op); });
  for (TurnOp* at = begin; at != end; ++at) {
    const auto left = static_cast<std::size_t>(end - at);
    if (left > 3 * stage_ops) fetch_slot(at[3 * stage_ops]);
    if (left > 2 * stage_ops) fetch_group(at[2 * stage_ops]);
    if (left > stage_ops) fetch_record(at[stage_ops]);
    TurnOp& op = *at;
    if (!op.connection->is_open() || op.connection->closing) continue;
    op.call.args = Args(args.data() + op.first, op.count);
    op.call.db = op.connection->db;
    dispatch(*op.connection, op.call);
  }
  for (const TurnOp& op : ops) {
    if (op.connection->in_turn == 0) continue;
    op.connection->in_turn = 0;
    op.connection->turn_over();
  }
  running_ = nullptr;
  ops.clear();
  args.clear();
  turn_ops_.swap(ops);
  turn_args_.swap(args);
  arena_at_ = 0;
  running_ops_ = false;
}

// ---- the turn

void Worker::after_poll() {
  turn_started_us_ = server_.clock().steady_us();
  const SteadyMs polled = look_around_after_wait();
  run_turn_ops();
  take_mail();
  standing_.run();
  scripts_->start_waiting();
  end_turn();
  scripts_->go_on();
  const auto us = static_cast<std::uint64_t>(server_.clock().steady_us() - turn_started_us_);
  metrics_.loop_turn_us_max.raise(us);
  if (us > published_.turn_us.load(std::memory_order_relaxed))
    published_.turn_us.store(us, std::memory_order_relaxed);
  // What a turn takes without running is waiting, too. Of the processor time since the last turn
  // the poll's callbacks had no more than the poll took.
  const auto ran = static_cast<SteadyMs>(note_turn_cpu() / 1000);
  alive_at_ = turn_started_us_ / 1000 + std::max(ran - polled, SteadyMs{0});
  waited_until((turn_started_us_ + static_cast<std::int64_t>(us)) / 1000);
}

// A poll ends with the next tick at the latest, and nothing else waits. If something did, this
// process stood still (paused, starved), and others may have acted for its slots: known before the
// next command runs.
// Returns how long nothing was seen of it.
SteadyMs Worker::waited_until(SteadyMs now) {
  const SteadyMs gap = now - std::exchange(alive_at_, now);
  if (!loaded_ || gap <= static_cast<SteadyMs>(tick_ms) + server_.config().peer_timeout_min)
    return gap;
  engine_->stood_still();
  for (Link& l : links_) l.watch.excuse(gap);
  constexpr SteadyMs patience_ms = 500;  // of a client, at least
  if (!server_.alone() && gap > patience_ms) looks_for_gone_until_ = now + patience_ms;
  return gap;
}

// Behind each reading of the clock that gives stamps, so that what this turn has read before a
// pause gets none from after it; and before what others have sent runs in the poll or behind
// commands: it may be from after a pause that began when the turn, or the wait before it, had
// begun.
void Worker::look_again() {
  const SteadyMs now = now_ms();
  const SteadyMs most = static_cast<SteadyMs>(tick_ms) + server_.config().peer_timeout_min;
  if (now - alive_at_ <= most) return;
  const auto ran = static_cast<SteadyMs>((thread_cpu_us() - turn_began_cpu_us_) / 1000);
  if (now - alive_at_ - ran <= most) return;
  waited_until(now);
  if (running_ && now < looks_for_gone_until_) drop_gone(*running_);
}

// Before commands run.
SteadyMs Worker::look_around_after_wait() {
  const SteadyMs now = now_ms(), gap = waited_until(now);
  if (now < looks_for_gone_until_) drop_gone(turn_ops_);
  return gap;
}

// A client that has gone may have sent its command again to another node, and other ones after it,
// while this node stood still: run now, it would win over them.
void Worker::drop_gone(const std::vector<TurnOp>& ops) {
  for (const TurnOp& op : ops) {
    Connection& c = *op.connection;
    if (!c.is_open() || c.closing || !c.peer_closed()) continue;
    metrics_.clients_gone_while_stopped.add();
    LOG_SELDOM(notice, "client %s has gone while this node stood still: what it sent is not run",
               c.peer_address().c_str());
    c.closing = true;  // the end of its stream closes it
  }
}

// A turn begins where the last one ended: its timers and what the poll called are in it. The wall
// clock also tells of other processes; this figure is the server's own doing.
std::uint64_t Worker::note_turn_cpu() {
  const std::uint64_t now = thread_cpu_us(), took = now - turn_began_cpu_us_;
  if (loaded_) metrics_.loop_turn_cpu_us_max.raise(took);
  turn_began_cpu_us_ = now;
  return took;
}

void Worker::end_turn() {
  if (loaded_) {
    if (engine_->keys_ready()) engine_->serve_ready();
    engine_->store_failing(store_state_.load(std::memory_order_acquire) != 0);
    const std::uint64_t persisted = store_persisted_.load(std::memory_order_acquire);
    if (persisted > seen_persisted_) {
      seen_persisted_ = persisted;
      engine_->persisted(persisted);
    }
    engine_->end_turn();
    if (space_->tracked().ready()) tell_readers();
    flush_peers();
  }
  flush_mail();
  const std::uint64_t durable = loaded_ ? engine_->persisted_turn() : 0;
  // Clients that wait for a gate are looked at when the gate may have opened.
  if (durable != gate_seen_) {
    gate_seen_ = durable;
    for (const std::uint64_t id : gated_) {
      if (Connection* c = find(id)) mark_dirty(*c);
    }
    gated_.clear();
  }
  std::vector<Connection*> dirty;
  dirty.swap(dirty_);
  for (Connection* c : dirty) {
    c->dirty = false;
    if (!c->is_open()) continue;
    c->flush(durable);
    if (!c->line_empty()) gated_.push_back(c->id);
  }
  if (dirty_.empty()) {
    dirty.clear();
    dirty_.swap(dirty);  // its room
  }
  close_doomed();
  if (loaded_) publish();
  free_closed();
}

void Worker::publish() {
  for (std::size_t db = 0; db < space_->databases(); ++db) {
    const DbCounts& counts = space_->counts({static_cast<std::uint8_t>(db)});
    auto& out = published_.dbs[db];
    if (out.keys.load(std::memory_order_relaxed) != counts.keys)
      out.keys.store(counts.keys, std::memory_order_relaxed);
    if (out.expires.load(std::memory_order_relaxed) != counts.expires)
      out.expires.store(counts.expires, std::memory_order_relaxed);
    if (out.tombstones.load(std::memory_order_relaxed) != counts.tombstones)
      out.tombstones.store(counts.tombstones, std::memory_order_relaxed);
  }
  published_.memory.store(space_->memory_used(), std::memory_order_relaxed);
  tell_of_memory();
  published_.changes.store(space_->changes(), std::memory_order_relaxed);
  const TrackedKeys& tracked = space_->tracked();
  if (tracked.any() || published_.tracking) {
    published_.tracking = tracked.any();
    published_.tracked_keys.store(tracked.keys(), std::memory_order_relaxed);
    published_.tracked_items.store(tracked.items(), std::memory_order_relaxed);
    published_.tracked_prefixes.store(tracked.prefixes(), std::memory_order_relaxed);
  }
  published_.stamp_ms.store(space_->clock().peek(0).ms(), std::memory_order_relaxed);
  published_.hints_pending.store(engine_->hints().pending(), std::memory_order_relaxed);
}

void Worker::look_at_memory() {
  if (command_options_.memory.limit == 0 || server_.shards() == 1 || !loaded_) return;
  engine_->set_memory_elsewhere(elsewhere(&Published::memory));
}

// What this thread could not evict the others may: one in rest would look with its next tick only.
void Worker::tell_of_memory() {
  if (server_.shards() == 1) return;
  const bool over = engine_->memory_over();
  if (!std::exchange(memory_over_, over) && over) {
    for (std::size_t i = 0; i < server_.shards(); ++i)
      if (i != shard_.value)
        server_.worker({static_cast<std::uint16_t>(i)}).post([](Worker& w) { w.look_at_memory(); });
  }
}

// Refused is what nobody can make room for: another thread may have something to evict when this
// one has not, and does so by itself.
bool Worker::make_room() {
  if (command_options_.memory.limit == 0 || !loaded_ || engine_->make_room()) return true;
  if (command_options_.memory.policy.by == EvictionPolicy::By::none) return false;
  for (std::size_t i = 0; i < server_.shards(); ++i) {
    if (i == shard_.value) continue;
    if (!server_.worker({static_cast<std::uint16_t>(i)})
             .published_.memory_full.load(std::memory_order_relaxed))
      return true;
  }
  return false;
}

// The count goes first: who reads that a peer is up reads what that made unsure, too.
void Worker::publish_ring(bool count) {
  std::uint64_t up = 0;
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < links_.size(); ++i) {
    const auto& view = engine_->peer({static_cast<std::uint16_t>(i)});
    if (!view.up || !view.serving) continue;
    if (i < 64) up |= std::uint64_t{1} << i;
    offset = std::max(offset, std::abs(view.offset_ms));
  }
  if (count || up != published_.peers_up_bits.load(std::memory_order_relaxed))
    published_.slots_differing.store(engine_->slots_differing(), std::memory_order_relaxed);
  if (count) published_.inside.update(*engine_);
  published_.peers_up_bits.store(up, std::memory_order_release);
  published_.clock_offset_ms_max.store(offset, std::memory_order_relaxed);
}

// While clients are paused nothing vanishes.
void Worker::refresh_expire() {
  if (!loaded_) return;
  const bool paused = wall_ms() < server_.pause_clients_until.load(std::memory_order_relaxed);
  engine_->set_expire(server_.active_expire && !server_.cron_paused && !paused, !paused);
}

void Worker::tick() {
  const SteadyMs now = now_ms();
  const std::int64_t gap = now - last_tick_ - static_cast<std::int64_t>(ticking_ms_);
  last_tick_ = now;
  choose_tick(now);
  if (gap > 10) {
    for (Link& l : links_) l.watch.excuse(gap);
    if (loaded_ && gap > server_.config().peer_timeout_min) engine_->stood_still();
  }
  if (loaded_) {
    refresh_expire();
    look_at_memory();
    const std::uint64_t expired = metrics_.expired_keys.get(), began = ticks_now();
    engine_->tick(0);
    if (metrics_.expired_keys.get() != expired)
      note_latency("expire-cycle", static_cast<std::int64_t>(ticks_to_us(ticks_now() - began)));
    published_.memory_full.store(engine_->memory_full(), std::memory_order_relaxed);
  }
  watch_links(now);
  ring_channels_.tick();
  published_.clients.store(connections_.size(), std::memory_order_relaxed);
  if (loaded_) published_.waiting.store(engine_->operations_waiting(), std::memory_order_relaxed);
  ++ticks_;
  // Counting looks at every slot: five times a second is often enough while nobody comes or goes.
  if (loaded_ && !server_.alone()) publish_ring(ticks_ % 10 == 0);
  if (shard_.value == 0) {
    if (loaded_) server_.tick(*this);
    if (ticks_ % sample_every == 0) server_.sampler.sample(server_);
  }
  if (now - last_client_check_ > 1000) {
    last_client_check_ = now;
    log_held_lines();
    if (!server_.cron_paused) check_clients();
  }
  if (!paused_.empty() && !congested()) {
    std::vector<std::uint64_t> ids;
    ids.swap(paused_);
    for (const std::uint64_t id : ids) {
      // Who waits is read: to hear that it has gone.
      if (Connection* c = find(id); c && !c->closing && (!c->suspended() || c->waits != 0))
        c->read_start();
    }
  }
  const std::int64_t paused_until = server_.pause_clients_until.load(std::memory_order_relaxed);
  if (!client_paused_.empty() && wall_ms() >= paused_until) {
    std::vector<std::uint64_t> ids;
    ids.swap(client_paused_);
    tell_blocked();
    for (const std::uint64_t id : ids) {
      if (Connection* c = find(id)) c->resume();
    }
  }
}

// Time-outs and output limits.
void Worker::check_clients() {
  Config& config = server_.config();
  const std::int64_t timeout = config.timeout.get() * 1000;
  const SteadyMs now = now_ms();
  std::vector<Connection*> out, over;
  for (auto& [id, c] : connections_) {
    // Who listens may have nothing to say.
    if (timeout > 0 && now - c->active_ms > timeout && c->line_empty() && !c->subscribed() &&
        !c->monitoring && !c->syncing() && c->waits == 0) {
      out.push_back(c.get());
      continue;
    }
    const std::size_t bytes = c->output_bytes();
    const auto& limit = output_limits_[static_cast<std::size_t>(c->output_class())];
    const bool hard = limit.hard_bytes > 0 && bytes > static_cast<std::size_t>(limit.hard_bytes);
    const bool soft = limit.soft_bytes > 0 && bytes > static_cast<std::size_t>(limit.soft_bytes);
    if (!soft) c->soft_limit_since = 0;
    if (soft && c->soft_limit_since == 0) c->soft_limit_since = now;
    if (hard || (soft && now - c->soft_limit_since > limit.soft_seconds * 1000))
      over.push_back(c.get());
  }
  for (Connection* c : out) closed(*c);
  for (Connection* c : over) over_output_limit(*c);
}

void Worker::over_output_limit(Connection& c) {
  metrics_.client_output_buffer_limit_disconnections.add();
  LOG_SELDOM(warning, "client %s is closed: its output passed client-output-buffer-limit",
             c.peer_address().c_str());
  closed(c);
}

// ---- walks

Slot Worker::place_of_cursor(std::uint64_t cursor) const {
  return place_of(cursor).slot;
}

std::uint64_t Worker::cursor_of_shard(std::size_t shard) const {
  const Slot first = server_.worker({static_cast<std::uint16_t>(shard)}).space_->first_slot();
  return cursor_of({.slot = first, .hash = 0, .done = false});
}

// ---- EngineHost

void Worker::answer(const Ticket& ticket, std::string&& reply) {
  if (ticket.shard != shard_.value) {
    auto shared = std::make_shared<std::string>(std::move(reply));
    return send_mail({ticket.shard},
                     [ticket, shared](Worker& w) { w.answer(ticket, std::move(*shared)); });
  }
  if (ticket.connection == 0) return call_back(ticket.id, std::move(reply), 0);
  Connection* c = find(ticket.connection);
  if (!c) return;
  if (dispatching_ == c && ticket.id == c->next_place()) {
    early_ = std::move(reply);  // before dispatch() could reserve the place
    return;
  }
  c->fill(ticket.id, std::move(reply), 0);
}

void Worker::walked(const Ticket& ticket, WalkResult&& result) {
  if (ticket.shard != shard_.value) {
    auto shared = std::make_shared<WalkResult>(std::move(result));
    return send_mail({ticket.shard},
                     [ticket, shared](Worker& w) { w.walked(ticket, std::move(*shared)); });
  }
  auto node = walk_callbacks_.extract(ticket.id);
  if (!node.empty()) node.mapped()(std::move(result));
}

void Worker::parked(const Ticket& ticket, Parked&& how) {
  if (ticket.shard != shard_.value) {
    auto shared = std::make_shared<Parked>(std::move(how));
    return send_mail({ticket.shard},
                     [ticket, shared](Worker& w) { w.parked(ticket, std::move(*shared)); });
  }
  callbacks_.erase(ticket.id);
  blocking_.parked(std::move(how));
}

void Worker::woken(std::uint64_t wait) {
  const ShardIndex thread = Blocking::thread_of(wait);
  if (thread.value >= server_.shards()) return;  // of an earlier run, or made up
  send_mail(thread, [wait](Worker& w) { w.blocking_.woken(wait); });
}

bool Worker::store(std::uint64_t turn, StoreBatch&& rows) {
  metrics_.store_batches.add();
  metrics_.store_bytes.add(rows.bytes());
  return server_.store()->submit(shard_, turn, std::move(rows));
}

}  // namespace gyre
