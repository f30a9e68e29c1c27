#include "server/pubsub.h"

#include <algorithm>

#include "base/assert.h"
#include "base/hash.h"

namespace gyre {

std::size_t NameHash::operator()(std::string_view name) const {
  return static_cast<std::size_t>(key_hash(name));
}

// ---- the directory

void ChannelDirectory::change(ByName<Reach>& map, Listening what, std::string_view name,
                              ShardIndex thread, bool more, bool alone) {
  const std::uint64_t bit = std::uint64_t{1} << thread.value;
  auto at = map.find(name);
  if (at == map.end()) {
    GYRE_ASSERT(more);
    at = map.emplace(std::string(name), Reach{}).first;
    counts_[static_cast<std::size_t>(what)].fetch_add(1, std::memory_order_seq_cst);
  }
  Reach& reach = at->second;
  if (more) {
    ++reach.clients;
    reach.threads |= bit;
    return;
  }
  --reach.clients;
  if (alone) reach.threads &= ~bit;
  if (reach.clients > 0) return;
  map.erase(at);
  counts_[static_cast<std::size_t>(what)].fetch_sub(1, std::memory_order_relaxed);
}

void ChannelDirectory::add(Listening what, std::string_view name, ShardIndex thread, bool alone) {
  if (what == Listening::pattern) {
    const std::unique_lock lock(patterns_mutex_);
    return change(patterns_, what, name, thread, true, alone);
  }
  Part& p = part(name);
  const std::lock_guard lock(p.mutex);
  change(p.of(what), what, name, thread, true, alone);
}

void ChannelDirectory::remove(Listening what, std::string_view name, ShardIndex thread,
                              bool alone) {
  if (what == Listening::pattern) {
    const std::unique_lock lock(patterns_mutex_);
    return change(patterns_, what, name, thread, false, alone);
  }
  Part& p = part(name);
  const std::lock_guard lock(p.mutex);
  change(p.of(what), what, name, thread, false, alone);
}

ChannelDirectory::Reach ChannelDirectory::reach(ChannelKind kind, std::string_view channel) const {
  Reach reach;
  const Listening what = kind == ChannelKind::shard ? Listening::shard : Listening::channel;
  if (count(what) > 0) {
    const Part& p = part(channel);
    const std::lock_guard lock(p.mutex);
    const auto& map = what == Listening::shard ? p.shards : p.channels;
    if (const auto at = map.find(channel); at != map.end()) reach = at->second;
  }
  if (kind == ChannelKind::shard || count(Listening::pattern) == 0) return reach;
  const std::shared_lock lock(patterns_mutex_);
  for (const auto& [pattern, r] : patterns_) {
    if (!glob_match(pattern, channel)) continue;
    reach.clients += r.clients;
    reach.threads |= r.threads;
  }
  return reach;
}

std::uint64_t ChannelDirectory::clients(Listening what, std::string_view name) const {
  const auto in = [&](const ByName<Reach>& map) {
    const auto at = map.find(name);
    return at == map.end() ? 0 : at->second.clients;
  };
  if (what == Listening::pattern) {
    const std::shared_lock lock(patterns_mutex_);
    return in(patterns_);
  }
  const Part& p = part(name);
  const std::lock_guard lock(p.mutex);
  return in(what == Listening::shard ? p.shards : p.channels);
}

std::vector<std::string> ChannelDirectory::names(Listening what, std::string_view pattern) const {
  std::vector<std::string> out;
  if (what == Listening::pattern) {
    const std::shared_lock lock(patterns_mutex_);
    for (const auto& [name, reach] : patterns_) {
      if (pattern == "*" || glob_match(pattern, name)) out.push_back(name);
    }
    return out;
  }
  for (const Part& p : parts_) {
    const std::lock_guard lock(p.mutex);
    for (const auto& [name, reach] : what == Listening::shard ? p.shards : p.channels) {
      if (pattern == "*" || glob_match(pattern, name)) out.push_back(name);
    }
  }
  return out;
}

// ---- one thread's clients

bool Subscribers::add(Subscriptions& s, Listening what, std::string_view name) {
  if (!s.names[static_cast<std::size_t>(what)].emplace(name).second) return false;
  Lists& lists = lists_[static_cast<std::size_t>(what)];
  auto at = lists.find(name);
  if (at == lists.end()) at = lists.emplace(std::string(name), std::vector<Subscriptions*>()).first;
  at->second.push_back(&s);
  directory_.add(what, name, thread_, at->second.size() == 1);
  return true;
}

bool Subscribers::remove(Subscriptions& s, Listening what, std::string_view name) {
  auto& names = s.names[static_cast<std::size_t>(what)];
  const auto at = names.find(name);
  if (at == names.end()) return false;
  leave(s, what, name);
  names.erase(at);  // last: `name` may be its own bytes
  return true;
}

void Subscribers::remove_all(Subscriptions& s) {
  for (std::size_t i = 0; i < listening_kinds; ++i) {
    for (const std::string& name : s.names[i]) leave(s, static_cast<Listening>(i), name);
    s.names[i].clear();
  }
}

void Subscribers::leave(Subscriptions& s, Listening what, std::string_view name) {
  Lists& lists = lists_[static_cast<std::size_t>(what)];
  const auto at = lists.find(name);
  GYRE_ASSERT(at != lists.end());
  std::vector<Subscriptions*>& clients = at->second;
  const auto mine = std::find(clients.begin(), clients.end(), &s);
  GYRE_ASSERT(mine != clients.end());
  clients.erase(mine);
  directory_.remove(what, name, thread_, clients.empty());
  if (clients.empty()) lists.erase(at);
}

}  // namespace gyre
