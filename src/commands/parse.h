// What the families share: reading arguments, and the rules that many commands repeat.
#pragma once

#include <array>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/numbers.h"
#include "shard/command.h"

namespace gyre {

// Reads an integer argument; answers the error (default: not an integer) and nothing when it is
// none.
std::optional<std::int64_t> int_arg(CommandContext& ctx, std::size_t i,
                                    const char* error = nullptr);
std::optional<double> double_arg(CommandContext& ctx, std::size_t i, const char* error = nullptr);

inline bool arg_is(CommandContext& ctx, std::size_t i, std::string_view word) {
  return i < ctx.argc() && equals_ignore_case(ctx.arg(i), word);
}

// Looks a key up and checks its type; answers WRONGTYPE and nothing when it is another.
std::optional<KeyRef> typed_key(CommandContext& ctx, std::size_t i, TypeId type);

// The same for a command that waits for its keys: one that has waited passes by what is of another
// type, as if it were absent.
std::optional<KeyRef> waited_key(CommandContext& ctx, std::size_t i, TypeId type);

// The time-out of a blocking command, in seconds with fractions; answers Redis' errors. In ms, 0:
// none.
std::optional<std::int64_t> timeout_arg(CommandContext& ctx, std::size_t i);

// Whether a command of a row that may block (flag::blocking) asks for it: XREAD only with BLOCK.
bool asks_to_wait(const CommandSpec& spec, Args args);
// The same command with some of its keys, given by their positions, for a command that can be taken
// apart and asked one after the other; empty when it cannot be (BLMOVE).
std::vector<std::string> command_of_keys(const CommandSpec& spec, Args args,
                                         std::span<const std::size_t> keys);

// The two numbers of SWAPDB, below `databases`.
Result<std::array<std::uint8_t, 2>> databases_to_swap(Args args, std::size_t databases);

// Redis' text for an integer that is none of 32 bits, where it asks for one.
std::string not_of_32_bits();

std::string_view summed_bytes(const Cell& cell, std::string& scratch);
// The bytes of a string, none when the key is absent; `scratch` holds a counter's text.
inline std::string_view bytes_of(const KeyRef& key, std::string& scratch) {
  if (!key.exists()) return {};
  const Cell cell = key.cell();
  return cell.has_sums ? summed_bytes(cell, scratch) : cell.stored;
}

// EX/PX/EXAT/PXAT and the EXPIRE family: a time from now or absolute, seconds or milliseconds, as
// absolute ms. Answers Redis' error ("invalid expire time in 'set' command") for what overflows or,
// when `positive` is asked for, is not above zero.
struct TimeUnit {
  bool seconds;
  bool absolute;
  bool operator==(const TimeUnit&) const = default;
};
std::optional<UnixMs> expire_time(CommandContext& ctx, std::string_view text, TimeUnit unit,
                                  bool positive, std::string_view command);

// The lines of a container's HELP.
void reply_help(CommandContext& ctx, std::initializer_list<std::string_view> lines);
// Redis' error for a word behind a container that takes it in no such form.
Error wrong_subcommand(Args args);

// Lower-cased name of the running command, for error texts.
std::string command_name(const CommandContext& ctx);

}  // namespace gyre
