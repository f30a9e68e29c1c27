// The laws of apply: whatever order, grouping and repetition effects arrive in, replicas end equal.
#include "record/apply.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "../effort.h"
#include "random_effects.h"

using namespace gyre;
using namespace gyre::test;

namespace {

// One replica of one key, checking after each effect what apply says that it did.
class Replica {
 public:
  explicit Replica(Version slot_floor = {}, bool keep_tombstones = true)
      : options_{.keep_tombstones = keep_tombstones, .digests = true, .floor = slot_floor} {}
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;
  ~Replica() {
    if (record_) destroy_record(slabs_, record_);
    CHECK(slabs_.used() == 0);
  }

  // "" or what is wrong.
  std::string merge(const Effect& e) {
    const bool live_before = record_ && record_live(*record_);
    const std::string before = content_of(record_);
    record_ = apply(record_, e, options_, slabs_, result_);
    digest_ += result_.digest_delta;
    if (result_.live_before != live_before) return "live_before";
    if (result_.live_after != (record_ && record_live(*record_))) return "live_after";
    const bool differs = content_of(record_) != before;
    if (options_.keep_tombstones && differs != result_.changed) return "changed";
    if (options_.keep_tombstones && digest_ != digest()) return "digest_delta";
    if (record_ && stored_type(*record_) > TypeId::string) return counts();
    return "";
  }

  // As peers send it: over the wire.
  std::string merge_bytes(const Effect& e) {
    std::string bytes;
    encode_effect(bytes, e);
    Effect decoded;
    Reader in(bytes);
    if (!decode_effect(in, decoded) || !in.finished()) return "decode";
    if (!valid_effect(decoded)) return "valid";
    return merge(decoded);
  }

  Effect state() const {
    Effect e;
    if (record_) record_effect(*record_, {0}, {}, e);
    return e;
  }
  std::string content() const { return content_of(record_); }
  const Node* record() const { return record_; }
  std::uint64_t digest() const { return record_ ? record_digest(*record_, {0}) : 0; }
  const ApplyResult& result() const { return result_; }

 private:
  std::string counts() const {
    const Collection& c = *collection_of(*record_);
    std::size_t live = 0, dead = 0;
    c.for_each([&](const ElementView& e) {
      ++(e.cell.live() ? live : dead);
      return true;
    });
    return live == c.live() && dead == c.tombstones() ? "" : "counts";
  }

  ApplyOptions options_;
  Slabs slabs_;
  Node* record_ = nullptr;
  ApplyResult result_;
  std::uint64_t digest_ = 0;
};

std::vector<TypeId> types_to_try() {
  std::vector<TypeId> types = {TypeId::none};  // mixed
  for (std::size_t i = 1; i < types_total; ++i) {
    const auto type = static_cast<TypeId>(i);
    if (type != TypeId::string && !type_spec(type).make) continue;
    // A new type adds the shape of its elements to random_effects.h.
    if (shape_of(type)) types.push_back(type);
  }
  return types;
}

// Delivers all effects, some twice, in an order of its own; now and then another replica's state.
std::string deliver(Replica& to, const RandomEffects& all, Random& random, const Replica& peer) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < all.effects.size(); ++i) {
    order.push_back(i);
    if (random.below(3) == 0) order.push_back(i);
  }
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  for (const std::size_t i : order) {
    std::string wrong = to.merge_bytes(all.effects[i]);
    if (wrong.empty() && random.below(4) == 0) {
      // The same again at once: nothing may change.
      wrong = to.merge(all.effects[i]);
      if (wrong.empty() && to.result().changed) wrong = "a repetition changed something";
    }
    if (wrong.empty() && random.below(8) == 0 && peer.record())
      wrong = to.merge_bytes(peer.state());
    if (!wrong.empty()) return wrong + " at effect " + std::to_string(i);
  }
  return "";
}

std::string describe(const RandomEffects& all) {
  std::string out;
  for (const Effect& e : all.effects) {
    out += "\nversion " + std::to_string(e.version.bits) + " type " + content_of(e);
  }
  return out;
}

void check_seed(std::uint64_t seed, TypeId type) {
  Random random(seed);
  const RandomEffects all(random, 2 + random.below(9), type, false);
  const Version slot_floor =
      random.below(6) ? Version{} : all.versions[random.below(all.versions.size())];
  Replica a(slot_floor), b(slot_floor), c(slot_floor);
  for (Replica* r : {&a, &b, &c}) {
    const std::string wrong = deliver(*r, all, random, r == &a ? c : a);
    INFO("seed " << seed << " type " << static_cast<int>(type) << describe(all));
    REQUIRE(wrong == "");
  }
  if (a.content() == b.content() && b.content() == c.content() && a.digest() == b.digest() &&
      b.digest() == c.digest()) {
    return;
  }
  INFO("seed " << seed << " type " << static_cast<int>(type) << describe(all));
  REQUIRE(a.content() == b.content());
  REQUIRE(b.content() == c.content());
  REQUIRE(a.digest() == b.digest());
  REQUIRE(b.digest() == c.digest());
}

// What can be read of a record: live elements, their values, the time to live.
std::string visible(const Node* n) {
  if (!n || !record_live(*n)) return "none";
  Effect e;
  record_effect(*n, {0}, {}, e);
  std::erase_if(e.changes, [](const Change& c) { return c.tombstone; });
  for (Change& c : e.changes) c.version = c.sum = {};
  e.floor = e.expiry.version = {};
  return content_of(e);
}

}  // namespace

TEST_CASE("apply: order, grouping and repetition make no difference") {
  for (const TypeId type : types_to_try()) {
    const std::uint64_t seeds = type == TypeId::none ? 6000 : 2500;
    for (std::uint64_t seed = 1; seed <= test::effort(seeds); ++seed) check_seed(seed, type);
  }
}

