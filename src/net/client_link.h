// ClientLink: one connection to a server that speaks Redis' protocol, as its client: what MIGRATE
// sends keys by.
//
//     resolving -> connecting -> up -> down      once; another connection is another object
//
// Replies come in the order of the commands. A reply that no command asked for ends the connection,
// and so does one over 1 MiB: none that is asked for is long.
//
// Callbacks come from the loop, never from within a call of the owner. Ownership: not destroyed
// inside its own callbacks. Threading: the loop's thread; names are resolved on libuv's pool.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/loop.h"
#include "net/stream.h"
#include "resp/reply_reader.h"
#include "resp/request.h"

namespace gyre {

class ClientLink final : public Stream {
 public:
  using Answered = std::function<void(const ReplyValue& reply)>;

  explicit ClientLink(Loop& loop);
  ~ClientLink() override;

  // Set before open(). on_down comes once, for whatever reason; what was not answered by then never
  // is.
  std::function<void()> on_up;
  std::function<void(const std::string& why)> on_down;

  void open(const std::string& host, std::uint16_t port);
  bool up() const { return up_; }
  // No more callbacks. Also inside of one.
  void end();
  // Only when it is up.
  void send(Args words, Answered answered);
  std::size_t unanswered() const { return answers_.size(); }

 protected:
  std::span<char> read_buffer() override;
  void on_read(std::size_t n) override;
  void on_connected() override;
  void on_eof() override { down("the other side has closed the connection"); }
  void on_error(const std::string& why) override;

 private:
  struct Resolve;
  static constexpr std::size_t reply_bytes_max = std::size_t{1} << 20;

  void try_next(std::string why);
  void down(const std::string& why);

  Loop& loop_;
  Resolve* resolve_ = nullptr;
  std::uint16_t port_ = 0;
  std::vector<std::string> addresses_;  // of the name, tried in order
  std::size_t tried_ = 0;
  bool up_ = false, ended_ = false;
  std::unique_ptr<char[]> room_;
  std::string input_;
  ReplyReader reader_;
  std::size_t reply_bytes_ = 0;  // of the reply that is being read
  std::deque<Answered> answers_;
  Timer later_;  // for what must not come from within a call
};

}  // namespace gyre
