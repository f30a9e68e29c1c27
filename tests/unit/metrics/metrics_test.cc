#include "metrics/metrics.h"

#include <set>

#include <doctest/doctest.h>

namespace gyre {
namespace {

TEST_CASE("metrics: shards add up, peaks give their maximum") {
  Metrics a;
  Metrics b;
  a.keyspace_hits.add();
  b.keyspace_hits.add(4);
  a.loop_turn_us_max.raise(70);
  b.loop_turn_us_max.raise(30);
  b.loop_turn_us_max.raise(20);
  const Metrics* const shards[] = {&a, &b};
  const MetricTotals totals = sum(shards);
  CHECK(totals[static_cast<std::size_t>(Metric::keyspace_hits)] == 5);
  CHECK(totals[static_cast<std::size_t>(Metric::loop_turn_us_max)] == 70);
  CHECK(a.cell(Metric::keyspace_hits).get() == 1);

  b.reset();
  CHECK(b.keyspace_hits.get() == 0);
  CHECK(b.loop_turn_us_max.get() == 0);
}

TEST_CASE("metrics: INFO rows by section, each field once") {
  const MetricTotals totals{};
  std::set<std::string_view> fields;
  for (const InfoRow& row : info_rows(totals)) {
    CHECK(fields.insert(row.field).second);
    CHECK_FALSE(row.section.empty());
  }
  const auto stats = info_rows(totals, "Stats");
  CHECK(stats.size() == 33);
  for (const InfoRow& row : stats) CHECK(row.section == "stats");
  CHECK(info_rows(totals, "nothing").empty());
}

TEST_CASE("metrics: Prometheus text") {
  Metrics a;
  a.hints_written.add(7);
  const Metrics* const shards[] = {&a};
  const std::string text = prometheus_text(sum(shards));
  CHECK(text.find("# TYPE gyre_hints_written counter\ngyre_hints_written 7\n") !=
        std::string::npos);
  CHECK(text.find("# TYPE gyre_loop_turn_us_max gauge\n") != std::string::npos);
  for (const MetricSpec& spec : metric_table()) CHECK(spec.help.back() == '.');
}

}  // namespace
}  // namespace gyre
