// CLUSTER, READONLY, READWRITE, ASKING: the ring in the words of Redis Cluster, for clients of
// cluster-client-port. Elsewhere there is no cluster, as on a Redis without it.
//
// Redis' model knows masters and replicas, one or the other. Each node is listed once, as the
// master of the slots that it acts for now (in this node's view); the other holders of a slot stand
// as its replicas in CLUSTER SLOTS alone, where that is said per range.

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/hash.h"
#include "ring/slot.h"
#include "server/session_parts.h"
#include "shard/walk.h"

namespace gyre {
namespace {

void disabled(SessionCall& call) {
  call.reply.error("This instance has cluster support disabled");
}

// Runs the handler for clients of cluster-client-port only.
template <SessionHandler run>
void cluster_only(SessionCall& call) {
  call.connection.cluster_aware ? run(call) : disabled(call);
}

// Who acts for each slot as this thread sees it; a node that does not exist where nobody can.
class View {
 public:
  explicit View(SessionCall& call)
      : call_(call), ring_(call.server().ring()), acting_(slots_total) {
    for (std::size_t s = 0; s < slots_total; ++s) {
      const Slot slot{static_cast<std::uint16_t>(s)};
      acting_[s] = call.worker.engine().acting_node(slot);
    }
  }

  const Ring& ring() const { return ring_; }
  NodeIndex acting(std::size_t slot) const { return acting_[slot]; }
  bool served(std::size_t slot) const { return acting_[slot].value < ring_.nodes().size(); }
  bool self(NodeIndex n) const { return n == call_.server().self(); }
  bool up(NodeIndex n) const { return self(n) || call_.worker.engine().peer(n).up; }

  // 40 hex digits, the same on every node and after every restart.
  std::string id(NodeIndex n) const {
    const std::string name = call_.server().config().cluster_name.get() + '\n' + ring_.node(n).name;
    char text[41];
    std::snprintf(
        text, sizeof text, "%016llx%016llx%08x", static_cast<unsigned long long>(hash64(name, 1)),
        static_cast<unsigned long long>(hash64(name, 2)), static_cast<unsigned>(hash64(name, 3)));
    return text;
  }

  // A node without a ring was never told its address: it is the one that the client dialled.
  std::string_view host(NodeIndex n) const {
    if (!call_.server().alone()) return ring_.node(n).client_host();
    std::string_view dialled = call_.connection.local_address();
    dialled = dialled.substr(0, dialled.rfind(':'));
    if (dialled.starts_with('[')) dialled = dialled.substr(1, dialled.size() - 2);
    return dialled;
  }

  std::uint16_t port(NodeIndex n) const {
    const bool own = call_.server().alone() && self(n);
    return own ? static_cast<std::uint16_t>(call_.server().config().cluster_client_port.get())
               : ring_.node(n).client_cluster_port();
  }

  // The slots that the node acts for, as [first, last] ranges.
  std::vector<std::pair<std::size_t, std::size_t>> ranges(NodeIndex n) const {
    std::vector<std::pair<std::size_t, std::size_t>> out;
    for (std::size_t s = 0; s < slots_total; ++s) {
      if (acting_[s] != n) continue;
      if (!out.empty() && out.back().second + 1 == s) {
        out.back().second = s;
      } else {
        out.emplace_back(s, s);
      }
    }
    return out;
  }

  // All nodes.
  template <class F>
  void each(F&& f) const {
    for (std::size_t n = 0; n < ring_.nodes().size(); ++n) {
      f(NodeIndex{static_cast<std::uint16_t>(n)});
    }
  }

