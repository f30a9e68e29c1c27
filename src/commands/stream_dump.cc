#include "commands/stream_dump.h"

#include <algorithm>

namespace gyre {
namespace {

using rdb::StreamValue;

StreamValue::Id out(StreamId id) {
  return {id.ms, id.seq};
}
StreamId in(StreamValue::Id id) {
  return {id.ms, id.seq};
}

void dump_group(const StreamCollection& s, std::string_view name, const StreamGroup& group,
                StreamValue& to) {
  StreamValue::Group& g = to.groups.emplace_back();
  g.name = name;
  g.last = out(group.last_delivered);
  g.entries_read = group.entries_read;
  s.for_each_consumer(name, [&](std::string_view consumer, UnixMs seen) {
    g.consumers.push_back({consumer, seen});
  });
  const StreamPending* pending = s.pending(name);
  if (!pending) return;
  pending->all().list().each_entry([&](const ListEntry& e) {
    if (e.tombstone) return true;
    const StreamDelivery d = StreamDelivery::decode(e.payload);
    // Consumers come in the order of their names.
    const auto owner =
        std::lower_bound(g.consumers.begin(), g.consumers.end(), d.consumer,
                         [](const auto& c, std::string_view wanted) { return c.name < wanted; });
    g.pending.push_back({{e.number, e.push.bits},
                         d.at,
                         d.count,
                         static_cast<std::size_t>(owner - g.consumers.begin())});
    return true;
  });
}

void put_group(Write& w, const StreamValue::Group& g) {
  const StreamGroup group{in(g.last), std::max(g.entries_read, StreamGroup::unknown)};
  w.put(w.keep(stream_element::of_group(g.name)), w.keep(group.encode()));
  for (const auto& c : g.consumers)
    w.put(w.keep(stream_element::of_consumer(g.name, c.name)), w.keep(encode_seen(c.seen)));
  for (const auto& p : g.pending) {
    const StreamDelivery d{p.at, p.count, g.consumers[p.consumer].name};
    w.put(w.keep(stream_element::of_pending(g.name, in(p.id))), w.keep(d.encode()));
  }
}

}  // namespace

void dump_stream(const StreamCollection& s, rdb::Value& value) {
  StreamValue& to = value.stream.emplace();
  if (s.length() > 0) {
    for (StreamWalk walk = s.at(0); walk.valid(); walk.next()) {
      std::size_t words = 0;
      for_each_stream_field(walk.payload(), [&](std::string_view field, std::string_view text) {
        value.parts.push_back(field);
        value.parts.push_back(text);
        words += 2;
      });
      if (words > 0) to.entries.push_back({out(walk.id()), words});
    }
  }
  const StreamHead head = s.head();
  to.last = out(head.last);
  to.highest_deleted = out(head.highest_deleted);
  to.added = static_cast<std::uint64_t>(s.entries_added(head));
  s.for_each_group(
      [&](std::string_view name, const StreamGroup& group) { dump_group(s, name, group, to); });
}

void put_stream(Write& w, const rdb::Value& value) {
  const StreamValue& stream = *value.stream;
  std::size_t at = 0;
  for (const StreamValue::Entry& e : stream.entries) {
    char id[stream_element::entry_bytes];
    std::string payload;
    put_varint(payload, e.words / 2);
    for (std::size_t i = 0; i < e.words; ++i) put_bytes(payload, value.parts[at++]);
    w.put(w.keep(std::string(stream_element::put_entry(id, in(e.id)))), w.keep(std::move(payload)));
  }
  StreamHead head;
  head.last = in(stream.last);
  head.highest_deleted = in(stream.highest_deleted);
  head.removed = static_cast<std::int64_t>(stream.added - stream.entries.size());
  w.put(stream_element::head, w.keep(head.encode()));
  for (const StreamValue::Group& g : stream.groups) put_group(w, g);
}

}  // namespace gyre
