// What took long: LATENCY's events, and how long commands take (LATENCY HISTOGRAM).
//
// Events are what took at least latency-monitor-threshold: of each kind the last 160 seconds in
// which it happened, with the longest time in each. One log per node; its lock is taken for what
// was slow and for readers only.
//
// A command's times are counted by powers of two of the processor's ticks, so that counting costs a
// few instructions; they become microseconds when somebody asks.
//
// Threading: LatencyLog any; Durations one writer, any reader.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metrics/metrics.h"

namespace gyre {

class LatencyLog {
 public:
  struct Sample {
    std::int64_t at_s = 0;
    std::int64_t ms = 0;
  };
  struct Event {
    std::deque<Sample> samples;  // oldest first
    std::int64_t max_ms = 0;     // since it was forgotten last
  };

  // event: one of a few names of ours.
  void note(std::string_view event, std::int64_t ms, std::int64_t now_s);
  std::map<std::string, Event, std::less<>> events() const;
  // False: there is no such event.
  bool forget(std::string_view event);
  std::size_t forget_all();

 private:
  static constexpr std::size_t samples_max = 160;

  mutable std::mutex mutex_;
  std::map<std::string, Event, std::less<>> events_;
};

class Durations {
 public:
  void add(std::uint64_t ticks) {
    counts_[std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(ticks)), buckets - 1)]
        .add();
  }
  void reset() {
    for (MetricCell& c : counts_) c.set(0);
  }
  // By the power of two of microseconds that no duration of it passes.
  void add_to(std::map<std::uint64_t, std::uint64_t>& by_us) const;

 private:
  static constexpr std::size_t buckets = 44;  // the last: hours

  std::array<MetricCell, buckets> counts_{};
};

}  // namespace gyre
