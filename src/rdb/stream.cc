#include "rdb/stream.h"

#include <algorithm>
#include <limits>

#include "base/numbers.h"
#include "rdb/packed.h"

namespace gyre::rdb {
namespace {

using Id = StreamValue::Id;

constexpr std::size_t id_bytes = 16;
constexpr std::int64_t deleted = 1, same_fields = 2;  // flags of an entry

// ---- reading

std::optional<Id> read_id(Reader& in) {
  const auto ms = read_count(in);
  const auto seq = ms ? read_count(in) : std::nullopt;
  if (!seq) return std::nullopt;
  return Id{*ms, *seq};
}

std::optional<Id> read_raw_id(Reader& in) {
  const std::uint64_t ms = in.be64();
  const Id id{ms, in.be64()};
  return in.ok() ? std::optional(id) : std::nullopt;
}

// The entries of one listpack; its elements are value.parts from `at` on, and go from there.
class NodeReader {
 public:
  NodeReader(Value& value, std::size_t at, Id master)
      : value_(value),
        elements_(value.parts.begin() + static_cast<std::ptrdiff_t>(at), value.parts.end()),
        master_(master) {
    value.parts.resize(at);
  }
  bool read() {
    const auto there = number(), gone = number(), fields = number();
    if (!there || !gone || !fields || *there < 0 || *gone < 0) return false;
    if (!words(*fields, fields_)) return false;
    if (number() != 0) return false;
    std::int64_t alive = 0;
    while (at_ < elements_.size()) {
      const auto one = entry();
      if (!one) return false;
      alive += *one;
    }
    return alive == *there;
  }

 private:
  std::optional<std::int64_t> number() {
    return at_ < elements_.size() ? parse_int(elements_[at_++]) : std::nullopt;
  }
  bool words(std::int64_t count, std::vector<std::string_view>& to) {
    if (count < 0 || static_cast<std::uint64_t>(count) > elements_.size() - at_) return false;
    for (; count > 0; --count) to.push_back(elements_[at_++]);
    return true;
  }
  // 1 for an entry, 0 for one that was removed.
  std::optional<int> entry() {
    const auto flags = number(), ms = number(), seq = number();
    if (!flags || !ms || !seq) return std::nullopt;
    std::vector<std::string_view> content;
    if (*flags & same_fields) {
      std::vector<std::string_view> values;
      if (!words(static_cast<std::int64_t>(fields_.size()), values)) return std::nullopt;
      for (std::size_t i = 0; i < values.size(); ++i) {
        content.push_back(fields_[i]);
        content.push_back(values[i]);
      }
    } else {
      const auto pairs = number();
      if (!pairs || *pairs > std::numeric_limits<std::int32_t>::max()) return std::nullopt;
      if (!words(*pairs * 2, content)) return std::nullopt;
    }
    if (!number()) return std::nullopt;  // the elements, for reading backwards
    if (*flags & deleted) return 0;
    const Id id{master_.ms + static_cast<std::uint64_t>(*ms),
                master_.seq + static_cast<std::uint64_t>(*seq)};
    auto& entries = value_.stream->entries;
    const Id before = entries.empty() ? Id{} : entries.back().id;
    if (id <= before || content.empty()) return std::nullopt;
    entries.push_back({id, content.size()});
    value_.parts.insert(value_.parts.end(), content.begin(), content.end());
    return 1;
  }

