#include "ring/placement.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <map>
#include <string>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"

namespace gyre {
namespace {

// Fixed point. Logarithms have 24 bits of fraction in the end, loads 16.
constexpr int log_bits = 32;
constexpr int score_bits = 24;
constexpr int load_bits = 16;
constexpr std::int64_t one_slot = std::int64_t{1} << load_bits;
constexpr std::int64_t every_slot = static_cast<std::int64_t>(slots_total) << load_bits;

// ---- a logarithm that is the same everywhere --------------------------------------------------

// log2(1 + i / steps) with log_bits of fraction.
constexpr int log_table_bits = 12;
constexpr std::size_t log_table_steps = std::size_t{1} << log_table_bits;

std::vector<std::uint64_t> make_log_table() {
  std::vector<std::uint64_t> table(log_table_steps + 1);
  for (std::size_t i = 0; i < log_table_steps; ++i) {
    // Squaring doubles the logarithm: each time the square passes 2, the next bit is one.
    std::uint64_t x = (log_table_steps + i)
                      << (31 - log_table_bits);  // [1, 2), 31 bits of fraction
    std::uint64_t bits = 0;
    for (int b = 0; b < log_bits; ++b) {
      x = (x * x) >> 31;
      bits <<= 1;
      if (x >> 32) {
        x >>= 1;
        bits |= 1;
      }
    }
    table[i] = bits;
  }
  table[log_table_steps] = std::uint64_t{1} << log_bits;
  return table;
}

// log2(x) with log_bits of fraction, for x > 0; off by less than 2^-25.
std::int64_t fixed_log2(std::uint64_t x) {
  static const std::vector<std::uint64_t> table = make_log_table();
  const int exponent = 63 - std::countl_zero(x);
  const std::uint64_t fraction = (x << (63 - exponent))
                                 << 1;  // behind the leading one, all 64 bits
  const auto step = static_cast<std::size_t>(fraction >> (64 - log_table_bits));
  const std::uint64_t rest = (fraction << log_table_bits) >> 32;
  const std::uint64_t between = ((table[step + 1] - table[step]) * rest) >> 32;
  return (std::int64_t{exponent} << log_bits) + static_cast<std::int64_t>(table[step] + between);
}

std::int64_t score_log2(std::int64_t x) {
  return fixed_log2(static_cast<std::uint64_t>(x)) >> (log_bits - score_bits);
}

// ---- scores -----------------------------------------------------------------------------------

// -log2(-log2(u)) for the u that (slot, node) draws; from -6 to 32.
std::int32_t draw(std::uint64_t name_hash, std::size_t slot) {
  std::array<char, 10> bytes{};
  store_be64(bytes.data(), name_hash);
  bytes[8] = static_cast<char>(slot >> 8);
  bytes[9] = static_cast<char>(slot);
  const std::uint64_t u = hash64({bytes.data(), bytes.size()}) | 1;
  const std::int64_t minus_log =
      std::max<std::int64_t>((std::int64_t{64} << log_bits) - fixed_log2(u), 1);
  const std::int64_t score = (std::int64_t{log_bits} << score_bits) - score_log2(minus_log);
  return static_cast<std::int32_t>(score);
}

struct Scores {
  std::size_t nodes = 0;
  std::vector<std::int32_t> values;  // [slot * nodes + node]

