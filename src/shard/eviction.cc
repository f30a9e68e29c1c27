#include "shard/eviction.h"

#include <algorithm>
#include <utility>

namespace gyre {

std::uint64_t Evictor::score_of(const Node& n, const EvictionPolicy& policy) const {
  switch (policy.by) {
    case EvictionPolicy::By::ttl:
      return ~static_cast<std::uint64_t>(n.expiry().at_ms);
    case EvictionPolicy::By::access:
      return space_.access().dispensable(n);
    default:
      return 0;
  }
}

// What is expired goes by itself, and soon.
bool Evictor::suits(const Node* n, const EvictionPolicy& policy, UnixMs now) const {
  if (!n || !record_live(*n) || record_expired(*n, now)) return false;
  return !policy.volatile_only || (n->has(Node::has_expiry) && n->expiry().at_ms != 0);
}

void Evictor::join(std::uint64_t score, const KeySpace::Place& place) {
  const auto same = [&](const Candidate& c) {
    return c.of.hash == place.hash && c.of.db == place.db && c.of.key == place.node->key();
  };
  if (std::any_of(pool_.begin(), pool_.end(), same)) return;
  if (pool_.size() == pool_max) {
    if (score <= pool_.front().score) return;
    pool_.erase(pool_.begin());
  }
  const auto at = std::upper_bound(pool_.begin(), pool_.end(), score,
                                   [](std::uint64_t s, const Candidate& c) { return s < c.score; });
  pool_.insert(at, {score, {place.slot, place.db, place.hash, std::string(place.node->key())}});
}

void Evictor::draw(const EvictionPolicy& policy, UnixMs now, const May& may) {
  const std::size_t wanted = policy.by == EvictionPolicy::By::random ? 1 : policy.samples;
  std::size_t found = 0;
  for (std::size_t tries = 0; found < wanted && tries < 8 * wanted + 8; ++tries) {
    const KeySpace::Place place =
        policy.volatile_only ? space_.draw_expiring(random_) : space_.draw(random_);
    if (!suits(place.node, policy, now) || (may && !may(place.slot))) continue;
    ++found;
    join(score_of(*place.node, policy), place);
  }
}

std::optional<Victim> Evictor::walk(const EvictionPolicy& policy, UnixMs now, const May& may) {
  const std::size_t slots = space_.slot_count();
  for (std::size_t steps = 0; steps < std::min(walk_slots, slots); ++steps) {
    walk_at_ = walk_at_ + 1 < slots ? walk_at_ + 1 : 0;
    const Slot slot{static_cast<std::uint16_t>(space_.first_slot().value + walk_at_)};
    if (may && !may(slot)) continue;
    std::optional<Victim> found;
    for (std::size_t db = 0; db < space_.databases() && !found; ++db) {
      const DbIndex index{static_cast<std::uint8_t>(db)};
      const NodeTable* table = space_.table_of(slot, index);
      if (!table) continue;
      table->for_each([&](Node* n) {
        if (suits(n, policy, now)) {
          found = Victim{slot, index, key_hash(n->key()), std::string(n->key())};
        }
        return !found;
      });
    }
    if (found) return found;
  }
  return std::nullopt;
}

std::optional<Victim> Evictor::next(const EvictionPolicy& policy, UnixMs now, const May& may) {
  if (policy.by == EvictionPolicy::By::none) return std::nullopt;
  if (policy.by != of_.by || policy.volatile_only != of_.volatile_only) pool_.clear();
  of_ = policy;
  draw(policy, now, may);
  while (!pool_.empty()) {
    const Candidate best = std::move(pool_.back());
    pool_.pop_back();
    const Node* n = space_.find(best.of.slot, best.of.db, best.of.key, best.of.hash);
    // Used since it was drawn, or gone.
    if (!suits(n, policy, now) || (may && !may(best.of.slot))) continue;
    if (score_of(*n, policy) < best.score) continue;
    return best.of;
  }
  return walk(policy, now, may);
}

std::optional<Victim> Evictor::next_in(Slot slot, const EvictionPolicy& policy, UnixMs now) {
  if (policy.by == EvictionPolicy::By::none) return std::nullopt;
  std::optional<Victim> best;
  std::uint64_t highest = 0;
  std::size_t found = 0;
  for (std::size_t tries = 0; found < policy.samples && tries < 4 * policy.samples; ++tries) {
    const KeySpace::Place place = space_.draw_in(slot, random_);
    if (!suits(place.node, policy, now)) continue;
    ++found;
    const std::uint64_t score = score_of(*place.node, policy);
    if (best && score <= highest) continue;
    highest = score;
    best = Victim{slot, place.db, place.hash, std::string(place.node->key())};
  }
  return best;
}

}  // namespace gyre
