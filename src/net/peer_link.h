// PeerLink: the calling side between two nodes. One link is one connection to a peer's bus port,
// kept up by itself: resolve, connect, handshake, batches; and again with back-off when it is lost.
//
//     resolving -> connecting -> greeting -> up --(lost: on_down)--> waiting 50 ms .. 1 s ->
//     resolving
//
// hiredis carries the bytes. A batch is one command; its reply comes to on_reply, in order. A lost
// link loses batches and replies: time-outs and ids belong to whoever speaks through it.
//
// Callbacks come from the loop, never from within a call of the owner: after break_link() or a
// failed send, up() is false at once and on_down follows in a later turn. on_down comes once per
// on_up. A reason why the link does not come up is logged once, not with every attempt.
//
// Bounds:    send_batch refuses beyond 4096 unanswered batches or 256 MiB queued; a reply over 256
// MiB
//            breaks the link; connect and handshake together have 1 s.
// Ownership: not destroyed inside its own callbacks. Before the loop.
// Threading: the loop's thread. Names are resolved on libuv's pool, one at a time per link.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "net/handshake.h"
#include "net/loop.h"

struct redisAsyncContext;

namespace gyre {

class PeerLink {
 public:
  struct Options {
    std::string secret;
    HelloFields own;
    std::string expected_node;  // empty: any name but our own
    unsigned keepalive_s = 60;
    std::uint64_t attempt_ms = 1000;
    std::uint64_t backoff_min_ms = 50;
    std::uint64_t backoff_max_ms = 1000;
  };

  PeerLink(Loop& loop, Options options);
  ~PeerLink();
  PeerLink(const PeerLink&) = delete;
  PeerLink& operator=(const PeerLink&) = delete;

  // Set before connect(). A reply's view ends with the call.
  std::function<void(const AnswererInfo&)> on_up;
  std::function<void(const std::string& reason)> on_down;
  std::function<void(std::string_view batch)> on_reply;

  // Keeps the link up from now on. host: an address or a name, resolved anew for every attempt.
  void connect(std::string host, std::uint16_t bus_port);

  bool up() const { return step_ == Step::up; }
  // Queues a batch and writes what the socket takes. False: not up, or a bound is reached.
  bool send_batch(std::string_view batch);
  // Drops the connection; a new one follows after the back-off. Nothing happens when there is none.
  void break_link(const std::string& reason);

  std::size_t outstanding() const { return sent_at_ms_.size(); }
  std::uint64_t oldest_unanswered_ms() const;  // 0: none outstanding
  std::size_t bytes_queued() const;            // not yet given to the socket
  // Why the last attempt or connection ended; empty before the first end.
  const std::string& last_failure() const { return last_failure_; }
  std::uint64_t attempts() const { return attempts_; }

 private:
  enum class Step : std::uint8_t { idle, resolving, connecting, greeting, up, waiting };
  struct Resolve;
  struct Hooks;  // what C calls

  void attempt();
  bool resolve_as_number();
  void resolve_name();
  void resolved(std::vector<std::string> addresses, const std::string& error);
  void open();
  void greet();
  void on_hello_answer(void* reply);
  void on_auth_answer(void* reply);
  void on_batch_answer(void* reply);
  void fail(const std::string& reason);
  void drop_context();
  void retry_later();
  void command(const std::vector<std::string>& words,
               void (*callback)(redisAsyncContext*, void*, void*));

  Loop& loop_;
  Options options_;
  std::string host_;
  std::uint16_t port_ = 0;
  Step step_ = Step::idle;
  bool told_up_ = false;  // on_up was called, on_down not yet
  bool in_poll_ = false;  // inside hiredis: no direct writes
  redisAsyncContext* context_ = nullptr;
  Resolve* resolve_ = nullptr;
  std::vector<std::string> addresses_;
  std::unique_ptr<HandshakeCaller> handshake_;
  AnswererInfo peer_;
  std::deque<std::uint64_t> sent_at_ms_;
  std::size_t replies_due_ = 0;  // commands sent whose reply has not begun
  std::string last_failure_;
  std::string logged_;
  std::uint64_t attempts_ = 0;
  std::uint64_t backoff_ms_ = 0;
  Random random_;
  Timer deadline_;
  Timer retry_;
};

}  // namespace gyre
