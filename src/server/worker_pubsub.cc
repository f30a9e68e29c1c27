// Publishing, as a thread does it: its own subscribers at once, those of the node's other threads
// by mail, those of other nodes by the bus (a node that hears of a message passes it to its own
// threads alone).
//
// A message is written once for each protocol and pattern, however many clients get it.

#include "server/server.h"
#include "server/worker.h"

namespace gyre {
namespace {

struct Message {
  ChannelKind kind;
  std::string channel, bytes;
};

// The frames of one message, made when the first client needs them.
class Frames {
 public:
  Frames(ChannelKind kind, std::string_view channel, std::string_view message)
      : kind_(kind), channel_(channel), message_(message) {}

  const std::string& of(int protocol, std::optional<std::string_view> pattern) {
    std::string& frame = frames_[protocol == 3];
    if (pattern != pattern_) {
      for (std::string& f : frames_) f.clear();
      pattern_ = pattern;
    }
    if (!frame.empty()) return frame;
    Reply reply(frame, protocol);
    reply.push(pattern ? 4 : 3);
    if (!pattern) {
      reply.bulk(kind_ == ChannelKind::shard ? "smessage" : "message");
    } else {
      reply.bulk("pmessage");
      reply.bulk(*pattern);
    }
    reply.bulk(channel_);
    reply.bulk(message_);
    return frame;
  }

 private:
  ChannelKind kind_;
  std::string_view channel_, message_;
  std::optional<std::string_view> pattern_;
  std::array<std::string, 2> frames_;
};

}  // namespace

std::uint64_t Worker::publish(ChannelKind kind, std::string_view channel,
                              std::string_view message) {
  std::set<std::uint16_t> peers;
  return publish_asking(kind, channel, message, 0, peers);
}

std::uint64_t Worker::publish_asking(ChannelKind kind, std::string_view channel,
                                     std::string_view message, std::uint64_t id,
                                     std::set<std::uint16_t>& peers) {
  metrics_.pubsub_published.add();
  if (!server_.alone()) publish_to_peers(kind, channel, message, id, peers);
  return publish_here(kind, channel, message);
}

std::uint64_t Worker::listeners(ChannelKind kind, std::string_view channel) {
  return server_.channels.reach(kind, channel).clients;
}

std::uint64_t Worker::publish_here(ChannelKind kind, std::string_view channel,
                                   std::string_view message) {
  const ChannelDirectory::Reach reach = server_.channels.reach(kind, channel);
  std::shared_ptr<const Message> copy;
  for (std::uint64_t left = reach.threads; left != 0; left &= left - 1) {
    const ShardIndex thread{static_cast<std::uint16_t>(std::countr_zero(left))};
    if (thread == shard_) {
      deliver(kind, channel, message);
      continue;
    }
    if (!copy)
      copy = std::make_shared<Message>(Message{kind, std::string(channel), std::string(message)});
    send_mail(thread, [copy](Worker& w) { w.deliver(copy->kind, copy->channel, copy->bytes); });
  }
  return reach.clients;
}

void Worker::deliver(ChannelKind kind, std::string_view channel, std::string_view message) {
  Frames frames(kind, channel, message);
  subscribers_.for_each(kind, channel,
                        [&](Subscriptions& s, std::optional<std::string_view> pattern) {
                          metrics_.pubsub_delivered.add();
                          push(*s.connection, frames.of(s.connection->protocol, pattern));
                        });
}

// What a client does not read is bounded at once, not with the next look at all clients: one turn
// can hold many messages.
void Worker::push(Connection& c, std::string_view bytes) {
  if (!c.is_open() || c.closing || c.doomed) return;
  c.push(bytes);
  const auto& limit = output_limits_[static_cast<std::size_t>(c.output_class())];
  if (limit.hard_bytes == 0) return;
  const auto hard = static_cast<std::size_t>(limit.hard_bytes);
  if (c.output_bytes() <= hard) return;
  if (!c.begun() && loaded_) c.flush(engine_->persisted_turn());  // perhaps it does read
  if (c.output_bytes() <= hard) return;
  c.doomed = true;
  doomed_.push_back(c.id);
}

void Worker::close_doomed() {
  for (const std::uint64_t id : doomed_) {
    if (Connection* c = find(id)) over_output_limit(*c);
  }
  doomed_.clear();
}

void Worker::publish_to_peers(ChannelKind kind, std::string_view channel, std::string_view message,
                              std::uint64_t id, std::set<std::uint16_t>& peers) {
  if (!loaded_) return;
  const auto bound = static_cast<std::size_t>(server_.config().publish_backlog_max.get());
  for (std::size_t i = 0; i < links_.size(); ++i) {
    const NodeIndex peer{static_cast<std::uint16_t>(i)};
    if (peer == server_.self()) continue;
    const Engine::PeerView& view = engine_->peer(peer);
    if (!view.up || engine_->outbox_bytes(peer) + channel.size() + message.size() > bound) {
      metrics_.pubsub_undelivered.add();
      continue;
    }
    if (id != 0) peers.insert(peer.value);
    Publish m;
    m.id = id;
    m.from_shard = shard_.value;
    m.channel_kind = static_cast<std::uint8_t>(kind);
    m.channel = channel;
    m.message = message;
    engine_->send(peer, static_cast<std::uint16_t>(shard_.value % view.threads), m);
  }
}

void Worker::published_elsewhere(NodeIndex from, const Publish& m) {
  const std::uint64_t clients =
      publish_here(static_cast<ChannelKind>(m.channel_kind), m.channel, m.message);
  if (m.id == 0) return;
  ChannelsAnswer answer;
  answer.id = m.id;
  answer.counts = {clients};
  engine_->send(from, m.from_shard, answer);
}

}  // namespace gyre
