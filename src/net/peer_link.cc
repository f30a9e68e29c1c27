#include "net/peer_link.h"

#include <fcntl.h>
#include <netdb.h>
#include <uv.h>

#include <algorithm>
#include <array>
#include <utility>

#include <hiredis/adapters/libuv.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <hiredis/sds.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/log.h"
#include "net/uv_handle.h"

namespace gyre {
namespace {

constexpr std::size_t outstanding_max = 4096;
constexpr std::size_t queued_bytes_max = std::size_t{256} << 20;
constexpr std::size_t reply_bytes_max = std::size_t{256} << 20;
// Before the peer is proved, all it may make us keep.
constexpr std::size_t greeting_bytes_max = std::size_t{64} << 10;
// hiredis frees an idle reader's buffer beyond this and grows it again with the next large reply.
constexpr std::size_t reader_kept_bytes = std::size_t{1} << 20;
// hiredis reads 16 KiB at a time: up to 1 MiB per turn, so that a large reply does not cost a poll
// for each piece and one peer does not hold the loop.
constexpr int reads_per_turn = 64;
constexpr int reply_elements_max = 4;

int bytes_waiting(int fd) {
  int n = 0;
  return ioctl(fd, FIONREAD, &n) == 0 ? n : 0;
}

void set_option(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

}  // namespace

// A request in flight outlives its link when the link goes first.
struct PeerLink::Resolve {
  uv_getaddrinfo_t request;
  PeerLink* link;
};

struct PeerLink::Hooks {
  static PeerLink* link_of(const redisAsyncContext* context) {
    return static_cast<PeerLink*>(context->data);
  }

  // --- Events. hiredis' adapter ignores a poll that reports an error, for which libuv has already
  // stopped the handle: a connection that was reset would stay silent for ever. So the adapter's
  // handle is watched by a function of our own.

  static void on_poll(uv_poll_t* h, int status, int events) noexcept {
    auto* const p = static_cast<redisLibuvEvents*>(h->data);
    PeerLink* const link = p->context != nullptr ? link_of(p->context) : nullptr;
    if (link == nullptr) return;
    // On an error the read finds out which one, and ends the connection.
    if (status < 0) events = UV_READABLE;
    link->in_poll_ = true;
    if ((events & UV_READABLE) != 0) read(*p, *link);
    if (p->context != nullptr && (events & UV_WRITABLE) != 0) redisAsyncHandleWrite(p->context);
    link->in_poll_ = false;
  }

  static void read(redisLibuvEvents& p, PeerLink& link) {
    for (int i = 0; i < reads_per_turn; ++i) {
      redisAsyncHandleRead(p.context);
      if (p.context == nullptr || link.context_ != p.context) return;
      const redisReader& reader = *p.context->c.reader;
      const std::size_t kept = reader.len - reader.pos;
      if (!link.up() && kept > greeting_bytes_max)
        return link.fail("the peer's greeting is too long");
      if (kept > reply_bytes_max) return link.fail("a reply is over 256 MiB");
      if (bytes_waiting(p.context->c.fd) <= 0) return;
    }
  }

  static void watch(void* data, int add, int remove) noexcept {
    auto* const p = static_cast<redisLibuvEvents*>(data);
    p->events = (p->events | add) & ~remove;
    if (p->events != 0) {
      uv_poll_start(&p->handle, p->events, on_poll);
    } else {
      uv_poll_stop(&p->handle);
    }
  }
  static void add_read(void* data) noexcept { watch(data, UV_READABLE, 0); }
  static void del_read(void* data) noexcept { watch(data, 0, UV_READABLE); }
  static void add_write(void* data) noexcept { watch(data, UV_WRITABLE, 0); }
  static void del_write(void* data) noexcept { watch(data, 0, UV_WRITABLE); }

  static bool attach(redisAsyncContext* context, uv_loop_t* loop) {
    if (redisLibuvAttach(context, loop) != REDIS_OK || context->ev.data == nullptr) return false;
    context->ev.addRead = add_read;
    context->ev.delRead = del_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    return true;
  }

  // --- What a reply may be. hiredis asserts when a reply comes that no command asked for, and
  // allocates an array from the number that the peer declares. Both are refused here: a null object
  // ends the connection.

