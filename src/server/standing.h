// Standing: commands and transactions of a node that is alone whose keys are of several threads, or
// which reach all keys. They run here while all other threads stand still.
//
// All that wait here run together, because to have the others stand costs more than most of them
// do. A client's next command is taken up as soon as its last one has run, so that a pipeline of
// transactions runs in one go. What is left after slice_us waits for the next time: the others go
// on in between.
//
// Durability: Worker::with_barrier.
// Bounds: one of each client. Threading: its worker's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>

#include "resp/reply.h"
#include "server/connection.h"

namespace gyre {

class Worker;

class Standing {
 public:
  using Job = std::function<void(Connection&, Reply&)>;

  explicit Standing(Worker& worker) : worker_(worker) {}

  // How long others stand for what waits together; more goes on after they had their turn.
  static constexpr std::int64_t slice_us = 1000;

  // The client's next commands wait until it has run. acting: the client, if it tracks; else 0.
  void add(Connection& c, std::uint64_t acting, Job job);
  // At the end of each turn.
  void run();

 private:
  struct Waiting {
    std::uint64_t client, place, acting;
    Job job;
  };

  void run_slice();

  Worker& worker_;
  std::deque<Waiting> waiting_;
};

}  // namespace gyre
