// InfoLines: the text of an INFO under construction, and what its sections read.
//
// Model: sections append "field:value" lines; metrics are summed over threads once for each INFO.
// Threading: on the thread of the client that asked; other threads' numbers are atomics.
#pragma once

#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "base/numbers.h"
#include "server/server.h"
#include "server/worker.h"

namespace gyre {

class InfoLines {
 public:
  InfoLines(Worker& of, bool for_cluster) : worker(of), cluster_aware(for_cluster) {}

  void section(std::string_view name) {
    if (!text.empty()) text += "\r\n";
    text.append("# ").append(name).append("\r\n");
  }
  void put(std::string_view field, std::string_view value) {
    text.append(field).append(":").append(value).append("\r\n");
  }
  void put(std::string_view field, std::uint64_t value) { put(field, std::to_string(value)); }
  void put_signed(std::string_view field, std::int64_t value) { put(field, format_int(value)); }
  void put_real(std::string_view field, double value, int digits = 2) {
    char number[64];
    std::snprintf(number, sizeof number, "%.*f", digits, value);
    put(field, number);
  }
  // Bytes, and the same for humans.
  void put_bytes(std::string_view field, std::uint64_t bytes) {
    put(field, bytes);
    put(std::string(field) + "_human", human(bytes));
  }
  void zeros(std::initializer_list<std::string_view> fields) {
    for (const std::string_view f : fields) put(f, 0);
  }
  // All metrics that belong to a section (metrics.def).
  void metrics(std::string_view section) {
    for (const InfoRow& row : info_rows(totals(), section)) put(row.field, row.value);
  }

  Server& server() const { return worker.server(); }
  const MetricTotals& totals() {
    if (totals_known_) return totals_;
    std::vector<const Metrics*> all;
    each_worker([&](Worker& w) { all.push_back(&w.metrics()); });
    totals_ = sum(all);
    totals_known_ = true;
    return totals_;
  }
  template <class F>
  void each_worker(F&& f) const {
    for (std::size_t i = 0; i < server().shards(); ++i) {
      f(server().worker(ShardIndex{static_cast<std::uint16_t>(i)}));
    }
  }

  Worker& worker;
  const bool cluster_aware;
  std::string text;

 private:
  static std::string human(std::uint64_t bytes) {
    constexpr const char* units[] = {"B", "K", "M", "G", "T", "P"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
    char number[64];
    std::snprintf(number, sizeof number, unit == 0 ? "%.0f%s" : "%.2f%s", value, units[unit]);
    return number;
  }

  MetricTotals totals_{};
  bool totals_known_ = false;
};

// Sections of a ring: info_ring.cc.
void info_ring(InfoLines& out);
void info_hints(InfoLines& out);
void info_antientropy(InfoLines& out);
void info_conflicts(InfoLines& out);

}  // namespace gyre