  Value& value_;
  std::vector<std::string_view> elements_, fields_;
  std::size_t at_ = 0;
  Id master_;
};

bool read_nodes(Reader& in, Value& value, const ReadString& string) {
  const auto nodes = read_count(in);
  if (!nodes || *nodes > in.left()) return false;
  for (std::uint64_t i = 0; i < *nodes; ++i) {
    const auto key = string();
    if (!key || key->size() != id_bytes) return false;
    Reader raw(*key);
    const auto master = read_raw_id(raw);
    const auto pack = string();
    const std::size_t at = value.parts.size();
    if (!pack || !read_listpack(*pack, value)) return false;
    if (!NodeReader(value, at, *master).read()) return false;
  }
  return true;
}

bool read_pending(Reader& in, StreamValue::Group& group) {
  const auto count = read_count(in);
  if (!count || *count > in.left() / id_bytes) return false;
  for (std::uint64_t i = 0; i < *count; ++i) {
    const auto id = read_raw_id(in);
    const auto at = static_cast<std::int64_t>(le_unsigned(in, 8));
    const auto deliveries = read_count(in);
    if (!id || !deliveries || at < 0) return false;
    if (!group.pending.empty() && *id <= group.pending.back().id) return false;
    group.pending.push_back({*id, at, *deliveries, StreamValue::nobody});
  }
  return true;
}

bool read_consumer(Reader& in, StreamValue::Group& group, const ReadString& string) {
  const auto name = string();
  if (!name) return false;
  for (const auto& other : group.consumers) {
    if (other.name == *name) return false;
  }
  group.consumers.push_back({*name, static_cast<std::int64_t>(le_unsigned(in, 8))});
  const auto count = read_count(in);
  if (!count || *count > in.left() / id_bytes) return false;
  for (std::uint64_t i = 0; i < *count; ++i) {
    const auto id = read_raw_id(in);
    if (!id) return false;
    const auto found =
        std::lower_bound(group.pending.begin(), group.pending.end(), *id,
                         [](const auto& p, const Id& wanted) { return p.id < wanted; });
    if (found == group.pending.end() || found->id != *id || found->consumer != StreamValue::nobody)
      return false;
    found->consumer = group.consumers.size() - 1;
  }
  return true;
}

bool read_group(Reader& in, bool of_redis_7, StreamValue& stream, const ReadString& string) {
  const auto name = string();
  const auto last = name ? read_id(in) : std::nullopt;
  if (!last) return false;
  for (const auto& other : stream.groups) {
    if (other.name == *name) return false;
  }
  StreamValue::Group& group = stream.groups.emplace_back();
  group.name = *name;
  group.last = *last;
  if (of_redis_7) {
    const auto read = read_count(in);
    if (!read) return false;
    group.entries_read = static_cast<std::int64_t>(*read);
  }
  if (!read_pending(in, group)) return false;
  const auto consumers = read_count(in);
  if (!consumers || *consumers > in.left()) return false;
  for (std::uint64_t i = 0; i < *consumers; ++i) {
    if (!read_consumer(in, group, string)) return false;
  }
  return std::all_of(group.pending.begin(), group.pending.end(),
                     [](const auto& p) { return p.consumer != StreamValue::nobody; });
}

// How many entries a group has read, which Redis did not note before 7.0: as Redis 7.0 guesses it.
std::int64_t guessed_read(const StreamValue& stream, Id last_delivered) {
  const auto length = static_cast<std::int64_t>(stream.entries.size());
  if (length == 0 || last_delivered == stream.last) return length;
  const Id first = stream.entries.front().id;
  if (last_delivered < first) return 0;
  return last_delivered == first ? 1 : -1;
}

// ---- writing

// Appends elements to a listpack: each its bytes, then its length to be read backwards.
class Pack {
 public:
  void number(std::int64_t n) {
    const std::size_t from = bytes_.size();
    if (n >= 0 && n < 128) {
      put_u8(bytes_, static_cast<std::uint8_t>(n));
    } else {
      constexpr std::uint8_t int_64 = 0xf4;
      put_u8(bytes_, int_64);
      for (unsigned i = 0; i < 8; ++i)
        put_u8(bytes_, static_cast<std::uint8_t>(static_cast<std::uint64_t>(n) >> (8 * i)));
    }
    finish(from);
  }
  void text(std::string_view text) {
    const std::size_t from = bytes_.size();
    if (text.size() < 64) {
      put_u8(bytes_, static_cast<std::uint8_t>(0x80 | text.size()));
    } else {
      constexpr std::uint8_t long_string = 0xf0;
      put_u8(bytes_, long_string);
      put_le32(bytes_, static_cast<std::uint32_t>(text.size()));
    }
    bytes_.append(text);
    finish(from);
  }
  std::size_t size() const { return bytes_.size(); }
  void append(const Pack& other) {
    bytes_ += other.bytes_;
    elements_ += other.elements_;
  }
  std::string take() {
    constexpr std::size_t header = 6, unknown = 0xffff;
    std::string out;
    put_le32(out, static_cast<std::uint32_t>(header + bytes_.size() + 1));
    const std::size_t shown = std::min(elements_, unknown);
    put_u8(out, static_cast<std::uint8_t>(shown));
    put_u8(out, static_cast<std::uint8_t>(shown >> 8));
    out += bytes_;
    out.push_back('\xff');
    return out;
  }

 private:
  static void put_le32(std::string& to, std::uint32_t n) {
    for (unsigned i = 0; i < 4; ++i) put_u8(to, static_cast<std::uint8_t>(n >> (8 * i)));
  }
  void finish(std::size_t from) {
    ++elements_;
    const std::size_t size = bytes_.size() - from;
    unsigned septets = 1;
    while (size >> (7 * septets)) ++septets;
    for (unsigned i = septets; i-- > 0;) {
      const auto part = static_cast<std::uint8_t>((size >> (7 * i)) & 0x7f);
      put_u8(bytes_, static_cast<std::uint8_t>(i + 1 == septets ? part : part | 0x80));
    }
  }

