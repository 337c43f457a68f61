// riffle's Address as the kernel wants it, and back.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <riffle/address.hpp>

namespace riffle::net {

/// The kernel's form of an address. `size` is 0 when there is none; the bytes are then undefined, as a receive has 56
/// of these for the kernel to fill.
struct SocketAddress {
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
  };
  socklen_t size = 0;
  SocketAddress() noexcept {}
};

/// The prefix ::ffff:0:0/96 (RFC 4291 section 2.5.5.2).
bool is_v4_mapped(const in6_addr& address) noexcept;
/// An IPv4 address for an AF_INET6 socket, as a v4-mapped one; an IPv6 address as it is.
in6_addr to_in6(const Address& address) noexcept;
/// `ip` with v4-mapped turned into IPv4; the scope is kept for link-local addresses only, as it means nothing
/// elsewhere.
Address from_in6(const in6_addr& ip, std::uint16_t port, std::uint32_t scope) noexcept;
Address from_in4(const in_addr& ip, std::uint16_t port) noexcept;

/// For a socket of `family` (AF_INET or AF_INET6). An IPv6 address for an AF_INET socket has no form: size 0.
SocketAddress to_socket_address(const Address& address, int family) noexcept;
/// Family none for anything but IPv4 and IPv6.
Address from_socket_address(const SocketAddress& address) noexcept;
/// AF_INET, AF_INET6 or AF_UNSPEC.
int family_of(const Address& address) noexcept;

}  // namespace riffle::net
