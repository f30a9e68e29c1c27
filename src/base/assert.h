// Assertions for invariants: on in every build. User input never reaches one.
#pragma once

namespace gyre {

// Prints the failed condition with its place and a backtrace on standard error, then aborts.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace gyre

#define GYRE_ASSERT(condition)                                                                  \
  (__builtin_expect(!(condition), 0) ? ::gyre::assertion_failed(#condition, __FILE__, __LINE__) \
                                     : (void)0)
