#include "types/geohash.h"

#include <algorithm>
#include <cmath>

namespace gyre::geo {
namespace {

constexpr double earth_radius = 6372797.560856;
constexpr double half_equator = 20037726.37;  // of the web map, in metres
constexpr double pole = 90;

double radians(double degrees) {
  return degrees * (M_PI / 180.0);
}
double degrees(double rad) {
  return rad / (M_PI / 180.0);
}

// Spreads 32 bits over the even bits of 64, and back.
std::uint64_t spread(std::uint64_t x) {
  x = (x | x << 16) & 0x0000ffff0000ffff;
  x = (x | x << 8) & 0x00ff00ff00ff00ff;
  x = (x | x << 4) & 0x0f0f0f0f0f0f0f0f;
  x = (x | x << 2) & 0x3333333333333333;
  return (x | x << 1) & 0x5555555555555555;
}
std::uint32_t gather(std::uint64_t x) {
  x &= 0x5555555555555555;
  x = (x | x >> 1) & 0x3333333333333333;
  x = (x | x >> 2) & 0x0f0f0f0f0f0f0f0f;
  x = (x | x >> 4) & 0x00ff00ff00ff00ff;
  x = (x | x >> 8) & 0x0000ffff0000ffff;
  return static_cast<std::uint32_t>(x | x >> 16);
}

// In which of 2^step parts of [-most, most] a value lies.
std::uint32_t part_of(double value, double most, unsigned step) {
  const double share = (value + most) / (2 * most) * static_cast<double>(std::uint64_t{1} << step);
  return static_cast<std::uint32_t>(share);
}
double border_of(std::uint64_t part, double most, unsigned step) {
  return -most +
         static_cast<double>(part) / static_cast<double>(std::uint64_t{1} << step) * (2 * most);
}

struct Area {
  double west, east, south, north;
};
Area area_of(const Cell& cell) {
  const std::uint64_t x = gather(cell.bits >> 1), y = gather(cell.bits);
  return {border_of(x, longitude_max, cell.step), border_of(x + 1, longitude_max, cell.step),
          border_of(y, latitude_max, cell.step), border_of(y + 1, latitude_max, cell.step)};
}

// The neighbour so many cells east and north; the map has no edges here. A place on the very edge
// has a number behind the last, which stays as it is in its own row and column.
Cell neighbour(const Cell& cell, int east, int north) {
  const std::uint32_t mask = (1u << cell.step) - 1;
  std::uint32_t x = gather(cell.bits >> 1), y = gather(cell.bits);
  if (east != 0) x = (x + static_cast<std::uint32_t>(east)) & mask;
  if (north != 0) y = (y + static_cast<std::uint32_t>(north)) & mask;
  return {spread(y) | spread(x) << 1, cell.step};
}

// A score as bits. Those that are no geohash mean what Redis makes of them on common machines,
// where a number that does not fit becomes the lowest one.
std::uint64_t number_of(double score) {
  constexpr double bound = 0x1p63;
  constexpr std::uint64_t top = std::uint64_t{1} << 63;
  if (score >= -bound && score < bound)
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(score));
  if (score < 0) return top;
  return score < 2 * bound ? static_cast<std::uint64_t>(score) : 0;
}

double meridian_distance(double from, double to) {
  return earth_radius * std::fabs(radians(to) - radians(from));
}

// The box around a shape; wider at the side that is nearer to a pole.
Area bounds_of(const Shape& s) {
  const double height = s.box ? s.height / 2 : s.radius, width = s.box ? s.width / 2 : s.radius;
  const double up = degrees(height / earth_radius);
  const double toward_pole =
      s.center.latitude < 0 ? s.center.latitude - up : s.center.latitude + up;
  const double aside = degrees(width / earth_radius / std::cos(radians(toward_pole)));
  return {s.center.longitude - aside, s.center.longitude + aside, s.center.latitude - up,
          s.center.latitude + up};
}

// The finest step at which nine cells should cover a circle.
unsigned steps_for(double radius, double latitude) {
  if (radius == 0) return steps_max;
  int step = -1;
  while (radius < half_equator) {
    radius *= 2;
    ++step;
  }
  if (std::fabs(latitude) > 66) --step;  // cells are narrow there
  if (std::fabs(latitude) > 80) --step;
  return static_cast<unsigned>(std::clamp(step, 1, static_cast<int>(steps_max)));
}

// Whether the cells around this one reach the borders. They may be too small, or start behind the
// map's edge: then larger ones are taken.
bool reaches(const Cell& center, const Area& bounds) {
  return area_of(neighbour(center, 0, 1)).north >= bounds.north &&
         area_of(neighbour(center, 0, -1)).south <= bounds.south &&
         area_of(neighbour(center, 1, 0)).east >= bounds.east &&
         area_of(neighbour(center, -1, 0)).west <= bounds.west;
}

}  // namespace

