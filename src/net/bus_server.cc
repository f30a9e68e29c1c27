#include "net/bus_server.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "base/log.h"
#include "base/numbers.h"
#include "resp/reply.h"

namespace gyre {
namespace {

constexpr std::size_t unauthenticated_max = 64;
constexpr std::size_t unanswered_max = 1024;
constexpr std::size_t batch_bytes_max = std::size_t{256} << 20;
constexpr std::size_t unread_bytes_max = std::size_t{512} << 20;
// A read fills what there is; a busy peer's turn fits, and a buffer beyond the second is given
// back.
constexpr std::size_t buffer_bytes_min = std::size_t{64} << 10;
constexpr std::size_t buffer_bytes_kept = std::size_t{128} << 10;

}  // namespace

BusConnection::BusConnection(BusServer& server, Loop& loop) : server_(server), deadline_(loop) {
  parser_.set_authenticated(false);
  parser_.set_max_bulk(batch_bytes_max);
}

BusConnection::~BusConnection() = default;

// --- Reading

// What the next read may use. A large batch's buffer doubles as its bytes come, never by the number
// that the peer declared alone.
std::size_t BusConnection::room_wanted() const {
  const std::size_t kept = end_ - begin_;
  return std::clamp(parser_.bytes_wanted(), buffer_bytes_min, std::max(kept, buffer_bytes_min));
}

void BusConnection::grow(std::size_t capacity) {
  const std::size_t kept = end_ - begin_;
  GYRE_ASSERT(kept <= capacity);
  std::unique_ptr<char[]> larger(new char[capacity]);  // not zeroed
  if (kept > 0) std::memcpy(larger.get(), buffer_.get() + begin_, kept);
  buffer_ = std::move(larger);
  capacity_ = capacity;
  begin_ = 0;
  end_ = kept;
}

std::span<char> BusConnection::read_buffer() {
  const std::size_t kept = end_ - begin_;
  const std::size_t wanted = room_wanted();
  if (capacity_ - end_ < wanted && kept + wanted <= capacity_ && kept <= capacity_ / 2) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, kept);
    begin_ = 0;
    end_ = kept;
  } else if (capacity_ - end_ < wanted) {
    grow(kept + wanted);
  }
  return {buffer_.get() + end_, capacity_ - end_};
}

void BusConnection::on_read(std::size_t n) {
  end_ += n;
  parse();
}

void BusConnection::on_eof() {
  end("the peer closed the connection");
}
void BusConnection::on_error(const std::string& why) {
  end(why);
}

// Runs the commands in the buffer, one by one: each may change what the parser accepts. Reading
// rests while too many batches wait for an answer; reply() comes back here.
void BusConnection::parse() {
  parsing_ = true;
  while (is_open() && begin_ < end_ && unanswered_ < unanswered_max) {
    words_.clear();
    std::size_t used = 0;
    const Parsed parsed = parser_.next({buffer_.get() + begin_, end_ - begin_}, used, words_);
    begin_ += used;
    if (parsed == Parsed::need_more) break;
    if (parsed == Parsed::error) {
      refuse(parser_.error().text());
      break;
    }
    run(words_);
    parser_.reset_scratch();
  }
  parsing_ = false;
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (capacity_ > buffer_bytes_kept) {
      buffer_.reset();
      capacity_ = 0;
    }
  }
  unanswered_ < unanswered_max ? read_start() : read_stop();
}

void BusConnection::run(Args words) {
  if (authenticated_) {
    if (words.size() != 2 || !equals_ignore_case(words[0], bus_batch)) {
      return refuse("only GYRE.BATCH is taken here");
    }
    ++unanswered_;
    if (server_.on_batch) server_.on_batch(*this, words[1]);
    return;
  }
  std::string out;
  Reply answer(out, 2);
  if (!equals_ignore_case(words[0], bus_auth)) {
    const auto elements = handshake_->on_hello(words);
    if (!elements) return refuse(elements.error().text());
    answer.array(elements->size());
    for (const std::string& element : *elements) answer.bulk(element);
    write(std::move(out));
    return;
  }
  auto peer = handshake_->on_auth(words);
  if (!peer) return refuse(peer.error().text());
  peer_ = std::move(*peer);
  authenticated_ = true;
  parser_.set_authenticated(true);
  deadline_.stop();
  handshake_.reset();
  answer.ok();
  write(std::move(out));
  if (server_.on_authenticated) server_.on_authenticated(*this);
}

