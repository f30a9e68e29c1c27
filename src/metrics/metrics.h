// Metrics: what happened on this node, counted per shard thread and summed when somebody asks.
//
// Each shard owns one Metrics and is its only writer, so adding is a load and a store, never a
// locked instruction. A reader on another thread sees every value whole and not much later.
//
// Threading: add(), set(), raise() and reset() on the owner's thread; get(), sum() on any.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gyre {

enum class Metric : std::uint16_t {
#define GYRE_METRIC(id, kind, section, field, help) id,
#include "metrics/metrics.def"
  end
};
inline constexpr std::size_t metrics_total = static_cast<std::size_t>(Metric::end);

enum class MetricKind : std::uint8_t { counter, gauge, peak };

struct MetricSpec {
  Metric metric{};
  MetricKind kind{};
  std::string_view section;  // of INFO; empty: not shown there
  std::string_view field;
  std::string_view help;
};
std::span<const MetricSpec> metric_table();  // in the order of Metric

// One number with one writer.
class MetricCell {
 public:
  std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }
  void set(std::uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  void add(std::uint64_t n = 1) { set(get() + n); }
  void subtract(std::uint64_t n = 1) {
    set(get() - n);
  }                                  // gauges; may pass below zero on one shard
  void raise(std::uint64_t value) {  // peaks
    if (value > get()) set(value);
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// One shard's metrics; a cache line of its own keeps other threads' writes away.
struct alignas(64) Metrics {
#define GYRE_METRIC(id, kind, section, field, help) MetricCell id;
#include "metrics/metrics.def"

  const MetricCell& cell(Metric metric) const;
  // CONFIG RESETSTAT, on the owner's thread: counters and peaks begin at zero again, gauges stay.
  void reset();
};

// What all shards have, by Metric.
using MetricTotals = std::array<std::uint64_t, metrics_total>;
MetricTotals sum(std::span<const Metrics* const> shards);

struct InfoRow {
  std::string_view section;
  std::string_view field;
  std::uint64_t value = 0;
};
// The rows of one INFO section ("stats", in any case); all rows when it is empty.
std::vector<InfoRow> info_rows(const MetricTotals& totals, std::string_view section = {});

// The text that a Prometheus server reads: HELP, TYPE and value per metric, names begin with gyre_.
std::string prometheus_text(const MetricTotals& totals);

}  // namespace gyre