  std::span<const std::int32_t> of(std::size_t slot) const {
    return std::span(values).subspan(slot * nodes, nodes);
  }
};

Scores draw_all(std::span<const NodeInfo> nodes) {
  Scores scores{nodes.size(), std::vector<std::int32_t>(nodes.size() * slots_total)};
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    const std::uint64_t name_hash = hash64(nodes[n].name);
    for (std::size_t slot = 0; slot < slots_total; ++slot) {
      scores.values[slot * nodes.size() + n] = draw(name_hash, slot);
    }
  }
  return scores;
}

// ---- shares -----------------------------------------------------------------------------------

// A part of a load: in proportion to weight, but never below low nor above high.
struct Claim {
  std::int64_t weight;
  std::int64_t low;
  std::int64_t high;
};

struct Racks {
  std::vector<std::uint16_t> of;                // rack of each node
  std::vector<std::vector<std::size_t>> nodes;  // nodes of each rack
  std::vector<Claim> claims;                    // what each rack may and must hold
};

// Shares `total` in proportion to weight, each part between low and high; sum(low) <= total <=
// sum(high).
std::vector<std::int64_t> share_out(std::int64_t total, std::span<const Claim> claims) {
  const auto part = [](const Claim& c, std::int64_t level) {
    return std::clamp(level * c.weight, c.low, c.high);
  };
  // A level of ring_nodes_max times every slot fills every claim; times the weight of a whole
  // rack it still fits: 2^(39 + 19).
  std::int64_t below = 0;
  std::int64_t above = every_slot * ring_nodes_max;
  while (above - below > 1) {
    const std::int64_t level = below + (above - below) / 2;
    std::int64_t sum = 0;
    for (const Claim& c : claims) sum += part(c, level);
    (sum <= total ? below : above) = level;
  }
  std::vector<std::int64_t> parts;
  for (const Claim& c : claims) parts.push_back(part(c, below));
  return parts;
}

// How many replicas of a slot each rack is sure to hold: racks are filled in rounds, one node of
// each rack that has one left, as long as whole rounds fit.
std::int64_t whole_rounds(const Racks& racks, int factor) {
  for (std::int64_t rounds = 0;; ++rounds) {
    std::int64_t used = 0;
    bool any_left = false;
    for (const auto& members : racks.nodes) {
      const auto size = static_cast<std::int64_t>(members.size());
      used += std::min(size, rounds + 1);
      any_left = any_left || size > rounds;
    }
    if (used > factor || !any_left) return rounds;
  }
}

// A node that names no rack has one of its own.
Racks group(std::span<const NodeInfo> nodes, int factor) {
  Racks racks;
  std::map<std::string_view, std::uint16_t> known;
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    auto rack = static_cast<std::uint16_t>(racks.nodes.size());
    if (!nodes[n].rack.empty()) rack = known.try_emplace(nodes[n].rack, rack).first->second;
    if (rack == racks.nodes.size()) racks.nodes.emplace_back();
    racks.nodes[rack].push_back(n);
    racks.of.push_back(rack);
  }
  const std::int64_t rounds = whole_rounds(racks, factor);
  for (const auto& members : racks.nodes) {
    std::int64_t weight = 0;
    for (const std::size_t n : members) weight += nodes[n].weight;
    const auto size = static_cast<std::int64_t>(members.size());
    racks.claims.push_back(
        {weight, every_slot * std::min(size, rounds), every_slot * std::min(size, rounds + 1)});
  }
  return racks;
}

IdealLoad ideal_load(std::span<const NodeInfo> nodes, const Racks& racks, int factor) {
  const auto rack_shares = share_out(every_slot * factor, racks.claims);

  IdealLoad ideal{std::vector<std::int64_t>(nodes.size()), std::vector<std::int64_t>(nodes.size())};
  std::vector<Claim> claims;
  for (std::size_t r = 0; r < racks.nodes.size(); ++r) {
    claims.clear();
    for (const std::size_t n : racks.nodes[r]) claims.push_back({nodes[n].weight, 0, every_slot});
    const auto shares = share_out(rack_shares[r], claims);
    for (std::size_t i = 0; i < shares.size(); ++i) ideal.replicas[racks.nodes[r][i]] = shares[i];
  }

  claims.clear();
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    claims.push_back({nodes[n].weight, 0, ideal.replicas[n]});
  }
  ideal.primaries = share_out(every_slot, claims);
  return ideal;
}

// ---- choosing and tuning ----------------------------------------------------------------------

using Biases = std::vector<std::int32_t>;
using Loads = std::vector<std::int64_t>;

