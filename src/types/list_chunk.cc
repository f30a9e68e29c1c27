#include "types/list_chunk.h"

#include <algorithm>
#include <new>

namespace gyre {
namespace {

constexpr unsigned length_mask = 31, own_bit = 32, kind_shift = 6;
enum Kind : unsigned { plain = 0, stepped = 1, odd = 2 };

std::uint64_t zigzag(std::uint64_t difference) {
  return (difference << 1) ^ (0 - (difference >> 63));
}
std::uint64_t unzigzag(std::uint64_t coded) {
  return (coded >> 1) ^ (0 - (coded & 1));
}

char* put(char* to, std::uint64_t v) {
  while (v >= 0x80) {
    *to++ = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  *to++ = static_cast<char>(v);
  return to;
}
// Memory that we wrote ourselves: no bounds to check.
std::uint64_t take(const char*& from) {
  auto b = static_cast<unsigned char>(*from++);
  if (b < 0x80) return b;
  std::uint64_t v = b & 0x7fu;
  for (unsigned shift = 7;; shift += 7) {
    b = static_cast<unsigned char>(*from++);
    v |= std::uint64_t{b & 0x7fu} << shift;
    if (b < 0x80) return v;
  }
}

std::uint64_t ticks_of(Version v) {
  return v.bits >> Version::tick_shift;
}
// The version that lies `ticks` and a change of node away.
Version moved(Version v, std::uint64_t ticks, std::uint64_t node) {
  return {(ticks_of(v) + ticks) << Version::tick_shift | (v.node() ^ node)};
}
std::uint64_t node_change(Version a, Version b) {
  return std::uint64_t{a.node()} ^ b.node();
}

// An entry as it is packed: differences, not ids.
struct Packed {
  std::uint64_t step = 1, node = 0, ticks = 0;
  std::uint64_t own_ticks = 0, own_node = 0;
  bool own = false, tombstone = false, odd = false;
  std::string_view odd_id, payload;
  std::uint32_t size = 0;
};

Packed unpack(const char* const from) {
  Packed e;
  const char* at = from;
  const auto head = static_cast<unsigned char>(*at++);
  std::uint64_t length = head & length_mask;
  if (length == length_mask) length += take(at);
  const unsigned kind = head >> kind_shift;
  if (kind != Kind::plain) {
    e.step = unzigzag(take(at));
    e.node = take(at);
  }
  e.ticks = unzigzag(take(at));
  std::uint64_t id_size = 0;
  if (kind == Kind::odd) {
    e.odd = true;
    id_size = take(at);
  }
  if (head & own_bit) {
    e.own = true;
    const std::uint64_t coded = take(at);
    e.tombstone = coded & 1;
    e.own_ticks = unzigzag(coded >> 1);
    e.own_node = take(at);
  }
  e.odd_id = {at, static_cast<std::size_t>(id_size)};
  at += id_size;
  e.payload = {at, static_cast<std::size_t>(length)};
  at += length;
  for (auto before = static_cast<std::uint64_t>(at - from); before; before >>= 7) ++at;
  e.size = static_cast<std::uint32_t>(at - from);
  return e;
}

void fill(const Packed& from, std::uint32_t offset, ListEntry& to) {
  to.odd = from.odd;
  to.odd_id = from.odd_id;
  to.version = from.own ? moved(to.push, from.own_ticks, from.own_node) : to.push;
  to.tombstone = from.tombstone;
  to.payload = from.payload;
  to.offset = offset;
  to.size = from.size;
}

// A short value that was pushed and not touched since: nearly all entries, so read without detours.
bool is_common(const char* from) {
  return static_cast<unsigned char>(*from) < length_mask;
}

// Fills all of a common entry but number and versions; returns the ticks.
std::uint64_t fill_common(const char* from, std::uint32_t offset, ListEntry& to) {
  const char* at = from;
  const auto length = static_cast<std::size_t>(static_cast<unsigned char>(*at++));
  const std::uint64_t ticks = unzigzag(take(at));
  to.odd = to.tombstone = false;
  to.payload = {at, length};
  to.offset = offset;
  to.size = static_cast<std::uint32_t>(at - from) + static_cast<std::uint32_t>(length) + 1;
  return ticks;
}

// What will be written for an entry: the part before id and payload, and the part behind.
struct Coded {
  Coded(ListState before, const ListEntry& e)
      : id(e.odd ? e.odd_id : std::string_view()), payload(e.payload) {
    const std::uint64_t step = e.number - before.number;
    const std::uint64_t node = node_change(before.push, e.push);
    const unsigned kind = e.odd ? Kind::odd : step == 1 && node == 0 ? Kind::plain : Kind::stepped;
    const bool own = e.tombstone || e.version != e.push;
    char* to = head;
    *to++ = static_cast<char>(kind << kind_shift | (own ? own_bit : 0) |
                              std::min<std::size_t>(payload.size(), length_mask));
    if (payload.size() >= length_mask) to = put(to, payload.size() - length_mask);
    if (kind != Kind::plain) to = put(put(to, zigzag(step)), node);
    to = put(to, zigzag(ticks_of(e.push) - ticks_of(before.push)));
    if (e.odd) to = put(to, id.size());
    if (own) {
      to = put(to, zigzag(ticks_of(e.version) - ticks_of(e.push)) << 1 | (e.tombstone ? 1 : 0));
      to = put(to, node_change(e.push, e.version));
    }
    head_size = static_cast<std::size_t>(to - head);
    const std::size_t before_size = head_size + id.size() + payload.size();
    size = before_size;
    for (std::size_t n = before_size; n; n >>= 7) ++size;
    GYRE_ASSERT(size < 0x7fffffffu);
  }
  // Writes the entry and returns the end of it.
  char* write(char* to) const {
    std::memcpy(to, head, head_size);
    to += head_size;
    to += id.copy(to, id.size());
    to += payload.copy(to, payload.size());
    const std::size_t before_size = head_size + id.size() + payload.size();
    char* const end = to + (size - before_size);
    char* back = end;
    for (std::size_t n = before_size; n; n >>= 7)
      *--back = static_cast<char>((n & 0x7f) | (n >= 0x80 ? 0x80 : 0));
    return end;
  }

  char head[48];  // at most 1 + 5 + 10 + 2 + 8 + 5 + 8 + 2
  std::size_t head_size = 0;
  std::string_view id, payload;
  std::size_t size = 0;
};

// Bytes to allocate for a chunk that holds `used` bytes of entries: exact while lists are short and
// many; some room ahead where copying them would cost more.
std::uint32_t capacity_for(std::size_t used, bool roomy) {
  const std::size_t needed = sizeof(ListChunk) + used;
  GYRE_ASSERT(needed < 0xf0000000u);
  std::size_t wanted = needed;
  if (needed <= ListChunk::max_bytes && needed >= 192) {
    wanted = std::min<std::size_t>(ListChunk::max_bytes, needed + needed / 8);
  }
  if (needed <= ListChunk::max_bytes && roomy) wanted = ListChunk::max_bytes;
  return static_cast<std::uint32_t>(Slabs::rounded(wanted));
}

}  // namespace

int compare(const ListEntry& entry, const ListKey& key) {
  if (entry.number != key.number) return entry.number < key.number ? -1 : 1;
  if (!entry.odd && !key.odd) return entry.push < key.push ? -1 : entry.push > key.push ? 1 : 0;
  char buffer[list_plain_id_bytes];
  return entry.id(buffer).compare(key.bytes);
}

void ListChunk::read(std::uint32_t offset, ListState before, ListEntry& entry) const {
  const char* const from = data() + offset;
  if (is_common(from)) {
    const std::uint64_t ticks = fill_common(from, offset, entry);
    entry.number = before.number + 1;
    entry.version = entry.push = moved(before.push, ticks, 0);
    return;
  }
  const Packed e = unpack(from);
  entry.number = before.number + e.step;
  entry.push = moved(before.push, e.ticks, e.node);
  fill(e, offset, entry);
}

std::uint64_t ListChunk::first_number() const {
  if (is_common(data())) return start_.number + 1;
  ListEntry entry;
  read(0, start_, entry);
  return entry.number;
}

ListState ListChunk::read_back(std::uint32_t end, ListState after, ListEntry& entry) const {
  const char* at = data() + end;
  std::uint32_t size = 0;
  for (unsigned shift = 0;; shift += 7) {
    const auto b = static_cast<unsigned char>(*--at);
    size |= (b & 0x7fu) << shift;
    if (b < 0x80) break;
  }
  at -= size;
  const auto offset = static_cast<std::uint32_t>(at - data());
  entry.number = after.number;
  entry.push = after.push;
  if (is_common(at)) {
    entry.version = after.push;
    const std::uint64_t ticks = fill_common(at, offset, entry);
    return {after.number - 1, moved(after.push, 0 - ticks, 0)};
  }
  const Packed e = unpack(at);
  fill(e, offset, entry);
  return {after.number - e.step, moved(after.push, 0 - e.ticks, e.node)};
}

bool ListChunk::find(const ListKey& key, ListPlace& place, ListEntry& entry) const {
  // The ends first: that is where lists change. No number here is below the chunk's start.
  if (key.number <= start_.number) {
    if (is_common(data())) {  // its number is the next one
      place = {0, 0, false, start_, start_};
      return false;
    }
    read(0, start_, entry);
    const int order = compare(entry, key);
    if (order >= 0) {
      place = order == 0 ? ListPlace::of(entry, start_) : ListPlace{0, 0, false, start_, start_};
      return order == 0;
    }
  }
  const ListState before_last = read_back(used_, end_, entry);
  const int last = compare(entry, key);
  if (last < 0) {
    place = {used_, 0, false, end_, end_};
    return false;
  }
  if (last == 0) {
    place = ListPlace::of(entry, before_last);
    return true;
  }
  ListState before = start_;
  for (std::uint32_t offset = 0;; offset += entry.size) {
    read(offset, before, entry);
    const int order = compare(entry, key);
    if (order >= 0) {
      place =
          order == 0 ? ListPlace::of(entry, before) : ListPlace{offset, 0, false, before, before};
      return order == 0;
    }
    before = entry.state();
  }
}

ListChunk* ListChunk::make(Slabs& slabs, const ListEntry& entry, bool roomy) {
  const ListState before{entry.number - 1, entry.push};
  const Coded coded(before, entry);
  // Of values this large too few fit for space to be left in advance.
  if (coded.size > max_bytes / 4) roomy = false;
  const std::uint32_t capacity = capacity_for(coded.size, roomy);
  auto* chunk = new (slabs.allocate(capacity)) ListChunk;
  chunk->capacity_ = capacity;
  chunk->start_ = before;
  chunk->end_ = entry.state();
  chunk->used_ = static_cast<std::uint32_t>(coded.size);
  chunk->count_ = 1;
  chunk->live_ = entry.tombstone ? 0 : 1;
  coded.write(chunk->data());
  return chunk;
}

ListChunk* ListChunk::resized(Slabs& slabs, ListChunk* chunk, std::uint32_t used, bool roomy) {
  const std::uint32_t capacity = capacity_for(used, roomy);
  if (capacity == chunk->capacity_) return chunk;
  auto* fresh = new (slabs.allocate(capacity)) ListChunk(*chunk);
  fresh->capacity_ = capacity;
  std::memcpy(fresh->data(), chunk->data(), std::min(used, chunk->used_));
  release(slabs, chunk);
  return fresh;
}

// What splice does for LPUSH: both the new entry and the one that was first are common ones, so the
// one becomes longer by what its ticks take and all other bytes stay. False: it is not so, or there
// is no space.
bool ListChunk::push_front(Slabs& slabs, ListChunk*& chunk, const ListEntry& entry, bool roomy) {
  const std::size_t length = entry.payload.size();
  const auto first = static_cast<std::size_t>(static_cast<unsigned char>(*chunk->data()));
  if (entry.odd || entry.tombstone || entry.version != entry.push || length >= length_mask ||
      first >= length_mask || chunk->data()[1] != 0 || chunk->start_.number != entry.number ||
      chunk->start_.push.node() != entry.push.node()) {
    return false;
  }
  char ticks[10];
  const auto ticks_size = static_cast<std::size_t>(
      put(ticks, zigzag(ticks_of(chunk->start_.push) - ticks_of(entry.push))) - ticks);
  const std::size_t put_size = 2 + length + 1;
  const std::size_t used = chunk->used_ + put_size + ticks_size - 1;
  if (sizeof(ListChunk) + used > max_bytes) return false;
  if (sizeof(ListChunk) + used > chunk->capacity_)
    chunk = resized(slabs, chunk, static_cast<std::uint32_t>(used), roomy);
  char* to = chunk->data();
  std::memmove(to + put_size + 1 + ticks_size, to + 2, chunk->used_ - 2);
  *to++ = static_cast<char>(length);
  *to++ = 0;
  to += entry.payload.copy(to, length);
  *to++ = static_cast<char>(2 + length);
  *to++ = static_cast<char>(first);
  std::memcpy(to, ticks, ticks_size);
  to[ticks_size + first] = static_cast<char>(1 + ticks_size + first);
  chunk->start_ = {entry.number - 1, entry.push};
  chunk->used_ = static_cast<std::uint32_t>(used);
  ++chunk->count_;
  ++chunk->live_;
  return true;
}

ListChunk* ListChunk::splice(Slabs& slabs, ListChunk* chunk, const ListPlace& place,
                             const ListEntry* entry, bool roomy) {
  if (entry && place.offset + place.size == 0 && push_front(slabs, chunk, *entry, roomy))
    return chunk;
  // At the front the chunk's start moves instead, so that taking the first entry recodes nothing.
  ListState before = place.before;
  if (place.offset == 0) before = entry ? ListState{entry->number - 1, entry->push} : place.after;
  const ListState after = entry ? entry->state() : before;

  std::uint32_t tail = place.offset + place.size;
  const std::uint32_t old_tail = tail;
  const std::uint32_t count = chunk->count_ + (entry ? 1 : 0) - (place.size ? 1 : 0);
  // The next entry was relative to what stood here.
  char next_bytes[max_bytes + sizeof(Coded::head)];
  std::size_t next_size = 0;
  if (tail < chunk->used_ && after != place.after) {
    ListEntry next;
    chunk->read(tail, place.after, next);
    const Coded coded(after, next);
    if (coded.size > max_bytes) return nullptr;
    coded.write(next_bytes);
    next_size = coded.size;
    tail += next.size;
  }
  std::size_t put_size = 0;
  const std::size_t rest = chunk->used_ - tail;
  const Coded coded(before, entry ? *entry : ListEntry{});
  if (entry) put_size = coded.size;
  const std::size_t used = place.offset + put_size + next_size + rest;
  if (count > 1 && sizeof(ListChunk) + used > max_bytes) return nullptr;

  const auto new_used = static_cast<std::uint32_t>(used);
  const std::uint32_t new_tail = new_used - static_cast<std::uint32_t>(rest);
  const bool grow = sizeof(ListChunk) + used > chunk->capacity_;
  if (grow) chunk = resized(slabs, chunk, std::max(new_used, chunk->used_), roomy);
  std::memmove(chunk->data() + new_tail, chunk->data() + tail, rest);
  char* to = chunk->data() + place.offset;
  if (entry) to = coded.write(to);
  std::memcpy(to, next_bytes, next_size);

  if (place.offset == 0) chunk->start_ = before;
  if (old_tail == chunk->used_) chunk->end_ = after;
  chunk->used_ = new_used;
  chunk->count_ = count;
  chunk->live_ += (entry && !entry->tombstone ? 1u : 0u) - (place.live ? 1u : 0u);
  if (!grow && !roomy && (sizeof(ListChunk) + used) * 3 < chunk->capacity_) {
    chunk = resized(slabs, chunk, new_used, false);
  }
  return chunk;
}

ListChunk* ListChunk::split(Slabs& slabs, ListChunk*& chunk) {
  GYRE_ASSERT(chunk->count_ >= 2);
  ListEntry entry;
  ListState before = chunk->start_;
  std::uint32_t offset = 0, count = 0, live = 0;
  while (count == 0 || (offset < chunk->used_ / 2 && count + 1 < chunk->count_)) {
    chunk->read(offset, before, entry);
    before = entry.state();
    offset += entry.size;
    ++count;
    if (!entry.tombstone) ++live;
  }
  const std::uint32_t moved_bytes = chunk->used_ - offset;
  const std::uint32_t capacity = capacity_for(moved_bytes, false);
  auto* right = new (slabs.allocate(capacity)) ListChunk(*chunk);
  right->capacity_ = capacity;
  right->start_ = before;
  right->used_ = moved_bytes;
  right->count_ -= count;
  right->live_ -= live;
  std::memcpy(right->data(), chunk->data() + offset, moved_bytes);
  chunk->end_ = before;
  chunk->used_ = offset;
  chunk->count_ = count;
  chunk->live_ = live;
  chunk = resized(slabs, chunk, offset, false);
  return right;
}

bool ListChunk::join(Slabs& slabs, ListChunk*& chunk, ListChunk* next) {
  ListEntry first;
  next->read(0, next->start_, first);
  const Coded coded(chunk->end_, first);
  const std::size_t rest = next->used_ - first.size;
  const std::size_t used = chunk->used_ + coded.size + rest;
  if (sizeof(ListChunk) + used > max_bytes) return false;
  const auto new_used = static_cast<std::uint32_t>(used);
  if (sizeof(ListChunk) + used > chunk->capacity_) chunk = resized(slabs, chunk, new_used, false);
  char* to = coded.write(chunk->data() + chunk->used_);
  std::memcpy(to, next->data() + first.size, rest);
  chunk->end_ = next->end_;
  chunk->used_ = new_used;
  chunk->count_ += next->count_;
  chunk->live_ += next->live_;
  release(slabs, next);
  return true;
}

}  // namespace gyre
