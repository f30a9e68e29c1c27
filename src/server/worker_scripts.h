// WorkerScripts: the scripts of one thread: where they run, and what the thread does meanwhile.
//
// A script runs on a stack of its own, at once, for up to a slice. Most end in it and the thread
// never notices. One that does not pauses there, between two of its instructions, and the loop goes
// round: peers are answered, new clients heard, and after each round the script gets its next
// slice. While it pauses the thread is held: no command runs on its shard (Engine::hold), clients
// wait, and when the script has run for busy-reply-threshold they are told BUSY, but for the
// commands that may end it.
//
// Three ways to run:
//   by the engine   all keys are of one shard: as any command there (Engine calls apart())
//   everywhere      on a node that is alone, keys of several threads: under the barrier, which is
//                   taken for each slice (those that come in one turn share the first); in
//                   between the other threads are held as well
//   here            without keys on a ring: it may call nothing that has keys
//
// Threading: the worker's thread, but what is atomic (others read it: SCRIPT KILL, INFO).
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "coordination/request.h"
#include "script/fibre.h"
#include "script/host.h"
#include "script/interpreter.h"
#include "server/connection.h"

namespace gyre {

class NodeScripts;
class Worker;

// EVALSHA becomes EVAL, for a node that may not know the script (server/script_route.cc).
void bring_text(OwnedCommand& command, const NodeScripts& scripts);
// How far a script has reached so far; of functions that is not known.
Reach reach_of(const CommandSpec& spec, Args args, const NodeScripts& scripts);

class WorkerScripts final : public ScriptHost {
 public:
  explicit WorkerScripts(Worker& worker);
  ~WorkerScripts() override;

  // Lua begins with the first script of the thread.
  Interpreter& interpreter();
  ScriptRunner& runner() { return runner_; }

  // ---- running
  void apart(const std::function<void()>& f);
  // Commands of a client, or one command, that reach all threads' keys (or, on a ring, no keys).
  void run_everywhere(const Ticket& ticket, Transaction&& commands, bool exec, int protocol);
  // At the end of each turn: those that came in it.
  void start_waiting();
  // After each turn of the loop: the next slice.
  void go_on();
  bool paused() const { return fibre_.paused(); }
  // The thread ends: so does the script.
  void stop();

  // ---- held by this thread's script or another's
  bool held() const { return held_; }
  bool busy() const;
  // A client's command has come while the thread is held. True: it may run.
  void wait(Connection& c) { waiting_clients_.push_back(c.id); }
  // By the thread whose script runs everywhere; this one stands at the barrier, or calls it itself.
  void set_held(bool held, WorkerScripts* by);
  bool remembers_for_good = false;  // SCRIPT LOAD
  // Clients that waited go on.
  void wake_clients();

  // ---- for others
  struct Shown {
    std::atomic<bool> paused{false}, wrote{false}, function{false}, kill{false};
    std::atomic<std::size_t> memory{0};
  };
  Shown shown;
  // Of the script that pauses (FUNCTION STATS); name empty: none.
  struct Story {
    std::string name;
    std::vector<std::string> command;
    std::int64_t ms = 0;
    bool function = false;
  };
  Story story() const;

  // ---- ScriptHost
  std::shared_ptr<const Program> program(std::string_view sha) override;
  void remember(const std::shared_ptr<const Program>& program) override;
  std::uint64_t generation() override;
  std::shared_ptr<const Libraries> libraries() override;
  void session(CommandContext& ctx, const CommandSpec& spec, Reply& reply) override;
  void called(const CommandSpec& spec, Args args, DbIndex db, bool failed) override;
  void failed(std::string_view error) override;
  void refused(const CommandSpec& spec) override;
  void denied(const ScriptRights& rights, const CommandSpec& spec, Args args) override;
  bool has_room() override;
  bool has_replicas() override;
  std::size_t databases() override;
  bool allows_all() override;
  bool breathe() override;

 private:
  // Makes the interpreter when it is asked for first.
  class Runner final : public ScriptRunner {
   public:
    explicit Runner(WorkerScripts& scripts) : scripts_(scripts) {}
    void run(CommandContext& ctx, ScriptKind kind, bool read_only) override {
      scripts_.interpreter().run(ctx, kind, read_only);
    }

   private:
    WorkerScripts& scripts_;
  };
  struct Everywhere {
    Ticket ticket;
    Transaction commands;
    bool exec = false;
    int protocol = 2;
    bool barrier = true;
    std::string reply{};
  };
  class WideGuard;

  void begin_slice();
  void after_slice();
  void start_everywhere();
  void run_commands_everywhere();
  void begin_everywhere();
  void slice_everywhere();
  void run_slices();
  void run_slice();
  void end_everywhere();
  void hold_all(bool held);
  void publish_state();

  Worker& worker_;
  Runner runner_{*this};
  std::unique_ptr<Interpreter> interpreter_;
  Fibre fibre_;
  Connection script_client_;           // what session commands of a script run for
  std::deque<Everywhere> everywhere_;  // the first one runs, when running_everywhere_
  bool running_everywhere_ = false;
  bool reaches_all_ = false;  // what runs now may reach every thread's keys
  std::int64_t began_ms_ = 0, slice_began_us_ = 0;
  bool busy_ = false;
  bool held_ = false;
  WorkerScripts* held_by_ = nullptr;
  std::vector<std::uint64_t> waiting_clients_;
};

}  // namespace gyre
