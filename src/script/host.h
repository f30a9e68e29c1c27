// ScriptHost: what the interpreter asks of the thread that it runs on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "resp/reply.h"
#include "script/library.h"
#include "script/program.h"
#include "shard/command.h"
#include "shard/script.h"

namespace gyre {

// Knows every script and function library of the node. Any thread may ask.
class ScriptHost {
 public:
  virtual ~ScriptHost() = default;

  // nullptr: nobody has told the node.
  virtual std::shared_ptr<const Program> program(std::string_view sha) = 0;
  // A script that compiles is kept. generation() changes when all were dropped.
  virtual void remember(const std::shared_ptr<const Program>& program) = 0;
  virtual std::uint64_t generation() = 0;
  // The libraries of functions as they are now; never nullptr.
  virtual std::shared_ptr<const Libraries> libraries() = 0;

  // Runs a command of the connection or the node (INFO, DBSIZE, ...) for a script.
  virtual void session(CommandContext& ctx, const CommandSpec& spec, Reply& reply) = 0;
  // A call has run: statistics, MONITOR.
  virtual void called(const CommandSpec& spec, Args args, DbIndex db, bool failed) = 0;
  // An error of a call, or of the script: "-WRONGTYPE ...", with or without its dash.
  virtual void failed(std::string_view error) = 0;
  // A call was refused before it ran.
  virtual void refused(const CommandSpec& spec) = 0;
  // Because of what its user may do.
  virtual void denied(const ScriptRights& rights, const CommandSpec& spec, Args args) = 0;
  // Whether memory is left for a write.
  virtual bool has_room() = 0;
  // Whether as many other nodes are there as a write wants.
  virtual bool has_replicas() = 0;
  virtual std::size_t databases() = 0;
  // For tests: commands that are not for scripts are let through.
  virtual bool allows_all() { return false; }
  // Called every few thousand instructions of a script; may return much later. True: the script
  // must end.
  virtual bool breathe() = 0;
};

}  // namespace gyre
