#include "record/apply.h"

#include <algorithm>

#include "base/assert.h"
#include "base/bytes.h"

namespace gyre {
namespace {

// The parts of a record while it is merged.
struct Merging {
  Node* node;
  const ApplyOptions& options;
  Slabs& slabs;
  ApplyResult& result;
  std::uint64_t seed = 0;
  std::size_t gone = 0;  // elements that a floor dropped whole

  TypeId type = TypeId::none;
  Version floor{};
  Expiry expiry{};
  Version beaten_by{};  // the claim of the record's type, which the effect's lost to
};

Version highest_claim(const Effect& e, Version above) {
  Version v{};
  for (const Change& c : e.changes) v = std::max(v, claim_of(c));
  return v > above ? v : Version{};
}

Version highest_claim(const Node& n, Version above) {
  const Version v = record_claim(n).version;
  return v > above ? v : Version{};
}

std::uint64_t elements_digest(const Node& n, std::uint64_t seed) {
  std::uint64_t sum = 0;
  if (stored_type(n) == TypeId::string) return cell_digest(seed, {}, string_cell(n));
  if (stored_type(n) == TypeId::none) return 0;
  collection_of(n)->for_each([&](const ElementView& e) {
    sum += cell_digest(seed, e.id, e.cell);
    return true;
  });
  return sum;
}

// Replaces the node by one of another shape with the same key. Does not touch a boxed Collection.
Node* reshape(Merging& m, std::string_view key, std::size_t value_size, TypeId type,
              std::uint8_t flags, Version version) {
  if (m.expiry.version) flags |= Node::has_expiry;
  Node* fresh =
      Node::make(m.slabs, key, value_size, static_cast<std::uint8_t>(type), flags, version);
  if (m.expiry.version) fresh->set_expiry(m.expiry);
  if (m.node) {
    fresh->set_access(m.node->access());
    Node::release(m.slabs, m.node);
  }
  m.node = fresh;
  return fresh;
}

// Writes a string record from its merged state.
void store_string(Merging& m, std::string_view key, const CellState& cell) {
  const bool implied = !cell.has_sums() && !cell.tombstone && m.floor == cell.version.before();
  std::uint8_t flags = 0;
  if (cell.tombstone) flags |= Node::tombstone;
  if (cell.has_sums()) flags |= Node::sums;
  if (!implied) flags |= Node::floored;
  const std::string stored = cell.stored();
  Node* n = reshape(m, key, stored.size() + (implied ? 0 : 8), TypeId::string, flags, cell.version);
  char* to = n->value_data();
  if (!implied) {
    store_be64(to, m.floor.bits);
    to += 8;
  }
  std::memcpy(to, stored.data(), stored.size());
}

// Leaves a record of no type: only its floor, and an expiry register above it.
void store_none(Merging& m, std::string_view key) {
  reshape(m, key, 0, TypeId::none, 0, m.floor);
}

// Leaves a stub: floor and register of what expired, the newest version that it held, and its type.
void store_stub(Merging& m, std::string_view key, Version newest, TypeClaim claim) {
  if (claim.version <= m.floor) claim = {};
  GYRE_ASSERT(claim.version <= newest);
  const bool own = claim.version && claim.version != newest;
  reshape(m, key, own ? 17 : 9, TypeId::none, Node::floored, newest);
  char* to = m.node->value_data();
  store_be64(to, m.floor.bits);
  to[8] = static_cast<char>(claim.type);
  if (own) store_be64(to + 9, claim.version.bits);
}

// The collection of the node is gone with all its elements.
void drop_collection(Merging& m) {
  if (!m.node || !m.node->has(Node::boxed)) return;
  delete collection_of(*m.node);
  m.node->set_flags(static_cast<std::uint8_t>(m.node->flags() & ~Node::boxed));
}

void merge_string(Merging& m, const Effect& e) {
  CellState cell;
  if (m.node && stored_type(*m.node) == TypeId::string) {
    cell = CellState::of(string_cell(*m.node));
  }
  cell.drop_below(m.floor);
  for (std::uint32_t i = 0; i < e.changes.size(); ++i) {
    const Change& c = e.changes[i];
    if (claim_of(c) <= m.floor) {
      // The floor of an overwrite lies just below its version, whose node is who covered this.
      const Version by = cell.version.before() == m.floor ? cell.version : m.floor;
      if (c.version.node() != by.node()) m.result.stands = false;
      continue;
    }
    const CellMerge merged = cell.merge(c);
    if (merged.taken) m.result.taken.push_back(i);
    if (!merged.stands) m.result.stands = false;
  }
  if (cell.present) {
    store_string(m, e.key, cell);
  } else {
    store_none(m, e.key);
  }
}

// Into a collection of their type whose floor is m.floor. `newest`: of the record without them.
void merge_elements(Merging& m, const Effect& e, Collection* c, Version newest) {
  for (std::uint32_t i = 0; i < e.changes.size(); ++i) {
    const Change& change = e.changes[i];
    if (claim_of(change) <= m.floor) {
      if (change.version.node() != m.floor.node()) m.result.stands = false;
      continue;
    }
    Cell cell;
    if (m.options.digests && c->find(change.id, cell))
      m.result.digest_delta -= cell_digest(m.seed, change.id, cell);
    const CellMerge merged = c->merge(change, m.options.keep_tombstones);
    if (m.options.digests && c->find(change.id, cell))
      m.result.digest_delta += cell_digest(m.seed, change.id, cell);
    if (merged.taken) {
      m.result.taken.push_back(i);
      newest = std::max(newest, change.version);
    }
    if (!merged.stands) m.result.stands = false;
  }
  if (c->live() == 0 && c->tombstones() == 0) {
    drop_collection(m);
    store_none(m, e.key);
    return;
  }
  m.node->version = newest;
}

void merge_collection(Merging& m, const Effect& e) {
  Collection* c = nullptr;
  if (m.node && m.node->has(Node::boxed)) {
    c = collection_of(*m.node);
  } else {
    c = type_spec(m.type).make(m.slabs);
    reshape(m, e.key, sizeof c, m.type, Node::boxed, m.floor);
    set_collection(*m.node, c);
  }
  Version newest = std::max(m.node->version, m.floor);
  if (c->floor < m.floor) {
    c->floor = m.floor;
    // An element may lose its base and keep sums: its row changes, too.
    c->drop_below(m.floor, [&](std::string_view id, bool still_there) {
      m.result.removed.emplace_back(id);
      if (!still_there) ++m.gone;
    });
    // What fell may have been newer than the floor: sums fall by the version that began them.
    newest = m.floor;
    c->for_each([&](const ElementView& element) {
      newest = std::max(newest, element.cell.newest());
      return true;
    });
  }
  merge_elements(m, e, c, newest);
}

// The plain case of a collection: elements for a record of their type whose floor stays, and that
// has no expiry.
bool fast_elements(Merging& m, const Effect& e) {
  if (!m.node || e.type <= TypeId::string || e.expiry.version || stored_type(*m.node) != e.type ||
      (m.node->flags() & (Node::boxed | Node::has_expiry)) != Node::boxed)
    return false;
  Collection* const c = collection_of(*m.node);
  if (e.floor > c->floor || m.options.floor > c->floor || m.node->version <= c->floor) return false;
  m.floor = c->floor;
  m.type = e.type;
  merge_elements(m, e, c, m.node->version);
  m.result.header_changed = !m.node->has(Node::boxed);  // nothing is left
  m.result.changed = m.result.header_changed || !m.result.taken.empty();
  m.result.live_after = record_live(*m.node);
  return true;
}

// The plain case: one overwrite of a string above all that is there.
bool fast_string(Merging& m, const Effect& e) {
  if (e.type != TypeId::string || e.changes.size() != 1) return false;
  const Change& c = e.changes.front();
  if (c.sum || c.tombstone || e.floor != c.version.before() || e.floor < m.options.floor)
    return false;
  if (m.node) {
    if (stored_type(*m.node) != TypeId::string || m.node->has(Node::floored)) return false;
    if (m.result.newest_before >= c.version) return false;
  }
  m.result.changed = m.result.header_changed = true;
  m.result.taken.push_back(0);
  const bool expires = e.expiry.version > e.floor;
  const std::uint8_t flags = expires ? Node::has_expiry : 0;
  if (m.node && m.node->fits(c.payload.size(), flags)) {
    m.node->version = c.version;
    m.node->resize_in_place(c.payload.size());
    if (expires) m.node->set_expiry(e.expiry);
  } else {
    m.expiry = expires ? e.expiry : Expiry{};
    reshape(m, e.key, c.payload.size(), TypeId::string, 0, c.version);
  }
  std::memcpy(m.node->value_data(), c.payload.data(), c.payload.size());
  m.result.expiry_after = expires ? e.expiry.at_ms : 0;
  m.result.live_after = true;
  return true;
}

// The header of the merge of record and effect; decides the type.
void merge_header(Merging& m, const Effect& e) {
  TypeId old_type = TypeId::none;
  if (m.node) {
    old_type = stored_type(*m.node);
    m.floor = record_floor(*m.node);
    if (m.node->has(Node::has_expiry)) m.expiry = m.node->expiry();
  }
  m.floor = std::max({m.floor, e.floor, m.options.floor});
  m.type = old_type;
  if (e.type != TypeId::none && old_type == TypeId::none) {
    m.type = e.type;
  } else if (e.type != TypeId::none && e.type != old_type) {
    const Version ours = highest_claim(*m.node, m.floor);
    const Version theirs = highest_claim(e, m.floor);
    if (theirs > ours) {
      m.type = e.type;
      m.floor = std::max(m.floor, ours);
    } else {
      m.floor = std::max(m.floor, theirs);
      m.beaten_by = ours;
    }
  }
  if (e.expiry.version > m.expiry.version) m.expiry = e.expiry;
  if (m.expiry.version <= m.floor) m.expiry = {};
  if (!m.options.keep_tombstones && m.expiry.at_ms == 0) m.expiry = {};
}

void set_expiry_register(Merging& m) {
  const Expiry now = m.node->has(Node::has_expiry) ? m.node->expiry() : Expiry{};
  if (now == m.expiry) return;
  if (m.expiry.version && m.node->has(Node::has_expiry)) {
    m.node->set_expiry(m.expiry);
    return;
  }
  // The layout changes: copy the value into a node of the other shape.
  const std::string value(m.node->value());
  const std::string key(m.node->key());
  const auto flags =
      static_cast<std::uint8_t>(m.node->flags() & ~(Node::has_expiry | Node::long_sizes));
  reshape(m, key, value.size(), stored_type(*m.node), flags, m.node->version);
  std::memcpy(m.node->value_data(), value.data(), value.size());
}

void merge_general(Merging& m, const Effect& e) {
  const bool existed = m.node != nullptr;
  const TypeId old_type = existed ? stored_type(*m.node) : TypeId::none;
  const Version old_floor = existed ? record_floor(*m.node) : Version{};
  const Expiry old_expiry = existed && m.node->has(Node::has_expiry) ? m.node->expiry() : Expiry{};
  std::uint64_t digest_before = 0;
  merge_header(m, e);
  const bool floor_rises = m.floor > old_floor;
  // Elements all die when the type changes; a floor that rises may drop some.
  const bool whole_digest = m.options.digests && existed &&
                            (floor_rises || old_type != m.type || old_type == TypeId::string);
  if (whole_digest) digest_before = elements_digest(*m.node, m.seed);
  const std::uint64_t delta_before = m.result.digest_delta;

  const bool boxed = existed && m.node->has(Node::boxed);
  if ((existed && old_type != m.type) || (boxed && m.node->version <= m.floor)) {
    // Nothing above the floor is left of what was there.
    m.result.wiped = boxed;
    drop_collection(m);
    if (m.type == old_type && e.type == TypeId::none) m.type = TypeId::none;
    reshape(m, e.key, 0, TypeId::none, 0, m.floor);
  }
  Effect loser;  // a loser's elements are dead; its floor and expiry were taken
  const bool mine = e.type == m.type || e.type == TypeId::none;
  if (!mine) {
    loser.key = e.key;
    for (const Change& c : e.changes) {
      // Below the floor a later write covers it. At the floor, which is as high as the loser's own
      // claim then, or above it, the other type does.
      const Version by = c.version < m.floor || !m.beaten_by ? m.floor : m.beaten_by;
      if (c.version.node() != by.node() || c.version > by) m.result.stands = false;
    }
  }
  const Effect* merged = mine ? &e : &loser;
  switch (m.type) {
    case TypeId::none:
      store_none(m, e.key);
      break;
    case TypeId::string:
      merge_string(m, *merged);
      break;
    default: {
      const std::size_t before =
          existed && m.node->has(Node::boxed)
              ? collection_of(*m.node)->live() + collection_of(*m.node)->tombstones()
              : 0;
      merge_collection(m, *merged);
      if (before > 0 && m.gone == before) {
        m.result.wiped = true;
        m.result.removed.clear();
      }
    }
  }
  set_expiry_register(m);
  if (whole_digest)
    m.result.digest_delta = delta_before + elements_digest(*m.node, m.seed) - digest_before;
  m.result.floor_raised = record_floor(*m.node) > old_floor;
  m.result.expiry_changed = old_expiry != m.expiry;
  m.result.header_changed = !existed || old_type != stored_type(*m.node) ||
                            old_floor != record_floor(*m.node) || old_expiry != m.expiry ||
                            m.result.wiped;
  // A string's elements are stored with its header.
  if (stored_type(*m.node) == TypeId::string && !m.result.taken.empty())
    m.result.header_changed = true;
  m.result.changed =
      m.result.header_changed || !m.result.taken.empty() || !m.result.removed.empty();
  m.result.live_after = record_live(*m.node);
  m.result.expiry_after = m.result.live_after ? m.expiry.at_ms : 0;
}

TypeClaim effect_claim(const Effect& e) {
  if (e.expired) return {e.type, e.claim};
  return {e.type, highest_claim(e, {})};
}

// The record is a stub, or the effect is of one: the table in apply.h. They are of one type, or one
// is of none (apply_about_stub).
void merge_stub(Merging& m, const Effect& e) {
  const bool existed = m.node != nullptr, was_stub = existed && record_stub(*m.node);
  const Version old_floor = existed ? record_floor(*m.node) : Version{};
  const Version old_newest = m.result.newest_before;
  const Expiry old_expiry = existed ? m.node->expiry() : Expiry{};
  m.floor = std::max({old_floor, e.floor, m.options.floor});
  const bool theirs = e.expiry.version > old_expiry.version;
  m.expiry = theirs ? e.expiry : old_expiry;
  const bool alive = m.expiry.version > m.floor;
  const bool of_stub = e.expired && m.expiry == e.expiry;
  const bool of_same = alive && (of_stub || (was_stub && !theirs));
  const Version newest = std::max(old_newest, e.newest());
  const Version covered = expiry_floor(m.expiry);
  const bool outlived = of_same && newest > covered;
  if (of_same && !outlived) {
    const TypeClaim ours = existed ? record_claim(*m.node) : TypeClaim{}, of_e = effect_claim(e);
    const bool claims = of_e.version > ours.version;
    if (was_stub && m.floor == old_floor && newest == old_newest && !theirs && !claims) return;
    m.result.changed = m.result.header_changed = true;
    m.result.floor_raised = m.floor > old_floor;
    m.result.expiry_changed = m.expiry != old_expiry;
    for (std::uint32_t i = 0; i < e.changes.size(); ++i) m.result.taken.push_back(i);
    m.result.stubbed = !was_stub;
    m.result.wiped = existed && m.node->has(Node::boxed);
    drop_collection(m);
    store_stub(m, e.key, newest, claims ? of_e : ours);
    return;
  }
  if (was_stub && !e.expired && !e.whole && !outlived && m.floor < old_newest) {
    m.result.hollow = true;
    m.result.stands = false;
    return;
  }
  m.expiry = {};
  if (was_stub) reshape(m, e.key, 0, TypeId::none, 0, old_floor);
  if (e.expired || outlived) {
    Effect part;
    if (!e.expired) part = e;
    part.db = e.db;
    part.key = e.key;
    part.floor = outlived ? std::max(e.floor, covered) : e.floor;
    if (e.expired) part.version = part.floor;
    merge_general(m, part);
  } else {
    merge_general(m, e);
  }
  if (was_stub) m.result.changed = m.result.header_changed = true;
}

bool overwrites_in_place(const Node& n, const Effect& e, const ApplyOptions& options) {
  if (e.type != TypeId::string || e.changes.size() != 1) return false;
  const Change& c = e.changes.front();
  return !c.sum && !c.tombstone && e.floor == c.version.before() && e.floor >= options.floor &&
         e.expiry.version <= e.floor && takes_in_place(n, c.payload.size(), c.version);
}

// Merges, whatever it is; what of types differs was settled where a stub has a part in it.
Node* merge_one(Node* record, const Effect& effect, const ApplyOptions& options, Slabs& slabs,
                ApplyResult& result, bool about_stub) {
  Merging m{.node = record, .options = options, .slabs = slabs, .result = result};
  if (record) {
    result.newest_before = record_newest(*record);
    result.live_before = record_live(*record);
    if (result.live_before && record->has(Node::has_expiry))
      result.expiry_before = record->expiry().at_ms;
  }
  const bool digests = options.digests, record_was = record != nullptr;
  if (digests) {
    m.seed = digest_seed(effect.key, effect.db);
    if (record) {
      result.digest_delta -= about_stub
                                 ? record_digest(*record, effect.db)
                                 : header_digest(m.seed, record_floor(*record), record->expiry());
    }
  }
  std::uint64_t string_before = 0;
  if (digests && record && stored_type(*record) == TypeId::string)
    string_before = cell_digest(m.seed, {}, string_cell(*record));
  if (about_stub) {
    const std::uint64_t delta_before = result.digest_delta;
    merge_stub(m, effect);
    result.digest_delta = delta_before;
  } else if (fast_string(m, effect)) {
    if (digests)
      result.digest_delta += cell_digest(m.seed, {}, string_cell(*m.node)) - string_before;
  } else if (!fast_elements(m, effect)) {
    merge_general(m, effect);
    if (digests && !record_was && stored_type(*m.node) == TypeId::string) {
      result.digest_delta += cell_digest(m.seed, {}, string_cell(*m.node));
    }
  }
  // A record that says no more than its slot's floor is none: raising that floor drops it as well.
  const bool says_nothing = stored_type(*m.node) == TypeId::none &&
                            !m.node->has(Node::has_expiry) && m.node->version <= options.floor;
  if (says_nothing || (!options.keep_tombstones && !result.live_after)) {
    result.changed = record_was;
    result.wiped = result.wiped || m.node->has(Node::boxed);
    destroy_record(slabs, m.node);
    return nullptr;
  }
  if (digests) {
    result.digest_delta += about_stub
                               ? record_digest(*m.node, effect.db)
                               : header_digest(m.seed, record_floor(*m.node), m.node->expiry());
  }
  return m.node;
}

// Between two types the claims decide, of a stub's as of elements that are there. The loser's side
// is merged as what is left of it: a floor as high as its claim, and its register.
Node* apply_about_stub(Node* record, const Effect& effect, const ApplyOptions& options,
                       Slabs& slabs, ApplyResult& result) {
  const Version floor =
      std::max({record ? record_floor(*record) : Version{}, effect.floor, options.floor});
  const TypeClaim ours = record ? record_claim(*record) : TypeClaim{},
                  theirs = effect_claim(effect);
  if (ours.version <= floor || theirs.version <= floor || ours.type == theirs.type)
    return merge_one(record, effect, options, slabs, result, true);
  Effect left;
  left.db = effect.db;
  left.key = effect.key;
  if (theirs.version < ours.version) {
    left.floor = std::max(effect.floor, theirs.version);
    left.expiry = effect.expiry;
    left.version = std::max(left.floor, left.expiry.version);
    left.whole = effect.whole;
    record = merge_one(record, left, options, slabs, result, record_stub(*record));
    for (const Change& c : effect.changes)
      result.stands &= c.version.node() == ours.version.node() && c.version <= ours.version;
    return record;
  }
  left.version = left.floor = std::max(floor, ours.version);
  left.whole = true;  // nothing of what a stub has dropped is above that floor
  record = merge_one(record, left, options, slabs, result, record_stub(*record));
  const ApplyResult first = result;
  result.clear();
  record = merge_one(record, effect, options, slabs, result,
                     effect.expired || (record && record_stub(*record)));
  result.changed |= first.changed;
  result.header_changed |= first.header_changed;
  result.floor_raised |= first.floor_raised;
  result.expiry_changed |= first.expiry_changed;
  result.wiped |= first.wiped;
  result.newest_before = first.newest_before;
  result.live_before = first.live_before;
  result.expiry_before = first.expiry_before;
  result.digest_delta += first.digest_delta;
  result.removed.insert(result.removed.end(), first.removed.begin(), first.removed.end());
  return record;
}

}  // namespace

Node* apply(Node* record, const Effect& effect, const ApplyOptions& options, Slabs& slabs,
            ApplyResult& result) {
  result.clear();
  if (record && !options.digests && overwrites_in_place(*record, effect, options)) {
    const Change& c = effect.changes.front();
    result.in_place = result.changed = result.header_changed = true;
    result.live_before = result.live_after = true;
    result.newest_before = record->version;
    result.taken.push_back(0);
    put_in_place(*record, c.payload, c.version);
    return record;
  }
  if (effect.expired || (record && record_stub(*record)))
    return apply_about_stub(record, effect, options, slabs, result);
  return merge_one(record, effect, options, slabs, result, false);
}

bool valid_effect(const Effect& effect) {
  if (effect.key.size() > (std::size_t{512} << 20)) return false;
  if (effect.expired) {
    return effect.changes.empty() && effect.expiry.at_ms != 0 &&
           effect.expiry.version > effect.floor && effect.version >= effect.expiry.version &&
           effect.version >= effect.claim && (effect.type == TypeId::none) == !effect.claim &&
           !effect.whole && !effect.slot_floor;
  }
  const bool one_element = effect.type == TypeId::string;
  // A sum is named by its opening, so no change of it is older: claims and floors rely on that.
  const auto valid = [one_element](const Change& c) {
    return c.sum <= c.version && (!one_element || c.id.empty());
  };
  if (!std::all_of(effect.changes.begin(), effect.changes.end(), valid)) return false;
  return effect.type <= TypeId::string || type_spec(effect.type).make != nullptr;
}

}  // namespace gyre
