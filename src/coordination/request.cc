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

std::uint32_t flags_of(const CommandSpec& spec, Args args) {
  // MSET is blind as well, and has no options.
  if (!(spec.flags & flag::blind) || spec.arity > 0 || spec.scatter != Scatter::none)
    return spec.flags;
  for (std::size_t i = 3; i < args.size(); ++i) {
    for (const std::string_view option : {"NX", "XX", "GET", "KEEPTTL"}) {
      if (equals_ignore_case(args[i], option))
        return spec.flags | flag::once | flag::based | flag::conditional;
    }
  }
  return spec.flags;
}

}  // namespace gyre