  static const redisReplyObjectFunctions& originals() {
    static const redisReplyObjectFunctions functions = [] {
      redisReader* const reader = redisReaderCreate();
      const redisReplyObjectFunctions copy = *reader->fn;
      redisReaderFree(reader);
      return copy;
    }();
    return functions;
  }

  static bool may_begin(const redisReadTask* task) {
    if (task->parent != nullptr) return true;
    auto& link = *static_cast<PeerLink*>(task->privdata);
    if (link.replies_due_ == 0) return false;
    --link.replies_due_;
    return true;
  }
  static void* create_string(const redisReadTask* task, char* bytes, std::size_t size) noexcept {
    return may_begin(task) ? originals().createString(task, bytes, size) : nullptr;
  }
  static void* create_array(const redisReadTask* task, int elements) noexcept {
    if (task->parent != nullptr || elements > reply_elements_max || !may_begin(task))
      return nullptr;
    return originals().createArray(task, elements);
  }
  static void* create_integer(const redisReadTask* task, long long value) noexcept {
    return may_begin(task) ? originals().createInteger(task, value) : nullptr;
  }
  static void* create_nil(const redisReadTask* task) noexcept {
    return may_begin(task) ? originals().createNil(task) : nullptr;
  }

  static void guard_replies(redisAsyncContext* context, PeerLink* link) {
    static redisReplyObjectFunctions functions{create_string, create_array, create_integer,
                                               create_nil, originals().freeObject};
    context->c.reader->fn = &functions;
    context->c.reader->privdata = link;
    link->replies_due_ = 0;
  }

  // --- The connection. hiredis frees the context itself after both of these when it failed.

  static void connected(const redisAsyncContext* context, int status) noexcept {
    PeerLink* const link = link_of(context);
    if (link == nullptr) return;
    if (status == REDIS_OK) return link->greet();
    link->context_ = nullptr;
    link->fail(std::string("cannot connect: ") + context->errstr);
  }

  static void disconnected(const redisAsyncContext* context, int) noexcept {
    PeerLink* const link = link_of(context);
    if (link == nullptr) return;
    link->context_ = nullptr;
    if (context->err == REDIS_ERR_OOM) return link->fail("the peer sent a reply that was not due");
    link->fail(context->err != 0 ? context->errstr : "the connection was closed");
  }

  // --- Replies; a null one says that the connection ends, which `disconnected` reports.

  template <void (PeerLink::*Method)(void*)>
  static void answered(redisAsyncContext* context, void* reply, void*) noexcept {
    PeerLink* const link = link_of(context);
    if (link != nullptr && reply != nullptr) (link->*Method)(reply);
  }

