#include "base/assert.h"

#include <execinfo.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace gyre {

void assertion_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "\nassertion failed: %s at %s:%d\n", condition, file, line);
  void* frames[64];
  backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
  std::abort();
}

}  // namespace gyre
