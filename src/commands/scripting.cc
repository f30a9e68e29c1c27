// EVAL, EVALSHA, FCALL and their read-only forms. What a script is and how it runs: script/.

#include <array>

#include "base/numbers.h"
#include "commands/table.h"
#include "shard/script.h"

namespace gyre {
namespace {

template <ScriptKind kind, bool read_only>
void script(CommandContext& ctx) {
  if (!ctx.scripts) return ctx.reply.error("scripts cannot run here");
  ctx.scripts->run(ctx, kind, read_only);
}

// EVAL script numkeys key ...; a number that is none, or too large, is the interpreter's to tell.
void script_keys(Args args, std::vector<std::size_t>& positions) {
  if (args.size() < 3) return;
  const auto n = parse_int(args[2]);
  if (!n || *n < 0 || *n > static_cast<std::int64_t>(args.size()) - 3) return;
  for (std::size_t i = 0; i < static_cast<std::size_t>(*n); ++i) positions.push_back(3 + i);
}

using namespace flag;
// Its effects may depend on anything that it has read, so each carries a base.
constexpr std::uint32_t any = script_call | noscript | stale | skip_monitor | movablekeys | atomic;
constexpr std::uint32_t writing = any | write | may_replicate | once | based | conditional;
constexpr std::uint32_t reading = any | read;

constexpr CommandSpec row(std::string_view name, std::uint32_t flags, CommandFunction run,
                          std::string_view since, std::string_view summary) {
  return {.name = name,
          .arity = -3,
          .flags = flags,
          .run = run,
          .categories = "@scripting",
          .find_keys = script_keys,
          .group = "scripting",
          .since = since,
          .summary = summary};
}

constexpr auto rows = std::to_array<CommandSpec>({
    row("EVAL", writing, script<ScriptKind::eval, false>, "2.6.0", "Runs a script"),
    row("EVALSHA", writing, script<ScriptKind::evalsha, false>, "2.6.0",
        "Runs a script that this node knows, by its SHA1"),
    row("EVAL_RO", reading, script<ScriptKind::eval, true>, "7.0.0",
        "Runs a script that writes nothing"),
    row("EVALSHA_RO", reading, script<ScriptKind::evalsha, true>, "7.0.0",
        "Runs a script that writes nothing, by its SHA1"),
    row("FCALL", writing, script<ScriptKind::fcall, false>, "7.0.0", "Calls a function"),
    row("FCALL_RO", reading, script<ScriptKind::fcall, true>, "7.0.0",
        "Calls a function that writes nothing"),
});

}  // namespace

std::span<const CommandSpec> scripting_commands() {
  return rows;
}

}  // namespace gyre
