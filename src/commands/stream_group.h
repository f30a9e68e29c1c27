// What a command changes in one consumer group, gathered into one effect: each element once, in its
// last state.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "commands/stream_common.h"

namespace gyre::streams {

// A delivery as it stands for the running command.
struct Pending {
  UnixMs at = 0;
  std::uint64_t count = 0;
  std::string_view consumer;
};

class GroupWrite {
 public:
  // The key is a stream that is there, and outlives this.
  GroupWrite(CommandContext& ctx, const KeyRef& key, std::string_view group)
      : ctx_(ctx), key_(key), stream_(*of(key)), group_(group) {}

  void set_group(const StreamGroup& group) { state_ = group; }
  void set_pending(StreamId id, const Pending& delivery) { pending_[id] = delivery; }
  void remove_pending(StreamId id) { pending_[id] = std::nullopt; }
  // What is pending under an id, with what was changed here.
  std::optional<Pending> pending(StreamId id) const;
  // The consumer does something now; it is made when there is none.
  void see_consumer(std::string_view name);
  // Whether the consumer is there, or was made here.
  bool knows_consumer(std::string_view name) const {
    return seen_.has_value() || stream_.consumer(group_, name).has_value();
  }
  void commit();

 private:
  CommandContext& ctx_;
  const KeyRef& key_;
  const StreamCollection& stream_;
  std::string_view group_;
  std::optional<StreamGroup> state_;
  std::map<StreamId, std::optional<Pending>> pending_;
  std::optional<std::string_view> seen_;
};

// The group, or nothing after Redis' NOGROUP error for it.
std::optional<StreamGroup> group_of(CommandContext& ctx, const KeyRef& key, std::string_view name);

}  // namespace gyre::streams
