#include "net/address.h"

#include <cstddef>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace gyre {
namespace {

// Copies, because a sockaddr_storage may not be read as another struct in place.
template <class Address>
Address as(const sockaddr_storage& address) {
  Address out;
  std::memcpy(&out, &address, sizeof out);
  return out;
}

}  // namespace

std::string address_text(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto in = as<sockaddr_in>(address);
    inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
    return std::string(text) + ':' + std::to_string(port_of(address));
  }
  if (address.ss_family == AF_INET6) {
    const auto in = as<sockaddr_in6>(address);
    inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof text);
    return '[' + std::string(text) + "]:" + std::to_string(port_of(address));
  }
  return "";
}

std::string peer_address_of(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  return address_text(address);
}

std::string local_address_of(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  return address_text(address);
}

std::uint16_t port_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) return ntohs(as<sockaddr_in>(address).sin_port);
  if (address.ss_family == AF_INET6) return ntohs(as<sockaddr_in6>(address).sin6_port);
  return 0;
}

void set_port(sockaddr_storage& address, std::uint16_t port) {
  const std::uint16_t wire = htons(port);
  char* const bytes = reinterpret_cast<char*>(&address);
  if (address.ss_family == AF_INET) {
    std::memcpy(bytes + offsetof(sockaddr_in, sin_port), &wire, sizeof wire);
  } else if (address.ss_family == AF_INET6) {
    std::memcpy(bytes + offsetof(sockaddr_in6, sin6_port), &wire, sizeof wire);
  }
}

}  // namespace gyre
