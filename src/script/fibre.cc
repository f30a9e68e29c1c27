#include "script/fibre.h"

#include <unistd.h>

#include <cstdint>
#include <utility>

#include <sys/mman.h>

#include "base/assert.h"

#if defined(__SANITIZE_ADDRESS__)
#define GYRE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GYRE_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define GYRE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GYRE_TSAN 1
#endif
#endif

// Declared here: the headers of both compilers differ in where they are.
#ifdef GYRE_ASAN
extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom, std::size_t size);
void __sanitizer_finish_switch_fiber(void* fake_stack_save, const void** bottom_old,
                                     std::size_t* size_old);
}
#endif
#ifdef GYRE_TSAN
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
}
#endif

namespace gyre {

Fibre::Fibre(std::size_t stack_bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  bytes_ = (stack_bytes + page - 1) / page * page + page;
  void* const at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  GYRE_ASSERT(at != MAP_FAILED);
  stack_ = static_cast<char*>(at);
  const int guarded = mprotect(stack_, page, PROT_NONE);
  GYRE_ASSERT(guarded == 0);
  const int got = getcontext(&there_);
  GYRE_ASSERT(got == 0);
  there_.uc_stack.ss_sp = stack_ + page;
  there_.uc_stack.ss_size = bytes_ - page;
  there_.uc_link = nullptr;
  // makecontext() hands over ints only.
  const auto self = reinterpret_cast<std::uintptr_t>(this);
  makecontext(&there_, reinterpret_cast<void (*)()>(&Fibre::entry), 2,
              static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
#ifdef GYRE_TSAN
  tsan_there_ = __tsan_create_fiber(0);
#endif
}

Fibre::~Fibre() {
  GYRE_ASSERT(idle());
#ifdef GYRE_TSAN
  __tsan_destroy_fiber(tsan_there_);
#endif
  munmap(stack_, bytes_);
}

void Fibre::start(std::function<void()> body) {
  GYRE_ASSERT(idle());
  body_ = std::move(body);
  enter();
}

void Fibre::go_on() {
  GYRE_ASSERT(paused());
  enter();
}

void Fibre::pause() {
  GYRE_ASSERT(inside());
  state_ = State::paused;
  leave();
}

// On the caller's stack.
void Fibre::enter() {
  state_ = State::running;
#ifdef GYRE_TSAN
  tsan_here_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(tsan_there_, 0);
#endif
#ifdef GYRE_ASAN
  __sanitizer_start_switch_fiber(&fake_here_, there_.uc_stack.ss_sp, there_.uc_stack.ss_size);
#endif
  swapcontext(&here_, &there_);
#ifdef GYRE_ASAN
  __sanitizer_finish_switch_fiber(fake_here_, nullptr, nullptr);
#endif
}

// On the fibre's stack.
void Fibre::leave() {
#ifdef GYRE_TSAN
  __tsan_switch_to_fiber(tsan_here_, 0);
#endif
#ifdef GYRE_ASAN
  __sanitizer_start_switch_fiber(&fake_there_, bottom_, size_);
#endif
  swapcontext(&there_, &here_);
#ifdef GYRE_ASAN
  __sanitizer_finish_switch_fiber(fake_there_, &bottom_, &size_);
#endif
}

void Fibre::entry(unsigned high, unsigned low) {
  auto* const self = reinterpret_cast<Fibre*>(static_cast<std::uintptr_t>(high) << 32 | low);
#ifdef GYRE_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &self->bottom_, &self->size_);
#endif
  self->loop();
}

// Never returns: the stack is used for one body after the other.
void Fibre::loop() {
  for (;;) {
    body_();
    body_ = nullptr;
    state_ = State::idle;
    leave();
  }
}

}  // namespace gyre
