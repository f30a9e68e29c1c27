// Scripts as the layers below them see them: who runs one, and who says what it may do.
//
// EVAL and its kin are commands like others: they run where their keys' slot is acted for, in the
// context that the engine made. What runs the script is above (script/interpreter.h); the engine
// guards each of its calls.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "resp/request.h"

namespace gyre {

class CommandContext;
struct CommandSpec;

enum class ScriptKind : std::uint8_t { eval, evalsha, fcall };

class ScriptRunner {
 public:
  virtual ~ScriptRunner() = default;
  // Runs the script that ctx.args call, and writes its reply.
  virtual void run(CommandContext& ctx, ScriptKind kind, bool read_only) = 0;
};

class ScriptGuard {
 public:
  virtual ~ScriptGuard() = default;
  // Why the script may not call this command; nothing when it may.
  virtual std::optional<Error> refuses(const CommandSpec& spec, Args args, DbIndex db) = 0;
  // It has run: the script's reply tells what it has read.
  virtual void called(const CommandSpec& spec, Args args, DbIndex db) = 0;
  // refuses() said no because a key belongs to another thread of this node: the script can begin
  // anew where it reaches all of them. wrote: it has written already.
  virtual bool begin_anew(bool wrote) = 0;
};

// What the user who runs a script may do, of which each of its calls is asked. It travels with the
// command, to other threads and nodes; a command without it is of a user who may do everything.
class ScriptRights : public std::enable_shared_from_this<ScriptRights> {
 public:
  virtual ~ScriptRights() = default;
  virtual std::optional<Error> refuses(const CommandSpec& spec, Args args) const = 0;
  // From which another node makes the same (EngineHost::rights_from).
  virtual std::string text() const = 0;
};
using ScriptRightsPtr = std::shared_ptr<const ScriptRights>;

}  // namespace gyre