// The log odds of holding a slot; half a slot keeps none and all apart from infinity.
std::int64_t log_odds(std::int64_t load, std::int64_t most) {
  return score_log2(load + one_slot / 2) - score_log2(most - load + one_slot / 2);
}

Loads odds_of_primaries(const Loads& loads) {
  Loads odds;
  for (const std::int64_t load : loads) odds.push_back(log_odds(load, every_slot));
  return odds;
}

// The odds of a replica are those of its rack, beyond what the rack holds in any case, and those of
// the node within the rack. By the node's odds alone a rack of many nodes that should hold every
// slot would get there too slowly: none of its nodes is near its own limit.
Loads odds_of_replicas(const Loads& loads, const Racks& racks) {
  Loads odds(loads.size());
  for (std::size_t r = 0; r < racks.nodes.size(); ++r) {
    std::int64_t held = 0;
    for (const std::size_t n : racks.nodes[r]) held += loads[n];
    const Claim& claim = racks.claims[r];
    const std::int64_t of_rack =
        claim.high > claim.low
            ? log_odds(std::clamp(held, claim.low, claim.high) - claim.low, every_slot)
            : 0;
    for (const std::size_t n : racks.nodes[r]) {
      odds[n] = of_rack;
      if (racks.nodes[r].size() > 1) odds[n] += log_odds(loads[n], std::min(held, every_slot));
    }
  }
  return odds;
}

// How far loads are from the ideal: the largest distance in parts per 2^16 of the ideal. Less than
// a slot is as near as it gets.
std::int64_t distance(const Loads& loads, const Loads& ideal) {
  std::int64_t worst = 0;
  for (std::size_t n = 0; n < loads.size(); ++n) {
    const std::int64_t off = std::max(loads[n], ideal[n]) - std::min(loads[n], ideal[n]);
    if (off < one_slot) continue;
    worst = std::max(worst, (off << load_bits) / std::max(ideal[n], one_slot));
  }
  return worst;
}

// Tunes biases until `count(biases)`, the loads they lead to, are the ideal or as near as it gets.
//
// The step is the difference in log odds, which would be exact if nodes did not answer to each
// other's steps: of two nodes each makes up for the whole difference, so together they go twice as
// far. Five eighths of the step converges for two nodes (-1/4 is left) as for many (3/8). Loads are
// whole slots and sometimes many hang on a small step, so steps shrink in the end: without that a
// node of very little weight goes back and forth forever.
template <class Count, class Odds>
Biases tune(Biases biases, const Loads& ideal, Count count, Odds odds) {
  constexpr int rounds_max = 40;
  constexpr std::int64_t near_enough = (1 << load_bits) / 1000;  // a tenth of the 1 % promised
  constexpr std::int32_t bias_max = 24 << score_bits;
  const Loads wanted = odds(ideal);
  Biases best = biases;
  std::int64_t best_distance = std::numeric_limits<std::int64_t>::max();
  for (int round = 0; round < rounds_max; ++round) {
    const Loads loads = count(biases);
    const std::int64_t off = distance(loads, ideal);
    if (off < best_distance) {
      best_distance = off;
      best = biases;
    }
    if (off <= near_enough) break;
    const Loads have = odds(loads);
    const int gain_part = std::max(8, round);
    for (std::size_t n = 0; n < biases.size(); ++n) {
      const std::int64_t step = wanted[n] - have[n];
      biases[n] = static_cast<std::int32_t>(
          std::clamp<std::int64_t>(biases[n] + step * 5 / gain_part, -bias_max, bias_max));
    }
  }
  return best;
}

// The replicas of a slot: each time the best score among the racks used least. Order: as chosen.
class Chooser {
 public:
  Chooser(const Racks& racks, int factor)
      : racks_(racks), factor_(factor), uses_(racks.nodes.size()) {}

