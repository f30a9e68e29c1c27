#include "shard/tracked_keys.h"

#include <algorithm>
#include <utility>

namespace gyre {
namespace {

bool is_of(const TrackingClient& r, std::uint64_t client) {
  return r.client == client;
}

}  // namespace

void TrackedKeys::set_limit(std::size_t keys) {
  limit_ = keys;
  while (readers_.size() > limit_) forget(readers_.begin());
}

void TrackedKeys::remember(std::string_view key, const TrackingClient& reader, bool expired) {
  auto at = readers_.find(key);
  if (at == readers_.end()) {
    while (!readers_.empty() && readers_.size() >= limit_) forget(readers_.begin());
    at = readers_.emplace(std::string(key), std::vector<Reading>()).first;
  } else if (expired) {
    tell_of_expiry(at);
  }
  any_ = true;
  for (Reading& r : at->second) {
    if (is_of(r.client, reader.client)) return void(r = {reader, expired});
  }
  at->second.push_back({reader, expired});
  ++items_;
}

void TrackedKeys::add_prefix(std::string_view prefix, const TrackingClient& reader) {
  auto at = prefixes_.find(prefix);
  if (at == prefixes_.end())
    at = prefixes_.emplace(std::string(prefix), std::vector<TrackingClient>()).first;
  for (TrackingClient& r : at->second) {
    if (is_of(r, reader.client)) return void(r = reader);
  }
  at->second.push_back(reader);
  any_ = true;
}

void TrackedKeys::remove_prefixes(std::uint64_t client) {
  for (auto& [prefix, readers] : prefixes_)
    std::erase_if(readers, [&](const TrackingClient& r) { return is_of(r, client); });
  std::erase_if(prefixes_, [](const auto& p) { return p.second.empty(); });
  look_again();
}

void TrackedKeys::tell(const std::string& key, const TrackingClient& client) {
  const bool own = is_of(client, acting_);
  if (client.noloop && own) return;
  told_.push_back({.reader = client, .own = own, .keys = {key}});
  ready_ = true;
}

// Its clients are told.
void TrackedKeys::forget(ByKey::iterator at) {
  for (const Reading& r : at->second) tell(at->first, r.client);
  items_ -= at->second.size();
  readers_.erase(at);
  look_again();
}

// Who has seen it stays: of the key's next life it is to be told.
void TrackedKeys::tell_of_expiry(ByKey::iterator at) {
  items_ -= std::erase_if(at->second, [&](const Reading& r) {
    if (!r.expired) tell(at->first, r.client);
    return !r.expired;
  });
}

void TrackedKeys::note_prefixes(std::string_view key) {
  for (const auto& [prefix, readers] : prefixes_) {
    if (!key.starts_with(prefix)) continue;
    ready_ = true;
    auto& keys = below_[prefix];
    // Once in a command, and of nobody when it was not all one client's doing.
    const auto same =
        std::find_if(keys.begin(), keys.end(), [&](const Below& b) { return b.key == key; });
    if (same == keys.end()) {
      keys.push_back({std::string(key), acting_});
    } else if (same->by != acting_) {
      same->by = 0;
    }
  }
}

void TrackedKeys::note(std::string_view key) {
  note_prefixes(key);
  if (const auto at = readers_.find(key); at != readers_.end()) forget(at);
}

void TrackedKeys::note_expiry(std::string_view key) {
  note_prefixes(key);
  const auto at = readers_.find(key);
  if (at == readers_.end()) return;
  tell_of_expiry(at);
  if (at->second.empty()) forget(at);
}

void TrackedKeys::tell_of_all(const TrackingClient& reader) {
  const bool known = std::any_of(told_.begin(), told_.end(), [&](const Told& t) {
    return t.all && is_of(t.reader, reader.client);
  });
  if (!known) told_.push_back({.reader = reader, .all = true});
  ready_ = true;
}

void TrackedKeys::all_changed() {
  if (!any_) return;
  for (const auto& [key, readers] : readers_)
    for (const Reading& r : readers) tell_of_all(r.client);
  for (const auto& [prefix, readers] : prefixes_)
    for (const TrackingClient& r : readers) tell_of_all(r);
  readers_.clear();
  items_ = 0;
  look_again();
}

void TrackedKeys::lost_sight() {
  for (auto at = readers_.begin(); at != readers_.end();) {
    items_ -= std::erase_if(at->second, [this](const Reading& r) {
      if (!r.client.is_peer()) tell_of_all(r.client);
      return !r.client.is_peer();
    });
    at = at->second.empty() ? readers_.erase(at) : std::next(at);
  }
  for (const auto& [prefix, readers] : prefixes_) {
    for (const TrackingClient& r : readers) {
      if (!r.is_peer()) tell_of_all(r);
    }
  }
  look_again();
}

std::vector<TrackedKeys::Told> TrackedKeys::take() {
  ready_ = false;
  for (auto& [prefix, changes] : std::exchange(below_, {})) {
    const auto at = prefixes_.find(prefix);
    if (at == prefixes_.end()) continue;
    for (const TrackingClient& r : at->second) {
      Told told{.reader = r, .broadcast = true};
      for (const Below& b : changes) {
        if (r.noloop && is_of(r, b.by)) continue;
        told.own |= is_of(r, b.by);
        told.keys.push_back(b.key);
      }
      if (!told.keys.empty()) told_.push_back(std::move(told));
    }
  }
  return std::exchange(told_, {});
}

}  // namespace gyre
