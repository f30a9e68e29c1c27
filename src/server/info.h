// INFO: figures about this node as Redis' tools read them, in sections of field:value lines.
//
// A field is here only when it is true: measured, or a constant of Redis that holds for Gyre too
// (role:master, no scripts, no forks). What Redis measures and Gyre does not is left out.
//
// Threading: any; what workers count is read as it stands, each number whole.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "resp/request.h"

namespace gyre {

class Server;
class Worker;

// Error replies by their prefix (INFO errorstats), of one worker. Bounded: clients choose what
// fails, but the prefixes are ours (DEBUG ERROR aside), and past the bound new ones are not
// counted.
class ErrorCounts {
 public:
  static constexpr std::size_t prefixes_max = 128;

  // reply: "-WRONGTYPE Operation ...", with or without its dash.
  void note(std::string_view reply);
  void add_to(std::map<std::string, std::uint64_t>& sums) const;
  void reset();

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t, std::less<>> counts_;
};

// The rates of the last seconds (instantaneous_*) and the peak of memory. Somebody calls sample()
// about ten times a second from one thread; while nobody does, INFO leaves the rates out.
class InfoSampler {
 public:
  struct Rates {
    bool known = false;
    double commands = 0, input_kb = 0, output_kb = 0;  // per second
  };
  void sample(Server& server);
  Rates rates() const;
  // Also takes `now` into account.
  std::uint64_t memory_peak(std::uint64_t now);

 private:
  static constexpr std::size_t kept = 16;          // Redis' window
  static constexpr std::size_t memory_every = 10;  // samples
  struct Sample {
    SteadyMs at = 0;
    std::uint64_t commands = 0, input = 0, output = 0;
  };
  mutable std::mutex mutex_;
  std::array<Sample, kept> samples_{};
  std::size_t taken_ = 0;
  std::uint64_t memory_peak_ = 0;
};

// The text of INFO with these section names (none: the default ones). cluster_aware: as the
// connection that asks sees the node.
std::string info_text(Worker& worker, Args sections, bool cluster_aware);

// CONFIG RESETSTAT, the part of this worker.
void reset_statistics(Worker& worker);

}  // namespace gyre
