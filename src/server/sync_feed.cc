#include "server/sync_feed.h"

#include <fcntl.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include <sys/stat.h>

#include "base/log.h"
#include "config/config.h"
#include "server/connection.h"
#include "server/server.h"
#include "server/worker.h"

namespace gyre {
namespace {

constexpr std::size_t piece_bytes = std::size_t{256} << 10;
constexpr std::uint64_t look_ms = 50;        // for more in a file that grows
constexpr SteadyMs newline_every_ms = 1000;  // well below the time-outs of tools
constexpr std::string_view ping = "*1\r\n$4\r\nPING\r\n";

std::string end_mark(Random& random) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string mark;
  while (mark.size() < 40) mark += digits[random.next() >> 60];
  return mark;
}

}  // namespace

// ---- one thread's clients

Loop& SyncFeeds::worker_loop(Worker& worker) {
  return worker.loop();
}

void SyncFeeds::say(Connection& c, std::string_view bytes) {
  c.push(bytes);
  worker_.metrics().total_net_repl_output_bytes.add(bytes.size());
  c.feed->said = worker_.now_ms();
}

void SyncFeeds::begin(Connection& c) {
  SyncFeed& feed = *c.feed;
  feed.stage = SyncFeed::Stage::waiting;
  feed.begun = false;
  feed.at = 0;
  feed.said = worker_.now_ms();
  c.suspend();
  clients_.push_back(c.id);
  if (!timer_.active()) {
    timer_.start(look_ms, look_ms, [this] {
      worker_.timer_ran();
      tick();
    });
  }
  Server& server = worker_.server();
  server.sync_queue().note(c.id, {c.peer_address(), feed.port, "wait_bgsave"});
  worker_.send_mail(
      {0}, [shard = worker_.shard(), client = c.id, content = feed.content](Worker& first) {
        first.server().sync_queue().join(first, shard, client, content);
      });
}

void SyncFeeds::attach(std::uint64_t client, std::shared_ptr<const SyncSource> source,
                       const std::string& error) {
  Connection* c = worker_.find(client);
  if (!c || !c->feed || c->feed->stage != SyncFeed::Stage::waiting) return;
  if (!source) return fail(*c, error);
  c->feed->source = std::move(source);
  c->feed->stage = SyncFeed::Stage::sending;
  c->feed->moved = worker_.now_ms();
  worker_.metrics().sync_full.add();
  worker_.server().sync_queue().note(c->id, {c->peer_address(), c->feed->port, "send_bulk"});
  pump(*c);
}

void SyncFeeds::fail(Connection& c, const std::string& error) {
  LOG_WARNING("SYNC of %s failed: %s", c.peer_address().c_str(), error.c_str());
  if (c.feed->begun) return worker_.closed(c);  // within the file an error cannot be told
  std::string out;
  Reply(out, 2).error(error);
  say(c, out);
  end(c);
  c.closing = true;
}

void SyncFeeds::pump(Connection& c) {
  if (!c.feed || c.feed->stage != SyncFeed::Stage::sending || c.output_bytes() > 0) return;
  SyncFeed& feed = *c.feed;
  const SyncSource& source = *feed.source;
  // Before its size: what is whole does not grow any more.
  const SyncSource::State state = source.state.load(std::memory_order_acquire);
  if (state == SyncSource::State::failed) return fail(c, "the snapshot could not be written");
  const bool whole = state == SyncSource::State::whole;
  if (!whole && !feed.takes_eof) return;
  struct stat info {};
  if (::fstat(source.file.get(), &info) != 0) return fail(c, std::strerror(errno));
  const auto size = static_cast<std::uint64_t>(info.st_size);
  std::string out;
  if (!feed.begun) {
    if (feed.takes_eof) feed.mark = end_mark(worker_.random());
    out = feed.takes_eof ? "$EOF:" + feed.mark : "$" + std::to_string(size);
    out += "\r\n";
  }
  const std::size_t head = out.size();
  const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(piece_bytes, size - feed.at));
  out.resize(head + want);
  for (std::size_t got = 0; got < want;) {
    const ssize_t n = ::pread(source.file.get(), out.data() + head + got, want - got,
                              static_cast<off_t>(feed.at + got));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(c, n < 0 ? std::strerror(errno) : "the file has become shorter");
    got += static_cast<std::size_t>(n);
  }
  feed.at += want;
  feed.begun = true;
  const bool last = whole && feed.at == size;
  if (last) out += feed.mark;
  if (out.empty()) return;
  // The next piece comes from the disk before it is asked for, as far as there is memory.
  ::posix_fadvise(source.file.get(), static_cast<off_t>(feed.at), piece_bytes, POSIX_FADV_WILLNEED);
  say(c, out);
  feed.moved = worker_.now_ms();
  if (last) return finish(c);
  // A socket that takes it all at the end of this turn tells nobody.
  worker_.post([client = c.id](Worker& w) {
    if (Connection* again = w.find(client)) w.sync_feeds().pump(*again);
  });
}

