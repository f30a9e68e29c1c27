// WriteQueue: batches that wait for the storage thread, by shard, bounded in bytes.
//
// take() gives a group: whole queues of as many shards as fit, to be joined into one write. The
// bytes of a group count as waiting until done(), so a store that cannot write holds its shards
// back.
//
// Invariants: waiting bytes of a shard < limit + one batch; order within a shard is kept.
// Threading:  the owner's lock guards everything but congested() and waiting_bytes().
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
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

  WriteQueue(std::size_t shards, std::uint64_t limit_bytes) : limit_(limit_bytes), queues_(shards) {
    GYRE_ASSERT(limit_bytes > 0);
  }

  std::size_t shards() const { return queues_.size(); }

  bool push(ShardIndex shard, std::uint64_t seq, StoreBatch&& batch) {
    Queue& queue = at(shard);
    if (queue.waiting.load(std::memory_order_relaxed) >= limit_) return false;
    GYRE_ASSERT(seq > queue.last_seq);
    queue.last_seq = seq;
    const std::uint64_t bytes = cost(batch);
    queue.batches.push_back(std::move(batch));
    queue.queued += bytes;
    queue.waiting.fetch_add(bytes, std::memory_order_relaxed);
    queued_ += 1;
    return true;
  }

  bool empty() const { return queued_ == 0; }

  // Takes whole queues, shard after shard, until the group has at least max_bytes; who comes first
  // changes from group to group.
  Group take(std::uint64_t max_bytes) {
    Group group;
    for (std::size_t i = 0; i < queues_.size() && group.bytes < max_bytes && !empty(); ++i) {
      const std::size_t index = (first_ + i) % queues_.size();
      take_shard(index, group);
    }
    first_ = (first_ + 1) % queues_.size();
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
    for (const Queue& queue : queues_) sum += queue.waiting.load(std::memory_order_relaxed);
    return sum;
  }

 private:
  struct alignas(64) Queue {  // a line each: shards look at their own counter on every loop turn
    std::atomic<std::uint64_t> waiting{0};
    std::uint64_t last_seq = 0;
    std::uint64_t queued = 0;  // bytes in `batches`; the rest of `waiting` is being written
    std::vector<StoreBatch> batches;
  };

  // An empty batch costs something too, else a loop of them would never meet the bound.
  static std::uint64_t cost(const StoreBatch& batch) { return batch.bytes() + sizeof(StoreBatch); }

  Queue& at(ShardIndex shard) {
    GYRE_ASSERT(shard.value < queues_.size());
    return queues_[shard.value];
  }
  const Queue& at(ShardIndex shard) const {
    GYRE_ASSERT(shard.value < queues_.size());
    return queues_[shard.value];
  }

  void take_shard(std::size_t index, Group& group) {
    Queue& queue = queues_[index];
    if (queue.batches.empty()) return;
    queued_ -= queue.batches.size();
    group.parts.push_back(
        {ShardIndex{static_cast<std::uint16_t>(index)}, queue.last_seq, queue.queued});
    group.bytes += queue.queued;
    queue.queued = 0;
    if (group.batches.empty()) {
      group.batches.swap(queue.batches);
      return;
    }
    for (StoreBatch& batch : queue.batches) group.batches.push_back(std::move(batch));
    queue.batches.clear();
  }

  std::uint64_t limit_;
  std::vector<Queue> queues_;
  std::size_t queued_ = 0;
  std::size_t first_ = 0;
};

}  // namespace gyre
