// The configuration's line parser on any bytes: it refuses or takes, and what it takes it can write
// and read back.
#include <cstdlib>
#include <memory>

#include "base/assert.h"
#include "config/config.h"
#include "config/line.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gyre;  // NOLINT(google-build-using-namespace)
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto words = split_words(text)) {
    GYRE_ASSERT(split_words(joined_words(*words)) == words);
  }
  const auto config = std::make_unique<Config>();
  if (!config->load_text(text, "fuzz")) return 0;
  std::string lines;
  for (const OptionSpec& spec : option_table()) {
    if (!config->given(spec.option)) continue;
    for (const std::string& line : config_lines(*config, spec)) lines += line + "\n";
  }
  const auto again = std::make_unique<Config>();
  GYRE_ASSERT(static_cast<bool>(again->load_text(lines, "rewritten")));
  for (const OptionSpec& spec : option_table()) {
    GYRE_ASSERT(again->text(spec.option) == config->text(spec.option));
  }
  return 0;
}
