#include "types/hyperloglog.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/assert.h"

namespace gyre::hll {
namespace {

constexpr unsigned index_bits = 14;
constexpr unsigned rank_max = 64 - index_bits + 1;
constexpr std::size_t zero_run_max = 64, long_zero_run_max = 16384, value_run_max = 4;
constexpr std::uint8_t sparse_value_max = 32;

std::uint8_t byte_at(std::string_view bytes, std::size_t i) {
  return static_cast<std::uint8_t>(bytes[i]);
}

// The register that an element belongs to, and what it must hold at least.
struct Place {
  std::size_t index;
  std::uint8_t count;
};
Place place_of(std::string_view element) {
  const std::uint64_t hash = hash_element(element);
  // A bit behind the last one, so that a hash of zeros has an end as well.
  const std::uint64_t rest = hash >> index_bits | std::uint64_t{1} << (rank_max - 1);
  return {hash & (registers_total - 1), static_cast<std::uint8_t>(std::countr_zero(rest) + 1)};
}

// ---- dense registers

std::uint8_t dense_get(std::string_view value, std::size_t index) {
  const std::size_t at = header_bytes + index * 6 / 8;
  const unsigned shift = index * 6 % 8;
  unsigned bits = byte_at(value, at);
  if (shift > 2) bits |= static_cast<unsigned>(byte_at(value, at + 1)) << 8;
  return static_cast<std::uint8_t>(bits >> shift & 63);
}

void dense_set(std::string& value, std::size_t index, std::uint8_t count) {
  const std::size_t at = header_bytes + index * 6 / 8;
  const unsigned shift = index * 6 % 8;
  const unsigned mask = 63u << shift, bits = static_cast<unsigned>(count) << shift;
  value[at] = static_cast<char>((byte_at(value, at) & ~mask) | bits);
  if (shift > 2)
    value[at + 1] = static_cast<char>((byte_at(value, at + 1) & ~(mask >> 8)) | bits >> 8);
}

// ---- sparse runs

struct Run {
  std::size_t at = 0, bytes = 0;  // where it stands in the value
  std::uint8_t count = 0;         // what its registers hold
  std::size_t length = 0;         // how many they are
};

// The run at this place; one of two bytes that is cut short reads as if a zero followed.
Run run_at(std::string_view value, std::size_t at) {
  const unsigned op = byte_at(value, at);
  if (op & 0x80)
    return {at, 1, static_cast<std::uint8_t>((op >> 2 & 31) + 1), std::size_t{op & 3} + 1};
  if (!(op & 0x40)) return {at, 1, 0, std::size_t{op & 63} + 1};
  const unsigned low = at + 1 < value.size() ? byte_at(value, at + 1) : 0;
  return {at, 2, 0, ((std::size_t{op & 63} << 8) | low) + 1};
}

// Calls f(run, first register) for all runs; false when they are not of 16384 registers in all.
template <class F>
bool for_each_run(std::string_view value, F&& f) {
  std::size_t first = 0;
  for (std::size_t at = header_bytes; at < value.size();) {
    const Run run = run_at(value, at);
    if (first + run.length > registers_total || at + run.bytes > value.size()) return false;
    f(run, first);
    first += run.length;
    at += run.bytes;
  }
  return first == registers_total;
}

void put_run(std::string& to, std::uint8_t count, std::size_t length) {
  if (length == 0) return;
  const std::size_t n = length - 1;
  if (count != 0) {
    to.push_back(static_cast<char>(0x80 | (count - 1) << 2 | static_cast<int>(n)));
  } else if (length <= zero_run_max) {
    to.push_back(static_cast<char>(n));
  } else {
    to.push_back(static_cast<char>(0x40 | n >> 8));
    to.push_back(static_cast<char>(n & 0xff));
  }
}

// Joins neighbours of one value that lie within a few runs of `at`, as Redis does: what a change
// splits, later changes often make equal again.
void join_runs(std::string& value, std::size_t at) {
  for (int looks = 5; looks > 0 && at < value.size(); --looks) {
    const Run run = run_at(value, at);
    const bool pair = run.count != 0 && at + 1 < value.size();
    const Run next = pair ? run_at(value, at + 1) : Run{};
    if (pair && next.count == run.count && run.length + next.length <= value_run_max) {
      std::string joined;
      put_run(joined, run.count, run.length + next.length);
      value.replace(at, 2, joined);
      continue;
    }
    at += run.bytes;
  }
}

Outcome raise_sparse(std::string& value, std::size_t index, std::uint8_t count,
                     std::size_t sparse_max) {
  std::size_t before = header_bytes, first = 0, at = header_bytes;
  Run run;
  for (;; before = at, at += run.bytes, first += run.length) {
    if (at >= value.size()) return Outcome::corrupt;
    run = run_at(value, at);
    if (at + run.bytes > value.size()) return Outcome::corrupt;
    if (index < first + run.length) break;
  }
  if (run.count >= count) return Outcome::same;
  std::string parts;
  put_run(parts, run.count, index - first);
  put_run(parts, count, 1);
  put_run(parts, run.count, first + run.length - 1 - index);
  if (parts.size() > run.bytes && value.size() + parts.size() - run.bytes > sparse_max) {
    if (!make_dense(value)) return Outcome::corrupt;
    return raise(value, index, count, sparse_max);
  }
  value.replace(at, run.bytes, parts);
  join_runs(value, before);
  return Outcome::changed;
}

// ---- Ertl's estimate

double sigma(double x) {
  if (x == 1.0) return INFINITY;
  double y = 1, z = x, last;
  do {
    x *= x;
    last = z;
    z += x * y;
    y += y;
  } while (last != z);
  return z;
}

double tau(double x) {
  if (x == 0.0 || x == 1.0) return 0;
  double y = 1, z = 1 - x, last;
  do {
    x = std::sqrt(x);
    last = z;
    y *= 0.5;
    z -= (1 - x) * (1 - x) * y;
  } while (last != z);
  return z / 3;
}

}  // namespace

bool recognised(std::string_view value) {
  if (value.size() < header_bytes || !value.starts_with("HYLL")) return false;
  const std::uint8_t encoding = byte_at(value, 4);
  return encoding == 1 || (encoding == 0 && value.size() == dense_bytes);
}

std::string empty() {
  std::string value("HYLL\1\0\0\0", 8);
  value.append(8, '\0');
  static_assert(registers_total == long_zero_run_max);
  put_run(value, 0, registers_total);
  return value;
}

std::uint64_t hash_element(std::string_view element) {
  constexpr std::uint64_t m = 0xc6a4a7935bd1e995;
  std::uint64_t h = 0xadc83b19 ^ (element.size() * m);
  while (element.size() >= 8) {
    std::uint64_t k;
    std::memcpy(&k, element.data(), 8);
    k *= m;
    k ^= k >> 47;
    h = (h ^ (k * m)) * m;
    element.remove_prefix(8);
  }
  if (!element.empty()) {
    std::uint64_t k = 0;
    std::memcpy(&k, element.data(), element.size());
    h = (h ^ k) * m;
  }
  h ^= h >> 47;
  h *= m;
  return h ^ h >> 47;
}

Outcome add(std::string& value, std::string_view element, std::size_t sparse_max) {
  const Place place = place_of(element);
  return raise(value, place.index, place.count, sparse_max);
}

bool dense_has(std::string_view value, std::string_view element) {
  const Place place = place_of(element);
  return dense_get(value, place.index) >= place.count;
}

Outcome raise(std::string& value, std::size_t index, std::uint8_t count, std::size_t sparse_max) {
  GYRE_ASSERT(index < registers_total && count >= 1 && count < 64);
  if (is_sparse(value)) {
    if (count <= sparse_value_max) return raise_sparse(value, index, count, sparse_max);
    if (!make_dense(value)) return Outcome::corrupt;
  }
  if (dense_get(value, index) >= count) return Outcome::same;
  dense_set(value, index, count);
  return Outcome::changed;
}

bool merge_into(Registers& registers, std::string_view value) {
  if (is_sparse(value)) {
    return for_each_run(value, [&](const Run& run, std::size_t first) {
      if (run.count == 0) return;
      for (std::size_t i = first; i < first + run.length; ++i)
        registers[i] = std::max(registers[i], run.count);
    });
  }
  for (std::size_t i = 0; i < registers_total; ++i)
    registers[i] = std::max(registers[i], dense_get(value, i));
  return true;
}

bool make_dense(std::string& value) {
  if (!is_sparse(value)) return true;
  std::string dense = value.substr(0, header_bytes);
  dense[4] = 0;
  dense.resize(dense_bytes, '\0');
  const bool whole = for_each_run(value, [&](const Run& run, std::size_t first) {
    if (run.count == 0) return;
    for (std::size_t i = first; i < first + run.length; ++i) dense_set(dense, i, run.count);
  });
  if (whole) value = std::move(dense);
  return whole;
}

std::optional<std::uint64_t> cached_count(std::string_view value) {
  if (byte_at(value, 15) & 0x80) return std::nullopt;
  std::uint64_t count = 0;
  for (std::size_t i = 8; i-- > 0;) count = count << 8 | byte_at(value, 8 + i);
  return count;
}

void set_cached_count(std::string& value, std::uint64_t count) {
  for (std::size_t i = 8; i < 16; ++i, count >>= 8) value[i] = static_cast<char>(count);
}

void forget_cached_count(std::string& value) {
  value[15] = static_cast<char>(byte_at(value, 15) | 0x80);
}

std::uint64_t estimate(const Registers& registers) {
  std::array<int, 64> with{};  // how many registers hold each count
  for (const std::uint8_t r : registers) ++with[r & 63];
  constexpr double m = registers_total;
  double z = m * tau((m - with[rank_max]) / m);
  for (std::size_t i = rank_max - 1; i >= 1; --i) z = (z + with[i]) * 0.5;
  z += m * sigma(with[0] / m);
  constexpr double alpha = 0.721347520444481703680;  // 1 / (2 ln 2)
  return static_cast<std::uint64_t>(std::llround(alpha * m * m / z));
}

std::string runs_text(std::string_view value) {
  std::string text;
  Run run;
  for (std::size_t at = header_bytes; at < value.size(); at += run.bytes) {
    run = run_at(value, at);
    if (!text.empty()) text += ' ';
    text += run.count ? "v:" + std::to_string(run.count) + "," : run.bytes == 1 ? "z:" : "Z:";
    text += std::to_string(run.length);
  }
  return text;
}

}  // namespace gyre::hll