  static void addresses_found(uv_getaddrinfo_t* request, int status, addrinfo* found) noexcept {
    const std::unique_ptr<Resolve> resolve(reinterpret_cast<Resolve*>(request));
    std::vector<std::string> addresses;
    for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
      std::array<char, NI_MAXHOST> text{};
      // NI_MAXHOST leaves room for the "%eth0" of a link-local address, which hiredis takes as
      // well.
      if (getnameinfo(at->ai_addr, at->ai_addrlen, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST) == 0) {
        addresses.emplace_back(text.data());
      }
    }
    uv_freeaddrinfo(found);
    PeerLink* const link = resolve->link;
    if (link == nullptr) return;
    link->resolve_ = nullptr;
    link->resolved(std::move(addresses), status != 0 ? uv_strerror(status) : "no address");
  }
};

PeerLink::PeerLink(Loop& loop, Options options)
    : loop_(loop),
      options_(std::move(options)),
      random_(random_seed()),
      deadline_(loop),
      retry_(loop) {}

PeerLink::~PeerLink() {
  GYRE_ASSERT(!in_poll_);
  drop_context();
  if (resolve_ != nullptr) {
    resolve_->link = nullptr;
    uv_cancel(reinterpret_cast<uv_req_t*>(&resolve_->request));
  }
}

void PeerLink::connect(std::string host, std::uint16_t bus_port) {
  GYRE_ASSERT(step_ == Step::idle);
  host_ = std::move(host);
  port_ = bus_port;
  step_ = Step::waiting;
  retry_.start(0, 0, [this] { attempt(); });
}

void PeerLink::attempt() {
  ++attempts_;
  step_ = Step::resolving;
  if (resolve_as_number()) return open();
  resolve_name();
}

bool PeerLink::resolve_as_number() {
  sockaddr_in v4;
  sockaddr_in6 v6;
  if (uv_ip4_addr(host_.c_str(), 1, &v4) != 0 && uv_ip6_addr(host_.c_str(), 1, &v6) != 0)
    return false;
  addresses_ = {host_};
  return true;
}

// A resolver that hangs cannot be hurried: the attempt waits for it, so that requests do not pile
// up in libuv's pool, and after the deadline it says what it waits for.
void PeerLink::resolve_name() {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  std::unique_ptr<Resolve> resolve(new Resolve{{}, this});
  if (const int status = uv_getaddrinfo(loop_.uv(), &resolve->request, Hooks::addresses_found,
                                        host_.c_str(), nullptr, &hints);
      status != 0) {
    return fail("cannot resolve '" + host_ + "': " + uv_strerror(status));
  }
  resolve_ = resolve.release();
  deadline_.start(options_.attempt_ms, 0,
                  [this] { last_failure_ = "the name '" + host_ + "' is still being resolved"; });
}

void PeerLink::resolved(std::vector<std::string> addresses, const std::string& error) {
  if (step_ != Step::resolving) return;
  if (addresses.empty()) return fail("cannot resolve '" + host_ + "': " + error);
  addresses_ = std::move(addresses);
  open();
}

void PeerLink::open() {
  step_ = Step::connecting;
  deadline_.start(options_.attempt_ms, 0, [this] {
    fail(step_ == Step::connecting ? "no connection in time" : "no handshake in time");
  });
  // Each attempt takes the next of the name's addresses.
  const std::string& address = addresses_[attempts_ % addresses_.size()];
  redisAsyncContext* const context = redisAsyncConnect(address.c_str(), port_);
  if (context == nullptr) return fail("cannot connect: out of memory");
  if (context->err != 0) {
    const std::string why = context->errstr;
    redisAsyncFree(context);
    return fail("cannot connect: " + why);
  }
  const int fd = context->c.fd;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (options_.keepalive_s > 0) {
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(options_.keepalive_s));
  }
  if (!Hooks::attach(context, loop_.uv())) {
    redisAsyncFree(context);
    return fail("cannot watch the connection");
  }
  context->data = this;
  context->c.reader->maxbuf = reader_kept_bytes;
  Hooks::guard_replies(context, this);
  context_ = context;
  redisAsyncSetConnectCallback(context, Hooks::connected);
  redisAsyncSetDisconnectCallback(context, Hooks::disconnected);
}

void PeerLink::command(const std::vector<std::string>& words, redisCallbackFn* callback) {
  std::vector<const char*> data;
  std::vector<std::size_t> sizes;
  for (const std::string& word : words) {
    data.push_back(word.data());
    sizes.push_back(word.size());
  }
  ++replies_due_;
  redisAsyncCommandArgv(context_, callback, nullptr, static_cast<int>(words.size()), data.data(),
                        sizes.data());
}

// Called by hiredis, which may not be freed here: what fails waits for the deadline.
void PeerLink::greet() {
  step_ = Step::greeting;
  handshake_ = std::make_unique<HandshakeCaller>(options_.secret, options_.own,
                                                 options_.expected_node, random_nonce());
  command(handshake_->hello(), Hooks::answered<&PeerLink::on_hello_answer>);
}

void PeerLink::on_hello_answer(void* data) {
  const auto& reply = *static_cast<const redisReply*>(data);
  if (reply.type == REDIS_REPLY_ERROR) return fail("refused: " + std::string(reply.str, reply.len));
  std::vector<std::string_view> words;
  if (reply.type == REDIS_REPLY_ARRAY) {
    for (std::size_t i = 0; i < reply.elements; ++i) {
      const redisReply& element = *reply.element[i];
      words.push_back(element.type == REDIS_REPLY_STRING
                          ? std::string_view(element.str, element.len)
                          : std::string_view());
    }
  }
  auto info = handshake_->verify(words);
  if (!info) return fail(std::string(info.error().text()));
  peer_ = std::move(*info);
  command(handshake_->auth(), Hooks::answered<&PeerLink::on_auth_answer>);
}

