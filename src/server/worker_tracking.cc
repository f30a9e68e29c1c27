// Invalidations: from the shard where a key has changed to the clients that may have it cached.
//
// Happy path: a command has run -> what TrackedKeys hands out goes to the clients' threads, behind
// the reply to what they read before, as mail keeps its order -> the client, or the one it is
// redirected to, gets it between its replies.
// A client that has gone or tracks no more is passed over. One whose redirection is gone is told
// so. What clients of another node have read here goes to that node (Invalidate); a node that loses
// its link to another one tells its clients that everything has changed, unless it has a replica of
// every slot itself.

#include <utility>

#include "base/bytes.h"
#include "ring/slot.h"
#include "server/server.h"
#include "server/worker.h"

namespace gyre {
namespace {

constexpr std::string_view invalidations = "__redis__:invalidate";

void put_keys(Reply& reply, const TrackedKeys::Told& told) {
  if (told.all) return reply.null();
  reply.array(told.keys.size());
  for (const std::string& key : told.keys) reply.bulk(key);
}

std::string frame_of(const TrackedKeys::Told& told, int protocol) {
  std::string frame;
  Reply reply(frame, protocol);
  if (protocol == 3) {
    reply.push(2);
    reply.bulk("invalidate");
  } else {
    reply.array(3);
    reply.bulk("message");
    reply.bulk(invalidations);
  }
  put_keys(reply, told);
  return frame;
}

}  // namespace

void TrackedPrefixes::add(const Prefixes& prefixes) {
  const std::lock_guard lock(mutex_);
  if (!changed_) return;
  bool more = false;
  for (const std::string& p : prefixes) more |= clients_[p]++ == 0;
  if (more) say();
}

void TrackedPrefixes::remove(const Prefixes& prefixes) {
  const std::lock_guard lock(mutex_);
  if (!changed_) return;
  bool fewer = false;
  for (const std::string& p : prefixes) {
    const auto at = clients_.find(p);
    if (at == clients_.end() || --at->second > 0) continue;
    clients_.erase(at);
    fewer = true;
  }
  if (fewer) say();
}

void TrackedPrefixes::say_again() {
  const std::lock_guard lock(mutex_);
  if (changed_) say();
}

void TrackedPrefixes::say() const {
  std::string all;
  for (const auto& [prefix, clients] : clients_) put_bytes(all, prefix);
  changed_(clients_.empty() ? std::nullopt : std::optional(std::move(all)));
}

Tracking Worker::tracking_of(const Connection& c) const {
  if (!c.tracking) return {};
  return {{.client = c.id, .thread = shard_.value, .noloop = c.tracking->noloop},
          c.tracking->remembers()};
}

// Under the barrier a command writes to every shard.
void Worker::set_acting_everywhere(std::uint64_t client) {
  for (std::size_t i = 0; i < server_.shards(); ++i) {
    Worker& w = server_.worker({static_cast<std::uint16_t>(i)});
    w.space_->tracked().set_acting(client);
  }
}

void Worker::tell_readers() {
  for (TrackedKeys::Told& told : space_->tracked().take()) {
    if (told.reader.is_peer()) {
      invalidate_at({told.reader.peer()}, told);
      continue;
    }
    if (told.reader.thread == shard_.value) {
      invalidate(told);
      continue;
    }
    auto kept = std::make_shared<const TrackedKeys::Told>(std::move(told));
    send_mail({kept->reader.thread}, [kept](Worker& w) { w.invalidate(*kept); });
  }
}

// Each key to the thread of its slot there.
void Worker::invalidate_at(NodeIndex peer, const TrackedKeys::Told& told) {
  const Engine::PeerView& view = engine_->peer(peer);
  if (!view.up) return;
  Invalidate m;
  if (told.all) {
    for (std::uint16_t i = 0; i < view.threads; ++i) engine_->send(peer, i, m);
    return;
  }
  for (const std::string& key : told.keys) {
    const Slot slot = key_slot(key);
    // Of changes below a prefix one node tells, and not where a replica of its own shows them.
    if (told.broadcast &&
        (server_.ring().is_replica(peer, slot) || engine_->acting_node(slot) != server_.self()))
      continue;
    m.keys = {key};
    engine_->send(peer, engine_->shard_at(peer, slot), m);
  }
}

void Worker::invalidated_elsewhere(const Invalidate& m) {
  TrackedKeys& tracked = space_->tracked();
  if (m.keys.empty()) return tracked.lost_sight();
  for (const std::string_view key : m.keys) tracked.changed(key);
}

// What clients here have read at other nodes may change unseen.
void Worker::lost_sight() {
  if (server_.holds_all()) return;
  for (std::size_t i = 0; i < server_.shards(); ++i)
    send_mail({static_cast<std::uint16_t>(i)}, [](Worker& w) { w.space_->tracked().lost_sight(); });
}

void Worker::invalidate(const TrackedKeys::Told& told) {
  Connection* c = find(told.reader.client);
  if (!c || !c->tracking) return;
  // It has changed its mode since.
  if (!told.all && told.broadcast != c->tracking->bcast) return;
  const std::uint64_t redirect = c->tracking->redirect;
  if (redirect == 0) {
    if (told.own && c->waits != 0) return c->tracking->behind_reply.push_back(told);
    if (c->protocol == 3) push(*c, frame_of(told, 3));
    return;
  }
  const auto deliver_to = [redirect](Worker& w, const TrackedKeys::Told& what) {
    Connection* target = w.find(redirect);
    if (!target) return false;
    if (target->protocol == 3 || target->subscribed())
      w.push(*target, frame_of(what, target->protocol));
    return true;
  };
  const std::uint16_t there = c->tracking->redirect_thread;
  if (there == shard_.value) {
    if (!deliver_to(*this, told)) redirection_broken(c->id, redirect);
    return;
  }
  auto kept = std::make_shared<const TrackedKeys::Told>(told);
  send_mail({there}, [kept, deliver_to, redirect, home = shard_](Worker& w) {
    if (deliver_to(w, *kept)) return;
    w.send_mail(home, [client = kept->reader.client, redirect](Worker& back) {
      back.redirection_broken(client, redirect);
    });
  });
}

void Worker::tell_behind_reply(Connection& c) {
  if (!c.tracking) return;
  for (const TrackedKeys::Told& told : std::exchange(c.tracking->behind_reply, {}))
    invalidate(told);
}

void Worker::redirection_broken(std::uint64_t client, std::uint64_t redirect) {
  Connection* c = find(client);
  if (!c || !c->tracking || c->tracking->redirect != redirect) return;
  c->tracking->broken = true;
  if (c->protocol != 3) return;
  std::string frame;
  Reply reply(frame, 3);
  reply.push(2);
  reply.bulk("tracking-redir-broken");
  reply.integer(static_cast<std::int64_t>(redirect));
  push(*c, frame);
}

void Worker::forget_prefixes(std::uint64_t client) {
  for (std::size_t i = 0; i < server_.shards(); ++i) {
    const ShardIndex shard{static_cast<std::uint16_t>(i)};
    const auto forget = [client](Worker& w) { w.space_->tracked().remove_prefixes(client); };
    shard == shard_ ? forget(*this) : send_mail(shard, forget);
  }
}

void Worker::stop_tracking(Connection& c) {
  if (!c.tracking) return;
  server_.tracking_clients.fetch_sub(1);
  if (!c.tracking->prefixes.empty()) forget_prefixes(c.id);
  server_.tracked_prefixes.remove(c.tracking->prefixes);
  c.tracking.reset();
}

}  // namespace gyre
