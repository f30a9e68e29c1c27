// WriteQueue: batches that wait for the storage thread, in the order in which they came, bounded in
// bytes by shard.
//
// take() gives a group: the oldest of them, to be joined into one write. The bytes of a group count
// as waiting until done(), so a store that cannot write holds its shards back.
//
// Invariants: waiting bytes of a shard < limit + one batch; what was pushed first is written first,
//             whichever shards it is of.
// Threading:  the owner's lock guards everything but congested() and waiting_bytes().
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/ids.h"
#include "persist/store_batch.h"

namespace gyre {

class WriteQueue {
 public:
  struct Part {  // what of one shard is in a group
    ShardIndex shard;
    std::uint64_t last_seq;
    std::uint64_t bytes;
  };
  struct Group {
    std::vector<StoreBatch> batches;
    std::vector<Part> parts;
    std::uint64_t bytes = 0;

    bool empty() const { return parts.empty(); }
    // All batches as one; the first is moved, so that a single one is not copied.
    StoreBatch join() {
      StoreBatch joined = std::move(batches.front());
      if (batches.size() > 1) joined.reserve(static_cast<std::size_t>(bytes));
      for (std::size_t i = 1; i < batches.size(); ++i) joined.append(batches[i]);
      return joined;
    }
  };

  WriteQueue(std::size_t shards, std::uint64_t limit_bytes) : limit_(limit_bytes), shards_(shards) {
    GYRE_ASSERT(limit_bytes > 0);
  }

  std::size_t shards() const { return shards_.size(); }

  bool push(ShardIndex shard, std::uint64_t seq, StoreBatch&& batch) {
    Shard& of = at(shard);
    if (of.waiting.load(std::memory_order_relaxed) >= limit_) return false;
    GYRE_ASSERT(seq > of.last_seq);
    of.last_seq = seq;
    const std::uint64_t bytes = cost(batch);
    of.waiting.fetch_add(bytes, std::memory_order_relaxed);
    batches_.push_back({{shard, seq, bytes}, std::move(batch)});
    return true;
  }

  bool empty() const { return batches_.empty(); }

  // Takes the oldest, until the group has at least max_bytes.
  Group take(std::uint64_t max_bytes) {
    Group group;
    while (group.bytes < max_bytes && !empty()) {
      const Part& next = batches_.front().part;
      group.bytes += next.bytes;
      add(group.parts, next);
      group.batches.push_back(std::move(batches_.front().batch));
      batches_.pop_front();
    }
    return group;
  }

  void done(const Group& group) {
    for (const Part& part : group.parts)
      at(part.shard).waiting.fetch_sub(part.bytes, std::memory_order_relaxed);
  }

  bool congested(ShardIndex shard) const {
    return at(shard).waiting.load(std::memory_order_relaxed) >= limit_ / 2 + limit_ % 2;
  }
  std::uint64_t waiting_bytes() const {
    std::uint64_t sum = 0;
    for (const Shard& shard : shards_) sum += shard.waiting.load(std::memory_order_relaxed);
    return sum;
  }

 private:
  struct alignas(64) Shard {  // a line each: shards look at their own counter on every loop turn
    std::atomic<std::uint64_t> waiting{0};
    std::uint64_t last_seq = 0;
  };
  struct Waiting {
    Part part;
    StoreBatch batch;
  };

  // An empty batch costs something too, else a loop of them would never meet the bound.
  static std::uint64_t cost(const StoreBatch& batch) { return batch.bytes() + sizeof(StoreBatch); }

  static void add(std::vector<Part>& parts, const Part& next) {
    for (Part& part : parts) {
      if (part.shard != next.shard) continue;
      part.last_seq = next.last_seq;
      part.bytes += next.bytes;
      return;
    }
    parts.push_back(next);
  }

  Shard& at(ShardIndex shard) {
    GYRE_ASSERT(shard.value < shards_.size());
    return shards_[shard.value];
  }
  const Shard& at(ShardIndex shard) const {
    GYRE_ASSERT(shard.value < shards_.size());
    return shards_[shard.value];
  }

  std::uint64_t limit_;
  std::vector<Shard> shards_;
  std::deque<Waiting> batches_;
};

}  // namespace gyre
