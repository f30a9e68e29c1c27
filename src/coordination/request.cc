#include "coordination/request.h"

#include "base/numbers.h"

namespace gyre {

bool Level::parse(std::string_view text, Level& level) {
  if (equals_ignore_case(text, "one")) return level.value = one, true;
  if (equals_ignore_case(text, "quorum")) return level.value = quorum, true;
  if (equals_ignore_case(text, "all")) return level.value = all, true;
  const auto n = parse_int(text);
  if (!n || *n < 1 || *n > 100) return false;
  level.value = static_cast<std::uint8_t>(*n);
  return true;
}

}  // namespace gyre
