#include "record/restamp.h"

#include <algorithm>

#include "base/assert.h"

namespace gyre {

void Restamp::collect(Version v) {
  if (v > limit_) {
    versions_.emplace_back(v, Version{});
  } else {
    highest_kept_ = std::max(highest_kept_, v);
  }
}

void Restamp::collect(const Effect& effect) {
  collect(effect.version);
  collect(effect.floor);
  collect(effect.expiry.version);
  collect(effect.claim);
  for (const Change& c : effect.changes) {
    collect(c.version);
    collect(c.sum);
  }
}

void Restamp::draw(HybridClock& clock, const Time& time) {
  std::sort(versions_.begin(), versions_.end());
  versions_.erase(std::unique(versions_.begin(), versions_.end()), versions_.end());
  time_ = time;
  for (auto& [old, fresh] : versions_) {
    const UnixMs then = old.ms() - time.ahead_ms;
    fresh = clock.stamp(old < time.set_back_at ? std::min(then, time.wall) : time.wall);
  }
}

Version Restamp::operator()(Version v) const {
  if (v <= limit_ || versions_.empty()) return v;
  const auto at =
      std::lower_bound(versions_.begin(), versions_.end(), v,
                       [](const auto& known, Version wanted) { return known.first < wanted; });
  if (at != versions_.end() && at->first == v) return at->second;
  // An overwrite's floor lies just below its version.
  constexpr unsigned incarnation_bits = 3;
  const auto own = [this](Version of) { return of.node() >> incarnation_bits == index_; };
  if (!own(v) && !own({v.bits + 1})) return v;
  return at == versions_.end() ? versions_.back().second : at->second.before();
}

void Restamp::rewrite(Effect& effect) const {
  effect.version = (*this)(effect.version);
  effect.floor = (*this)(effect.floor);
  // A time to live was counted from the wrong time, too.
  if (effect.expiry.at_ms != 0 && effect.expiry.version > limit_ &&
      effect.expiry.version < time_.set_back_at &&
      (*this)(effect.expiry.version) != effect.expiry.version)
    effect.expiry.at_ms -= time_.ahead_ms;
  effect.expiry.version = (*this)(effect.expiry.version);
  effect.claim = (*this)(effect.claim);
  for (Change& c : effect.changes) {
    c.version = (*this)(c.version);
    c.sum = (*this)(c.sum);
  }
  // What stays may lie above what is new.
  effect.version = std::max(effect.newest(), effect.claim);
}

}  // namespace gyre
