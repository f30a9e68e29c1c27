// World: virtual time, one seed, and the history of a simulated run.
//
// Everything that happens is an event at a microsecond; events of one instant run in the order in
// which they were planned. The same seed gives the same history, byte for byte: its hash says so.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace gyre::sim {

using Us = std::int64_t;
inline constexpr Us ms = 1000, second = 1'000'000;
inline constexpr UnixMs start_of_time = 1'800'000'000'000;

class World {
 public:
  explicit World(std::uint64_t of) : seed(of), random(of) {}

  Us now() const { return now_; }
  void after(Us delay, std::function<void()> f) {
    events_.push({now_ + (delay > 0 ? delay : 0), next_++, std::move(f)});
  }
  // Runs events until `time`, or until none is left.
  void run_until(Us time) {
    while (!events_.empty() && events_.top().at <= time) {
      Event e = std::move(const_cast<Event&>(events_.top()));
      events_.pop();
      now_ = e.at;
      e.run();
    }
    now_ = time;
  }

  // Uniform in [low, high].
  std::int64_t draw(std::int64_t low, std::int64_t high) {
    return low +
           static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(high - low + 1)));
  }
  bool chance(double p) { return random.unit() < p; }

  // A line of history: hashed, kept, and printed at once when `loud`.
  void log(std::string line);
  std::uint64_t hash() const { return hash_; }
  const std::deque<std::string>& history() const { return history_; }

  // What must never happen. The run goes on; the first one decides what is printed.
  void violation(const std::string& key, const std::string& what);
  bool failed() const { return !violations_.empty(); }
  struct Violation {
    std::string key, what;
  };
  const std::vector<Violation>& violations() const { return violations_; }
  // The line of history that says the first.
  std::size_t violated_at() const { return violated_at_; }

  const std::uint64_t seed;
  Random random;
  bool loud = false;

 private:
  struct Event {
    Us at;
    std::uint64_t order;
    std::function<void()> run;
    bool operator<(const Event& o) const { return at != o.at ? at > o.at : order > o.order; }
  };
  Us now_ = 0;
  std::uint64_t next_ = 0, hash_ = 0;
  std::priority_queue<Event> events_;
  std::deque<std::string> history_;
  std::vector<Violation> violations_;
  std::size_t violated_at_ = 0;
};

}  // namespace gyre::sim
