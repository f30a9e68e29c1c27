#include "types/list_collection.h"

#include <limits>
#include <string>
#include <vector>

namespace gyre {

namespace {

Cell cell_of(const ListEntry& e) {
  return {e.version, e.tombstone, false, e.payload};
}

ListEntry entry_of(const ListKey& key, const Change& change) {
  ListEntry e;
  e.number = key.number;
  e.push = key.push;
  e.odd = key.odd;
  if (key.odd) e.odd_id = key.bytes;
  e.version = change.version;
  e.tombstone = change.tombstone;
  if (!change.tombstone) e.payload = change.payload;
  return e;
}

}  // namespace

ListCollection::ListCollection(Slabs& slabs) : tree_(slabs) {}
void ListCollection::operator delete(ListCollection* self, std::destroying_delete_t) {
  Slabs& slabs = self->tree_.slabs();
  self->~ListCollection();
  slabs.release(self, sizeof(ListCollection));
}

// ---- merging

void ListCollection::count(const ListEntry& entry, int by) {
  auto& n = entry.tombstone ? tombstones_ : live_;
  GYRE_ASSERT(by > 0 ? n < std::numeric_limits<std::uint32_t>::max() : n > 0);
  n += static_cast<std::uint32_t>(by);
}

CellMerge ListCollection::merge(const Change& change, bool keep_tombstones) {
  constexpr CellMerge untouched{.taken = false, .stands = true, .above = {}};
  constexpr CellMerge taken{.taken = true, .stands = true, .above = {}};
  if (change.sum) return untouched;  // a list has no counters
  const ListKey key(change.id);
  const ListEntry fresh = entry_of(key, change);
  ListPath path;
  ListPlace place;
  ListEntry old;
  if (!tree_.empty()) tree_.seek(key, path);
  if (tree_.empty() || !path.chunk->find(key, place, old)) {
    if (change.tombstone && !keep_tombstones) return untouched;
    insert_at(key, fresh, path, place);
    return taken;
  }
  if (change.version <= old.version) {
    const bool same_node = change.version.node() == old.version.node();
    return {
        .taken = false, .stands = change.version == old.version || same_node, .above = old.version};
  }
  count(old, -1);
  if (change.tombstone && !keep_tombstones) {
    erase(path, place);
    return taken;
  }
  const std::uint32_t live_before = path.chunk->live(), bytes_before = path.chunk->bytes();
  if (ListChunk* chunk = ListChunk::splice(tree_.slabs(), path.chunk, place, &fresh, false)) {
    tree_.changed(path, chunk, live_before, bytes_before);
    count(fresh, 1);
  } else {
    erase(path, place);
    insert(key, fresh);
  }
  return taken;
}

// The key is not there.
void ListCollection::insert(const ListKey& key, const ListEntry& entry) {
  ListPath path;
  ListPlace place;
  if (!tree_.empty()) look_for_place(key, path, place);
  insert_at(key, entry, path, place);
}

void ListCollection::look_for_place(const ListKey& key, ListPath& path, ListPlace& place) const {
  tree_.seek(key, path);
  ListEntry behind;
  const bool there = path.chunk->find(key, place, behind);
  GYRE_ASSERT(!there);
}

// Where it was looked for just now; in an empty list that is not read.
void ListCollection::insert_at(const ListKey& key, const ListEntry& entry, ListPath& path,
                               ListPlace& place) {
  Slabs& slabs = tree_.slabs();
  count(entry, 1);
  if (tree_.empty()) return tree_.insert_after(path, ListChunk::make(slabs, entry, false));
  for (;;) {
    const std::uint32_t live_before = path.chunk->live(), bytes_before = path.chunk->bytes();
    // A long list that grows at its ends takes whole chunks at once.
    const bool at_front = place.offset == 0, at_back = place.offset == path.chunk->used();
    const bool roomy = (at_front || at_back) && !tree_.single();
    if (ListChunk* chunk = ListChunk::splice(slabs, path.chunk, place, &entry, roomy)) {
      return tree_.changed(path, chunk, live_before, bytes_before);
    }
    if (at_front || at_back) {
      ListChunk* chunk = ListChunk::make(slabs, entry, true);
      return at_back ? tree_.insert_after(path, chunk) : tree_.insert_before(path, chunk);
    }
    // In the middle of a full chunk: halve it and look again.
    ListChunk* left = path.chunk;
    ListChunk* right = ListChunk::split(slabs, left);
    tree_.changed(path, left, live_before, bytes_before);
    tree_.insert_after(path, right);
    look_for_place(key, path, place);
  }
}

// The element was uncounted by the caller.
void ListCollection::erase(ListPath& path, const ListPlace& place) {
  if (path.chunk->count() == 1) return tree_.erase(path);
  const std::uint32_t live_before = path.chunk->live(), bytes_before = path.chunk->bytes();
  ListChunk* chunk = ListChunk::splice(tree_.slabs(), path.chunk, place, nullptr, false);
  if (!chunk) {
    // What follows became longer by being counted from further away, and the chunk was full.
    ListEntry gone;
    path.chunk->read(place.offset, place.before, gone);
    char buffer[list_plain_id_bytes];
    const std::string id(gone.id(buffer));
    ListChunk* left = path.chunk;
    ListChunk* right = ListChunk::split(tree_.slabs(), left);
    tree_.changed(path, left, live_before, bytes_before);
    tree_.insert_after(path, right);
    const ListKey key(id);
    ListPlace again;
    tree_.seek(key, path);
    const bool there = path.chunk->find(key, again, gone);
    GYRE_ASSERT(there);
    return erase(path, again);
  }
  tree_.changed(path, chunk, live_before, bytes_before);
  if (chunk->used() < ListChunk::max_bytes / 4) tree_.join_small(path);
}

// Behind everything that is there.
void ListCollection::append(const ListEntry& entry) {
  char buffer[list_plain_id_bytes];
  insert(ListKey(entry.id(buffer)), entry);
}

void ListCollection::drop_below(Version dead,
                                const std::function<void(std::string_view, bool)>& dropped) {
  const bool none = each_entry([dead](const ListEntry& e) { return e.version > dead; });
  if (none) return;
  // Rare, and mostly for many elements at once: the rest is built anew.
  ListTree old(tree_.slabs());
  old.swap(tree_);
  live_ = tombstones_ = 0;
  each_entry(old, [&](const ListEntry& e) {
    char buffer[list_plain_id_bytes];
    e.version <= dead ? dropped(e.id(buffer), false) : append(e);
    return true;
  });
}

void ListCollection::drop_tombstone(std::string_view id) {
  const ListKey key(id);
  ListPath path;
  ListPlace place;
  ListEntry old;
  tree_.seek(key, path);
  const bool there = path.chunk->find(key, place, old);
  GYRE_ASSERT(there && old.tombstone);
  count(old, -1);
  erase(path, place);
}

// ---- reading

bool ListCollection::find(std::string_view id, Cell& cell) const {
  if (tree_.empty()) return false;
  const ListKey key(id);
  ListPath path;
  ListPlace place;
  ListEntry entry;
  tree_.seek(key, path);
  if (!path.chunk->find(key, place, entry)) return false;
  cell = cell_of(entry);
  return true;
}

bool ListCollection::for_each(const std::function<bool(const ElementView&)>& f) const {
  char id[list_plain_id_bytes];
  return each_entry([&](const ListEntry& entry) { return f({entry.id(id), cell_of(entry)}); });
}

MoveStep ListCollection::move_blocks(std::uint64_t from, std::size_t limit) {
  MoveStep step;
  if (tree_.empty() || from > live_) return step;
  ListPath path;
  // `from` is the live elements before it, plus one.
  from > 0 && live_ > 0 ? void(tree_.seek(from - 1, path)) : tree_.first(path);
  do {
    if (step.moved + step.left >= limit) {
      step.next = std::max(from + 1, tree_.live_before(path) + 1);
      break;
    }
    ++(tree_.move_if_draining(path) ? step.moved : step.left);
  } while (tree_.next(path));
  return step;
}

Collection* ListCollection::move_object() {
  Slabs& slabs = tree_.slabs();
  if (!Slabs::drains(this, sizeof *this)) return this;
  auto* const fresh = ::new (slabs.allocate(sizeof(ListCollection))) ListCollection(slabs);
  fresh->floor = floor;
  fresh->tree_.swap(tree_);
  fresh->live_ = live_;
  fresh->tombstones_ = tombstones_;
  delete this;
  return fresh;
}

std::size_t ListCollection::bytes() const {
  return sizeof *this + tree_.bytes();
}

std::uint64_t ListCollection::number_before_first() const {
  if (tree_.empty()) return list_origin;
  ListPath path;
  tree_.first(path);
  const std::uint64_t number = path.chunk->first_number();
  // At the end of the numbers, which no client lives to see, the version decides.
  return number == 0 ? 0 : number - 1;
}

std::uint64_t ListCollection::number_after_last() const {
  if (tree_.empty()) return list_origin;
  ListPath path;
  tree_.last(path);
  const std::uint64_t number = path.chunk->end().number;
  return number == std::numeric_limits<std::uint64_t>::max() ? number : number + 1;
}

ListWalk ListCollection::at(std::size_t rank) const {
  ListWalk walk;
  if (rank >= live_) return walk;
  walk.tree_ = &tree_;
  std::uint32_t left = tree_.seek(rank, walk.path_);
  const ListChunk& chunk = *walk.path_.chunk;
  if (left >= chunk.live() / 2) {
    // Nearer to the chunk's end.
    left = chunk.live() - 1 - left;
    walk.before_ = chunk.end();
    walk.entry_.offset = chunk.used();
    do {
      walk.before_ = chunk.read_back(walk.entry_.offset, walk.before_, walk.entry_);
    } while (walk.entry_.tombstone || left-- > 0);
  } else {
    walk.before_ = chunk.start();
    chunk.read(0, walk.before_, walk.entry_);
    while (walk.entry_.tombstone || left-- > 0) {
      walk.before_ = walk.entry_.state();
      chunk.read(walk.entry_.offset + walk.entry_.size, walk.before_, walk.entry_);
    }
  }
  walk.valid_ = true;
  return walk;
}

std::size_t ListCollection::rank(std::string_view id) const {
  if (tree_.empty()) return 0;
  const ListKey key(id);
  ListPath path;
  tree_.seek(key, path);
  std::size_t rank = tree_.live_before(path);
  const ListChunk& chunk = *path.chunk;
  ListEntry entry;
  chunk.read_back(chunk.used(), chunk.end(), entry);
  if (compare(entry, key) < 0) return rank + chunk.live();
  ListState before = chunk.start();
  for (std::uint32_t offset = 0;; offset += entry.size) {
    chunk.read(offset, before, entry);
    if (compare(entry, key) >= 0) return rank;
    before = entry.state();
    if (!entry.tombstone) ++rank;
  }
}

void ListWalk::next() {
  do {
    before_ = entry_.state();
    std::uint32_t offset = entry_.offset + entry_.size;
    if (offset == path_.chunk->used()) {
      if (!tree_->next(path_)) {
        valid_ = false;
        return;
      }
      offset = 0;
      before_ = path_.chunk->start();
    }
    path_.chunk->read(offset, before_, entry_);
  } while (entry_.tombstone);
}

void ListWalk::previous() {
  do {
    std::uint32_t end = entry_.offset;
    if (end == 0) {
      if (!tree_->previous(path_)) {
        valid_ = false;
        return;
      }
      end = path_.chunk->used();
      before_ = path_.chunk->end();
    }
    before_ = path_.chunk->read_back(end, before_, entry_);
  } while (entry_.tombstone);
}

}  // namespace gyre
