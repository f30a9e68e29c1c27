#include "net/loop.h"

#include <csignal>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "pump.h"

namespace gyre {
namespace {

TEST_SUITE("net/loop") {
  TEST_CASE("a wake-up from another thread, and the hooks around the poll") {
    Loop loop;
    int wakeups = 0;
    std::vector<char> order;
    loop.on_wakeup = [&] {
      ++wakeups;
      order.push_back('w');
    };
    loop.before_poll = [&] { order.push_back('b'); };
    loop.after_poll = [&] {
      order.push_back('a');
      if (wakeups > 0) loop.stop();
    };
    std::thread other([&] { loop.post_wakeup(); });
    loop.run();
    other.join();
    CHECK(wakeups == 1);
    REQUIRE(order.size() >= 3);
    CHECK(std::vector<char>(order.end() - 3, order.end()) == std::vector<char>{'b', 'w', 'a'});
  }

  TEST_CASE("stop from another thread, also before run") {
    Loop loop;
    loop.stop();
    loop.run();
    std::thread other([&] { loop.stop(); });
    loop.run();
    other.join();
  }

  TEST_CASE("timers: once, again and again, replaced and destroyed by themselves") {
    Loop loop;
    int once = 0;
    int often = 0;
    Timer a(loop);
    Timer b(loop);
    a.start(1, 0, [&] { ++once; });
    CHECK(a.active());
    b.start(1, 1, [&] {
      if (++often == 3) b.stop();
    });
    CHECK(pump(loop, [&] { return often == 3; }));
    pump_for(loop, 10);
    CHECK(once == 1);
    CHECK(often == 3);
    CHECK_FALSE(b.active());

    auto c = std::make_unique<Timer>(loop);
    int steps = 0;
    c->start(0, 0, [&] {
      ++steps;
      c->start(0, 5, [&] {
        ++steps;
        c.reset();
      });
    });
    CHECK(pump(loop, [&] { return !c; }));
    CHECK(steps == 2);
  }

  TEST_CASE("a signal becomes a call") {
    Loop loop;
    int got = 0;
    loop.watch_signals([&](int number) {
      got = number;
      loop.stop();
    });
    std::raise(SIGTERM);
    loop.run();
    CHECK(got == SIGTERM);
  }
}

}  // namespace
}  // namespace gyre
