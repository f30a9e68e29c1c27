// Server: the process: configuration, the ring, the store, the threads.
//
// Start: config -> ring -> identity -> store -> threads load their slots -> listeners open -> (on a
// ring) an incarnation is agreed on -> serving. Stop: listeners close, threads end their turns, the
// store is flushed, marks say that the stop was clean. Threading: built and stopped by the main
// thread; the rest says so at each member.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "config/config.h"
#include "coordination/request.h"
#include "membership/identity.h"
#include "persist/store.h"
#include "ring/ring.h"
#include "server/accounts.h"
#include "server/gone_clients.h"
#include "server/import.h"
#include "server/info.h"
#include "server/latency.h"
#include "server/membership.h"
#include "server/memory_figures.h"
#include "server/node_scripts.h"
#include "server/pubsub.h"
#include "server/ring_settings.h"
#include "server/slow_log.h"
#include "server/snapshot.h"
#include "server/sync_feed.h"
#include "server/worker.h"

namespace gyre {

class Server final : public StoreSink {
 public:
  explicit Server(Config& config);
  ~Server() override;

  // Everything up to running threads. Errors: what to tell the user before ending.
  Result<void> start();
  // Blocks until somebody asked to stop, then stops in order. The exit code.
  int wait();
  // From any thread; the second request ends at once. nosave: as SHUTDOWN NOSAVE, the same here.
  void request_stop();
  bool stopping() const { return stop_requests_.load(std::memory_order_relaxed) > 0; }

  Config& config() { return config_; }
  const Ring& ring() const { return *ring_; }
  std::shared_ptr<const Ring> ring_ptr() const { return ring_; }
  NodeIndex self() const { return self_; }
  bool alone() const { return ring_->nodes().size() == 1; }
  // A replica of every slot.
  bool holds_all() const {
    return static_cast<std::size_t>(ring_->replication_factor()) == ring_->nodes().size();
  }
  // The time that this node goes by.
  const Clock& clock() const {
    if (membership_) return membership_->clock();
    return clock_;
  }
  Membership* membership() { return membership_.get(); }  // none on a node that is alone
  // The store of any thread cannot write now.
  bool disk_failing() const;
  Detector::Load take_load();
  Store* store() { return store_.get(); }
  const Store* store() const { return store_.get(); }
  Snapshots& snapshots() { return snapshots_; }
  const Snapshots& snapshots() const { return snapshots_; }
  SyncQueue& sync_queue() { return sync_queue_; }
  bool persist() const { return persist_; }
  std::size_t shards() const { return workers_.size(); }
  Worker& worker(ShardIndex shard) { return *workers_[shard.value]; }
  ShardIndex shard_of(Slot slot) const {
    return {static_cast<std::uint16_t>(slot.value * workers_.size() / slots_total)};
  }
  // What commands go by: each worker has a copy and takes a new one when the version is not its
  // own's.
  std::uint64_t command_options_version() const {
    return command_options_version_.load(std::memory_order_acquire);
  }
  CommandOptions command_options() const;
  void name_databases(const DatabaseNames& names);
  Levels default_levels() const;
  Accounts& accounts() { return accounts_; }
  Identity& identity() { return identity_; }
  SmallFiles* identity_files() { return identity_files_.get(); }  // none without persistence
  const std::string& run_id() const { return run_id_; }           // 40 hex digits
  const std::string& secret() const { return secret_; }

  std::uint16_t identity_incarnation() const { return identity_.incarnation(); }
  HelloFields hello_fields(ShardIndex shard) const;
  // Why a caller on the bus is refused; empty: it is welcome.
  std::string check_peer(const HelloFields& peer) const;
  // Worker 0, every tick: identity, serving, memory.
  void tick(Worker& worker);

  // Loading: while true, clients hear -LOADING. Progress for INFO.
  bool loading() const { return loading_.load(std::memory_order_acquire); }
  std::atomic<std::uint64_t> loaded_rows{0};
  // True: what was loaded is visible to the caller.
  bool serving() const { return serving_.load(std::memory_order_acquire); }
  void begin_serving();
  UnixMs started_ms() const { return started_ms_; }