// --- Answering

void BusConnection::reply(std::string_view batch) {
  if (!is_open()) return;
  GYRE_ASSERT(unanswered_ > 0);
  const bool rested = unanswered_-- == unanswered_max;
  std::string out;
  constexpr std::size_t header_bytes = 24;
  out.reserve(batch.size() + header_bytes);
  Reply(out, 2).bulk(batch);
  write(std::move(out));
  if (pending_write_bytes() > unread_bytes_max) return end("the peer does not read its replies");
  if (!rested || parsing_) return;
  // What waits in the buffer goes on from the loop, not from within the owner's call.
  deadline_.start(0, 0, [this] { parse(); });
}

void BusConnection::refuse(std::string_view why) {
  std::string out;
  Reply(out, 2).error(why);
  write(std::move(out));
  end(std::string(why));
}

void BusConnection::end(const std::string& reason) {
  if (!is_open()) return;
  why_closed_ = reason;
  deadline_.stop();
  close();
  server_.sweep_soon();
}

int BusConnection::move_away() {
  GYRE_ASSERT(authenticated_ && unanswered_ == 0);
  const int fd = begin_ == end_ ? release_fd() : -1;
  if (fd < 0) return -1;
  why_closed_ = "it moved to another thread";
  deadline_.stop();
  server_.sweep_soon();
  return fd;
}

// --- The server

BusServer::BusServer(Loop& loop, Options options)
    : loop_(loop), options_(std::move(options)), sweeper_(loop) {}

BusServer::~BusServer() = default;

std::size_t BusServer::unauthenticated() const {
  return static_cast<std::size_t>(std::count_if(connections_.begin(), connections_.end(),
                                                [](const auto& c) { return !c->authenticated(); }));
}

void BusServer::accept(int fd) {
  if (unauthenticated() >= unauthenticated_max) {
    LOG_VERBOSE("Bus: closing a connection, %zu others are not authenticated yet",
                unauthenticated_max);
    ::close(fd);
    return;
  }
  auto connection = std::make_unique<BusConnection>(*this, loop_);
  if (const auto adopted = connection->adopt(loop_, fd); !adopted) {
    LOG_SELDOM(warning, "Bus: %s", std::string(adopted.error().text()).c_str());
    return;
  }
  connection->handshake_ = std::make_unique<HandshakeAnswerer>(options_.secret, options_.own,
                                                               options_.check_peer, random_nonce());
  connection->set_keepalive(options_.keepalive_s);
  connection->deadline_.start(options_.handshake_ms, 0,
                              [c = connection.get()] { c->end("no handshake in time"); });
  connection->read_start();
  connections_.push_back(std::move(connection));
}

void BusServer::adopt(int fd, const HelloFields& peer) {
  auto connection = std::make_unique<BusConnection>(*this, loop_);
  if (const auto adopted = connection->adopt(loop_, fd); !adopted) {
    LOG_SELDOM(warning, "Bus: %s", std::string(adopted.error().text()).c_str());
    return;
  }
  connection->peer_ = peer;
  connection->authenticated_ = true;
  connection->parser_.set_authenticated(true);
  connection->set_keepalive(options_.keepalive_s);
  connection->read_start();
  connections_.push_back(std::move(connection));
}

void BusServer::end_all(const std::string& reason) {
  for (const auto& connection : connections_) connection->end(reason);
}

void BusServer::sweep_soon() {
  if (!sweeper_.active()) sweeper_.start(0, 0, [this] { sweep(); });
}

// Closed connections are taken out first: on_closed may end others.
void BusServer::sweep() {
  const auto first = std::stable_partition(connections_.begin(), connections_.end(),
                                           [](const auto& c) { return c->is_open(); });
  std::vector<std::unique_ptr<BusConnection>> closed(std::make_move_iterator(first),
                                                     std::make_move_iterator(connections_.end()));
  connections_.erase(first, connections_.end());
  for (const auto& connection : closed) {
    if (!connection->authenticated()) {
      LOG_VERBOSE("Bus: closed %s: %s", connection->peer_address().c_str(),
                  connection->why_closed_.c_str());
    } else if (on_closed) {
      on_closed(*connection, connection->why_closed_);
    }
  }
}

}  // namespace gyre
