#include "tools/sim/shadow.h"

#include <algorithm>

#include "base/hash.h"
#include "record/record.h"
#include "ring/slot.h"

namespace gyre::sim {
namespace {

KeySpaceOptions options_of(const SlotWindow& window, std::size_t databases) {
  return {.first = {window.first},
          .slots = window.count,
          .databases = databases,
          .persist = false,
          .keep_tombstones = true,
          .clock_node = 0};
}

// An element's base, or one of its sums, by (id, sum's id).
struct Part {
  Version version{};
  bool tombstone = true;
};
using Parts = std::map<std::pair<std::string, std::uint64_t>, Part>;

struct Whole {
  Effect effect;
  Parts parts;
  Version floor{}, newest{};
  Expiry expiry{};
  explicit Whole(const Node* n) {
    if (!n) return;
    record_effect(*n, {}, {}, effect);
    floor = effect.floor;
    newest = effect.newest();
    expiry = effect.expiry;
    for (const Change& c : effect.changes) {
      parts[{std::string(c.id), c.sum.bits}] = {c.version, c.tombstone};
    }
  }
  // What of this id or sum lies at or above the version, live or not.
  bool holds(const std::pair<std::string, std::uint64_t>& id, Version version) const {
    const auto at = parts.find(id);
    return at != parts.end() && at->second.version >= version;
  }
  // Sums were folded into a base, whose version is the last one's id (record/purge.h).
  bool sum_opened(const std::pair<std::string, std::uint64_t>& id, Version version) const {
    return !id.second && parts.contains({id.first, version.bits});
  }
  // A sum dies with a base above it.
  bool covers(const std::pair<std::string, std::uint64_t>& id, Version version) const {
    const Version dead = id.second ? Version{id.second} : version;
    if (floor >= dead) return true;
    if (!id.second) return false;
    const auto base = parts.find({id.first, 0});
    return base != parts.end() && base->second.version >= dead;
  }
};

std::string text(Version v) {
  return std::to_string(v.ms() - start_of_time) + "+" + std::to_string(v.bits & 0x7fffff);
}

}  // namespace

Shadow::Shadow(World& world, const SlotWindow& window, std::size_t databases)
    : world_(world), made_(options_of(window, databases)), acked_(options_of(window, databases)) {}

void Shadow::merge(KeySpace& space, Slot slot, const Effect& effect) {
  if (effect.slot_floor) {
    if (&space == &made_) made_.raise_floor(slot, effect.db, effect.floor);
  } else {
    space.merge(slot, key_hash(effect.key), effect);
    if (&space == &acked_) {
      Version& floor = deleted_[{effect.db.value, std::string(effect.key)}];
      floor = std::max(floor, effect.floor);
    }
  }
  space.rows().clear();
}

bool Shadow::far_ahead(Slot slot, const Effect& effect, bool acked) {
  constexpr UnixMs skew_ms = 500;
  if (effect.newest().ms() <= start_of_time + world_.now() / ms + skew_ms) return false;
  Ahead a{slot, acked, {}};
  encode_effect(a.effect, effect);
  ahead_.push_back(std::move(a));
  return true;
}

void Shadow::made(NodeIndex, Slot slot, const Effect& effect) {
  if (!far_ahead(slot, effect, false)) merge(made_, slot, effect);
  if (effect.expiry.at_ms != 0) expiries_[std::string(effect.key)].push_back(effect.expiry);
  if (effect.slot_floor || !effect.key.starts_with("reg:")) return;
  Written w{"(nil)", effect.version};
  for (const Change& c : effect.changes) {
    if (!c.tombstone) w.value = std::string(c.payload);
  }
  written_[std::string(effect.key)].push_back(std::move(w));
}

void Shadow::acked(NodeIndex, Slot slot, const Effect& effect, int need) {
  if (need < need_at_least || effect.slot_floor) return;
  if (need == 1) at_one_.emplace(std::string(effect.key), effect.version);
  if (effect.expiry.at_ms != 0)
    under_[{std::string(effect.key), effect.version}] = {effect.expiry, need};
  if (!far_ahead(slot, effect, true)) merge(acked_, slot, effect);
}

void Shadow::stamped_again(Slot slot, const Restamp& again) {
  Effect effect;
  std::erase_if(ahead_, [&](const Ahead& a) {
    if (a.slot != slot) return false;
    Reader in(a.effect);
    GYRE_ASSERT(decode_effect(in, effect));
    if (again(effect.version) == effect.version) return false;
    again.rewrite(effect);
    merge(a.acked ? acked_ : made_, slot, effect);
    return true;
  });
  for (auto& [key, versions] : written_) {
    if (key_slot(key) != slot) continue;
    for (Written& w : versions) w.version = again(w.version);
  }
}

void Shadow::judge(const KeySpace& replica, const std::string& name, Slot slot, UnixMs now) {
  // Stamps that the clocks have reached by now.
  Effect effect;
  for (const Ahead& a : ahead_) {
    Reader in(a.effect);
    GYRE_ASSERT(decode_effect(in, effect));
    merge(a.acked ? acked_ : made_, a.slot, effect);
  }
  ahead_.clear();
  for (std::uint8_t db = 0; db < made_.databases(); ++db) {
    std::map<std::string, bool> keys;
    for (const KeySpace* space : {&replica, static_cast<const KeySpace*>(&made_)}) {
      if (const NodeTable* table = space->table_of(slot, {db})) {
        table->for_each([&](Node* n) {
          keys.emplace(n->key(), true);
          return true;
        });
      }
    }
    for (const auto& [key, unused] : keys) {
      const std::uint64_t hash = key_hash(key);
      judge_record(replica.find(slot, {db}, key, hash), made_.find(slot, {db}, key, hash),
                   acked_.find(slot, {db}, key, hash), replica.slot_floor(slot, {db}),
                   deleted_[{db, key}], key, name, now);
    }
  }
}

void Shadow::judge_record(const Node* there, const Node* made_node, const Node* acked_node,
                          Version slot_floor, Version deleted, const std::string& key,
                          const std::string& name, UnixMs now) {
  Whole is(there), made(made_node), acked(acked_node);
  is.floor = std::max(is.floor, slot_floor);
  const auto bad = [&](const std::string& what) {
    world_.violation(key, "at " + name + ": " + what);
  };
  // Who forgot the elements of an expired record, or purged the record, owes nothing more.
  const auto gone = [&](const Whole& w) { return w.expiry.at_ms != 0 && w.expiry.at_ms <= now; };
  const bool expired = gone(is) || gone(made);
  if (!expired) {
    for (const auto& [id, part] : acked.parts) {
      if (part.tombstone && !id.second) continue;  // judged below: may be purged
      const Version v = part.version;
      if (is.holds(id, v) || is.covers(id, v)) continue;
      // Removed by something higher whose tombstone is purged everywhere by now.
      const auto above = made.parts.find(id);
      const bool removed =
          above != made.parts.end() && above->second.tombstone && above->second.version > v;
      if (removed || made.covers(id, v)) continue;
      // Written to a key with a time to live, which a write of another type has hidden since (its
      // floor kills the register). At level one its only holder may have dropped it in its time,
      // before it heard of a longer one from the other side (seed 735).
      const auto under = under_.find({key, v});
      if (under != under_.end() && under->second.expiry.at_ms <= now &&
          (under->second.need == 1 || under->second.expiry.version >= made.expiry.version))
        continue;
      // The same where the only holder heard of the time to live after the write, and of what
      // ended that on the other side after it was over (seed 1629).
      const auto& set = expiries_[key];
      if (at_one_.contains({key, v}) && std::any_of(set.begin(), set.end(), [&](const Expiry& e) {
            const bool over = e.version < made.expiry.version || e.version <= made.floor;
            return over && e.at_ms > v.ms() && e.at_ms <= now;
          }))
        continue;
      bad("the acknowledged " + (id.first.empty() ? std::string("value") : "element " + id.first) +
          " of version " + text(v) + " is missing");
    }
  }
  // Not the floors that types raise over each other: what won may have expired where it was known
  // (seed 1356).
  if (is.floor < deleted) {
    // Below T a floor is purged with what it covered.
    for (const auto& [id, part] : is.parts) {
      if ((id.second ? Version{id.second} : part.version) <= deleted)
        bad("what lay below an acknowledged deletion is there: version " + text(part.version) +
            " of " + id.first + ", sum " + text({id.second}) + ", below " + text(deleted) +
            ", floor " + text(is.floor));
    }
  }
  for (const auto& [id, part] : is.parts) {
    if (part.tombstone) continue;
    const auto over = acked.parts.find(id);
    if (over != acked.parts.end() && over->second.version > part.version)
      bad("an acknowledged later write of " + id.first + " is missing: version " +
          text(over->second.version) + " over " + text(part.version));
    if (!made.holds(id, part.version) && !made.covers(id, part.version) &&
        !made.sum_opened(id, part.version))
      bad("nobody made version " + text(part.version) + " of " + id.first);
  }
  // A register that says 'never' is purged below T, and so is the floor of a deletion.
  const bool says_something = acked.expiry.at_ms != 0 || is.expiry.at_ms != 0;
  const bool covered = made.floor >= acked.expiry.version ||
                       (made.expiry.version > acked.expiry.version && made.expiry.at_ms == 0);
  if (says_something && !covered && acked.expiry.version > is.expiry.version &&
      acked.expiry.version > is.floor && there != nullptr && record_live(*there) && !expired)
    bad("an acknowledged expiry of version " + text(acked.expiry.version) + " is missing");
}

void Shadow::quorum_read(DbIndex db, const std::string& key, const std::string& value, Us start,
                         Us end, const std::string& what) {
  // Of a value written twice (stamped again) the lowest and the highest version.
  Version lowest{}, highest{};
  for (const Written& w : written_[key]) {
    if (w.value != value) continue;
    if (!lowest) lowest = w.version;
    lowest = std::min(lowest, w.version);
    highest = std::max(highest, w.version);
  }
  if (value == "(nil)") {
    lowest = {};  // which removal it was nobody can say
    highest = std::max(highest, made_.slot_floor(key_slot(key), db));
  }
  auto& seen = seen_[key];
  for (const Seen& s : seen) {
    if (s.end >= start || highest >= s.lowest) continue;
    return world_.violation(key, what + " at a quorum " + value + " of version " + text(highest) +
                                     ", after " + s.what + " of version " + text(s.lowest));
  }
  if (!lowest) return;
  std::erase_if(seen, [&](const Seen& s) { return s.end >= end && s.lowest <= lowest; });
  seen.push_back({end, lowest, what + " " + value});
  if (seen.size() > 64) seen.erase(seen.begin());
}

}  // namespace gyre::sim
