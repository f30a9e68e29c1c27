// GYRE VERIFY, SYNC and EXPLAIN: looking at replicas and at how they heal.

#include <algorithm>
#include <array>
#include <map>

#include "base/hash.h"
#include "ring/slot.h"
#include "server/session_parts.h"

namespace gyre {
namespace {

void put_number(Reply& reply, std::string_view name, std::int64_t value) {
  reply.bulk(name);
  reply.integer(value);
}

// ---- VERIFY

// Two pieces fit into a turn of the loop, which takes its mail twice.
constexpr int verify_piece = 128;
constexpr std::size_t slots_named_max = 100;  // of a kind in the answer

// Replicas of a peer beside those here.
struct Beside {
  Inquiries::Heard heard = Inquiries::Heard::answered;  // the worst of the shards
  std::size_t compared = 0;
  std::vector<std::uint16_t> differ;
};

struct Verified {
  std::int64_t slots = 0;
  std::vector<std::uint16_t> bad;
  std::map<std::uint16_t, Beside> peers;  // by node

  void add(const Verified& part) {
    slots += part.slots;
    bad.insert(bad.end(), part.bad.begin(), part.bad.end());
    for (const auto& [peer, b] : part.peers) {
      Beside& all = peers[peer];
      all.heard = std::max(all.heard, b.heard);
      all.compared += b.compared;
      all.differ.insert(all.differ.end(), b.differ.begin(), b.differ.end());
    }
  }
};

struct Verifying {
  std::uint64_t client, place;
  int protocol;
  ShardIndex home;
  std::size_t left;  // this and `all`: touched by the home thread alone
  Verified all;
};

void put_slots(Reply& reply, std::string_view name, std::vector<std::uint16_t> slots) {
  std::sort(slots.begin(), slots.end());
  if (slots.size() > slots_named_max) slots.resize(slots_named_max);
  reply.bulk(name);
  reply.array(slots.size());
  for (const std::uint16_t s : slots) reply.integer(s);
}

std::string_view name_of(Inquiries::Heard heard) {
  switch (heard) {
    case Inquiries::Heard::answered:
      return "answered";
    case Inquiries::Heard::silent:
      return "silent";
    case Inquiries::Heard::unreachable:
      break;
  }
  return "unreachable";
}

void verified(Worker& home, Verifying& v, const Verified& part) {
  v.all.add(part);
  if (--v.left > 0) return;
  const Ring& ring = home.server().ring();
  std::size_t differing = 0;
  for (const auto& [peer, b] : v.all.peers) differing += b.differ.size();
  std::string out;
  Reply reply(out, v.protocol);
  reply.map(5);
  put_number(reply, "slots", v.all.slots);
  put_number(reply, "bad", static_cast<std::int64_t>(v.all.bad.size()));
  put_slots(reply, "bad_slots", v.all.bad);
  put_number(reply, "slots_differing", static_cast<std::int64_t>(differing));
  reply.bulk("replicas");
  reply.array(v.all.peers.size());
  for (const auto& [peer, b] : v.all.peers) {
    reply.map(5);
    reply.bulk("node");
    reply.bulk(ring.node({peer}).name);
    reply.bulk("state");
    reply.bulk(name_of(b.heard));
    put_number(reply, "compared", static_cast<std::int64_t>(b.compared));
    put_number(reply, "differ", static_cast<std::int64_t>(b.differ.size()));
    put_slots(reply, "differ_slots", b.differ);
  }
  finish_later(home, v.client, v.place, std::move(out));
}

// What this thread has verified goes home when every peer was compared with.
struct Comparing {
  std::shared_ptr<Verifying> v;
  Verified done;
  std::size_t left = 1;

