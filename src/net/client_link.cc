#include "net/client_link.h"

#include <netdb.h>
#include <uv.h>

#include <array>
#include <utility>
#include <vector>

#include "net/uv_handle.h"

namespace gyre {
namespace {

constexpr std::size_t read_bytes = 16 * 1024;

}  // namespace

// A request in flight outlives its link when the link goes first.
struct ClientLink::Resolve {
  uv_getaddrinfo_t request;
  ClientLink* link;

  static void found(uv_getaddrinfo_t* request, int status, addrinfo* found) noexcept {
    const std::unique_ptr<Resolve> resolve(reinterpret_cast<Resolve*>(request));
    std::vector<std::string> addresses;
    for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
      std::array<char, NI_MAXHOST> text{};
      if (getnameinfo(at->ai_addr, at->ai_addrlen, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST) == 0)
        addresses.emplace_back(text.data());
    }
    uv_freeaddrinfo(found);
    if (resolve->link == nullptr) return;
    resolve->link->resolve_ = nullptr;
    resolve->link->addresses_ = std::move(addresses);
    resolve->link->try_next(status != 0 ? uv_strerror(status) : "no address");
  }
};

ClientLink::ClientLink(Loop& loop) : loop_(loop), later_(loop) {}

ClientLink::~ClientLink() {
  if (resolve_ == nullptr) return;
  resolve_->link = nullptr;
  uv_cancel(reinterpret_cast<uv_req_t*>(&resolve_->request));
}

void ClientLink::open(const std::string& host, std::uint16_t port) {
  port_ = port;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  std::unique_ptr<Resolve> resolve(new Resolve{{}, this});
  if (const int status = uv_getaddrinfo(loop_.uv(), &resolve->request, Resolve::found, host.c_str(),
                                        nullptr, &hints);
      status != 0) {
    later_.start(0, 0, [this, why = std::string(uv_strerror(status))] { down(why); });
    return;
  }
  resolve_ = resolve.release();
}

// why: of what came before.
void ClientLink::try_next(std::string why) {
  while (!ended_ && tried_ < addresses_.size()) {
    const auto begun = connect(loop_, addresses_[tried_++], port_);
    if (begun) return;
    why = begun.error().text();
  }
  down(why);
}

void ClientLink::on_error(const std::string& why) {
  if (up_) return down(why);
  close();
  try_next(why);
}

void ClientLink::on_connected() {
  room_ = std::make_unique<char[]>(read_bytes);
  up_ = true;
  read_start();
  if (on_up) on_up();
}

void ClientLink::send(Args words, Answered answered) {
  GYRE_ASSERT(up_);
  std::string out = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string_view word : words) {
    out += "$" + std::to_string(word.size()) + "\r\n";
    out.append(word).append("\r\n");
  }
  answers_.push_back(std::move(answered));
  write(std::move(out));
}

std::span<char> ClientLink::read_buffer() {
  return {room_.get(), read_bytes};
}

void ClientLink::on_read(std::size_t n) {
  input_.append(room_.get(), n);
  reply_bytes_ += n;
  while (!input_.empty() && !ended_) {
    ReplyValue reply;
    std::size_t used = 0;
    const ReplyRead read = reader_.next(input_, used, reply);
    input_.erase(0, used);
    if (read == ReplyRead::error) return down(std::string(reader_.error().text()));
    if (read == ReplyRead::need_more) break;
    reply_bytes_ = input_.size();
    if (answers_.empty()) return down("the other side sent a reply that was not due");
    const Answered answered = std::move(answers_.front());
    answers_.pop_front();
    answered(reply);
  }
  if (reply_bytes_ > reply_bytes_max) down("a reply is over 1 MiB");
}

void ClientLink::end() {
  ended_ = true;
  up_ = false;
  close();
}

void ClientLink::down(const std::string& why) {
  if (ended_) return;
  end();
  if (on_down) on_down(why);
}

}  // namespace gyre
