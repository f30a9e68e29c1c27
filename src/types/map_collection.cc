#include "types/map_collection.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"

namespace gyre {
namespace {

char* write_bytes(char* to, std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  return to + bytes.size();
}

// Exact while blocks are small and many; a little room ahead where copying them would cost more.
std::size_t capacity_for(std::size_t size) {
  return Slabs::rounded(size < 192 ? size : size + size / 8);
}

}  // namespace

MapCollection::~MapCollection() {
  if (!large_) {
    if (block_) slabs().release(block_, capacity());
    return;
  }
  table_->for_each([this](Node* n) {
    Node::release(slabs(), n);
    return true;
  });
  table_->~NodeTable();
  slabs().release(table_, sizeof(NodeTable));
}

void MapCollection::operator delete(MapCollection* self, std::destroying_delete_t,
                                    std::size_t size) {
  Slabs& slabs = self->slabs();
  self->~MapCollection();
  slabs.release(self, size);
}

std::size_t MapCollection::bytes() const {
  if (!large_) return sizeof *this + (block_ ? capacity() : 0);
  // A sample stands for all: this is asked about collections of millions.
  std::size_t nodes = 0, sampled = 0;
  table_->for_each([&](const Node* n) {
    sampled += Slabs::rounded(n->bytes());
    return ++nodes < 64;
  });
  if (nodes > 0) sampled = sampled * table_->size() / nodes;
  return sizeof *this + sizeof(NodeTable) + table_->bytes() + sampled;
}

MoveStep MapCollection::move_blocks(std::uint64_t from, std::size_t limit) {
  MoveStep step;
  if (!large_) {
    if (!block_) return step;
    char* const fresh = slabs().copy_if_draining(block_, capacity());
    if (fresh) slabs().release(std::exchange(block_, fresh), capacity());
    ++(fresh ? step.moved : step.left);
    return step;
  }
  return table_->move_nodes(from, limit, [](Node*, Node*) {});
}

Collection* MapCollection::move_object() {
  if (!Slabs::drains(this, sizeof *this)) return this;
  auto* const fresh = create<MapCollection>(slabs());
  fresh->floor = floor;
  fresh->block_ = std::exchange(block_, nullptr);
  fresh->live_ = live_;
  fresh->dead_ = dead_;
  fresh->large_ = large_;
  large_ = 0;
  delete this;
  return fresh;
}

bool MapCollection::find(std::string_view id, Cell& cell) const {
  return static_cast<bool>(place_of(id, large_ ? key_hash(id) : 0, cell));
}

MapCollection::Place MapCollection::place_of(std::string_view id, std::uint64_t hash,
                                             Cell& cell) const {
  if (large_) {
    Node** at = table_->find(id, hash);
    if (at) cell = view(**at).cell;
    return {.node = at};
  }
  if (!block_) return {};
  const char* const end = block_end();
  for (char* at = block_ + header_size; at != end;) {
    unsigned head;
    std::string_view found;
    const char* next = read_id(at, head, found);
    if (found == id) {
      next = read_content(next, head, first_version(), cell);
      return {.entry = at, .size = static_cast<std::size_t>(next - at)};
    }
    if (head & later_bit) {
      while (*next++ & 0x80) {  // the version is of no interest
      }
    }
    std::uint64_t tail = 0;
    if (head & content_bit) next = read_varint(next, tail);
    at += next - at + static_cast<std::ptrdiff_t>(tail >> 2);
  }
  return {};
}

CellMerge MapCollection::merge(const Change& change, bool keep_tombstones) {
  const std::uint64_t hash = large_ ? key_hash(change.id) : 0;
  Cell cell;
  const Place place = place_of(change.id, hash, cell);
  const bool was = static_cast<bool>(place), was_live = was && cell.live();
  if (!change.sum && !cell.has_sums) {
    // The plain case: one base over another, or over none.
    if (was && change.version <= cell.version) {
      const bool stands =
          change.version == cell.version || change.version.node() == cell.version.node();
      return {.taken = false, .stands = stands, .above = cell.version};
    }
    if (change.tombstone && !keep_tombstones) {
      if (was) forget(place);
      count(was, was_live, false, false);
      return {.taken = was, .stands = true, .above = {}};
    }
    put(place, change.id, hash,
        {change.version, change.tombstone, false,
         change.tombstone ? std::string_view() : change.payload});
    count(was, was_live, true, !change.tombstone);
    return {.taken = true, .stands = true, .above = {}};
  }
  CellState state = was ? CellState::of(cell) : CellState();
  const CellMerge merged = state.merge(change);
  if (!merged.taken) return merged;
  const bool dead = state.tombstone && !state.has_sums();
  if (dead && !keep_tombstones) {
    if (was) forget(place);
    count(was, was_live, false, false);
  } else {
    put(place, change.id, hash, {state.version, state.tombstone, state.has_sums(), state.stored()});
    count(was, was_live, true, !dead);
  }
  return merged;
}

void MapCollection::drop_below(Version bound,
                               const std::function<void(std::string_view, bool)>& dropped) {
  std::vector<std::string> touched;
  each([&](const ElementView& e) {
    bool covered = e.cell.version <= bound && e.cell.version;
    if (e.cell.has_sums) {
      for (const Sum& s : e.cell.sums()) covered |= s.id <= bound;
    }
    if (covered) touched.emplace_back(e.id);
    return true;
  });
  for (const std::string& id : touched) {
    Cell cell;
    const std::uint64_t hash = large_ ? key_hash(id) : 0;
    const Place place = place_of(id, hash, cell);
    const bool was_live = cell.live();
    CellState state = CellState::of(cell);
    state.drop_below(bound);
    if (state.present) {
      put(place, id, hash, {state.version, state.tombstone, state.has_sums(), state.stored()});
    } else {
      forget(place);
    }
    count(true, was_live, state.present, state.present && (!state.tombstone || state.has_sums()));
    dropped(id, state.present);
  }
}

void MapCollection::drop_tombstone(std::string_view id) {
  Cell cell;
  const Place place = place_of(id, large_ ? key_hash(id) : 0, cell);
  GYRE_ASSERT(place && cell.tombstone);
  if (cell.has_sums) {
    CellState state = CellState::of(cell);
    state.version = {};
    return put(place, id, large_ ? key_hash(id) : 0, {{}, true, true, state.stored()});
  }
  forget(place);
  count(true, false, false, false);
}

ElementView MapCollection::random(Random& random) const {
  GYRE_ASSERT(live_ > 0);
  ElementView out;
  // Drawing again until one lives is fair, and quick unless tombstones are most of the table.
  if (large_ && live_ >= dead_ / 8) {
    for (;;) {
      out = view(*table_->random(random));
      if (out.cell.live()) return out;
    }
  }
  std::uint64_t left = random.below(live_);
  each([&](const ElementView& e) {
    if (!e.cell.live() || left-- > 0) return true;
    out = e;
    return false;
  });
  return out;
}

void MapCollection::count(bool was, bool was_live, bool is, bool is_live) {
  live_ += static_cast<std::uint32_t>(is_live) - static_cast<std::uint32_t>(was_live);
  const std::uint32_t dead = dead_ + static_cast<std::uint32_t>(is && !is_live) -
                             static_cast<std::uint32_t>(was && !was_live);
  dead_ = dead & 0x7fffffffu;
}

void MapCollection::put(const Place& place, std::string_view id, std::uint64_t hash,
                        const Content& content) {
  if (large_) return put_large(place.node, id, hash, content);
  if (put_small(place, id, content)) return;
  become_large();
  const std::uint64_t own = key_hash(id);
  put_large(table_->find(id, own), id, own, content);
}

bool MapCollection::put_small(const Place& place, std::string_view id, const Content& content) {
  // The long form of a cell with sums has its own overhead; the block's bound is enough for it.
  if (id.size() > small_size || (content.stored.size() > small_size && !content.has_sums)) {
    return false;
  }
  if (!place && live_ + dead_ >= small_elements) return false;
  const Version first = block_ ? first_version() : content.version;
  const std::uint64_t delta = zigzag_between(first, content.version);
  const std::uint64_t tail = content.stored.size() << 2 | content.flags();
  const bool long_id = id.size() >= id_mask;
  const std::size_t size = 1 + (long_id ? 1 : 0) + id.size() + (delta ? varint_size(delta) : 0) +
                           (tail ? varint_size(tail) : 0) + content.stored.size();
  if ((block_ ? used() : header_size) - place.size + size > small_block) return false;
  if (!block_) {
    const std::size_t room = capacity_for(header_size + size);
    block_ = static_cast<char*>(slabs().allocate(room));
    std::memcpy(block_, &first.bits, 8);
    set_header_u16(8, header_size);
    set_header_u16(10, room);
  }
  char* to = resize_entry(place.entry ? place.entry : block_end(), place.size, size);
  *to++ = static_cast<char>(std::min<std::size_t>(id.size(), id_mask) | (delta ? later_bit : 0) |
                            (tail ? content_bit : 0));
  if (long_id) *to++ = static_cast<char>(id.size() - id_mask);
  to = write_bytes(to, id);
  if (delta) to = write_varint(to, delta);
  if (tail) to = write_varint(to, tail);
  write_bytes(to, content.stored);
  return true;
}

char* MapCollection::resize_entry(char* entry, std::size_t before, std::size_t after) {
  if (before == after) return entry;
  const auto offset = static_cast<std::size_t>(entry - block_);
  const std::size_t old_used = used(), old_room = capacity();
  const std::size_t behind = old_used - offset - before;
  const std::size_t size = old_used - before + after;
  if (size > old_room || capacity_for(size) + capacity_for(size) / 4 < old_room) {
    const std::size_t room = capacity_for(size);
    char* fresh = static_cast<char*>(slabs().allocate(room));
    std::memcpy(fresh, block_, offset);
    std::memcpy(fresh + offset + after, entry + before, behind);
    slabs().release(block_, old_room);
    block_ = fresh;
    set_header_u16(10, room);
  } else {
    std::memmove(entry + after, entry + before, behind);
  }
  set_header_u16(8, size);
  return block_ + offset;
}

void MapCollection::put_large(Node** at, std::string_view id, std::uint64_t hash,
                              const Content& content) {
  const auto flags = static_cast<std::uint8_t>((content.tombstone ? Node::tombstone : 0) |
                                               (content.has_sums ? Node::sums : 0));
  Node* n = at ? *at : nullptr;
  if (n && n->fits(content.stored.size(), 0)) {
    n->version = content.version;
    n->set_flags(static_cast<std::uint8_t>((n->flags() & Node::long_sizes) | flags));
    n->resize_in_place(content.stored.size());
  } else {
    Node* fresh = Node::make(slabs(), id, content.stored.size(), 0, flags, content.version);
    if (n) {
      Node::release(slabs(), n);
      *at = fresh;
    } else {
      table_->insert(fresh, hash);
    }
    n = fresh;
  }
  write_bytes(n->value_data(), content.stored);
}

void MapCollection::forget(const Place& place) {
  if (large_) {
    Node* n = *place.node;
    table_->erase(place.node);
    Node::release(slabs(), n);
    table_->shrink();
    return;
  }
  if (used() - place.size > header_size) {
    resize_entry(place.entry, place.size, 0);
    return;
  }
  slabs().release(block_, capacity());
  block_ = nullptr;
}

void MapCollection::become_large() {
  auto* table = ::new (slabs().allocate(sizeof(NodeTable))) NodeTable(slabs());
  each([&](const ElementView& e) {
    const auto flags = static_cast<std::uint8_t>((e.cell.tombstone ? Node::tombstone : 0) |
                                                 (e.cell.has_sums ? Node::sums : 0));
    Node* n = Node::make(slabs(), e.id, e.cell.stored.size(), 0, flags, e.cell.version);
    write_bytes(n->value_data(), e.cell.stored);
    table->insert(n, key_hash(e.id));
    return true;
  });
  if (block_) slabs().release(block_, capacity());
  table_ = table;
  large_ = 1;
}

}  // namespace gyre
