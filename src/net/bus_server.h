// BusServer: the answering side between nodes. It takes descriptors that a Listener accepted on the
// bus port, lets them prove themselves, and passes batches to its owner.
//
// A connection may say GYRE.HELLO, then GYRE.AUTH, within 1 s, and from then on only GYRE.BATCH.
// Anything else is answered by an error and closed. At most 64 connections are unproved at a time;
// a further one is closed at once. Batches are answered in their order, by reply(), whenever the
// owner is ready.
//
// Callbacks come from the loop, never from within a call of the owner. on_closed comes once per
// on_authenticated; until it has returned the BusConnection may be used, and does nothing when
// closed.
//
// Bounds:    a batch 256 MiB; 1024 unanswered batches, then reading rests until one is answered;
//            a connection that leaves 512 MiB of replies unread is closed.
// Ownership: BusServer owns its connections; not destroyed inside its own callbacks. Before the
// loop. Threading: the loop's thread; another thread has a server of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/handshake.h"
#include "net/loop.h"
#include "net/stream.h"

namespace gyre {

class BusServer;

class BusConnection final : public Stream {
 public:
  BusConnection(BusServer& server, Loop& loop);
  ~BusConnection() override;

  // Answers the oldest unanswered batch. Nothing happens when the connection is closed.
  void reply(std::string_view batch);
  std::size_t unanswered() const { return unanswered_; }

  // The caller, once authenticated.
  const HelloFields& peer() const { return peer_; }
  bool authenticated() const { return authenticated_; }

  // Closes the connection; on_closed follows in a later turn.
  void end(const std::string& reason);

  // From on_authenticated: a descriptor that another thread's server takes by adopt(); here the
  // connection ends. -1: it cannot be moved now, and stays.
  int move_away();

  // For the owner: which of its things this connection belongs to.
  void* user = nullptr;

 protected:
  std::span<char> read_buffer() override;
  void on_read(std::size_t n) override;
  void on_eof() override;
  void on_error(const std::string& why) override;

 private:
  friend class BusServer;
  void parse();
  void run(Args words);
  void refuse(std::string_view why);
  void grow(std::size_t capacity);
  std::size_t room_wanted() const;

  BusServer& server_;
  std::unique_ptr<HandshakeAnswerer> handshake_;
  Timer deadline_;
  RequestParser parser_;
  std::vector<std::string_view> words_;
  // Bytes not yet parsed are [begin_, end_) of the buffer; a command begins at begin_.
  std::unique_ptr<char[]> buffer_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t unanswered_ = 0;
  HelloFields peer_;
  std::string why_closed_;
  bool authenticated_ = false;
  bool parsing_ = false;
};

class BusServer {
 public:
  struct Options {
    std::string secret;
    HelloFields own;  // shard is not looked at
    HandshakeAnswerer::CheckPeer check_peer;
    unsigned keepalive_s = 60;
    std::uint64_t handshake_ms = 1000;
  };

  BusServer(Loop& loop, Options options);
  ~BusServer();
  BusServer(const BusServer&) = delete;
  BusServer& operator=(const BusServer&) = delete;

  // Set before the first accept(). A batch's view ends with the call.
  std::function<void(BusConnection&)> on_authenticated;
  std::function<void(BusConnection&, std::string_view batch)> on_batch;
  std::function<void(BusConnection&, const std::string& reason)> on_closed;

  // Takes over an accepted descriptor.
  void accept(int fd);
  // Takes over a descriptor whose caller proved itself to another server of this node.
  void adopt(int fd, const HelloFields& peer);
  // Ends every connection.
  void end_all(const std::string& reason);

  std::size_t connections() const { return connections_.size(); }
  std::size_t unauthenticated() const;

 private:
  friend class BusConnection;
  void sweep_soon();
  void sweep();

  Loop& loop_;
  Options options_;
  std::vector<std::unique_ptr<BusConnection>> connections_;
  Timer sweeper_;
};

}  // namespace gyre
