// Publisher: where commands hand over messages to channels. Who listens is not their concern.
#pragma once

#include <cstdint>
#include <string_view>

namespace gyre {

enum class ChannelKind : std::uint8_t { plain, shard };  // PUBLISH, SPUBLISH; travels between nodes

class Publisher {
 public:
  virtual ~Publisher() = default;
  // To every subscriber, on whichever thread and node it is. Returns how many clients of this node
  // it is for, a client once for each of its subscriptions.
  virtual std::uint64_t publish(ChannelKind kind, std::string_view channel,
                                std::string_view message) = 0;
  // What it would return now.
  virtual std::uint64_t listeners(ChannelKind, std::string_view /*channel*/) { return 0; }
};

}  // namespace gyre
