#include "metrics/metrics.h"

#include <algorithm>

#include "base/assert.h"
#include "base/numbers.h"

namespace gyre {
namespace {

constexpr auto specs = std::to_array<MetricSpec>({
#define GYRE_METRIC(id, kind, section, field, help) \
  {Metric::id, MetricKind::kind, section, field, help},
#include "metrics/metrics.def"
});
static_assert(specs.size() == metrics_total);

constexpr auto cells = std::to_array<MetricCell Metrics::*>({
#define GYRE_METRIC(id, kind, section, field, help) &Metrics::id,
#include "metrics/metrics.def"
});

}  // namespace

std::span<const MetricSpec> metric_table() {
  return specs;
}

const MetricCell& Metrics::cell(Metric metric) const {
  const auto index = static_cast<std::size_t>(metric);
  GYRE_ASSERT(index < metrics_total);
  return this->*cells[index];
}

void Metrics::reset() {
  for (const MetricSpec& spec : specs) {
    if (spec.kind != MetricKind::gauge)
      (this->*cells[static_cast<std::size_t>(spec.metric)]).set(0);
  }
}

MetricTotals sum(std::span<const Metrics* const> shards) {
  MetricTotals totals{};
  for (const Metrics* const shard : shards) {
    for (std::size_t i = 0; i < metrics_total; ++i) {
      const std::uint64_t value = (shard->*cells[i]).get();
      totals[i] =
          specs[i].kind == MetricKind::peak ? std::max(totals[i], value) : totals[i] + value;
    }
  }
  return totals;
}

std::vector<InfoRow> info_rows(const MetricTotals& totals, std::string_view section) {
  std::vector<InfoRow> rows;
  for (std::size_t i = 0; i < metrics_total; ++i) {
    if (specs[i].section.empty()) continue;
    if (!section.empty() && !equals_ignore_case(section, specs[i].section)) continue;
    rows.push_back({specs[i].section, specs[i].field, totals[i]});
  }
  return rows;
}

std::string prometheus_text(const MetricTotals& totals) {
  constexpr auto names = std::to_array<std::string_view>({
#define GYRE_METRIC(id, kind, section, field, help) "gyre_" #id,
#include "metrics/metrics.def"
  });
  std::string text;
  for (std::size_t i = 0; i < metrics_total; ++i) {
    const std::string name(names[i]);
    const bool counter = specs[i].kind == MetricKind::counter;
    text += "# HELP " + name + " " + std::string(specs[i].help) + "\n";
    text += "# TYPE " + name + (counter ? " counter\n" : " gauge\n");
    text += name + " " + std::to_string(totals[i]) + "\n";
  }
  return text;
}

}  // namespace gyre
