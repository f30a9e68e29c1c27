// For tests of net/: turns a loop until something holds, or time is up.
#pragma once

#include <functional>

#include "net/loop.h"

namespace gyre {

inline bool pump(Loop& loop, const std::function<bool()>& holds, std::uint64_t ms_max = 60'000) {
  Timer check(loop);
  Timer limit(loop);
  bool in_time = true;
  limit.start(ms_max, 0, [&] {
    in_time = false;
    loop.stop();
  });
  check.start(0, 1, [&] {
    if (holds()) loop.stop();
  });
  loop.run();
  return in_time || holds();
}

inline void pump_for(Loop& loop, std::uint64_t ms) {
  pump(
      loop, [] { return false; }, ms);
}

}  // namespace gyre
