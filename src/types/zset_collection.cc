#include "types/zset_collection.h"

#include <array>
#include <bit>
#include <cmath>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/numbers.h"
#include "types/packed.h"

namespace gyre {
namespace {

// Flags of a small entry; those of a Node mean the same.
constexpr std::uint8_t tombstone_flag = Node::tombstone;
constexpr std::uint8_t sums_flag = Node::sums;

// Of a small entry's kind alone.
constexpr unsigned table_score_bit = 4, kind_shift = 3;

// Scores from 0 on that are small integers have no bytes in an entry: their payload lies here.
constexpr std::size_t table_scores = 2048;
struct ScoreTable {
  ScoreBytes of[table_scores];
};
const ScoreTable& score_table() {
  static const ScoreTable table = [] {
    ScoreTable t;
    for (std::size_t i = 0; i < table_scores; ++i) t.of[i] = encode_score(static_cast<double>(i));
    return t;
  }();
  return table;
}
bool in_table(double score) {
  return score >= 0 && score < static_cast<double>(table_scores) && score == std::floor(score);
}
// A cell with more sums than fit this is rare enough for the large form.
constexpr std::size_t small_stored_max = 4096;

bool live_flags(std::uint8_t flags) {
  return !(flags & tombstone_flag) || (flags & sums_flag);
}

}  // namespace

ScoreBytes encode_score(double score) {
  ScoreBytes out;
  store_be64(out.data(), std::bit_cast<std::uint64_t>(score));
  return out;
}

double decode_score(std::string_view payload) {
  if (payload.size() != 8) return 0;
  const double score = std::bit_cast<double>(load_be64(payload.data()));
  return std::isnan(score) ? 0 : score;
}

double score_of(const Cell& cell) {
  double score = cell.tombstone ? 0 : decode_score(cell.payload());
  if (cell.has_sums) {
    for (const Sum& s : cell.sums()) score += parse_double(s.amount).value_or(0);
  }
  return std::isnan(score) ? 0 : score;
}

// ---- the object

Collection* ZsetCollection::make(Slabs& slabs) {
  return ::new (slabs.allocate(sizeof(ZsetCollection))) ZsetCollection();
}

void ZsetCollection::operator delete(ZsetCollection* self, std::destroying_delete_t) {
  Slabs& slabs = self->slabs();
  self->~ZsetCollection();
  slabs.release(self, sizeof(ZsetCollection));
}

ZsetCollection::~ZsetCollection() {
  if (small()) {
    if (body_) slabs().release(body_, capacity_);
    return;
  }
  large().table.for_each([this](Node* n) {
    Node::release(slabs(), n);
    return true;
  });
  large().~Large();
  slabs().release(body_, sizeof(Large));
}

std::size_t ZsetCollection::bytes() const {
  if (small()) return sizeof *this + capacity_;
  return sizeof *this + sizeof(Large) + large().table.bytes() + large().order.bytes() +
         large().node_bytes;
}

MoveStep ZsetCollection::move_blocks(std::uint64_t from, std::size_t limit) {
  if (!small()) {
    OrderTree& order = large().order;
    return large().table.move_nodes(from, limit, [&order](Node* old, Node* fresh) {
      if (node_live(*old)) order.replace(old, fresh);
    });
  }
  MoveStep step;
  if (!body_) return step;
  char* const fresh = slabs().copy_if_draining(block(), capacity_);
  if (fresh) slabs().release(std::exchange(body_, fresh), capacity_);
  ++(fresh ? step.moved : step.left);
  return step;
}

Collection* ZsetCollection::move_object() {
  if (!Slabs::drains(this, sizeof *this)) return this;
  auto* const fresh = ::new (slabs().allocate(sizeof(ZsetCollection))) ZsetCollection();
  fresh->floor = floor;
  fresh->body_ = std::exchange(body_, nullptr);
  fresh->used_ = used_;
  fresh->capacity_ = std::exchange(capacity_, 0);
  fresh->live_ = live_;
  fresh->tombstones_ = tombstones_;
  delete this;
  return fresh;
}

void ZsetCollection::account(bool was_known, bool was_live, bool is_known, bool is_live) {
  if (was_known) was_live ? --live_ : --tombstones_;
  if (is_known) is_live ? ++live_ : ++tombstones_;
}

// ---- merging

std::uint8_t ZsetCollection::Next::flags() const {
  return static_cast<std::uint8_t>((tombstone ? tombstone_flag : 0) | (sums ? sums_flag : 0));
}

ZsetCollection::Next ZsetCollection::next_from(const CellState& state, std::string& stored) {
  stored = state.stored();
  Next next{state.version, state.tombstone, state.has_sums(), stored, 0};
  if (next.live()) next.score = score_of({next.version, next.tombstone, next.sums, next.stored});
  return next;
}

// The outcome of merging `change` into `cell` (nullptr: there is none). Views in `next` live as
// long as the change and `state`.
CellMerge ZsetCollection::next_of(const Cell* cell, const Change& change, CellState& state,
                                  Next& next) {
  if (change.sum || (cell && cell->has_sums)) {
    if (cell) state = CellState::of(*cell);
    return state.merge(change);
  }
  const Version before = cell ? cell->version : Version{};
  if (change.version <= before) {
    const bool own = change.version == before || change.version.node() == before.node();
    return {.taken = false, .stands = own, .above = before};
  }
  next = {change.version, change.tombstone, false, {}, 0};
  if (!change.tombstone) {
    next.stored = change.payload;
    next.score = decode_score(change.payload);
  }
  return {.taken = true, .stands = true, .above = {}};
}

CellMerge ZsetCollection::merge(const Change& given, bool keep_tombstones) {
  static constexpr ScoreBytes zero{};
  Change change = given;
  if (!change.sum && !change.tombstone) {
    // What is no score means 0 on every node; stored as such, nothing behind this needs to ask.
    // Minus zero is 0 as well: Redis forgets its sign in small sets.
    if (decode_score(change.payload) == 0) change.payload = {zero.data(), zero.size()};
  }
  std::optional<Entry> old;
  Node** at = nullptr;
  Cell cell;
  const Cell* known = nullptr;
  if (small()) {
    if ((old = find_small(change.id))) cell = old->cell(), known = &cell;
  } else if ((at = find_large(change.id))) {
    cell = node_cell(**at);
    known = &cell;
  }
  Next next;
  CellState state;
  std::string stored;
  const CellMerge out = next_of(known, change, state, next);
  if (!out.taken) return out;
  if (state.present) next = next_from(state, stored);
  if (!next.live() && !keep_tombstones) {
    if (at) forget_large(at);
    if (old) forget_small(*old);
    return out;
  }
  if (small() && must_grow(change.id, next, known != nullptr)) {
    become_large();
    put_large(find_large(change.id), change.id, next);
    return out;
  }
  small() ? put_small(old, change.id, next) : put_large(at, change.id, next);
  return out;
}

void ZsetCollection::put(std::string_view member, const Next& next) {
  small() ? put_small(find_small(member), member, next)
          : put_large(find_large(member), member, next);
}

void ZsetCollection::forget(std::string_view member) {
  small() ? forget_small(*find_small(member)) : forget_large(find_large(member));
}

void ZsetCollection::drop_below(Version limit,
                                const std::function<void(std::string_view, bool)>& dropped) {
  std::vector<std::string> touched;
  for_each([&](const ElementView& e) {
    bool below = e.cell.version && e.cell.version <= limit;
    if (e.cell.has_sums && !below) {
      for (const Sum& s : e.cell.sums()) below = below || s.id <= limit;
    }
    if (below) touched.emplace_back(e.id);
    return true;
  });
  for (const std::string& member : touched) {
    Cell cell;
    find(member, cell);
    CellState state = CellState::of(cell);
    state.drop_below(limit);
    if (state.present) {
      std::string stored;
      put(member, next_from(state, stored));
    } else {
      forget(member);
    }
    dropped(member, state.present);
  }
}

void ZsetCollection::drop_tombstone(std::string_view member) {
  Cell cell;
  const bool there = find(member, cell);
  GYRE_ASSERT(there && cell.tombstone);
  if (!cell.has_sums) return forget(member);
  CellState state = CellState::of(cell);
  state.version = {};
  std::string stored;
  put(member, next_from(state, stored));
}

std::optional<std::string> ZsetCollection::total(const Cell& cell) const {
  const ScoreBytes score = encode_score(score_of(cell));
  return std::string(score.data(), score.size());
}

// ---- reading

bool ZsetCollection::find(std::string_view id, Cell& cell) const {
  if (small()) {
    const auto e = find_small(id);
    if (e) cell = e->cell();
    return e.has_value();
  }
  Node** at = find_large(id);
  if (at) cell = node_cell(**at);
  return at != nullptr;
}

bool ZsetCollection::for_each(const std::function<bool(const ElementView&)>& f) const {
  if (!small()) {
    return large().table.for_each([&](const Node* n) {
      return f(ElementView{n->key(), node_cell(*n)});
    });
  }
  for (std::size_t at = 0; at < used_;) {
    const Entry e = entry(at);
    if (!f({e.member, e.cell()})) return false;
    at += e.size;
  }
  return true;
}

std::optional<double> ZsetCollection::score(std::string_view member) const {
  if (small()) {
    const auto e = find_small(member);
    return e && e->live() ? std::optional(e->score) : std::nullopt;
  }
  Node** at = find_large(member);
  return at && node_live(**at) ? std::optional(node_score(**at)) : std::nullopt;
}

std::size_t ZsetCollection::rank(const ZsetBorder& border) const {
  if (!small()) {
    return large().order.rank(
        [&](double score, const Node& n) { return border.above(score, [&] { return n.key(); }); });
  }
  std::size_t rank = 0;
  for (std::size_t at = 0; rank < live_; ++rank) {
    const Entry e = entry(at);
    if (!border.above(e.score, [&] { return e.member; })) break;
    at += e.size;
  }
  return rank;
}

void ZsetCollection::walk(std::size_t rank, std::size_t count, bool downward,
                          const Visit& visit) const {
  if (count == 0) return;
  GYRE_ASSERT(downward ? rank < live_ && count <= rank + 1 : rank + count <= live_);
  if (!small()) {
    for (auto p = large().order.at(rank); count > 0; --count) {
      if (!visit(p.node().key(), node_score(p.node()))) return;
      downward ? p.backward() : p.forward();
    }
    return;
  }
  // Entries have no links, so a first pass finds where each begins.
  std::array<std::uint32_t, small_elements_max> begins;
  const std::size_t last = downward ? rank : rank + count - 1;
  std::size_t at = 0;
  for (std::size_t i = 0; i <= last; ++i) {
    begins[i] = static_cast<std::uint32_t>(at);
    at += entry(at).size;
  }
  for (; count > 0; --count) {
    const Entry e = entry(begins[rank]);
    if (!visit(e.member, e.score)) return;
    downward ? --rank : ++rank;
  }
}

std::uint64_t ZsetCollection::scan(std::uint64_t cursor, const Visit& visit) const {
  if (small()) {
    walk(0, live_, false, visit);
    return 0;
  }
  return large().table.walk(cursor, [&](const Node* n) {
    if (node_live(*n)) visit(n->key(), node_score(*n));
  });
}

// ---- the small form

bool ZsetCollection::Entry::live() const {
  return live_flags(flags);
}

Cell ZsetCollection::Entry::cell() const {
  return {version, (flags & tombstone_flag) != 0, (flags & sums_flag) != 0, stored};
}

Version ZsetCollection::first_version() const {
  Version v;
  std::memcpy(&v.bits, block(), 8);
  return v;
}

ZsetCollection::Entry ZsetCollection::entry(std::size_t at) const {
  Entry e;
  const char* const begin = block() + block_header + at;
  const char* p = begin;
  e.at = at;
  const auto member_size = static_cast<std::uint8_t>(*p++);
  std::uint64_t delta, kind;
  p = read_varint(p, delta);
  p = read_varint(p, kind);
  e.version = version_at(first_version(), delta);
  if (kind & 1) e.flags |= tombstone_flag;
  if (kind & 2) e.flags |= sums_flag;
  if (kind & table_score_bit) {
    const ScoreBytes& score = score_table().of[kind >> kind_shift];
    e.stored = {score.data(), score.size()};
    e.score = static_cast<double>(kind >> kind_shift);
  } else if (e.live()) {
    e.stored = {p, 8};
    e.score = std::bit_cast<double>(load_be64(p));
    p += 8;
  }
  std::uint16_t stored_size = 0;
  if (e.flags & sums_flag) {
    std::memcpy(&stored_size, p, 2);
    p += 2;
  }
  e.member = {p, member_size};
  p += member_size;
  if (e.flags & sums_flag) {
    e.stored = {p, stored_size};
    p += stored_size;
  }
  e.size = static_cast<std::size_t>(p - begin);
  return e;
}

std::optional<ZsetCollection::Entry> ZsetCollection::find_small(std::string_view member) const {
  for (std::size_t at = 0; at < used_;) {
    const Entry e = entry(at);
    if (e.member == member) return e;
    at += e.size;
  }
  return std::nullopt;
}

void ZsetCollection::put_small(const std::optional<Entry>& old, std::string_view member,
                               const Next& next) {
  const Version first = body_ ? first_version() : next.version;
  const bool short_score = next.live() && in_table(next.score);
  std::uint64_t kind = (next.tombstone ? 1u : 0u) | (next.sums ? 2u : 0u);
  if (short_score) kind |= table_score_bit | static_cast<std::uint64_t>(next.score) << kind_shift;
  const std::uint64_t delta = zigzag_between(first, next.version);
  const std::size_t size = 1 + varint_size(delta) + varint_size(kind) +
                           (next.live() && !short_score ? 8 : 0) + member.size() +
                           (next.sums ? 2 + next.stored.size() : 0);
  const bool was_live = old && old->live();
  // The same place when the order does not change.
  const bool stays =
      old && old->live() == next.live() && (!next.live() || old->score == next.score);
  std::size_t at = stays ? old->at : 0;
  char* p;
  if (stays) {
    p = splice(at, old->size, size);
    account(true, was_live, true, next.live());
  } else {
    // The block stays, and with it the version that the others are relative to.
    if (old) take_out(*old);
    std::uint32_t passed = 0;
    const ZsetBorder border = ZsetBorder::at(next.score, member);
    while (next.live() ? passed < live_ : at < used_) {
      const Entry e = entry(at);
      if (next.live() && !border.above(e.score, [&] { return e.member; })) break;
      at += e.size;
      ++passed;
    }
    p = splice(at, 0, size);
    account(false, false, true, next.live());
  }
  if (used_ == size) std::memcpy(block(), &first.bits, 8);
  *p++ = static_cast<char>(member.size());
  p = write_varint(p, delta);
  p = write_varint(p, kind);
  if (next.live() && !short_score) {
    next.sums ? store_be64(p, std::bit_cast<std::uint64_t>(next.score))
              : static_cast<void>(std::memcpy(p, next.stored.data(), 8));
    p += 8;
  }
  if (next.sums) {
    const auto stored_size = static_cast<std::uint16_t>(next.stored.size());
    std::memcpy(p, &stored_size, 2);
    p += 2;
  }
  std::memcpy(p, member.data(), member.size());
  if (next.sums) std::memcpy(p + member.size(), next.stored.data(), next.stored.size());
}

void ZsetCollection::take_out(const Entry& old) {
  account(true, old.live(), false, false);
  splice(old.at, old.size, 0);
}

void ZsetCollection::forget_small(const Entry& old) {
  take_out(old);
  if (used_ == 0) resize_block(0);
}

// Makes `cut` bytes at an offset into `add` bytes; what lies behind them moves.
char* ZsetCollection::splice(std::size_t at, std::size_t cut, std::size_t add) {
  const std::size_t total = used_ - cut + add, needed = block_header + total;
  if (needed > capacity_) resize_block(needed);
  char* from = block() + block_header + at;
  if (add != cut) std::memmove(from + add, from + cut, used_ - at - cut);
  used_ = static_cast<std::uint32_t>(total);
  if (needed + 64 < capacity_ / 2) resize_block(needed);
  return block() + block_header + at;
}

// Moves the block into one for `needed` bytes; 0: away with it. It is exact while it is short, as
// most sets are small and change seldom; above, an eighth is spare.
void ZsetCollection::resize_block(std::size_t needed) {
  const std::size_t spare = needed > Slabs::fine ? needed / 8 : 0;
  const std::size_t capacity = Slabs::rounded(needed + spare);
  char* fresh = capacity > 0 ? static_cast<char*>(slabs().allocate(capacity)) : nullptr;
  if (body_ && fresh)
    std::memcpy(fresh, block(), std::min<std::size_t>(block_header + used_, capacity));
  if (body_) slabs().release(body_, capacity_);
  body_ = fresh;
  capacity_ = static_cast<std::uint32_t>(capacity);
}

bool ZsetCollection::must_grow(std::string_view member, const Next& next, bool known) const {
  return (!known && entries() >= small_elements_max) || member.size() > small_member_max ||
         (next.sums && next.stored.size() > small_stored_max);
}

void ZsetCollection::become_large() {
  auto* body = ::new (slabs().allocate(sizeof(Large))) Large(slabs());
  char* old_block = block();
  const std::uint32_t old_used = used_, old_capacity = capacity_;
  std::vector<Entry> all;
  for (std::size_t at = 0; at < old_used; at += all.back().size) all.push_back(entry(at));
  body_ = body;
  capacity_ = large_form;
  used_ = live_ = tombstones_ = 0;
  for (const Entry& e : all) {
    put_large(nullptr, e.member,
              {e.version, (e.flags & tombstone_flag) != 0, (e.flags & sums_flag) != 0, e.stored,
               e.score});
  }
  if (old_block) slabs().release(old_block, old_capacity);
}

// ---- the large form

bool ZsetCollection::node_live(const Node& n) {
  return live_flags(n.flags());
}

Cell ZsetCollection::node_cell(const Node& n) {
  std::string_view stored = n.value();
  if (n.has(Node::sums)) stored.remove_prefix(8);
  return {n.version, n.has(Node::tombstone), n.has(Node::sums), stored};
}

Node** ZsetCollection::find_large(std::string_view member) const {
  return large().table.find(member, key_hash(member));
}

void ZsetCollection::put_large(Node** at, std::string_view member, const Next& next) {
  Large& l = large();
  Node* old = at ? *at : nullptr;
  const bool was_live = old && node_live(*old);
  const bool same = was_live && next.live() && node_score(*old) == next.score;
  const std::size_t size = next.live() ? 8 + (next.sums ? next.stored.size() : 0) : 0;
  const bool in_place = old && old->fits(size, next.flags());
  Node* n = in_place ? old : Node::make(slabs(), member, size, 0, next.flags(), next.version);
  if (was_live && !same) l.order.erase(old);
  if (in_place) {
    n->version = next.version;
    n->set_flags(static_cast<std::uint8_t>((n->flags() & Node::long_sizes) | next.flags()));
    n->resize_in_place(size);
  }
  if (next.live()) {
    char* to = n->value_data();
    next.sums ? store_be64(to, std::bit_cast<std::uint64_t>(next.score))
              : static_cast<void>(std::memcpy(to, next.stored.data(), 8));
    if (next.sums) std::memcpy(to + 8, next.stored.data(), next.stored.size());
  }
  if (next.live() && !same) l.order.insert(n);
  if (same && n != old) l.order.replace(old, n);
  account(old != nullptr, was_live, true, next.live());
  if (n == old) return;
  l.node_bytes += Slabs::rounded(n->bytes());
  if (!old) {
    l.table.insert(n, key_hash(member));
    return;
  }
  *at = n;
  l.node_bytes -= Slabs::rounded(old->bytes());
  Node::release(slabs(), old);
}

void ZsetCollection::forget_large(Node** at) {
  Large& l = large();
  Node* n = *at;
  const bool was_live = node_live(*n);
  if (was_live) l.order.erase(n);
  l.table.erase(at);
  account(true, was_live, false, false);
  l.node_bytes -= Slabs::rounded(n->bytes());
  Node::release(slabs(), n);
}

// ---- for tests

bool ZsetCollection::consistent() const {
  std::size_t live = 0, dead = 0;
  if (small()) {
    std::optional<Entry> before;
    for (std::size_t at = 0; at < used_;) {
      const Entry e = entry(at);
      if (e.live()) {
        if (dead > 0 || std::isnan(e.score) || e.score != score_of(e.cell())) return false;
        if (before && !ZsetBorder::at(e.score, e.member).above(before->score, [&] {
              return before->member;
            })) {
          return false;
        }
        before = e;
      }
      e.live() ? ++live : ++dead;
      at += e.size;
    }
    return live == live_ && dead == tombstones_ &&
           (used_ == 0 ? !body_ : block_header + used_ <= capacity_);
  }
  std::size_t node_bytes = 0;
  const bool nodes_ok = large().table.for_each([&](const Node* n) {
    node_bytes += Slabs::rounded(n->bytes());
    node_live(*n) ? ++live : ++dead;
    if (!node_live(*n)) return true;
    const double score = score_of(node_cell(*n));
    if (std::isnan(score) || score != node_score(*n)) return false;
    const std::size_t rank = this->rank(ZsetBorder::at(score, n->key()));
    return rank < large().order.size() && &large().order.at(rank).node() == n;
  });
  return nodes_ok && live == live_ && dead == tombstones_ && node_bytes == large().node_bytes &&
         large().order.size() == live && large().order.consistent();
}

}  // namespace gyre
