// INFO's sections of a ring: its members, and how it heals.

#include <algorithm>
#include <optional>

#include "server/info_lines.h"

namespace gyre {
namespace {

std::string bus_bytes(const InfoLines& out, NodeIndex peer) {
  std::uint64_t sent = 0, received = 0, heartbeat_sent = 0, heartbeat_received = 0;
  out.each_worker([&](Worker& w) {
    const BusBytes& b = w.published().inside.peer(peer).bus;
    sent += b.sent.get();
    received += b.received.get();
    heartbeat_sent += b.heartbeat_sent.get();
    heartbeat_received += b.heartbeat_received.get();
  });
  return ",bytes_sent=" + std::to_string(sent) + ",bytes_received=" + std::to_string(received) +
         ",heartbeat_bytes_sent=" + std::to_string(heartbeat_sent) +
         ",heartbeat_bytes_received=" + std::to_string(heartbeat_received);
}

// Whether this node may act, and a line for each peer as the detector sees it.
void membership_lines(InfoLines& out, const Ring& ring) {
  Membership* const membership = out.server().membership();
  if (!membership) return;
  const Membership::Snapshot seen = membership->look();
  const std::uint8_t unfit = membership->unfit();
  out.put("fit", unfit == 0 ? 1 : 0);
  out.put("unfit_clock", unfit & unfit_clock ? 1 : 0);
  out.put("unfit_disk", unfit & unfit_disk ? 1 : 0);
  out.put_signed("clock_off_median_ms", seen.clock_off_ms);
  out.put_signed("clock_jump_ms", seen.clock_jump_ms);
  for (std::size_t n = 0; n < seen.peers.size(); ++n) {
    const NodeIndex node{static_cast<std::uint16_t>(n)};
    if (node == out.server().self()) continue;
    const Detector::View& v = seen.peers[n];
    std::string line = "state=";
    line += Detector::name(v.state);
    line += ",link=";
    line += out.worker.engine().peer(node).up ? "up" : "down";
    line += ",answered_ms_ago=" + format_int(v.answered_ago_ms);
    line += ",timeout_ms=" + format_int(v.timeout_ms);
    line += ",offset_ms=" + format_int(v.clock_known ? v.clock_base_ms - seen.base_ms : 0);
    line += ",unfit=" + format_int(v.unfit);
    line += ",transitions=" + std::to_string(v.transitions);
    line += ",suspects=";
    for (std::size_t i = 0; i < v.suspects.size(); ++i) {
      if (v.suspects[i] >= ring.nodes().size()) continue;
      line += (i ? "+" : "") + ring.node({v.suspects[i]}).name;
    }
    line += bus_bytes(out, node);
    out.put("peer_" + ring.node(node).name, line);
  }
}

// One line per other node: f(node) gives what follows its name.
template <class F>
void each_peer(InfoLines& out, std::string_view prefix, F&& f) {
  const Ring& ring = out.server().ring();
  for (std::size_t i = 0; i < ring.nodes().size(); ++i) {
    const NodeIndex n{static_cast<std::uint16_t>(i)};
    if (n == out.server().self()) continue;
    out.put(std::string(prefix) + std::to_string(i), "name=" + ring.node(n).name + f(n));
  }
}

}  // namespace

void info_ring(InfoLines& out) {
  Server& server = out.server();
  const Ring& ring = server.ring();
  const Engine& engine = out.worker.engine();
  std::uint64_t up = 1, held = 0, acting = 0;
  std::int64_t offset = 0;
  for (std::size_t n = 0; n < ring.nodes().size(); ++n) {
    const NodeIndex node{static_cast<std::uint16_t>(n)};
    if (node != server.self() && engine.peer(node).up) ++up;
  }
  for (std::size_t s = 0; s < slots_total; ++s) {
    const Slot slot{static_cast<std::uint16_t>(s)};
    held += ring.is_replica(server.self(), slot) ? 1 : 0;
    acting += engine.acting_node(slot) == server.self() ? 1 : 0;
  }
  out.each_worker([&](Worker& w) {
    offset = std::max(offset, w.published().clock_offset_ms_max.load(std::memory_order_relaxed));
  });
  out.put("cluster_name", server.config().cluster_name.get());
  out.put("node_name", ring.node(server.self()).name);
  out.put("nodes", ring.nodes().size());
  out.put("nodes_alive", up);
  out.put("serving", server.serving() ? 1 : 0);
  out.put("epoch", ring.epoch());
  out.put_signed("replication_factor", ring.replication_factor());
  out.put("write_consistency", server.config().write_consistency.get());
  out.put("read_consistency", server.config().read_consistency.get());
  out.put("slots_held", held);
  out.put("slots_acted", acting);
  out.put_signed("clock_offset_ms_max", offset);
  out.put("settings", server.ring_settings.count());
  out.put("settings_bytes", server.ring_settings.bytes());
  membership_lines(out, ring);
  for (std::size_t k = 1; k < kind_names.size(); ++k) {
    std::uint64_t bytes = 0;
    out.each_worker([&](Worker& w) { bytes += w.published().inside.kinds()[k].get(); });
    if (bytes > 0) out.put("bus_received_" + std::string(kind_names[k]), bytes);
  }
  out.metrics("ring");
}

void info_hints(InfoLines& out) {
  std::uint64_t pending = 0;
  out.each_worker(
      [&](Worker& w) { pending += w.published().hints_pending.load(std::memory_order_relaxed); });
  out.put("hints_pending", pending);
  out.put_signed("hints_max", out.server().config().hints_max);
  out.metrics("hints");
  const UnixMs now = out.server().clock().wall_ms();
  each_peer(out, "hints_peer", [&](NodeIndex n) {
    constexpr auto relaxed = std::memory_order_relaxed;
    std::uint64_t waiting = 0, dropped = 0, marks = 0;
    UnixMs oldest = now;
    out.each_worker([&](Worker& w) {
      const PublishedInside::Peer& p = w.published().inside.peer(n);
      waiting += p.hints.load(relaxed);
      dropped += p.hints_dropped.load(relaxed);
      marks += p.marks.load(relaxed);
      if (const UnixMs made = p.oldest_hint_ms.load(relaxed); made > 0)
        oldest = std::min(oldest, made);
    });
    return ",pending=" + std::to_string(waiting) + ",oldest_ms=" + std::to_string(now - oldest) +
           ",dropped=" + std::to_string(dropped) + ",marks=" + std::to_string(marks);
  });
}

void info_antientropy(InfoLines& out) {
  std::uint64_t differing = 0, tombstones = 0, purgeable = 0;
  out.each_worker([&](Worker& w) {
    const Published& p = w.published();
    differing += p.slots_differing.load(std::memory_order_relaxed);
    for (const Published::Db& db : p.dbs)
      tombstones += db.tombstones.load(std::memory_order_relaxed);
    purgeable += p.inside.slots_purgeable();
  });
  out.put("slots_differing", differing);
  out.put("tombstones", tombstones);
  out.put("slots_purgeable", purgeable);
  out.metrics("antientropy");
  const SteadyMs now = out.server().clock().steady_ms();
  each_peer(out, "sync_peer", [&](NodeIndex n) {
    std::optional<PeerProgress> all;
    out.each_worker([&](Worker& w) {
      const PeerProgress one = w.published().inside.peer(n).progress();
      all ? all->join(one) : void(all = one);
    });
    const std::int64_t ago = all->last_completed > 0 ? now - all->last_completed : -1;
    return ",last_completed_ms_ago=" + std::to_string(ago) +
           ",rounds=" + std::to_string(all->rounds) +
           ",slots_left=" + std::to_string(all->slots_left) +
           ",running=" + (all->running ? "1" : "0");
  });
}

void info_conflicts(InfoLines& out) {
  out.metrics("conflicts");
}

}  // namespace gyre
