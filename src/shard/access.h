// Access: when, or how often, a key was used, for OBJECT IDLETIME and FREQ and for eviction.
//
// It takes 20 bits of a record's Node, which no replica and no disk knows of:
//
//   lru   | seconds, modulo 2^20: twelve days |
//   lfu   | minutes, modulo 2^12: three days | counter 8 |
//
// The counter is that of Redis: it grows with a probability of 1 / (counter * lfu-log-factor), so
// that 255 stands for a million uses, and loses one for each lfu-decay-time that passed. A policy
// of the other kind reads the bits in its own way until keys were used again, as in Redis.
// Threading: a part of its KeySpace.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/clock.h"
#include "record/node.h"

namespace gyre {

class AccessClock {
 public:
  struct Settings {
    bool frequency = false;  // an LFU policy
    std::uint32_t log_factor = 10;
    std::uint32_t decay_minutes = 1;
  };

  void set(UnixMs now, const Settings& settings) {
    settings_ = settings;
    seconds_ = static_cast<std::uint32_t>(now / 1000) & seconds_mask;
    minutes_ = static_cast<std::uint32_t>(now / 60'000) & minutes_mask;
  }
  bool frequency() const { return settings_.frequency; }

  // The key was used.
  void touch(Node& n, Random& random) const {
    if (settings_.frequency) [[unlikely]]
      return n.set_access(minutes_ << 8 | grown(uses(n), random));
    if (n.access() != seconds_) n.set_access(seconds_);
  }
  // The key is new.
  void begin(Node& n) const {
    n.set_access(settings_.frequency ? minutes_ << 8 | first_uses : seconds_);
  }

  // Nothing, under a policy of the other kind.
  void set_idle(Node& n, std::int64_t seconds) const {
    if (settings_.frequency) return;
    const auto idle = static_cast<std::uint32_t>(std::min<std::int64_t>(seconds, seconds_mask));
    n.set_access((seconds_ - idle) & seconds_mask);
  }
  void set_uses(Node& n, std::int64_t uses) const {
    if (settings_.frequency) n.set_access(minutes_ << 8 | static_cast<std::uint32_t>(uses));
  }

  std::uint32_t idle_seconds(const Node& n) const { return (seconds_ - n.access()) & seconds_mask; }
  // The counter as it has decayed.
  std::uint32_t uses(const Node& n) const {
    const std::uint32_t kept = n.access() & 255;
    if (settings_.decay_minutes == 0) return kept;
    const std::uint32_t passed = (minutes_ - (n.access() >> 8)) & minutes_mask;
    return kept - std::min(kept, passed / settings_.decay_minutes);
  }
  // The higher, the less it would be missed.
  std::uint32_t dispensable(const Node& n) const {
    return settings_.frequency ? 255 - uses(n) : idle_seconds(n);
  }

 private:
  // What a new key has, lest it goes before it could be used.
  static constexpr std::uint32_t first_uses = 5;
  static constexpr std::uint32_t seconds_mask = (1u << Node::access_bits) - 1;
  static constexpr std::uint32_t minutes_mask = (1u << (Node::access_bits - 8)) - 1;

  std::uint32_t grown(std::uint32_t uses, Random& random) const {
    if (uses == 255) return 255;
    const std::uint64_t above = uses > first_uses ? uses - first_uses : 0;
    return uses + (random.below(above * settings_.log_factor + 1) == 0 ? 1 : 0);
  }

  Settings settings_;
  std::uint32_t seconds_ = 0, minutes_ = 0;
};

}  // namespace gyre
