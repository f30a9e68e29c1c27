#include "shard/key_events.h"

#include <array>
#include <string>
#include <utility>

namespace gyre {
namespace {

constexpr std::uint32_t all = event::generic | event::string | event::list | event::set |
                              event::hash | event::zset | event::stream | event::expired |
                              event::evicted;
constexpr auto letters_of = std::to_array<std::pair<char, std::uint32_t>>({
    {'A', all},
    {'g', event::generic},
    {'$', event::string},
    {'l', event::list},
    {'s', event::set},
    {'h', event::hash},
    {'z', event::zset},
    {'t', event::stream},
    {'x', event::expired},
    {'e', event::evicted},
    {'m', event::miss},
    {'n', event::created},
    {'K', event::to_keyspace},
    {'E', event::to_keyevent},
});

}  // namespace

std::uint32_t event_classes(std::string_view letters) {
  std::uint32_t wanted = 0;
  for (const char c : letters) {
    for (const auto& [letter, classes] : letters_of) {
      if (letter == c) wanted |= classes;
    }
  }
  return wanted & (event::to_keyspace | event::to_keyevent) ? wanted : 0;
}

void publish_event(Publisher& to, std::uint32_t wanted, std::string_view name, std::string_view key,
                   std::size_t db) {
  const auto channel = [&](std::string_view kind, std::string_view what) {
    std::string text;
    text.reserve(kind.size() + what.size() + 8);
    return text.append(kind).append(std::to_string(db)).append("__:").append(what);
  };
  if (wanted & event::to_keyspace)
    to.publish(ChannelKind::plain, channel("__keyspace@", key), name);
  if (wanted & event::to_keyevent)
    to.publish(ChannelKind::plain, channel("__keyevent@", name), key);
}

}  // namespace gyre
