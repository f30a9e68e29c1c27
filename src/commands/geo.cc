// Places: sorted sets whose scores are geohashes (types/geohash.h).
//
// A search covers its shape with up to nine cells, walks each one's range of scores, and measures
// what it finds. Unless sorted, places come in the order of that walk.

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>

#include "commands/parse.h"
#include "commands/table.h"
#include "commands/zset_common.h"
#include "types/geohash.h"

namespace gyre {
namespace {

using zset::Scored;

// ---- arguments

std::optional<geo::Point> point_args(CommandContext& ctx, std::size_t i) {
  const auto longitude = double_arg(ctx, i);
  if (!longitude) return std::nullopt;
  const auto latitude = double_arg(ctx, i + 1);
  if (!latitude) return std::nullopt;
  const geo::Point p{*longitude, *latitude};
  if (geo::on_map(p)) return p;
  // As "%f,%f" prints it; the largest double has 309 digits before its point.
  std::array<char, 700> pair;
  const int n = std::snprintf(pair.data(), pair.size(), "%f,%f", p.longitude, p.latitude);
  ctx.reply.error("invalid longitude,latitude pair " +
                  std::string(pair.data(), static_cast<std::size_t>(n)));
  return std::nullopt;
}

// Metres of a unit.
std::optional<double> unit_arg(CommandContext& ctx, std::size_t i) {
  if (arg_is(ctx, i, "m")) return 1;
  if (arg_is(ctx, i, "km")) return 1000;
  if (arg_is(ctx, i, "ft")) return 0.3048;
  if (arg_is(ctx, i, "mi")) return 1609.34;
  ctx.reply.error("unsupported unit provided. please use M, KM, FT, MI");
  return std::nullopt;
}

std::optional<geo::Point> place_of(const ZsetCollection& z, std::string_view member) {
  const auto score = z.score(member);
  return score ? std::optional(geo::decode(*score)) : std::nullopt;
}

// ---- replies

// A coordinate has more digits than a double's usual text.
void reply_coordinate(CommandContext& ctx, double degrees) {
  const std::string text = format_long_double(degrees);
  ctx.reply.protocol() == 3 ? ctx.reply.raw("," + text + "\r\n") : ctx.reply.bulk(text);
}

void reply_point(CommandContext& ctx, const geo::Point& p) {
  ctx.reply.array(2);
  reply_coordinate(ctx, p.longitude);
  reply_coordinate(ctx, p.latitude);
}

void reply_distance(CommandContext& ctx, double distance) {
  std::array<char, 340> text;
  const int n = std::snprintf(text.data(), text.size(), "%.4f", distance);
  ctx.reply.bulk({text.data(), static_cast<std::size_t>(n)});
}

// ---- places

void geoadd(CommandContext& ctx) {
  zset::AddOptions how;
  std::size_t from = 2;
  for (; from < ctx.argc(); ++from) {
    if (arg_is(ctx, from, "nx")) {
      how.nx = true;
    } else if (arg_is(ctx, from, "xx")) {
      how.xx = true;
    } else if (arg_is(ctx, from, "ch")) {
      how.ch = true;
    } else {
      break;
    }
  }
  const std::size_t rest = ctx.argc() - from;
  if (rest == 0 || rest % 3 != 0 || (how.nx && how.xx)) return ctx.reply.error(Errc::syntax);
  std::vector<Scored> elements;
  elements.reserve(rest / 3);
  for (std::size_t i = from; i < ctx.argc(); i += 3) {
    const auto place = point_args(ctx, i);
    if (!place) return;
    elements.push_back({ctx.arg(i + 2), static_cast<double>(geo::encode(*place).bits)});
  }
  zset::add_scores(ctx, how, elements);
}

void geodist(CommandContext& ctx) {
  double unit = 1;
  if (ctx.argc() == 5) {
    const auto given = unit_arg(ctx, 4);
    if (!given) return;
    unit = *given;
  } else if (ctx.argc() > 5) {
    return ctx.reply.error(Errc::syntax);
  }
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  if (!key->exists()) return ctx.reply.null();
  const auto from = place_of(*zset::of(*key), ctx.arg(2));
  const auto to = place_of(*zset::of(*key), ctx.arg(3));
  if (!from || !to) return ctx.reply.null();
  reply_distance(ctx, geo::distance(*from, *to) / unit);
}

void geohash(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  ctx.reply.array(ctx.argc() - 2);
  for (std::size_t i = 2; i < ctx.argc(); ++i) {
    const auto score = key->exists() ? zset::of(*key)->score(ctx.arg(i)) : std::nullopt;
    score ? ctx.reply.bulk(geo::letters(*score)) : ctx.reply.null();
  }
}

void geopos(CommandContext& ctx) {
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  ctx.reply.array(ctx.argc() - 2);
  for (std::size_t i = 2; i < ctx.argc(); ++i) {
    const auto place = key->exists() ? place_of(*zset::of(*key), ctx.arg(i)) : std::nullopt;
    place ? reply_point(ctx, *place) : ctx.reply.null_array();
  }
}

// ---- searches

// Which words a command knows.
enum class Kind : std::uint8_t { radius, radius_read_only, search, search_store };
enum class Order : std::uint8_t { none, ascending, descending };

struct Found {
  std::string_view member;
  double score = 0;
  double distance = 0;  // in metres
};

struct Search {
  Kind kind = Kind::radius;
  const ZsetCollection* places = nullptr;  // nullptr: an absent key
  geo::Shape shape{};
  double unit = 1;
  bool has_center = false, has_shape = false;
  bool from_member = false, from_point = false;
  bool with_distance = false, with_hash = false, with_point = false;
  Order order = Order::none;
  bool any = false;
  std::size_t count = 0;  // 0: all
  std::size_t store_at = 0;
  bool store_distance = false;

