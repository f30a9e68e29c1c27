// Vitals: who is alive, what time it is, and whether this node is fit to act.
//
// It joins the detector with the guard of the clock, reads and writes the batches that they need,
// and tells its host what follows. The host (server/membership.h, the simulator's nodes) has the
// connections and passes on what it hears to every engine of the node.
//
//   start() when the node may be reached; tick() every Detector::Options::tick_ms; on_probe() and
//   on_answer() before any command of the turn runs; link_up() and link_down() of the detector.
// Pure. Threading: one thread, but for clock() and unfit().
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "membership/detector.h"
#include "membership/wall_guard.h"
#include "wire/messages.h"

namespace gyre {

class VitalsHost {
 public:
  virtual ~VitalsHost() = default;
  // Down, or taken back.
  virtual void peer_detected(NodeIndex peer, bool down) = 0;
  // What the peer says of itself has changed. Data links that are idle hear of it late; a node that
  // should not act must be passed over soon.
  virtual void peer_says(NodeIndex peer, const BatchHeader& header, std::uint8_t unfit_before) = 0;
  // Whether this node's clock allows it to act.
  virtual void clock_fit(bool fit) = 0;
  // The time of the newest stamp that this node would give.
  virtual UnixMs stamp_ms() = 0;
  // Its time was set back by more than the skew bound: stamps stand still from now on.
  virtual void clock_set_back() = 0;
  // All others refuse what this node stamped later than that, and its time is right by now: it is
  // to be stamped again (Engine::stamp_again), by what it was ahead then.
  virtual void stamp_again(UnixMs later_than, std::int64_t ahead_ms) = 0;
};

class Vitals {
 public:
  struct Options {
    Detector::Options detector;
    WallGuard::Options guard;
    std::uint64_t ring_hash = 0;
  };

  Vitals(const Options& options, const Clock& machine, VitalsHost& host);

  // The wait for others' clocks begins.
  void start();
  // The last run's clock was that far ahead of what it shows now.
  void set_last_run_ahead(std::int64_t ms) { ahead_ms_ = ms; }
  void set_skew(std::int64_t ms);
  void tick(bool disk_failing);

  // Fills a batch that is sent to the peer, with this header.
  void probe(std::string& batch, const BatchHeader& own, NodeIndex peer);
  // Fills the answer, which leaves at once. False: it could not be read.
  bool on_probe(NodeIndex peer, std::string_view batch, const BatchHeader& own,
                const Detector::Load& load, std::string& answer);
  bool on_answer(NodeIndex peer, std::string_view batch);

  Detector& detector() { return detector_; }
  const Detector& detector() const { return detector_; }
  const WallGuard& guard() const { return guard_; }

  // ---- any thread
  const Clock& clock() const { return clock_; }
  // As in BatchHeader: its peers read it there.
  std::uint8_t unfit() const { return unfit_.load(std::memory_order_relaxed); }

 private:
  bool read_header(BatchReader& in, BatchHeader& header) const;
  void heard(NodeIndex peer, const BatchHeader& header);
  void declare(bool disk_failing);

  const Clock& machine_;
  VitalsHost& host_;
  std::uint64_t ring_hash_;
  WallGuard guard_;
  GuardedClock clock_;
  Detector detector_;
  // Whether all others would refuse this node's stamps.
  bool stamps_ahead(SteadyMs now);

  struct Said {
    bool serving = false;
    std::uint8_t unfit = 0;
    std::int64_t stamp_base_ms = 0;  // the stamp less this node's monotonic clock when it came
    SteadyMs stamp_at = 0;           // 0: never
  };
  std::vector<Said> said_;  // by the peers, of themselves
  std::vector<WallGuard::PeerClock> clocks_;
  std::int64_t skew_ms_ = 500;
  SteadyMs stamped_again_at_ = 0;
  bool set_back_ = false;      // and not seen since that its stamps are in order
  std::int64_t ahead_ms_ = 0;  // of the time that the stamps so far ahead were made by
  std::atomic<std::uint8_t> unfit_{0};
};

}  // namespace gyre