 private:
  SessionCall& call_;
  const Ring& ring_;
  std::vector<NodeIndex> acting_;
};

// ---- the map

void put_node(Reply& reply, const View& view, NodeIndex n) {
  reply.array(4);
  reply.bulk(view.host(n));
  reply.integer(view.port(n));
  reply.bulk(view.id(n));
  reply.map(0);
}

// Placement draws each slot for itself, so ranges are short. Slots are joined when one node acts
// for them and the same others hold them: the order of the others is only a hint.
void slots(SessionCall& call) {
  const View view(call);
  const auto others = [&](std::size_t s) {
    std::vector<NodeIndex> nodes;
    for (const NodeIndex n : view.ring().replicas(Slot{static_cast<std::uint16_t>(s)})) {
      if (n != view.acting(s) && view.up(n) && view.port(n) != 0) nodes.push_back(n);
    }
    return nodes;
  };
  const auto same = [](std::vector<NodeIndex> a, std::vector<NodeIndex> b) { return a == b; };
  Reply& reply = call.reply;
  const std::size_t mark = reply.deferred();
  std::size_t ranges = 0;
  for (std::size_t first = 0, next = 0; first < slots_total; first = next) {
    next = first + 1;
    if (!view.served(first)) continue;
    const std::vector<NodeIndex> replicas = others(first);
    while (next < slots_total && view.acting(next) == view.acting(first) &&
           same(others(next), replicas)) {
      ++next;
    }
    reply.array(3 + replicas.size());
    reply.integer(static_cast<std::int64_t>(first));
    reply.integer(static_cast<std::int64_t>(next - 1));
    put_node(reply, view, view.acting(first));
    for (const NodeIndex n : replicas) put_node(reply, view, n);
    ++ranges;
  }
  reply.finish_array(mark, ranges);
}

void shards(SessionCall& call) {
  const View view(call);
  Reply& reply = call.reply;
  reply.array(view.ring().nodes().size());
  view.each([&](NodeIndex n) {
    const auto ranges = view.ranges(n);
    reply.map(2);
    reply.bulk("slots");
    reply.array(2 * ranges.size());
    for (const auto& [first, last] : ranges) {
      reply.integer(static_cast<std::int64_t>(first));
      reply.integer(static_cast<std::int64_t>(last));
    }
    reply.bulk("nodes");
    reply.array(1);
    reply.map(7);
    reply.bulk("id");
    reply.bulk(view.id(n));
    reply.bulk("port");
    reply.integer(view.port(n));
    reply.bulk("ip");
    reply.bulk(view.host(n));
    reply.bulk("endpoint");
    reply.bulk(view.host(n));
    reply.bulk("role");
    reply.bulk("master");
    reply.bulk("replication-offset");
    reply.integer(0);
    reply.bulk("health");
    reply.bulk(view.up(n) ? "online" : "fail");
  });
}

// <id> <ip:port@cport> <flags> <master> <ping-sent> <pong-recv> <config-epoch> <link-state> <slot>
// ...
void nodes(SessionCall& call) {
  const View view(call);
  std::string text;
  view.each([&](NodeIndex n) {
    const auto number = [](std::uint64_t value) { return std::to_string(value); };
    text += view.id(n) + ' ';
    text.append(view.host(n));
    text += ':' + number(view.port(n)) + '@' + number(view.ring().node(n).bus_port);
    text += view.self(n) ? " myself,master" : view.up(n) ? " master" : " master,fail";
    text += " - 0 0 " + number(view.ring().epoch());
    text += view.up(n) ? " connected" : " disconnected";
    for (const auto& [first, last] : view.ranges(n)) {
      text += ' ' + number(first);
      if (last != first) text += '-' + number(last);
    }
    text += '\n';
  });
  call.reply.verbatim("txt", text);
}

void info(SessionCall& call) {
  const View view(call);
  std::size_t served = 0, size = 0;
  for (std::size_t s = 0; s < slots_total; ++s) served += view.served(s) ? 1 : 0;
  view.each([&](NodeIndex n) { size += view.ranges(n).empty() ? 0 : 1; });
  std::string text;
  const auto field = [&](std::string_view name, std::uint64_t value) {
    text.append(name).append(":").append(std::to_string(value)).append("\r\n");
  };
  text += served == slots_total ? "cluster_state:ok\r\n" : "cluster_state:fail\r\n";
  field("cluster_slots_assigned", slots_total);
  field("cluster_slots_ok", served);
  field("cluster_slots_pfail", 0);
  field("cluster_slots_fail", slots_total - served);
  field("cluster_known_nodes", view.ring().nodes().size());
  field("cluster_size", size);
  field("cluster_current_epoch", view.ring().epoch());
  field("cluster_my_epoch", view.ring().epoch());
  call.reply.verbatim("txt", text);
}

void myid(SessionCall& call) {
  call.reply.bulk(View(call).id(call.server().self()));
}

// ---- slots and keys

void keyslot(SessionCall& call) {
  call.reply.integer(key_slot(call.args[2]).value);
}

std::optional<Slot> slot_of(std::int64_t number) {
  if (number < 0 || number >= static_cast<std::int64_t>(slots_total)) return std::nullopt;
  return Slot{static_cast<std::uint16_t>(number)};
}

// On this node's replica; 0 where it holds none.
void countkeysinslot(SessionCall& call) {
  const auto number = int_of(call, 2);
  if (!number) return;
  const auto slot = slot_of(*number);
  if (!slot) return call.reply.error("Invalid slot");
  const std::function<std::size_t(Worker&)> ask = [slot = *slot](Worker& w) {
    return w.space().keys_in(slot, DbIndex{0}, w.wall_ms());
  };
  ask_worker<std::size_t>(
      call, call.server().shard_of(*slot), ask,
      [](std::size_t&& n, Reply& reply) { reply.integer(static_cast<std::int64_t>(n)); });
}

void getkeysinslot(SessionCall& call) {
  const auto number = int_of(call, 2);
  if (!number) return;
  const auto count = int_of(call, 3);
  if (!count) return;
  const auto slot = slot_of(*number);
  if (!slot || *count < 0) return call.reply.error("Invalid slot or number of keys");
  using Keys = std::vector<std::string>;
  const auto most = static_cast<std::size_t>(*count);
  const std::function<Keys(Worker&)> ask = [slot = *slot, most](Worker& w) {
    Keys keys;
    ScanPlace at{slot, 0, false};
    while (!at.done && keys.size() < most) {
      at = scan_part(w.space(), DbIndex{0}, at, slot, nullptr, most - keys.size(), {}, w.wall_ms(),
                     [&](std::string_view key) {
                       if (keys.size() < most) keys.emplace_back(key);
                     });
    }
    return keys;
  };
  ask_worker<Keys>(call, call.server().shard_of(*slot), ask, [](Keys&& keys, Reply& reply) {
    reply.array(keys.size());
    for (const std::string& key : keys) reply.bulk(key);
  });
}

// ---- modes

void readonly(SessionCall& call) {
  call.connection.reading_replicas = true;
  call.reply.ok();
}

void readwrite(SessionCall& call) {
  call.connection.reading_replicas = false;
  call.reply.ok();
}

// Only Redis' slot migration needs it, and slots do not migrate by hand.
void asking(SessionCall& call) {
  call.reply.ok();
}

// What Redis' tools would change.
void by_hand(SessionCall& call) {
  if (!call.connection.cluster_aware && call.server().alone()) return disabled(call);
  call.reply.error("CLUSTER " + to_upper(call.args[1]) +
                   " does not apply: slots are placed by the ring; see GYRE NODES");
}

void other(SessionCall& call) {
  call.reply.error("unknown subcommand '" + std::string(call.args[1].substr(0, 128)) +
                   "'. Try CLUSTER HELP.");
}

constexpr auto rows = std::to_array<SessionRow>({
    {"CLUSTER", other},
    {"CLUSTER|SLOTS", cluster_only<slots>},
    {"CLUSTER|SHARDS", cluster_only<shards>},
    {"CLUSTER|NODES", cluster_only<nodes>},
    {"CLUSTER|INFO", cluster_only<info>},
    {"CLUSTER|MYID", cluster_only<myid>},
    {"CLUSTER|KEYSLOT", cluster_only<keyslot>},
    {"CLUSTER|COUNTKEYSINSLOT", cluster_only<countkeysinslot>},
    {"CLUSTER|GETKEYSINSLOT", cluster_only<getkeysinslot>},
    {"CLUSTER|ADDSLOTS", by_hand},
    {"CLUSTER|ADDSLOTSRANGE", by_hand},
    {"CLUSTER|BUMPEPOCH", by_hand},
    {"CLUSTER|DELSLOTS", by_hand},
    {"CLUSTER|DELSLOTSRANGE", by_hand},
    {"CLUSTER|FAILOVER", by_hand},
    {"CLUSTER|FLUSHSLOTS", by_hand},
    {"CLUSTER|FORGET", by_hand},
    {"CLUSTER|MEET", by_hand},
    {"CLUSTER|REPLICATE", by_hand},
    {"CLUSTER|RESET", by_hand},
    {"CLUSTER|SAVECONFIG", by_hand},
    {"CLUSTER|SET-CONFIG-EPOCH", by_hand},
    {"CLUSTER|SETSLOT", by_hand},
    {"READONLY", cluster_only<readonly>},
    {"READWRITE", cluster_only<readwrite>},
    {"ASKING", cluster_only<asking>},
});

}  // namespace

std::span<const SessionRow> cluster_handlers() {
  return rows;
}

}  // namespace gyre
