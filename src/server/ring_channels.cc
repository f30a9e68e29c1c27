#include "server/ring_channels.h"

#include "server/server.h"
#include "server/worker.h"

namespace gyre {

ChannelsFound RingChannels::here(const ChannelsQuestion& question) const {
  const ChannelDirectory& all = worker_.server().channels;
  ChannelsFound found;
  for (const std::string& name : question.names)
    found.counts.push_back(all.clients(question.what, name));
  if (question.counts) return found;
  for (std::string& name : all.names(question.what, question.pattern))
    found.names.insert(std::move(name));
  return found;
}

std::set<std::uint16_t> RingChannels::others() const {
  const Server& server = worker_.server();
  std::set<std::uint16_t> up;
  if (server.alone() || server.loading()) return up;
  for (std::uint16_t i = 0; i < server.ring().nodes().size(); ++i) {
    if (NodeIndex{i} != server.self() && worker_.engine().peer({i}).up) up.insert(i);
  }
  return up;
}

void RingChannels::ask(const ChannelsQuestion& question, Done done) {
  Asked asked{.found = here(question),
              .peers = others(),
              .until = worker_.now_ms() + within_ms,
              .done = std::move(done)};
  if (asked_.size() >= asked_max) asked.peers.clear();
  ChannelsAsk m;
  m.id = next_id_++;
  m.from_shard = worker_.shard().value;
  m.listening = static_cast<std::uint8_t>(question.what);
  m.counts = question.counts;
  m.pattern = question.pattern;
  m.names.assign(question.names.begin(), question.names.end());
  for (const std::uint16_t peer : asked.peers) worker_.engine().send({peer}, 0, m);
  wait(m.id, std::move(asked));
}

void RingChannels::publish(std::string_view channel, std::string_view message,
                           const std::function<Done()>& then) {
  Asked asked;
  asked.until = worker_.now_ms() + within_ms;
  const std::uint64_t id = asked_.size() < asked_max ? next_id_++ : 0;
  asked.found.counts = {
      worker_.publish_asking(ChannelKind::plain, channel, message, id, asked.peers)};
  if (id == 0) asked.peers.clear();
  asked.done = then();
  wait(id, std::move(asked));
}

void RingChannels::wait(std::uint64_t id, Asked&& asked) {
  if (asked.peers.empty()) return asked.done(std::move(asked.found));
  asked_.emplace(id, std::move(asked));
}

void RingChannels::on_ask(NodeIndex from, const ChannelsAsk& m) {
  ChannelsQuestion question{static_cast<Listening>(m.listening),
                            m.counts,
                            std::string(m.pattern),
                            {m.names.begin(), m.names.end()}};
  const ChannelsFound found = here(question);
  ChannelsAnswer answer;
  answer.id = m.id;
  answer.counts = found.counts;
  answer.names.assign(found.names.begin(), found.names.end());
  worker_.engine().send(from, m.from_shard, answer);
}

void RingChannels::on_answer(NodeIndex from, const ChannelsAnswer& m) {
  const auto at = asked_.find(m.id);
  if (at == asked_.end() || at->second.peers.erase(from.value) == 0) return;
  Asked& asked = at->second;
  for (std::size_t i = 0; i < std::min(asked.found.counts.size(), m.counts.size()); ++i)
    asked.found.counts[i] += m.counts[i];
  asked.found.names.insert(m.names.begin(), m.names.end());
  if (!asked.peers.empty()) return;
  Asked whole = std::move(asked);
  asked_.erase(at);
  whole.done(std::move(whole.found));
}

void RingChannels::tick() {
  const SteadyMs now = worker_.now_ms();
  for (auto at = asked_.begin(); at != asked_.end();) {
    std::erase_if(at->second.peers,
                  [&](std::uint16_t peer) { return !worker_.engine().peer({peer}).up; });
    if (!at->second.peers.empty() && now < at->second.until) {
      ++at;
      continue;
    }
    Asked over = std::move(at->second);
    at = asked_.erase(at);
    over.done(std::move(over.found));
  }
}

}  // namespace gyre
