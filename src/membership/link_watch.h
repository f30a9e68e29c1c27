// LinkWatch: how long a peer may be silent before its commands go elsewhere.
//
// Every batch is answered in the turn in which the peer takes it, so silence means trouble. The
// give-up time is the lower bound plus twice the slowest round trip lately: a peak that fades by a
// thousandth with each answer, so that a machine that stalls now and then is not given up at each
// stall. It begins at the upper bound. Time during which our own loop stood still does not count.
// Threading: one instance per link, its thread alone. Pure: told the time.
#pragma once

#include <algorithm>
#include <deque>

#include "base/ids.h"

namespace gyre {

class LinkWatch {
 public:
  LinkWatch(std::int64_t min_ms, std::int64_t max_ms)
      : min_ms_(min_ms), max_ms_(max_ms), peak_(static_cast<double>(max_ms - min_ms) / 2) {}

  void sent(SteadyMs now) { sent_.push_back(now); }
  void answered(SteadyMs now) {
    if (sent_.empty()) return;
    peak_ = std::max(static_cast<double>(now - sent_.front()), peak_ * 0.999);
    sent_.pop_front();
  }
  void reset() { sent_.clear(); }
  // Our loop stood still for so long: nobody else's fault.
  void excuse(std::int64_t ms) {
    for (SteadyMs& at : sent_) at += ms;
  }

  std::int64_t give_up_ms() const {
    return std::clamp(min_ms_ + static_cast<std::int64_t>(2 * peak_), min_ms_, max_ms_);
  }
  bool overdue(SteadyMs now) const { return !sent_.empty() && now - sent_.front() > give_up_ms(); }
  // Something has been without answer for longer than this.
  bool late(SteadyMs now, std::int64_t ms) const {
    return !sent_.empty() && now - sent_.front() > ms;
  }
  std::size_t unanswered() const { return sent_.size(); }

 private:
  std::int64_t min_ms_, max_ms_;
  double peak_;  // of the round trips, ms
  std::deque<SteadyMs> sent_;
};

}  // namespace gyre
