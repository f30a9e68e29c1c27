// Interpreter: libraries of functions: running their code, and what it registers.

#include <chrono>

#include "script/api.h"
#include "script/interpreter.h"
#include "script/sandbox.h"

namespace gyre {
namespace {

// Places in the registry.
char libraries_key;  // function -> callback
char functions_globals_key;
char functions_meta_key;  // their metatable: leads to one of the next two
char loading_key, running_key;

constexpr std::int64_t load_timeout_ms = 500;  // of a library's own code

std::int64_t steady_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int missing_field(lua_State* l) {
  const char* const name = lua_isstring(l, 2) ? lua_tostring(l, 2) : "?";
  return luaL_error(l, "Script attempted to access nonexistent global variable '%s'", name);
}

// What the functions' globals lead to.
void show_globals(lua_State* l, char& which) {
  lua::push_place(l, functions_meta_key);
  lua::push_place(l, which);
  lua_setfield(l, -2, "__index");
  lua_pop(l, 1);
}

}  // namespace

void Interpreter::open_functions() {
  lua_State* const l = lua_;
  lua_newtable(l);
  lua::set_place(l, libraries_key);
  // Functions have globals of their own. While their library loads these are `redis` alone, which
  // can register them and little else.
  lua_newtable(l);
  lua_newtable(l);
  lua::set_function(l, "register_function", &Interpreter::register_function);
  add_basics(l);
  lua_newtable(l);
  lua::set_function(l, "__index", missing_field);
  lua_pushvalue(l, -1);
  lua_setmetatable(l, -3);
  lua_insert(l, -3);
  Sandbox::protect(l);
  lua_setfield(l, -2, "redis");
  lua_insert(l, -2);
  lua_setmetatable(l, -2);
  lua::set_place(l, loading_key);
  push_api(true);
  Sandbox::protect(l);
  Sandbox::push_other_globals(l);
  lua::set_place(l, running_key);
  lua_getmetatable(l, -1);
  lua::set_place(l, functions_meta_key);
  lua::set_place(l, functions_globals_key);
}

void Interpreter::push_callback(lua_State* l, const std::string& name) {
  lua::push_place(l, libraries_key);
  lua_getfield(l, -1, name.c_str());
  lua_remove(l, -2);
}

void Interpreter::check_load_time(lua_State* l) const {
  if (steady_ms() > load_until_ms_) raise_error(l, "FUNCTION LOAD timeout");
}

// register_function(name, callback) or register_function{function_name =, callback =, ...}
int Interpreter::register_function(lua_State* l) {
  Interpreter& self = of(l);
  const auto no = [&](const char* text) { return push_error_table(l, text), lua_error(l); };
  if (!self.registering_)
    return no("ERR redis.register_function can only be called on FUNCTION LOAD command");
  Function f;
  const int n = lua_gettop(l);
  if (n < 1 || n > 2) return no("ERR wrong number of arguments to redis.register_function");
  if (n == 2) {
    if (!lua_isstring(l, 1))
      return no("ERR first argument to redis.register_function must be a string");
    if (!lua_isfunction(l, 2))
      return no("ERR second argument to redis.register_function must be a function");
    f.name = lua::text_at(l, 1);
  } else {
    if (!lua_istable(l, 1))
      return no(
          "ERR calling redis.register_function with a single argument is only applicable to Lua "
          "table (representing named arguments).");
    bool named = false, callback = false;
    lua_pushnil(l);  // 2: the callback's place
    lua_pushnil(l);
    while (lua_next(l, 1)) {
      if (!lua::is_string(l, -2))
        return no("ERR named argument key given to redis.register_function is not a string");
      const std::string_view key = lua::text_at(l, -2);
      if (key == "function_name") {
        if (!lua::is_string(l, -1))
          return no("ERR function_name argument given to redis.register_function must be a string");
        f.name = lua::text_at(l, -1);
        named = true;
      } else if (key == "description") {
        if (!lua::is_string(l, -1))
          return no("ERR description argument given to redis.register_function must be a string");
        f.description = lua::text_at(l, -1);
        f.has_description = true;
      } else if (key == "callback") {
        if (!lua_isfunction(l, -1))
          return no("ERR callback argument given to redis.register_function must be a function");
        lua_pushvalue(l, -1);
        lua_replace(l, 2);
        callback = true;
      } else if (key == "flags") {
        if (!lua_istable(l, -1))
          return no(
              "ERR flags argument to redis.register_function must be a table representing function "
              "flags");
        for (int i = 1;; ++i) {
          lua_rawgeti(l, -1, i);
          if (lua_isnil(l, -1)) break;
          if (!lua::is_string(l, -1) || !f.flags.set(lua::text_at(l, -1)))
            return no("ERR unknown flag given");
          f.flag_names.emplace_back(lua::text_at(l, -1));
          lua_pop(l, 1);
        }
        lua_pop(l, 1);
      } else {
        return no("ERR unknown argument given to redis.register_function");
      }
      lua_pop(l, 1);
    }
    if (!named) return no("ERR redis.register_function must get a function name argument");
    if (!callback) return no("ERR redis.register_function must get a callback argument");
  }
  if (!library_name_ok(f.name))
    return no(
        "ERR Library names can only contain letters, numbers, or underscores(_) and must be at "
        "least one character long");
  for (const Function& other : *self.registering_) {
    if (other.name == f.name) return no("ERR Function already exists in the library");
  }
  lua::push_place(l, libraries_key);
  lua_pushvalue(l, 2);
  lua_setfield(l, -2, f.name.c_str());
  self.registering_->push_back(std::move(f));
  return 0;
}

// Runs the code of a library here, which leaves its callbacks by their names.
bool Interpreter::load_into(const Library& library, std::vector<Function>* functions,
                            std::string& error) {
  struct With {
    const Library* library;
  } with{&library};
  registering_ = functions;
  load_until_ms_ = steady_ms() + load_timeout_ms;
  const bool ok = protect(
      error,
      [](lua_State* l) {
        const Library& lib = *static_cast<With*>(lua_touserdata(l, 1))->library;
        const std::string_view code = std::string_view(lib.code).substr(lib.code_at);
        lua_settop(l, 0);
        lua_pushcfunction(l, &Interpreter::on_error);
        if (!lua::load_text(l, code, "@user_function")) {
          std::string text = "Error compiling function: " + error_text_at_top(l);
          push_error_table(l, text);
          return lua_error(l);
        }
        lua::push_place(l, functions_globals_key);
        lua_setfenv(l, -2);
        show_globals(l, loading_key);
        lua_sethook(l, &Interpreter::hook, LUA_MASKCOUNT, instructions_a_breath);
        const int status = lua_pcall(l, 0, 0, 1);
        lua_sethook(l, nullptr, 0, 0);
        show_globals(l, running_key);
        if (status == 0) return 0;
        const std::string text = "Error registering functions: " + error_text_at_top(l);
        push_error_table(l, text);
        return lua_error(l);
      },
      &with);
  lua_sethook(lua_, nullptr, 0, 0);
  registering_ = nullptr;
  return ok;
}

Result<Library> Interpreter::load_library(std::string_view code) {
  auto library = read_library(code);
  if (!library) return library.error();
  std::string error;
  // Its names may be those of another library's functions, which are compiled again when called.
  loaded_.clear();
  protect(
      error,
      [](lua_State* l) {
        lua_newtable(l);
        lua::set_place(l, libraries_key);
        return 0;
      },
      nullptr);
  if (!load_into(*library, &library->functions, error)) return Error(Errc::err, error);
  if (library->functions.empty()) return Error(Errc::err, "No functions registered");
  return library;
}

bool Interpreter::prepare_function(const std::shared_ptr<const Library>& library,
                                   std::string& error) {
  const auto at = loaded_.find(library->name);
  if (at != loaded_.end() && at->second == library) return true;
  std::vector<Function> again;
  if (!load_into(*library, &again, error)) return false;
  loaded_[library->name] = library;
  return true;
}

}  // namespace gyre
