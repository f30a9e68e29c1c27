// What HSCAN, SSCAN and ZSCAN share: the cursor, MATCH and COUNT, and the reply around the
// elements.
//
// As in Redis the cursor is read before the key is looked up, and the options after it: an absent
// key answers the empty scan whatever the options say.
#pragma once

#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "base/glob.h"
#include "commands/parse.h"

namespace gyre {

struct ScanOptions {
  std::string_view match;  // empty view without data: everything
  std::size_t count = 10;

  bool takes(std::string_view id) const { return !match.data() || glob_match(match, id); }
};

// What strtoul takes whole, as Redis reads it (an empty cursor is 0); answers the error otherwise.
inline std::optional<std::uint64_t> scan_cursor(CommandContext& ctx, std::size_t i) {
  const std::string text(ctx.arg(i));
  char* end = nullptr;
  errno = 0;
  const unsigned long value = std::strtoul(text.c_str(), &end, 10);
  if (std::isspace(static_cast<unsigned char>(text[0])) || end != text.c_str() + text.size() ||
      errno == ERANGE) {
    ctx.reply.error("invalid cursor");
    return std::nullopt;
  }
  return value;
}

// Reads MATCH and COUNT from argument `from` on; false when an error was answered.
inline bool scan_options(CommandContext& ctx, std::size_t from, ScanOptions& out) {
  for (std::size_t i = from; i < ctx.argc(); i += 2) {
    if (i + 1 < ctx.argc() && arg_is(ctx, i, "count")) {
      const auto n = int_arg(ctx, i + 1);
      if (!n) return false;
      if (*n < 1) return ctx.reply.error(Errc::syntax), false;
      out.count = static_cast<std::size_t>(*n);
    } else if (i + 1 < ctx.argc() && arg_is(ctx, i, "match")) {
      out.match = ctx.arg(i + 1) == "*" ? std::string_view() : ctx.arg(i + 1);
      // An empty pattern matches the empty id alone; only a view without data means everything.
      if (!out.match.data() && ctx.arg(i + 1) != "*") out.match = "";
    } else {
      return ctx.reply.error(Errc::syntax), false;
    }
  }
  return true;
}

// Opens the reply: the next cursor; the caller's array of elements follows.
inline void scan_reply(CommandContext& ctx, std::uint64_t next) {
  ctx.reply.array(2);
  ctx.reply.bulk(std::to_string(next));
}

inline void empty_scan(CommandContext& ctx) {
  scan_reply(ctx, 0);
  ctx.reply.array(0);
}

}  // namespace gyre
