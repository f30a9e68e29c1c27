// Loop: one libuv event loop and what a thread hangs on it: wake-ups, turn hooks, timers, signals.
//
//     timers -> before_poll -> poll: reads, writes, wake-ups -> after_poll -> late closes -> timers
//     ...
//
// after_poll is the end of a turn: what the turn produced is sent there. What timers produced is
// sent in before_poll, because the poll after them may sleep.
//
// Ownership: handles made on a loop (Timer, Stream, Listener, PeerLink, BusServer) are destroyed
//            before it; ~Loop waits for their late closes and asserts that none is left open.
// Threading: everything on the loop's thread, but for post_wakeup() and stop().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

struct uv_loop_s;

namespace gyre {

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs turns until stop(). May be called again.
  void run();
  // Ends run() after the turn under way. From any thread.
  void stop();
  // Makes on_wakeup run on the loop's thread soon; several posts may become one call. Any thread.
  void post_wakeup();

  // The loop's steady clock, read once per turn.
  std::uint64_t now_ms() const;

  // The callback runs on this loop for SIGTERM and SIGINT, until the loop is destroyed.
  void watch_signals(std::function<void(int signal)> callback);

  // Set before run(); an empty one is skipped.
  std::function<void()> on_wakeup;
  std::function<void()> before_poll;
  std::function<void()> after_poll;

  uv_loop_s* uv();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Calls a function after a while, once or again and again. An armed timer keeps nothing alive: the
// loop runs until stop() anyway. It may be stopped, started or destroyed by the function it calls.
class Timer {
 public:
  explicit Timer(Loop& loop);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // repeat_ms 0: once. Replaces what was set before.
  void start(std::uint64_t ms, std::uint64_t repeat_ms, std::function<void()> fn);
  void stop();
  bool active() const;

 private:
  struct Block;
  struct Closer {
    void operator()(Block* block) const noexcept;
  };
  std::unique_ptr<Block, Closer> block_;
};

}  // namespace gyre
