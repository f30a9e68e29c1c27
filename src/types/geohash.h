// Geohash: a place on earth as a number of 52 bits, near places mostly near numbers.
//
// Longitude and latitude are each cut in halves `step` times; the choices alternate, latitude's at
// the even bits. A place is kept with 26 steps (cells of about 0.6 m), which a double holds
// exactly, so that it can be the score of a sorted set. Latitudes go to +-85.05112878, as in web
// maps, not to the poles. All results are those of Redis: the same cells in the same order.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace gyre::geo {

inline constexpr double longitude_max = 180, latitude_max = 85.05112878;
inline constexpr unsigned steps_max = 26;

struct Point {
  double longitude = 0, latitude = 0;
};

// Whether a place has a number; NaN has none.
inline bool on_map(const Point& p) {
  return p.longitude >= -longitude_max && p.longitude <= longitude_max &&
         p.latitude >= -latitude_max && p.latitude <= latitude_max;
}

// A cell of 2^step by 2^step.
struct Cell {
  std::uint64_t bits = 0;
  unsigned step = 0;
  bool operator==(const Cell&) const = default;

  // The numbers of 52 bits within it: [first, end).
  std::uint64_t first() const { return bits << (2 * (steps_max - step)); }
  std::uint64_t end() const { return (bits + 1) << (2 * (steps_max - step)); }
};

Cell encode(const Point& p, unsigned step = steps_max);
// The middle of the cell that a score means; scores that mean none lead to the map's edge.
Point decode(double score);
// The usual geohash of 11 letters, for other programs; its last letter is always 0.
std::string letters(double score);

// Metres, on a sphere.
double distance(const Point& a, const Point& b);

// What is searched: a circle, or a box whose sides follow the compass. In metres.
struct Shape {
  Point center{};
  bool box = false;
  double radius = 0, width = 0, height = 0;

  // The distance from the center when the place lies within, else a negative number.
  double within(const Point& p) const;
};

// The cell of the center and its neighbours that may hold places of the shape. `used` are filled.
struct Cover {
  std::array<Cell, 9> cells{};
  std::size_t used = 0;
};
Cover cover(const Shape& shape);

}  // namespace gyre::geo