  std::atomic<std::uint64_t> clients{0};
  GoneClients gone_clients;
  std::atomic<std::uint64_t> next_client_id{1};
  std::atomic<std::uint64_t> tracking_clients{0};
  TrackedPrefixes tracked_prefixes;
  std::atomic<std::int64_t> pause_clients_until{0};  // wall ms
  std::atomic<bool> pause_writes_only{false};        // CLIENT PAUSE .. WRITE
  std::atomic<bool> active_expire{true};             // DEBUG SET-ACTIVE-EXPIRE
  std::atomic<bool> cron_paused{false};              // DEBUG PAUSE-CRON
  std::atomic<bool> all_in_scripts{false};           // DEBUG SET-DISABLE-DENY-SCRIPTS
  SlowLog slow_log;
  LatencyLog latency_log;
  ChannelDirectory channels;                         // who listens; any thread
  std::atomic<std::uint64_t> monitoring_threads{0};  // a bit for each that has a MONITOR client
  InfoSampler sampler;
  // The newest stamp's time of any shard, from time to time.
  UnixMs newest_stamp_ms() const;
  // The stored bound of stamps is written anew, from the wall clock. Thread 0.
  void set_clock_bound_back() { clock_bound_ = 0; }

  // The barrier: one thread at a time runs alone while the others stand still.
  bool barrier_try_own();
  void barrier_release();
  // Of the owner that asks the others to park.
  std::uint64_t barrier_generation();
  // Called by the others: returns when the owner has released.
  void barrier_park(std::uint64_t generation);
  // False: the others do not all park, says give_up; the owner must release.
  bool barrier_wait_parked(std::size_t others, const std::function<bool()>& give_up);
  // A thread that ends: it stands still from now on, and no owner waits for it.
  void barrier_leave();
  // Until all shards' submitted rows are durable, or the store fails.
  void wait_all_persisted();
  // Under the barrier of a node that is alone: its keys leave memory and come back from the store.
  Result<void> reload();
  // What a node that does not serve yet waits for, for its clients and its log.
  std::string waiting_for() const;

  // ---- StoreSink (storage thread)
  void persisted(ShardIndex shard, std::uint64_t seq) noexcept override;
  void store_failing(ShardIndex shard, const Error& error) noexcept override;
  void store_recovered(ShardIndex shard) noexcept override;

 private:
  Result<void> open_ring();
  Result<void> open_store();
  Result<void> load();
  Result<void> load_rows(Worker& w, const std::function<void(std::uint64_t rows)>& progress);
  Result<void> open_listeners();
  Result<void> open_bus();
  void apply_options();
  void register_hooks();
  std::size_t raise_file_limit();

  Config& config_;
  SystemClock clock_;
  std::shared_ptr<const Ring> ring_;
  NodeIndex self_{};
  bool persist_ = false;
  std::string secret_;
  std::string run_id_;
  std::unique_ptr<Membership> membership_;
  std::unique_ptr<SmallFiles> identity_files_;
  Identity identity_;
  ForgottenPages forgotten_pages_;
  SteadyMs pages_looked_at_ = 0;
  Snapshots snapshots_{*this};
  SyncQueue sync_queue_{*this};
  Import import_;
  CommandOptions command_options_;  // under options_mutex_
  mutable std::mutex options_mutex_;
  std::atomic<std::uint64_t> command_options_version_{0};
  Accounts accounts_;
  std::unique_ptr<Store> store_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
  std::unique_ptr<Listener> listener_, cluster_listener_, bus_listener_;
  SteadyMs start_steady_ = 0, waiting_said_ = 0;
  UnixMs clock_bound_ = 0;
  bool outdated_told_ = false;
  std::size_t next_worker_ = 0, next_bus_ = 0;  // connections go round; worker 0's thread alone
  std::atomic<bool> loading_{false}, serving_begun_{false}, serving_{false};
  std::atomic<std::size_t> workers_ready_{0};
  std::atomic<int> stop_requests_{0};
  std::mutex mutex_;
  std::condition_variable stopped_;
  UnixMs started_ms_ = 0;

  std::atomic<bool> barrier_owned_{false};
  std::mutex barrier_mutex_;
  std::condition_variable barrier_changed_;
  std::size_t barrier_parked_ = 0, barrier_left_ = 0;
  std::uint64_t barrier_generation_ = 0;

 public:
  NodeScripts scripts;                // any thread
  RingSettings ring_settings{*this};  // what holds on all nodes of the ring
  // The libraries of functions as they are now go to the disk; and come from there.
  Result<void> save_functions();
  // Makes a change of the libraries and keeps it, for the whole ring.
  Result<void> change_functions(const std::function<Result<void>(Libraries&)>& change);
  void replace_libraries(Libraries all);  // under RingSettings::changing()
  Result<void> load_functions();
};

}  // namespace gyre
