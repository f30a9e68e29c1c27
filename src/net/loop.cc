#include "net/loop.h"

#include <uv.h>

#include <atomic>
#include <csignal>
#include <utility>

#include "net/uv_handle.h"

namespace gyre {

struct Loop::State {
  uv_loop_t uv;
  UvOwned<uv_async_t> wakeup{new uv_async_t};
  UvOwned<uv_prepare_t> prepare{new uv_prepare_t};
  UvOwned<uv_check_t> check{new uv_check_t};
  UvOwned<uv_signal_t> term;
  UvOwned<uv_signal_t> interrupt;
  std::function<void(int)> on_signal;
  std::atomic<bool> stopping{false};
};

namespace {

void call(const std::function<void()>& hook) {
  if (hook) hook();
}

void on_async(uv_async_t* h) noexcept {
  call(static_cast<Loop*>(h->data)->on_wakeup);
}
void on_prepare(uv_prepare_t* h) noexcept {
  call(static_cast<Loop*>(h->data)->before_poll);
}
void on_check(uv_check_t* h) noexcept {
  call(static_cast<Loop*>(h->data)->after_poll);
}

}  // namespace

Loop::Loop() : state_(std::make_unique<State>()) {
  // A peer that is gone is an error of the write, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  must(uv_loop_init(&state_->uv));
  must(uv_async_init(&state_->uv, state_->wakeup.get(), on_async));
  must(uv_prepare_init(&state_->uv, state_->prepare.get()));
  must(uv_check_init(&state_->uv, state_->check.get()));
  state_->wakeup->data = state_->prepare->data = state_->check->data = this;
  must(uv_prepare_start(state_->prepare.get(), on_prepare));
  must(uv_check_start(state_->check.get(), on_check));
}

Loop::~Loop() {
  on_wakeup = before_poll = after_poll = nullptr;
  state_->wakeup.reset();
  state_->prepare.reset();
  state_->check.reset();
  state_->term.reset();
  state_->interrupt.reset();
  // Closes answer within a turn; a name being resolved may take as long as the resolver does.
  while (uv_run(&state_->uv, UV_RUN_ONCE) != 0 && uv_loop_alive(&state_->uv) != 0) {
  }
  must(uv_loop_close(&state_->uv));
}

void Loop::run() {
  // One turn at a time: uv_stop() is not for other threads, and a stop() before run() counts.
  while (!state_->stopping.load()) uv_run(&state_->uv, UV_RUN_ONCE);
  state_->stopping.store(false);
}

void Loop::stop() {
  state_->stopping.store(true);
  uv_async_send(state_->wakeup.get());
}

void Loop::post_wakeup() {
  uv_async_send(state_->wakeup.get());
}

std::uint64_t Loop::now_ms() const {
  return uv_now(&state_->uv);
}

uv_loop_s* Loop::uv() {
  return &state_->uv;
}

void Loop::watch_signals(std::function<void(int)> callback) {
  state_->on_signal = std::move(callback);
  const auto watch = [this](UvOwned<uv_signal_t>& owner, int signal) {
    if (owner) return;
    owner.reset(new uv_signal_t);
    must(uv_signal_init(&state_->uv, owner.get()));
    owner->data = state_.get();
    must(uv_signal_start(
        owner.get(),
        [](uv_signal_t* h, int number) {
          const auto* state = static_cast<State*>(h->data);
          if (state->on_signal) state->on_signal(number);
        },
        signal));
  };
  watch(state_->term, SIGTERM);
  watch(state_->interrupt, SIGINT);
}

// The function lives in the block and is shared with the call under way, so that it may replace or
// destroy its own timer.
struct Timer::Block {
  uv_timer_t timer;
  std::shared_ptr<const std::function<void()>> fn;
};

void Timer::Closer::operator()(Block* block) const noexcept {
  close_late(block);
}

Timer::Timer(Loop& loop) : block_(new Block) {
  must(uv_timer_init(loop.uv(), &block_->timer));
}

Timer::~Timer() = default;

void Timer::start(std::uint64_t ms, std::uint64_t repeat_ms, std::function<void()> fn) {
  block_->fn = std::make_shared<const std::function<void()>>(std::move(fn));
  must(uv_timer_start(
      &block_->timer,
      [](uv_timer_t* h) {
        const auto running = reinterpret_cast<Block*>(h)->fn;
        (*running)();
      },
      ms, repeat_ms));
}

void Timer::stop() {
  uv_timer_stop(&block_->timer);
}

bool Timer::active() const {
  return uv_is_active(reinterpret_cast<const uv_handle_t*>(&block_->timer)) != 0;
}

}  // namespace gyre
