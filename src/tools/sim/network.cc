#include "tools/sim/network.h"

#include <algorithm>

namespace gyre::sim {

std::uint64_t Network::open(NodeId owner, NodeId peer, std::string hello) {
  auto c = std::make_unique<Connection>();
  c->out.from = c->back.to = owner;
  c->out.to = c->back.from = peer;
  const std::uint64_t id = next_++;
  connections_.emplace(id, std::move(c));
  put(id, true, Packet::hello, std::move(hello));
  return id;
}

void Network::send(std::uint64_t id, bool from_owner, Packet packet, std::string bytes) {
  const auto at = connections_.find(id);
  // Who has closed its receiving side has closed the connection.
  if (at == connections_.end() || !way(*at->second, !from_owner).open) return;
  put(id, from_owner, packet, std::move(bytes));
}

void Network::put(std::uint64_t id, bool from_owner, Packet packet, std::string bytes) {
  Way& w = way(*connections_.at(id), from_owner);
  const auto [low, high] = delay_[w.from * nodes_ + w.to];
  w.last = std::max(w.last, world_.now() + world_.draw(low, high));
  w.queue.push_back({w.last, packet, std::move(bytes)});
  world_.after(w.last - world_.now(), [this, id, from_owner] { pump(id, from_owner); });
}

void Network::pump(std::uint64_t id, bool from_owner) {
  while (true) {
    const auto at = connections_.find(id);
    if (at == connections_.end()) return;
    Way& w = way(*at->second, from_owner);
    if (w.queue.empty() || w.queue.front().at > world_.now()) return;
    if (blocked(w.from, w.to)) return;
    InFlight p = std::move(w.queue.front());
    w.queue.pop_front();
    const bool fin = p.packet == Packet::fin;
    const bool taken =
        !w.open || deliver_[w.to]({id, w.from, !from_owner, p.packet, std::move(p.bytes)});
    if (fin) {
      connections_.erase(id);
      return;
    }
    // Nobody listens there: the sender hears of a reset.
    if (!taken) {
      w.open = false;
      w.queue.clear();
      put(id, !from_owner, Packet::fin, {});
      return;
    }
  }
}

void Network::close(std::uint64_t id, bool by_owner) {
  const auto at = connections_.find(id);
  if (at == connections_.end()) return;
  Connection& c = *at->second;
  Way& in = way(c, !by_owner);
  if (!in.open) return;
  in.open = false;
  in.queue.clear();
  Way& out = way(c, by_owner);
  if (!out.open) {
    connections_.erase(at);
    return;
  }
  if (!out.queue.empty() && world_.chance(0.5)) {
    out.queue.resize(world_.random.below(out.queue.size() + 1));
  }
  put(id, by_owner, Packet::fin, {});
}

void Network::close_all_of(NodeId node) {
  for (const std::uint64_t id : connections()) {
    const auto at = connections_.find(id);
    if (at == connections_.end()) continue;
    if (at->second->out.from == node)
      close(id, true);
    else if (at->second->out.to == node)
      close(id, false);
  }
}

void Network::reset(std::uint64_t id) {
  const auto at = connections_.find(id);
  if (at == connections_.end()) return;
  Connection& c = *at->second;
  c.out.queue.clear();
  c.back.queue.clear();
  const bool owner_open = c.back.open, peer_open = c.out.open;
  if (owner_open) deliver_[c.back.to]({id, c.back.from, true, Packet::fin, {}});
  if (peer_open) deliver_[c.out.to]({id, c.out.from, false, Packet::fin, {}});
  connections_.erase(id);
}

std::vector<std::uint64_t> Network::connections() const {
  std::vector<std::uint64_t> out;
  for (const auto& [id, c] : connections_) out.push_back(id);
  return out;
}

void Network::block(NodeId from, NodeId to, bool on) {
  blocked_[from * nodes_ + to] = on;
  if (on) return;
  // What waited is sent again some time after.
  for (const std::uint64_t id : connections()) {
    Connection& c = *connections_.at(id);
    for (const bool from_owner : {true, false}) {
      Way& w = way(c, from_owner);
      if (w.from != from || w.to != to || w.queue.empty()) continue;
      const Us again = world_.now() + world_.draw(0, 200 * ms);
      for (InFlight& p : w.queue) p.at = std::max(p.at, again);
      w.last = std::max(w.last, again);
      world_.after(w.queue.front().at - world_.now(),
                   [this, id, from_owner] { pump(id, from_owner); });
    }
  }
}

void Network::heal() {
  for (NodeId a = 0; a < nodes_; ++a) {
    for (NodeId b = 0; b < nodes_; ++b) {
      if (blocked(a, b)) block(a, b, false);
      set_delay(a, b, 50, 300);
    }
  }
}

}  // namespace gyre::sim
