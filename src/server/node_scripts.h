// NodeScripts: what the node knows of scripts, for all its threads: their texts by SHA1, how far
// they reach, and the libraries of functions.
//
// Of those that EVAL brought the oldest are forgotten beyond evaluated_max; those of SCRIPT LOAD
// stay until SCRIPT FLUSH. Libraries are a value that a change replaces.
//
// Threading: any; a lock for each question. Scripts in other threads go on with what they hold.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "script/library.h"
#include "script/program.h"

namespace gyre {

class NodeScripts {
 public:
  static constexpr std::size_t evaluated_max = 10'000;

  std::shared_ptr<const Program> find(const std::string& sha) const;
  // stay: until all are flushed.
  void remember(const std::shared_ptr<const Program>& program, bool stay);
  void flush();
  std::uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  std::size_t count() const;
  std::size_t bytes() const;  // of their texts

  Reach reach(const std::string& sha) const;
  void set_reach(const std::string& sha, Reach reach);

  std::shared_ptr<const Libraries> libraries() const;
  // Replaces them, unless somebody else has since `before` was taken.
  bool replace(const std::shared_ptr<const Libraries>& before, Libraries now);

  // Scripts that pause now, on all threads.
  std::atomic<int> paused{0};

 private:
  struct Kept {
    std::shared_ptr<const Program> program;
    bool stays = false;
    Reach reach = Reach::unknown;
  };

  mutable std::mutex mutex_;
  std::unordered_map<std::string, Kept> programs_;
  std::deque<std::string> evaluated_;  // oldest first
  std::size_t bytes_ = 0;
  std::atomic<std::uint64_t> generation_{1};
  std::shared_ptr<const Libraries> libraries_ = std::make_shared<Libraries>();
};

}  // namespace gyre
