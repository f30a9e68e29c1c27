#include "record/purge.h"

#include <algorithm>
#include <optional>

#include "base/probe.h"
#include "record/apply.h"

namespace gyre {
namespace {

// A removed base, alone or under counter sums.
bool dead_below(const Cell& cell, Version upto) {
  return cell.tombstone && cell.version && cell.version <= upto;
}

bool foldable(const Cell& cell, Version closed) {
  return cell.has_sums && cell.sums().front().id <= closed;
}

bool changes(const Cell& cell, const PurgeBound& bound) {
  return dead_below(cell, bound.upto) || foldable(cell, bound.sums);
}

// The base that takes the place of the closed sums and the old base. None: there are no closed
// ones, or what they are added to is no number; then all stays as it is.
struct Folded {
  Version version{};
  std::string payload;
};
std::optional<Folded> fold(const Cell& cell, Version closed, const Collection* c) {
  if (!foldable(cell, closed)) return {};
  const CellState part = closed_part(cell, closed);
  const std::string stored = part.stored();
  const Cell sums{part.version, part.tombstone, true, stored};
  auto total = c ? c->total(sums) : cell_total(sums);
  if (!total) return {};
  GYRE_PROBE(sums_folded);
  return Folded{part.sums.back().id, std::move(*total)};
}

// Counts of tombstones leave out the bases under sums, so what may hold sums is walked.
bool may_hold_dead(const Node& n) {
  const TypeId type = stored_type(n);
  return collection_of(n)->tombstones() > 0 || type == TypeId::hash || type == TypeId::zset;
}

// The floor that an overwrite left just below a string's version stays: where it is implied, it
// takes no space, and whether it is written out depends on what came later.
bool floor_dead(const Node& n, Version upto) {
  const Version floor = record_floor(n);
  if (!floor || floor > upto) return false;
  return stored_type(n) != TypeId::string || floor != string_cell(n).version.before();
}

bool register_dead(const Node& n, Version upto) {
  if (!n.has(Node::has_expiry)) return false;
  const Expiry e = n.expiry();
  return e.at_ms == 0 && e.version <= upto;
}

// Purges the elements of a collection. What is left decides the node's newest version, as a node
// says that reads the record from its rows: bases of commands are compared with it.
void purge_elements(Node& n, std::uint64_t seed, const PurgeBound& bound, PurgeResult& result) {
  Collection* c = collection_of(n);
  Version newest = c->floor;
  c->for_each([&](const ElementView& e) {
    if (changes(e.cell, bound)) {
      result.digest_delta -= cell_digest(seed, e.id, e.cell);
      result.changed.emplace_back(e.id);
    } else {
      newest = std::max(newest, e.cell.newest());
    }
    return true;
  });
  for (const std::string& id : result.changed) {
    Cell cell;
    GYRE_ASSERT(c->find(id, cell));
    if (const auto base = fold(cell, bound.sums, c)) {
      c->merge({id, base->version, {}, false, base->payload}, true);
    } else if (dead_below(cell, bound.upto)) {
      c->drop_tombstone(id);
    }
    if (!c->find(id, cell)) continue;
    result.digest_delta += cell_digest(seed, id, cell);
    newest = std::max(newest, cell.newest());
  }
  n.version = newest;
}

// The register that says 'never' goes, and the floor.
Node* purge_header(Node* n, const PurgeBound& bound, Slabs& slabs) {
  Collection* c = collection_of(*n);
  if (c->floor <= bound.upto) c->floor = {};
  if (!register_dead(*n, bound.upto)) return n;
  Node* plain = Node::make(slabs, n->key(), n->value_size(), n->type(),
                           static_cast<std::uint8_t>(n->flags() & ~Node::has_expiry), n->version);
  std::memcpy(plain->value_data(), n->value().data(), n->value_size());
  Node::release(slabs, n);
  return plain;
}

// Built anew from what is left: apply decides the shape, the same on every replica.
Node* rebuild(Node* n, DbIndex db, const PurgeBound& bound, Slabs& slabs) {
  Effect rest;
  gyre::record_effect(*n, db, {}, rest);
  std::optional<Folded> base;
  if (stored_type(*n) == TypeId::string) base = fold(string_cell(*n), bound.sums, nullptr);
  std::erase_if(rest.changes, [&](const Change& c) {
    if (base) return !c.sum || c.sum <= base->version;
    return c.tombstone && c.version <= bound.upto;
  });
  if (base) rest.changes.push_back({{}, base->version, {}, false, base->payload});
  if (floor_dead(*n, bound.upto)) rest.floor = {};
  if (rest.expiry.at_ms == 0 && rest.expiry.version <= bound.upto) rest.expiry = {};
  if (rest.changes.empty() && !rest.expired) rest.type = TypeId::none;
  ApplyOptions options;
  options.keep_tombstones = true;
  ApplyResult applied;
  Node* fresh = apply(nullptr, rest, options, slabs, applied);
  destroy_record(slabs, n);
  return fresh;
}

std::uint64_t string_digest(const Node& n, std::uint64_t seed) {
  return stored_type(n) == TypeId::string ? cell_digest(seed, {}, string_cell(n)) : 0;
}

std::uint64_t header_digest_of(const Node& n, std::uint64_t seed) {
  return header_digest(seed, record_floor(n), n.has(Node::has_expiry) ? n.expiry() : Expiry{});
}

Version lowest_above(const Cell& cell, Version closed) {
  if (!cell.has_sums) return {};
  for (const Sum& s : cell.sums()) {
    if (s.id > closed) return s.id;  // ids ascend
  }
  return {};
}

}  // namespace

bool purgeable(const Node& n, const PurgeBound& bound) {
  if (!record_live(n) && record_newest(n) <= bound.upto) return true;
  if (register_dead(n, bound.upto) || floor_dead(n, bound.upto)) return true;
  if (stored_type(n) == TypeId::string) return changes(string_cell(n), bound);
  if (!n.has(Node::boxed)) return false;
  return may_hold_dead(n) &&
         !collection_of(n)->for_each([&](const ElementView& e) { return !changes(e.cell, bound); });
}

Version oldest_open_sum(const Node& n, Version closed) {
  if (stored_type(n) == TypeId::string) return lowest_above(string_cell(n), closed);
  Version lowest{};
  if (stored_type(n) != TypeId::hash && stored_type(n) != TypeId::zset) return lowest;
  collection_of(n)->for_each([&](const ElementView& e) {
    const Version v = lowest_above(e.cell, closed);
    if (v && (!lowest || v < lowest)) lowest = v;
    return true;
  });
  return lowest;
}

Node* purge_record(Node* n, DbIndex db, const PurgeBound& bound, Slabs& slabs,
                   PurgeResult& result) {
  result.gone = result.header_changed = false;
  result.changed.clear();
  result.digest_delta = 0;
  if (!purgeable(*n, bound)) return n;
  const std::uint64_t seed = digest_seed(n->key(), db);
  if (!record_live(*n) && record_newest(*n) <= bound.upto) {
    result.digest_delta = 0 - record_digest(*n, db);
    result.gone = true;
    destroy_record(slabs, n);
    return nullptr;
  }
  const bool header = register_dead(*n, bound.upto) || floor_dead(*n, bound.upto);
  bool elements = false;
  if (n->has(Node::boxed)) {
    if (may_hold_dead(*n)) purge_elements(*n, seed, bound, result);
    elements = collection_of(*n)->live() > 0 || collection_of(*n)->tombstones() > 0;
    if (!header && elements) return n;
  }
  result.header_changed = true;
  result.digest_delta -= header_digest_of(*n, seed) + string_digest(*n, seed);
  n = elements ? purge_header(n, bound, slabs) : rebuild(n, db, bound, slabs);
  if (n) {
    result.digest_delta += header_digest_of(*n, seed) + string_digest(*n, seed);
  } else {
    result.gone = true;
  }
  return n;
}

bool strip_known(Effect& effect, Version upto) {
  if (effect.expired) {
    // One state: its register says what it is of, however old.
    if (effect.floor <= upto) effect.floor = {};
    return effect.version > upto;
  }
  const std::size_t elements = effect.changes.size();
  if (effect.floor <= upto) effect.floor = {};
  if (effect.expiry.version <= upto) effect.expiry = {};
  std::erase_if(effect.changes, [upto](const Change& c) { return c.version <= upto; });
  effect.whole &= effect.changes.size() == elements;
  return effect.floor || effect.expiry.version || !effect.changes.empty();
}

}  // namespace gyre
