#include "record/purge.h"

#include <algorithm>

#include "record/apply.h"

namespace gyre {
namespace {

// A removed base, alone or under counter sums.
bool dead_below(const Cell& cell, Version upto) {
  return cell.tombstone && cell.version && cell.version <= upto;
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

}  // namespace

bool purgeable(const Node& n, Version upto) {
  if (!record_live(n) && record_newest(n) <= upto) return true;
  if (register_dead(n, upto) || floor_dead(n, upto)) return true;
  if (stored_type(n) == TypeId::string) return dead_below(string_cell(n), upto);
  if (!n.has(Node::boxed)) return false;
  return may_hold_dead(n) && !collection_of(n)->for_each(
                                 [&](const ElementView& e) { return !dead_below(e.cell, upto); });
}

Node* purge_record(Node* n, DbIndex db, Version upto, Slabs& slabs, PurgeResult& result) {
  result.gone = result.header_changed = false;
  result.removed.clear();
  result.digest_delta = 0;
  if (!purgeable(*n, upto)) return n;
  const std::uint64_t seed = digest_seed(n->key(), db);
  if (!record_live(*n) && record_newest(*n) <= upto) {
    result.digest_delta = 0 - record_digest(*n, db);
    result.gone = true;
    destroy_record(slabs, n);
    return nullptr;
  }
  const bool header = register_dead(*n, upto) || floor_dead(*n, upto);
  if (n->has(Node::boxed)) {
    Collection* c = collection_of(*n);
    if (may_hold_dead(*n)) {
      // The newest of what is left, as a node says that reads the record from its rows: bases of
      // commands are compared with it.
      Version newest = c->floor;
      c->for_each([&](const ElementView& e) {
        if (dead_below(e.cell, upto)) {
          result.digest_delta -= cell_digest(seed, e.id, e.cell);
          result.removed.emplace_back(e.id);
        } else {
          newest = std::max(newest, e.cell.newest());
        }
        return true;
      });
      for (const std::string& id : result.removed) {
        c->drop_tombstone(id);
        Cell left;
        if (!c->find(id, left)) continue;
        result.digest_delta += cell_digest(seed, id, left);
        newest = std::max(newest, left.newest());
      }
      n->version = newest;
    }
    if (!header && (c->live() > 0 || c->tombstones() > 0)) return n;
  }
  // Built anew from what is left: apply decides the shape, the same on every replica.
  result.header_changed = true;
  result.digest_delta -=
      header_digest(seed, record_floor(*n), n->has(Node::has_expiry) ? n->expiry() : Expiry{});
  const bool keeps_collection =
      n->has(Node::boxed) && (collection_of(*n)->live() > 0 || collection_of(*n)->tombstones() > 0);
  if (keeps_collection) {
    Collection* c = collection_of(*n);
    if (c->floor <= upto) c->floor = {};
    if (register_dead(*n, upto)) {
      Node* plain =
          Node::make(slabs, n->key(), n->value_size(), n->type(),
                     static_cast<std::uint8_t>(n->flags() & ~Node::has_expiry), n->version);
      std::memcpy(plain->value_data(), n->value().data(), n->value_size());
      Node::release(slabs, n);
      n = plain;
    }
    result.digest_delta +=
        header_digest(seed, record_floor(*n), n->has(Node::has_expiry) ? n->expiry() : Expiry{});
    return n;
  }
  Effect rest;
  gyre::record_effect(*n, db, {}, rest);
  if (stored_type(*n) == TypeId::string)
    result.digest_delta -= cell_digest(seed, {}, string_cell(*n));
  std::erase_if(rest.changes, [upto](const Change& c) { return c.tombstone && c.version <= upto; });
  if (floor_dead(*n, upto)) rest.floor = {};
  if (rest.expiry.at_ms == 0 && rest.expiry.version <= upto) rest.expiry = {};
  if (rest.changes.empty()) rest.type = TypeId::none;
  ApplyOptions options;
  options.keep_tombstones = true;
  ApplyResult applied;
  Node* fresh = apply(nullptr, rest, options, slabs, applied);
  destroy_record(slabs, n);
  if (!fresh) {
    result.gone = true;
    return nullptr;
  }
  result.digest_delta += header_digest(seed, record_floor(*fresh),
                                       fresh->has(Node::has_expiry) ? fresh->expiry() : Expiry{});
  if (stored_type(*fresh) == TypeId::string)
    result.digest_delta += cell_digest(seed, {}, string_cell(*fresh));
  return fresh;
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
