#include "base/result.h"

#include <array>

namespace gyre {
namespace {

struct Row {
  std::string_view prefix;
  std::string_view text;
};

constexpr auto rows = std::to_array<Row>({
#define GYRE_ERROR(code, prefix, text) {prefix, text},
#include "base/errors.def"
#undef GYRE_ERROR
});

}  // namespace

std::string_view error_prefix(Errc code) {
  return rows[static_cast<std::size_t>(code)].prefix;
}
std::string_view error_text(Errc code) {
  return rows[static_cast<std::size_t>(code)].text;
}

}  // namespace gyre
