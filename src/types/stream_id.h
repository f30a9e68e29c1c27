// The ids of stream entries, and of all elements that a stream is made of.
//
// An entry's id is two numbers, milliseconds and sequence. As an element each part of a stream is
// named by a byte and what follows:
//
//   'e' | be64 ms | be64 seq                        entry
//   'h'                                             head: what is remembered of removed entries
//   'g' | group                                     consumer group
//   'c' | varint size | group | consumer            consumer
//   'p' | varint size | group | be64 ms | be64 seq  pending: delivered and not acknowledged
//
// So groups and the consumers of one group lie in the order of their names.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace gyre {

struct StreamId {
  std::uint64_t ms = 0, seq = 0;

  constexpr auto operator<=>(const StreamId&) const = default;
  constexpr bool zero() const { return ms == 0 && seq == 0; }
  static constexpr StreamId highest() {
    return {std::numeric_limits<std::uint64_t>::max(), std::numeric_limits<std::uint64_t>::max()};
  }
  // The neighbours; nothing beyond the ends.
  constexpr std::optional<StreamId> next() const {
    if (seq != highest().seq) return StreamId{ms, seq + 1};
    if (ms != highest().ms) return StreamId{ms + 1, 0};
    return std::nullopt;
  }
  constexpr std::optional<StreamId> previous() const {
    if (seq != 0) return StreamId{ms, seq - 1};
    if (ms != 0) return StreamId{ms - 1, highest().seq};
    return std::nullopt;
  }
  std::string text() const { return std::to_string(ms) + '-' + std::to_string(seq); }
};

inline constexpr std::size_t stream_id_bytes = 16;
using StreamIdBytes = std::array<char, stream_id_bytes>;

inline StreamIdBytes encode_stream_id(StreamId id) {
  StreamIdBytes out;
  store_be64(out.data(), id.ms);
  store_be64(out.data() + 8, id.seq);
  return out;
}
// Of 16 bytes.
inline StreamId decode_stream_id(std::string_view bytes) {
  return {load_be64(bytes.data()), load_be64(bytes.data() + 8)};
}

namespace stream_element {

inline constexpr char entry = 'e', group = 'g', consumer = 'c', pending = 'p';
inline constexpr std::string_view head = "h";
inline constexpr std::size_t entry_bytes = 1 + stream_id_bytes;

inline bool is_entry(std::string_view id) {
  return id.size() == entry_bytes && id[0] == entry;
}
// Writes entry_bytes bytes.
inline std::string_view put_entry(char* to, StreamId id) {
  to[0] = entry;
  store_be64(to + 1, id.ms);
  store_be64(to + 9, id.seq);
  return {to, entry_bytes};
}
inline std::string of_group(std::string_view name) {
  return group + std::string(name);
}
// What the ids of a group's consumers, or of its pending entries, begin with.
inline std::string prefix_of(char kind, std::string_view group_name) {
  std::string id(1, kind);
  put_bytes(id, group_name);
  return id;
}
inline std::string of_consumer(std::string_view group_name, std::string_view name) {
  return prefix_of(consumer, group_name).append(name);
}
inline std::string of_pending(std::string_view group_name, StreamId id) {
  const StreamIdBytes bytes = encode_stream_id(id);
  return prefix_of(pending, group_name).append(bytes.data(), bytes.size());
}

}  // namespace stream_element
}  // namespace gyre
