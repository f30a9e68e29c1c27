// gyre-conf: prints the commented sample file. `bin/gyre-conf > conf/gyre.conf` after a change of
// src/config/options.def; a unit test compares the two.
#include <cstdio>

#include "config/sample.h"

int main() {
  const std::string text = gyre::sample_config();
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0
             ? 0
             : 1;
}
