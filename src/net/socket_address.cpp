#include "net/socket_address.hpp"

#include <arpa/inet.h>

#include <cstring>

namespace riffle::net {

bool is_v4_mapped(const in6_addr& address) noexcept { return IN6_IS_ADDR_V4MAPPED(&address) != 0; }

in6_addr to_in6(const Address& address) noexcept {
  in6_addr ip{};
  if (address.family == Address::Family::ipv4) {
    ip.s6_addr[10] = 0xff;
    ip.s6_addr[11] = 0xff;
    std::memcpy(ip.s6_addr + 12, address.bytes.data(), 4);
  } else {
    std::memcpy(ip.s6_addr, address.bytes.data(), 16);
  }
  return ip;
}

Address from_in6(const in6_addr& ip, std::uint16_t port, std::uint32_t scope) noexcept {
  Address address;
  address.port = port;
  if (is_v4_mapped(ip)) {
    address.family = Address::Family::ipv4;
    std::memcpy(address.bytes.data(), ip.s6_addr + 12, 4);
    return address;
  }
  address.family = Address::Family::ipv6;
  std::memcpy(address.bytes.data(), ip.s6_addr, 16);
  if (IN6_IS_ADDR_LINKLOCAL(&ip)) address.scope = scope;
  return address;
}

Address from_in4(const in_addr& ip, std::uint16_t port) noexcept {
  Address address;
  address.family = Address::Family::ipv4;
  address.port = port;
  std::memcpy(address.bytes.data(), &ip, 4);
  return address;
}

SocketAddress to_socket_address(const Address& address, int family) noexcept {
  SocketAddress out;
  if (address.family == Address::Family::none) return out;
  if (family == AF_INET6) {
    out.v6 = {};
    out.v6.sin6_family = AF_INET6;
    out.v6.sin6_port = htons(address.port);
    out.v6.sin6_addr = to_in6(address);
    out.v6.sin6_scope_id = address.scope;
    out.size = sizeof(sockaddr_in6);
  } else if (family == AF_INET && address.family == Address::Family::ipv4) {
    out.v4 = {};
    out.v4.sin_family = AF_INET;
    out.v4.sin_port = htons(address.port);
    std::memcpy(&out.v4.sin_addr, address.bytes.data(), 4);
    out.size = sizeof(sockaddr_in);
  }
  return out;
}

Address from_socket_address(const SocketAddress& address) noexcept {
  if (address.any.sa_family == AF_INET6) {
    return from_in6(address.v6.sin6_addr, ntohs(address.v6.sin6_port), address.v6.sin6_scope_id);
  }
  if (address.any.sa_family == AF_INET) return from_in4(address.v4.sin_addr, ntohs(address.v4.sin_port));
  return {};
}

int family_of(const Address& address) noexcept {
  switch (address.family) {
    case Address::Family::ipv4:
      return AF_INET;
    case Address::Family::ipv6:
      return AF_INET6;
    case Address::Family::none:
      break;
  }
  return AF_UNSPEC;
}

}  // namespace riffle::net
