#include "script/interpreter.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "base/log.h"
#include "base/numbers.h"
#include "commands/command_command.h"
#include "commands/parse.h"
#include "commands/table.h"
#include "coordination/request.h"
#include "script/api.h"
#include "script/conversion.h"
#include "script/sandbox.h"

namespace gyre {
namespace {

char compiled_key;  // place in the registry: SHA1 -> function

constexpr char counted_field[] = "ignore_error_stats_update";  // as scripts see it in Redis

constexpr std::size_t reply_kept_max = std::size_t{1} << 20;
constexpr std::size_t collect_above = std::size_t{16} << 20;

void push_strings(lua_State* l, Args args) {
  lua_createtable(l, static_cast<int>(args.size()), 0);
  for (std::size_t i = 0; i < args.size(); ++i) {
    lua::push(l, args[i]);
    lua_rawseti(l, -2, static_cast<int>(i + 1));
  }
}

// A number as Redis hands it to a command.
std::string number_text(double d) {
  char text[64];
  const int n = std::snprintf(text, sizeof text, "%.17g", d);
  return {text, static_cast<std::size_t>(n)};
}

}  // namespace

// ---- the state

Interpreter::Interpreter(ScriptHost& host, std::size_t memory_max)
    : host_(host), memory_max_(memory_max) {
  open();
}

Interpreter::~Interpreter() {
  lua_close(lua_);
}

Interpreter& Interpreter::of(lua_State* l) {
  void* self = nullptr;
  lua_getallocf(l, &self);
  return *static_cast<Interpreter*>(self);
}

void* Interpreter::allocate(void* self, void* at, std::size_t before, std::size_t after) {
  auto& in = *static_cast<Interpreter*>(self);
  const std::size_t bytes = in.bytes_.load(std::memory_order_relaxed);
  if (after == 0) {
    std::free(at);
    in.bytes_.store(bytes - before, std::memory_order_relaxed);
    return nullptr;
  }
  // Shrinking never fails.
  if (after > before && bytes - before + after > in.memory_max_) return nullptr;
  void* const now = std::realloc(at, after);
  if (now) in.bytes_.store(bytes - before + after, std::memory_order_relaxed);
  return now;
}

// Runs f(with) so that no error of Lua's passes: false, and its text.
bool Interpreter::protect(std::string& error, int (*f)(lua_State*), void* with) {
  const int top = lua_gettop(lua_);
  const int status = lua_cpcall(lua_, f, with);
  if (status != 0) error = error_text_at_top(lua_);
  lua_settop(lua_, top);
  return status == 0;
}

void Interpreter::open() {
  lua_ = lua_newstate(&Interpreter::allocate, this);
  GYRE_ASSERT(lua_);
  std::string error;
  const bool opened = protect(
      error,
      [](lua_State* l) {
        Interpreter& self = of(l);
        Sandbox::open(l);
        self.push_api(false);
        Sandbox::protect(l);
        Sandbox::push_globals(l);
        lua_insert(l, -2);
        lua_setfield(l, -2, "redis");
        lua_settop(l, 0);
        lua_newtable(l);
        lua::set_place(l, compiled_key);
        self.open_functions();
        return 0;
      },
      nullptr);
  GYRE_ASSERT(opened);
}

void Interpreter::push_api(bool functions) {
  lua_newtable(lua_);
  lua::set_function(lua_, "call", &Interpreter::redis_call);
  lua::set_function(lua_, "pcall", &Interpreter::redis_pcall);
  lua::set_function(lua_, "setresp", &Interpreter::set_resp);
  lua::set_function(lua_, "acl_check_cmd", &Interpreter::acl_check);
  add_api(lua_, functions);
}

int Interpreter::set_resp(lua_State* l) {
  if (lua_gettop(l) != 1) return raise_error(l, "redis.setresp() requires one argument.");
  const double resp = lua_tonumber(l, 1);
  if (resp != 2 && resp != 3) return raise_error(l, "RESP version must be 2 or 3.");
  if (Run* run = of(l).run_) run->resp = static_cast<int>(resp);
  return 0;
}

// ---- while a script runs

void Interpreter::hook(lua_State* l, lua_Debug*) {
  Interpreter& self = of(l);
  if (self.registering_) {
    self.check_load_time(l);
    return;
  }
  Run* const run = self.run_;
  if (!run) return;
  if (!run->ended && !run->begins_anew && !self.host_.breathe()) return;
  if (!run->ended && !run->begins_anew) {
    run->ended = true;
    LOG_WARNING("a script was ended by SCRIPT KILL or FUNCTION KILL: %s", run->name.c_str());
  }
  // From here on every line of it fails, so that no pcall of its own keeps it alive.
  lua_sethook(l, &Interpreter::hook, LUA_MASKLINE | LUA_MASKCOUNT, 1);
  raise_error(
      l, run->begins_anew ? "the script begins anew" : "Script killed by user with SCRIPT KILL...");
}

// Gives the error a place: {err =, source =, line =}.
int Interpreter::on_error(lua_State* l) {
  if (!lua_istable(l, 1)) {
    std::string text = "ERR ";
    if (lua_isstring(l, 1)) {
      text += lua::text_at(l, 1);
    } else {
      text += lua_isboolean(l, 1) ? (lua_toboolean(l, 1) ? "true" : "false") : luaL_typename(l, 1);
    }
    lua_createtable(l, 0, 3);
    lua::push(l, text);
    lua_setfield(l, -2, "err");
    lua_replace(l, 1);
  }
  lua_Debug at{};
  for (int level = 1; level <= 2; ++level) {
    if (lua_getstack(l, level, &at) == 0) break;
    lua_getinfo(l, "nSl", &at);
    if (std::string_view(at.what) == "C") continue;
    lua_pushstring(l, at.source);
    lua_setfield(l, 1, "source");
    lua_pushnumber(l, at.currentline);
    lua_setfield(l, 1, "line");
    break;
  }
  lua_settop(l, 1);
  return 1;
}

// counted: the host has counted the error.
int Interpreter::fail(lua_State* l, bool raise, const Error& error, bool counted) {
  std::string text(error_prefix(error.code));
  text += ' ';
  text += error.text();
  push_error_table(l, text);
  if (counted) mark_counted(l);
  return raise ? lua_error(l) : 1;
}

// An error is counted once (INFO errorstats): by the call that it came from, or as the reply.
void Interpreter::mark_counted(lua_State* l) {
  lua_pushboolean(l, 1);
  lua_setfield(l, -2, counted_field);
}

bool Interpreter::marked_counted(lua_State* l) {
  if (!lua_istable(l, -1)) return false;
  lua_pushstring(l, counted_field);
  lua_rawget(l, -2);
  const bool marked = lua_toboolean(l, -1) != 0;
  lua_pop(l, 1);
  return marked;
}

std::optional<Error> Interpreter::refuses(const CommandSpec* spec, Args args) {
  const auto no = [](const char* text) { return Error(Errc::err, text); };
  if (!spec || (spec->flags & flag::internal))
    return no("Unknown Redis command called from script");
  if (!arity_ok(*spec, args.size())) {
    host_.refused(*spec);
    return no("Wrong number of args calling Redis command from script");
  }
  if (command_is_container(*spec)) return no("Unknown Redis command called from script");
  const auto refuse = [&](const Error& error) { return host_.refused(*spec), error; };
  const bool never = (spec->flags & flag::script_call) != 0;
  if (never || ((spec->flags & flag::noscript) && !host_.allows_all()))
    return refuse(no("This Redis command is not allowed from script"));
  if (spec->name.starts_with("XREAD") && asks_to_wait(*spec, args))
    return refuse(Error(Errc::err, to_lower(spec->name) +
                                       " command is not allowed with BLOCK option from scripts"));
  if (run_->ctx.rights) {
    if (auto error = run_->ctx.rights->refuses(*spec, args)) {
      host_.denied(*run_->ctx.rights, *spec, args);
      return refuse(*error);
    }
  }
  const bool writes = (spec->flags & flag::write) != 0;
  if ((writes || (spec->flags & flag::may_replicate)) && (run_->read_only || run_->flags.no_writes))
    return refuse(no("Write commands are not allowed from read-only scripts."));
  if ((spec->flags & flag::denyoom) && run_->no_room && !run_->flags.allow_oom && !run_->wrote)
    return refuse(Errc::oom);
  if (writes && run_->no_replicas && !run_->wrote) return refuse(Errc::no_replicas);
  if (run_->ctx.guard) {
    if (auto error = run_->ctx.guard->refuses(*spec, args, run_->db)) return error;
  }
  return {};
}

void Interpreter::execute(const CommandSpec& spec, Args args) {
  CommandContext& outer = run_->ctx;
  reply_.clear();
  Reply reply(reply_, run_->resp);
  CommandContext ctx(args, reply, run_->db, outer.now, outer.spaces, outer.sink, outer.random,
                     outer.options);
  ctx.guard = outer.guard;
  ctx.based = outer.based || (flags_of(spec, args) & flag::based) != 0;
  if (outer.publisher) ctx.publish_to(*outer.publisher, spec);
  if (spec.name == "SELECT") {
    const auto n = parse_int(args[1]);
    if (!n) return reply.error(Errc::not_integer);
    if (*n != static_cast<std::int32_t>(*n)) return reply.error(not_of_32_bits());
    if (*n < 0 || *n >= static_cast<std::int64_t>(host_.databases()))
      return reply.error("DB index is out of range");
    run_->db = outer.options.databases.lies(static_cast<std::size_t>(*n));
    return reply.ok();
  }
  if (spec.flags & flag::write) run_->wrote = true;
  spec.run ? spec.run(ctx) : host_.session(ctx, spec, reply);
  outer.wrote |= ctx.wrote;
  if (outer.guard) outer.guard->called(spec, args, ctx.db);
}

// The arguments of a call, from the stack: numbers become text there. nullopt: all are; else why
// not.
std::optional<Error> Interpreter::read_call(lua_State* l) {
  const int n = lua_gettop(l);
  if (n == 0)
    return Error(Errc::err, "Please specify at least one argument for this redis lib call");
  args_.clear();
  for (int i = 1; i <= n; ++i) {
    const int type = lua_type(l, i);
    if (type == LUA_TNUMBER) {
      lua::push(l, number_text(lua_tonumber(l, i)));
      lua_replace(l, i);
    } else if (type != LUA_TSTRING) {
      return Error(Errc::err, "Lua redis lib command arguments must be strings or integers");
    }
    args_.push_back(lua::text_at(l, i));
  }
  return {};
}

// redis.acl_check_cmd(): whether its user may make this call.
int Interpreter::acl_check(lua_State* l) {
  Interpreter& self = of(l);
  if (!self.run_)
    return raise_error(l, "redis.acl_check_cmd can only be called inside a script invocation");
  if (const auto error = self.read_call(l)) return self.fail(l, true, *error, false);
  const Args args(self.args_);
  const CommandSpec* const spec = find_command(args);
  if (!spec || (spec->flags & flag::internal))
    return raise_error(l, "Invalid command passed to redis.acl_check_cmd()");
  const ScriptRights* const rights = self.run_->ctx.rights;
  lua_pushboolean(l, !rights || !rights->refuses(*spec, args));
  return 1;
}

// redis.call() and redis.pcall().
int Interpreter::call(lua_State* l, bool raise) {
  if (!run_) return luaL_error(l, "redis.call() outside of a script");
  if (const auto error = read_call(l)) return fail(l, raise, *error, false);
  const Args args(args_);
  const CommandSpec* const spec = find_command(args);
  if (const auto error = refuses(spec, args)) {
    if (run_->ctx.guard && run_->ctx.guard->begin_anew(run_->wrote)) {
      run_->begins_anew = true;
      lua_sethook(l, &Interpreter::hook, LUA_MASKLINE | LUA_MASKCOUNT, 1);
      return luaL_error(l, "the script begins anew");
    }
    host_.failed(error_prefix(error->code));
    return fail(l, raise, *error, true);
  }
  const DbIndex db = run_->db;
  execute(*spec, args);
  const bool failed = reply_.starts_with('-');
  host_.called(*spec, args, db, failed);
  if (failed) host_.failed(reply_);
  lua_settop(l, 0);  // many arguments leave little room on the stack
  push_reply(l, reply_);
  if (reply_.capacity() > reply_kept_max) std::string().swap(reply_);
  if (!failed) return 1;
  mark_counted(l);
  return raise ? lua_error(l) : 1;
}

// ---- compiling

bool Interpreter::compile(const Program& program, std::string& error) {
  struct With {
    const Program* program;
    bool known;
  } with{&program, false};
  const bool ok = protect(
      error,
      [](lua_State* l) {
        auto& w = *static_cast<With*>(lua_touserdata(l, 1));
        lua::push_place(l, compiled_key);
        lua::push(l, w.program->sha);
        lua_rawget(l, -2);
        if (lua_isfunction(l, -1)) return 0;
        lua_pop(l, 1);
        lua::push(l, w.program->sha);
        const std::string_view code = std::string_view(w.program->text).substr(w.program->code_at);
        if (!lua::load_text(l, code, "@user_script")) return lua_error(l);
        lua_rawset(l, -3);
        return 0;
      },
      &with);
  if (!ok) error = "Error compiling script (new function): " + error;
  return ok;
}

void Interpreter::forget_compiled() {
  if (generation_ == host_.generation()) return;
  generation_ = host_.generation();
  std::string error;
  protect(
      error,
      [](lua_State* l) {
        lua_newtable(l);
        lua::set_place(l, compiled_key);
        lua_gc(l, LUA_GCCOLLECT, 0);
        return 0;
      },
      nullptr);
}

Result<std::string> Interpreter::load(std::string_view text) {
  forget_compiled();
  auto read = read_program(text);
  if (!read) return read.error();
  auto program = std::make_shared<Program>(std::move(*read));
  program->sha = sha1_hex(text);
  std::string error;
  if (!compile(*program, error)) return Error(Errc::err, error);
  host_.remember(program);
  return program->sha;
}

std::shared_ptr<const Program> Interpreter::program_of(CommandContext& ctx, ScriptKind kind,
                                                       Error& error) {
  const bool by_text = kind == ScriptKind::eval;
  const std::string sha = by_text ? sha1_hex(ctx.arg(1)) : to_lower(ctx.arg(1));
  std::shared_ptr<const Program> known = host_.program(sha);
  if (!known && by_text) {
    auto read = read_program(ctx.arg(1));
    if (!read) return error = read.error(), nullptr;
    auto program = std::make_shared<Program>(std::move(*read));
    program->sha = sha;
    std::string text;
    if (!compile(*program, text)) return error = Error(Errc::err, text), nullptr;
    host_.remember(program);
    return program;
  }
  std::string text;
  if (!known) {
    error = Errc::no_script;
  } else if (!compile(*known, text)) {
    error = Error(Errc::err, text);
    return nullptr;
  }
  return known;
}

// ---- running

struct Interpreter::Job {
  Run& run;
  const Program* program;
  const Function* function;
};

// What speaks against it before it begins; answered then.
bool Interpreter::may_begin(CommandContext& ctx, Run& run, bool read_only) {
  const auto no = [&](const char* text) { return ctx.reply.error(text), false; };
  if (read_only && !run.flags.compatible && !run.flags.no_writes)
    return no("Can not execute a script with write flag using *_ro command.");
  run.no_room = !host_.has_room();
  if (run.no_room && !run.flags.compatible && !run.flags.allow_oom && !run.flags.no_writes) {
    ctx.reply.error(Error(Errc::oom,
                          "allow-oom flag is not set on the script, can not run it when "
                          "used memory > 'maxmemory'"));
    return false;
  }
  run.no_replicas = !host_.has_replicas();
  if (run.no_replicas && !run.flags.compatible && !run.flags.no_writes) {
    ctx.reply.error(Errc::no_replicas);
    return false;
  }
  return true;
}

void Interpreter::run(CommandContext& ctx, ScriptKind kind, bool read_only) {
  const std::size_t before = ctx.reply.out().size();
  counted_ = false;
  run_script(ctx, kind, read_only);
  const std::string& out = ctx.reply.out();
  if (out.size() > before && out[before] == '-' && !counted_)
    host_.failed(std::string_view(out).substr(before));
}

void Interpreter::run_script(CommandContext& ctx, ScriptKind kind, bool read_only) {
  const auto libraries = host_.libraries();
  const bool by_name = kind == ScriptKind::fcall;
  const auto at = libraries->by_function.find(to_lower(ctx.arg(1)));
  if (by_name && at == libraries->by_function.end()) return ctx.reply.error("Function not found");
  const auto n = parse_int(ctx.arg(2));
  if (!n)
    return by_name ? ctx.reply.error("Bad number of keys provided")
                   : ctx.reply.error(Errc::not_integer);
  if (*n > static_cast<std::int64_t>(ctx.argc()) - 3)
    return ctx.reply.error("Number of keys can't be greater than number of args");
  if (*n < 0) return ctx.reply.error("Number of keys can't be negative");
  if (run_) return ctx.reply.error("another script runs here");
  forget_compiled();
  Run run{.ctx = ctx, .name = {}, .flags = {}};
  run.function = by_name;
  run.read_only = read_only;
  run.db = ctx.db;
  run.keys_at = 3;
  run.keys = static_cast<std::size_t>(*n);
  if (run.function) {
    const std::shared_ptr<const Library> library = at->second;
    const Function* function = nullptr;
    for (const Function& f : library->functions) {
      if (to_lower(f.name) == to_lower(ctx.arg(1))) function = &f;
    }
    run.name = function->name;
    run.flags = function->flags;
    if (!may_begin(ctx, run, read_only)) return;
    std::string error;
    if (!prepare_function(library, error)) return ctx.reply.error(error);
    return perform(run, nullptr, function);
  }
  Error error(Errc::err);
  const auto program = program_of(ctx, kind, error);
  if (!program) return ctx.reply.error(error);
  run.name = program->sha;
  run.flags = program->flags;
  if (may_begin(ctx, run, read_only)) perform(run, program.get(), nullptr);
}

void Interpreter::perform(Run& run, const Program* program, const Function* function) {
  const std::size_t before = run.ctx.reply.out().size();
  Job job{run, program, function};
  run_ = &run;
  command_.clear();
  for (const auto& a : run.ctx.args) command_.emplace_back(a.substr(0, 128));
  std::string error;
  const bool done = protect(
      error,
      [](lua_State* l) {
        const Job& j = *static_cast<Job*>(lua_touserdata(l, 1));
        CommandContext& ctx = j.run.ctx;
        lua_settop(l, 0);
        Sandbox::seed(l, ctx.random.next());
        lua_pushcfunction(l, &Interpreter::on_error);
        const Args keys = ctx.args.subspan(j.run.keys_at, j.run.keys);
        const Args argv = ctx.args.subspan(j.run.keys_at + j.run.keys);
        int arguments = 0;
        if (j.program) {
          lua::push_place(l, compiled_key);
          lua::push(l, j.program->sha);
          lua_rawget(l, -2);
          lua_remove(l, -2);
          Sandbox::push_globals(l);
          push_strings(l, keys);
          lua_setfield(l, -2, "KEYS");
          push_strings(l, argv);
          lua_setfield(l, -2, "ARGV");
          lua_pop(l, 1);
        } else {
          push_callback(l, j.function->name);
          push_strings(l, keys);
          push_strings(l, argv);
          arguments = 2;
        }
        lua_sethook(l, &Interpreter::hook, LUA_MASKCOUNT, instructions_a_breath);
        const int status = lua_pcall(l, arguments, 1, 1);
        lua_sethook(l, nullptr, 0, 0);
        of(l).counted_ = marked_counted(l);
        if (status == 0) {
          write_value(l, ctx.reply, j.run.resp);
          return 0;
        }
        std::string line = "-" + error_text_at_top(l);
        if (lua_istable(l, -1)) {
          lua_getfield(l, -1, "source");
          lua_getfield(l, -2, "line");
          if (lua_isstring(l, -2) && lua_isnumber(l, -1)) {
            line += " script: " + j.run.name + ", on " + std::string(lua::text_at(l, -2)) + ":" +
                    std::to_string(static_cast<int>(lua_tonumber(l, -1))) + ".";
          }
        } else {
          line = "-ERR Error running script " + j.run.name + ", " + line.substr(1, 100);
        }
        for (char& c : line) {
          if (c == '\r' || c == '\n') c = ' ';
        }
        ctx.reply.raw(line + "\r\n");
        return 0;
      },
      &job);
  if (!done) {
    lua_sethook(lua_, nullptr, 0, 0);
    run.ctx.reply.out().resize(before);
    run.ctx.reply.error(error);
  }
  run_ = nullptr;
  if (memory() > std::min(collect_above, memory_max_ / 2)) lua_gc(lua_, LUA_GCCOLLECT, 0);
}

}  // namespace gyre
