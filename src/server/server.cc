#include "server/server.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>

#include <sys/resource.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "config/line.h"
#include "persist/rocks_store.h"
#include "server/version.h"
#include "server/worker_scripts.h"
#include "shard/loader.h"
#include "shard/rows.h"

namespace gyre {
namespace {

// The clock's bound: a row of the store that lies ahead of every stamp that may have been given
// out, so that a restart never stamps below them. It runs a second ahead, renewed every half; a
// start waits until the wall clock is near it, because stamps far ahead are refused by the others.
constexpr std::string_view clock_bound_row =
    "\xfe"
    "c";
constexpr std::int64_t clock_near_ms = 100;
constexpr std::int64_t clock_wait_ms = 5000;  // how long a start waits for others' clocks

std::string hex40() {
  std::string out;
  char part[17];
  for (int i = 0; i < 3; ++i) {
    std::snprintf(part, sizeof part, "%016llx", static_cast<unsigned long long>(random_seed()));
    out += part;
  }
  return out.substr(0, 40);
}

std::string read_boot_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

SyncMode sync_mode(const Config& config) {
  switch (config.appendfsync.get()) {
    case choice::AppendFsync::always:
      return SyncMode::always;
    case choice::AppendFsync::no:
      return SyncMode::no;
    default:
      return SyncMode::everysec;
  }
}

}  // namespace

Server::Server(Config& config)
    : config_(config), run_id_(hex40()), accounts_(config, [this] {
        command_options_version_.fetch_add(1, std::memory_order_release);
      }) {}
Server::~Server() = default;

// ---- start

Result<void> Server::open_store() {
  persist_ = config_.persistence;
  if (!persist_) return {};
  RocksStoreOptions options;
  options.directory = config_.dir.get() + "/store";
  options.shards = workers_.size();
  options.sync_mode = sync_mode(config_);
  auto store = open_rocks_store(options, *this);
  if (!store) return store.error();
  store_ = std::move(*store);
  return {};
}

// What the store holds of a thread's slots. progress: told now and then of the rows read so far.
Result<void> Server::load_rows(Worker& w, const std::function<void(std::uint64_t rows)>& progress) {
  Loader loader(*w.space_);
  RowReader reader(loader);
  Result<void> bad;
  const std::string first = slot_row_prefix(w.space_->first_slot());
  const std::string last = slot_row_prefix(
      {static_cast<std::uint16_t>(w.space_->first_slot().value + w.space_->slot_count())});
  auto scanned = store_->scan(first, last, [&](std::string_view key, std::string_view value) {
    bad = reader.row(key, value);
    const std::uint64_t rows = loaded_rows.fetch_add(1, std::memory_order_relaxed) + 1;
    if (rows % 65536 == 0) progress(rows);
    return static_cast<bool>(bad) && stop_requests_.load() == 0;
  });
  if (!scanned) return scanned;
  if (!bad) return bad;
  reader.finish();
  return {};
}

Result<void> Server::reload() {
  GYRE_ASSERT(alone());
  if (!store_ || !persist_)
    return Error(Errc::err, "nothing to load from: this node runs with persistence no");
  for (auto& w : workers_) w->engine_->end_turn();
  wait_all_persisted();
  for (auto& w : workers_) {
    if (w->store_persisted_.load(std::memory_order_acquire) + 1 < w->engine_->current_turn())
      return Error(Errc::err, "the store does not have all writes yet: try again");
  }
  Result<void> done;
  for (auto& w : workers_) {
    // Without replicas a floor is not kept: it only drops what is there.
    for (std::size_t i = 0; i < w->space_->slot_count(); ++i) {
      const Slot slot{static_cast<std::uint16_t>(w->space_->first_slot().value + i)};
      for (std::size_t db = 0; db < w->space_->databases(); ++db) {
        const DbIndex index{static_cast<std::uint8_t>(db)};
        if (w->space_->table_of(slot, index))
          w->space_->raise_floor(slot, index, Version{~std::uint64_t{0}}, false);
      }
    }
    if (auto loaded = load_rows(*w, [](std::uint64_t) {}); !loaded && done) done = loaded;
  }
  // What is not in memory now is still in the store, and comes with the next start.
  if (!done) request_stop();
  return done;
}

Result<void> Server::load() {
  if (!store_) return {};
  const std::uint64_t total = store_->stats().estimated_rows;
  const SteadyMs from = clock_.steady_ms();
  SteadyMs said = from;
  for (auto& w : workers_) {
    w->space_->access().set(clock_.wall_ms(), command_options().memory.access);
    auto loaded = load_rows(*w, [&](std::uint64_t rows) {
      if (clock_.steady_ms() - said <= 1000) return;
      said = clock_.steady_ms();
      LOG_NOTICE("loading: %llu rows of about %llu", static_cast<unsigned long long>(rows),
                 static_cast<unsigned long long>(total));
    });
    if (!loaded) return loaded;
    Result<void> bad, scanned;
    const std::string hints_first(1, Hints::row_prefix);
    const std::string hints_last(1, '\xff');
    scanned =
        store_->scan(hints_first, hints_last, [&](std::string_view key, std::string_view value) {
          if (key == clock_bound_row) {
            Reader in(value);
            clock_bound_ = static_cast<UnixMs>(in.be64());
          } else if (key.size() >= 6) {
            Reader in(key.substr(4, 2));
            if (w->space_->owns({in.be16()})) bad = w->engine_->hints().load_row(key, value);
          }
          return static_cast<bool>(bad);
        });
    if (!scanned) return scanned;
    if (!bad) return bad;
  }
  LOG_NOTICE("loaded %llu rows in %lld ms", static_cast<unsigned long long>(loaded_rows.load()),
             static_cast<long long>(clock_.steady_ms() - from));
  return {};
}

namespace {

MemoryOptions memory_options(const Config& config) {
  using Policy = choice::MaxmemoryPolicy;
  using By = EvictionPolicy::By;
  MemoryOptions m;
  m.limit = static_cast<std::uint64_t>(config.maxmemory.get());
  m.policy.samples =
      static_cast<std::size_t>(std::min<std::int64_t>(config.maxmemory_samples.get(), 64));
  const Policy policy = config.maxmemory_policy.get();
  switch (policy) {
    case Policy::noeviction:
      m.policy.by = By::none;
      break;
    case Policy::volatile_ttl:
      m.policy.by = By::ttl;
      break;
    case Policy::volatile_random:
    case Policy::allkeys_random:
      m.policy.by = By::random;
      break;
    default:
      m.policy.by = By::access;
  }
  m.policy.volatile_only = policy == Policy::volatile_lru || policy == Policy::volatile_lfu ||
                           policy == Policy::volatile_random || policy == Policy::volatile_ttl;
  m.access.frequency = policy == Policy::volatile_lfu || policy == Policy::allkeys_lfu;
  m.access.log_factor = static_cast<std::uint32_t>(config.lfu_log_factor.get());
  m.access.decay_minutes = static_cast<std::uint32_t>(config.lfu_decay_time.get());
  // 0: only what the writes need. Beyond 10 it grows by 15 % a step, as Redis' time limit does.
  const auto tenacity = config.maxmemory_eviction_tenacity.get();
  m.keys_a_turn = static_cast<std::uint64_t>(50 * std::min<std::int64_t>(tenacity, 10));
  for (std::int64_t i = 10; i < tenacity; ++i) m.keys_a_turn += m.keys_a_turn * 15 / 100;
  m.defrag.on = config.activedefrag;
  m.defrag.ignore_bytes = static_cast<std::uint64_t>(config.active_defrag_ignore_bytes.get());
  const auto percent = [](const auto& option) { return static_cast<std::uint64_t>(option.get()); };
  m.defrag.threshold_lower = percent(config.active_defrag_threshold_lower);
  m.defrag.threshold_upper = percent(config.active_defrag_threshold_upper);
  m.defrag.cycle_min = percent(config.active_defrag_cycle_min);
  m.defrag.cycle_max = percent(config.active_defrag_cycle_max);
  return m;
}

}  // namespace

void Server::apply_options() {
  CommandOptions o;
  o.hash_max_listpack_entries = static_cast<std::size_t>(config_.hash_max_listpack_entries.get());
  o.hash_max_listpack_value = static_cast<std::size_t>(config_.hash_max_listpack_value.get());
  o.set_max_intset_entries = static_cast<std::size_t>(config_.set_max_intset_entries.get());
  o.zset_max_listpack_entries = static_cast<std::size_t>(config_.zset_max_listpack_entries.get());
  o.zset_max_listpack_value = static_cast<std::size_t>(config_.zset_max_listpack_value.get());
  o.list_max_listpack_size = config_.list_max_listpack_size;
  o.hll_sparse_max_bytes = static_cast<std::size_t>(config_.hll_sparse_max_bytes.get());
  o.stream_node_max_entries = static_cast<std::uint64_t>(config_.stream_node_max_entries.get());
  o.proto_max_bulk_len = static_cast<std::size_t>(config_.proto_max_bulk_len.get());
  o.memory = memory_options(config_);
  if (config_.min_replicas_max_lag != 0)
    o.min_replicas = static_cast<std::uint64_t>(config_.min_replicas_to_write.get());
  o.notify = event_classes(config_.notify_keyspace_events.get());
  const std::lock_guard lock(options_mutex_);
  o.databases = command_options_.databases;
  command_options_ = o;
  command_options_version_.fetch_add(1, std::memory_order_release);
}

void Server::name_databases(const DatabaseNames& names) {
  const std::lock_guard lock(options_mutex_);
  command_options_.databases = names;
  command_options_version_.fetch_add(1, std::memory_order_release);
}

CommandOptions Server::command_options() const {
  const std::lock_guard lock(options_mutex_);
  return command_options_;
}

void Server::register_hooks() {
  for (const Option o : {Option::hash_max_listpack_entries,
                         Option::hash_max_listpack_value,
                         Option::set_max_intset_entries,
                         Option::zset_max_listpack_entries,
                         Option::zset_max_listpack_value,
                         Option::list_max_listpack_size,
                         Option::hll_sparse_max_bytes,
                         Option::stream_node_max_entries,
                         Option::proto_max_bulk_len,
                         Option::client_output_buffer_limit,
                         Option::notify_keyspace_events,
                         Option::min_replicas_to_write,
                         Option::min_replicas_max_lag,
                         Option::maxmemory,
                         Option::maxmemory_policy,
                         Option::maxmemory_samples,
                         Option::maxmemory_eviction_tenacity,
                         Option::lfu_log_factor,
                         Option::lfu_decay_time,
                         Option::activedefrag,
                         Option::active_defrag_ignore_bytes,
                         Option::active_defrag_threshold_lower,
                         Option::active_defrag_threshold_upper,
                         Option::active_defrag_cycle_min,
                         Option::active_defrag_cycle_max,
                         Option::slowlog_log_slower_than,
                         Option::latency_monitor_threshold,
                         Option::tracking_table_max_keys}) {
    config_.on_change(o, [this] { apply_options(); });
  }
  config_.on_change(Option::appendfsync, [this] {
    if (store_) store_->set_sync_mode(sync_mode(config_));
  });
  config_.on_change(Option::write_consistency, [this] {
    // Sureness counts by the configured level.
    for (auto& w : workers_) {
      w->post([level = default_levels().write](Worker& worker) {
        worker.engine_->set_write_level(level);
      });
    }
  });
  config_.on_change(Option::requirepass, [this] { accounts_.take_requirepass(); });
  accounts_.set_told([this](std::string_view name, std::optional<std::string> rules) {
    ring_settings.changed(SettingKind::user, name, std::move(rules));
  });
  config_.on_change(Option::loglevel,
                    [this] { log_level(static_cast<LogLevel>(config_.loglevel.get())); });
}

std::size_t Server::raise_file_limit() {
  const auto wanted = static_cast<rlim_t>(config_.maxclients.get()) + 64 + 512;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return static_cast<std::size_t>(config_.maxclients.get());
  if (limit.rlim_cur < wanted) {
    rlimit raised = limit;
    raised.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  if (limit.rlim_cur >= wanted) return static_cast<std::size_t>(config_.maxclients.get());
  const std::size_t can =
      limit.rlim_cur > 640 ? static_cast<std::size_t>(limit.rlim_cur) - 576 : 32;
  LOG_WARNING(
      "maxclients %lld needs %llu open files, the limit is %llu: at most %zu clients are taken "
      "(raise it with ulimit -n)",
      static_cast<long long>(config_.maxclients.get()), static_cast<unsigned long long>(wanted),
      static_cast<unsigned long long>(limit.rlim_cur), can);
  config_.maxclients.store(static_cast<std::int64_t>(can));
  return can;
}

Levels Server::default_levels() const {
  Levels levels;
  Level::parse(config_.write_consistency.get(), levels.write);
  Level::parse(config_.read_consistency.get(), levels.read);
  return levels;
}

Result<void> Server::start() {
  started_ms_ = clock_.wall_ms();
  start_steady_ = clock_.steady_ms();
  LOG_NOTICE("Gyre %s starts, process %d", gyre_version.data(), static_cast<int>(getpid()));
  for (const auto& note : config_.compat_in_use()) {
    LOG_WARNING("option %s is accepted without effect: %s", std::string(note.name).c_str(),
                std::string(note.because).c_str());
  }
  ::mkdir(config_.dir.get().c_str(), 0755);
  if (::access(config_.dir.get().c_str(), W_OK) != 0) {
    return Error(Errc::config,
                 "dir " + config_.dir.get() + " cannot be written: " + std::strerror(errno));
  }
  if (auto ring = open_ring(); !ring) return ring;
  if (!alone()) membership_ = std::make_unique<Membership>(*this, clock_);
  raise_file_limit();
  apply_options();
  if (auto users = accounts_.load(); !users) return users;
  register_hooks();
  if (config_.persistence) identity_files_ = std::make_unique<FolderFiles>(config_.dir.get());
  if (auto opened = identity_.open({.name = ring_->node(self_).name,
                                    .cluster = config_.cluster_name.get(),
                                    .self = self_,
                                    .index = ring_->node(self_).index,
                                    .nodes = ring_->nodes().size(),
                                    .boot_id = read_boot_id()},
                                   identity_files_.get());
      !opened)
    return opened;
  if (auto loaded = load_functions(); !loaded) return loaded;
  if (auto loaded = ring_settings.load(); !loaded) return loaded;
  if (!holds_all()) {
    tracked_prefixes.on_change([this](std::optional<std::string> all) {
      ring_settings.changed(SettingKind::prefixes, ring().node(self_).name, std::move(all));
    });
  }

  std::size_t threads = static_cast<std::size_t>(config_.threads.get());
  if (threads == 0) threads = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, 4);
  for (std::size_t i = 0; i < threads; ++i)
    workers_.push_back(std::make_unique<Worker>(*this, ShardIndex{static_cast<std::uint16_t>(i)}));
  loading_ = true;
  if (auto store = open_store(); !store) return store;
  for (std::size_t i = 0; i < threads; ++i) {
    // Slot s belongs to thread s * threads / slots.
    const auto first = static_cast<std::uint16_t>((i * slots_total + threads - 1) / threads);
    const auto next = ((i + 1) * slots_total + threads - 1) / threads;
    Worker& w = *workers_[i];
    w.space_ = std::make_unique<KeySpace>(
        KeySpaceOptions{.first = {first},
                        .slots = next - first,
                        .databases = static_cast<std::size_t>(config_.databases.get()),
                        .persist = persist_,
                        .keep_tombstones = ring_->replication_factor() > 1,
                        .clock_node = identity_.clock_node(),
                        .stub_grace_ms = 2 * config_.max_clock_skew + config_.peer_timeout_max});
    EngineOptions options;
    options.self = self_;
    options.shard = {static_cast<std::uint16_t>(i)};
    options.shards = static_cast<std::uint16_t>(threads);
    options.persist = persist_;
    options.write_level = default_levels().write;
    options.max_skew_ms = config_.max_clock_skew;
    options.ack_timeout_ms = config_.replica_ack_timeout;
    options.hints_max = static_cast<std::size_t>(config_.hints_max.get()) / threads + 1;
    options.hints_age_ms = config_.hints_max_age * 1000;
    w.published_.inside.resize(ring_->nodes().size());
    w.engine_ = std::make_unique<Engine>(options, ring_, *w.space_, w.spaces_, clock(), w.random_,
                                         w.command_options_, w.metrics_, w);
    w.engine_->set_scripts(&w.scripts_->runner());
  }
  if (const std::string file = config_.import_file.get(); !file.empty()) {
    if (auto opened = import_.open(file); !opened) return opened;
  }
  if (auto listening = open_listeners(); !listening) return listening;
  for (auto& w : workers_) threads_.emplace_back([&w] { w->run(); });
  // Clients hear -LOADING meanwhile; the threads leave their shards alone until they are told
  // (loaded_).
  if (auto loaded = load(); !loaded) {
    request_stop();
    return loaded;
  }
  const bool kept =
      persist_ && store_ &&
      (store_->clean_start() || identity_.same_boot() || store_->sync_mode() == SyncMode::always);
  const bool known = alone() || (identity_.settled() && kept);
  for (auto& w : workers_) {
    KeySpace& space = *w->space_;
    space.clock().see(Version::at_ms(clock_bound_));
  }
  Version highest{};
  for (auto& w : workers_) highest = std::max(highest, w->space_->clock().peek(0));
  for (auto& w : workers_) {
    w->space_->clock().see(highest);
    w->space_->clock().set_started(w->space_->clock().peek(clock().wall_ms()));
    w->post([known](Worker& worker) {
      worker.loaded_ = true;
      worker.tell_space();
      worker.engine_->set_known(known);
    });
    if (!alone()) w->post([](Worker& worker) { worker.connect_peers(); });
  }
  if (!alone()) {
    const std::int64_t ahead = clock_bound_ - clock_bound_ahead_ms - clock().wall_ms();
    workers_[0]->post([this, ahead](Worker& worker) {
      membership_->start(worker, clock_bound_ == 0 ? 0 : ahead);
    });
    if (auto opened = open_bus(); !opened) {
      request_stop();
      return opened;
    }
  }
  loading_ = false;
  if (alone()) begin_serving();
  LOG_NOTICE("%s with %zu thread%s; port %lld%s",
             alone() ? "ready to accept connections" : "the ring is being joined", workers_.size(),
             workers_.size() == 1 ? "" : "s", static_cast<long long>(config_.port.get()),
             persist_ ? "" : "; persistence is off");
  return {};
}

// ---- running

std::string Server::waiting_for() const {
  if (!identity_.settled()) return "it waits for " + identity_.waiting_for();
  return "it waits for its peers' clocks, or for its own to reach the last run's";
}

void Server::tick(Worker& w) {
  snapshots_.poll();
  sync_queue_.step(w);
  if (import_.due() && serving()) import_.step(w);
  constexpr std::int64_t look_at_pages_ms = 1000;
  if (const SteadyMs at = clock().steady_ms(); at - pages_looked_at_ >= look_at_pages_ms) {
    pages_looked_at_ = at;
    forgotten_pages_.look();
  }
  if (alone() || loading()) return;
  membership_->tick(w);
  ring_settings.tick(w);
  const SteadyMs now = clock().steady_ms();
  const UnixMs wall = clock().wall_ms();
  if (persist_ && serving() && wall + clock_bound_ahead_ms / 2 > clock_bound_) {
    clock_bound_ = wall + clock_bound_ahead_ms;
    std::string value;
    put_be64(value, static_cast<std::uint64_t>(clock_bound_));
    w.space().rows().put(clock_bound_row, value);
  }
  const auto send = [&w](NodeIndex to, std::uint16_t shard, const IdentityMessage& m) {
    w.send_identity(to, shard, m);
  };
  if (identity_.step(now, send)) {
    const std::uint16_t node = identity_.clock_node();
    for (auto& worker : workers_) {
      worker->post([node](Worker& to) {
        to.space_->clock().set_node(node);
        to.space_->clock().set_started(to.space_->clock().peek(to.wall_ms()));
      });
    }
  }
  if (identity_.outdated() && !outdated_told_) {
    outdated_told_ = true;
    for (auto& worker : workers_) worker->post([](Worker& to) { to.engine_->set_known(false); });
  }
  if (serving_begun_.load(std::memory_order_acquire)) return;
  std::size_t up = 1;
  for (std::size_t i = 0; i < ring_->nodes().size(); ++i)
    up += w.engine().peer({static_cast<std::uint16_t>(i)}).up;
  const bool clocks = (up >= ring_->nodes().size() / 2 + 1 && membership_->clocks_compared()) ||
                      now - start_steady_ > clock_wait_ms;
  const bool near = wall + clock_near_ms >= clock_bound_ || now - start_steady_ > clock_wait_ms;
  if (identity_.settled() && clocks && near) {
    begin_serving();
    LOG_NOTICE("serving; %zu of %zu nodes are connected", up, ring_->nodes().size());
  } else if (now - waiting_said_ > 5000) {
    waiting_said_ = now;
    LOG_NOTICE("not serving yet: %s", waiting_for().c_str());
  }
}

UnixMs Server::newest_stamp_ms() const {
  UnixMs newest = 0;
  for (const auto& w : workers_)
    newest = std::max(newest, w->published_.stamp_ms.load(std::memory_order_relaxed));
  return newest;
}

// Clients and peers are let in when every thread is ready for them, and its unsure slots counted: a
// node that has answered PING answers no -LOADING afterwards.
void Server::begin_serving() {
  if (serving_begun_.exchange(true, std::memory_order_acq_rel)) return;
  if (alone()) serving_.store(true, std::memory_order_release);
  for (auto& w : workers_) {
    w->post([this](Worker& worker) {
      worker.engine_->set_serving(true);
      worker.publish_ring(true);
      if (workers_ready_.fetch_add(1, std::memory_order_acq_rel) + 1 == workers_.size())
        serving_.store(true, std::memory_order_release);
    });
  }
}

// ---- stop

void Server::request_stop() {
  if (stop_requests_.fetch_add(1) >= 2) std::_Exit(1);
  const std::lock_guard lock(mutex_);
  stopped_.notify_all();
}

int Server::wait() {
  {
    std::unique_lock lock(mutex_);
    stopped_.wait(lock, [this] { return stop_requests_.load() > 0; });
  }
  LOG_NOTICE("stopping");
  snapshots_.stop();
  for (auto& w : workers_) {
    w->post([this](Worker& worker) {
      if (worker.shard().value != 0) return;
      if (listener_) listener_->close();
      if (cluster_listener_) cluster_listener_->close();
      if (bus_listener_) bus_listener_->close();
    });
  }
  for (auto& w : workers_) w->stop();
  for (auto& t : threads_) t.join();
  threads_.clear();
  int code = 0;
  if (store_) {
    if (auto closed = store_->flush_and_close(); !closed) {
      LOG_WARNING("the store could not be closed cleanly: %s",
                  std::string(closed.error().text()).c_str());
      code = 1;
    }
  }
  listener_.reset();
  cluster_listener_.reset();
  bus_listener_.reset();
  workers_.clear();
  LOG_NOTICE("bye");
  return code;
}

// ---- the store's thread

void Server::persisted(ShardIndex shard, std::uint64_t seq) noexcept {
  workers_[shard.value]->store_persisted(seq);
}
void Server::store_failing(ShardIndex shard, const Error& error) noexcept {
  if (shard.value == 0)
    LOG_WARNING("the store cannot write: %s; writes are refused until it can",
                std::string(error.text()).c_str());
  workers_[shard.value]->store_failing(true);
}
void Server::store_recovered(ShardIndex shard) noexcept {
  if (shard.value == 0) LOG_NOTICE("the store can write again");
  workers_[shard.value]->store_failing(false);
}

bool Server::disk_failing() const {
  return std::any_of(workers_.begin(), workers_.end(), [](const auto& w) {
    return w->store_state_.load(std::memory_order_acquire) != 0;
  });
}

Detector::Load Server::take_load() {
  Detector::Load load;
  for (auto& w : workers_) {
    load.turn_us =
        std::max(load.turn_us, w->published_.turn_us.exchange(0, std::memory_order_relaxed));
    load.waiting += w->published_.waiting.load(std::memory_order_relaxed);
  }
  return load;
}

}  // namespace gyre