  std::string bytes_;
  std::size_t elements_ = 0;
};

std::string raw_id(Id id) {
  std::string out;
  put_be64(out, id.ms);
  put_be64(out, id.seq);
  return out;
}

void write_id(std::string& to, Id id) {
  write_length(to, id.ms);
  write_length(to, id.seq);
}

void put_le64(std::string& to, std::int64_t n) {
  for (unsigned i = 0; i < 8; ++i)
    put_u8(to, static_cast<std::uint8_t>(static_cast<std::uint64_t>(n) >> (8 * i)));
}

void pack_entry(Pack& pack, Id master, const StreamValue::Entry& entry,
                const std::string_view* words, bool same) {
  const auto pairs = static_cast<std::int64_t>(entry.words / 2);
  pack.number(same ? same_fields : 0);
  pack.number(static_cast<std::int64_t>(entry.id.ms - master.ms));
  pack.number(static_cast<std::int64_t>(entry.id.seq - master.seq));
  if (!same) pack.number(pairs);
  for (std::size_t i = 0; i < entry.words; ++i) {
    if (!same || i % 2 == 1) pack.text(words[i]);
  }
  pack.number(3 + pairs + (same ? 0 : pairs + 1));
}

// Packs as many entries as a node takes; returns how many. `words` are those of the first.
std::size_t pack_node(std::string& to, const StreamValue& stream, std::size_t first,
                      const std::string_view*& words) {
  constexpr std::size_t most_entries = 100, most_bytes = 4096;
  const StreamValue::Entry& master = stream.entries[first];
  const std::string_view* const master_words = words;
  Pack entries;
  std::size_t n = 0;
  while (first + n < stream.entries.size() && n < most_entries && entries.size() < most_bytes) {
    const StreamValue::Entry& e = stream.entries[first + n];
    bool same = e.words == master.words;
    for (std::size_t i = 0; same && i < e.words; i += 2) same = words[i] == master_words[i];
    pack_entry(entries, master.id, e, words, same);
    words += e.words;
    ++n;
  }
  Pack pack;
  pack.number(static_cast<std::int64_t>(n));
  pack.number(0);
  pack.number(static_cast<std::int64_t>(master.words / 2));
  for (std::size_t i = 0; i < master.words; i += 2) pack.text(master_words[i]);
  pack.number(0);
  pack.append(entries);
  const std::string key = raw_id(master.id);
  write_length(to, key.size());
  to += key;
  write_string(to, pack.take());
  return n;
}

void write_group(std::string& to, const StreamValue::Group& group) {
  write_string(to, group.name);
  write_id(to, group.last);
  write_length(to, static_cast<std::uint64_t>(group.entries_read));
  write_length(to, group.pending.size());
  for (const auto& p : group.pending) {
    to += raw_id(p.id);
    put_le64(to, p.at);
    write_length(to, p.count);
  }
  write_length(to, group.consumers.size());
  for (std::size_t c = 0; c < group.consumers.size(); ++c) {
    write_string(to, group.consumers[c].name);
    put_le64(to, group.consumers[c].seen);
    const auto own = [c](const auto& p) { return p.consumer == c; };
    write_length(to, static_cast<std::uint64_t>(
                         std::count_if(group.pending.begin(), group.pending.end(), own)));
    for (const auto& p : group.pending) {
      if (own(p)) to += raw_id(p.id);
    }
  }
}

}  // namespace

bool read_stream(Reader& in, bool of_redis_7, Value& value, const ReadString& string) {
  StreamValue& stream = value.stream.emplace();
  if (!read_nodes(in, value, string)) return false;
  const auto length = read_count(in);
  const auto last = length ? read_id(in) : std::nullopt;
  if (!last || *length != stream.entries.size()) return false;
  if (!stream.entries.empty() && *last < stream.entries.back().id) return false;
  stream.last = *last;
  stream.added = *length;
  if (of_redis_7) {
    const auto first = read_id(in);
    const auto highest_deleted = first ? read_id(in) : std::nullopt;
    const auto added = highest_deleted ? read_count(in) : std::nullopt;
    if (!added || *added > std::numeric_limits<std::int64_t>::max()) return false;
    stream.highest_deleted = *highest_deleted;
    stream.added = *added;
  }
  const auto groups = read_count(in);
  if (!groups || *groups > in.left()) return false;
  for (std::uint64_t i = 0; i < *groups; ++i) {
    if (!read_group(in, of_redis_7, stream, string)) return false;
    StreamValue::Group& group = stream.groups.back();
    if (!of_redis_7) group.entries_read = guessed_read(stream, group.last);
  }
  return true;
}

void write_stream(std::string& to, const Value& value) {
  const StreamValue& stream = *value.stream;
  std::string nodes;
  std::size_t count = 0;
  const std::string_view* words = value.parts.data();
  for (std::size_t at = 0; at < stream.entries.size(); ++count)
    at += pack_node(nodes, stream, at, words);
  write_length(to, count);
  to += nodes;
  write_length(to, stream.entries.size());
  write_id(to, stream.last);
  write_id(to, stream.entries.empty() ? Id{} : stream.entries.front().id);
  write_id(to, stream.highest_deleted);
  write_length(to, stream.added);
  write_length(to, stream.groups.size());
  for (const auto& group : stream.groups) write_group(to, group);
}

}  // namespace gyre::rdb
