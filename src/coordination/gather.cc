// Gathers: merging the records of a command from other replicas before it runs.
//
// Happy path: start_gather() asks every replica that is up for each key -> answers are merged ->
// enough replicas have answered all keys -> the command runs; what differed is sent back with its
// original versions. A read at a level above ONE is answered when so many hold what was merged, on
// disk: what it tells, no later read at a quorum may miss. Too few can be reached: at R = ONE a
// read answers from what is there; a write whose effect depends on what it reads answers -NOQUORUM,
// unless its level is ONE; a read at a higher level answers -NOQUORUM.

#include <algorithm>

#include "base/hash.h"
#include "base/probe.h"
#include "coordination/engine.h"
#include "ring/slot.h"

namespace gyre {
namespace {

template <class F>
void for_each_key_of(const Request& r, F&& f) {
  for (const OwnedCommand& c : r.commands) {
    for_each_key(c.spec(), c.args(), [&](std::size_t i) { f(c.db(), c.args()[i]); });
  }
  for (const Watch& w : r.watches) f(w.db, std::string_view(w.key));
}

}  // namespace

void Engine::start_gather(Request&& request, int need, bool unsure) {
  const std::uint64_t id = next_id_++ << 8 | options_.shard.value;
  holds_.gather_begins(request.slot);
  Gather g;
  g.need = need;
  g.unsure = unsure;
  g.at = clock_.steady_ms();
  g.slot_digest = space_.slot_digest(request.slot);
  // Its own copy counts when it is known to hold what it acknowledged.
  g.have = state(request.slot).known ? 1 : 0;
  std::vector<Fetch> fetches;
  for_each_key_of(request, [&](DbIndex db, std::string_view key) {
    const Node* n = space_.find(request.slot, db, key, key_hash(key));
    fetches.push_back({.id = id,
                       .from_shard = options_.shard.value,
                       .db = db.value,
                       .key = key,
                       .digest = n ? record_digest(*n, db) : 0});
  });
  for (const NodeIndex peer : ring_->replicas(request.slot)) {
    if (peer == options_.self || !peers_[peer.value].view.up) continue;
    g.asked.push_back({.peer = peer, .left = static_cast<int>(fetches.size())});
    for (const Fetch& f : fetches) send(peer, shard_at(peer, request.slot), f);
  }
  g.request = std::move(request);
  gathers_.emplace(id, std::move(g));
  gather_step(id);
}

void Engine::on_fetch(NodeIndex from, const Fetch& m) {
  FetchAnswer answer;
  answer.id = m.id;
  const Slot slot = key_slot(m.key);
  std::string bytes;
  if (!space_.owns(slot) || !holds(slot) || !state(slot).known || !space_.has_database({m.db})) {
    answer.what = FetchAnswer::What::unknown;
  }
  Effect whole;
  whole.key = m.key;
  whole.db = {m.db};
  // Also a node that may lack something sends what it has: more is never worse.
  if (space_.owns(slot) && holds(slot) && space_.has_database({m.db})) {
    const Node* n = space_.find(slot, {m.db}, m.key, key_hash(m.key));
    const bool same = (n ? record_digest(*n, {m.db}) : 0) == m.digest;
    const Version floor = n ? Version{} : space_.slot_floor(slot, {m.db});
    if (n && !same) gyre::record_effect(*n, {m.db}, {}, whole);
    if (floor) {
      whole.version = whole.floor = floor;
      whole.whole = true;
    }
    if (answer.what != FetchAnswer::What::unknown) {
      answer.what = same ? FetchAnswer::What::same
                    : n  ? FetchAnswer::What::record
                         : FetchAnswer::What::absent;
    }
    if ((n || floor) && !same) {
      encode_effect(bytes, whole);
    }
    // Prepared parts belong to the slot: who begins to act for it settles them first.
    std::uint32_t count = 0;
    for (const std::string& key : holds_.prepared(slot))
      put_record(bytes, count, slot, prepared_db, key, {});
    answer.record = bytes;
    answer.unwritten = state(slot).changed > persisted_;
  }
  send(from, m.from_shard, answer);
}

void Engine::on_fetch_answer(NodeIndex from, const FetchAnswer& m) {
  const auto at = gathers_.find(m.id);
  if (at == gathers_.end()) return void(inquiries_.on_fetch_answer(from, m));
  Gather& g = at->second;
  const auto asked = std::find_if(g.asked.begin(), g.asked.end(),
                                  [from](const auto& a) { return a.peer == from; });
  if (asked == g.asked.end() || asked->left == 0) return;
  --asked->left;
  if (m.what == FetchAnswer::What::unknown) asked->bad = true;
  asked->unwritten |= m.unwritten;
  Reader in(m.record);
  while (in.left() > 0) {
    Effect effect;
    const ApplyResult* r = nullptr;
    if (decode_effect(in, effect) && key_slot(effect.key) == g.request.slot &&
        merge_from_peer(effect, r)) {
      g.differ.push_back({from, effect.db, std::string(effect.key)});
    } else {
      asked->bad = asked->refused = true;  // by the clocks: what it knows is not known here
      break;
    }
  }
  gather_step(m.id);
}

void Engine::gather_step(std::uint64_t id) {
  const auto at = gathers_.find(id);
  if (at == gathers_.end()) return;
  Gather& g = at->second;
  int have = g.have, possible = 0;
  for (const auto& a : g.asked) {
    have += a.left == 0 && !a.bad;
    possible += a.left > 0 && !a.bad;
  }
  // Every replica has answered: nobody knows more. One whose answer was lost has not, though its
  // link stands (peer_doubts; simulator, seed 1738).
  const bool all = static_cast<int>(g.asked.size()) == n_ - 1 &&
                   std::all_of(g.asked.begin(), g.asked.end(), [this](const auto& a) {
                     return a.left == 0 && !a.lost && !a.refused && peers_[a.peer.value].view.up;
                   });
  if (have >= g.need || all) return finish_gather(id, true);
  if (have + possible < g.need) finish_gather(id, false);
}

void Engine::finish_gather(std::uint64_t id, bool enough) {
  if (held_) [[unlikely]] {
    held_tasks_.push_back([this, id, enough] { finish_gather(id, enough); });
    return;
  }
  const auto found = gathers_.find(id);
  if (found == gathers_.end()) return;
  if (!found->second.request.runs_script()) return finish_gather_now(id, enough);
  host_.apart([this, id, enough] { finish_gather_now(id, enough); });
}

void Engine::finish_gather_now(std::uint64_t id, bool enough) {
  auto node = gathers_.extract(id);
  Gather& g = node.mapped();
  const Slot slot = g.request.slot;
  holds_.gather_ended(slot);
  if (space_.parts_touched()) [[unlikely]]
    look_at_parts();
  const std::uint32_t flags = g.request.flags();
  const bool writes = (flags & flag::write) != 0;
  if (!enough && ((writes && g.request.levels.write.of(n_) > 1) ||
                  (!writes && g.request.levels.read.of(n_) > 1))) {
    metrics_.no_quorum_replies.add();
    if (g.request.begun)
      deliver_error(g.request.ticket, Errc::no_quorum);
    else
      deliver_error(
          g.request.ticket,
          Error(Errc::no_quorum,
                "not enough replicas answered to know this key's state; nothing was written"));
    return drain(slot);
  }
  std::vector<CommandView> views;
  for (const OwnedCommand& c : g.request.commands) views.push_back(view_of(c));
  // What was merged may have been part of a transaction, which is settled first.
  if (const CommandView& first = views.front();
      holds_.held(slot) && holds_.passage(slot, *first.spec, first.args) != Holds::Passage::free)
    return holds_.wait_first(slot, std::move(g.request));
  const Job job = job_of(g.request);
  std::string out;
  std::uint64_t gate = 0;
  if (host_.gone(job.ticket)) return drain(slot);
  // The merge may have taken time, and moved the clock: the ceiling is judged again, before
  // executing.
  if (job.ceiling && space_.clock().peek(clock_.wall_ms()).ms() > job.ceiling) {
    metrics_.late_answers.add();
    GYRE_PROBE(late);
    deliver_late(job.ticket);
    return drain(slot);
  }
  if (enough && !writes && g.request.levels.read.of(n_) > 1) {
    const Ran ran = execute_or_park(views, job, out, gate, true);
    if (ran == Ran::parked || ran == Ran::pending) return drain(slot);  // pending: it begins anew
    confirm_read(std::move(g), std::move(out));
    return drain(slot);
  }
  if (!enough) metrics_.unsure_answers.add();
  repair_differing(g, 0, Repaired::answered);
  if (execute_or_park(views, job, out, gate, false) == Ran::done)
    deliver(job.ticket, std::move(out));
  drain(slot);
}

// Sends the state of its keys to each replica that was asked and lacks some of it.
void Engine::repair_differing(Gather& g, std::uint64_t id, Repaired which) {
  const Slot slot = g.request.slot;
  // 'Same' was said of the state before the merge.
  const bool moved = id != 0 && space_.slot_digest(slot) != g.slot_digest;
  for (auto& a : g.asked) {
    if (a.lost || (a.left > 0) != (which == Repaired::silent)) continue;
    Repair m;
    std::string bytes;
    if (moved || which == Repaired::silent) {
      for_each_key_of(g.request, [&](DbIndex db, std::string_view key) {
        put_record(bytes, m.count, slot, db, key, {});
      });
    } else {
      for (const auto& d : g.differ) {
        if (d.peer == a.peer) put_record(bytes, m.count, slot, d.db, d.key, {});
      }
    }
    // Also without content: its ack tells that what was there before is on disk.
    const bool writes = id != 0 && (a.unwritten || which == Repaired::silent);
    if (m.count == 0 && !writes) continue;
    m.id = id;
    m.from_shard = options_.shard.value;
    m.effects = bytes;
    if (m.count > 0) metrics_.read_repairs.add();
    send(a.peer, shard_at(a.peer, slot), m);
    a.repairing = true;
  }
}

// The reply to a read above ONE waits until its level holds what it tells, on disk: what a node
// lost with a crash, no later read would find (simulator, seed 1320).
void Engine::confirm_read(Gather&& g, std::string&& reply) {
  const std::uint64_t id = next_id_++ << 8 | options_.shard.value;
  repair_differing(g, id, Repaired::answered);
  Confirming c{.ticket = g.request.ticket,
               .reply = std::move(reply),
               .need = g.request.levels.read.of(n_),
               .holders = 0,
               .out = {},
               .own_turn = 0,
               .at = clock_.steady_ms()};
  const std::uint64_t changed = state(g.request.slot).changed;
  changed > persisted_ ? void(c.own_turn = changed) : void(++c.holders);
  const auto writes = [this](NodeIndex peer) {
    return !(peers_[peer.value].view.unfit & unfit_disk);
  };
  int likely = c.holders + (c.own_turn != 0 && !disk_failing_);
  for (const auto& a : g.asked) {
    if (a.repairing) {
      c.out.push_back(a.peer);
      likely += writes(a.peer);
    } else {
      const bool holds = !a.lost && !a.refused && a.left == 0;
      c.holders += holds;
      likely += holds;
    }
  }
  if (likely < c.need) {
    GYRE_PROBE(read_unwritten);
    repair_differing(g, id, Repaired::silent);
    for (const auto& a : g.asked) {
      if (a.repairing && a.left > 0) c.out.push_back(a.peer);
    }
  }
  confirms_.emplace(id, std::move(c));
  confirm_step(id);
}

void Engine::confirm_step(std::uint64_t id) {
  Confirming& c = confirms_.at(id);
  const int possible = c.holders + static_cast<int>(c.out.size()) + (c.own_turn != 0);
  if (c.holders < c.need && possible >= c.need) return;
  auto node = confirms_.extract(id);
  if (c.holders >= c.need) return deliver(c.ticket, std::move(c.reply));
  metrics_.no_quorum_replies.add();
  deliver_error(c.ticket, Errc::no_quorum);
}

bool Engine::on_read_repaired(NodeIndex from, std::uint64_t id) {
  const auto at = confirms_.find(id);
  if (at == confirms_.end()) return false;
  if (std::erase(at->second.out, from) == 0) return true;
  ++at->second.holders;
  confirm_step(id);
  return true;
}

template <class F>
void Engine::step_confirms(F&& changed) {
  std::vector<std::uint64_t> ids;
  for (auto& [id, c] : confirms_) {
    if (changed(c)) ids.push_back(id);
  }
  for (const std::uint64_t id : ids) confirm_step(id);
}

void Engine::confirms_persisted() {
  step_confirms([this](Confirming& c) {
    if (c.own_turn == 0 || c.own_turn > persisted_) return false;
    c.own_turn = 0;
    ++c.holders;
    return true;
  });
}

void Engine::fail_confirms(NodeIndex peer) {
  step_confirms([peer](Confirming& c) { return std::erase(c.out, peer) > 0; });
}

void Engine::time_out_confirms(SteadyMs now) {
  step_confirms([this, now](Confirming& c) {
    if (now - c.at <= options_.ack_timeout_ms) return false;
    c.out.clear();
    c.own_turn = 0;
    return true;
  });
}

// ---- those who wait for a slot

// Runs who waited, until one of them needs a gather itself.
void Engine::drain(Slot slot) {
  std::deque<Request> waiting = holds_.take_waiting(slot);
  while (!waiting.empty()) {
    Request r = std::move(waiting.front());
    waiting.pop_front();
    // Here, also when another node acts by now: what waited in line stays behind what went before
    // it.
    if (!host_.gone(r.ticket)) act_request(std::move(r));
    if (holds_.busy(slot)) return holds_.wait_behind(slot, std::move(waiting));
  }
}

void Engine::look_at_parts() {
  if (alone_) return void(space_.take_parts_touched());
  holds_.notice();
}

// Those who waited go on, and transactions with what they were answered.
bool Engine::go_on_behind_holds() {
  bool any = false;
  if (space_.parts_touched()) look_at_parts();
  for (std::vector<Slot> released; !held_ && !(released = holds_.take_released()).empty();) {
    for (const Slot slot : released) drain(slot);
    if (space_.parts_touched()) look_at_parts();
    any = true;
  }
  if (held_) return any;
  any |= transactions_.run();
  any |= go_on_walks();
  return any;
}

}  // namespace gyre
