#include "net/stream.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <utility>

#include "net/address.h"
#include "net/loop.h"
#include "net/uv_handle.h"

namespace gyre {

// Late callbacks see the block; its stream is null once the owner has let go.
struct Stream::Block {
  uv_tcp_t tcp;
  Stream* stream;
};

namespace {

struct WriteRequest {
  uv_write_t request;
  std::string bytes;
};

uv_stream_t* uv_stream(uv_tcp_t* tcp) {
  return reinterpret_cast<uv_stream_t*>(tcp);
}

}  // namespace

struct Stream::Callbacks {
  static void connected(uv_connect_t* request, int status) noexcept {
    Stream* const stream = owner(request->handle);
    delete request;
    if (!stream || status == UV_ECANCELED) return;
    if (status < 0) return stream->on_error(uv_strerror(status));
    uv_tcp_nodelay(&stream->block_->tcp, 1);
    stream->on_connected();
  }

  static Stream* owner(void* handle) { return static_cast<Block*>(handle)->stream; }

  static void alloc(uv_handle_t* h, std::size_t, uv_buf_t* buf) noexcept {
    Stream* const stream = owner(h);
    const std::span<char> room = stream ? stream->read_buffer() : std::span<char>();
    *buf = uv_buf_init(room.data(),
                       static_cast<unsigned>(std::min<std::size_t>(room.size(), 1u << 30)));
  }

  static void read(uv_stream_t* h, ssize_t n, const uv_buf_t*) noexcept {
    Stream* const stream = owner(h);
    if (!stream) return;
    if (n == 0) return stream->on_nothing_read();
    if (n > 0) return stream->on_read(static_cast<std::size_t>(n));
    stream->read_stop();
    if (n == UV_ENOBUFS) return;
    if (n == UV_EOF) return stream->on_eof();
    stream->on_error(uv_strerror(static_cast<int>(n)));
  }

  static void written(uv_write_t* request, int status) noexcept {
    Stream* const stream = owner(request->handle);
    delete reinterpret_cast<WriteRequest*>(request);
    if (stream && status < 0 && status != UV_ECANCELED)
      return stream->on_error(uv_strerror(status));
    if (stream && status == 0 && stream->pending_write_bytes() == 0) stream->on_drained();
  }
};

void Stream::Closer::operator()(Block* block) const noexcept {
  block->stream = nullptr;
  close_late(block);
}

Stream::Stream() = default;
Stream::~Stream() = default;

Result<void> Stream::adopt(Loop& loop, int fd) {
  GYRE_ASSERT(!block_);
  std::unique_ptr<Block, Closer> block(new Block{{}, this});
  must(uv_tcp_init(loop.uv(), &block->tcp));
  if (const int status = uv_tcp_open(&block->tcp, fd); status != 0) {
    ::close(fd);
    return Error(Errc::io, std::string("cannot use a connection: ") + uv_strerror(status));
  }
  uv_tcp_nodelay(&block->tcp, 1);
  peer_address_ = peer_address_of(fd);
  local_address_ = local_address_of(fd);
  block_ = std::move(block);
  return {};
}

Result<void> Stream::connect(Loop& loop, const std::string& address, std::uint16_t port) {
  GYRE_ASSERT(!block_);
  sockaddr_storage to{};
  auto* const any = reinterpret_cast<sockaddr*>(&to);
  if (uv_ip4_addr(address.c_str(), port, reinterpret_cast<sockaddr_in*>(any)) != 0 &&
      uv_ip6_addr(address.c_str(), port, reinterpret_cast<sockaddr_in6*>(any)) != 0)
    return Error(Errc::io, "'" + address + "' is no address");
  std::unique_ptr<Block, Closer> block(new Block{{}, this});
  must(uv_tcp_init(loop.uv(), &block->tcp));
  auto* const request = new uv_connect_t;
  if (const int status = uv_tcp_connect(request, &block->tcp, any, Callbacks::connected);
      status != 0) {
    delete request;
    return Error(Errc::io, std::string("cannot connect: ") + uv_strerror(status));
  }
  block_ = std::move(block);
  return {};
}

void Stream::read_start() {
  if (!block_ || reading_) return;
  reading_ = uv_read_start(uv_stream(&block_->tcp), Callbacks::alloc, Callbacks::read) == 0;
}

void Stream::read_stop() {
  if (!block_ || !reading_) return;
  uv_read_stop(uv_stream(&block_->tcp));
  reading_ = false;
}

bool Stream::write(std::string&& bytes) {
  if (!block_ || bytes.empty()) return true;
  uv_stream_t* const to = uv_stream(&block_->tcp);
  // libuv answers EAGAIN when bytes wait already, so order holds; real errors come from uv_write.
  // uv_buf_t counts in unsigned on some systems: a turn's output is far below 4 GiB.
  const uv_buf_t all = uv_buf_init(bytes.data(), static_cast<unsigned>(bytes.size()));
  const int tried = uv_try_write(to, &all, 1);
  const std::size_t done = tried > 0 ? static_cast<std::size_t>(tried) : 0;
  if (done == bytes.size()) return true;
  auto* const rest = new WriteRequest{{}, std::move(bytes)};
  const uv_buf_t left =
      uv_buf_init(rest->bytes.data() + done, static_cast<unsigned>(rest->bytes.size() - done));
  if (uv_write(&rest->request, to, &left, 1, Callbacks::written) != 0) delete rest;
  return false;
}

std::size_t Stream::pending_write_bytes() const {
  return block_ ? block_->tcp.write_queue_size : 0;
}

void Stream::set_keepalive(unsigned seconds) {
  if (block_) uv_tcp_keepalive(&block_->tcp, seconds > 0 ? 1 : 0, seconds);
}

void Stream::close() {
  reading_ = false;
  block_.reset();
}

bool Stream::peer_closed() const {
  uv_os_fd_t fd = -1;
  if (!block_ || uv_fileno(as_handle(&block_->tcp), &fd) != 0) return true;
  pollfd ask{.fd = fd, .events = POLLRDHUP, .revents = 0};
  return ::poll(&ask, 1, 0) > 0;
}

int Stream::release_fd() {
  uv_os_fd_t fd = -1;
  if (!block_ || pending_write_bytes() > 0) return -1;
  if (uv_fileno(as_handle(&block_->tcp), &fd) != 0) return -1;
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy >= 0) close();
  return copy;
}

}  // namespace gyre
