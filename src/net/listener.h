// Listener: one port on one or more addresses, on one loop.
//
// hosts are written as Redis' `bind`: "127.0.0.1", "::1", a name, "*" for every IPv4 address, "::*"
// for every IPv6 one; a "-" in front forgives that this machine does not have the address. When the
// process runs out of descriptors accepting rests for a moment, so that the loop does not spin.
//
// Ownership: owns the listening sockets; an accepted descriptor belongs to on_accept.
// Threading: the loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/loop.h"

namespace gyre {

class Listener {
 public:
  // fd: non-blocking, close-on-exec. peer_address: as Stream::peer_address().
  using OnAccept = std::function<void(int fd, std::string peer_address)>;

  Listener(Loop& loop, OnAccept on_accept);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // port 0: the system picks one, the same for every host.
  // Errors: io, with address and port; then nothing is listened on. Resolving a name may block:
  // this is for the start of a node.
  Result<void> open(std::span<const std::string> hosts, std::uint16_t port, int backlog);

  std::uint16_t port() const { return port_; }
  // "127.0.0.1:6379" of each socket.
  std::vector<std::string> addresses() const;

  // While paused, connections wait in the backlog.
  void pause();
  void resume();
  void close();

 private:
  struct Block;
  struct Closer {
    void operator()(Block* block) const noexcept;
  };
  using Socket = std::unique_ptr<Block, Closer>;

  Result<void> open_host(const std::string& host, int backlog);
  Result<void> adopt(int fd);
  void start(Block& socket);
  void accept_from(Block& socket);
  void rest();

  Loop& loop_;
  OnAccept on_accept_;
  Timer resting_;
  std::vector<Socket> sockets_;
  std::uint16_t port_ = 0;
  bool paused_ = false;
};

}  // namespace gyre
