// Import: the keys of an RDB file go through thread 0 as RESTORE commands, as a client would send
// them: to whoever acts for each slot, at the node's own levels; its functions are loaded into this
// node. (--import)
//
// Happy path: open() checks the whole file before the node serves -> step() once it does, at every
// tick: so many keys are out at a time -> the log tells how far it is and how it ended. Failures: a
// file that is damaged or too new ends the start, with the reason; a key that is refused (memory,
// no quorum, a database that is not there) is counted, and the first reasons are logged; the rest
// goes on.
//
// Threading: thread 0 alone. Owns the mapped file until it is through.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace gyre {

class Worker;

class Import {
 public:
  Import();
  ~Import();
  // Nothing is sent yet. An error: the file is not there, or no whole RDB file.
  Result<void> open(const std::string& path);
  bool due() const { return file_ != nullptr; }
  void step(Worker& worker);

 private:
  static constexpr std::size_t out_most = 512;  // keys that are on their way
  static constexpr std::size_t keys_a_step = 256;
  struct File;

  void go_on(Worker& worker);
  void sent(std::string_view reply);
  void take_functions(Worker& worker);
  void end();

  std::unique_ptr<File> file_;
  std::string path_;
  SteadyMs began_ = 0, told_ = 0;
  std::size_t out_ = 0;
  std::size_t functions_seen_ = 0, functions_ = 0;  // of the file; of these, loaded
  bool posted_ = false;
  std::uint64_t keys_ = 0, expired_ = 0, failed_ = 0;
};

}  // namespace gyre
