// SimNode: one whole node without sockets, files or threads: key space, engine, store, and a host
// that drives them as server/worker.cc does (what is said there holds here; keep the two alike).
//
//   arrivals, clients' commands, the store's completions -> wake() -> a turn of the loop, a little
//   later: messages to the engine, commands, end of turn, one batch to each peer. A tick every 20
//   ms.
//
// A killed node loses its process; its disk (MemoryDisk) stays. A paused one stands still, and all
// that comes meanwhile waits.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordination/engine.h"
#include "membership/link_watch.h"
#include "metrics/metrics.h"
#include "persist/memory_store.h"
#include "ring/ring.h"
#include "shard/keyspace.h"
#include "tools/sim/network.h"

namespace gyre::sim {

class SimClock final : public Clock {
 public:
  explicit SimClock(const World& world) : world_(world) {}
  UnixMs wall_ms() const override { return start_of_time + world_.now() / ms + offset_ms; }
  SteadyMs steady_ms() const override { return 1'000'000 + world_.now() / ms; }
  std::int64_t offset_ms = 0;

 private:
  const World& world_;
};

class SimNode final : public EngineHost, public StoreSink, public KeySpaces {
 public:
  struct Options {
    SyncMode sync = SyncMode::always;
    std::size_t hints_max = 1'000'000;
    Level write_level{Level::quorum};
  };
  // What a client sent; answered exactly once, unless the process ends.
  struct Command {
    std::uint64_t id = 0;
    std::uint64_t connection = 0;
    std::vector<std::string> args;
    Levels levels;
    bool flush = false;  // FLUSHALL: a walk
  };
  using Answer = std::function<void(std::uint64_t id, std::string&& reply)>;

  SimNode(World& world, Network& network, RingPtr ring, NodeId self, const Options& options,
          Answer answer);
  ~SimNode() override;

  void start(bool known);
  // kill -9; with `power` the unsynced writes are lost as well.
  void kill(bool power);
  void pause(bool on);
  void command(Command&& c);
  void set_disk_delay(Us low, Us high) { disk_low_ = low, disk_high_ = high; }

  bool alive() const { return engine_ != nullptr; }
  bool paused() const { return paused_; }
  const std::string& name() const { return name_; }
  SimClock& clock() { return clock_; }
  Engine& engine() { return *engine_; }
  KeySpace& space() { return *space_; }
  const Metrics& metrics() const { return metrics_; }
  // Runs a read on this replica alone.
  std::string read(const std::vector<std::string>& words);
  // Whether nothing waits: no operation, no hint.
  bool quiet() const;
  bool links_up() const;

  // ---- EngineHost
  void answer(const Ticket& ticket, std::string&& reply) override;
  void walked(const Ticket& ticket, WalkResult&& result) override;
  bool store(std::uint64_t turn, StoreBatch&& rows) override;
  std::int64_t give_up_ms(NodeIndex peer) override { return links_[peer.value].watch.give_up_ms(); }
  void node_message(NodeIndex, const Envelope&) override {}
  // ---- StoreSink
  void persisted(ShardIndex, std::uint64_t turn) noexcept override { store_persisted_ = turn; }
  void store_failing(ShardIndex, const Error&) noexcept override {}
  void store_recovered(ShardIndex) noexcept override {}
  // ---- KeySpaces
  KeySpace& of(Slot) override { return *space_; }

 private:
  enum class LinkState : std::uint8_t { waiting, connecting, up };
  struct Link {
    explicit Link(const LinkWatch& w) : watch(w) {}
    LinkState state = LinkState::waiting;
    std::uint64_t connection = 0;
    std::uint64_t attempt = 0;  // tells old timers from new
    Us backoff = 0;
    bool told_up = false;
    LinkWatch watch;
    std::vector<std::uint64_t> answering;
    SteadyMs answer_by = 0, last_sent = 0;
    std::deque<UnixMs> sent_wall;
  };

  // Runs f later, unless the process has ended by then; a paused one runs it when it goes on.
  void later(Us delay, std::function<void()> f);
  void wake();
  void turn();
  void end_turn();
  void tick();
  void timer_tick();
  void disk_turn();
  void sync_turn();
  void load();
  void arrived(Arrival&& a);
  void run(Command&& c);
  void attempt(NodeId peer);
  void fail_link(NodeId peer, const char* why);
  void send_batch(NodeId peer, std::string_view messages);
  void flush_peers();
  bool on_batch(NodeId peer, std::string_view batch, UnixMs sent_wall);
  BatchHeader header(bool answers) const;
  std::uint16_t clock_node() const;

  World& world_;
  Network& network_;
  RingPtr ring_;
  NodeId self_;
  std::string name_;
  Options options_;
  Answer answer_;
  SimClock clock_;
  MemoryDisk disk_;
  UnixMs bound_ = 0;  // of the clock, as identity.cc keeps it
  Metrics metrics_;
  CommandOptions command_options_;

  // The process.
  std::uint64_t life_ = 0;
  bool paused_ = false;
  std::vector<std::function<void()>> held_;
  std::unique_ptr<MemoryStore> store_;
  std::unique_ptr<KeySpace> space_;
  std::unique_ptr<Random> random_;
  std::unique_ptr<Engine> engine_;
  std::vector<Link> links_;
  std::deque<Arrival> inbox_;
  std::deque<Command> commands_;
  std::map<std::uint64_t, NodeId> bus_;  // accepted connections
  bool turn_due_ = false, batch_had_messages_ = false, disk_due_ = false;
  std::uint64_t store_persisted_ = 0, seen_persisted_ = 0;
  SteadyMs last_tick_ = 0, started_ = 0;
  bool serving_ = false;
  Us disk_low_ = 50, disk_high_ = 400;
  std::string batch_;
};

}  // namespace gyre::sim
