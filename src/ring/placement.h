// Placement: which nodes hold each slot, as a pure function of the list of nodes.
//
// Rendezvous hashing: every node draws a score for every slot from hash(slot, name), and the best
// scores win. Scores are Gumbel, -log2(-log2(u)), so a node's weight is a number added to all of
// its scores. The load cap is a bias per node, added likewise: it is tuned in rounds until every
// node holds its share. Because a bias is a little more or less than zero and hardly changes from
// one ring to the next, a node that joins takes slots from all others, and almost nothing else
// moves.
//
//   1. The share of each node: in proportion to its weight, but no more than one replica of each
//      slot per node, and racks used as evenly as each slot allows.
//   2. The replicas of each slot: the best scores, each time among the racks that are used least.
//   3. The order: the primary by biases of its own, tuned so that primaries are in proportion to
//      weight too; the others follow by score.
//
// Invariants: replicas of a slot are distinct nodes; distinct racks while there are racks left;
//             the order of the list makes no difference except that indexes follow it.
// Determinism: integers only, with our own fixed-point logarithm, because libm's last bits differ
//             between machines, and all nodes must agree on the table.
// Cost:       N * 16384 scores held in 32 bits (2 MiB for 30 nodes), 5 to 40 passes over them.
// Source:     Thaler and Ravishankar 1998 (rendezvous); Dynamo (SOSP 2007), section 6.2, strategy
//             3; the tuned bias is our own.
#pragma once

#include <span>
#include <vector>

#include "base/ids.h"
#include "ring/node_info.h"

namespace gyre {

// The version of the function. Rings placed by different versions do not mix: raise it whenever a
// table can come out differently.
inline constexpr int placement_version = 1;

// The replicas of all slots, primary first: entry [slot * factor + place] is an index into `nodes`.
// nodes: 1 .. ring_nodes_max, names distinct.  factor: 1 .. nodes.size().
std::vector<NodeIndex> place(std::span<const NodeInfo> nodes, int factor);

// The ideal of each node, in slots times 65536: positions of any rank, and primaries.
struct IdealLoad {
  std::vector<std::int64_t> replicas;
  std::vector<std::int64_t> primaries;
};
IdealLoad ideal_load(std::span<const NodeInfo> nodes, int factor);

}  // namespace gyre
