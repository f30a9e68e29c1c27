#include "server/join.h"

#include <charconv>
#include <cstdint>

namespace gyre {
namespace {

// The number in a header line and where the line ends; false when it is not whole.
bool header(std::string_view resp, std::int64_t& number, std::size_t& end) {
  const std::size_t at = resp.find("\r\n");
  if (at == std::string_view::npos) return false;
  end = at + 2;
  number = -1;
  std::from_chars(resp.data() + 1, resp.data() + at, number);
  return true;
}

}  // namespace

std::size_t reply_length(std::string_view resp) {
  if (resp.empty()) return 0;
  std::int64_t n = 0;
  std::size_t at = 0;
  if (!header(resp, n, at)) return 0;
  switch (resp[0]) {
    case '$':
    case '=':
    case '!':
      return n < 0 ? at : at + static_cast<std::size_t>(n) + 2;
    case '*':
    case '~':
    case '>':
    case '%': {
      const std::int64_t parts = resp[0] == '%' ? 2 * n : n;
      for (std::int64_t i = 0; i < parts; ++i) {
        const std::size_t part = reply_length(resp.substr(at));
        if (part == 0) return 0;
        at += part;
      }
      return at;
    }
    default:
      return at;
  }
}

std::vector<std::string_view> reply_elements(std::string_view resp) {
  std::vector<std::string_view> out;
  std::int64_t n = 0;
  std::size_t at = 0;
  if (resp.empty() || resp[0] != '*' || !header(resp, n, at)) return out;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::size_t part = reply_length(resp.substr(at));
    if (part == 0) return {};
    out.push_back(resp.substr(at, part));
    at += part;
  }
  return out;
}

}  // namespace gyre
