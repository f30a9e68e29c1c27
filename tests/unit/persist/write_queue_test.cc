#include "persist/write_queue.h"

#include <string>

#include <doctest/doctest.h>

namespace gyre {
namespace {

StoreBatch row(const std::string& key, std::size_t bytes = 1) {
  StoreBatch batch;
  batch.put(key, std::string(bytes, 'v'));
  return batch;
}

std::string keys(StoreBatch batch) {
  std::string all;
  batch.for_each([&](const StoreBatch::Record& r) { all += r.key; });
  return all;
}

}  // namespace

TEST_CASE("write queue: what is pushed first is written first, whichever shards it is of") {
  WriteQueue queue(3, 1 << 20);
  CHECK(queue.push({2}, 1, row("a")));
  CHECK(queue.push({0}, 1, row("b")));
  CHECK(queue.push({2}, 2, row("c")));
  CHECK(queue.push({1}, 7, row("d")));
  WriteQueue::Group group = queue.take(1 << 20);
  REQUIRE(group.parts.size() == 3);
  CHECK(group.parts[0].shard == ShardIndex{2});
  CHECK(group.parts[0].last_seq == 2);
  CHECK(group.parts[1].shard == ShardIndex{0});
  CHECK(group.parts[2].last_seq == 7);
  CHECK(keys(group.join()) == "abcd");
  CHECK(queue.empty());
}

TEST_CASE("write queue: a group ends behind the batch that fills it, and the next goes on there") {
  WriteQueue queue(2, 1 << 20);
  CHECK(queue.push({0}, 1, row("a", 600)));
  CHECK(queue.push({1}, 1, row("b", 600)));
  CHECK(queue.push({0}, 2, row("c", 600)));
  WriteQueue::Group first = queue.take(1000);
  CHECK(keys(first.join()) == "ab");
  WriteQueue::Group second = queue.take(1000);
  REQUIRE(second.parts.size() == 1);
  CHECK(second.parts[0].last_seq == 2);
  CHECK(keys(second.join()) == "c");
}

TEST_CASE("write queue: a shard waits by itself, until what it gave is written") {
  WriteQueue queue(2, 1000);
  CHECK(queue.push({0}, 1, row("a", 1200)));
  CHECK(queue.congested({0}));
  CHECK_FALSE(queue.congested({1}));
  CHECK_FALSE(queue.push({0}, 2, row("b")));
  CHECK(queue.push({1}, 1, row("c")));
  const WriteQueue::Group group = queue.take(1 << 20);
  CHECK_FALSE(queue.push({0}, 2, row("b")));
  CHECK(queue.waiting_bytes() == group.bytes);
  queue.done(group);
  CHECK(queue.waiting_bytes() == 0);
  CHECK(queue.push({0}, 2, row("b")));
}

}  // namespace gyre
