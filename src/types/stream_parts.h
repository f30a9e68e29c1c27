// What the elements of a stream hold, and the parts in which a StreamCollection keeps them.
//
// Payloads:
//   entry     varint pairs | pairs x (bytes field, bytes value)
//   head      last id 16 | highest id that XDEL removed 16 | entries removed be64
//   group     last delivered id 16 | entries read be64, -1: not known
//   consumer  when it was last seen, be64 ms
//   pending   varint ms of the delivery | varint deliveries | consumer's name
//
// Whatever bytes a peer sends, reading them gives something: what is missing counts as zero.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/numbers.h"
#include "types/list_collection.h"
#include "types/stream_id.h"

namespace gyre {

// Counters stay at the highest number: clients and peers may set them to any.
inline std::int64_t added_up(std::int64_t a, std::int64_t b) {
  return checked_add(a, b).value_or(std::numeric_limits<std::int64_t>::max());
}

struct StreamHead {
  StreamId last;             // the highest id there ever was
  StreamId highest_deleted;  // by XDEL
  std::int64_t removed = 0;  // how many entries are gone; with those that are there: all ever added

  static StreamHead decode(std::string_view payload);
  std::string encode() const;
};

struct StreamGroup {
  static constexpr std::int64_t unknown = -1;
  StreamId last_delivered;
  std::int64_t entries_read = unknown;

  static StreamGroup decode(std::string_view payload);
  std::string encode() const;
};

struct StreamDelivery {
  UnixMs at = 0;
  std::uint64_t count = 0;
  std::string_view consumer;

  static StreamDelivery decode(std::string_view payload);
  std::string encode() const;
};

std::string encode_seen(UnixMs seen);
UnixMs decode_seen(std::string_view payload);

// An entry, or the id of a pending one, and the way to its neighbours.
class StreamWalk {
 public:
  explicit StreamWalk(const ListWalk& at) : at_(at) {}
  bool valid() const { return at_.valid(); }
  StreamId id() const { return {at_.entry().number, at_.entry().push.bits}; }
  std::string_view payload() const { return at_.payload(); }
  void next() { at_.next(); }
  void previous() { at_.previous(); }

 private:
  ListWalk at_;
};

// Elements whose ids are a prefix and an entry's id, in order: packed as a list's (an entry's id
// takes the place of a list's number and version, which have its size).
class StreamSeries {
 public:
  StreamSeries(Slabs& slabs, std::string id_prefix) : prefix_(std::move(id_prefix)), list_(slabs) {}

  CellMerge merge(const Change& change, bool keep_tombstones);
  bool find(std::string_view id, Cell& cell) const { return list_.find(tail(id), cell); }
  bool find(StreamId id, Cell& cell) const;
  bool for_each(const std::function<bool(const ElementView&)>& f) const;
  void drop_below(Version floor, const std::function<void(std::string_view, bool)>& dropped);
  void drop_tombstone(std::string_view id);

  std::size_t live() const { return list_.live(); }
  std::size_t tombstones() const { return list_.tombstones(); }
  bool empty() const { return live() == 0 && tombstones() == 0; }
  std::size_t bytes() const { return list_.bytes() + prefix_.capacity(); }
  std::size_t rank(StreamId id) const;
  StreamWalk at(std::size_t rank) const { return StreamWalk(list_.at(rank)); }
  const ListCollection& list() const { return list_; }

 private:
  static std::string_view tail(std::string_view id) {
    return id.substr(id.size() - stream_id_bytes);
  }

  std::string prefix_;
  ListCollection list_;
};

// The pending entries of one group, and by consumer which are whose.
class StreamPending {
 public:
  StreamPending(Slabs& slabs, std::string_view group);

  const StreamSeries& all() const { return all_; }
  // The ids pending at a consumer, without payloads; nullptr when there is none.
  const ListCollection* of(std::string_view consumer) const;
  std::size_t count_of(std::string_view consumer) const;
  const std::map<std::string, ListCollection, std::less<>>& consumers() const {
    return by_consumer_;
  }

  CellMerge merge(const Change& change, bool keep_tombstones);
  void drop_below(Version floor, const std::function<void(std::string_view, bool)>& dropped);
  void drop_tombstone(std::string_view id) { all_.drop_tombstone(id); }
  std::size_t bytes() const;

 private:
  void note(std::string_view consumer, std::string_view id, bool there);

  Slabs& slabs_;
  StreamSeries all_;
  std::map<std::string, ListCollection, std::less<>> by_consumer_;
};

}  // namespace gyre
