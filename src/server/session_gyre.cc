// GYRE: the ring in its own words.

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "commands/table.h"
#include "ring/slot.h"
#include "server/session_parts.h"

namespace gyre {
namespace {

std::string address(std::string_view host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string_view::npos;
  return (v6 ? "[" + std::string(host) + "]" : std::string(host)) + ":" + std::to_string(port);
}

// Why a node should not act, in a word.
std::string_view unfit_text(std::uint8_t unfit) {
  if (unfit == 0) return "fit";
  if (unfit == (unfit_clock | unfit_disk)) return "unfit:clock,disk";
  return unfit & unfit_clock ? "unfit:clock" : "unfit:disk";
}

// Who says that node n is not to be heard; this node says so by its own detector.
std::string suspected_by(const Ring& ring, NodeIndex self, const Membership::Snapshot& seen,
                         std::size_t n) {
  std::string names;
  const auto add = [&](std::size_t who) {
    if (!names.empty()) names += ",";
    names += ring.node({static_cast<std::uint16_t>(who)}).name;
  };
  const Detector::State own = seen.peers[n].state;
  if (own == Detector::State::suspected || own == Detector::State::down) add(self.value);
  for (std::size_t i = 0; i < seen.peers.size(); ++i) {
    const auto& suspects = seen.peers[i].suspects;
    if (std::find(suspects.begin(), suspects.end(), n) != suspects.end()) add(i);
  }
  return names;
}

void field(Reply& reply, std::string_view name, std::string_view value) {
  reply.bulk(name);
  reply.bulk(value);
}

void field(Reply& reply, std::string_view name, std::int64_t value) {
  reply.bulk(name);
  reply.integer(value);
}

// What this node's detector knows of one, and what it says of itself.
void put_seen(Reply& reply, const Ring& ring, Server& server, const Membership::Snapshot& seen,
              std::size_t n) {
  const bool self = n == server.self().value;
  const bool known = n < seen.peers.size();
  const Detector::View v = known && !self ? seen.peers[n] : Detector::View{};
  Membership* const own = server.membership();
  field(reply, "detector", self ? "self" : Detector::name(v.state));
  field(reply, "answered-ms-ago", self ? 0 : v.answered_ago_ms);
  field(reply, "timeout-ms", v.timeout_ms);
  field(reply, "suspected-by", known ? suspected_by(ring, server.self(), seen, n) : std::string());
  field(reply, "clock-offset-ms", v.clock_known ? v.clock_base_ms - seen.base_ms : 0);
  field(reply, "transitions", static_cast<std::int64_t>(v.transitions));
  field(reply, "fitness", unfit_text(self ? (own ? own->unfit() : std::uint8_t{0}) : v.unfit));
  field(reply, "turn-us", static_cast<std::int64_t>(v.load.turn_us));
  field(reply, "waiting", static_cast<std::int64_t>(v.load.waiting));
}

// One map per node. State and acting slots as this node sees them now.
void nodes(SessionCall& call) {
  const Ring& ring = call.server().ring();
  const Engine& engine = call.worker.engine();
  std::vector<std::int64_t> acting(ring.nodes().size() + 1), held(ring.nodes().size());
  for (std::size_t s = 0; s < slots_total; ++s) {
    const Slot slot{static_cast<std::uint16_t>(s)};
    ++acting[std::min<std::size_t>(engine.acting_node(slot).value, ring.nodes().size())];
    for (const NodeIndex n : ring.replicas(slot)) ++held[n.value];
  }
  const Membership::Snapshot seen =
      call.server().membership() ? call.server().membership()->look() : Membership::Snapshot{};
  Reply& reply = call.reply;
  reply.array(ring.nodes().size());
  for (std::size_t i = 0; i < ring.nodes().size(); ++i) {
    const NodeIndex n{static_cast<std::uint16_t>(i)};
    const NodeInfo& node = ring.node(n);
    const bool self = n == call.server().self();
    reply.map(19);
    field(reply, "name", node.name);
    field(reply, "client-address", address(node.client_host(), node.client_port()));
    field(reply, "cluster-address", address(node.client_host(), node.client_cluster_port()));
    field(reply, "bus-address", address(node.host, node.bus_port));
    field(reply, "rack", node.rack);
    field(reply, "weight", node.weight);
    field(reply, "state", self ? "self" : engine.peer(n).up ? "up" : "down");
    field(reply, "epoch", static_cast<std::int64_t>(ring.epoch()));
    field(reply, "slots-acted", acting[i]);
    field(reply, "slots-held", held[i]);
    put_seen(reply, ring, call.server(), seen, i);
  }
}

void replicas(SessionCall& call) {
  const Ring& ring = call.server().ring();
  const auto list = ring.replicas(key_slot(call.args[2]));
  call.reply.array(list.size());
  for (const NodeIndex n : list) call.reply.bulk(ring.node(n).name);
}

// GYRE LOCAL command ...: what this node's replica says, merged with nobody's.
void local(SessionCall& call) {
  const Args args = call.args.subspan(2);
  Reply& reply = call.reply;
  const CommandSpec* spec = find_command(args);
  if (!spec) {
    return reply.error("unknown command '" + std::string(args[0].substr(0, 128)) +
                       "' in GYRE LOCAL");
  }
  if (!arity_ok(*spec, args.size())) {
    return reply.error("wrong number of arguments for '" + to_lower(spec->name) + "' command");
  }
  if (!spec->run || (spec->flags & (flag::write | flag::internal)) || !(spec->flags & flag::read)) {
    return reply.error("GYRE LOCAL runs commands that only read keys, and '" +
                       to_lower(spec->name) + "' is not one");
  }
  if (const auto no = call.worker.denied(call.connection, *spec, args)) return reply.error(*no);
  std::optional<Slot> slot;
  bool crossed = false;
  for_each_key(*spec, args, [&](std::size_t i) {
    const Slot one = key_slot(args[i]);
    crossed |= slot && *slot != one;
    slot = one;
  });
  if (crossed) return reply.error(Errc::cross_slot);
  if (!slot) return reply.error("GYRE LOCAL needs a command with a key");

  struct Answered {
    bool held = false;
    std::string bytes;
  };
  const auto owned = std::make_shared<const OwnedCommand>(*spec, call.connection.db, args);
  const std::function<Answered(Worker&)> ask = [owned, slot = *slot,
                                                protocol = reply.protocol()](Worker& w) {
    Answered a;
    a.held = w.engine().read_local({&owned->spec(), owned->args(), owned->db()}, slot, protocol,
                                   a.bytes);
    return a;
  };
  ask_worker<Answered>(call, call.server().shard_of(*slot), ask, [](Answered&& a, Reply& out) {
    if (!a.held) return out.error("this node holds no replica of the key's slot");
    out.raw(a.bytes);
  });
}

// Threads see their links for themselves: a node counts as alive when all of them reach it.
void status(SessionCall& call) {
  Server& server = call.server();
  const std::uint16_t self = server.self().value;
  std::int64_t alive = std::numeric_limits<std::int64_t>::max(), offset = 0;
  std::uint64_t hints = 0, differing = 0;
  for (std::size_t i = 0; i < server.shards(); ++i) {
    const Published& p = server.worker(ShardIndex{static_cast<std::uint16_t>(i)}).published();
    std::uint64_t up = p.peers_up_bits.load(std::memory_order_acquire);
    if (self < 64) up &= ~(std::uint64_t{1} << self);
    alive = std::min<std::int64_t>(alive, std::popcount(up) + 1);
    offset = std::max(offset, p.clock_offset_ms_max.load(std::memory_order_relaxed));
    hints += p.hints_pending.load(std::memory_order_relaxed);
    differing += p.slots_differing.load(std::memory_order_relaxed);
  }
  Reply& reply = call.reply;
  const auto number = [&](std::string_view name, std::int64_t value) {
    reply.bulk(name);
    reply.integer(value);
  };
  reply.map(5);
  number("nodes_alive", alive);
  number("hints_pending", static_cast<std::int64_t>(hints));
  number("slots_differing", static_cast<std::int64_t>(differing));
  number("epoch", static_cast<std::int64_t>(server.ring().epoch()));
  number("clock_offset_ms_max", offset);
}

// GYRE CONSISTENCY [READ level] [WRITE level]: of this connection.
void consistency(SessionCall& call) {
  const Args args = call.args;
  Reply& reply = call.reply;
  if (args.size() == 2) {
    reply.map(2);
    reply.bulk("read");
    reply.bulk(call.connection.levels.read.text());
    reply.bulk("write");
    reply.bulk(call.connection.levels.write.text());
    return;
  }
  Levels levels = call.connection.levels;
  for (std::size_t i = 2; i < args.size(); i += 2) {
    const bool read = is_word(args[i], "read");
    if (i + 1 == args.size() || (!read && !is_word(args[i], "write"))) {
      return reply.error(Errc::syntax);
    }
    if (!Level::parse(args[i + 1], read ? levels.read : levels.write)) {
      return reply.error("a level is one, quorum, all or a number of replicas");
    }
  }
  call.connection.levels = levels;
  reply.ok();
}

constexpr auto rows = std::to_array<SessionRow>({
    {"GYRE|NODES", nodes},
    {"GYRE|REPLICAS", replicas},
    {"GYRE|LOCAL", local},
    {"GYRE|STATUS", status},
    {"GYRE|CONSISTENCY", consistency},
});

}  // namespace

std::span<const SessionRow> gyre_handlers() {
  return rows;
}

}  // namespace gyre
