#include "net/stream.h"

#include <unistd.h>

#include <array>
#include <fstream>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "net/listener.h"
#include "pump.h"

namespace gyre {
namespace {

int connect_to(std::uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  return fd;
}

struct Collector : Stream {
  std::array<char, 1000> room{};
  std::string got;
  std::string error;
  bool ended = false;
  std::span<char> read_buffer() override { return room; }
  void on_read(std::size_t n) override { got.append(room.data(), n); }
  void on_eof() override { ended = true; }
  void on_error(const std::string& why) override { error = why; }
};

struct Accepted {
  Loop& loop;
  int fd = -1;
  std::string address;
  Listener listener;
  explicit Accepted(Loop& l)
      : loop(l), listener(l, [this](int f, std::string a) {
          fd = f;
          address = std::move(a);
        }) {}
  std::uint16_t open() {
    const std::vector<std::string> hosts{"127.0.0.1"};
    REQUIRE(listener.open(hosts, 0, 16));
    return listener.port();
  }
  int take() {
    REQUIRE(pump(loop, [&] { return fd >= 0; }));
    return std::exchange(fd, -1);
  }
};

// Grows its buffer by what it gives out, as clients' connections do.
struct Growing : Stream {
  static constexpr std::size_t step = 1000;
  std::string bytes;
  std::size_t at = 0, empty_reads = 0;
  std::span<char> read_buffer() override {
    at = bytes.size();
    bytes.resize(at + step);
    return {bytes.data() + at, step};
  }
  void on_read(std::size_t n) override { bytes.resize(at + n); }
  void on_nothing_read() override {
    ++empty_reads;
    bytes.resize(at);
  }
  void on_eof() override { bytes.resize(at); }
  void on_error(const std::string&) override {}
};

TEST_SUITE("net/stream") {
  TEST_CASE("a full buffer is read again, and nothing may be there") {
    Loop loop;
    Accepted accepted(loop);
    const int client = connect_to(accepted.open());
    Growing stream;
    REQUIRE(stream.adopt(loop, accepted.take()));
    stream.read_start();
    std::string sent;
    for (int i = 0; i < 3; ++i) {
      const std::string piece(Growing::step, static_cast<char>('a' + i));
      REQUIRE(send(client, piece.data(), piece.size(), 0) == static_cast<ssize_t>(piece.size()));
      sent += piece;
      CHECK(pump(loop, [&] { return stream.empty_reads == static_cast<std::size_t>(i) + 1; }));
      CHECK((stream.bytes == sent));
    }
    ::close(client);
  }

  TEST_CASE("bytes both ways, then the end") {
    Loop loop;
    Accepted accepted(loop);
    const int client = connect_to(accepted.open());
    Collector stream;
    REQUIRE(stream.adopt(loop, accepted.take()));
    CHECK(stream.peer_address() == accepted.address);
    CHECK(stream.local_address() == "127.0.0.1:" + std::to_string(accepted.listener.port()));
    stream.set_keepalive(60);
    REQUIRE(send(client, "hello", 5, 0) == 5);
    pump_for(loop, 10);
    CHECK(stream.got.empty());  // not asked for
    stream.read_start();
    CHECK(pump(loop, [&] { return stream.got == "hello"; }));
    stream.write("there");
    char text[5];
    REQUIRE(recv(client, text, 5, MSG_WAITALL) == 5);
    CHECK(std::string(text, 5) == "there");
    ::close(client);
    CHECK(pump(loop, [&] { return stream.ended; }));
  }

  TEST_CASE("what the socket does not take waits, in order") {
    Loop loop;
    Accepted accepted(loop);
    const int client = connect_to(accepted.open());
    Collector stream;
    REQUIRE(stream.adopt(loop, accepted.take()));
    std::string sent;
    for (int i = 0; i < 40; ++i) {
      const std::string piece(250'000, static_cast<char>('a' + i % 26));
      sent += piece;
      stream.write(std::string(piece));
    }
    CHECK(stream.pending_write_bytes() > 0);
    CHECK(stream.release_fd() == -1);
    std::string received;
    std::vector<char> room(1 << 20);
    CHECK(pump(loop, [&] {
      for (;;) {
        const ssize_t n = recv(client, room.data(), room.size(), MSG_DONTWAIT);
        if (n <= 0) break;
        received.append(room.data(), static_cast<std::size_t>(n));
      }
      return received.size() == sent.size();
    }));
    CHECK((received == sent));
    CHECK(stream.pending_write_bytes() == 0);
    ::close(client);
  }

  TEST_CASE("a reset peer is an error of the stream; closing early leaks nothing") {
    Loop loop;
    Accepted accepted(loop);
    const int client = connect_to(accepted.open());
    Collector stream;
    REQUIRE(stream.adopt(loop, accepted.take()));
    stream.write(std::string(20'000'000, 'x'));
    const linger abort{1, 0};
    setsockopt(client, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    ::close(client);
    CHECK(pump(loop, [&] { return !stream.error.empty(); }));

    const int other = connect_to(accepted.listener.port());
    Collector second;
    REQUIRE(second.adopt(loop, accepted.take()));
    second.write(std::string(20'000'000, 'x'));
    second.close();
    pump_for(loop, 5);
    CHECK(second.error.empty());
    ::close(other);
  }

  TEST_CASE("a descriptor moves to another loop") {
    Loop loop;
    Loop other_loop;
    Accepted accepted(loop);
    const int client = connect_to(accepted.open());
    Collector first;
    REQUIRE(first.adopt(loop, accepted.take()));
    first.read_start();
    const int fd = first.release_fd();
    REQUIRE(fd >= 0);
    CHECK_FALSE(first.is_open());
    pump_for(loop, 5);
    Collector second;
    REQUIRE(second.adopt(other_loop, fd));
    second.read_start();
    REQUIRE(send(client, "moved", 5, 0) == 5);
    CHECK(pump(other_loop, [&] { return second.got == "moved"; }));
    ::close(client);
  }
}

TEST_SUITE("net/listener") {
  TEST_CASE("a port in use is named") {
    Loop loop;
    Accepted first(loop);
    const std::uint16_t port = first.open();
    Accepted second(loop);
    const std::vector<std::string> hosts{"127.0.0.1"};
    const auto opened = second.listener.open(hosts, port, 16);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().detail ==
          "cannot listen on 127.0.0.1 port " + std::to_string(port) + ": address already in use");
  }

  TEST_CASE("an absent address is an error unless it is optional") {
    Loop loop;
    Listener listener(loop, [](int fd, const std::string&) { ::close(fd); });
    CHECK_FALSE(listener.open(std::vector<std::string>{"192.0.2.77"}, 0, 16));
    CHECK_FALSE(listener.open(std::vector<std::string>{"-192.0.2.77"}, 0, 16));  // none is left
    REQUIRE(listener.open(std::vector<std::string>{"127.0.0.1", "-192.0.2.77"}, 0, 16));
    CHECK(listener.addresses() ==
          std::vector<std::string>{"127.0.0.1:" + std::to_string(listener.port())});
    listener.close();
    REQUIRE(listener.open(std::vector<std::string>{"*", "-::*"}, 0, 16));
    CHECK(listener.addresses().front() == "0.0.0.0:" + std::to_string(listener.port()));
  }

  TEST_CASE("pause leaves connections in the backlog") {
    Loop loop;
    Accepted accepted(loop);
    const std::uint16_t port = accepted.open();
    accepted.listener.pause();
    const int client = connect_to(port);
    pump_for(loop, 20);
    CHECK(accepted.fd == -1);
    accepted.listener.resume();
    ::close(accepted.take());
    ::close(client);
  }
}

}  // namespace
}  // namespace gyre
