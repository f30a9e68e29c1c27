#include "net/peer_link.h"

#include <unistd.h>

#include <array>
#include <thread>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "net/bus_server.h"
#include "net/listener.h"
#include "pump.h"

namespace gyre {
namespace {

const std::string secret = "a secret of enough bytes";

// A deadline that a test does not wait for must not come before it on a machine that is busy.
constexpr std::uint64_t far_ms = 60'000;

// A node's bus port: echoes every batch at once unless told to hold answers back.
struct Node {
  BusServer bus;
  Listener listener;
  bool echo = true;
  BusConnection* last = nullptr;
  std::vector<std::string> batches;
  std::vector<std::string> closed;
  std::string refuse;

  explicit Node(Loop& loop, std::uint64_t handshake_ms = far_ms)
      : bus(loop, {secret,
                   {1, "shop", "n2", 0, 2, "ring"},
                   [this](const HelloFields&) { return refuse; },
                   60,
                   handshake_ms}),
        listener(loop, [this](int fd, const std::string&) { bus.accept(fd); }) {
    bus.on_authenticated = [this](BusConnection& c) { last = &c; };
    bus.on_batch = [this](BusConnection& c, std::string_view batch) {
      if (echo) return c.reply(batch);
      batches.emplace_back(batch);
    };
    bus.on_closed = [this](BusConnection& c, const std::string& why) {
      if (last == &c) last = nullptr;
      closed.push_back(why);
    };
    REQUIRE(listener.open(std::vector<std::string>{"127.0.0.1"}, 0, 128));
  }
};

struct Caller {
  PeerLink link;
  int ups = 0;
  std::vector<std::string> downs;
  std::vector<std::string> replies;

  static PeerLink::Options options(std::string with_secret = secret) {
    PeerLink::Options o;
    o.secret = std::move(with_secret);
    o.own = {1, "shop", "n1", 1, 4, "ring"};
    o.expected_node = "n2";
    o.attempt_ms = far_ms;
    return o;
  }

