// SimHeart: the connections of a simulated node's detector, one to every peer and one from each;
// does what server/membership.cc does there. Its batches are handled at the begin of a turn of
// thread 0, before any command.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "membership/vitals.h"
#include "tools/sim/network.h"

namespace gyre::sim {

class SimNode;

class SimHeart final : public VitalsHost {
 public:
  explicit SimHeart(SimNode& node);

  // `ahead_ms`: of the last run's clock.
  void begin(std::int64_t ahead_ms);
  // Whether this arrived on one of its connections.
  bool takes(const Arrival& a) const;
  void arrived(Arrival&& a) { inbox_.push_back(std::move(a)); }
  void turn();
  void tick();

  Vitals& vitals() { return vitals_; }
  const Vitals& vitals() const { return vitals_; }
  bool silent(NodeId peer) const;

  // ---- VitalsHost
  void peer_detected(NodeIndex peer, bool down) override;
  void peer_says(NodeIndex peer, const BatchHeader& header, std::uint8_t unfit_before) override;
  void clock_fit(bool fit) override;
  UnixMs stamp_ms() override;
  void clock_set_back() override;
  void stamp_again(UnixMs later_than, std::int64_t ahead_ms) override;

 private:
  enum class State : std::uint8_t { waiting, connecting, up };
  struct Link {
    State state = State::waiting;
    std::uint64_t connection = 0, attempt = 0;
    Us backoff = 0;
  };

  void attempt(NodeId peer);
  void fail(NodeId peer);
  void probe(NodeId peer);
  void take(Arrival&& a);
  void take_from_peer(Arrival&& a);

  SimNode& node_;
  Vitals vitals_;
  std::vector<Link> links_;
  std::map<std::uint64_t, NodeId> from_;  // accepted connections
  std::deque<Arrival> inbox_;
};

}  // namespace gyre::sim
