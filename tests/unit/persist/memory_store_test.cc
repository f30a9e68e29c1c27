#include "persist/memory_store.h"

#include <string>

#include <doctest/doctest.h>

#include "helpers.h"

namespace gyre {
namespace {

using test::one_row;
using test::RecordingSink;
using test::rows_of;

constexpr ShardIndex s0{0};
constexpr ShardIndex s1{1};

TEST_CASE("memory store: persisted comes with the step, for all shards at once") {
  MemoryDisk disk;
  RecordingSink sink;
  MemoryStore store(disk, 2, sink);
  CHECK_FALSE(store.step());
  CHECK(store.submit(s0, 1, one_row("a", "1")));
  CHECK(store.submit(s0, 2, one_row("a", "2")));
  CHECK(store.submit(s1, 5, one_row("b", "3")));
  CHECK(sink.persisted_of(0) == 0);
  CHECK(rows_of(store).empty());
  CHECK(store.step());
  CHECK(sink.persisted_of(0) == 2);
  CHECK(sink.persisted_of(1) == 5);
  CHECK(rows_of(store) == std::map<std::string, std::string>{{"a", "2"}, {"b", "3"}});
  CHECK(disk.unsynced_writes() == 0);
  CHECK(store.stats().batches == 3);
  CHECK(store.stats().writes == 1);
  CHECK(store.stats().waiting_bytes == 0);

  StoreBatch erase;
  erase.erase("b");
  erase.erase_range("a", "b");
  CHECK(store.submit(s0, 3, std::move(erase)));
  CHECK(store.step());
  CHECK(rows_of(store).empty());
}

TEST_CASE("memory store: kill -9 keeps what was written, a power cut what was synced") {
  MemoryDisk disk;
  RecordingSink sink;
  {
    MemoryStore store(disk, 1, sink, SyncMode::everysec);
    for (std::uint64_t seq = 1; seq <= 5; ++seq) {
      CHECK(store.submit(s0, seq, one_row("k" + std::to_string(seq), "v")));
      CHECK(store.step());
      if (seq == 2) store.sync();
    }
    CHECK(store.submit(s0, 6, one_row("k6", "v")));  // never written
    CHECK(store.meta_put("name", "value"));
  }
  CHECK(disk.unsynced_writes() == 3);
  CHECK(disk.rows().size() == 5);
  CHECK(disk.tear_last());
  CHECK(disk.rows().size() == 4);
  disk.power_cut(1);
  CHECK(disk.rows().size() == 3);
  disk.power_cut();
  CHECK(disk.rows().size() == 2);
  CHECK_FALSE(disk.tear_last());

  MemoryStore again(disk, 1, sink);
  CHECK_FALSE(again.clean_start());
  CHECK(rows_of(again).size() == 2);
  CHECK(*again.meta_get("name") == "value");
  CHECK_FALSE(again.meta_get("other")->has_value());
}

TEST_CASE("memory store: failed writes are kept and come through later") {
  MemoryDisk disk;
  RecordingSink sink;
  MemoryStore store(disk, 2, sink);
  store.fail_writes(Error(Errc::io, "no space"));
  CHECK(store.submit(s0, 1, one_row("a", "1")));
  CHECK_FALSE(store.step());
  CHECK_FALSE(store.step());
  CHECK(sink.failing() == 2);  // once for each shard
  CHECK(store.stats().failing);
  CHECK_FALSE(store.meta_put("x", "y"));
  store.fail_writes(std::nullopt);
  CHECK(store.step());
  CHECK(sink.recovered() == 2);
  CHECK(sink.persisted_of(0) == 1);
  CHECK(rows_of(store).size() == 1);
}

TEST_CASE("memory store: the queue has an end") {
  MemoryDisk disk;
  RecordingSink sink;
  MemoryStore store(disk, 2, sink, SyncMode::always, 1000);
  std::uint64_t seq = 0;
  while (store.submit(s0, seq + 1, one_row("k" + std::to_string(seq), std::string(100, 'v')))) {
    ++seq;
    REQUIRE(seq < 100);
  }
  CHECK(seq >= 3);
  CHECK(store.congested(s0));
  CHECK_FALSE(store.congested(s1));
  StoreBatch refused = one_row("late", "row");
  CHECK_FALSE(store.submit(s0, seq + 1, std::move(refused)));
  CHECK(refused.count() == 1);  // NOLINT(bugprone-use-after-move): a refused batch is untouched
  CHECK(store.submit(s1, 1, one_row("other", "shard")));
  CHECK(store.step());
  CHECK_FALSE(store.congested(s0));
  CHECK(store.submit(s0, seq + 1, std::move(refused)));
}

TEST_CASE("memory store: a clean shutdown writes all and leaves a mark for one start") {
  MemoryDisk disk;
  RecordingSink sink;
  {
    MemoryStore store(disk, 1, sink, SyncMode::no);
    CHECK(store.submit(s0, 1, one_row("a", "1")));
    CHECK(store.flush_and_close());
    CHECK_FALSE(store.submit(s0, 2, one_row("b", "1")));
    CHECK(store.flush_and_close());
  }
  disk.power_cut();
  CHECK(disk.rows().size() == 1);
  CHECK(MemoryStore(disk, 1, sink).clean_start());
  CHECK_FALSE(MemoryStore(disk, 1, sink).clean_start());
}

TEST_CASE("memory store: scan keeps to its range and stops when told") {
  MemoryDisk disk;
  RecordingSink sink;
  MemoryStore store(disk, 1, sink);
  StoreBatch batch;
  for (const char* key : {"a", "b", "c", "d"}) batch.put(key, key);
  CHECK(store.submit(s0, 1, std::move(batch)));
  CHECK(store.step());
  CHECK(rows_of(store, "b", "d").size() == 2);
  CHECK(rows_of(store, "c").size() == 2);
  CHECK(rows_of(store, "d", "b").empty());
  int seen = 0;
  CHECK(store.scan("", "", [&](std::string_view, std::string_view) { return ++seen < 2; }));
  CHECK(seen == 2);
}

}  // namespace
}  // namespace gyre
