#include "net/handshake.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <system_error>
#include <utility>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/numbers.h"

namespace gyre {
namespace {

constexpr std::size_t nonce_size = std::tuple_size_v<Nonce>;
constexpr std::size_t mac_size = 32;
constexpr std::size_t secret_size_min = 16;
constexpr std::size_t secret_size_max = 4096;

Error refusal(std::string why) {
  return Error(Errc::protocol, std::move(why));
}

std::string mac(const std::string& secret, std::string_view label, const std::string& said) {
  std::string message;
  put_bytes(message, label);
  message += said;
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  const auto* const made =
      HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
           reinterpret_cast<const unsigned char*>(message.data()), message.size(), out, &size);
  GYRE_ASSERT(made != nullptr);
  GYRE_ASSERT(size == mac_size);
  return std::string(reinterpret_cast<const char*>(out), size);
}

bool same_mac(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::optional<std::uint32_t> parse_u32(std::string_view text) {
  const auto n = parse_uint(text);
  if (!n || *n > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  return static_cast<std::uint32_t>(*n);
}

std::string_view role_name(LinkRole role) {
  return role == LinkRole::heartbeat ? "heartbeat" : "data";
}

std::string what_was_said(const HelloFields& caller, std::string_view caller_nonce,
                          const AnswererInfo& answerer, std::string_view answerer_nonce) {
  std::string said;
  put_bytes(said, std::to_string(caller.format));
  put_bytes(said, caller.cluster);
  put_bytes(said, caller.node);
  put_bytes(said, std::to_string(caller.shard));
  put_bytes(said, std::to_string(caller.threads));
  put_bytes(said, caller.ring);
  put_bytes(said, role_name(caller.role));
  put_bytes(said, answerer.node);
  put_bytes(said, std::to_string(answerer.threads));
  put_bytes(said, caller_nonce);
  put_bytes(said, answerer_nonce);
  return said;
}

class File {
 public:
  explicit File(const std::string& path)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

Nonce random_nonce() {
  Nonce nonce;
  ssize_t got = 0;
  do {
    got = getrandom(nonce.data(), nonce.size(), 0);
  } while (got < 0 && errno == EINTR);
  GYRE_ASSERT(got == static_cast<ssize_t>(nonce.size()));  // up to 256 bytes come whole
  return nonce;
}

Result<std::string> read_secret(const std::string& path) {
  const auto failed = [&](Errc code, const std::string& why) {
    return Error(code, "secret file '" + path + "': " + why);
  };
  const File file(path);
  struct stat status {};
  if (file.fd() < 0 || fstat(file.fd(), &status) != 0) {
    return failed(Errc::io, std::error_code(errno, std::generic_category()).message());
  }
  if (!S_ISREG(status.st_mode)) return failed(Errc::config, "not a regular file");
  if ((status.st_mode & 077) != 0) {
    return failed(Errc::config, "others than its owner can use it; chmod 600 helps");
  }
  std::string secret(secret_size_max + 2, '\0');
  const ssize_t n = read(file.fd(), secret.data(), secret.size());
  if (n < 0) return failed(Errc::io, std::error_code(errno, std::generic_category()).message());
  secret.resize(static_cast<std::size_t>(n));
  if (secret.ends_with('\n')) secret.pop_back();
  if (secret.ends_with('\r')) secret.pop_back();
  if (secret.size() < secret_size_min) return failed(Errc::config, "shorter than 16 bytes");
  if (secret.size() > secret_size_max) return failed(Errc::config, "longer than 4096 bytes");
  return secret;
}

HandshakeCaller::HandshakeCaller(std::string secret, HelloFields own, std::string expected_node,
                                 const Nonce& nonce)
    : secret_(std::move(secret)),
      own_(std::move(own)),
      expected_node_(std::move(expected_node)),
      nonce_(nonce.begin(), nonce.end()) {}

std::vector<std::string> HandshakeCaller::hello() const {
  return {std::string(bus_hello),
          std::to_string(own_.format),
          own_.cluster,
          own_.node,
          std::to_string(own_.shard),
          std::to_string(own_.threads),
          own_.ring,
          std::string(role_name(own_.role)),
          nonce_};
}

Result<AnswererInfo> HandshakeCaller::verify(Args answer) {
  if (answer.size() != 4 || answer[0].size() != nonce_size || answer[1].size() != mac_size) {
    return refusal("the answer to the greeting is malformed: is this a Gyre bus port?");
  }
  const auto threads = parse_u32(answer[3]);
  if (!threads) return refusal("the answer to the greeting has no number of threads");
  AnswererInfo info{std::string(answer[2]), *threads};
  said_ = what_was_said(own_, nonce_, info, answer[0]);
  if (!same_mac(answer[1], mac(secret_, "server", said_))) {
    return refusal("the peer does not hold the same cluster secret");
  }
  if (info.node == own_.node) {
    return refusal("the address leads to a node with our own name '" + own_.node + "'");
  }
  if (!expected_node_.empty() && info.node != expected_node_) {
    return refusal("the address leads to node '" + info.node + "', not to '" + expected_node_ +
                   "'");
  }
  return info;
}

std::vector<std::string> HandshakeCaller::auth() const {
  GYRE_ASSERT(!said_.empty());
  return {std::string(bus_auth), mac(secret_, "client", said_)};
}

HandshakeAnswerer::HandshakeAnswerer(std::string secret, HelloFields own, CheckPeer check_peer,
                                     const Nonce& nonce)
    : secret_(std::move(secret)),
      own_(std::move(own)),
      check_peer_(std::move(check_peer)),
      nonce_(nonce.begin(), nonce.end()) {}

Result<std::vector<std::string>> HandshakeAnswerer::on_hello(Args words) {
  if (std::exchange(step_, Step::over) != Step::hello) return refusal("greeted already");
  if (words.size() < 2 || !equals_ignore_case(words[0], bus_hello)) {
    return refusal("the bus port is for nodes of a Gyre cluster");
  }
  // The format first: another one may have other fields.
  const auto format = parse_u32(words[1]);
  if (!format) return refusal("the greeting has no format number");
  if (*format != own_.format) {
    return refusal("message format " + std::to_string(*format) + " of the caller is not format " +
                   std::to_string(own_.format) + " of node '" + own_.node + "'");
  }
  if (words.size() != 9 || words[8].size() != nonce_size)
    return refusal("the greeting is malformed");
  const LinkRole role =
      words[7] == role_name(LinkRole::heartbeat) ? LinkRole::heartbeat : LinkRole::data;
  if (words[7] != role_name(role)) return refusal("a connection is for data or for heartbeats");
  const auto shard = parse_u32(words[4]);
  const auto threads = parse_u32(words[5]);
  if (!shard || !threads || *shard >= *threads) {
    return refusal("the greeting's shard and threads do not fit");
  }
  peer_ = {*format,
           std::string(words[2]),
           std::string(words[3]),
           *shard,
           *threads,
           std::string(words[6]),
           role};
  if (peer_.cluster != own_.cluster) {
    return refusal("cluster '" + peer_.cluster + "' of the caller is not cluster '" + own_.cluster +
                   "' of node '" + own_.node + "'");
  }
  said_ = what_was_said(peer_, words[8], {own_.node, own_.threads}, nonce_);
  step_ = Step::auth;
  return std::vector<std::string>{nonce_, mac(secret_, "server", said_), own_.node,
                                  std::to_string(own_.threads)};
}

Result<HelloFields> HandshakeAnswerer::on_auth(Args words) {
  if (std::exchange(step_, Step::over) != Step::auth) return refusal("not greeted yet");
  if (words.size() != 2 || !equals_ignore_case(words[0], bus_auth)) {
    return refusal("a greeting is followed by GYRE.AUTH");
  }
  if (!same_mac(words[1], mac(secret_, "client", said_))) {
    return refusal("the caller does not hold the same cluster secret");
  }
  if (peer_.node == own_.node) {
    return refusal("the caller has the name of the node it calls, '" + own_.node + "'");
  }
  if (check_peer_) {
    if (std::string why = check_peer_(peer_); !why.empty()) return refusal(std::move(why));
  }
  return peer_;
}

}  // namespace gyre
