#include "shard/key_waits.h"

#include <doctest/doctest.h>

#include "base/hash.h"
#include "ring/slot.h"
#include "shard/keyspace.h"

using namespace gyre;

namespace {

std::vector<KeyWaits::Waiter> taken(KeyWaits& waits) {
  std::vector<KeyWaits::Waiter> out;
  waits.take(out);
  return out;
}

}  // namespace

TEST_CASE("key waits: a changed key is handed out once, first come first") {
  KeyWaits waits;
  const std::uint64_t a = key_hash("a"), b = key_hash("b");
  CHECK(!waits.any());
  waits.changed(DbIndex{0}, a);
  CHECK(!waits.ready());
  waits.add(3, KeyWaits::line_of(DbIndex{0}, a));
  waits.add(1, KeyWaits::line_of(DbIndex{0}, a));
  waits.add(2, KeyWaits::line_of(DbIndex{0}, b));
  waits.add(2, KeyWaits::line_of(DbIndex{0}, b));
  waits.add(4, KeyWaits::line_of(DbIndex{1}, a));
  CHECK(waits.size() == 4);
  CHECK(taken(waits).empty());
  waits.changed(DbIndex{0}, b);
  waits.changed(DbIndex{0}, a);
  waits.changed(DbIndex{0}, a);
  CHECK(taken(waits) == std::vector<KeyWaits::Waiter>{2});
  CHECK(taken(waits) == std::vector<KeyWaits::Waiter>{1, 3});
  CHECK(!waits.ready());
  waits.changed(DbIndex{1}, a);
  CHECK(taken(waits) == std::vector<KeyWaits::Waiter>{4});
}

TEST_CASE("key waits: who has gone is not handed out") {
  KeyWaits waits;
  const KeyWaits::Line a = KeyWaits::line_of(DbIndex{0}, key_hash("a"));
  waits.add(1, a);
  waits.add(2, a);
  waits.note(a);
  waits.remove(1, a);
  waits.remove(1, a);
  CHECK(taken(waits) == std::vector<KeyWaits::Waiter>{2});
  waits.note(a);
  waits.remove(2, a);
  CHECK(!waits.any());
  CHECK(waits.size() == 0);
  CHECK(taken(waits).empty());
  CHECK(!waits.ready());
}

TEST_CASE("key waits: every way a record changes is noted") {
  KeySpace space(KeySpaceOptions{});
  const Slot slot = key_slot("k");
  const std::uint64_t hash = key_hash("k");
  space.waits().add(1, KeyWaits::line_of(DbIndex{0}, hash));
  Effect set;
  set.key = "k";
  set.type = TypeId::string;
  set.version = space.clock().stamp(1'700'000'000'000);
  set.floor = set.version.before();
  set.expiry = {1'700'000'000'500, set.version};
  set.changes.push_back({{}, set.version, {}, false, "v"});
  space.merge(slot, hash, set);
  CHECK(taken(space.waits()).size() == 1);
  CHECK(space.expire_due(1'700'000'001'000, 10, [](Slot, DbIndex, std::string_view) {}) == 1);
  CHECK(taken(space.waits()).size() == 1);
  set.version = space.clock().stamp(1'700'000'002'000);
  set.floor = set.version.before();
  set.expiry = {};
  set.changes[0].version = set.version;
  space.merge(slot, hash, set);
  CHECK(taken(space.waits()).size() == 1);
  space.raise_floor(slot, DbIndex{0}, space.clock().stamp(1'700'000'003'000));
  CHECK(taken(space.waits()).size() == 1);
}
