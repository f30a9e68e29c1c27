// SUBSCRIBE and its kin, PUBSUB, MONITOR: what a client listens to.
//
// Each name is answered by a message of its own. These are pushes: CLIENT REPLY OFF does not
// silence them. Inside EXEC they are the command's reply, as in Redis.

#include <array>

#include "commands/parse.h"
#include "server/ring_channels.h"
#include "server/session_parts.h"

namespace gyre {
namespace {

// One confirmation. No name: there was nothing to leave.
void confirm(SessionCall& call, std::string_view what, std::optional<std::string_view> name,
             std::size_t count) {
  std::string frame;
  Reply reply(frame, call.connection.protocol);
  reply.push(3);
  reply.bulk(what);
  name ? reply.bulk(*name) : reply.null();
  reply.integer(static_cast<std::int64_t>(count));
  call.inside_exec ? call.reply.raw(frame) : call.connection.push(frame);
}

Subscriptions& subscriptions_of(Connection& c) {
  if (!c.subscriptions) c.subscriptions = std::make_unique<Subscriptions>(&c);
  return *c.subscriptions;
}

void listen(SessionCall& call, Listening what, std::string_view told) {
  Subscriptions& s = subscriptions_of(call.connection);
  const auto most = static_cast<std::size_t>(call.server().config().subscriptions_max.get());
  if (s.total() + call.args.size() - 1 > most)
    return call.reply.error("too many subscriptions of one client (subscriptions-max)");
  for (const std::string_view name : call.args.subspan(1)) {
    call.worker.subscribers().add(s, what, name);
    confirm(call, told, name, s.told(what));
  }
}

void leave(SessionCall& call, Listening what, std::string_view told) {
  Subscriptions& s = subscriptions_of(call.connection);
  if (call.args.size() > 1) {
    for (const std::string_view name : call.args.subspan(1)) {
      call.worker.subscribers().remove(s, what, name);
      confirm(call, told, name, s.told(what));
    }
    return;
  }
  if (s.count(what) == 0) return confirm(call, told, std::nullopt, s.told(what));
  while (s.count(what) > 0) {
    const std::string name = *s.of(what).begin();
    call.worker.subscribers().remove(s, what, name);
    confirm(call, told, name, s.told(what));
  }
}

void subscribe(SessionCall& call) {
  listen(call, Listening::channel, "subscribe");
}

void psubscribe(SessionCall& call) {
  listen(call, Listening::pattern, "psubscribe");
}

void ssubscribe(SessionCall& call) {
  if (call.inside_exec)
    return call.reply.error("SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
  listen(call, Listening::shard, "ssubscribe");
}

void unsubscribe(SessionCall& call) {
  leave(call, Listening::channel, "unsubscribe");
}

void punsubscribe(SessionCall& call) {
  leave(call, Listening::pattern, "punsubscribe");
}

void sunsubscribe(SessionCall& call) {
  leave(call, Listening::shard, "sunsubscribe");
}

// ---- of the whole ring

// The answer when it comes, in its place among the client's others.
RingChannels::Done in_place(SessionCall& call,
                            std::function<void(ChannelsFound&&, Reply&)> answer) {
  return [&home = call.worker, place = call.later(), client = call.connection.id,
          protocol = call.reply.protocol(), answer = std::move(answer)](ChannelsFound&& found) {
    std::string out;
    Reply reply(out, protocol);
    answer(std::move(found), reply);
    finish_later(home, client, place, std::move(out));
  };
}

// Inside of a script, where no reply comes later, of this node.
void ask_ring(SessionCall& call, const ChannelsQuestion& question,
              std::function<void(ChannelsFound&&, Reply&)> answer) {
  RingChannels& channels = call.worker.ring_channels();
  if (channels.others().empty() || (call.inside_exec && !call.instead))
    return answer(channels.here(question), call.reply);
  channels.ask(question, in_place(call, std::move(answer)));
}

void list_names(SessionCall& call, Listening what) {
  if (call.args.size() > 3) return call.reply.error(wrong_subcommand(call.args));
  const std::string_view pattern = call.args.size() == 3 ? call.args[2] : "*";
  ask_ring(call, {what, false, std::string(pattern), {}}, [](ChannelsFound&& found, Reply& reply) {
    reply.array(found.names.size());
    for (const std::string& name : found.names) reply.bulk(name);
  });
}

void count_clients(SessionCall& call, Listening what) {
  const Args args = call.args.subspan(2);
  const std::vector<std::string> names(args.begin(), args.end());
  ask_ring(call, {what, true, {}, names}, [names](ChannelsFound&& found, Reply& reply) {
    reply.array(2 * names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      reply.bulk(names[i]);
      reply.integer(static_cast<std::int64_t>(found.counts[i]));
    }
  });
}

void channels(SessionCall& call) {
  list_names(call, Listening::channel);
}

void shard_channels(SessionCall& call) {
  list_names(call, Listening::shard);
}

void numsub(SessionCall& call) {
  count_clients(call, Listening::channel);
}

void shard_numsub(SessionCall& call) {
  count_clients(call, Listening::shard);
}

void numpat(SessionCall& call) {
  ask_ring(call, {Listening::pattern, false, "*", {}}, [](ChannelsFound&& found, Reply& reply) {
    reply.integer(static_cast<std::int64_t>(found.names.size()));
  });
}

// A second MONITOR is not answered, as in Redis.
void monitor(SessionCall& call) {
  if (call.inside_exec) return call.reply.error("MONITOR isn't allowed for DENY BLOCKING client");
  if (call.connection.monitoring) return;
  call.worker.monitor(call.connection, true);
  call.reply.ok();
}

constexpr auto rows = std::to_array<SessionRow>({
    {"SUBSCRIBE", subscribe},
    {"UNSUBSCRIBE", unsubscribe},
    {"PSUBSCRIBE", psubscribe},
    {"PUNSUBSCRIBE", punsubscribe},
    {"SSUBSCRIBE", ssubscribe},
    {"SUNSUBSCRIBE", sunsubscribe},
    {"MONITOR", monitor},
    {"PUBSUB|CHANNELS", channels},
    {"PUBSUB|NUMSUB", numsub},
    {"PUBSUB|NUMPAT", numpat},
    {"PUBSUB|SHARDCHANNELS", shard_channels},
    {"PUBSUB|SHARDNUMSUB", shard_numsub},
});

}  // namespace

// PUBLISH of a client; the function of commands/pubsub.cc serves EXEC and scripts.
void publish_on_ring(SessionCall& call) {
  RingChannels& channels = call.worker.ring_channels();
  const auto count = [](ChannelsFound&& found, Reply& reply) {
    reply.integer(static_cast<std::int64_t>(found.counts.front()));
  };
  channels.publish(call.args[1], call.args[2], [&] {
    call.connection.end(0);  // its own message comes before the count
    return in_place(call, count);
  });
}

std::span<const SessionRow> pubsub_handlers() {
  return rows;
}

}  // namespace gyre