  bool searches() const { return kind >= Kind::search; }
};

bool radius_args(CommandContext& ctx, std::size_t i, Search& s) {
  const auto radius = double_arg(ctx, i, "need numeric radius");
  if (!radius) return false;
  if (*radius < 0) return ctx.reply.error("radius cannot be negative"), false;
  const auto unit = unit_arg(ctx, i + 1);
  if (!unit) return false;
  s.unit = *unit;
  s.shape.box = false;
  s.shape.radius = *radius * s.unit;
  return s.has_shape = true;
}

bool box_args(CommandContext& ctx, std::size_t i, Search& s) {
  const auto width = double_arg(ctx, i, "need numeric width");
  if (!width) return false;
  const auto height = double_arg(ctx, i + 1, "need numeric height");
  if (!height) return false;
  if (*width < 0 || *height < 0)
    return ctx.reply.error("height or width cannot be negative"), false;
  const auto unit = unit_arg(ctx, i + 2);
  if (!unit) return false;
  s.unit = *unit;
  s.shape.box = true;
  s.shape.width = *width * s.unit;
  s.shape.height = *height * s.unit;
  return s.has_shape = true;
}

bool center_at(CommandContext& ctx, std::string_view member, Search& s) {
  s.has_center = true;
  if (!s.places) return true;  // the other words are still checked
  const auto place = place_of(*s.places, member);
  if (!place) return ctx.reply.error("could not decode requested zset member"), false;
  s.shape.center = *place;
  return true;
}

bool count_arg(CommandContext& ctx, std::size_t i, Search& s) {
  const auto count = int_arg(ctx, i);
  if (!count) return false;
  if (*count <= 0) return ctx.reply.error("COUNT must be > 0"), false;
  s.count = static_cast<std::size_t>(*count);
  return true;
}

// Words without an argument; false when it is none.
bool plain_word(CommandContext& ctx, std::size_t i, Search& s) {
  if (arg_is(ctx, i, "withdist")) return s.with_distance = true;
  if (arg_is(ctx, i, "withhash")) return s.with_hash = true;
  if (arg_is(ctx, i, "withcoord")) return s.with_point = true;
  if (arg_is(ctx, i, "any")) return s.any = true;
  if (arg_is(ctx, i, "asc")) return s.order = Order::ascending, true;
  if (arg_is(ctx, i, "desc")) return s.order = Order::descending, true;
  if (s.kind == Kind::search_store && arg_is(ctx, i, "storedist")) return s.store_distance = true;
  return false;
}

// The words that say where GEOSEARCH looks; moves `i` behind what it took. Nothing: it is none of
// them; false: an error was answered.
std::optional<bool> place_words(CommandContext& ctx, std::size_t& i, Search& s) {
  const std::size_t at = i, more = ctx.argc() - i - 1;
  if (arg_is(ctx, at, "frommember") && more >= 1 && !s.from_point) {
    i += 2;
    s.from_member = true;
    return center_at(ctx, ctx.arg(at + 1), s);
  }
  if (arg_is(ctx, at, "fromlonlat") && more >= 2 && !s.from_member) {
    i += 3;
    s.from_point = s.has_center = true;
    const auto place = point_args(ctx, at + 1);
    if (place) s.shape.center = *place;
    return place.has_value();
  }
  if (arg_is(ctx, at, "byradius") && more >= 2 && !(s.has_shape && s.shape.box)) {
    i += 3;
    return radius_args(ctx, at + 1, s);
  }
  if (arg_is(ctx, at, "bybox") && more >= 3 && (!s.has_shape || s.shape.box)) {
    i += 4;
    return box_args(ctx, at + 1, s);
  }
  return std::nullopt;
}

// Reads the words from `i` on; false when an error was answered.
bool parse_words(CommandContext& ctx, std::size_t i, Search& s) {
  while (i < ctx.argc()) {
    const bool more = i + 1 < ctx.argc();
    if (plain_word(ctx, i, s)) {
      ++i;
    } else if (arg_is(ctx, i, "count") && more) {
      if (!count_arg(ctx, i + 1, s)) return false;
      i += 2;
    } else if (s.kind == Kind::radius && more &&
               (arg_is(ctx, i, "store") || arg_is(ctx, i, "storedist"))) {
      s.store_distance = arg_is(ctx, i, "storedist");
      s.store_at = i + 1;
      i += 2;
    } else {
      const auto read = s.searches() ? place_words(ctx, i, s) : std::nullopt;
      if (!read) ctx.reply.error(Errc::syntax);
      if (!read.value_or(false)) return false;
    }
  }
  return true;
}

// What the words mean together; false when an error was answered.
bool check_words(CommandContext& ctx, const Search& s) {
  const std::string name(ctx.arg(0));
  if (s.store_at != 0 && (s.with_distance || s.with_hash || s.with_point)) {
    const std::string_view what =
        s.kind == Kind::search_store ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS";
    ctx.reply.error(std::string(what) +
                    " is not compatible with WITHDIST, WITHHASH and WITHCOORD options");
    return false;
  }
  if (s.searches() && !s.has_center) {
    ctx.reply.error("exactly one of FROMMEMBER or FROMLONLAT can be specified for " + name);
    return false;
  }
  if (s.searches() && !s.has_shape) {
    ctx.reply.error("exactly one of BYRADIUS and BYBOX can be specified for " + name);
    return false;
  }
  if (s.any && s.count == 0) {
    return ctx.reply.error("the ANY argument requires COUNT argument"), false;
  }
  return true;
}

std::vector<Found> find_places(const Search& s) {
  std::vector<Found> found;
  const std::size_t enough = s.any ? s.count : std::numeric_limits<std::size_t>::max();
  const geo::Cover cover = geo::cover(s.shape);
  for (std::size_t i = 0; i < cover.used && found.size() < enough; ++i) {
    const auto border = [&](std::uint64_t score) {
      return s.places->rank(ZsetBorder::at_score(static_cast<double>(score), false));
    };
    const std::size_t first = border(cover.cells[i].first());
    const std::size_t end = border(cover.cells[i].end());
    s.places->walk(first, end - first, false, [&](std::string_view member, double score) {
      const double distance = s.shape.within(geo::decode(score));
      if (distance >= 0) found.push_back({member, score, distance});
      return found.size() < enough;
    });
  }
  return found;
}

void sort_places(std::vector<Found>& found, Order order) {
  std::stable_sort(found.begin(), found.end(), [order](const Found& a, const Found& b) {
    return order == Order::ascending ? a.distance < b.distance : a.distance > b.distance;
  });
}

void reply_places(CommandContext& ctx, const Search& s, const std::vector<Found>& found) {
  const std::size_t extras = std::size_t{s.with_distance} + s.with_hash + s.with_point;
  ctx.reply.array(found.size());
  for (const Found& f : found) {
    if (extras) ctx.reply.array(extras + 1);
    ctx.reply.bulk(f.member);
    if (s.with_distance) reply_distance(ctx, f.distance / s.unit);
    if (s.with_hash) ctx.reply.integer(static_cast<std::int64_t>(f.score));
    if (s.with_point) reply_point(ctx, geo::decode(f.score));
  }
}

void store_places(CommandContext& ctx, const Search& s, const std::vector<Found>& found,
                  bool own_source) {
  std::vector<Scored> elements;
  elements.reserve(found.size());
  for (const Found& f : found)
    elements.push_back({f.member, s.store_distance ? f.distance / s.unit : f.score});
  zset::store(ctx, ctx.find(ctx.arg(s.store_at)), elements, own_source,
              s.kind == Kind::search_store ? "geosearchstore" : "georadiusstore");
  ctx.reply.integer(static_cast<std::int64_t>(elements.size()));
}

// What follows when key, center and shape of the older commands are read.
void search(CommandContext& ctx, Search& s, std::size_t words_at, std::size_t source_at) {
  if (!parse_words(ctx, words_at, s) || !check_words(ctx, s)) return;
  if (s.count != 0 && s.order == Order::none && !s.any) s.order = Order::ascending;
  std::vector<Found> found;
  if (s.places) found = find_places(s);
  if (s.order != Order::none) sort_places(found, s.order);
  if (s.count != 0 && found.size() > s.count) found.resize(s.count);
  if (s.store_at == 0) return reply_places(ctx, s, found);
  store_places(ctx, s, found, ctx.arg(s.store_at) == ctx.arg(source_at));
}

void geo_search(CommandContext& ctx, Kind kind, std::size_t source_at) {
  const auto key = typed_key(ctx, source_at, TypeId::zset);
  if (!key) return;
  Search s{.kind = kind, .places = zset::of(*key)};
  if (kind == Kind::search_store) s.store_at = 1;
  search(ctx, s, source_at + 1, source_at);
}
void geosearch(CommandContext& ctx) {
  geo_search(ctx, Kind::search, 1);
}
void geosearchstore(CommandContext& ctx) {
  geo_search(ctx, Kind::search_store, 2);
}

void around_point(CommandContext& ctx, Kind kind) {
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  Search s{.kind = kind, .places = zset::of(*key)};
  const auto center = point_args(ctx, 2);
  if (!center || !radius_args(ctx, 4, s)) return;
  s.shape.center = *center;
  search(ctx, s, 6, 1);
}
void georadius(CommandContext& ctx) {
  around_point(ctx, Kind::radius);
}
void georadius_ro(CommandContext& ctx) {
  around_point(ctx, Kind::radius_read_only);
}

void around_member(CommandContext& ctx, Kind kind) {
  const auto key = typed_key(ctx, 1, TypeId::zset);
  if (!key) return;
  Search s{.kind = kind, .places = zset::of(*key)};
  // Of an absent key Redis does not even read the radius.
  if (s.places && (!center_at(ctx, ctx.arg(2), s) || !radius_args(ctx, 3, s))) return;
  search(ctx, s, 5, 1);
}
void georadiusbymember(CommandContext& ctx) {
  around_member(ctx, Kind::radius);
}
void georadiusbymember_ro(CommandContext& ctx) {
  around_member(ctx, Kind::radius_read_only);
}

// The source, and what the last STORE or STOREDIST names.
void radius_keys(Args args, std::vector<std::size_t>& positions) {
  positions.push_back(1);
  std::size_t store_at = 0;
  for (std::size_t i = 5; i + 1 < args.size(); ++i) {
    if (equals_ignore_case(args[i], "store") || equals_ignore_case(args[i], "storedist"))
      store_at = ++i;
  }
  if (store_at != 0) positions.push_back(store_at);
}

using namespace flag;
constexpr std::uint32_t stores = write | denyoom | based | conditional | atomic;

constexpr auto rows = std::to_array<CommandSpec>({
    {.name = "GEOADD",
     .arity = -5,
     .flags = write | denyoom | based,
     .keys = first_key,
     .run = geoadd,
     .group = "geo",
     .since = "3.2.0",
     .summary = "Adds places, or moves them"},
    {.name = "GEODIST",
     .arity = -4,
     .flags = read,
     .keys = first_key,
     .run = geodist,
     .group = "geo",
     .since = "3.2.0",
     .summary = "Returns how far two places are apart"},
    {.name = "GEOHASH",
     .arity = -2,
     .flags = read,
     .keys = first_key,
     .run = geohash,
     .group = "geo",
     .since = "3.2.0",
     .summary = "Returns places as geohashes in letters"},
    {.name = "GEOPOS",
     .arity = -2,
     .flags = read,
     .keys = first_key,
     .run = geopos,
     .group = "geo",
     .since = "3.2.0",
     .summary = "Returns longitude and latitude of places"},
    {.name = "GEOSEARCH",
     .arity = -7,
     .flags = read,
     .keys = first_key,
     .run = geosearch,
     .group = "geo",
     .since = "6.2.0",
     .summary = "Returns the places in a circle or a box"},
    {.name = "GEOSEARCHSTORE",
     .arity = -8,
     .flags = stores,
     .keys = two_keys,
     .run = geosearchstore,
     .group = "geo",
     .since = "6.2.0",
     .summary = "Stores the places in a circle or a box in a key"},
    {.name = "GEORADIUS",
     .arity = -6,
     .flags = stores | movablekeys,
     .keys = first_key,
     .run = georadius,
     .find_keys = radius_keys,
     .group = "geo",
     .since = "3.2.0",
     .summary = "Returns or stores the places in a circle"},
    {.name = "GEORADIUS_RO",
     .arity = -6,
     .flags = read,
     .keys = first_key,
     .run = georadius_ro,
     .group = "geo",
     .since = "3.2.10",
     .summary = "Returns the places in a circle"},
    {.name = "GEORADIUSBYMEMBER",
     .arity = -5,
     .flags = stores | movablekeys,
     .keys = first_key,
     .run = georadiusbymember,
     .find_keys = radius_keys,
     .group = "geo",
     .since = "3.2.0",
     .summary = "Returns or stores the places around one of them"},
    {.name = "GEORADIUSBYMEMBER_RO",
     .arity = -5,
     .flags = read,
     .keys = first_key,
     .run = georadiusbymember_ro,
     .group = "geo",
     .since = "3.2.10",
     .summary = "Returns the places around one of them"},
});

}  // namespace

std::span<const CommandSpec> geo_commands() {
  return rows;
}

}  // namespace gyre
