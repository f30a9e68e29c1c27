// Keyspace notifications: the classes of events, by Redis' letters, and how one is published.
//
// Each event is published where its command runs, which is at the node that acts for the key: so
// once, and to the subscribers of every node. It tells that a command ran; whether its write
// reached its level is known later, and a read of the key waits for that as always.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/ids.h"
#include "shard/publisher.h"

namespace gyre {

namespace event {
inline constexpr std::uint32_t generic = 1u << 0, string = 1u << 1, list = 1u << 2, set = 1u << 3,
                               hash = 1u << 4, zset = 1u << 5, stream = 1u << 6, expired = 1u << 7,
                               evicted = 1u << 8, miss = 1u << 9, created = 1u << 10,
                               // Not classes: which channels are told.
    to_keyspace = 1u << 11, to_keyevent = 1u << 12;
}  // namespace event

// The wanted classes from notify-keyspace-events; 0 when no channel would be told.
std::uint32_t event_classes(std::string_view letters);

void publish_event(Publisher& to, std::uint32_t wanted, std::string_view name, std::string_view key,
                   std::size_t db);

}  // namespace gyre
