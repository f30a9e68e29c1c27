// Sorted sets: union, intersection, difference, of sorted sets and sets (whose members score 1).

#include <algorithm>
#include <cmath>
#include <limits>

#include "commands/zset_common.h"

namespace gyre::zset {
namespace {

enum class Operation : std::uint8_t { set_union, set_inter, set_diff };
enum class Aggregate : std::uint8_t { sum, min, max };
enum class Output : std::uint8_t { reply, store, cardinality };

struct Source {
  const Collection* elements = nullptr;  // nullptr: an absent key
  bool scored = false;                   // a sorted set
  double weight = 1;

  std::size_t size() const { return elements ? elements->live() : 0; }
  const ZsetCollection& zset() const { return static_cast<const ZsetCollection&>(*elements); }

  // Calls f(member, score) for each live element; f returns false to stop.
  void for_each(const ZsetCollection::Visit& f) const {
    if (!elements) return;
    if (scored) return zset().walk(0, size(), false, f);
    elements->for_each([&](const ElementView& e) { return !e.cell.live() || f(e.id, 1.0); });
  }
  std::optional<double> find(std::string_view member) const {
    if (!elements) return std::nullopt;
    if (scored) return zset().score(member);
    Cell cell;
    return elements->find(member, cell) && cell.live() ? std::optional(1.0) : std::nullopt;
  }
};

struct Algebra {
  Operation operation = Operation::set_union;
  Output output = Output::reply;
  std::vector<Source> sources{};
  Aggregate aggregate = Aggregate::sum;
  bool with_scores = false;
  bool reads_target = false;  // the destination is a source as well
  std::size_t limit = 0;
};

// 0 * inf and inf - inf are 0 here, as in Redis.
double or_zero(double score) {
  return std::isnan(score) ? 0 : score;
}

double joined(double a, double b, Aggregate how) {
  switch (how) {
    case Aggregate::sum:
      return or_zero(a + b);
    case Aggregate::min:
      return b < a ? b : a;
    default:
      return b > a ? b : a;
  }
}

// ---- parsing

// Opens the sources; false when an error was answered.
bool open_sources(CommandContext& ctx, const KeyRef& to, std::size_t count_at, Algebra& a) {
  const auto count = int_arg(ctx, count_at);
  if (!count) return false;
  if (*count < 1) {
    ctx.reply.error("at least 1 input key is needed for '" + command_name(ctx) + "' command");
    return false;
  }
  if (*count > static_cast<std::int64_t>(ctx.argc() - count_at - 1)) {
    return ctx.reply.error(Errc::syntax), false;
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(*count); ++i) {
    const KeyRef key = ctx.find(ctx.arg(count_at + 1 + i));
    const TypeId type = key.type();
    if (type != TypeId::none && type != TypeId::zset && type != TypeId::set) {
      return ctx.reply.error(Errc::wrong_type), false;
    }
    a.sources.push_back({.elements = key.collection(), .scored = type == TypeId::zset});
    if (key.node && key.node == to.node) a.reads_target = true;
  }
  return true;
}

bool parse_aggregate(CommandContext& ctx, std::size_t i, Aggregate& out) {
  if (arg_is(ctx, i, "sum")) {
    out = Aggregate::sum;
  } else if (arg_is(ctx, i, "min")) {
    out = Aggregate::min;
  } else if (arg_is(ctx, i, "max")) {
    out = Aggregate::max;
  } else {
    return ctx.reply.error(Errc::syntax), false;
  }
  return true;
}

bool parse_weights(CommandContext& ctx, std::size_t from, std::vector<Source>& sources) {
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto weight = double_arg(ctx, from + i, "weight value is not a float");
    if (!weight) return false;
    sources[i].weight = *weight;
  }
  return true;
}

// Reads the words behind the keys; false when an error was answered.
bool parse_algebra(CommandContext& ctx, std::size_t from, Algebra& a) {
  const bool weighs = a.operation != Operation::set_diff && a.output != Output::cardinality;
  for (std::size_t i = from; i < ctx.argc();) {
    const std::size_t remaining = ctx.argc() - i;
    if (weighs && remaining >= a.sources.size() + 1 && arg_is(ctx, i, "weights")) {
      if (!parse_weights(ctx, i + 1, a.sources)) return false;
      i += 1 + a.sources.size();
    } else if (weighs && remaining >= 2 && arg_is(ctx, i, "aggregate")) {
      if (!parse_aggregate(ctx, i + 1, a.aggregate)) return false;
      i += 2;
    } else if (a.output == Output::reply && arg_is(ctx, i, "withscores")) {
      a.with_scores = true;
      ++i;
    } else if (a.output == Output::cardinality && remaining >= 2 && arg_is(ctx, i, "limit")) {
      const auto limit = int_arg(ctx, i + 1, "LIMIT can't be negative");
      if (!limit) return false;
      if (*limit < 0) return ctx.reply.error("LIMIT can't be negative"), false;
      a.limit = static_cast<std::size_t>(*limit);
      i += 2;
    } else {
      return ctx.reply.error(Errc::syntax), false;
    }
  }
  return true;
}

// ---- the operations; their members lie in the sources' records

std::vector<Scored> united(const Algebra& a) {
  std::unordered_map<std::string_view, double> scores;
  scores.reserve(a.sources.back().size());
  for (const Source& s : a.sources) {
    s.for_each([&](std::string_view member, double score) {
      const double weighted = or_zero(s.weight * score);
      const auto [at, fresh] = scores.try_emplace(member, weighted);
      if (!fresh) at->second = joined(at->second, weighted, a.aggregate);
      return true;
    });
  }
  std::vector<Scored> out;
  out.reserve(scores.size());
  for (const auto& [member, score] : scores) out.push_back({member, score});
  return out;
}

// Stops at `most` members.
std::vector<Scored> intersected(const Algebra& a, std::size_t most) {
  std::vector<Scored> out;
  const Source& smallest = a.sources.front();
  smallest.for_each([&](std::string_view member, double score) {
    double total = or_zero(smallest.weight * score);
    for (std::size_t i = 1; i < a.sources.size(); ++i) {
      const auto other = a.sources[i].find(member);
      if (!other) return true;
      total = joined(total, a.sources[i].weight * *other, a.aggregate);
    }
    out.push_back({member, total});
    return out.size() < most;
  });
  return out;
}

std::vector<Scored> subtracted(const Algebra& a) {
  std::vector<Scored> out;
  a.sources.front().for_each([&](std::string_view member, double score) {
    for (std::size_t i = 1; i < a.sources.size(); ++i) {
      if (a.sources[i].find(member)) return true;
    }
    out.push_back({member, score});
    return true;
  });
  return out;
}

std::vector<Scored> outcome(Algebra& a) {
  if (a.operation == Operation::set_diff) return subtracted(a);
  // Smallest first: an intersection walks it alone, and a sum of doubles depends on the order.
  std::stable_sort(a.sources.begin(), a.sources.end(),
                   [](const Source& x, const Source& y) { return x.size() < y.size(); });
  if (a.operation == Operation::set_union) return united(a);
  return intersected(a, a.limit ? a.limit : std::numeric_limits<std::size_t>::max());
}

void algebra(CommandContext& ctx, Operation operation, Output output) {
  Algebra a{.operation = operation, .output = output};
  const std::size_t count_at = output == Output::store ? 2 : 1;
  KeyRef to;
  if (output == Output::store) to = ctx.find(ctx.arg(1));
  if (!open_sources(ctx, to, count_at, a)) return;
  if (!parse_algebra(ctx, count_at + 1 + a.sources.size(), a)) return;
  std::vector<Scored> elements = outcome(a);
  const auto size = static_cast<std::int64_t>(elements.size());
  if (output == Output::cardinality) return ctx.reply.integer(size);
  // Stored in order too: an index that grows at its end is filled best.
  std::sort(elements.begin(), elements.end(), [](const Scored& x, const Scored& y) {
    return x.score < y.score || (x.score == y.score && x.member < y.member);
  });
  if (output == Output::store) {
    store(ctx, to, elements, a.reads_target,
          operation == Operation::set_union   ? "zunionstore"
          : operation == Operation::set_inter ? "zinterstore"
                                              : "zdiffstore");
    return ctx.reply.integer(size);
  }
  const Emit emit = emit_scores(ctx, a.with_scores);
  reply_header(ctx, elements.size(), emit);
  for (const Scored& e : elements) reply_element(ctx, e.member, e.score, emit);
}

void add_numbered(Args args, std::size_t count_at, std::vector<std::size_t>& positions) {
  if (args.size() <= count_at) return;
  const auto count = parse_int(args[count_at]);
  // A number that cannot be right names no keys; the command answers the error.
  if (!count || *count < 1 || *count > static_cast<std::int64_t>(args.size() - count_at - 1))
    return;
  for (std::size_t i = 0; i < static_cast<std::size_t>(*count); ++i) {
    positions.push_back(count_at + 1 + i);
  }
}

}  // namespace

void numbered_keys(Args args, std::vector<std::size_t>& positions) {
  add_numbered(args, 1, positions);
}
void stored_and_numbered_keys(Args args, std::vector<std::size_t>& positions) {
  positions.push_back(1);
  add_numbered(args, 2, positions);
  if (positions.size() == 1) positions.clear();
}
void timed_and_numbered_keys(Args args, std::vector<std::size_t>& positions) {
  add_numbered(args, 2, positions);
}

void zunion(CommandContext& ctx) {
  algebra(ctx, Operation::set_union, Output::reply);
}
void zinter(CommandContext& ctx) {
  algebra(ctx, Operation::set_inter, Output::reply);
}
void zdiff(CommandContext& ctx) {
  algebra(ctx, Operation::set_diff, Output::reply);
}
void zintercard(CommandContext& ctx) {
  algebra(ctx, Operation::set_inter, Output::cardinality);
}
void zunionstore(CommandContext& ctx) {
  algebra(ctx, Operation::set_union, Output::store);
}
void zinterstore(CommandContext& ctx) {
  algebra(ctx, Operation::set_inter, Output::store);
}
void zdiffstore(CommandContext& ctx) {
  algebra(ctx, Operation::set_diff, Output::store);
}

}  // namespace gyre::zset
