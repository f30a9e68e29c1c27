// Effects on the wire: what is written reads back; what is cut short is refused.
#include "record/effect.h"

#include <string>

#include <doctest/doctest.h>

#include "../effort.h"
#include "random_effects.h"

using namespace gyre;
using namespace gyre::test;

namespace {

bool same(const Effect& a, const Effect& b) {
  if (content_of(a) != content_of(b) || a.changes.size() != b.changes.size()) return false;
  return a.key == b.key && a.db == b.db && a.version == b.version && a.has_base == b.has_base &&
         a.base == b.base && a.slot_floor == b.slot_floor;
}

}  // namespace

TEST_CASE("effect: reads back as it was written, and never from fewer bytes") {
  for (std::uint64_t seed = 1; seed <= test::effort(400); ++seed) {
    Random random(seed);
    const RandomEffects all(random, 1 + random.below(4), TypeId::none, false);
    for (Effect e : all.effects) {
      e.db = {static_cast<std::uint8_t>(random.below(16))};
      if (random.below(2)) e.base = {random.below(9)}, e.has_base = random.below(3) || !e.base;
      std::string bytes;
      encode_effect(bytes, e);
      Effect back;
      Reader in(bytes);
      INFO("seed " << seed);
      REQUIRE(decode_effect(in, back));
      REQUIRE(in.finished());
      REQUIRE(same(e, back));
      REQUIRE(valid_effect(back));
      for (std::size_t n = 0; n < bytes.size(); ++n) {
        // Exact size, so that a sanitizer sees a read behind the end.
        const std::vector<char> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
        Reader part({cut.data(), cut.size()});
        REQUIRE_FALSE(decode_effect(part, back));
      }
    }
  }
}

TEST_CASE("effect: a counter of many incarnations and restarts travels") {
  Effect e;
  e.key = "n";
  e.type = TypeId::string;
  e.version = {Version::at_ms(1'800'000'000'000).bits | 8};
  for (std::uint64_t i = 0; i < 500; ++i) {
    const Version opened{(i + 1) << Version::tick_shift | 8};
    e.changes.push_back({"", opened, opened, false, "1"});
  }
  std::string bytes;
  encode_effect(bytes, e);
  Effect back;
  Reader in(bytes);
  REQUIRE(decode_effect(in, back));
  CHECK(same(e, back));
  CHECK(valid_effect(back));
}

TEST_CASE("effect: a declared number of changes takes no memory") {
  Effect e;
  e.key = "k";
  e.type = TypeId::hash;
  e.version = {5};
  std::string bytes;
  encode_effect(bytes, e);
  bytes.pop_back();
  put_varint(bytes, std::uint64_t{1} << 60);
  Effect back;
  Reader in(bytes);
  CHECK_FALSE(decode_effect(in, back));
  CHECK(back.changes.capacity() < 1000);
}

TEST_CASE("effect: what makes no sense is refused") {
  Effect e, back;
  e.key = "k";
  e.version = {5};
  e.changes = {{"f", {5}, {}, false, "v"}};
  const auto decodes = [&] {
    std::string bytes;
    encode_effect(bytes, e);
    Reader in(bytes);
    return decode_effect(in, back);
  };
  CHECK_FALSE(decodes());  // changes without a type
  e.type = TypeId::hash;
  CHECK(decodes());
  CHECK(valid_effect(back));
  e.changes[0].sum = {6};
  CHECK(decodes());
  CHECK_FALSE(valid_effect(back));  // a sum older than its opening
  e.changes[0].sum = {};
  e.changes[0].version = {};
  CHECK_FALSE(decodes());
  e.changes[0].version = {4};
  e.type = TypeId::string;
  CHECK(decodes());
  CHECK_FALSE(valid_effect(back));  // a string has one element, without an id
  e.type = static_cast<TypeId>(types_total);
  CHECK_FALSE(decodes());
}