void PeerLink::on_auth_answer(void* data) {
  const auto& reply = *static_cast<const redisReply*>(data);
  const std::string text = reply.str != nullptr ? std::string(reply.str, reply.len) : "";
  if (reply.type != REDIS_REPLY_STATUS || text != "OK") return fail("refused: " + text);
  deadline_.stop();
  handshake_.reset();
  step_ = Step::up;
  backoff_ms_ = 0;
  logged_.clear();
  told_up_ = true;
  LOG_NOTICE("Link to node '%s' at %s port %u is up", peer_.node.c_str(), host_.c_str(),
             unsigned{port_});
  if (on_up) on_up(peer_);
}

void PeerLink::on_batch_answer(void* data) {
  const auto& reply = *static_cast<const redisReply*>(data);
  if (!up()) return;
  if (reply.type == REDIS_REPLY_ERROR) return fail("refused: " + std::string(reply.str, reply.len));
  if (reply.type != REDIS_REPLY_STRING) return fail("a batch was answered by something else");
  GYRE_ASSERT(!sent_at_ms_.empty());
  sent_at_ms_.pop_front();
  if (on_reply) on_reply(std::string_view(reply.str, reply.len));
}

bool PeerLink::send_batch(std::string_view batch) {
  if (!up() || outstanding() >= outstanding_max || bytes_queued() > queued_bytes_max) return false;
  const std::array<const char*, 2> words{bus_batch.data(), batch.data()};
  const std::array<std::size_t, 2> sizes{bus_batch.size(), batch.size()};
  if (redisAsyncCommandArgv(context_, Hooks::answered<&PeerLink::on_batch_answer>, nullptr, 2,
                            const_cast<const char**>(words.data()), sizes.data()) != REDIS_OK) {
    return false;
  }
  ++replies_due_;
  sent_at_ms_.push_back(loop_.now_ms());
  // Written at once rather than after the next poll. Not from inside hiredis, which an error here
  // would free under its own feet: there the poll that follows writes.
  if (!in_poll_) redisAsyncHandleWrite(context_);
  return up();
}

void PeerLink::break_link(const std::string& reason) {
  if (context_ != nullptr) fail(reason);
}

std::uint64_t PeerLink::oldest_unanswered_ms() const {
  return sent_at_ms_.empty() ? 0 : loop_.now_ms() - sent_at_ms_.front();
}

std::size_t PeerLink::bytes_queued() const {
  return context_ != nullptr ? sdslen(context_->c.obuf) : 0;
}

// The one way down, from every step. on_down waits for the loop, see the header.
void PeerLink::fail(const std::string& reason) {
  if (step_ == Step::waiting) return;
  step_ = Step::waiting;
  last_failure_ = reason;
  drop_context();
  deadline_.stop();
  handshake_.reset();
  sent_at_ms_.clear();
  if (logged_ != reason) {
    logged_ = reason;
    LOG_NOTICE("No link to %s port %u: %s", host_.c_str(), unsigned{port_}, reason.c_str());
  }
  retry_.start(0, 0, [this] {
    retry_later();
    if (std::exchange(told_up_, false) && on_down) on_down(last_failure_);
  });
}

// hiredis calls everybody back while it frees; without the link they do nothing. Inside one of its
// own reply callbacks it frees later.
void PeerLink::drop_context() {
  redisAsyncContext* const context = std::exchange(context_, nullptr);
  if (context == nullptr) return;
  context->data = nullptr;
  redisAsyncFree(context);
}

// Half of the back-off is certain and half is drawn, so that links lost together do not come back
// together.
void PeerLink::retry_later() {
  backoff_ms_ = std::clamp(backoff_ms_ * 2, options_.backoff_min_ms * 2, options_.backoff_max_ms);
  const std::uint64_t wait_ms = backoff_ms_ / 2 + random_.below(backoff_ms_ / 2 + 1);
  retry_.start(wait_ms, 0, [this] { attempt(); });
}

}  // namespace gyre
