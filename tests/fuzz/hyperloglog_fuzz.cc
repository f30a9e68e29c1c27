// Bytes that a client calls a HyperLogLog: nothing outside is touched, and what is whole stays
// whole.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "types/hyperloglog.h"

namespace hll = gyre::hll;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string value(reinterpret_cast<const char*>(data), size);
  value.shrink_to_fit();
  if (!hll::recognised(value)) return 0;
  hll::Registers before{}, after{};
  const bool whole = hll::merge_into(before, value);
  hll::estimate(before);
  if (hll::is_sparse(value)) hll::runs_text(value);
  std::string dense = value;
  GYRE_ASSERT(hll::make_dense(dense) == whole);
  for (int i = 0; i < 8; ++i) {
    if (hll::add(value, std::to_string(i), size + 8) == hll::Outcome::corrupt) GYRE_ASSERT(!whole);
  }
  GYRE_ASSERT(hll::recognised(value));
  GYRE_ASSERT(hll::merge_into(after, value) == whole);
  for (std::size_t i = 0; whole && i < before.size(); ++i) GYRE_ASSERT(before[i] <= after[i]);
  return 0;
}
