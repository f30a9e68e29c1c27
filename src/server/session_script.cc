// SCRIPT and FUNCTION: what the node knows of scripts, and ending those that run.
//
// What SCRIPT LOAD and FUNCTION LOAD bring, all nodes of a ring get. What EVAL brings stays with
// the node; a script that is forwarded takes its text along.

#include <algorithm>
#include <array>

#include "base/glob.h"
#include "server/session_parts.h"
#include "server/worker_scripts.h"

namespace gyre {
namespace {

// ---- SCRIPT

void script_load(SessionCall& call) {
  WorkerScripts& scripts = call.worker.scripts();
  scripts.remembers_for_good = true;
  auto sha = scripts.interpreter().load(call.args[2]);
  scripts.remembers_for_good = false;
  if (!sha) return call.reply.error(sha.error());
  {
    const auto lock = call.server().ring_settings.changing();
    call.server().ring_settings.changed(SettingKind::script, *sha, std::string(call.args[2]));
  }
  answer_when_told(call, [name = *sha](Reply& reply) { reply.bulk(name); });
}

void script_exists(SessionCall& call) {
  call.reply.array(call.args.size() - 2);
  for (const auto& sha : call.args.subspan(2))
    call.reply.integer(call.server().scripts.find(to_lower(sha)) ? 1 : 0);
}

bool sync_or_async(Args args) {
  return args.size() == 2 ||
         (args.size() == 3 && (is_word(args[2], "sync") || is_word(args[2], "async")));
}

void script_flush(SessionCall& call) {
  if (!sync_or_async(call.args))
    return call.reply.error("SCRIPT FLUSH only support SYNC|ASYNC option");
  {
    const auto lock = call.server().ring_settings.changing();
    call.server().scripts.flush();
    call.server().ring_settings.changed(SettingKind::flushed, {}, std::string());
  }
  answer_when_told(call, [](Reply& reply) { reply.ok(); });
}

void script_debug(SessionCall& call) {
  call.reply.error("there is no debugger for scripts");
}

// Scripts run on several threads: all that pause, which is what clients can see of them.
void kill(SessionCall& call, bool function) {
  Server& server = call.server();
  bool any = false, other = false, wrote = false;
  for (std::size_t i = 0; i < server.shards(); ++i) {
    auto& shown = server.worker({static_cast<std::uint16_t>(i)}).scripts().shown;
    if (!shown.paused.load(std::memory_order_acquire)) continue;
    if (shown.function.load(std::memory_order_relaxed) != function) {
      other = true;
    } else if (shown.wrote.load(std::memory_order_relaxed)) {
      wrote = true;
    } else {
      shown.kill.store(true, std::memory_order_release);
      any = true;
    }
  }
  if (any) return call.reply.ok();
  if (wrote) return call.reply.error(Errc::unkillable);
  if (!other) return call.reply.error(Errc::not_busy);
  call.reply.error(
      Error(Errc::busy, function ? "Gyre is busy running a script. You can only call SCRIPT "
                                   "KILL or SHUTDOWN NOSAVE."
                                 : "Gyre is busy running a function. You can only call "
                                   "FUNCTION KILL or SHUTDOWN NOSAVE."));
}

void script_kill(SessionCall& call) {
  kill(call, false);
}

// ---- FUNCTION

template <class F>
Result<void> change(SessionCall& call, F&& f) {
  return call.server().change_functions(f);
}

void answer(SessionCall& call, const Result<void>& done) {
  if (!done) return call.reply.error(done.error());
  answer_when_told(call, [](Reply& reply) { reply.ok(); });
}

void too_many(SessionCall& call) {
  call.reply.error("unknown subcommand or wrong number of arguments for '" +
                   std::string(call.args[1]) + "'. Try FUNCTION HELP.");
}

void function_load(SessionCall& call) {
  bool replace = false;
  for (const auto& word : call.args.subspan(2, call.args.size() - 3)) {
    if (!is_word(word, "replace"))
      return call.reply.error("Unknown option given: " + std::string(word));
    replace = true;
  }
  auto library = call.worker.scripts().interpreter().load_library(call.args.back());
  if (!library) return call.reply.error(library.error());
  const auto shared = std::make_shared<const Library>(std::move(*library));
  const auto done = change(call, [&](Libraries& all) { return all.add(shared, replace); });
  if (!done) return call.reply.error(done.error());
  answer_when_told(call, [shared](Reply& reply) { reply.bulk(shared->name); });
}

void function_delete(SessionCall& call) {
  answer(call, change(call, [&](Libraries& all) -> Result<void> {
           if (!all.remove(call.args[2])) return Error(Errc::err, "Library not found");
           return {};
         }));
}

void function_flush(SessionCall& call) {
  if (call.args.size() > 3) return too_many(call);
  if (!sync_or_async(call.args))
    return call.reply.error("FUNCTION FLUSH only supports SYNC|ASYNC option");
  answer(call, change(call, [](Libraries& all) -> Result<void> {
           all.by_name.clear();
           all.by_function.clear();
           return {};
         }));
}

void function_list(SessionCall& call) {
  bool with_code = false;
  std::optional<std::string_view> pattern;
  for (std::size_t i = 2; i < call.args.size(); ++i) {
    if (!with_code && is_word(call.args[i], "withcode")) {
      with_code = true;
    } else if (!pattern && is_word(call.args[i], "libraryname")) {
      if (++i == call.args.size()) return call.reply.error("library name argument was not given");
      pattern = call.args[i];
    } else {
      return call.reply.error("Unknown argument " + std::string(call.args[i]));
    }
  }
  const auto libraries = call.server().scripts.libraries();
  Reply& reply = call.reply;
  const std::size_t mark = reply.deferred();
  std::size_t shown = 0;
  for (const auto& [name, library] : libraries->by_name) {
    if (pattern && !glob_match(*pattern, name, true)) continue;
    ++shown;
    reply.map(with_code ? 4 : 3);
    reply.bulk("library_name");
    reply.bulk(name);
    reply.bulk("engine");
    reply.bulk("LUA");
    reply.bulk("functions");
    reply.array(library->functions.size());
    for (const Function& f : library->functions) {
      reply.map(3);
      reply.bulk("name");
      reply.bulk(f.name);
      reply.bulk("description");
      f.has_description ? reply.bulk(f.description) : reply.null();
      reply.bulk("flags");
      reply.set(f.flag_names.size());
      for (const std::string& flag : f.flag_names) reply.simple(flag);
    }
    if (!with_code) continue;
    reply.bulk("library_code");
    reply.bulk(library->code);
  }
  reply.finish_array(mark, shown);
}

void function_stats(SessionCall& call) {
  const std::function<WorkerScripts::Story(Worker&)> ask = [](Worker& w) {
    return w.scripts().story();
  };
  Server& server = call.server();
  ask_workers<WorkerScripts::Story>(call, ask, [&server](auto&& stories, Reply& reply) {
    reply.map(2);
    reply.bulk("running_script");
    const WorkerScripts::Story* running = nullptr;
    for (const auto& s : stories) {
      if (!s.name.empty()) running = &s;
    }
    if (running) {
      reply.map(3);
      reply.bulk("name");
      reply.bulk(running->name);
      reply.bulk("command");
      reply.array(running->command.size());
      for (const std::string& word : running->command) reply.bulk(word);
      reply.bulk("duration_ms");
      reply.integer(running->ms);
    } else {
      reply.null();
    }
    const auto libraries = server.scripts.libraries();
    reply.bulk("engines");
    reply.map(1);
    reply.bulk("LUA");
    reply.map(2);
    reply.bulk("libraries_count");
    reply.integer(static_cast<std::int64_t>(libraries->by_name.size()));
    reply.bulk("functions_count");
    reply.integer(static_cast<std::int64_t>(libraries->by_function.size()));
  });
}

void function_dump(SessionCall& call) {
  call.reply.bulk(dump_libraries(*call.server().scripts.libraries()));
}

void function_restore(SessionCall& call) {
  enum { append, flush, replace } policy = append;
  if (call.args.size() > 4) return too_many(call);
  if (call.args.size() == 4) {
    const std::string_view word = call.args[3];
    if (is_word(word, "flush")) {
      policy = flush;
    } else if (is_word(word, "replace")) {
      policy = replace;
    } else if (!is_word(word, "append")) {
      return call.reply.error(
          "Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.");
    }
  }
  const auto codes = read_dump(call.args[2]);
  if (!codes) return call.reply.error(codes.error());
  std::vector<std::shared_ptr<const Library>> libraries;
  for (const std::string& code : *codes) {
    auto library = call.worker.scripts().interpreter().load_library(code);
    if (!library) return call.reply.error(library.error());
    libraries.push_back(std::make_shared<const Library>(std::move(*library)));
  }
  answer(call, change(call, [&](Libraries& all) -> Result<void> {
           if (policy == flush) all = {};
           for (const auto& library : libraries) {
             if (policy != replace && all.by_name.contains(library->name))
               return Error(Errc::err, "Library " + library->name + " already exists");
             if (auto added = all.add(library, policy == replace); !added) return added;
           }
           return {};
         }));
}

void function_kill(SessionCall& call) {
  kill(call, true);
}

constexpr auto rows = std::to_array<SessionRow>({
    {"SCRIPT|LOAD", script_load},
    {"SCRIPT|EXISTS", script_exists},
    {"SCRIPT|FLUSH", script_flush},
    {"SCRIPT|KILL", script_kill},
    {"SCRIPT|DEBUG", script_debug},
    {"FUNCTION|LOAD", function_load},
    {"FUNCTION|DELETE", function_delete},
    {"FUNCTION|FLUSH", function_flush},
    {"FUNCTION|LIST", function_list},
    {"FUNCTION|STATS", function_stats},
    {"FUNCTION|DUMP", function_dump},
    {"FUNCTION|RESTORE", function_restore},
    {"FUNCTION|KILL", function_kill},
});

}  // namespace

std::span<const SessionRow> script_handlers() {
  return rows;
}

}  // namespace gyre
