#include "record/record.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/hash.h"

namespace gyre {
namespace {

std::uint64_t mix(std::uint64_t seed, std::uint64_t a, std::uint64_t b) {
  char bytes[16];
  store_be64(bytes, a);
  store_be64(bytes + 8, b);
  return hash64({bytes, sizeof bytes}, seed);
}

void add_cell(Effect& out, std::string_view id, const Cell& cell, Version since) {
  const auto add = [&](const Change& c) {
    if (c.version >= since) {
      out.changes.push_back(c);
    } else {
      out.whole = false;
    }
  };
  if (cell.version) {
    add({id,
         cell.version,
         {},
         cell.tombstone,
         cell.tombstone ? std::string_view() : cell.payload()});
  }
  if (!cell.has_sums) return;
  for (const Sum& s : cell.sums()) add({id, s.version, s.id, false, s.amount});
}

Version claim_of(const Cell& cell) {
  Version v = cell.version;
  if (cell.has_sums) {
    for (const Sum& s : cell.sums()) v = std::max(v, s.id);
  }
  return v;
}

}  // namespace

TypeClaim record_claim(const Node& n) {
  TypeClaim claim{stored_type(n), {}};
  if (record_stub(n)) {
    const std::string_view kept = n.value();
    claim.type = static_cast<TypeId>(kept[8]);
    // By the newest version that it held, where nothing else is kept.
    claim.version = kept.size() > 9 ? Version{load_be64(kept.data() + 9)} : n.version;
    if (claim.type == TypeId::none) return {};
  } else if (claim.type == TypeId::string) {
    claim.version = claim_of(string_cell(n));
  } else if (n.has(Node::boxed)) {
    // Node.version may be the floor's or the expiry's, so look.
    collection_of(n)->for_each([&](const ElementView& e) {
      claim.version = std::max(claim.version, claim_of(e.cell));
      return true;
    });
  }
  return claim.version > record_floor(n) ? claim : TypeClaim{};
}

Version record_floor(const Node& n) {
  switch (stored_type(n)) {
    case TypeId::none:
    case TypeId::string:
      if (n.has(Node::floored)) return {load_be64(n.value().data())};
      return stored_type(n) == TypeId::none ? n.version : n.version.before();
    default:
      return collection_of(n)->floor;
  }
}

Version record_newest(const Node& n) {
  Version v = std::max(n.version, n.has(Node::has_expiry) ? n.expiry().version : Version{});
  if (stored_type(n) == TypeId::string) {
    v = std::max(v, record_floor(n));
    if (n.has(Node::sums)) v = std::max(v, string_cell(n).newest());
  }
  return v;
}

void destroy_record(Slabs& slabs, Node* n) {
  if (n->has(Node::boxed)) delete collection_of(*n);
  Node::release(slabs, n);
}

std::size_t record_bytes(const Node& n) {
  return Slabs::rounded(n.bytes()) + (n.has(Node::boxed) ? collection_of(n)->bytes() : 0);
}

void record_effect(const Node& n, DbIndex db, Version since, Effect& out) {
  out.clear();
  out.db = db;
  out.key = n.key();
  out.type = stored_type(n);
  out.floor = record_floor(n);
  if (n.has(Node::has_expiry)) out.expiry = n.expiry();
  out.version = record_newest(n);
  out.expired = record_stub(n);
  if (out.expired) {
    const TypeClaim claim = record_claim(n);
    out.type = claim.type;
    out.claim = claim.version;
  }
  out.whole = !out.expired;  // until something is left out
  if (out.expired) return;
  if (out.type == TypeId::string) {
    add_cell(out, {}, string_cell(n), since);
  } else if (out.type != TypeId::none) {
    const Collection* const c = collection_of(n);
    const bool made = c->makes_ids();
    c->for_each([&](const ElementView& e) {
      if (!made) {
        add_cell(out, e.id, e.cell, since);
      } else if (e.cell.version >= since) {
        add_cell(out, out.keep(e.id), e.cell, since);
      } else {
        out.whole = false;
      }
      return true;
    });
  }
}

std::uint64_t digest_seed(std::string_view key, DbIndex db) {
  return hash64(key, db.value);
}

std::uint64_t header_digest(std::uint64_t seed, Version floor, const Expiry& expiry) {
  return mix(mix(seed, floor.bits, 1), static_cast<std::uint64_t>(expiry.at_ms),
             expiry.version.bits);
}

std::uint64_t cell_digest(std::uint64_t seed, std::string_view id, const Cell& cell) {
  const std::uint64_t own = hash64(id, seed);
  std::uint64_t sum = 0;
  if (cell.version) sum += mix(own, cell.version.bits, cell.tombstone ? 3 : 2);
  if (cell.has_sums) {
    for (const Sum& s : cell.sums()) sum += mix(own, s.id.bits, s.version.bits);
  }
  return sum;
}

std::uint64_t record_digest(const Node& n, DbIndex db) {
  const std::uint64_t seed = digest_seed(n.key(), db);
  std::uint64_t sum =
      header_digest(seed, record_floor(n), n.has(Node::has_expiry) ? n.expiry() : Expiry{});
  if (record_stub(n)) {
    const TypeClaim claim = record_claim(n);
    sum += mix(mix(seed, n.version.bits, 4), claim.version.bits,
               static_cast<std::uint64_t>(claim.type));
  } else if (stored_type(n) == TypeId::string) {
    sum += cell_digest(seed, {}, string_cell(n));
  } else if (stored_type(n) != TypeId::none) {
    collection_of(n)->for_each([&](const ElementView& e) {
      sum += cell_digest(seed, e.id, e.cell);
      return true;
    });
  }
  return sum;
}

}  // namespace gyre
