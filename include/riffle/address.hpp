// An IP address with a port, as a plain value.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include <riffle/error.hpp>

namespace riffle {
inline namespace v1 {

/// Purpose: one UDP or TCP endpoint. Units: port in host byte order; `bytes` in network order, IPv4 in the first four.
struct Address {
  enum class Family : std::uint8_t { none, ipv4, ipv6 };

  std::array<std::uint8_t, 16> bytes{};
  std::uint32_t scope = 0;  ///< IPv6 zone index
  std::uint16_t port = 0;
  Family family = Family::none;

  static Address loopback_v4(std::uint16_t port) noexcept;
  static Address loopback_v6(std::uint16_t port) noexcept;
  static Address any_v4(std::uint16_t port) noexcept;
  static Address any_v6(std::uint16_t port) noexcept;
  /// Parses "192.0.2.1:443" or "[2001:db8::1]:443". Numeric only: nothing is resolved.
  static Result<Address> parse(std::string_view text);

  bool is_any() const noexcept;
  std::string to_string() const;
  friend bool operator==(const Address&, const Address&) = default;
  friend std::strong_ordering operator<=>(const Address&, const Address&) = default;
};

/// "host:port", "[v6]:port" or ":port", split but not resolved.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
  static Result<HostPort> parse(std::string_view text);
  std::string to_string() const;
};

}  // namespace v1
}  // namespace riffle
