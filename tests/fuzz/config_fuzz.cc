// The configuration's line parser on any bytes: it refuses or takes, and what it takes it can write
// and read back. The mutator of this target puts lines of known options in, which bytes alone would
// hardly ever spell.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>

#include "base/assert.h"
#include "config/config.h"
#include "config/line.h"
#include "config/value.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

// More lines only repeat what fewer do, and each of a configuration's options is compared.
constexpr std::size_t input_bytes_max = 1 << 13;

// A line of an option, with its default for a value or with none.
std::string known_line(std::minstd_rand& random) {
  const auto table = gyre::option_table();
  const gyre::OptionSpec& spec = table[random() % table.size()];
  std::string line(spec.name);
  if (const auto aliases = gyre::option_aliases(); random() % 8 == 0) {
    line = aliases[random() % aliases.size()].name;
  }
  line += ' ';
  if (random() % 2 == 0) line += gyre::value_text(spec, gyre::default_value(spec)) + "\n";
  return line;
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  std::minstd_rand random(seed);
  if (random() % 8 != 0) return LLVMFuzzerMutate(data, size, max_size);
  std::string text(reinterpret_cast<const char*>(data), size);
  // Behind the end of some line, so that the lines there stay whole.
  std::size_t at = text.empty() ? 0 : text.find('\n', random() % text.size());
  at = at == std::string::npos ? 0 : std::min(at + 1, text.size());
  text.insert(at, known_line(random));
  if (text.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::copy(text.begin(), text.end(), data);
  return text.size();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gyre;  // NOLINT(google-build-using-namespace)
  if (size > input_bytes_max) return 0;
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
