#include "types/stream_parts.h"

#include <algorithm>

namespace gyre {
namespace {

StreamId read_id(Reader& in) {
  const std::uint64_t ms = in.be64();
  return {ms, in.be64()};
}

void put_id(std::string& to, StreamId id) {
  put_be64(to, id.ms);
  put_be64(to, id.seq);
}

// Whose pending entries: any version does, as nobody else merges these.
constexpr Version noted{1}, unnoted{2};

}  // namespace

StreamHead StreamHead::decode(std::string_view payload) {
  Reader in(payload);
  StreamHead head;
  head.last = read_id(in);
  head.highest_deleted = read_id(in);
  head.removed = static_cast<std::int64_t>(in.be64());
  return head;
}

std::string StreamHead::encode() const {
  std::string out;
  put_id(out, last);
  put_id(out, highest_deleted);
  put_be64(out, static_cast<std::uint64_t>(removed));
  return out;
}

StreamGroup StreamGroup::decode(std::string_view payload) {
  Reader in(payload);
  StreamGroup group;
  group.last_delivered = read_id(in);
  group.entries_read = std::max(static_cast<std::int64_t>(in.be64()), unknown);
  return group;
}

std::string StreamGroup::encode() const {
  std::string out;
  put_id(out, last_delivered);
  put_be64(out, static_cast<std::uint64_t>(entries_read));
  return out;
}

StreamDelivery StreamDelivery::decode(std::string_view payload) {
  Reader in(payload);
  StreamDelivery d;
  d.at = static_cast<UnixMs>(in.varint());
  d.count = in.varint();
  d.consumer = in.rest();
  return d;
}

std::string StreamDelivery::encode() const {
  std::string out;
  put_varint(out, static_cast<std::uint64_t>(at));
  put_varint(out, count);
  return out.append(consumer);
}

std::string encode_seen(UnixMs seen) {
  std::string out;
  put_be64(out, static_cast<std::uint64_t>(seen));
  return out;
}

UnixMs decode_seen(std::string_view payload) {
  return static_cast<UnixMs>(Reader(payload).be64());
}

// ---- series

CellMerge StreamSeries::merge(const Change& change, bool keep_tombstones) {
  Change inner = change;
  inner.id = tail(change.id);
  return list_.merge(inner, keep_tombstones);
}

bool StreamSeries::find(StreamId id, Cell& cell) const {
  const StreamIdBytes bytes = encode_stream_id(id);
  return list_.find({bytes.data(), bytes.size()}, cell);
}

bool StreamSeries::for_each(const std::function<bool(const ElementView&)>& f) const {
  std::string id = prefix_;
  id.resize(prefix_.size() + stream_id_bytes);
  return list_.each_entry([&](const ListEntry& e) {
    put_list_id(id.data() + prefix_.size(), e.number, e.push);
    return f({id, {e.version, e.tombstone, false, e.payload}});
  });
}

void StreamSeries::drop_below(Version floor,
                              const std::function<void(std::string_view, bool)>& dropped) {
  list_.drop_below(floor, [&](std::string_view id, bool still_there) {
    dropped(prefix_ + std::string(id), still_there);
  });
}

void StreamSeries::drop_tombstone(std::string_view id) {
  list_.drop_tombstone(tail(id));
}

std::size_t StreamSeries::rank(StreamId id) const {
  const StreamIdBytes bytes = encode_stream_id(id);
  return list_.rank({bytes.data(), bytes.size()});
}

// ---- pending entries

StreamPending::StreamPending(Slabs& slabs, std::string_view group)
    : slabs_(slabs), all_(slabs, stream_element::prefix_of(stream_element::pending, group)) {}

const ListCollection* StreamPending::of(std::string_view consumer) const {
  const auto found = by_consumer_.find(consumer);
  return found == by_consumer_.end() ? nullptr : &found->second;
}

std::size_t StreamPending::count_of(std::string_view consumer) const {
  const ListCollection* own = of(consumer);
  return own ? own->live() : 0;
}

void StreamPending::note(std::string_view consumer, std::string_view id, bool there) {
  auto found = by_consumer_.find(consumer);
  if (found == by_consumer_.end())
    found = by_consumer_.try_emplace(std::string(consumer), slabs_).first;
  found->second.merge({id, there ? noted : unnoted, {}, !there, {}}, false);
  if (found->second.live() == 0) by_consumer_.erase(found);
}

CellMerge StreamPending::merge(const Change& change, bool keep_tombstones) {
  const std::string_view id = change.id.substr(change.id.size() - stream_id_bytes);
  Cell old;
  const bool was = all_.find(change.id, old) && old.live();
  const std::string owner(was ? StreamDelivery::decode(old.stored).consumer : std::string_view());
  const CellMerge merged = all_.merge(change, keep_tombstones);
  if (!merged.taken) return merged;
  const bool is = !change.tombstone;
  const std::string_view next =
      is ? StreamDelivery::decode(change.payload).consumer : std::string_view();
  if (was && is && owner == next) return merged;
  if (was) note(owner, id, false);
  if (is) note(next, id, true);
  return merged;
}

void StreamPending::drop_below(Version floor,
                               const std::function<void(std::string_view, bool)>& dropped) {
  all_.drop_below(floor, dropped);
  by_consumer_.clear();
  all_.list().each_entry([&](const ListEntry& e) {
    char id[list_plain_id_bytes];
    if (!e.tombstone) note(StreamDelivery::decode(e.payload).consumer, e.id(id), true);
    return true;
  });
}

std::size_t StreamPending::bytes() const {
  std::size_t sum = sizeof *this + all_.bytes();
  for (const auto& [name, ids] : by_consumer_)
    sum += sizeof ids + name.capacity() + 64 + ids.bytes();
  return sum;
}

}  // namespace gyre
