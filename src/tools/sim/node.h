// SimNode: one whole node without sockets, files or threads: a SimWorker for each of its threads,
// and what they share: clock, disk, store, identity, the detector (SimHeart).
//
// A killed node loses its process; its disk (MemoryDisk) stays. A paused one stands still, and all
// that comes meanwhile waits. A slow turn stands still in the middle of a turn's commands.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coordination/engine.h"
#include "membership/identity.h"
#include "metrics/metrics.h"
#include "persist/memory_store.h"
#include "persist/small_files.h"
#include "ring/ring.h"
#include "tools/sim/network.h"

namespace gyre::sim {

class SimClock final : public Clock {
 public:
  explicit SimClock(const World& world) : world_(world) {}
  UnixMs wall_ms() const override {
    return start_of_time + offset_ms + jumped_ms + world_.now() / ms + drift(world_.now());
  }
  SteadyMs steady_ms() const override { return 1'000'000 + world_.now() / ms; }
  // From now on the wall clock gains so many millionths.
  void set_drift(std::int64_t millionths) {
    offset_ms += drift(world_.now());
    drift_from_ = world_.now();
    drift_ = millionths;
  }
  std::int64_t offset_ms = 0;
  std::int64_t jumped_ms = 0;  // until it is set right

 private:
  std::int64_t drift(Us now) const { return (now - drift_from_) * drift_ / 1'000'000 / ms; }
  const World& world_;
  Us drift_from_ = 0;
  std::int64_t drift_ = 0;
};

// What a simulation has of slots: a window in the middle of all, so that two threads share it and
// what looks at every slot stays cheap.
struct SlotWindow {
  std::uint16_t first = 0, count = slots_total;
};

// What a client sent; answered exactly once, unless the process ends.
struct Command {
  std::uint64_t id = 0;
  std::uint64_t connection = 0;
  DbIndex db{};
  std::vector<std::vector<std::string>> commands{};  // several: an EXEC
  bool exec = false;
  std::vector<Watch> watches;
  Levels levels;
};

class SimHeart;
class SimWorker;

class SimNode final : public StoreSink {
 public:
  struct Options {
    SyncMode sync = SyncMode::always;
    std::uint16_t shards = 1;
    std::vector<std::uint16_t> threads;  // of every node of the ring
    std::size_t databases = 2;
    SlotWindow window;
    std::size_t hints_max = 1'000'000;
    std::int64_t hints_age_ms = 3 * 3600 * 1000;
    Level write_level{Level::quorum};
    double reorder = 0;  // of messages that may come twice or late
  };
  using Answer = std::function<void(std::uint64_t id, std::string&& reply)>;

  SimNode(World& world, Network& network, RingPtr ring, NodeId self, const Options& options,
          EffectWatch* watch, Answer answer);
  ~SimNode() override;

  void start();
  // kill -9; with `power` the unsynced writes are lost as well, the last of them torn.
  void kill(bool power);
  void wipe();  // of a dead one: its disk is empty
  void pause(bool on);
  // The next turn that runs commands stands still for so long between two of them.
  void slow_turn(Us time) { slow_turn_ = time; }
  void command(Command&& c);
  void set_disk_delay(Us low, Us high) { disk_low_ = low, disk_high_ = high; }
  void fail_disk(bool on);

  bool alive() const { return !workers_.empty(); }
  bool paused() const { return paused_; }
  bool serving() const { return serving_; }
  const std::string& name() const { return name_; }
  // The time of the newest stamp that it would give. It is alive.
  UnixMs stamp_ms() const;
  SimClock& clock() { return clock_; }  // of its machine
  // What it goes by; of one that is alive.
  const Clock& time() const;
  const Metrics& metrics() const { return metrics_; }
  std::size_t shards() const { return workers_.size(); }
  SimWorker& worker(std::size_t shard) { return *workers_[shard]; }
  SimWorker& worker_of(Slot slot) { return *workers_[shard_of(slot)]; }
  std::size_t shard_of(Slot slot) const {
    return std::size_t{slot.value} * options_.shards / slots_total;
  }
  // Runs a read on this replica alone.
  std::string read(DbIndex db, const std::vector<std::string>& words);
  // Whether nothing waits: no operation, no hint; else what does.
  std::string waiting();
  bool links_up() const;
  bool whole() const;  // every slot is compared
  std::size_t rows_on_disk() const { return disk_.rows().size(); }

  // ---- StoreSink
  void persisted(ShardIndex shard, std::uint64_t turn) noexcept override;
  void store_failing(ShardIndex shard, const Error&) noexcept override;
  void store_recovered(ShardIndex shard) noexcept override;

 private:
  friend class SimHeart;
  friend class SimWorker;

  // Runs f later, unless the process has ended by then; a paused one runs it when it goes on.
  void later(Us delay, std::function<void()> f);
  // Stands still for `time`; `rest` is the first to run after it.
  void stall(Us time, std::function<void()> rest);
  void go_on();
  void load();
  void arrived(Arrival&& a);
  void tick();  // what the node does as a whole
  BatchHeader header(bool answers) const;
  // Thread 0 does it now, the others in a turn of their own.
  void tell_all(const std::function<void(SimWorker&)>& task);
  bool submit(ShardIndex shard, std::uint64_t turn, StoreBatch&& rows);
  void disk_turn();
  void sync_turn();
  void walk(const Command& c);
  void settle_identity();
  void send_identity(NodeIndex to, std::uint16_t shard, const IdentityMessage& message);

  World& world_;
  Network& network_;
  RingPtr ring_;
  NodeId self_;
  std::string name_;
  Options options_;
  EffectWatch* watch_;
  Answer answer_;
  SimClock clock_;
  MemoryDisk disk_;
  UnixMs bound_ = 0;  // of the clock, as the server keeps it
  MemoryFiles files_;
  std::uint64_t boot_ = 1;  // a power cut is another boot of the machine
  Metrics metrics_;
  CommandOptions command_options_;

  // The process.
  std::uint64_t life_ = 0;
  bool paused_ = false;
  std::vector<std::function<void()>> held_;
  std::unique_ptr<Identity> identity_;
  std::unique_ptr<MemoryStore> store_;
  std::unique_ptr<SimHeart> heart_;
  std::vector<std::unique_ptr<SimWorker>> workers_;
  std::map<std::uint64_t, std::size_t> thread_of_;  // connection -> thread; accepted ones in turn
  std::size_t next_accept_ = 0;
  bool serving_ = false, disk_due_ = false, disk_failing_ = false, outdated_told_ = false;
  SteadyMs started_ = 0;
  Us disk_low_ = 50, disk_high_ = 400, slow_turn_ = 0;
  struct WalkJoin {
    std::size_t left = 0;
    WalkKind what{};
    WalkResult all;
  };
  std::map<std::uint64_t, WalkJoin> walks_;  // by the command's id
};

}  // namespace gyre::sim
