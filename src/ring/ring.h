// The ring of one epoch: the nodes, and for each slot its preference list.
//
// A node has two numbers. NodeIndex is its place in nodes(), which are sorted by name: good within
// one ring, for tables and messages that carry the ring's hash. NodeInfo::index is the stable
// number that versions carry: the rank by name, or what `index=` says on every line.
//
// Nodes whose rings differ do not mix: they compare content_hash() with every message, and
// exchange describe() to say how they differ. Host names and client ports are left out of both,
// because one node may well be written 127.0.0.1 here and by its public name there.
//
// Invariants: never changes; a new ring is a new value with a higher epoch.
// Threading:  share it as RingPtr; all calls are const and need no lock.
// Source:     Dynamo (SOSP 2007), sections 4.2 and 4.3.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "ring/node_info.h"

namespace gyre {

class Ring {
 public:
  // The ring of these nodes; the order of the list makes no difference. A factor above the number
  // of nodes is capped. `index=` belongs on every line or on none.
  // Errors: config, when the list is empty, too long or contradicts itself.
  static Result<Ring> build(std::vector<NodeInfo> nodes, int replication_factor);

  // The ring of a node that has no cluster. Its name need not be set; the index is 0 by default.
  static Ring alone(NodeInfo node);

  // The replicas of `slot` in order of preference, primary first: distinct nodes always, distinct
  // racks while there are racks left. Shape: replication_factor() entries, valid as long as the
  // ring. Cost: O(1), a view.
  std::span<const NodeIndex> replicas(Slot slot) const;
  bool is_replica(NodeIndex node, Slot slot) const;

  // Sorted by name.
  std::span<const NodeInfo> nodes() const { return nodes_; }
  const NodeInfo& node(NodeIndex index) const;
  std::optional<NodeIndex> find(std::string_view name) const;
  // The node whose versions carry this index (NodeInfo::index).
  std::optional<NodeIndex> find_by_version_index(std::uint16_t index) const;

  // After the cap, so 1 .. nodes().size(). capped() tells whether more was asked for.
  int replication_factor() const { return factor_; }
  bool capped() const { return factor_ < requested_factor_; }

  std::uint64_t epoch() const { return 1; }  // the static ring has one

  // Equal when two rings agree on all that must agree: names, bus ports, indexes, racks, weights,
  // the factor and the slot table itself.
  std::uint64_t content_hash() const { return content_hash_; }

  // What the hash covers as text, one line per node, for a peer's describe_difference:
  //   gyre-ring 1 factor=3 table=0123456789abcdef
  //   n1 bus-port=16379 index=0 rack=a weight=1
  std::string describe() const;

  // How this ring differs from another node's, in words: "missing node n4 there; rack of n2: 'a'
  // here, 'b' there". Empty when they agree. The text comes from a peer and may be anything.
  std::string describe_difference(std::string_view other_description) const;

 private:
  Ring(std::vector<NodeInfo> nodes, int factor);

  std::vector<NodeInfo> nodes_;
  std::vector<NodeIndex> table_;  // [slot * factor_ + place]
  int factor_;
  int requested_factor_;
  std::uint64_t content_hash_ = 0;
};

using RingPtr = std::shared_ptr<const Ring>;

}  // namespace gyre
