// Interpreter: Lua for one thread: runs scripts and functions, and makes their calls.
//
// Each thread has its own, so scripts of different shards run at once and share nothing; the price
// is that each compiles what it runs. What a script is called by (its SHA1, a function's name) and
// its text belong to the node (ScriptHost).
//
// A script runs on a stack of its own (script/fibre.h); every few thousand instructions it
// breathes: the host may then leave it where it stands and go on with it later.
//
// Invariants: one script at a time; a script cannot change what the next one finds (sandbox.h);
//             memory is bounded: beyond it the script ends with Lua's own error.
// Threading:  its thread's, but memory().
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "script/host.h"
#include "script/lua.h"
#include "shard/script.h"

namespace gyre {

class Interpreter final : public ScriptRunner {
 public:
  Interpreter(ScriptHost& host, std::size_t memory_max);
  ~Interpreter() override;
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  void run(CommandContext& ctx, ScriptKind kind, bool read_only) override;

  // SCRIPT LOAD: compiles it and tells the host; its SHA1.
  Result<std::string> load(std::string_view text);
  // FUNCTION LOAD: runs the library's code, which names its functions.
  Result<Library> load_library(std::string_view code);

  // Of the script that runs, or pauses.
  bool running() const { return run_ != nullptr; }
  bool wrote() const { return run_ && run_->wrote; }
  bool is_function() const { return run_ && run_->function; }
  std::string running_name() const { return run_ ? run_->name : std::string(); }
  const std::vector<std::string>& running_command() const { return command_; }
  // Bytes held by Lua; any thread.
  std::size_t memory() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  static constexpr int instructions_a_breath = 10'000;

  struct Run {
    CommandContext& ctx;
    std::string name;  // SHA1 or the function's
    ScriptFlags flags;
    bool function = false, read_only = false;
    DbIndex db{};
    int resp = 2;
    bool no_room = false, no_replicas = false;
    bool wrote = false;
    bool ended = false;  // by the host: no pcall of the script's may catch it
    bool begins_anew = false;
    std::size_t keys_at = 0, keys = 0;
  };
  struct Job;  // what runs protected

  static Interpreter& of(lua_State* l);
  static void* allocate(void* self, void* at, std::size_t before, std::size_t after);
  static void hook(lua_State* l, lua_Debug* at);
  static int on_error(lua_State* l);
  static int redis_call(lua_State* l) { return of(l).call(l, true); }
  static int redis_pcall(lua_State* l) { return of(l).call(l, false); }
  static int set_resp(lua_State* l);
  static int acl_check(lua_State* l);
  static int register_function(lua_State* l);

  bool protect(std::string& error, int (*f)(lua_State*), void* with);
  void open();
  void push_api(bool functions);
  void open_functions();
  static void push_callback(lua_State* l, const std::string& name);
  void check_load_time(lua_State* l) const;
  bool compile(const Program& program, std::string& error);
  void run_script(CommandContext& ctx, ScriptKind kind, bool read_only);
  std::optional<Error> read_call(lua_State* l);
  int call(lua_State* l, bool raise);
  static int fail(lua_State* l, bool raise, const Error& error, bool counted);
  static void mark_counted(lua_State* l);
  static bool marked_counted(lua_State* l);
  std::optional<Error> refuses(const CommandSpec* spec, Args args);
  void execute(const CommandSpec& spec, Args args);
  std::shared_ptr<const Program> program_of(CommandContext& ctx, ScriptKind kind, Error& error);
  bool prepare_function(const std::shared_ptr<const Library>& library, std::string& error);
  bool may_begin(CommandContext& ctx, Run& run, bool read_only);
  void perform(Run& run, const Program* program, const Function* function);
  void forget_compiled();
  bool load_into(const Library& library, std::vector<Function>* functions, std::string& error);

  ScriptHost& host_;
  std::size_t memory_max_;
  std::atomic<std::size_t> bytes_{0};
  lua_State* lua_ = nullptr;
  Run* run_ = nullptr;
  bool counted_ = false;          // the error that the script answers
  std::uint64_t generation_ = 0;  // of the host's programs, when they were compiled
  std::map<std::string, std::shared_ptr<const Library>, std::less<>> loaded_;
  std::vector<Function>* registering_ = nullptr;
  std::int64_t load_until_ms_ = 0;
  std::vector<std::string_view> args_;
  std::vector<std::string> command_;
  std::string reply_;
};

}  // namespace gyre
