#include "net/client_link.h"

#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "net/listener.h"
#include "pump.h"

namespace gyre {
namespace {

struct Served : Stream {
  std::array<char, 1000> room{};
  std::string got;
  bool ended = false;
  std::span<char> read_buffer() override { return room; }
  void on_read(std::size_t n) override { got.append(room.data(), n); }
  void on_eof() override { ended = true; }
  void on_error(const std::string&) override { ended = true; }
};

// A link and the other side's end of it.
struct Pair {
  Loop loop;
  Served other;
  Listener listener{loop, [this](int fd, std::string) {
                      REQUIRE(other.adopt(loop, fd));
                      other.read_start();
                    }};
  ClientLink link{loop};
  bool up = false;
  std::vector<std::string> down;
  std::vector<std::string> replies;

  explicit Pair(const std::string& host = "127.0.0.1") {
    const std::vector<std::string> hosts{"127.0.0.1"};
    REQUIRE(listener.open(hosts, 0, 16));
    link.on_up = [this] { up = true; };
    link.on_down = [this](const std::string& why) { down.push_back(why); };
    link.open(host, listener.port());
  }
  void send(std::initializer_list<std::string_view> words) {
    link.send(std::vector<std::string_view>(words), [this](const ReplyValue& reply) {
      replies.push_back((reply.type == ReplyType::error ? "-" : "+") + reply.text);
    });
  }
  bool until(const std::function<bool()>& what) { return pump(loop, what); }
};

TEST_CASE("client link: commands leave, replies come in order") {
  Pair p("localhost");  // which may be ::1 first, where nobody listens
  REQUIRE(p.until([&] { return p.up && p.other.is_open(); }));
  p.send({"SET", "a", "x\r\ny"});
  p.send({"GET", ""});
  CHECK(p.link.unanswered() == 2);
  const std::string sent =
      "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\nx\r\ny\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n";
  REQUIRE(p.until([&] { return p.other.got.size() >= sent.size(); }));
  CHECK(p.other.got == sent);
  p.other.write("+O");
  p.other.write("K\r\n-ERR no\r\n");
  REQUIRE(p.until([&] { return p.replies.size() == 2; }));
  CHECK(p.replies == std::vector<std::string>{"+OK", "-ERR no"});
  p.other.close();
  REQUIRE(p.until([&] { return !p.down.empty(); }));
  CHECK(p.down.size() == 1);
}

TEST_CASE("client link: what was not asked for, or is too long, ends it") {
  for (const std::string& bytes : {std::string("+OK\r\n+OK\r\n"), std::string("nonsense\r\n"),
                                   "$2000000\r\n" + std::string(1'500'000, 'x')}) {
    Pair p;
    REQUIRE(p.until([&] { return p.up && p.other.is_open(); }));
    p.send({"PING"});
    p.other.write(std::string(bytes));
    REQUIRE(p.until([&] { return !p.down.empty(); }));
    CHECK(!p.link.up());
  }
}

TEST_CASE("client link: nobody there, no such name, ended from inside") {
  Loop loop;
  for (const char* host : {"127.0.0.1", "no.such.host.invalid"}) {
    ClientLink link(loop);
    std::string why;
    link.on_down = [&](const std::string& reason) { why = reason; };
    link.open(host, 1);
    REQUIRE(pump(loop, [&] { return !why.empty(); }));
    CHECK(!link.up());
  }
  Pair p;
  REQUIRE(p.until([&] { return p.up && p.other.is_open(); }));
  bool answered = false;
  const std::string_view words[] = {"PING"};
  p.link.send(words, [&](const ReplyValue&) {
    answered = true;
    p.link.end();
  });
  p.other.write("+PONG\r\n+MORE\r\n");
  REQUIRE(p.until([&] { return answered && p.other.ended; }));
  CHECK(p.down.empty());
}

}  // namespace
}  // namespace gyre
