// What a worker publishes of its engine's hints and comparisons, for INFO.
//
// Threading: update() on the worker's thread; reading from any, each number whole.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "metrics/metrics.h"
#include "sync/merkle.h"

namespace gyre {

class Engine;

// How background comparisons with a peer go on some shards of this node together.
struct PeerProgress {
  SteadyMs last_completed = 0;  // on the shard where it is longest ago; 0: not yet on all
  std::uint64_t rounds = 0;     // completed by every shard
  std::uint64_t slots_left = 0;
  bool running = false;

  static PeerProgress of(const SyncProgress& p) {
    return {p.last_completed, p.rounds, p.slots_left, p.running};
  }
  void join(const PeerProgress& shard);
};

// Bytes of batches to and from a peer. Heartbeats are the detector's and the empty batches by which
// links are watched. One writer: the worker.
struct BusBytes {
  MetricCell sent, received, heartbeat_sent, heartbeat_received;

  void send(std::size_t bytes, bool heartbeat) { (heartbeat ? heartbeat_sent : sent).add(bytes); }
  void receive(std::size_t bytes, bool heartbeat) {
    (heartbeat ? heartbeat_received : received).add(bytes);
  }
};

class PublishedInside {
 public:
  struct Peer {
    std::atomic<std::uint64_t> hints{0}, hints_dropped{0}, marks{0};
    std::atomic<UnixMs> oldest_hint_ms{0};
    std::atomic<SteadyMs> last_completed{0};
    std::atomic<std::uint64_t> rounds{0}, slots_left{0};
    std::atomic<bool> running{false};
    BusBytes bus;

    PeerProgress progress() const;
  };

  // Before the threads run.
  void resize(std::size_t nodes) { peers_ = std::vector<Peer>(nodes); }
  void update(Engine& engine);
  const Peer& peer(NodeIndex n) const { return peers_[n.value]; }
  BusBytes& bus(NodeIndex n) { return peers_[n.value].bus; }
  // Bytes of messages received, by kind.
  using Kinds = std::array<MetricCell, static_cast<std::size_t>(Kind::end)>;
  Kinds& kinds() { return kinds_; }
  std::uint64_t slots_purgeable() const { return slots_purgeable_.load(std::memory_order_relaxed); }

 private:
  std::vector<Peer> peers_;
  Kinds kinds_;
  std::atomic<std::uint64_t> slots_purgeable_{0};
  unsigned updates_ = 0;
};

}  // namespace gyre
