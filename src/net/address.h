// Socket addresses as text: "127.0.0.1:6379", "[::1]:6379". For .cc files of net/.
#pragma once

#include <cstdint>
#include <string>

#include <sys/socket.h>

namespace gyre {

// Empty when the family is not IP.
std::string address_text(const sockaddr_storage& address);
// Empty as well when the socket cannot tell.
std::string peer_address_of(int fd);
std::string local_address_of(int fd);
// 0 when the family is not IP.
std::uint16_t port_of(const sockaddr_storage& address);
void set_port(sockaddr_storage& address, std::uint16_t port);

}  // namespace gyre
