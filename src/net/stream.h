// Stream: one TCP connection, accepted or made, on the loop of its owner.
//
// Reading: libuv asks read_buffer() where to put bytes, then on_read(n) says how many came; one
// call each per read, never per byte. Writing: write() tries the socket at once and gives libuv the
// rest, which it owns until written. The owner collects what a turn produced and writes once.
//
// Ownership: owns the descriptor. Destroying it, or close(), is allowed inside its callbacks, as
// long
//            as the subclass touches nothing of itself afterwards; none comes later.
// Bounds:    pending_write_bytes() grows while a peer does not read: the owner sets the limit.
// Threading: the loop's thread; release_fd() hands the socket to another one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace gyre {

class Loop;

class Stream {
 public:
  Stream();
  virtual ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Takes the descriptor over, sets TCP_NODELAY, and does not read yet. Closes it on an error.
  Result<void> adopt(Loop& loop, int fd);

  // Makes a connection to "127.0.0.1" or "::1": on_connected or on_error follows, and only then it
  // may be read and written. An error: no address, or nothing left to connect with.
  Result<void> connect(Loop& loop, const std::string& address, std::uint16_t port);

  void read_start();
  void read_stop();
  bool reading() const { return reading_; }

  // True when the socket took all: `bytes` is then as it was, and its room the caller's. An error
  // of the socket comes later, as on_error. After close() the bytes are dropped.
  bool write(std::string&& bytes);
  std::size_t pending_write_bytes() const;

  // 0 turns it off.
  void set_keepalive(unsigned seconds);

  // Nothing is read, written or called back any more. Bytes not yet written are lost.
  void close();
  bool is_open() const { return block_ != nullptr; }
  // Whether the other side has closed it, or will at least send no more; bytes of it may still wait
  // to be read.
  bool peer_closed() const;

  // A duplicate of the descriptor for another thread; this stream is closed. -1 while bytes wait to
  // be written, or when there are no descriptors left: the stream stays as it is.
  int release_fd();

  // "127.0.0.1:6379", "[::1]:6379"; empty when the socket cannot tell.
  const std::string& peer_address() const { return peer_address_; }
  const std::string& local_address() const { return local_address_; }

 protected:
  // Where the next bytes go, valid until on_read. Empty: no room; reading stops until read_start().
  virtual std::span<char> read_buffer() = 0;
  virtual void on_read(std::size_t n) = 0;
  // A buffer was asked for, and nothing came into it.
  virtual void on_nothing_read() {}
  // What write() could not send at once has been sent.
  virtual void on_drained() {}
  virtual void on_connected() {}
  virtual void on_eof() = 0;
  virtual void on_error(const std::string& why) = 0;

 private:
  struct Block;
  struct Callbacks;
  struct Closer {
    void operator()(Block* block) const noexcept;
  };

  std::unique_ptr<Block, Closer> block_;
  bool reading_ = false;
  std::string peer_address_;
  std::string local_address_;
};

}  // namespace gyre
