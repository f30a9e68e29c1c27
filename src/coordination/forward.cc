// Forwarding: this node coordinates, another one acts.
//
// Happy path: route() finds who acts -> forward() with a ceiling -> the answer comes back.
// Failures: the link breaks or is silent past the give-up time: the next replica acts, with its
// clock moved above every ceiling the first was given, so what the first still does can only lose;
// what must not run twice goes on only if it never left. LATE: once more with the clock named in
// the answer.

#include <algorithm>

#include "base/hash.h"
#include "base/log.h"
#include "base/probe.h"
#include "coordination/engine.h"
#include "shard/lookup.h"

namespace gyre {

void Engine::route(Request&& request) {
  if (host_.gone(request.ticket)) return;  // it may have said the same again elsewhere
  const NodeIndex target = acting_node(request.slot);
  if (target == options_.self) return act_request(std::move(request));
  if (target.value >= peers_.size()) {
    metrics_.no_quorum_replies.add();
    if (request.begun) return deliver_error(request.ticket, Errc::no_quorum);
    return deliver_error(
        request.ticket,
        serving_ ? Error(Errc::ring_down) : Error(Errc::loading, "Gyre is waiting for its ring"));
  }
  forward(std::move(request), target);
}

UnixMs Engine::stamps_of(NodeIndex peer) const {
  const Peer& p = peers_[peer.value];
  // What it has seen from others may have moved its stamps ahead of its wall clock.
  return clock_.wall_ms() +
         std::clamp(p.stamps_ahead_ms, p.view.offset_ms, p.view.offset_ms + options_.max_skew_ms);
}

// Messages go by two connections. What this node did in the slot itself, and the target has not
// acknowledged, may get there after the command, and may have been acknowledged to a client.
bool Engine::may_overtake(Slot slot, NodeIndex target) {
  const std::uint64_t made = state(slot).made;
  const Turn* t = made != 0 ? find_turn(made) : nullptr;
  if (!t || (!t->peers.empty() && t->peers[target.value].state == PeerPart::State::acked))
    return false;
  GYRE_PROBE(overtook_effects);
  return true;
}

void Engine::forward(Request&& request, NodeIndex target) {
  Line& line = lines_[line_of(request)];
  if (!line.waiting.empty() && request.ticket.connection != 0) {
    ++waiting_in_lines_;
    return line.waiting.push_back({std::move(request), target});
  }
  Peer& p = peers_[target.value];
  metrics_.forwarded_commands.add();
  // Beyond the acting node's clock never more than half of the skew bound.
  const std::int64_t ahead = std::min(host_.give_up_ms(target), options_.max_skew_ms / 2);
  const UnixMs ceiling = (request.late ? request.ceiling : stamps_of(target)) + ahead;
  p.highest_ceiling = std::max(p.highest_ceiling, ceiling);
  // Whoever stands before the target in the preference list was bypassed: the target stamps above
  // all that those were allowed.
  UnixMs above = request.above;
  for (const NodeIndex n : ring_->replicas(request.slot)) {
    if (n == target) break;
    if (n != options_.self) above = std::max(above, peers_[n.value].highest_ceiling);
  }
  const std::uint64_t id = next_id_++ << 8 | options_.shard.value;
  Forward m;
  m.id = id;
  m.from_shard = options_.shard.value;
  m.slot = request.slot.value;
  m.protocol = static_cast<std::uint8_t>(request.protocol);
  m.write_level = request.levels.write.value;
  m.read_level = request.levels.read.value;
  m.exec = request.exec;
  // Steps of a transaction need not see what its hold has gathered.
  m.moved = moves_to(request.slot, target) ||
            (!Holds::ends(request) && may_overtake(request.slot, target));
  m.wait = request.wait;
  m.waited = request.waited;
  m.tracks = request.tracking.remembers && !holds(request.slot);
  if (!request.tracking.reader.is_peer() && holds(request.slot))
    m.client = request.tracking.reader.client;
  m.ceiling_ms = std::max(ceiling, above + ahead);
  m.above_ms = above;
  for (const Watch& w : request.watches) m.watches.push_back({w.db.value, w.key, w.version});
  std::string rights;
  for (const OwnedCommand& c : request.commands) {
    if (c.rights) rights = c.rights->text();  // one client's, so the same for all
  }
  m.rights = rights;
  for (const OwnedCommand& c : request.commands)
    m.commands.push_back({c.db().value, {c.args().begin(), c.args().end()}});
  p.highest_ceiling = std::max(p.highest_ceiling, m.ceiling_ms);
  const std::uint16_t shard = shard_at(target, request.slot);
  send(target, shard, m);
  p.unsent.push_back(id);
  ++line.out;
  if (request.flags() & flag::write) line.write = std::max(line.write, request.ticket.id);
  forwards_.emplace(
      id, Forwarded{.request = std::move(request), .target = target, .at = clock_.steady_ms()});
}

// A connection's commands for one slot are a line: no write is run again after a later command has
// run, and no read after a later write was sent, which may have run: the read would tell of it.
// Commands of no connection stand each for itself.
std::uint64_t Engine::line_of(const Request& request) {
  return request.ticket.connection << 14 | request.slot.value;
}

Request Engine::take_forward(std::uint64_t id, Back back) {
  auto node = forwards_.extract(id);
  Request request = std::move(node.mapped().request);
  const std::uint64_t key = line_of(request), place = request.ticket.id;
  const auto at = lines_.find(key);
  Line& line = at->second;
  const bool writes = (request.flags() & flag::write) != 0;
  request.overtaken = request.ticket.connection != 0 && (writes ? line.ran : line.write) > place;
  if (back == Back::ran) line.ran = std::max(line.ran, place);
  if (back != Back::late && writes) line.written = std::max(line.written, place);
  if (--line.out > 0) return request;
  if (line.waiting.empty() && (back != Back::late || request.ticket.connection == 0))
    lines_.erase(at);
  else
    lines_back_.push_back(key);
  return request;
}

// What came late goes again, and what waited for that goes after it. True: some went.
bool Engine::go_on_in_lines() {
  if (lines_back_.empty()) return false;
  for (const std::uint64_t key : std::exchange(lines_back_, {})) {
    const auto at = lines_.find(key);
    if (at == lines_.end() || at->second.out > 0) continue;
    Line line = std::move(at->second);
    lines_.erase(at);
    waiting_in_lines_ -= line.waiting.size();
    std::sort(line.waiting.begin(), line.waiting.end(), [](const auto& a, const auto& b) {
      return a.request.ticket.id < b.request.ticket.id;
    });
    for (auto& [request, target] : line.waiting) {
      const bool writes = (request.flags() & flag::write) != 0;
      if (request.late && (writes ? line.ran : line.written) > request.ticket.id) {
        fail_late(std::move(request));
        continue;
      }
      if (acting_node(request.slot) != target) {
        request.late = false;
        request.ceiling = 0;
      }
      route(std::move(request));
    }
  }
  return true;
}

void Engine::fail_late(Request&& request) {
  metrics_.no_quorum_replies.add();
  if (request.begun) return deliver_error(request.ticket, Errc::no_quorum);
  deliver_error(request.ticket, Error(Errc::no_quorum, std::string(came_too_late)));
}

void Engine::reroute(Request&& request, NodeIndex failed, bool left) {
  if (left) GYRE_PROBE(taken_broken);
  const std::uint32_t flags = request.flags();
  const bool once = (flags & flag::once) != 0 || request.overtaken;
  if ((once && left) || ++request.hops > n_ + 1) {
    metrics_.no_quorum_replies.add();
    return deliver_error(
        request.ticket,
        Error(Errc::no_quorum,
              "the node that acts for this key stopped answering; a write may survive"));
  }
  metrics_.forward_retries.add();
  // The next one stamps above what the first may still do; the first itself, asked again, needs
  // not.
  if (!peers_[failed.value].view.up)
    request.above = std::max(request.above, peers_[failed.value].highest_ceiling);
  request.late = false;
  request.ceiling = 0;
  request.begun |= left && (request.flags() & flag::write) != 0;
  route(std::move(request));
}

void Engine::time_out_forwards(SteadyMs now) {
  std::vector<std::uint64_t> old;
  for (const auto& [id, f] : forwards_) {
    if (now - f.at > 3 * options_.ack_timeout_ms) old.push_back(id);
  }
  for (const std::uint64_t id : old) {
    LOG_SELDOM(notice, "%s did not answer a command in time",
               ring_->node(forwards_.at(id).target).name.c_str());
    metrics_.no_quorum_replies.add();
    deliver_error(take_forward(id, Back::ran).ticket, Errc::no_quorum);
  }
  old.clear();
  for (const auto& [id, g] : gathers_) {
    if (now - g.at > options_.ack_timeout_ms) old.push_back(id);
  }
  for (const std::uint64_t id : old) {
    LOG_SELDOM(notice, "replicas did not answer a question about slot %u in time",
               gathers_.at(id).request.slot.value);
    finish_gather(id, false);
  }
  time_out_confirms(now);
  old.clear();
  for (const auto& [id, w] : walks_) {
    if (now - w.at > 5 * options_.ack_timeout_ms) old.push_back(id);
  }
  for (const std::uint64_t id : old) {
    auto node = walks_.extract(id);
    node.mapped().result.failed = true;
    end_walk(std::move(node.mapped()));
  }
}

void Engine::on_forward(NodeIndex from, const Forward& m) {
  Request r;
  r.ticket = {.remote = true, .shard = m.from_shard, .peer = from, .connection = 0, .id = m.id};
  r.slot = {m.slot};
  if (m.slot >= slots_total || !space_.owns(r.slot) || m.commands.empty() ||
      (m.protocol != 2 && m.protocol != 3)) {
    return deliver_error(r.ticket,
                         Error(Errc::err, "a forwarded command for a slot that is not here"));
  }
  r.protocol = m.protocol;
  r.levels = {.write = {m.write_level}, .read = {m.read_level}};
  r.exec = m.exec;
  r.ceiling = m.ceiling_ms;
  r.above = m.above_ms;
  r.wait = m.wait;
  r.spans = true;  // who forwarded it knows
  r.waited = m.waited;
  if (m.tracks) r.tracking = {.reader = TrackingClient::of_peer(from.value), .remembers = true};
  r.tracking.elsewhere = m.client;
  for (const WireWatch& w : m.watches) r.watches.push_back({{w.db}, std::string(w.key), w.version});
  const ScriptRightsPtr rights = m.rights.empty() ? nullptr : host_.rights_from(m.rights);
  if (!m.rights.empty() && !rights) {
    return deliver_error(
        r.ticket, Error(Errc::err, "a forwarded script whose rights this node does not know"));
  }
  for (const WireCommand& c : m.commands) {
    const CommandSpec* spec = lookup_command(c.args);
    if (!spec || !spec->run || c.args.empty() || !arity_ok(*spec, c.args.size()) ||
        !space_.has_database({c.db})) {
      return deliver_error(r.ticket,
                           Error(Errc::err, "a forwarded command that this node does not know"));
    }
    r.commands.emplace_back(*spec, DbIndex{c.db}, c.args);
    r.commands.back().rights = rights;
  }
  // Forwarded once: this node acts, whatever its own view is, or refuses. It never sends it on.
  if (!holds(r.slot) || !serving_) {
    return deliver_error(r.ticket,
                         Error(Errc::ring_down, "the node asked does not act for this slot"));
  }
  if (m.moved) {
    GYRE_PROBE(moved);
    make_unsure(r.slot);
  }
  Arrived arrived{.request = std::move(r)};
  const OwnedCommand& first = arrived.request.commands.front();
  if (arrived.request.commands.size() == 1 && first.spec().plain) {
    arrived.plain = true;
    arrived.hash = key_hash(first.args()[1]);
    space_.prefetch_slot(arrived.request.slot);
    prefetch_slot(arrived.request.slot);
  }
  arrived_.push_back(std::move(arrived));
}

void Engine::run_arrived() {
  std::vector<Arrived> arrived;
  arrived.swap(arrived_);
  const std::size_t many = arrived.size();
  constexpr std::size_t apart = 4;
  const auto group = [&](std::size_t i) {
    const Arrived& a = arrived[i];
    if (a.plain) space_.prefetch_group(a.request.slot, a.request.commands.front().db(), a.hash);
  };
  const auto record = [&](std::size_t i) {
    const Arrived& a = arrived[i];
    if (a.plain) space_.prefetch_node(a.request.slot, a.request.commands.front().db(), a.hash);
  };
  for (std::size_t i = 0; i < std::min(2 * apart, many); ++i) group(i);
  for (std::size_t i = 0; i < std::min(apart, many); ++i) record(i);
  const UnixMs now = clock_.wall_ms();
  for (std::size_t i = 0; i < many; ++i) {
    if (i + 2 * apart < many) group(i + 2 * apart);
    if (i + apart < many) record(i + apart);
    Arrived& a = arrived[i];
    const Known known{.now = now, .slot = a.request.slot, .hash = a.hash, .known = a.plain};
    act_request(std::move(a.request), known);
  }
  arrived.clear();
  if (arrived_.empty()) arrived_.swap(arrived);
}

void Engine::on_forward_answer(NodeIndex from, const ForwardAnswer& m) {
  const auto at = forwards_.find(m.id);
  if (at == forwards_.end() || at->second.target != from) return;
  Request request = take_forward(m.id, m.late ? Back::late : Back::ran);
  peers_[from.value].stamps_ahead_ms = m.clock_ms - clock_.wall_ms();
  if (m.parked && request.wait) {
    waiters_.away(request.wait, from, request.slot);
    return host_.parked(request.ticket, {request.wait, m.wait_ms, {m.args.begin(), m.args.end()}});
  }
  if (request.wait && !m.late) waiters_.back(request.wait);
  if (!m.late) {
    // Remote tickets are never forwarded again, so this is a client of this node.
    if (request.begun && (m.reply.starts_with("-NOQUORUM") || m.reply.starts_with("-RINGDOWN") ||
                          m.reply.starts_with("-MISCONF"))) {
      return deliver_error(request.ticket, Errc::no_quorum);
    }
    if (m.reply.starts_with('-') && request.runs_script() && strayed(request, m.reply)) return;
    return deliver(request.ticket, std::string(m.reply));
  }
  // Nothing ran, so that it may be tried again: once for the clocks, more often for a busy machine.
  if (request.late && ++request.hops > n_ + 1) return fail_late(std::move(request));
  request.late = true;
  request.ceiling = m.clock_ms;
  if (request.ticket.connection == 0) return forward(std::move(request), from);
  ++waiting_in_lines_;
  lines_.at(line_of(request)).waiting.push_back({std::move(request), from});
}

}  // namespace gyre
