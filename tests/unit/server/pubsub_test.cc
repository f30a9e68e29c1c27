#include "server/pubsub.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace gyre {
namespace {

constexpr ShardIndex t0{0}, t1{1};

std::vector<std::string> heard(const Subscribers& at, ChannelKind kind, std::string_view channel,
                               const std::vector<const Subscriptions*>& clients) {
  std::vector<std::string> out;
  at.for_each(kind, channel, [&](Subscriptions& s, std::optional<std::string_view> pattern) {
    for (std::size_t i = 0; i < clients.size(); ++i) {
      if (clients[i] == &s)
        out.push_back(std::to_string(i) + (pattern ? ":" + std::string(*pattern) : ":"));
    }
  });
  return out;
}

TEST_CASE("pubsub: the directory knows how many listen, and on which threads") {
  ChannelDirectory directory;
  Subscribers first(directory, t0), second(directory, t1);
  Subscriptions a(nullptr), b(nullptr), c(nullptr);
  const auto reach = [&](std::string_view channel) {
    return directory.reach(ChannelKind::plain, channel);
  };
  CHECK(reach("news").clients == 0);
  CHECK(first.add(a, Listening::channel, "news"));
  CHECK(!first.add(a, Listening::channel, "news"));
  CHECK(first.add(b, Listening::channel, "news"));
  CHECK(reach("news").clients == 2);
  CHECK(reach("news").threads == 1);
  CHECK(second.add(c, Listening::channel, "news"));
  CHECK(reach("news").clients == 3);
  CHECK(reach("news").threads == 3);
  CHECK(directory.count(Listening::channel) == 1);
  CHECK(first.remove(a, Listening::channel, "news"));
  CHECK(!first.remove(a, Listening::channel, "news"));
  CHECK(reach("news").threads == 3);
  first.remove_all(b);
  CHECK(reach("news").clients == 1);
  CHECK(reach("news").threads == 2);
  second.remove_all(c);
  CHECK(reach("news").threads == 0);
  CHECK(directory.count(Listening::channel) == 0);
}

TEST_CASE("pubsub: an empty pattern is a pattern, and no channel") {
  ChannelDirectory directory;
  Subscribers first(directory, t0);
  Subscriptions a(nullptr);
  first.add(a, Listening::channel, "");
  CHECK(directory.names(Listening::channel, "*").size() == 1);
  first.remove(a, Listening::channel, "");
  first.add(a, Listening::pattern, "");
  first.add(a, Listening::pattern, "*");
  std::vector<std::optional<std::string_view>> by;
  first.for_each(ChannelKind::plain, "",
                 [&](Subscriptions&, std::optional<std::string_view> p) { by.push_back(p); });
  CHECK(by == std::vector<std::optional<std::string_view>>{std::string_view()});
}

TEST_CASE("pubsub: patterns count beside channels, shard channels apart") {
  ChannelDirectory directory;
  Subscribers first(directory, t0), second(directory, t1);
  Subscriptions a(nullptr), b(nullptr);
  first.add(a, Listening::pattern, "n*");
  first.add(a, Listening::pattern, "*s");
  first.add(a, Listening::channel, "news");
  second.add(b, Listening::pattern, "n*");
  second.add(b, Listening::shard, "news");
  CHECK(directory.count(Listening::pattern) == 2);
  CHECK(directory.reach(ChannelKind::plain, "news").clients == 4);
  CHECK(directory.reach(ChannelKind::plain, "news").threads == 3);
  CHECK(directory.reach(ChannelKind::plain, "nose").clients == 2);
  CHECK(directory.reach(ChannelKind::shard, "news").clients == 1);
  CHECK(directory.reach(ChannelKind::shard, "news").threads == 2);
  CHECK(directory.clients(Listening::channel, "news") == 1);
  CHECK(directory.clients(Listening::pattern, "n*") == 2);
  CHECK(directory.clients(Listening::shard, "news") == 1);
  CHECK(directory.names(Listening::channel, "*") == std::vector<std::string>{"news"});
  CHECK(directory.names(Listening::channel, "x*").empty());
  CHECK(a.told(Listening::channel) == 3);
  CHECK(b.told(Listening::shard) == 1);
  CHECK(b.total() == 2);
}

TEST_CASE(
    "pubsub: a thread's clients hear in the order in which they came, channel before pattern") {
  ChannelDirectory directory;
  Subscribers at(directory, t0);
  Subscriptions a(nullptr), b(nullptr), c(nullptr);
  at.add(a, Listening::pattern, "n*");
  at.add(c, Listening::channel, "news");
  at.add(b, Listening::channel, "news");
  at.add(a, Listening::channel, "news");
  at.add(b, Listening::shard, "news");
  using Lines = std::vector<std::string>;
  CHECK(heard(at, ChannelKind::plain, "news", {&a, &b, &c}) == Lines{"2:", "1:", "0:", "0:n*"});
  CHECK(heard(at, ChannelKind::shard, "news", {&a, &b, &c}) == Lines{"1:"});
  CHECK(heard(at, ChannelKind::plain, "other", {&a, &b, &c}).empty());
  at.remove(b, Listening::channel, "news");
  CHECK(heard(at, ChannelKind::plain, "news", {&a, &b, &c}) == Lines{"2:", "0:", "0:n*"});
  for (Subscriptions* s : {&a, &b, &c}) at.remove_all(*s);
  CHECK(heard(at, ChannelKind::plain, "news", {&a, &b, &c}).empty());
}

}  // namespace
}  // namespace gyre