  Caller(Loop& loop, std::uint16_t port, PeerLink::Options with = options(),
         const std::string& host = "127.0.0.1")
      : link(loop, std::move(with)) {
    link.on_up = [this](const AnswererInfo& info) {
      CHECK(info.node == "n2");
      CHECK(info.threads == 2);
      ++ups;
    };
    link.on_down = [this](const std::string& why) { downs.push_back(why); };
    link.on_reply = [this](std::string_view batch) { replies.emplace_back(batch); };
    link.connect(host, port);
  }
};

int connect_to(std::uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  return fd;
}

// Holds a port on which nobody listens. A listener of this process may still take it.
class BoundPort {
 public:
  BoundPort() {
    const int yes = 1;
    REQUIRE(setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(bind(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
    socklen_t size = sizeof at;
    REQUIRE(getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size) == 0);
    port_ = ntohs(at.sin_port);
  }
  ~BoundPort() { ::close(fd_); }
  BoundPort(const BoundPort&) = delete;
  BoundPort& operator=(const BoundPort&) = delete;
  std::uint16_t port() const { return port_; }

 private:
  int fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::uint16_t port_ = 0;
};

// What comes until the other side closes.
std::string read_to_end(Loop& loop, int fd) {
  std::string out;
  bool ended = false;
  CHECK(pump(loop, [&] {
    char room[512];
    ssize_t n = 0;
    while ((n = recv(fd, room, sizeof room, MSG_DONTWAIT)) > 0) {
      out.append(room, static_cast<std::size_t>(n));
    }
    if (n == 0 || errno != EAGAIN) ended = true;
    return ended;
  }));
  ::close(fd);
  return out;
}

// A peer that answers whatever it is sent with fixed bytes.
struct Liar : Stream {
  std::string answer;
  std::array<char, 4096> room{};
  explicit Liar(std::string a) : answer(std::move(a)) {}
  std::span<char> read_buffer() override { return room; }
  void on_read(std::size_t) override { write(std::string(answer)); }
  void on_eof() override { close(); }
  void on_error(const std::string&) override { close(); }
};

TEST_SUITE("net/peer_link") {
  TEST_CASE("batches are echoed, in order, also through a name") {
    Loop loop;
    Node node(loop);
    Caller caller(loop, node.listener.port(), Caller::options(), "localhost");
    CHECK_FALSE(caller.link.send_batch("too early"));
    REQUIRE(pump(loop, [&] { return caller.link.up(); }));
    CHECK(node.last->peer().node == "n1");
    CHECK(node.last->peer().shard == 1);
    for (int i = 0; i < 100; ++i) CHECK(caller.link.send_batch("batch " + std::to_string(i)));
    CHECK(caller.link.outstanding() == 100);
    REQUIRE(pump(loop, [&] { return caller.replies.size() == 100; }));
    for (int i = 0; i < 100; ++i)
      CHECK(caller.replies[static_cast<std::size_t>(i)] == "batch " + std::to_string(i));
    CHECK(caller.link.outstanding() == 0);
    CHECK(caller.link.oldest_unanswered_ms() == 0);
    CHECK(caller.ups == 1);
  }

  TEST_CASE("answers may come later") {
    Loop loop;
    Node node(loop);
    node.echo = false;
    Caller caller(loop, node.listener.port());
    REQUIRE(pump(loop, [&] { return caller.link.up(); }));
    CHECK(caller.link.send_batch("a"));
    CHECK(caller.link.send_batch(""));
    REQUIRE(pump(loop, [&] { return node.batches.size() == 2; }));
    pump_for(loop, 20);
    CHECK(caller.link.outstanding() == 2);
    CHECK(caller.link.oldest_unanswered_ms() >= 15);
    node.last->reply("A");
    node.last->reply(std::string("\0\r\n", 3));
    REQUIRE(pump(loop, [&] { return caller.replies.size() == 2; }));
    CHECK(caller.replies == std::vector<std::string>{"A", std::string("\0\r\n", 3)});
  }

  TEST_CASE("a batch of 10 MB, there and back, on two threads") {
    Loop loop;
    Loop other_loop;
    Node node(other_loop);
    std::thread other([&] { other_loop.run(); });
    {
      Caller caller(loop, node.listener.port());
      REQUIRE(pump(loop, [&] { return caller.link.up(); }));
      std::string batch(10'000'000, 'x');
      for (std::size_t i = 0; i < batch.size(); i += 997) batch[i] = static_cast<char>(i);
      CHECK(caller.link.send_batch(batch));
      CHECK(caller.link.send_batch("small"));
      REQUIRE(pump(loop, [&] { return caller.replies.size() == 2; }));
      CHECK((caller.replies[0] == batch));
      CHECK(caller.replies[1] == "small");
    }
    other_loop.stop();
    other.join();
  }

  TEST_CASE("more batches than may be unanswered rest and go on") {
    Loop loop;
    Node node(loop);
    node.echo = false;
    Caller caller(loop, node.listener.port());
    REQUIRE(pump(loop, [&] { return caller.link.up(); }));
    for (int i = 0; i < 1500; ++i) CHECK(caller.link.send_batch(std::to_string(i)));
    REQUIRE(pump(loop, [&] { return node.batches.size() == 1024; }));
    pump_for(loop, 20);
    CHECK(node.batches.size() == 1024);
    for (int i = 0; i < 1024; ++i) node.last->reply("");
    REQUIRE(pump(loop, [&] { return node.batches.size() == 1500; }));
    CHECK(node.batches.back() == "1499");
    REQUIRE(pump(loop, [&] { return caller.replies.size() == 1024; }));
    int taken = 1500;
    while (caller.link.send_batch("")) ++taken;
    CHECK(caller.link.outstanding() == 4096);
  }

  TEST_CASE("the link comes back after either side lets go") {
    Loop loop;
    Node node(loop);
    node.echo = false;
    Caller caller(loop, node.listener.port());
    REQUIRE(pump(loop, [&] { return caller.link.up(); }));
    CHECK(caller.link.send_batch("lost"));
    node.last->end("enough");
    REQUIRE(pump(loop, [&] { return caller.ups == 2; }));
    CHECK(caller.downs.size() == 1);
    CHECK(node.closed == std::vector<std::string>{"enough"});
    CHECK(caller.link.outstanding() == 0);
    CHECK(caller.link.send_batch("x"));
    caller.link.break_link("no answer for 2 s");
    CHECK_FALSE(caller.link.up());
    CHECK_FALSE(caller.link.send_batch("y"));
    CHECK(caller.downs.size() == 1);  // not from within our call
    REQUIRE(pump(loop, [&] { return caller.ups == 3; }));
    REQUIRE(caller.downs.size() == 2);
    CHECK(caller.downs[1] == "no answer for 2 s");
  }

  TEST_CASE("a connection that was reset is noticed") {
    Loop loop;
    Node node(loop);
    Caller caller(loop, node.listener.port());
    REQUIRE(pump(loop, [&] { return caller.link.up(); }));
    const int fd = node.last->release_fd();
    const linger abort{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    ::close(fd);
    REQUIRE(pump(loop, [&] { return caller.ups == 2; }));
    CHECK(caller.downs.size() == 1);
  }

  TEST_CASE("from within a callback the link may be written to and broken") {
    Loop loop;
    Node node(loop);
    Caller caller(loop, node.listener.port());
    int replies = 0;
    caller.link.on_up = [&](const AnswererInfo&) { CHECK(caller.link.send_batch("first")); };
    caller.link.on_reply = [&](std::string_view) {
      if (++replies < 50) {
        CHECK(caller.link.send_batch("next"));
      } else if (replies == 50) {
        caller.link.break_link("enough");
      }
    };
    REQUIRE(pump(loop, [&] { return replies == 51; }));
    CHECK(caller.downs == std::vector<std::string>{"enough"});
  }

  TEST_CASE("a reply that nobody asked for breaks the link, not the process") {
    Loop loop;
    Node node(loop);
    Caller caller(loop, node.listener.port());
    for (const std::string junk : {"$1\r\nx\r\n", ":1\r\n", "-ERR x\r\n", "*0\r\n", "$-1\r\n"}) {
      REQUIRE(pump(loop, [&] { return caller.link.up(); }));
      const auto downs = caller.downs.size();
      node.last->write(std::string(junk));
      REQUIRE(pump(loop, [&] { return caller.downs.size() > downs; }));
      CHECK(caller.downs.back() == "the peer sent a reply that was not due");
    }
  }

  TEST_CASE("nobody listens, then somebody does") {
    Loop loop;
    const BoundPort bound;  // a port that was let go could be given to another process
    const std::uint16_t port = bound.port();
    Caller caller(loop, port);
    REQUIRE(pump(loop, [&] { return caller.link.attempts() >= 3; }));
    CHECK(caller.link.last_failure() == "cannot connect: Connection refused");
    CHECK(caller.downs.empty());
    Node* later = nullptr;
    Listener listener(loop, [&](int fd, const std::string&) { later->bus.accept(fd); });
    Node node(loop);
    later = &node;
    REQUIRE(listener.open(std::vector<std::string>{"127.0.0.1"}, port, 16));
    CHECK(pump(loop, [&] { return caller.link.up(); }));
    node.bus.end_all("over");
    listener.close();
    pump_for(loop, 5);
  }

  TEST_CASE("a name that does not resolve is no more than a reason") {
    Loop loop;
    auto options = Caller::options();
    options.attempt_ms = 300;  // a resolver that hangs is one, too
    Caller caller(loop, 1, options, "no-such-host.invalid");
    CHECK(pump(loop, [&] {
      return caller.link.last_failure().find("no-such-host") != std::string::npos;
    }));
  }

  TEST_CASE("refusals reach the caller") {
    Loop loop;
    Node node(loop);
    Caller stranger(loop, node.listener.port(), Caller::options("another secret, as long"));
    CHECK(pump(loop, [&] { return !stranger.link.last_failure().empty(); }));
    CHECK(stranger.link.last_failure() == "the peer does not hold the same cluster secret");
    auto options = Caller::options();
    options.own.format = 2;
    Caller newer(loop, node.listener.port(), options);
    CHECK(pump(loop, [&] { return !newer.link.last_failure().empty(); }));
    CHECK(newer.link.last_failure() ==
          "refused: ERR message format 2 of the caller is not format 1 of node 'n2'");
    node.refuse = "our rings differ in n3";
    Caller other(loop, node.listener.port());
    CHECK(pump(loop, [&] { return !other.link.last_failure().empty(); }));
    CHECK(other.link.last_failure() == "refused: ERR our rings differ in n3");
    CHECK(node.closed.empty());
  }

  TEST_CASE("a peer that says nothing, or too much") {
    Loop loop;
    std::string answer;
    std::vector<std::unique_ptr<Liar>> liars;
    Listener listener(loop, [&](int fd, const std::string&) {
      liars.push_back(std::make_unique<Liar>(answer));
      REQUIRE(liars.back()->adopt(loop, fd));
      liars.back()->read_start();
    });
    REQUIRE(listener.open(std::vector<std::string>{"127.0.0.1"}, 0, 16));
    const auto failure = [&](const std::string& says) {
      answer = says;
      auto options = Caller::options();
      if (says.empty())
        options.attempt_ms = 1000;  // enough to connect, which has no other deadline
      Caller caller(loop, listener.port(), options);
      CHECK(pump(loop, [&] { return !caller.link.last_failure().empty(); }));
      return caller.link.last_failure();
    };
    const std::string malformed =
        "the answer to the greeting is malformed: is this a Gyre bus port?";
    CHECK(failure("") == "no handshake in time");
    CHECK(failure("+OK\r\n") == malformed);
    CHECK(failure("+OK\r\n+OK\r\n+OK\r\n") == malformed);
    CHECK(failure("*0\r\n") == malformed);
    CHECK(failure("*4\r\n:1\r\n:2\r\n$-1\r\n$1\r\nx\r\n") == malformed);
    CHECK(failure("*2000000000\r\n") == "the peer sent a reply that was not due");
    CHECK(failure("*1\r\n*1\r\n+x\r\n") == "the peer sent a reply that was not due");
    CHECK(failure("$1000000\r\n" + std::string(100'000, 'x')) == "the peer's greeting is too long");
    CHECK(failure("HTTP/1.1 400 Bad Request\r\n").find("Protocol error") == 0);
  }
}

TEST_SUITE("net/bus_server") {
  TEST_CASE("junk closes the connection") {
    Loop loop;
    Node node(loop);
    const auto after = [&](const std::string& bytes) {
      const int fd = connect_to(node.listener.port());
      REQUIRE(send(fd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
      return read_to_end(loop, fd);
    };
    CHECK(after("GET / HTTP/1.1\r\n\r\n") ==
          "-ERR the bus port is for nodes of a Gyre cluster\r\n");
    CHECK(after("*1\r\n$4\r\nPING\r\n") == "-ERR the bus port is for nodes of a Gyre cluster\r\n");
    CHECK(after("*2\r\n$10\r\nGYRE.BATCH\r\n$0\r\n\r\n").starts_with("-ERR"));
    CHECK(after("*2\r\n$9\r\nGYRE.AUTH\r\n$1\r\nx\r\n") == "-ERR not greeted yet\r\n");
    CHECK(after("*1000\r\n") == "-ERR Protocol error: unauthenticated multibulk length\r\n");
    CHECK(after("*1\r\n$1000000\r\n") == "-ERR Protocol error: unauthenticated bulk length\r\n");
    CHECK(pump(loop, [&] { return node.bus.connections() == 0; }));
    CHECK(node.closed.empty());
  }

  TEST_CASE("silence ends at the deadline") {
    Loop loop;
    Node node(loop, 50);
    const int fd = connect_to(node.listener.port());
    CHECK(read_to_end(loop, fd).empty());
  }

  TEST_CASE("only so many may be unauthenticated") {
    Loop loop;
    Node node(loop);
    std::vector<int> fds;
    for (int i = 0; i < 64; ++i) fds.push_back(connect_to(node.listener.port()));
    REQUIRE(pump(loop, [&] { return node.bus.unauthenticated() == 64; }));
    CHECK(read_to_end(loop, connect_to(node.listener.port())).empty());
    CHECK(node.bus.unauthenticated() == 64);
    for (const int fd : fds) ::close(fd);
    CHECK(pump(loop, [&] { return node.bus.connections() == 0; }));
  }
}

}  // namespace
}  // namespace gyre
