// Membership: what a node on a ring knows of who is alive and what time it is, driven by worker 0.
//
// It gives Vitals (membership/vitals.h) their connections, one to and one from every peer apart
// from the data links, and tells all threads what changes: a peer that is down or taken back, what
// a peer says of itself, whether this node is fit to act.
//
// Probes and answers are handled in the poll, when they arrive; clients' commands run after it. So
// a heartbeat waits for the turn under way at most, never for the commands behind it.
//
// Threading: worker 0's thread, but for what says otherwise.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "membership/vitals.h"
#include "net/bus_server.h"
#include "net/peer_link.h"

namespace gyre {

class Server;
class Worker;

class Membership final : private VitalsHost {
 public:
  // What it knew a moment ago, for those who look.
  struct Snapshot {
    std::vector<Detector::View> peers;  // by node; nothing of this node itself
    std::int64_t base_ms = 0;           // of the time this node goes by
    std::int64_t clock_off_ms = 0, clock_jump_ms = 0;
  };

  Membership(Server& server, const Clock& machine);

  void start(Worker& w, std::int64_t ahead_ms);
  void stop();  // before the loop ends
  void tick(Worker& w);
  void on_probe(Worker& w, BusConnection& from, NodeIndex peer, std::string_view batch);
  // A link of any thread to the peer came up; on worker 0.
  void connected(NodeIndex peer) { vitals_.detector().connected(peer, machine_.steady_ms()); }
  // Clocks were compared as a start must.
  bool clocks_compared() const { return vitals_.guard().compared(); }

  // ---- any thread
  const Clock& clock() const { return vitals_.clock(); }
  // A probe is out for longer than the shortest give-up time.
  bool silent(NodeIndex peer) const {
    return peers_[peer.value].silent.load(std::memory_order_relaxed);
  }
  bool down(NodeIndex peer) const {
    return peers_[peer.value].down.load(std::memory_order_relaxed);
  }
  std::uint8_t unfit() const { return vitals_.unfit(); }
  Snapshot look() const;

 private:
  struct Peer {
    std::unique_ptr<PeerLink> link;
    std::atomic<bool> silent{false}, down{false};
  };

  void connect(Worker& w, NodeIndex peer);
  void probe(Worker& w, NodeIndex peer);
  void on_answer(Worker& w, NodeIndex peer, std::string_view batch);
  void publish(SteadyMs now);
  template <class F>
  void tell_all(F task);  // to every worker

  // ---- VitalsHost
  void peer_detected(NodeIndex peer, bool down) override;
  void peer_says(NodeIndex peer, const BatchHeader& header, std::uint8_t unfit_before) override;
  void clock_fit(bool fit) override;
  UnixMs stamp_ms() override;
  void clock_set_back() override;
  void stamp_again(UnixMs later_than, std::int64_t ahead_ms) override;

  Server& server_;
  const Clock& machine_;
  Vitals vitals_;
  std::vector<Peer> peers_;
  Detector::Load load_;
  std::uint64_t ticks_ = 0, jumps_told_ = 0, fenced_told_ = 0;
  std::string batch_;

  mutable std::mutex mutex_;
  Snapshot snapshot_;
};

}  // namespace gyre
