#include "types/stream_collection.h"

#include <algorithm>

namespace gyre {

StreamCollection::StreamCollection(Slabs& slabs)
    : slabs_(slabs), entries_(slabs, std::string(1, stream_element::entry)) {}
StreamCollection::~StreamCollection() = default;

// The group's name in the id of a pending entry; nothing for another id.
std::optional<std::string_view> StreamCollection::pending_group(std::string_view id) {
  if (id.empty() || id[0] != stream_element::pending) return std::nullopt;
  Reader in(id.substr(1));
  const std::string_view group = in.bytes();
  if (!in.ok() || in.left() != stream_id_bytes) return std::nullopt;
  // One group, one prefix: a length that is spelled longer names something else.
  if (stream_element::prefix_of(stream_element::pending, group).size() + stream_id_bytes !=
      id.size())
    return std::nullopt;
  return group;
}

// ---- merging

CellMerge StreamCollection::merge_register(Registers& registers, const Change& change,
                                           bool keep_tombstones) {
  const auto found = registers.find(change.id);
  if (found != registers.end()) {
    const Version there = found->second.version;
    if (change.version <= there) {
      const bool stands = change.version == there || change.version.node() == there.node();
      return {.taken = false, .stands = stands, .above = there};
    }
  }
  if (change.tombstone && !keep_tombstones) {
    const bool was = found != registers.end();
    if (was) registers.erase(found);
    return {.taken = was, .stands = true, .above = {}};
  }
  Register& r = found != registers.end() ? found->second : registers[std::string(change.id)];
  r.version = change.version;
  r.tombstone = change.tombstone;
  r.payload = change.tombstone ? std::string_view() : change.payload;
  if (change.tombstone) r.seen_here = 0;
  return {.taken = true, .stands = true, .above = {}};
}

CellMerge StreamCollection::merge_side(const Change& change, bool keep_tombstones) {
  if (!side_) side_ = std::make_unique<Side>();
  Side& side = *side_;
  const auto group = pending_group(change.id);
  if (!group) {
    Cell old;
    const bool was = find(change.id, old), was_live = was && old.live();
    const CellMerge merged = merge_register(side.registers, change, keep_tombstones);
    const bool is = find(change.id, old), is_live = is && old.live();
    side.live += static_cast<std::size_t>(is_live) - static_cast<std::size_t>(was_live);
    side.tombstones +=
        static_cast<std::size_t>(is && !is_live) - static_cast<std::size_t>(was && !was_live);
    return merged;
  }
  auto at = side.pending.find(*group);
  if (at == side.pending.end())
    at = side.pending.try_emplace(std::string(*group), slabs_, *group).first;
  const StreamSeries& all = at->second.all();
  side.live -= all.live();
  side.tombstones -= all.tombstones();
  const CellMerge merged = at->second.merge(change, keep_tombstones);
  side.live += all.live();
  side.tombstones += all.tombstones();
  if (all.empty()) side.pending.erase(at);
  return merged;
}

CellMerge StreamCollection::merge(const Change& change, bool keep_tombstones) {
  if (change.sum) return {.taken = false, .stands = true, .above = {}};  // a stream has no counters
  if (stream_element::is_entry(change.id)) return entries_.merge(change, keep_tombstones);
  const CellMerge merged = merge_side(change, keep_tombstones);
  tidy();
  return merged;
}

void StreamCollection::tidy() {
  if (side_ && side_->registers.empty() && side_->pending.empty()) side_.reset();
}

void StreamCollection::recount(Side& side) {
  side.live = side.tombstones = 0;
  for (const auto& [id, r] : side.registers) ++(r.tombstone ? side.tombstones : side.live);
  for (const auto& [group, pending] : side.pending) {
    side.live += pending.all().live();
    side.tombstones += pending.all().tombstones();
  }
}

void StreamCollection::drop_below(Version dead,
                                  const std::function<void(std::string_view, bool)>& dropped) {
  entries_.drop_below(dead, dropped);
  if (!side_) return;
  std::erase_if(side_->registers, [&](const auto& r) {
    if (r.second.version > dead) return false;
    dropped(r.first, false);
    return true;
  });
  for (auto& [group, pending] : side_->pending) pending.drop_below(dead, dropped);
  std::erase_if(side_->pending, [](const auto& p) { return p.second.all().empty(); });
  recount(*side_);
  tidy();
}

void StreamCollection::drop_tombstone(std::string_view id) {
  if (stream_element::is_entry(id)) return entries_.drop_tombstone(id);
  GYRE_ASSERT(side_ != nullptr);
  if (const auto group = pending_group(id)) {
    const auto at = side_->pending.find(*group);
    GYRE_ASSERT(at != side_->pending.end());
    at->second.drop_tombstone(id);
    if (at->second.all().empty()) side_->pending.erase(at);
  } else {
    const auto at = side_->registers.find(id);
    GYRE_ASSERT(at != side_->registers.end() && at->second.tombstone);
    side_->registers.erase(at);
  }
  --side_->tombstones;
  tidy();
}

// ---- reading

bool StreamCollection::find(std::string_view id, Cell& cell) const {
  if (stream_element::is_entry(id)) return entries_.find(id, cell);
  if (!side_) return false;
  if (const auto group = pending_group(id)) {
    const StreamPending* p = pending(*group);
    return p && p->all().find(id, cell);
  }
  const auto found = side_->registers.find(id);
  if (found == side_->registers.end()) return false;
  cell = found->second.cell();
  return true;
}

bool StreamCollection::for_each(const std::function<bool(const ElementView&)>& f) const {
  if (!entries_.for_each(f)) return false;
  if (!side_) return true;
  for (const auto& [id, r] : side_->registers) {
    if (!f({id, r.cell()})) return false;
  }
  return std::all_of(side_->pending.begin(), side_->pending.end(),
                     [&](const auto& p) { return p.second.all().for_each(f); });
}

std::size_t StreamCollection::live() const {
  return entries_.live() + (side_ ? side_->live : 0);
}

std::size_t StreamCollection::tombstones() const {
  return entries_.tombstones() + (side_ ? side_->tombstones : 0);
}

std::size_t StreamCollection::bytes() const {
  std::size_t sum = sizeof *this + entries_.bytes();
  if (!side_) return sum;
  constexpr std::size_t map_node = 40;  // its links, and what the allocator adds
  sum += sizeof *side_;
  for (const auto& [id, r] : side_->registers)
    sum += map_node + sizeof id + sizeof r + id.capacity() + r.payload.capacity();
  for (const auto& [group, p] : side_->pending) sum += map_node + group.capacity() + p.bytes();
  return sum;
}

std::optional<std::string_view> StreamCollection::entry(StreamId id) const {
  Cell cell;
  if (!entries_.find(id, cell) || !cell.live()) return std::nullopt;
  return cell.stored;
}

const StreamCollection::Register* StreamCollection::live_register(std::string_view id) const {
  if (!side_) return nullptr;
  const auto found = side_->registers.find(id);
  return found == side_->registers.end() || found->second.tombstone ? nullptr : &found->second;
}

StreamHead StreamCollection::head() const {
  StreamHead head;
  if (const Register* r = live_register(stream_element::head))
    head = StreamHead::decode(r->payload);
  if (length() > 0) head.last = std::max(head.last, at(length() - 1).id());
  return head;
}

StreamId StreamCollection::last_id() const {
  return head().last;
}

std::int64_t StreamCollection::entries_added(const StreamHead& head) const {
  return std::max<std::int64_t>(added_up(head.removed, static_cast<std::int64_t>(length())), 0);
}

std::optional<StreamGroup> StreamCollection::group(std::string_view name) const {
  const Register* r = live_register(stream_element::of_group(name));
  if (!r) return std::nullopt;
  return StreamGroup::decode(r->payload);
}

void StreamCollection::for_each_group(
    const std::function<void(std::string_view, const StreamGroup&)>& f) const {
  if (!side_) return;
  const std::string_view prefix(&stream_element::group, 1);
  for (auto at = side_->registers.lower_bound(prefix);
       at != side_->registers.end() && at->first.starts_with(prefix); ++at) {
    if (!at->second.tombstone)
      f(std::string_view(at->first).substr(1), StreamGroup::decode(at->second.payload));
  }
}

std::size_t StreamCollection::groups() const {
  std::size_t n = 0;
  for_each_group([&n](std::string_view, const StreamGroup&) { ++n; });
  return n;
}

const StreamPending* StreamCollection::pending(std::string_view group) const {
  if (!side_) return nullptr;
  const auto found = side_->pending.find(group);
  return found == side_->pending.end() ? nullptr : &found->second;
}

std::optional<UnixMs> StreamCollection::consumer(std::string_view group,
                                                 std::string_view name) const {
  if (const Register* r = live_register(stream_element::of_consumer(group, name)))
    return std::max(decode_seen(r->payload), r->seen_here);
  const StreamPending* p = pending(group);
  if (p && p->of(name)) return UnixMs{0};
  return std::nullopt;
}

void StreamCollection::for_each_consumer(
    std::string_view group, const std::function<void(std::string_view, UnixMs)>& f) const {
  if (!side_) return;
  std::map<std::string_view, UnixMs> all;
  const std::string prefix = stream_element::prefix_of(stream_element::consumer, group);
  for (auto at = side_->registers.lower_bound(prefix);
       at != side_->registers.end() && at->first.starts_with(prefix); ++at) {
    if (at->second.tombstone) continue;
    all[std::string_view(at->first).substr(prefix.size())] =
        std::max(decode_seen(at->second.payload), at->second.seen_here);
  }
  if (const StreamPending* p = pending(group)) {
    for (const auto& [name, ids] : p->consumers()) all.try_emplace(name, 0);
  }
  for (const auto& [name, seen] : all) f(name, seen);
}

void StreamCollection::take_seen(const StreamCollection& other) {
  if (!side_ || !other.side_) return;
  for (const auto& [id, r] : other.side_->registers) {
    if (r.seen_here == 0) continue;
    const auto found = side_->registers.find(id);
    if (found != side_->registers.end() && !found->second.tombstone)
      found->second.seen_here = r.seen_here;
  }
}

void StreamCollection::note_seen(std::string_view group, std::string_view consumer, UnixMs now) {
  if (!side_) return;
  const auto found = side_->registers.find(stream_element::of_consumer(group, consumer));
  if (found != side_->registers.end() && !found->second.tombstone) found->second.seen_here = now;
}

}  // namespace gyre
