#include "cli/addresses.hpp"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <cstring>
#include <memory>

namespace riffle::cli {
namespace {

Address address_of(const sockaddr* from, std::uint16_t port) {
  Address address{.port = port};
  if (from == nullptr) return address;
  if (from->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, from, sizeof v4);
    std::memcpy(address.bytes.data(), &v4.sin_addr, 4);
    address.family = Address::Family::ipv4;
  } else if (from->sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, from, sizeof v6);
    std::memcpy(address.bytes.data(), &v6.sin6_addr, 16);
    address.family = Address::Family::ipv6;
  }
  return address;
}

/// fe80::/10 (RFC 4291 section 2.5.6), 169.254.0.0/16 (RFC 3927).
bool is_link_local(const Address& address) {
  if (address.family == Address::Family::ipv6) return address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
  return address.bytes[0] == 169 && address.bytes[1] == 254;
}

}  // namespace

std::vector<std::string> reachable_addresses(const Address& listener) {
  if (!listener.is_any()) return {listener.to_string()};
  std::vector<std::string> found, loopback;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {Address::loopback_v4(listener.port).to_string()};
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owned(list, ::freeifaddrs);
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if ((entry->ifa_flags & IFF_UP) == 0) continue;
    const Address address = address_of(entry->ifa_addr, listener.port);
    // A wildcard of IPv4 takes IPv4 only; [::] takes both.
    const bool is_taken = address.family == Address::Family::ipv4 || address.family == listener.family;
    if (address.family == Address::Family::none || !is_taken || is_link_local(address)) continue;
    ((entry->ifa_flags & IFF_LOOPBACK) != 0 ? loopback : found).push_back(address.to_string());
  }
  return found.empty() ? loopback : found;
}

}  // namespace riffle::cli