TEST_CASE("apply: every type with a maker has a shape for random effects") {
  for (std::size_t i = 2; i < types_total; ++i) {
    const auto type = static_cast<TypeId>(i);
    INFO("random_effects.h lacks a row for " << type_spec(type).name);
    CHECK((!type_spec(type).make || shape_of(type)));
  }
}

TEST_CASE("apply: a node alone forgets what it removes, and shows the same") {
  for (std::uint64_t seed = 1; seed <= test::effort(4000); ++seed) {
    Random random(seed);
    const auto types = types_to_try();
    RandomEffects all(random, 2 + random.below(12), types[1 + random.below(types.size() - 1)],
                      true);
    Replica keeps, forgets({}, false);
    for (Effect& e : all.effects) {
      INFO("seed " << seed << describe(all));
      if (!keeps.record() || !record_live(*keeps.record())) {
        // As commands do: EXPIRE needs a key, and a new key does not inherit an expiry.
        if (e.changes.empty() && e.type != TypeId::none) continue;
        if (e.type != TypeId::none && !e.expiry.version) e.expiry = {0, e.version};
      }
      REQUIRE(keeps.merge(e) == "");
      REQUIRE(forgets.merge(e) == "");
      REQUIRE(visible(keeps.record()) == visible(forgets.record()));
      if (!forgets.record() || stored_type(*forgets.record()) <= TypeId::string) continue;
      REQUIRE(collection_of(*forgets.record())->tombstones() == 0);
    }
  }
}

TEST_CASE("apply: one state holds all that the effects held") {
  for (std::uint64_t seed = 1; seed <= test::effort(2000); ++seed) {
    Random random(seed);
    const RandomEffects all(random, 3 + random.below(8), TypeId::none, false);
    Replica behind, ahead;
    INFO("seed " << seed << describe(all));
    for (const Effect& e : all.effects) REQUIRE(ahead.merge(e) == "");
    REQUIRE(behind.merge_bytes(ahead.state()) == "");
    REQUIRE(behind.content() == ahead.content());
    REQUIRE(behind.digest() == ahead.digest());
  }
}

TEST_CASE("apply: a type's claim is no higher than what the floor leaves of it") {
  // A counter opened at 5 and raised at 9, and a set of 7 and 8: if the claim were 9, the floor of
  // 7 would kill the sum by its name, and the order would decide what stays.
  Effect sum, set7, set8;
  sum.key = set7.key = set8.key = "k";
  sum.type = TypeId::hash;
  set7.type = set8.type = TypeId::set;
  sum.version = {9 << 12};
  set7.version = {7 << 12};
  set8.version = {8 << 12};
  sum.changes = {{"n", sum.version, {5 << 12}, false, "1"}};
  set7.changes = {{"m", set7.version, {}, false, ""}};
  set8.changes = {{"o", set8.version, {}, false, ""}};
  Replica a, b;
  for (const Effect* e : {&sum, &set7, &set8}) CHECK(a.merge(*e) == "");
  for (const Effect* e : {&set7, &set8, &sum}) CHECK(b.merge(*e) == "");
  CHECK(a.content() == b.content());
  CHECK(collection_of(*a.record())->live() == 2);
}

TEST_CASE("apply: a write that its own node covered later still counts as standing") {
  const auto overwrite = [](std::uint64_t version, std::string_view value) {
    Effect e;
    e.key = "k";
    e.type = TypeId::string;
    e.version = {version};
    e.floor = e.version.before();
    e.changes = {{"", e.version, {}, false, value}};
    return e;
  };
  constexpr std::uint64_t node1 = 8, node2 = 16;
  Replica r;
  CHECK(r.merge(overwrite(5 << 12 | node1, "five")) == "");
  CHECK(r.result().stands);
  CHECK(r.merge(overwrite(4 << 12 | node1, "four")) == "");
  CHECK(r.result().stands);
  CHECK_FALSE(r.result().changed);
  CHECK(r.merge(overwrite(4 << 12 | node2, "other")) == "");
  CHECK_FALSE(r.result().stands);
  CHECK(r.merge(overwrite(6 << 12 | node2, "six")) == "");
  CHECK(r.result().stands);
  CHECK(r.merge(overwrite(5 << 12 | node1, "five")) == "");
  CHECK_FALSE(r.result().stands);
}

TEST_CASE("apply: a write whose type loses stands only under a later one of its own node") {
  const auto write = [](TypeId type, std::uint64_t version) {
    Effect e;
    e.key = "k";
    e.type = type;
    e.version = {version};
    e.changes = {{type == TypeId::string ? "" : "f", e.version, {}, false, "v"}};
    return e;
  };
  constexpr std::uint64_t node1 = 8, node2 = 16;
  Replica r;
  CHECK(r.merge(write(TypeId::hash, 5 << 12 | node1)) == "");
  CHECK(r.merge(write(TypeId::string, 4 << 12 | node1)) == "");
  CHECK(r.result().stands);
  // Its own claim is the floor afterwards, and covers nothing that it would stand under.
  const Effect lost = write(TypeId::string, 4 << 12 | node2);
  for (int i = 0; i < 2; ++i) {
    CHECK(r.merge(lost) == "");
    CHECK_FALSE(r.result().stands);
  }
  // A claim below it of the same node was covered by it.
  CHECK(r.merge(write(TypeId::string, 3 << 12 | node2)) == "");
  CHECK(r.result().stands);
  CHECK(r.merge(write(TypeId::string, 6 << 12 | node2)) == "");
  CHECK(r.result().stands);
  CHECK(stored_type(*r.record()) == TypeId::string);
}