  void step(Worker& there) {
    if (--left > 0) return;
    there.send_mail(v->home,
                    [v = v, done = std::move(done)](Worker& home) { verified(home, *v, done); });
  }
};

void compare_beside(Worker& there, const std::shared_ptr<Verifying>& v, int first, int end,
                    Verified&& done) {
  const Ring& ring = there.engine().ring();
  const auto c = std::make_shared<Comparing>(Comparing{v, std::move(done)});
  for (std::size_t i = 0; i < ring.nodes().size(); ++i) {
    const NodeIndex peer{static_cast<std::uint16_t>(i)};
    if (peer == there.server().self()) continue;
    std::vector<Slot> both;
    for (int s = first; s < end; ++s) {
      const Slot slot{static_cast<std::uint16_t>(s)};
      if (there.engine().holds(slot) && ring.is_replica(peer, slot)) both.push_back(slot);
    }
    if (both.empty()) continue;
    ++c->left;
    there.engine().inquiries().ask_slots(peer, both, [c, &there](Inquiries::Slots&& told) {
      c->done.peers[told.peer.value] = {told.heard, told.compared, std::move(told.differ)};
      c->step(there);
    });
  }
  c->step(there);
}

// Slots [first, end) on their thread, from `at` on: a piece in each piece of mail.
void verify_piece_of(Worker& there, const std::shared_ptr<Verifying>& v, int first, int at, int end,
                     Verified&& done) {
  const int stop = std::min(end, at + verify_piece);
  for (; at < stop; ++at) {
    const Slot slot{static_cast<std::uint16_t>(at)};
    if (!there.engine().holds(slot)) continue;
    ++done.slots;
    if (!there.space().verify_digest(slot)) done.bad.push_back(slot.value);
  }
  if (at < end) {
    return there.post([v, first, at, end, done = std::move(done)](Worker& w) mutable {
      verify_piece_of(w, v, first, at, end, std::move(done));
    });
  }
  compare_beside(there, v, first, end, std::move(done));
}

// GYRE VERIFY [slot]
void verify(SessionCall& call) {
  Server& server = call.server();
  if (call.args.size() > 3) return call.reply.error(Errc::syntax);
  std::optional<Slot> only;
  if (call.args.size() == 3) {
    const auto number = int_of(call, 2);
    if (!number) return;
    if (*number < 0 || *number >= static_cast<std::int64_t>(slots_total))
      return call.reply.error("no such slot");
    only = Slot{static_cast<std::uint16_t>(*number)};
  }
  if (server.ring().replication_factor() == 1)
    return call.reply.error("digests are kept only where there is more than one replica");
  if (only && !call.worker.engine().ring().is_replica(server.self(), *only))
    return call.reply.error("this node holds no replica of the slot");
  if (refused_inline(call)) return;
  const auto v = std::make_shared<Verifying>(Verifying{
      call.connection.id, call.later(), call.reply.protocol(), call.worker.shard(), 0, {}});
  const std::size_t shards = server.shards();
  v->left = only ? 1 : shards;
  for (std::size_t i = 0; i < shards; ++i) {
    const ShardIndex shard{static_cast<std::uint16_t>(i)};
    if (only && server.shard_of(*only) != shard) continue;
    server.worker(shard).post([v, only](Worker& there) {
      const int first = only ? only->value : there.space().first_slot().value;
      const int count = only ? 1 : static_cast<int>(there.space().slot_count());
      verify_piece_of(there, v, first, first, first + count, {});
    });
  }
}

// ---- SYNC

using Progress = std::vector<PeerProgress>;  // by node

void put_progress(const std::vector<Progress>& shards, const std::vector<NodeIndex>& peers,
                  const Ring& ring, SteadyMs now, Reply& reply) {
  reply.array(peers.size());
  for (const NodeIndex n : peers) {
    PeerProgress all = shards.front()[n.value];
    for (std::size_t i = 1; i < shards.size(); ++i) all.join(shards[i][n.value]);
    reply.map(5);
    reply.bulk("peer");
    reply.bulk(ring.node(n).name);
    put_number(reply, "running", all.running);
    put_number(reply, "slots_left", static_cast<std::int64_t>(all.slots_left));
    put_number(reply, "last_completed_ms_ago",
               all.last_completed > 0 ? now - all.last_completed : -1);
    put_number(reply, "rounds", static_cast<std::int64_t>(all.rounds));
  }
}

// GYRE SYNC [peer] [NOW]
void sync(SessionCall& call) {
  const Ring& ring = call.server().ring();
  Args args = call.args.subspan(2);
  const bool now = !args.empty() && is_word(args.back(), "now");
  if (now) args = args.first(args.size() - 1);
  if (args.size() > 1) return call.reply.error(Errc::syntax);
  std::vector<NodeIndex> peers;
  for (std::size_t i = 0; i < ring.nodes().size(); ++i) {
    const NodeIndex n{static_cast<std::uint16_t>(i)};
    if (n == call.server().self()) continue;
    if (args.empty() || ring.node(n).name == args[0]) peers.push_back(n);
  }
  if (peers.empty()) return call.reply.error("no such peer");
  if (!now) {
    const std::function<Progress(Worker&)> ask = [](Worker& w) {
      Progress all;
      for (std::size_t i = 0; i < w.engine().ring().nodes().size(); ++i)
        all.push_back(
            PeerProgress::of(w.engine().sync().progress({static_cast<std::uint16_t>(i)})));
      return all;
    };
    Server& server = call.server();
    return ask_workers<Progress>(call, ask, [&server, peers](auto&& shards, Reply& reply) {
      put_progress(shards, peers, server.ring(), server.clock().steady_ms(), reply);
    });
  }
  if (ring.replication_factor() == 1)
    return call.reply.error("there is nothing to compare with one replica");
  // Whether a comparison with at least one of them began.
  const std::function<int(Worker&)> ask = [peers](Worker& w) {
    int begun = 0;
    for (const NodeIndex n : peers) {
      if (!w.engine().peer(n).up) continue;
      w.engine().sync().kick(n);
      ++begun;
    }
    return begun;
  };
  ask_workers<int>(call, ask, [](std::vector<int>&& begun, Reply& reply) {
    if (*std::min_element(begun.begin(), begun.end()) == 0)
      return reply.error(Error(Errc::ring_down, "no such peer can be reached"));
    reply.ok();
  });
}

// ---- EXPLAIN

constexpr std::size_t elements_shown = 20;

// A floor or a T lies just beside a stamp, so its node says nothing.
void put_bound(Reply& reply, Version v) {
  if (!v) return reply.null();
  reply.map(2);
  put_number(reply, "version", static_cast<std::int64_t>(v.bits));
  put_number(reply, "time_ms", v.ms());
}

void put_stamp(Reply& reply, const Ring& ring, Version v) {
  if (!v) return reply.null();
  const std::size_t node = v.node() / Identity::incarnations;
  reply.map(4);
  put_number(reply, "version", static_cast<std::int64_t>(v.bits));
  put_number(reply, "time_ms", v.ms());
  reply.bulk("node");
  reply.bulk(node < ring.nodes().size() ? ring.nodes()[node].name : "?");
  put_number(reply, "incarnation", v.node() % Identity::incarnations);
}

void put_element(Reply& reply, const Ring& ring, const ElementView& e) {
  reply.map(4);
  reply.bulk("id");
  reply.bulk(e.id);
  reply.bulk("stamp");
  put_stamp(reply, ring, e.cell.version);
  put_number(reply, "tombstone", e.cell.tombstone);
  reply.bulk("sums");
  const std::vector<Sum> sums = e.cell.has_sums ? e.cell.sums() : std::vector<Sum>{};
  reply.array(sums.size());
  for (const Sum& sum : sums) {
    reply.map(3);
    reply.bulk("opened");
    put_stamp(reply, ring, sum.id);
    reply.bulk("stamp");
    put_stamp(reply, ring, sum.version);
    reply.bulk("amount");
    reply.bulk(sum.amount);
  }
}

void put_record(Reply& reply, Worker& w, Slot slot, const Node* n, DbIndex db) {
  const Ring& ring = w.engine().ring();
  const KeySpace& space = w.space();
  const auto part = [&](std::string_view name) { reply.bulk(name); };
  reply.map(12);
  put_number(reply, "slot", slot.value);
  part("type");
  reply.bulk(!n ? "none" : record_stub(*n) ? "stub" : type_spec(stored_type(*n)).name);
  put_number(reply, "live", n && record_live(*n) && !record_expired(*n, w.wall_ms()));
  part("floor");
  put_bound(reply, n ? std::max(record_floor(*n), space.slot_floor(slot, db))
                     : space.slot_floor(slot, db));
  part("newest");
  put_stamp(reply, ring, n ? record_newest(*n) : Version{});
  part("expiry");
  if (n && n->has(Node::has_expiry)) {
    reply.map(2);
    put_number(reply, "at_ms", n->expiry().at_ms);
    part("stamp");
    put_stamp(reply, ring, n->expiry().version);
  } else {
    reply.null();
  }
  part("repaired");
  put_bound(reply, space.repaired(slot));
  part("acting");
  const NodeIndex acting = w.engine().acting_node(slot);
  acting.value < ring.nodes().size() ? reply.bulk(ring.node(acting).name) : reply.null();
  const Collection* c = n && n->has(Node::boxed) ? collection_of(*n) : nullptr;
  const bool string = n && stored_type(*n) == TypeId::string;
  put_number(reply, "elements",
             c        ? static_cast<std::int64_t>(c->live() + c->tombstones())
             : string ? 1
                      : 0);
  part("shown");
  const std::size_t mark = reply.deferred();
  std::size_t shown = 0;
  if (string) {
    put_element(reply, ring, {{}, string_cell(*n)});
    shown = 1;
  } else if (c) {
    c->for_each([&](const ElementView& e) {
      put_element(reply, ring, e);
      return ++shown < elements_shown;
    });
  }
  reply.finish_array(mark, shown);
}

std::string_view name_of(const Inquiries::Copy& c) {
  if (c.heard != Inquiries::Heard::answered) return name_of(c.heard);
  switch (c.what) {
    case FetchAnswer::What::same:
      return "same";
    case FetchAnswer::What::record:
      return "differs";
    case FetchAnswer::What::absent:
      return "absent";
    case FetchAnswer::What::unknown:
      break;
  }
  return "unsure";
}

// What decided over the value here, in a sentence.
std::string why(const Node* n, Version floor, UnixMs now, std::size_t asked, std::size_t heard,
                std::size_t ahead) {
  if (ahead > 0) return "it has not won: another replica has newer state, which will come here";
  if (!n && !floor)
    return "there is nothing: no replica of those that answered has heard of the key";
  const std::string among = " among the " + std::to_string(heard) + " of " + std::to_string(asked) +
                            " replicas that answered";
  if (!n || (!record_live(*n) && record_floor(*n) >= record_newest(*n)))
    return "deleted: the floor lies above every write known" + among;
  if (record_expired(*n, now)) return "expired: its expiry has the latest stamp" + among;
  if (!record_live(*n)) return "deleted: the tombstones have the latest stamps" + among;
  return "each element has the latest stamp, above the floor," + among;
}

// The replicas: who holds the same, who lacks something, who is ahead; and why the value won.
void put_copies(Reply& reply, Worker& w, Slot slot, const Node* n, DbIndex db,
                const std::vector<Inquiries::Copy>& copies) {
  const Ring& ring = w.engine().ring();
  Effect own;
  if (n) record_effect(*n, db, {}, own);
  own.floor = std::max(own.floor, w.space().slot_floor(slot, db));
  std::size_t heard = 1, ahead = 0;
  reply.bulk("replicas");
  reply.array(copies.size());
  for (const Inquiries::Copy& c : copies) {
    heard += c.heard == Inquiries::Heard::answered;
    Effect theirs;
    Reader in(c.record);
    // Behind it parts of transactions may stand, or alone.
    const bool has = !c.record.empty() && decode_effect(in, theirs) && theirs.db != prepared_db;
    const bool compares =
        c.heard == Inquiries::Heard::answered && c.what != FetchAnswer::What::same;
    const CopyDifference d = compares ? compare_copies(own, theirs) : CopyDifference{};
    ahead += d.ahead;
    reply.map(5);
    reply.bulk("node");
    reply.bulk(ring.node(c.peer).name);
    reply.bulk("state");
    reply.bulk(name_of(c));
    reply.bulk("newest");
    put_stamp(reply, ring,
              has                                      ? theirs.newest()
              : c.what == FetchAnswer::What::same && n ? record_newest(*n)
                                                       : Version{});
    put_number(reply, "lacks", static_cast<std::int64_t>(d.lacks));
    put_number(reply, "ahead", static_cast<std::int64_t>(d.ahead));
  }
  reply.bulk("why");
  reply.bulk(why(n, own.floor, w.wall_ms(), copies.size() + 1, heard, ahead));
}

// GYRE EXPLAIN key: what this node's replica knows of it, who wrote that, and what the others have.
void explain(SessionCall& call) {
  if (const auto no = call.worker.denied_read(call.connection, call.spec, call.args[2]))
    return call.reply.error(*no);
  const Slot slot = key_slot(call.args[2]);
  const Ring& ring = call.server().ring();
  if (!ring.is_replica(call.server().self(), slot)) {
    std::string names;
    for (const NodeIndex n : ring.replicas(slot)) names += " " + ring.node(n).name;
    return call.reply.error("this node holds no replica of the key's slot; these do:" + names);
  }
  if (refused_inline(call)) return;
  call.server()
      .worker(call.server().shard_of(slot))
      .post([slot, key = std::string(call.args[2]), db = call.connection.db,
             client = call.connection.id, place = call.later(), home = call.worker.shard(),
             protocol = call.reply.protocol()](Worker& w) {
        const auto find = [&w, slot, key, db] {
          return w.space().find(slot, db, key, key_hash(key));
        };
        const Node* const n = find();
        w.engine().inquiries().ask_record(
            slot, db, key, n ? record_digest(*n, db) : 0,
            [&w, slot, db, client, place, home, protocol,
             find](std::vector<Inquiries::Copy>&& copies) {
              std::string out;
              Reply reply(out, protocol);
              const Node* const now = find();
              put_record(reply, w, slot, now, db);
              put_copies(reply, w, slot, now, db, copies);
              w.send_mail(home, [client, place, out = std::move(out)](Worker& back) mutable {
                finish_later(back, client, place, std::move(out));
              });
            });
      });
}

constexpr auto rows = std::to_array<SessionRow>({
    {"GYRE|VERIFY", verify},
    {"GYRE|SYNC", sync},
    {"GYRE|EXPLAIN", explain},
});

}  // namespace

std::span<const SessionRow> inside_handlers() {
  return rows;
}

}  // namespace gyre
