#include <riffle/address.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace riffle {
inline namespace v1 {
namespace {

Address make_v4(std::uint32_t host_order, std::uint16_t port) noexcept {
  Address address;
  address.family = Address::Family::ipv4;
  address.port = port;
  for (int i = 0; i < 4; ++i)
    address.bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
  return address;
}

Result<std::uint16_t> parse_port(std::string_view text, std::string_view whole) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value > 65535) {
    return fail(Code::invalid_argument,
                "'" + std::string(whole) + "' needs a port from 0 to 65535 behind the last ':'");
  }
  return static_cast<std::uint16_t>(value);
}

}  // namespace

Address Address::loopback_v4(std::uint16_t port) noexcept { return make_v4(INADDR_LOOPBACK, port); }
Address Address::any_v4(std::uint16_t port) noexcept { return make_v4(INADDR_ANY, port); }

Address Address::any_v6(std::uint16_t port) noexcept {
  Address address;
  address.family = Family::ipv6;
  address.port = port;
  return address;
}

Address Address::loopback_v6(std::uint16_t port) noexcept {
  Address address = any_v6(port);
  address.bytes[15] = 1;
  return address;
}

bool Address::is_any() const noexcept {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

Result<Address> Address::parse(std::string_view text) {
  auto split = HostPort::parse(text);
  if (!split) return std::unexpected(split.error());
  Address address;
  address.port = split->port;
  if (inet_pton(AF_INET, split->host.c_str(), address.bytes.data()) == 1) {
    address.family = Family::ipv4;
    return address;
  }
  if (inet_pton(AF_INET6, split->host.c_str(), address.bytes.data()) == 1) {
    address.family = Family::ipv6;
    return address;
  }
  return fail(Code::invalid_argument, "'" + std::string(text) + "' is not a numeric address with a port");
}

std::string Address::to_string() const {
  char text[INET6_ADDRSTRLEN] = "";
  switch (family) {
    case Family::none:
      return "(no address)";
    case Family::ipv4:
      inet_ntop(AF_INET, bytes.data(), text, sizeof text);
      return std::string(text) + ":" + std::to_string(port);
    case Family::ipv6:
      inet_ntop(AF_INET6, bytes.data(), text, sizeof text);
      return "[" + std::string(text) + (scope != 0 ? "%" + std::to_string(scope) : "") + "]:" + std::to_string(port);
  }
  return {};
}

Result<HostPort> HostPort::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return fail(Code::invalid_argument, "'" + std::string(text) + "' is not host:port");
  }
  std::string_view host = text.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return fail(Code::invalid_argument, "'" + std::string(text) + "': write an IPv6 address as [address]:port");
  }
  if (host.find('\0') != std::string_view::npos)
    return fail(Code::invalid_argument, "the host name contains a NUL byte");
  auto port = parse_port(text.substr(colon + 1), text);
  if (!port) return std::unexpected(port.error());
  return HostPort{std::string(host), *port};
}

std::string HostPort::to_string() const {
  const bool is_v6 = host.find(':') != std::string::npos;
  return (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace v1
}  // namespace riffle
