#include "net/handshake.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>
#include <sys/stat.h>

namespace gyre {
namespace {

const std::string secret = "a secret of enough bytes";

HelloFields caller_fields() {
  return {1, "shop", "n1", 1, 4, "ring 3 of n1,n2,n3"};
}
HelloFields answerer_fields() {
  return {1, "shop", "n2", 0, 2, "ring 3 of n1,n2,n3"};
}

std::vector<std::string_view> views(const std::vector<std::string>& words) {
  return {words.begin(), words.end()};
}

struct Pair {
  HandshakeCaller caller;
  HandshakeAnswerer answerer;

  explicit Pair(HelloFields from = caller_fields(), HelloFields to = answerer_fields(),
                std::string caller_secret = secret, std::string expected = "n2",
                HandshakeAnswerer::CheckPeer check = {})
      : caller(std::move(caller_secret), std::move(from), std::move(expected), random_nonce()),
        answerer(secret, std::move(to), std::move(check), random_nonce()) {}

  // The text of whoever refuses first; empty when both are content.
  std::string run() {
    const auto hello = caller.hello();
    const auto answer = answerer.on_hello(views(hello));
    if (!answer) return "answerer: " + std::string(answer.error().text());
    const auto info = caller.verify(views(*answer));
    if (!info) return "caller: " + std::string(info.error().text());
    const auto auth = caller.auth();
    const auto peer = answerer.on_auth(views(auth));
    if (!peer) return "answerer: " + std::string(peer.error().text());
    CHECK(info->node == "n2");
    CHECK(info->threads == 2);
    CHECK(peer->node == "n1");
    CHECK(peer->shard == 1);
    CHECK(peer->threads == 4);
    return "";
  }
};

std::string write_secret(const std::string& text, mode_t mode) {
  const auto path =
      std::filesystem::temp_directory_path() / ("gyre-secret-" + std::to_string(getpid()));
  std::filesystem::remove(path);
  std::ofstream(path) << text;
  chmod(path.c_str(), mode);
  return path;
}

std::string secret_error(const std::string& path) {
  const auto read = read_secret(path);
  return read ? "" : std::string(read.error().text());
}

bool contains(const std::string& text, std::string_view part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

TEST_SUITE("net/handshake") {
  TEST_CASE("both sides prove the secret") {
    CHECK(Pair().run().empty());
    CHECK(Pair(caller_fields(), answerer_fields(), secret, "").run().empty());
  }

  TEST_CASE("the secret is not in what travels") {
    Pair pair;
    const auto hello = pair.caller.hello();
    const auto answer = pair.answerer.on_hello(views(hello));
    REQUIRE(answer);
    REQUIRE(pair.caller.verify(views(*answer)));
    for (const auto& words : {hello, *answer, pair.caller.auth()}) {
      for (const auto& word : words) CHECK(word.find(secret) == std::string::npos);
    }
  }

  TEST_CASE("a wrong secret is noticed by either side") {
    CHECK(contains(Pair(caller_fields(), answerer_fields(), "another secret of 16").run(),
                   "caller: the peer does not hold"));
    // A caller that does not care about our proof still has to bring its own.
    Pair pair;
    REQUIRE(pair.answerer.on_hello(views(pair.caller.hello())));
    const std::string forged(32, 'x');
    CHECK_FALSE(pair.answerer.on_auth(std::vector<std::string_view>{bus_auth, forged}));
  }

  TEST_CASE("a recorded exchange is worth nothing") {
    Pair first;
    const auto hello = first.caller.hello();
    const auto answer = first.answerer.on_hello(views(hello));
    REQUIRE(answer);
    REQUIRE(first.caller.verify(views(*answer)));
    const auto auth = first.caller.auth();
    REQUIRE(first.answerer.on_auth(views(auth)));

    Pair second;
    REQUIRE(second.answerer.on_hello(views(hello)));
    CHECK_FALSE(second.answerer.on_auth(views(auth)));
    CHECK_FALSE(second.caller.verify(views(*answer)));
    // Nor does it work a second time on the same object, nor the answerer's proof as the caller's.
    CHECK_FALSE(first.answerer.on_auth(views(auth)));
    Pair third;
    const auto own = third.answerer.on_hello(views(third.caller.hello()));
    REQUIRE(own);
    CHECK_FALSE(third.answerer.on_auth(std::vector<std::string_view>{bus_auth, (*own)[1]}));
  }

  TEST_CASE("a connection says what it is for, and nobody changes that on the way") {
    HelloFields from = caller_fields();
    from.role = LinkRole::heartbeat;
    Pair pair(from);
    REQUIRE(pair.run().empty());
    Pair changed(from);
    auto hello = changed.caller.hello();
    CHECK(hello[7] == "heartbeat");
    hello[7] = "data";
    const auto answer = changed.answerer.on_hello(views(hello));
    REQUIRE(answer);
    CHECK_FALSE(changed.caller.verify(views(*answer)));
    Pair other;
    hello = other.caller.hello();
    hello[7] = "gossip";
    CHECK_FALSE(other.answerer.on_hello(views(hello)));
  }

  TEST_CASE("a field changed on the way is noticed") {
    for (std::size_t field : {3u, 4u, 5u, 6u}) {
      Pair pair;
      auto hello = pair.caller.hello();
      hello[field] = field == 4 ? "0" : field == 5 ? "9" : hello[field] + "'";
      const auto answer = pair.answerer.on_hello(views(hello));
      CAPTURE(field);
      REQUIRE(answer);
      CHECK_FALSE(pair.caller.verify(views(*answer)));
    }
    for (std::size_t field : {0u, 1u, 2u, 3u}) {
      Pair pair;
      auto answer = pair.answerer.on_hello(views(pair.caller.hello()));
      REQUIRE(answer);
      (*answer)[field].back() ^= 1;
      CAPTURE(field);
      CHECK_FALSE(pair.caller.verify(views(*answer)));
    }
  }

  TEST_CASE("truncated messages are refused") {
    for (std::size_t n = 0; n < 9; ++n) {
      Pair pair;
      auto hello = pair.caller.hello();
      hello.resize(n);
      CAPTURE(n);
      CHECK_FALSE(pair.answerer.on_hello(views(hello)));
    }
    for (std::size_t n = 0; n < 4; ++n) {
      Pair pair;
      auto answer = pair.answerer.on_hello(views(pair.caller.hello()));
      REQUIRE(answer);
      answer->resize(n);
      CHECK_FALSE(pair.caller.verify(views(*answer)));
    }
    Pair pair;
    REQUIRE(pair.answerer.on_hello(views(pair.caller.hello())));
    CHECK_FALSE(pair.answerer.on_auth(std::vector<std::string_view>{bus_auth}));
    CHECK_FALSE(Pair().answerer.on_auth(std::vector<std::string_view>{bus_auth, "x"}));
  }

  TEST_CASE("those who do not belong together are told why") {
    auto other = caller_fields();
    other.format = 7;
    CHECK(contains(Pair(other).run(), "message format 7 of the caller is not format 1"));
    other = caller_fields();
    other.cluster = "bank";
    CHECK(contains(Pair(other).run(), "cluster 'bank' of the caller is not cluster 'shop'"));
    other = caller_fields();
    other.node = "n2";
    CHECK(
        contains(Pair(other).run(), "caller: the address leads to a node with our own name 'n2'"));
    other = caller_fields();
    other.shard = 4;
    CHECK(contains(Pair(other).run(), "shard and threads do not fit"));
    CHECK(contains(Pair(caller_fields(), answerer_fields(), secret, "n3").run(),
                   "leads to node 'n2', not to 'n3'"));
    const auto check = [](const HelloFields& peer) { return "the rings differ: " + peer.ring; };
    CHECK(contains(Pair(caller_fields(), answerer_fields(), secret, "n2", check).run(),
                   "answerer: the rings differ: ring 3 of n1,n2,n3"));
  }

  TEST_CASE("the secret file belongs to its owner alone") {
    const std::string good = "0123456789abcdef";
    const auto read = read_secret(write_secret(good + "\n", 0600));
    REQUIRE(read);
    CHECK(*read == good);
    CHECK(secret_error(write_secret(good, 0400)).empty());
    CHECK(contains(secret_error(write_secret(good, 0640)), "others than its owner"));
    CHECK(contains(secret_error(write_secret(good, 0604)), "others than its owner"));
    CHECK(contains(secret_error(write_secret("0123456789abcde\n", 0600)), "shorter than 16"));
    CHECK(contains(secret_error(write_secret(std::string(5000, 'x'), 0600)), "longer than 4096"));
    CHECK(contains(secret_error("/nonexistent/secret"), "No such file"));
    CHECK(contains(secret_error("/tmp"), "not a regular file"));
    std::filesystem::remove(write_secret("", 0600));
  }
}

}  // namespace
}  // namespace gyre
