// RingChannels: what PUBSUB and PUBLISH tell of the whole ring. Each node knows its own subscribers
// alone (server/pubsub.h), so the others are asked; who does not answer within `within_ms` is left
// out.
//
// One for each worker; questions go to thread 0 of a peer. At most asked_max wait for answers; then
// this node's part is the answer. Threading: its worker's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "server/pubsub.h"
#include "wire/messages.h"

namespace gyre {

class Worker;

// Of this node's directory: how many listen to each of the names, or without names which of all
// names match the pattern.
struct ChannelsQuestion {
  Listening what{};
  bool counts = false;
  std::string pattern;
  std::vector<std::string> names;
};
struct ChannelsFound {
  std::vector<std::uint64_t> counts;
  std::set<std::string> names;
};

class RingChannels {
 public:
  static constexpr std::int64_t within_ms = 1000;
  static constexpr std::size_t asked_max = 100'000;
  using Done = std::function<void(ChannelsFound&&)>;

  explicit RingChannels(Worker& worker) : worker_(worker) {}

  // What this node knows.
  ChannelsFound here(const ChannelsQuestion& question) const;
  // Who else can be asked: peers that are up.
  std::set<std::uint16_t> others() const;
  // done: later, unless there is nobody to be asked.
  void ask(const ChannelsQuestion& question, Done done);
  // What `then` gives is told how many clients of the ring the message was for, as the only count.
  // It is asked when the message has been delivered here, to who publishes as well.
  void publish(std::string_view channel, std::string_view message,
               const std::function<Done()>& then);
  void on_ask(NodeIndex from, const ChannelsAsk& m);
  void on_answer(NodeIndex from, const ChannelsAnswer& m);
  void tick();

 private:
  struct Asked {
    ChannelsFound found;
    std::set<std::uint16_t> peers;  // that have not answered
    SteadyMs until = 0;
    Done done;
  };

  void wait(std::uint64_t id, Asked&& asked);

  Worker& worker_;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, Asked> asked_;
};

}  // namespace gyre