  void choose(std::span<const std::int32_t> scores, const Biases& biases, std::uint16_t* chosen) {
    biased_.assign(scores.begin(), scores.end());
    for (std::size_t n = 0; n < biased_.size(); ++n) biased_[n] += biases[n];
    std::ranges::fill(uses_, 0);
    int level = 0;
    for (int i = 0; i < factor_;) {
      std::int32_t best = taken;
      std::size_t best_node = 0;
      for (std::size_t n = 0; n < biased_.size(); ++n) {
        if (biased_[n] > best && uses_[racks_.of[n]] <= level) {
          best = biased_[n];
          best_node = n;
        }
      }
      if (best == taken) {
        ++level;
        continue;
      }
      chosen[i++] = static_cast<std::uint16_t>(best_node);
      biased_[best_node] = taken;
      ++uses_[racks_.of[best_node]];
    }
  }

 private:
  static constexpr std::int32_t taken = std::numeric_limits<std::int32_t>::min();

  const Racks& racks_;
  int factor_;
  std::vector<int> uses_;
  std::vector<std::int32_t> biased_;
};

// Of one slot's replicas the one with the best biased score.
std::size_t pick_primary(std::span<const std::int32_t> scores, const Biases& biases,
                         std::span<const std::uint16_t> chosen) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < chosen.size(); ++i) {
    const auto score = [&](std::size_t at) { return scores[chosen[at]] + biases[chosen[at]]; };
    if (score(i) > score(best) || (score(i) == score(best) && chosen[i] < chosen[best])) best = i;
  }
  return best;
}

}  // namespace

IdealLoad ideal_load(std::span<const NodeInfo> nodes, int factor) {
  return ideal_load(nodes, group(nodes, factor), factor);
}

std::vector<NodeIndex> place(std::span<const NodeInfo> nodes, int factor) {
  GYRE_ASSERT(!nodes.empty());
  GYRE_ASSERT(nodes.size() <= ring_nodes_max);
  GYRE_ASSERT(factor >= 1);
  GYRE_ASSERT(static_cast<std::size_t>(factor) <= nodes.size());

  const auto width = static_cast<std::size_t>(factor);
  const Racks racks = group(nodes, factor);
  const IdealLoad ideal = ideal_load(nodes, racks, factor);
  const Scores scores = draw_all(nodes);
  Biases weights;
  for (const NodeInfo& node : nodes) {
    weights.push_back(
        static_cast<std::int32_t>(score_log2(std::max<std::int64_t>(node.weight, 1))));
  }

  std::vector<std::uint16_t> chosen(slots_total * width);
  const auto choose_all = [&](const Biases& biases) {
    Chooser chooser(racks, factor);
    Loads loads(nodes.size());
    for (std::size_t slot = 0; slot < slots_total; ++slot) {
      std::uint16_t* row = &chosen[slot * width];
      chooser.choose(scores.of(slot), biases, row);
      for (std::size_t i = 0; i < width; ++i) loads[row[i]] += one_slot;
    }
    return loads;
  };
  const auto replica_odds = [&](const Loads& loads) { return odds_of_replicas(loads, racks); };
  choose_all(tune(weights, ideal.replicas, choose_all, replica_odds));

  const auto row = [&](std::size_t slot) { return std::span(chosen).subspan(slot * width, width); };
  const auto primaries_of = [&](const Biases& biases) {
    Loads loads(nodes.size());
    for (std::size_t slot = 0; slot < slots_total; ++slot) {
      loads[row(slot)[pick_primary(scores.of(slot), biases, row(slot))]] += one_slot;
    }
    return loads;
  };
  const Biases order = tune(weights, ideal.primaries, primaries_of, odds_of_primaries);

  std::vector<NodeIndex> table;
  table.reserve(chosen.size());
  for (std::size_t slot = 0; slot < slots_total; ++slot) {
    const auto score = [&](std::uint16_t n) { return scores.of(slot)[n] + order[n]; };
    std::ranges::sort(row(slot), [&](std::uint16_t a, std::uint16_t b) {
      return score(a) != score(b) ? score(a) > score(b) : a < b;
    });
    for (const std::uint16_t n : row(slot)) table.push_back(NodeIndex{n});
  }
  return table;
}

}  // namespace gyre
