#include "base/ticks.h"

#include <chrono>
#include <thread>

#include <doctest/doctest.h>

namespace gyre {
namespace {

TEST_SUITE("base/ticks") {
  TEST_CASE("a thread's CPU time grows while it works and not while it sleeps") {
    const std::uint64_t began = thread_cpu_us();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    CHECK(thread_cpu_us() - began < 25'000);
    const std::uint64_t ticks = ticks_now();
    while (thread_cpu_us() - began < 25'000) {
    }
    CHECK(ticks_to_us(ticks_now() - ticks) > 0);
  }
}

}  // namespace
}  // namespace gyre