Cell encode(const Point& p, unsigned step) {
  const std::uint64_t x = part_of(p.longitude, longitude_max, step);
  const std::uint64_t y = part_of(p.latitude, latitude_max, step);
  return {spread(y) | spread(x) << 1, step};
}

Point decode(double score) {
  const Area a = area_of({number_of(score), steps_max});
  return {std::clamp((a.west + a.east) / 2, -longitude_max, longitude_max),
          std::clamp((a.south + a.north) / 2, -latitude_max, latitude_max)};
}

std::string letters(double score) {
  constexpr std::string_view alphabet = "0123456789bcdefghjkmnpqrstuvwxyz";
  const Point p = decode(score);
  const std::uint64_t bits = spread(part_of(p.latitude, pole, steps_max)) |
                             spread(part_of(p.longitude, longitude_max, steps_max)) << 1;
  std::string out;
  for (unsigned shift = 47; out.size() < 10; shift -= 5)
    out += alphabet[static_cast<std::size_t>(bits >> shift & 31)];
  return out + '0';  // two bits are left of the 52, fewer than a letter takes
}

double distance(const Point& a, const Point& b) {
  const double v = std::sin((radians(b.longitude) - radians(a.longitude)) / 2);
  if (v == 0.0) return meridian_distance(a.latitude, b.latitude);
  const double from = radians(a.latitude), to = radians(b.latitude);
  const double u = std::sin((to - from) / 2);
  return 2.0 * earth_radius * std::asin(std::sqrt(u * u + std::cos(from) * std::cos(to) * v * v));
}

double Shape::within(const Point& p) const {
  if (box) {
    if (meridian_distance(p.latitude, center.latitude) > height / 2) return -1;
    if (distance(p, {center.longitude, p.latitude}) > width / 2) return -1;
    return distance(center, p);
  }
  const double far = distance(center, p);
  return far > radius ? -1 : far;
}

Cover cover(const Shape& s) {
  const Area bounds = bounds_of(s);
  const double w = s.width / 2, h = s.height / 2;
  const double radius = s.box ? std::sqrt(w * w + h * h) : s.radius;
  unsigned steps = steps_for(radius, s.center.latitude);
  Cell center = encode(s.center, steps);
  if (steps > 1 && !reaches(center, bounds)) center = encode(s.center, --steps);
  const Area area = area_of(center);
  // Sides on which the middle cell alone reaches far enough. Of four cells a side none is left out:
  // they meet each other around the earth.
  const bool fine = steps >= 2;
  const bool no_south = fine && area.south < bounds.south,
             no_north = fine && area.north > bounds.north;
  const bool no_west = fine && area.west < bounds.west, no_east = fine && area.east > bounds.east;
  struct Side {
    int east, north;
  };
  constexpr Side sides[] = {{0, 0}, {0, 1},  {0, -1}, {1, 0},  {-1, 0},
                            {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};
  Cover out;
  for (const Side& side : sides) {
    if ((side.north < 0 && no_south) || (side.north > 0 && no_north)) continue;
    if ((side.east < 0 && no_west) || (side.east > 0 && no_east)) continue;
    const Cell cell = neighbour(center, side.east, side.north);
    // Of a large shape neighbours may be one; Redis looks for that behind the second cell only.
    if (out.used > 1 && cell == out.cells[out.used - 1]) continue;
    out.cells[out.used++] = cell;
  }
  return out;
}

}  // namespace gyre::geo
