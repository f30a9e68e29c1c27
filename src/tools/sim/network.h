// Network: connections between simulated nodes, as TCP behaves.
//
// Within a direction of a connection order is kept. Where the way is blocked, what was sent waits
// and comes late, unless the connection ends before. A side that closes loses what comes towards
// it; of what it had sent, some first part still arrives.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tools/sim/world.h"

namespace gyre::sim {

using NodeId = std::size_t;

enum class Packet : std::uint8_t { hello, hello_answer, auth, auth_answer, batch, fin };

struct Arrival {
  std::uint64_t connection = 0;
  NodeId from = 0;
  bool owner = false;  // arrived at the side that opened the connection
  Packet packet{};
  std::string bytes;
};

class Network {
 public:
  Network(World& world, std::size_t nodes)
      : world_(world),
        nodes_(nodes),
        blocked_(nodes * nodes),
        delay_(nodes * nodes, {50, 300}),
        deliver_(nodes) {}

  // Told of what arrives at a node; false: nobody is there.
  void on_arrival(NodeId node, std::function<bool(Arrival&&)> f) { deliver_[node] = std::move(f); }

  std::uint64_t open(NodeId owner, NodeId peer, std::string hello = {});
  void send(std::uint64_t connection, bool from_owner, Packet packet, std::string bytes);
  // One side closes; the other hears of it when that can reach it.
  void close(std::uint64_t connection, bool by_owner);
  void close_all_of(NodeId node);
  // Both sides lose it (a reset on the way).
  void reset(std::uint64_t connection);
  std::vector<std::uint64_t> connections() const;

  void block(NodeId from, NodeId to, bool on);
  bool blocked(NodeId from, NodeId to) const { return blocked_[from * nodes_ + to]; }
  void set_delay(NodeId from, NodeId to, Us low, Us high) {
    delay_[from * nodes_ + to] = {low, high};
  }
  void heal();

 private:
  struct InFlight {
    Us at;
    Packet packet;
    std::string bytes;
  };
  struct Way {
    NodeId from = 0, to = 0;
    std::deque<InFlight> queue;
    Us last = 0;
    bool open = true;  // the receiver still listens
  };
  struct Connection {
    Way out, back;  // from the owner, to the owner
  };
  Way& way(Connection& c, bool from_owner) { return from_owner ? c.out : c.back; }
  void put(std::uint64_t id, bool from_owner, Packet packet, std::string bytes);
  void pump(std::uint64_t id, bool from_owner);

  World& world_;
  std::size_t nodes_;
  std::vector<bool> blocked_;
  std::vector<std::pair<Us, Us>> delay_;
  std::vector<std::function<bool(Arrival&&)>> deliver_;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::uint64_t next_ = 1;
};

}  // namespace gyre::sim
