// Rules of single options beyond kind and bounds: GYRE_CHECK(id, function) in options.def.
#pragma once

#include <array>
#include <string_view>

#include "base/result.h"
#include "config/value.h"

namespace gyre {

// What a check sees. It may write the value anew, to bring it into its canonical form.
struct CheckCall {
  const OptionSpec& spec;
  std::string_view current;  // the option's value so far, in canonical form
  OptionValue& value;
};

// Runs the checks that options.def names for the option, if any.
Result<void> run_check(const CheckCall& call);

// One class of client-output-buffer-limit; 0 means no limit.
struct BufferLimit {
  std::int64_t hard_bytes = 0;
  std::int64_t soft_bytes = 0;
  std::int64_t soft_seconds = 0;
  bool operator==(const BufferLimit&) const = default;
};
enum class ClientClass : std::uint8_t { normal, replica, pubsub };
using BufferLimits = std::array<BufferLimit, 3>;  // by ClientClass

// From the canonical form ("normal 0 0 0 slave ... pubsub ...").
BufferLimits parse_buffer_limits(std::string_view canonical);

}  // namespace gyre
