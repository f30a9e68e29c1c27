// Handshake: how two nodes prove to each other that they hold the cluster's secret. Pure: no
// sockets.
//
//     caller                                                   answerer
//     GYRE.HELLO format cluster node shard threads ring role nonceC  ->
//                          <-  [nonceS, HMAC(secret, "server" | what was said), node, threads]
//     GYRE.AUTH HMAC(secret, "client" | what was said)    ->
//                                                         <-  OK, or why not
//
// What was said: every field of the hello and of the answer, nonces included, each with its length
// in front. The secret never travels; a recorded exchange is worth nothing, because both sides
// bring a fresh nonce, nor can an answer be turned around, because the two labels differ.
//
// Format and cluster name are compared at once. What else does not fit (the ring, the node's name)
// is told only to a caller that has proved the secret.
//
// Threading: none; one object per attempt.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "resp/request.h"

namespace gyre {

inline constexpr std::string_view bus_hello = "GYRE.HELLO";
inline constexpr std::string_view bus_auth = "GYRE.AUTH";
inline constexpr std::string_view bus_batch = "GYRE.BATCH";

// What a connection is for. Heartbeats have one of their own, so that they never wait behind data.
enum class LinkRole : std::uint8_t { data, heartbeat };

// What a node says of itself. A field longer than 16 KiB does not pass the answerer's parser.
struct HelloFields {
  std::uint32_t format = 0;  // of the messages that follow (wire_format)
  std::string cluster;
  std::string node;
  std::uint32_t shard = 0;  // the caller's thread that this link serves
  std::uint32_t threads = 0;
  std::string ring;  // a description that two nodes of one ring spell alike
  LinkRole role = LinkRole::data;
};

// What the caller learns of the answerer.
struct AnswererInfo {
  std::string node;
  std::uint32_t threads = 0;
};

using Nonce = std::array<char, 32>;
Nonce random_nonce();

// The secret in a file, without the newline at its end.
// Errors: io, when it cannot be read; config, when others than its owner can read it, or when it is
// shorter than 16 bytes or longer than 4096.
Result<std::string> read_secret(const std::string& path);

class HandshakeCaller {
 public:
  // expected_node: the answerer's name must be this one; empty: any but our own.
  HandshakeCaller(std::string secret, HelloFields own, std::string expected_node,
                  const Nonce& nonce);

  // The words of GYRE.HELLO.
  std::vector<std::string> hello() const;
  // Takes the answer's four elements. Errors: protocol, with a text for the log.
  Result<AnswererInfo> verify(Args answer);
  // The words of GYRE.AUTH, after verify().
  std::vector<std::string> auth() const;

 private:
  std::string secret_;
  HelloFields own_;
  std::string expected_node_;
  std::string nonce_;
  std::string said_;
};

class HandshakeAnswerer {
 public:
  // Why this caller is refused (an unknown node, another ring); empty: it is welcome.
  using CheckPeer = std::function<std::string(const HelloFields&)>;

  HandshakeAnswerer(std::string secret, HelloFields own, CheckPeer check_peer, const Nonce& nonce);

  // The four elements of the answer. Errors: protocol, with a text for the caller.
  Result<std::vector<std::string>> on_hello(Args words);
  // Who the caller is, now that it is proved. Errors as above. Once per object.
  Result<HelloFields> on_auth(Args words);

 private:
  enum class Step : std::uint8_t { hello, auth, over };

  std::string secret_;
  HelloFields own_;
  CheckPeer check_peer_;
  std::string nonce_;
  HelloFields peer_;
  std::string said_;
  Step step_ = Step::hello;
};

}  // namespace gyre
