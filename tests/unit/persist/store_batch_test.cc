#include "persist/store_batch.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <rocksdb/write_batch.h>

#include "base/clock.h"

namespace gyre {
namespace {

std::string random_bytes(Random& random, std::size_t max) {
  std::string bytes(random.below(max), '\0');
  for (char& c : bytes) c = static_cast<char>(random.next());
  return bytes;
}

rocksdb::Slice slice(const std::string& s) {
  return {s.data(), s.size()};
}

// The same random records into both.
void add_random(Random& random, StoreBatch& ours, rocksdb::WriteBatch& theirs) {
  const std::string a = random_bytes(random, 300);
  const std::string b = random_bytes(random, random.below(50) == 0 ? 70000 : 300);
  switch (random.below(4)) {
    case 0:
      ours.erase(a);
      CHECK(theirs.Delete(slice(a)).ok());
      break;
    case 1:
      ours.erase_range(a, b);
      if (a < b) CHECK(theirs.DeleteRange(slice(a), slice(b)).ok());
      break;
    case 2:
      ours.note(a);
      CHECK(theirs.PutLogData(slice(a)).ok());
      break;
    default:
      ours.put(a, b);
      CHECK(theirs.Put(slice(a), slice(b)).ok());
  }
}

TEST_CASE("a batch has the bytes that rocksdb::WriteBatch itself makes") {
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    StoreBatch ours;
    rocksdb::WriteBatch theirs;
    const auto records = random.below(40);
    for (std::uint64_t i = 0; i < records; ++i) add_random(random, ours, theirs);
    CHECK(ours.count() == theirs.Count());
    CHECK(ours.take() == theirs.Data());
  }
}

TEST_CASE("joining batches is writing one after the other") {
  Random random(2);
  for (int round = 0; round < 100; ++round) {
    StoreBatch joined;
    rocksdb::WriteBatch theirs;
    for (int part = 0; part < 4; ++part) {
      StoreBatch batch;
      const auto records = random.below(5);
      for (std::uint64_t i = 0; i < records; ++i) add_random(random, batch, theirs);
      joined.append(batch);
    }
    CHECK(joined.count() == theirs.Count());
    CHECK(joined.take() == theirs.Data());
  }
  StoreBatch twice;
  twice.put("a", "b");
  twice.append(twice);
  CHECK(twice.count() == 2);
}

TEST_CASE("for_each gives back what was put in") {
  StoreBatch batch;
  CHECK(batch.empty());
  batch.put("k", std::string(200, 'v'));
  batch.erase("gone");
  batch.erase_range("a", "c");
  batch.erase_range("c", "a");
  batch.note("text");
  CHECK(batch.count() == 3);
  std::vector<StoreBatch::Record> seen;
  batch.for_each([&](const StoreBatch::Record& record) { seen.push_back(record); });
  REQUIRE(seen.size() == 4);
  CHECK(seen[0].kind == StoreBatch::Kind::put);
  CHECK(seen[0].value.size() == 200);
  CHECK(seen[1].kind == StoreBatch::Kind::erase);
  CHECK(seen[1].key == "gone");
  CHECK(seen[2].kind == StoreBatch::Kind::erase_range);
  CHECK(seen[2].value == "c");
  CHECK(seen[3].value == "text");

  StoreBatch moved = std::move(batch);
  CHECK(batch.count() == 0);  // NOLINT(bugprone-use-after-move): a moved batch is empty
  CHECK(batch.empty());
  CHECK(moved.count() == 3);
  moved.clear();
  CHECK(moved.empty());
  CHECK(moved.take() == std::string(12, '\0'));
}

TEST_CASE("a damaged representation is not read past its end") {
  StoreBatch batch;
  batch.put("key", "value");
  const std::string whole = batch.take();
  for (std::size_t n = 0; n < whole.size(); ++n) {
    std::string_view rest = StoreBatch::records(std::string_view(whole).substr(0, n));
    StoreBatch::Record record{};
    CHECK_FALSE(StoreBatch::next(rest, record));
  }
}

}  // namespace
}  // namespace gyre
