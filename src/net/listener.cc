#include "net/listener.h"

#include <netdb.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/log.h"
#include "net/address.h"
#include "net/uv_handle.h"

namespace gyre {
namespace {

// Redis' MAX_ACCEPTS_PER_CALL is 1000; fewer here, because a turn should end soon.
constexpr int accepts_per_turn_max = 128;
constexpr std::uint64_t rest_ms = 100;

std::string error_text(int number) {
  return uv_strerror(-number);
}

// What "-host" forgives: the address, or its whole family, is not there.
bool is_absent(int number) {
  return number == EADDRNOTAVAIL || number == EAFNOSUPPORT || number == EPROTONOSUPPORT ||
         number == ENOPROTOOPT || number == ESOCKTNOSUPPORT || number == EPFNOSUPPORT;
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// A listening socket, or -1 with errno set.
int listen_on(const addrinfo& at, std::uint16_t port, int backlog) {
  Fd fd(socket(at.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return -1;
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (at.ai_family == AF_INET6 &&
      setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) {
    return -1;
  }
  sockaddr_storage address{};
  std::memcpy(&address, at.ai_addr, at.ai_addrlen);
  set_port(address, port);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), at.ai_addrlen) != 0) return -1;
  if (listen(fd.get(), backlog) != 0) return -1;
  return fd.release();
}

}  // namespace

struct Listener::Block {
  uv_poll_t poll;
  Listener* listener;
  int fd;
};

// libuv forgets the descriptor in uv_close at once, so it may be closed right behind it.
void Listener::Closer::operator()(Block* block) const noexcept {
  const int fd = block->fd;
  block->listener = nullptr;
  close_late(block);
  ::close(fd);
}

Listener::Listener(Loop& loop, OnAccept on_accept)
    : loop_(loop), on_accept_(std::move(on_accept)), resting_(loop) {}

Listener::~Listener() = default;

Result<void> Listener::open(std::span<const std::string> hosts, std::uint16_t port, int backlog) {
  GYRE_ASSERT(sockets_.empty());
  port_ = port;
  for (const std::string& host : hosts) {
    if (auto opened = open_host(host, backlog); !opened) {
      close();
      return opened;
    }
  }
  if (!sockets_.empty()) return {};
  return Error(Errc::io, "cannot listen on port " + std::to_string(port) +
                             ": none of the addresses exists on this machine");
}

Result<void> Listener::open_host(const std::string& host, int backlog) {
  const bool optional = host.starts_with('-');
  const std::string name = optional ? host.substr(1) : host;
  const auto failed = [&](const std::string& why) {
    return Error(Errc::io,
                 "cannot listen on " + name + " port " + std::to_string(port_) + ": " + why);
  };
  addrinfo hints{};
  hints.ai_family = name == "*" ? AF_INET : name == "::*" ? AF_INET6 : AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const bool any = name == "*" || name == "::*";
  if (const int status = getaddrinfo(any ? nullptr : name.c_str(), "0", &hints, &found)) {
    if (optional) return {};
    return failed(gai_strerror(status));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, freeaddrinfo);
  // One socket per host, as Redis: the first address that works; the last error tells the most.
  int number = 0;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    const int fd = listen_on(*at, port_, backlog);
    if (fd >= 0) return adopt(fd);
    number = errno;
    if (number == EADDRINUSE) break;
  }
  if (optional && is_absent(number)) return {};
  return failed(error_text(number));
}

Result<void> Listener::adopt(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (port_ == 0 && getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    port_ = port_of(address);
  }
  std::unique_ptr<Block> block(new Block{{}, this, fd});
  if (const int status = uv_poll_init(loop_.uv(), &block->poll, fd); status != 0) {
    ::close(fd);
    return Error(Errc::io, std::string("cannot listen: ") + uv_strerror(status));
  }
  sockets_.emplace_back(block.release());
  if (!paused_) start(*sockets_.back());
  return {};
}

std::vector<std::string> Listener::addresses() const {
  std::vector<std::string> out;
  for (const Socket& socket : sockets_) out.push_back(local_address_of(socket->fd));
  return out;
}

void Listener::start(Block& socket) {
  must(uv_poll_start(&socket.poll, UV_READABLE, [](uv_poll_t* h, int, int) {
    auto* const block = reinterpret_cast<Block*>(h);
    if (block->listener) block->listener->accept_from(*block);
  }));
}

void Listener::accept_from(Block& socket) {
  for (int i = 0; i < accepts_per_turn_max; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    const int fd = accept4(socket.fd, reinterpret_cast<sockaddr*>(&address), &size,
                           SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      on_accept_(fd, address_text(address));
      // The callback may have paused or closed the listener; the block itself is freed late.
      if (socket.listener == nullptr || paused_) return;
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno != EAGAIN) {
      LOG_SELDOM(warning, "Accepting a connection failed: %s", error_text(errno).c_str());
      rest();
    }
    return;
  }
}

void Listener::rest() {
  for (const Socket& socket : sockets_) uv_poll_stop(&socket->poll);
  resting_.start(rest_ms, 0, [this] {
    if (!paused_) resume();
  });
}

void Listener::pause() {
  paused_ = true;
  for (const Socket& socket : sockets_) uv_poll_stop(&socket->poll);
}

void Listener::resume() {
  paused_ = false;
  for (const Socket& socket : sockets_) start(*socket);
}

void Listener::close() {
  resting_.stop();
  sockets_.clear();
}

}  // namespace gyre
