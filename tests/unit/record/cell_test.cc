// Cells: the base register and the counter sums beside it.
#include "record/cell.h"

#include <string>

#include <doctest/doctest.h>

#include "../effort.h"
#include "base/clock.h"

using namespace gyre;

namespace {

Version at(std::uint64_t tick, std::uint64_t node = 8) {
  return {tick << 12 | node};
}
Change base(Version v, std::string_view payload) {
  return {"", v, {}, false, payload};
}
Change gone(Version v) {
  return {"", v, {}, true, {}};
}
Change sum(Version v, Version id, std::string_view amount) {
  return {"", v, id, false, amount};
}

// A cell as stored and read back.
struct Stored {
  explicit Stored(const CellState& s)
      : bytes(s.stored()), cell{s.version, s.tombstone, s.has_sums(), bytes} {}
  std::string bytes;
  Cell cell;
};

}  // namespace

TEST_CASE("cell: increments of two nodes both count, an overwrite covers both") {
  CellState s;
  CHECK_FALSE(s.present);
  CHECK(s.merge(base(at(1), "10")).taken);
  CHECK(s.merge(sum(at(3), at(2), "5")).taken);
  CHECK(s.merge(sum(at(4, 16), at(4, 16), "7")).taken);
  CHECK(cell_text(Stored(s).cell) == "22");
  CHECK(s.merge(sum(at(6), at(2), "9")).taken);
  CHECK(cell_text(Stored(s).cell) == "26");
  const CellMerge old = s.merge(sum(at(5), at(2), "8"));
  CHECK_FALSE(old.taken);
  CHECK(old.stands);
  CHECK(s.merge(base(at(7, 24), "1")).taken);
  CHECK_FALSE(s.has_sums());
  CHECK(cell_text(Stored(s).cell) == "1");
  const CellMerge late = s.merge(sum(at(8), at(2), "9"));
  CHECK_FALSE(late.taken);
  CHECK_FALSE(late.stands);
  CHECK(late.above == at(7, 24));
}

TEST_CASE("cell: a sum opened after a removal lives without a base") {
  CellState s;
  CHECK(s.merge(gone(at(5))).taken);
  CHECK_FALSE(Stored(s).cell.live());
  CHECK(s.merge(sum(at(6), at(6), "4")).taken);
  CHECK(Stored(s).cell.live());
  CHECK(Stored(s).cell.newest() == at(6));
  CHECK(cell_text(Stored(s).cell) == "4");
  s.drop_below(at(5));
  CHECK(s.present);
  CHECK(s.version == Version{});
  CHECK(cell_text(Stored(s).cell) == "4");
  s.drop_below(at(6));
  CHECK_FALSE(s.present);
}

TEST_CASE("cell: the stored form reads back") {
  for (std::uint64_t seed = 1; seed <= test::effort(500); ++seed) {
    Random random(seed);
    CellState s;
    for (int i = 0; i < 6; ++i) {
      const Version v = at(1 + random.below(9), 8 * (1 + random.below(3)));
      switch (random.below(4)) {
        case 0:
          s.merge(base(v, std::string(random.below(200), 'x')));
          break;
        case 1:
          s.merge(gone(v));
          break;
        default:
          s.merge(sum(v, v, std::to_string(random.below(100))));
          break;
      }
    }
    const Stored stored(s);
    const CellState again = CellState::of(stored.cell);
    INFO("seed " << seed);
    CHECK(again.version == s.version);
    CHECK(again.tombstone == s.tombstone);
    CHECK(again.payload == s.payload);
    CHECK(again.stored() == stored.bytes);
    CHECK(again.sums.size() == s.sums.size());
  }
}

TEST_CASE("cell: numbers") {
  CellState s;
  s.merge(base(at(1), "abc"));
  CHECK_FALSE(cell_integer(Stored(s).cell).ok);
  s.merge(base(at(2), "9223372036854775807"));
  s.merge(sum(at(3), at(3), "1"));
  CHECK_FALSE(cell_integer(Stored(s).cell).ok);
  s.merge(sum(at(4, 16), at(4, 16), "-2"));
  CHECK(cell_integer(Stored(s).cell).value == 9223372036854775806);
  // One amount past 64 bits, while the whole fits.
  s.merge(sum(at(5), at(3), "-18446744073709551613"));
  CHECK(cell_text(Stored(s).cell) == "-9223372036854775808");
  s.merge(sum(at(6, 16), at(4, 16), "0.5"));
  CHECK_FALSE(cell_integer(Stored(s).cell).ok);
}

TEST_CASE("cell: amounts add up") {
  CHECK(sum_of_amounts("1", "2") == "3");
  CHECK(sum_of_amounts("-1", "1") == "0");
  CHECK(sum_of_amounts("9223372036854775807", "1") == "9223372036854775808");
  CHECK(sum_of_amounts("-9223372036854775808", "-1") == "-9223372036854775809");
  CHECK(sum_of_amounts("1.5", "1") == "2.5");
  CHECK(sum_of_amounts("1.5", "-0.5") == "1");
  CHECK(sum_of_amounts("5.0e3", "1") == "5001");
}
