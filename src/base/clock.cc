#include "base/clock.h"

#include <time.h>

#include <sys/random.h>

#include "base/assert.h"

namespace gyre {
namespace {

std::int64_t read_us(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return std::int64_t{t.tv_sec} * 1'000'000 + t.tv_nsec / 1000;
}

std::uint64_t rotl(std::uint64_t x, int k) {
  return (x << k) | (x >> (64 - k));
}

}  // namespace

UnixMs SystemClock::wall_ms() const {
  return read_us(CLOCK_REALTIME) / 1000;
}
SteadyMs SystemClock::steady_ms() const {
  return read_us(CLOCK_MONOTONIC) / 1000;
}
std::int64_t SystemClock::steady_us() const {
  return read_us(CLOCK_MONOTONIC);
}

Random::Random(std::uint64_t seed) {
  for (auto& word : state_) {  // splitmix64 fills the state, as the generator's authors advise
    seed += 0x9e3779b97f4a7c15u;
    std::uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    word = z ^ (z >> 31);
  }
}

std::uint64_t Random::next() {
  const std::uint64_t result = rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = rotl(state_[3], 45);
  return result;
}

std::uint64_t Random::below(std::uint64_t bound) {
  GYRE_ASSERT(bound > 0);
  return static_cast<std::uint64_t>((static_cast<uint128>(next()) * bound) >> 64);
}

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  GYRE_ASSERT(getrandom(&seed, sizeof seed, 0) == static_cast<ssize_t>(sizeof seed));
  return seed;
}

}  // namespace gyre
