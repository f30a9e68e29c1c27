// Records drawn at random, for eviction.

#include <algorithm>
#include <functional>

#include "shard/keyspace.h"

namespace gyre {

// Each slot is as likely as the others, and then each of its records: near enough to fair, as keys
// spread over the slots. Few keys leave most slots empty; then the next one that is not is taken.
KeySpace::Place KeySpace::draw(Random& random) const {
  std::size_t at = static_cast<std::size_t>(random.below(options_.slots));
  for (std::size_t tries = 0; tries < options_.slots; ++tries) {
    const Slot slot{static_cast<std::uint16_t>(options_.first.value + at)};
    if (const Place place = draw_in(slot, random); place.node) return place;
    at = tries < draws_at_random   ? static_cast<std::size_t>(random.below(options_.slots))
         : at + 1 < options_.slots ? at + 1
                                   : 0;
  }
  return {};
}

KeySpace::Place KeySpace::draw_in(Slot slot, Random& random) const {
  const SlotData& s = slots_[index_of(slot)];
  std::size_t all = s.records.size();
  if (s.others) {
    for (const auto& [db, table] : s.others->tables) all += table.size();
  }
  if (all == 0) return {};
  const auto drawn = [&](const NodeTable& table, DbIndex db) {
    Node* n = table.random(random);
    return Place{slot, db, key_hash(n->key()), n};
  };
  std::size_t at = static_cast<std::size_t>(random.below(all));
  if (at < s.records.size()) return drawn(s.records, {0});
  at -= s.records.size();
  for (const auto& [db, table] : s.others->tables) {
    if (at < table.size()) return drawn(table, db);
    at -= table.size();
  }
  return {};
}

KeySpace::Place KeySpace::draw_expiring(Random& random) const {
  if (due_.empty()) return {};
  const Due& due = due_[static_cast<std::size_t>(random.below(due_.size()))];
  if (due.stub) return {};
  return {due.slot, due.db, due.hash, find_due(due)};
}

void KeySpace::forget(Slot slot, DbIndex db, std::string_view key, std::uint64_t hash) {
  NodeTable& table = table_for_write(slot, db);
  tracked_.changed(key);
  drop(slot, db, table, table.find(key, hash), true);
  table.shrink();
  // The queue of expiries counts as memory: what it holds of evicted keys goes, lest others go for
  // it.
  if (due_.capacity() <= 2 * expiring() + 256) return;
  std::erase_if(due_, [this](const Due& d) { return !find_due(d); });
  std::make_heap(due_.begin(), due_.end(), std::greater<>());
  due_.shrink_to_fit();
}

}  // namespace gyre
