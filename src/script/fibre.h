// Fibre: a C stack of its own, on which code can be left in the middle and gone on with later.
//
// A script runs on one. Lua 5.1 cannot yield across pcall, metamethods or C functions, so its own
// coroutines cannot let a long script wait; with a stack of its own everything that stands on it,
// the engine's frames included, stays as it is while the thread does something else.
//
//     Fibre f;
//     f.start([&] { work(); f.pause(); more(); });   // returns at the pause
//     f.go_on();                                      // returns at the end
//
// The stack is mapped once and touched as it is used, with a page below it that nobody may touch:
// what runs over its end is a fault and not a corruption. One body at a time; the next start() uses
// the same stack.
//
// Threading: one thread's. A paused fibre must be gone on with by the thread that started it.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <functional>

namespace gyre {

class Fibre {
 public:
  static constexpr std::size_t default_stack = std::size_t{8} << 20;

  explicit Fibre(std::size_t stack_bytes = default_stack);
  // It must be idle: what stands on a paused one would never be destroyed.
  ~Fibre();
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  // Runs body until it ends or pauses. Only while idle.
  void start(std::function<void()> body);
  // Goes on with a paused body until it ends or pauses again.
  void go_on();
  // From the body: back to whoever called start() or go_on().
  void pause();

  bool idle() const { return state_ == State::idle; }
  bool paused() const { return state_ == State::paused; }
  // The caller stands on this stack.
  bool inside() const { return state_ == State::running; }

 private:
  enum class State : unsigned char { idle, running, paused };

  static void entry(unsigned high, unsigned low);
  void loop();
  void enter();
  void leave();

  std::size_t bytes_;
  char* stack_ = nullptr;
  ucontext_t here_{}, there_{};  // the caller's, the body's
  std::function<void()> body_;
  State state_ = State::idle;
  // What the sanitizers want to know of a switch; nobody asks in other builds.
  [[maybe_unused]] void* fake_here_ = nullptr;
  [[maybe_unused]] void* fake_there_ = nullptr;
  [[maybe_unused]] const void* bottom_ = nullptr;
  [[maybe_unused]] std::size_t size_ = 0;
  [[maybe_unused]] void* tsan_here_ = nullptr;
  [[maybe_unused]] void* tsan_there_ = nullptr;
};

}  // namespace gyre
