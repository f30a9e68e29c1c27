// Sorted sets: ranges by rank, score and member.
//
// Every range becomes two ranks, [first, end): reading, counting, storing and removing then walk or
// subtract (types/zset_collection.h).

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

#include "commands/zset_common.h"

namespace gyre::zset {
namespace {

enum class By : std::uint8_t { unsaid, rank, score, member };
enum class Direction : std::uint8_t { unsaid, upward, downward };

// One end of a range by member: "-", "+", "[x" or "(x".
struct LexEnd {
  enum class Kind : std::uint8_t { lowest, highest, value } kind = Kind::lowest;
  std::string_view value;
  bool exclusive = false;
};

struct Range {
  By by = By::rank;
  std::int64_t start = 0, stop = 0;
  double min = 0, max = 0;
  bool min_exclusive = false, max_exclusive = false;
  LexEnd lex_min, lex_max;
};

// As Redis reads it, with strtod: leading spaces, hexadecimal and an empty text (0) are taken.
bool parse_score_end(std::string_view text, double& score, bool& exclusive) {
  exclusive = text.starts_with('(');
  const std::string copy(exclusive ? text.substr(1) : text);
  char* end = nullptr;
  score = std::strtod(copy.c_str(), &end);
  return *end == '\0' && !std::isnan(score);
}

bool parse_lex_end(std::string_view text, LexEnd& out) {
  if (text == "-") {
    out.kind = LexEnd::Kind::lowest;
  } else if (text == "+") {
    out.kind = LexEnd::Kind::highest;
  } else if (text.starts_with('(') || text.starts_with('[')) {
    out = {LexEnd::Kind::value, text.substr(1), text.front() == '('};
  } else {
    return false;
  }
  return true;
}

// Reads the ends of a range from two arguments; false when an error was answered.
bool parse_range(CommandContext& ctx, By by, std::size_t min, std::size_t max, Range& out) {
  out.by = by;
  if (by == By::score) {
    if (parse_score_end(ctx.arg(min), out.min, out.min_exclusive) &&
        parse_score_end(ctx.arg(max), out.max, out.max_exclusive)) {
      return true;
    }
    return ctx.reply.error("min or max is not a float"), false;
  }
  if (by == By::member) {
    if (parse_lex_end(ctx.arg(min), out.lex_min) && parse_lex_end(ctx.arg(max), out.lex_max)) {
      return true;
    }
    return ctx.reply.error("min or max not valid string range item"), false;
  }
  const auto start = int_arg(ctx, min);
  if (!start) return false;
  const auto stop = int_arg(ctx, max);
  if (!stop) return false;
  out.start = *start;
  out.stop = *stop;
  return true;
}

// Ranks in the order of scores.
struct Ranks {
  std::size_t first = 0, end = 0;
  std::size_t size() const { return end - first; }
};

std::size_t lex_rank(const ZsetCollection& z, const LexEnd& end, bool past) {
  switch (end.kind) {
    case LexEnd::Kind::lowest:
      return 0;
    case LexEnd::Kind::highest:
      return z.live();
    default:
      return z.rank(ZsetBorder::at_member(end.value, past));
  }
}

Ranks ranks_of(const ZsetCollection& z, const Range& range, bool downward) {
  Ranks out;
  if (range.by == By::score) {
    out.first = z.rank(ZsetBorder::at_score(range.min, range.min_exclusive));
    out.end = z.rank(ZsetBorder::at_score(range.max, !range.max_exclusive));
  } else if (range.by == By::member) {
    out.first = lex_rank(z, range.lex_min, range.lex_min.exclusive);
    out.end = lex_rank(z, range.lex_max, !range.lex_max.exclusive);
  } else {
    const auto size = static_cast<std::int64_t>(z.live());
    std::int64_t start =
        range.start < 0 ? std::max<std::int64_t>(range.start + size, 0) : range.start;
    std::int64_t stop = range.stop < 0 ? range.stop + size : std::min(range.stop, size - 1);
    if (start > stop || start >= size) return {};
    if (downward) {
      std::swap(start, stop);
      start = size - 1 - start;
      stop = size - 1 - stop;
    }
    out = {static_cast<std::size_t>(start), static_cast<std::size_t>(stop) + 1};
  }
  if (out.first > out.end) out.first = out.end;
  return out;
}

struct RangeWords {
  By by = By::unsaid;
  Direction direction = Direction::unsaid;
  bool with_scores = false;
  std::int64_t offset = 0, limit = -1;
};

// Reads the words behind the ends; false when an error was answered.
bool parse_words(CommandContext& ctx, std::size_t from, bool storing, RangeWords& out) {
  for (std::size_t i = from; i < ctx.argc(); ++i) {
    if (!storing && arg_is(ctx, i, "withscores")) {
      out.with_scores = true;
    } else if (arg_is(ctx, i, "limit") && i + 2 < ctx.argc()) {
      const auto offset = int_arg(ctx, i + 1);
      if (!offset) return false;
      const auto limit = int_arg(ctx, i + 2);
      if (!limit) return false;
      out.offset = *offset;
      out.limit = *limit;
      i += 2;
    } else if (out.direction == Direction::unsaid && arg_is(ctx, i, "rev")) {
      out.direction = Direction::downward;
    } else if (out.by == By::unsaid && arg_is(ctx, i, "bylex")) {
      out.by = By::member;
    } else if (out.by == By::unsaid && arg_is(ctx, i, "byscore")) {
      out.by = By::score;
    } else {
      return ctx.reply.error(Errc::syntax), false;
    }
  }
  if (out.by == By::unsaid) out.by = By::rank;
  if (out.direction == Direction::unsaid) out.direction = Direction::upward;
  if (out.limit != -1 && out.by == By::rank) {
    ctx.reply.error(
        "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
    return false;
  }
  if (out.with_scores && out.by == By::member) {
    ctx.reply.error("syntax error, WITHSCORES not supported in combination with BYLEX");
    return false;
  }
  return true;
}

// What a range with its words selects: where to begin, how many.
struct Selection {
  std::size_t rank = 0, count = 0;
};

Selection select(const ZsetCollection& z, const Range& range, const RangeWords& words) {
  const bool downward = words.direction == Direction::downward;
  const Ranks ranks = ranks_of(z, range, downward);
  // A negative offset passes everything, as in Redis.
  const std::size_t skipped = words.offset < 0
                                  ? ranks.size()
                                  : std::min(static_cast<std::size_t>(words.offset), ranks.size());
  std::size_t count = ranks.size() - skipped;
  if (words.limit >= 0) count = std::min(count, static_cast<std::size_t>(words.limit));
  if (count == 0) return {};
  return {downward ? ranks.end - 1 - skipped : ranks.first + skipped, count};
}

// `at`: the position of the key that is read; a destination stands before it.
void range_command(CommandContext& ctx, std::size_t at, RangeWords words) {
  const bool storing = at == 2;
  KeyRef to;
  if (!parse_words(ctx, at + 3, storing, words)) return;
  const bool downward = words.direction == Direction::downward;
  Range range;
  const bool swapped = downward && words.by != By::rank;  // given as max, min
  if (!parse_range(ctx, words.by, at + (swapped ? 2 : 1), at + (swapped ? 1 : 2), range)) return;
  if (storing) to = ctx.find(ctx.arg(1));
  const auto key = typed_key(ctx, at, TypeId::zset);
  if (!key) return;
  const ZsetCollection* z = of(*key);
  const Selection chosen = z ? select(*z, range, words) : Selection{};
  if (storing) {
    std::vector<Scored> elements;
    if (z) {
      z->walk(chosen.rank, chosen.count, downward, [&](std::string_view member, double score) {
        elements.push_back({member, score});
        return true;
      });
    }
    store(ctx, to, elements, to.node == key->node, "zrangestore");
    return ctx.reply.integer(static_cast<std::int64_t>(elements.size()));
  }
  const Emit emit = emit_scores(ctx, words.with_scores);
  reply_header(ctx, chosen.count, emit);
  if (!z) return;
  z->walk(chosen.rank, chosen.count, downward, [&](std::string_view member, double score) {
    reply_element(ctx, member, score, emit);
    return true;
  });
}

void count_range(CommandContext& ctx, By by) {
  Range range;
  if (!parse_range(ctx, by, 2, 3, range)) return;
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  const ZsetCollection* z = of(*key);
  ctx.reply.integer(z ? static_cast<std::int64_t>(ranks_of(*z, range, false).size()) : 0);
}

void remove_range(CommandContext& ctx, By by) {
  Range range;
  if (!parse_range(ctx, by, 2, 3, range)) return;
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  std::vector<Scored> doomed;
  if (const ZsetCollection* z = of(*key)) {
    const Ranks ranks = ranks_of(*z, range, false);
    z->walk(ranks.first, ranks.size(), false, [&](std::string_view member, double score) {
      doomed.push_back({member, score});
      return true;
    });
  }
  ctx.reply.integer(static_cast<std::int64_t>(doomed.size()));
  remove(ctx, *key, doomed,
         by == By::rank    ? "zremrangebyrank"
         : by == By::score ? "zremrangebyscore"
                           : "zremrangebylex");
}

}  // namespace

void zrange(CommandContext& ctx) {
  range_command(ctx, 1, {});
}
void zrangestore(CommandContext& ctx) {
  range_command(ctx, 2, {});
}
void zrevrange(CommandContext& ctx) {
  range_command(ctx, 1, {.by = By::rank, .direction = Direction::downward});
}
void zrangebyscore(CommandContext& ctx) {
  range_command(ctx, 1, {.by = By::score, .direction = Direction::upward});
}
void zrevrangebyscore(CommandContext& ctx) {
  range_command(ctx, 1, {.by = By::score, .direction = Direction::downward});
}
void zrangebylex(CommandContext& ctx) {
  range_command(ctx, 1, {.by = By::member, .direction = Direction::upward});
}
void zrevrangebylex(CommandContext& ctx) {
  range_command(ctx, 1, {.by = By::member, .direction = Direction::downward});
}

void zcount(CommandContext& ctx) {
  count_range(ctx, By::score);
}
void zlexcount(CommandContext& ctx) {
  count_range(ctx, By::member);
}
void zremrangebyrank(CommandContext& ctx) {
  remove_range(ctx, By::rank);
}
void zremrangebyscore(CommandContext& ctx) {
  remove_range(ctx, By::score);
}
void zremrangebylex(CommandContext& ctx) {
  remove_range(ctx, By::member);
}

}  // namespace gyre::zset
