// SimWorker: one thread of a simulated node: key space, engine, its own links to every peer, and a
// host that drives them as server/worker.cc does (what is said there holds here; keep the two
// alike).
//
//   arrivals, clients' commands, mail of other threads, the store's completions -> wake() -> a turn
//   of the loop, a little later: messages to the engine, commands, end of turn, one batch to each
//   peer. A tick every 20 ms.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coordination/engine.h"
#include "membership/link_watch.h"
#include "shard/keyspace.h"
#include "tools/sim/node.h"

namespace gyre::sim {

class SimWorker final : public EngineHost, public KeySpaces {
 public:
  SimWorker(SimNode& node, std::uint16_t shard);
  ~SimWorker() override;

  void begin();  // after loading
  void wake();
  void arrived(Arrival&& a);
  void command(Command&& c);
  // A message or a request for this thread, from another one.
  void mail(std::function<void()> task);

  void peer_detected(NodeIndex peer);

  Engine& engine() { return *engine_; }
  const Engine& engine() const { return *engine_; }
  KeySpace& space() { return *space_; }
  const KeySpace& space() const { return *space_; }
  bool links_up() const;
  std::uint64_t store_persisted = 0;  // what the store has told
  bool disk_failing = false;

  // ---- EngineHost
  void submit_anywhere(Request&& request, std::function<void(std::string&&)> done) override;
  void answer(const Ticket& ticket, std::string&& reply) override;
  void walked(const Ticket& ticket, WalkResult&& result) override;
  bool store(std::uint64_t turn, StoreBatch&& rows) override;
  std::int64_t give_up_ms(NodeIndex peer) override { return links_[peer.value].watch.give_up_ms(); }
  void node_message(NodeIndex peer, const Envelope& envelope) override;
  // ---- KeySpaces
  KeySpace& of(Slot slot) override;

 private:
  enum class LinkState : std::uint8_t { waiting, connecting, up };
  struct Link {
    explicit Link(const LinkWatch& w) : watch(w) {}
    LinkState state = LinkState::waiting;
    std::uint64_t connection = 0;
    std::uint64_t attempt = 0;  // tells old timers from new
    Us backoff = 0;
    bool told_up = false;  // to the engine
    LinkWatch watch;
    std::vector<std::uint64_t> answering;
    SteadyMs answer_by = 0, last_sent = 0;
    std::deque<UnixMs> sent_wall;
  };

  void turn();
  void run_some(std::deque<Command>&& commands);
  void end_turn();
  void timer_tick();
  void tick();
  void notice_standstill();
  void take(Arrival&& a);
  void run(Command&& c);
  void attempt(NodeId peer);
  void bring_up(NodeId peer);
  void fail_link(NodeId peer, const char* why);
  void send_batch(NodeId peer, std::string_view messages);
  void flush_peers();
  bool on_batch(NodeId peer, std::string_view batch, UnixMs sent_wall);
  void deliver(NodeId peer, const Envelope& e);

  SimNode& node_;
  std::uint16_t shard_;
  std::unique_ptr<KeySpace> space_;
  std::unique_ptr<Random> random_;
  std::unique_ptr<Engine> engine_;
  std::vector<Link> links_;
  std::deque<Arrival> inbox_;
  std::deque<Command> commands_;
  std::vector<std::function<void()>> mail_;
  std::map<std::uint64_t, std::function<void(std::string&&)>> callbacks_;
  std::uint64_t next_callback_ = 1;
  std::map<std::uint64_t, NodeId> bus_;  // accepted connections
  bool turn_due_ = false, batch_had_messages_ = false;
  std::uint64_t seen_persisted_ = 0;
  SteadyMs last_tick_ = 0, alive_at_ = 0;
};

}  // namespace gyre::sim