void SyncFeeds::finish(Connection& c) {
  SyncFeed& feed = *c.feed;
  feed.stage = SyncFeed::Stage::sent;
  feed.source.reset();
  LOG_NOTICE("%s was sent a snapshot of %llu bytes; changes after it are not sent",
             c.peer_address().c_str(), static_cast<unsigned long long>(feed.at));
  worker_.server().sync_queue().note(c.id, {c.peer_address(), feed.port, "online"});
  c.resume();
}

void SyncFeeds::pump_all() {
  const std::vector<std::uint64_t> clients = clients_;
  for (const std::uint64_t id : clients) {
    if (Connection* c = worker_.find(id)) pump(*c);
  }
}

void SyncFeeds::end(Connection& c) {
  if (!c.feed || c.feed->stage == SyncFeed::Stage::none) return;
  c.feed->stage = SyncFeed::Stage::none;
  c.feed->source.reset();
  std::erase(clients_, c.id);
  if (clients_.empty()) timer_.stop();
  worker_.server().sync_queue().forget(c.id);
}

void SyncFeeds::tick() {
  const Config& config = worker_.server().config();
  const SteadyMs now = worker_.now_ms();
  const SteadyMs ping_every = config.repl_ping_replica_period.get() * 1000;
  const SteadyMs give_up = config.repl_timeout.get() * 1000;
  pump_all();
  const std::vector<std::uint64_t> clients = clients_;
  for (const std::uint64_t id : clients) {
    Connection* c = worker_.find(id);
    if (!c) continue;
    SyncFeed& feed = *c->feed;
    const bool before = !feed.begun;
    const bool after = feed.stage == SyncFeed::Stage::sent;
    if (before && now - feed.said >= newline_every_ms) say(*c, "\n");
    if (after && !feed.only_file && now - feed.said >= ping_every) say(*c, ping);
    const std::size_t pending = c->output_bytes();
    if (pending == 0 || pending != feed.pending) feed.moved = now;
    feed.pending = pending;
    if (now - feed.moved <= give_up) continue;
    LOG_WARNING("%s is closed: it took nothing of its snapshot for repl-timeout",
                c->peer_address().c_str());
    worker_.closed(*c);
  }
}

// ---- whose turn it is

void SyncQueue::join(Worker& worker, ShardIndex shard, std::uint64_t client,
                     Snapshots::Content content) {
  waiting_.push_back({shard, client, content});
  step(worker);
}

// A file that nobody else can open, and that is gone with its last reader.
Result<std::shared_ptr<SyncSource>> SyncQueue::open_source() const {
  const std::string path =
      server_.config().dir.get() + "/temp-sync-" + std::to_string(::getpid()) + ".rdb";
  auto source = std::make_shared<SyncSource>();
  source->file = Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!source->file) return Error(Errc::err, path + ": " + std::strerror(errno));
  ::unlink(path.c_str());
  return source;
}

// To the first who waits, and all others who want the same.
void SyncQueue::give(Worker& worker, const std::shared_ptr<SyncSource>& source,
                     const std::string& error) {
  const Snapshots::Content content = waiting_.front().content;
  std::erase_if(waiting_, [&](const Waiting& w) {
    if (w.content != content) return false;
    worker.send_mail(w.shard, [=, client = w.client](Worker& there) {
      there.sync_feeds().attach(client, source, error);
    });
    return true;
  });
}

void SyncQueue::step(Worker& worker) {
  std::erase_if(sources_, [](const auto& source) { return source.expired(); });
  if (waiting_.empty() || server_.snapshots().running() || sources_.size() >= sources_most) return;
  auto source = open_source();
  if (!source)
    return give(worker, nullptr, "no file for the snapshot: " + std::string(source.error().text()));
  (*source)->content = waiting_.front().content;
  const auto done = [server = &server_, source = *source](const Result<void>& result) {
    source->state.store(result ? SyncSource::State::whole : SyncSource::State::failed,
                        std::memory_order_release);
    for (std::size_t i = 0; i < server->shards(); ++i) {
      server->worker({static_cast<std::uint16_t>(i)}).post([](Worker& w) {
        w.sync_feeds().pump_all();
      });
    }
  };
  Result<void> began;
  const bool stood = worker.while_others_stand([&] {
    began = server_.snapshots().begin_into((*source)->file.get(), (*source)->content, done);
  });
  if (!stood) return;  // at the next tick
  if (!began) return give(worker, nullptr, std::string(began.error().text()));
  sources_.push_back(*source);
  give(worker, *source, {});
}

void SyncQueue::note(std::uint64_t client, Client now) {
  const std::lock_guard lock(mutex_);
  clients_[client] = std::move(now);
}

void SyncQueue::forget(std::uint64_t client) {
  const std::lock_guard lock(mutex_);
  clients_.erase(client);
}

std::map<std::uint64_t, SyncQueue::Client> SyncQueue::clients() const {
  const std::lock_guard lock(mutex_);
  return clients_;
}

}  // namespace gyre
