// Probes: how often each rare path was taken, for the simulator and the tests.
//
// `GYRE_PROBE(late);` counts one pass; the names are the rows of base/probes.def. A pass is one
// relaxed increment of a counter of the process, so a probe belongs on rare paths alone.
//
// Threading: any thread; the counts are of the whole process.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gyre {

enum class Probe : std::uint8_t {
#define GYRE_PROBE_ROW(name, text) name,
#include "base/probes.def"
#undef GYRE_PROBE_ROW
  count
};

inline constexpr std::size_t probes_total = static_cast<std::size_t>(Probe::count);

struct ProbeRow {
  std::string_view name, text;
};
inline constexpr std::array<ProbeRow, probes_total> probe_table{{
#define GYRE_PROBE_ROW(name, text) {#name, text},
#include "base/probes.def"
#undef GYRE_PROBE_ROW
}};

inline std::array<std::atomic<std::uint64_t>, probes_total> probe_counts{};

inline void probe_reached(Probe probe) {
  probe_counts[static_cast<std::size_t>(probe)].fetch_add(1, std::memory_order_relaxed);
}
inline std::uint64_t probe_count(Probe probe) {
  return probe_counts[static_cast<std::size_t>(probe)].load(std::memory_order_relaxed);
}

}  // namespace gyre

#define GYRE_PROBE(name) ::gyre::probe_reached(::gyre::Probe::name)
