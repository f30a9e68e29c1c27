#include "commands/stream_common.h"

#include <algorithm>

namespace gyre::streams {
namespace {

// As strtoull reads it: blanks, a plus and zeros may stand in front.
std::optional<std::uint64_t> parse_part(std::string_view text) {
  while (!text.empty() && (text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r')))
    text.remove_prefix(1);
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    if (__builtin_mul_overflow(value, 10u, &value) ||
        __builtin_add_overflow(value, static_cast<unsigned>(c - '0'), &value))
      return std::nullopt;
  }
  return value;
}

// "-", "+", an id or, with "(", the id itself is left out.
std::optional<StreamId> end_arg(CommandContext& ctx, std::size_t i, std::uint64_t missing_seq,
                                bool& exclusive) {
  std::string_view text = ctx.arg(i);
  exclusive = text.size() > 1 && text[0] == '(';
  if (!exclusive && text == "-") return StreamId{};
  if (!exclusive && text == "+") return StreamId::highest();
  if (exclusive) text.remove_prefix(1);
  const auto id = parse_id(text, missing_seq);
  if (!id) bad_id(ctx);
  return id;
}

}  // namespace

std::optional<StreamId> parse_id(std::string_view text, std::uint64_t missing_seq) {
  const std::size_t dash = text.find('-');
  const auto ms = parse_part(text.substr(0, dash));
  if (!ms) return std::nullopt;
  if (dash == std::string_view::npos) return StreamId{*ms, missing_seq};
  const auto seq = parse_part(text.substr(dash + 1));
  if (!seq) return std::nullopt;
  return StreamId{*ms, *seq};
}

bool bad_id(CommandContext& ctx) {
  ctx.reply.error("Invalid stream ID specified as stream command argument");
  return false;
}

std::optional<StreamId> id_arg(CommandContext& ctx, std::size_t i) {
  const auto id = parse_id(ctx.arg(i));
  if (!id) bad_id(ctx);
  return id;
}

std::optional<StreamId> range_start(CommandContext& ctx, std::size_t i) {
  bool exclusive = false;
  auto id = end_arg(ctx, i, 0, exclusive);
  if (!id || !exclusive) return id;
  id = id->next();
  if (!id) ctx.reply.error("invalid start ID for the interval");
  return id;
}

std::optional<StreamId> range_end(CommandContext& ctx, std::size_t i) {
  bool exclusive = false;
  auto id = end_arg(ctx, i, StreamId::highest().seq, exclusive);
  if (!id || !exclusive) return id;
  id = id->previous();
  if (!id) ctx.reply.error("invalid end ID for the interval");
  return id;
}

void reply_entry(Reply& reply, StreamId id, std::string_view payload) {
  reply.array(2);
  reply_id(reply, id);
  // Counted, because a peer's payload may name more pairs than it holds.
  std::size_t words = 0;
  for_each_stream_field(payload, [&](std::string_view, std::string_view) { words += 2; });
  reply.array(words);
  for_each_stream_field(payload, [&](std::string_view field, std::string_view value) {
    reply.bulk(field);
    reply.bulk(value);
  });
}

bool holes_from(const StreamCollection& s, const StreamHead& head, StreamId id) {
  if (s.length() == 0 || head.highest_deleted.zero()) return false;
  return s.first_entry() <= head.highest_deleted && id <= head.highest_deleted;
}

std::int64_t entries_up_to(const StreamCollection& s, const StreamHead& head, StreamId id) {
  const std::int64_t added = s.entries_added(head);
  const auto length = static_cast<std::int64_t>(s.length());
  if (added == 0) return 0;
  if (length == 0 && id <= head.last) return added;
  if (id == head.last) return added;
  if (id > head.last) return StreamGroup::unknown;
  const StreamId first = s.first_entry();
  // Nothing was taken out of the middle, so what is before the first entry was trimmed.
  if (head.highest_deleted.zero() || head.highest_deleted < first) {
    if (id < first) return added - length;
    if (id == first) return added - length + 1;
  }
  return StreamGroup::unknown;
}

void no_such_group(CommandContext& ctx, const KeyRef& key, std::string_view group) {
  ctx.reply.error(Error(Errc::no_group, "No such consumer group '" + std::string(group) +
                                            "' for key name '" + std::string(key.key) + "'"));
}

}  // namespace gyre::streams
