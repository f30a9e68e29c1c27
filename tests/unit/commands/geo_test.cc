#include <cmath>

#include "fixture.h"
#include "types/geohash.h"

using gyre::test::Node1;
namespace geo = gyre::geo;

namespace {

void add_sicily(Node1& node) {
  CHECK(node("GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania") == ":2");
}

}  // namespace

TEST_CASE("geo: adding and asking") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    add_sicily(node);
    CHECK(node("ZSCORE s Palermo") == "$16 3479099956230698");
    CHECK(node("GEODIST s Palermo Catania") == "$11 166274.1516");
    CHECK(node("GEODIST s Palermo Catania km") == "$8 166.2742");
    CHECK(node("GEODIST s Palermo nobody") == "$-1");
    CHECK(node("GEODIST s Palermo Catania parsec") ==
          "-ERR unsupported unit provided. please use M, KM, FT, MI");
    CHECK(node("GEOHASH s Palermo Catania nobody") == "*3 $11 sqc8b49rny0 $11 sqdtr74hyu0 $-1");
    CHECK(node("GEOPOS s Palermo nobody") ==
          "*2 *2 $20 13.36138933897018433 $20 38.11555639549629859 *-1");
    CHECK(node("GEOADD s CH 13 38 Palermo") == ":1");
    CHECK(node("GEOADD s NX 14 38 Palermo") == ":0");
    CHECK(node("GEOADD s NX XX 14 38 Palermo") == "-ERR syntax error");
    CHECK(node("GEOADD s 14 86 x") == "-ERR invalid longitude,latitude pair 14.000000,86.000000");
    CHECK(node("GEOADD s nan 8 x").starts_with("-ERR value is not a valid float"));
  }
}

TEST_CASE("geo: searching") {
  for (const bool ring : {false, true}) {
    Node1 node(ring);
    add_sicily(node);
    CHECK(node("GEORADIUS s 15 37 200 km WITHDIST") ==
          "*2 *2 $7 Palermo $8 190.4424 *2 $7 Catania $7 56.4413");
    CHECK(node("GEORADIUS s 15 37 200 km ASC") == "*2 $7 Catania $7 Palermo");
    CHECK(node("GEORADIUS s 15 37 100 km") == "*1 $7 Catania");
    CHECK(node("GEORADIUS s 15 37 200 km COUNT 1") == "*1 $7 Catania");
    CHECK(node("GEORADIUS s 15 37 200 km ANY") == "-ERR the ANY argument requires COUNT argument");
    CHECK(node("GEORADIUSBYMEMBER s Palermo 10 km WITHHASH") ==
          "*1 *2 $7 Palermo :3479099956230698");
    CHECK(node("GEORADIUSBYMEMBER s nobody 10 km") ==
          "-ERR could not decode requested zset member");
    CHECK(node("GEORADIUSBYMEMBER nothing nobody x y") == "*0");
    CHECK(node("GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km ASC") == "*2 $7 Catania $7 Palermo");
    CHECK(node("GEOSEARCH s FROMMEMBER Catania BYRADIUS 1 km") == "*1 $7 Catania");
    CHECK(node("GEOSEARCH s BYRADIUS 1 km ASC ASC ASC") ==
          "-ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH");
    CHECK(node("GEOSEARCH s FROMLONLAT 15 37 ASC ASC ASC") ==
          "-ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH");
    CHECK(node("GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 1 km STORE to") == "-ERR syntax error");
    CHECK(node("GEOSEARCHSTORE to s FROMLONLAT 15 37 BYRADIUS 100 km STOREDIST") == ":1");
    CHECK(node("ZRANGE to 0 -1 WITHSCORES") == "*2 $7 Catania $18 56.441257870158204");
    CHECK(node("GEORADIUS s 15 37 200 km STORE to WITHDIST") ==
          "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD "
          "options");
    CHECK(node("GEORADIUS s 15 37 200 km STORE s COUNT 1 ASC") == ":1");
    CHECK(node("ZRANGE s 0 -1") == "*1 $7 Catania");
    CHECK(node("GEORADIUS nothing 15 37 200 km STORE s") == ":0");
    CHECK(node("EXISTS s") == ":0");
  }
}

TEST_CASE("geo: a cover misses no place") {
  gyre::Random random(11);
  const auto between = [&](double from, double to) { return from + random.unit() * (to - from); };
  for (int round = 0; round < 20'000; ++round) {
    geo::Shape shape;
    shape.center = {between(-175, 175), between(-75, 75)};
    shape.radius = std::pow(10, between(0, 5.3));
    const geo::Cover cover = geo::cover(shape);
    const double step = shape.radius / 111'000;
    const geo::Point p{shape.center.longitude + between(-step, step) * 2,
                       shape.center.latitude + between(-step, step)};
    const std::uint64_t bits = geo::encode(p).bits;
    const auto score = static_cast<double>(bits);
    if (!geo::on_map(p) || shape.within(geo::decode(score)) < 0) continue;
    bool covered = false;
    for (std::size_t i = 0; i < cover.used; ++i)
      covered |= bits >= cover.cells[i].first() && bits < cover.cells[i].end();
    CHECK(covered);
  }
}

TEST_CASE("geo: scores that are no places") {
  Node1 node;
  for (const char* score : {"-inf", "inf", "-5", "1e300", "4503599627370496"}) {
    node(std::string("ZADD s ") + score + " odd");
    CHECK(node("GEOPOS s odd").starts_with("*1 *2"));
    CHECK(node("GEOHASH s odd").starts_with("*1 $11"));
    CHECK(node("GEORADIUSBYMEMBER s odd 1 km")[0] == '*');
  }
}
