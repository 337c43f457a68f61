// Values as the bridge has them and as riffle has them.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <riffle_bridge.h>

#include <riffle/address.hpp>
#include <riffle/error.hpp>
#include "core/quic/quic_port.hpp"

namespace riffle::quiche {

// The two addresses are laid out alike, so that turning one into the other costs a copy of 24 bytes.
static_assert(sizeof(Address) == sizeof(rqb_address));
static_assert(offsetof(Address, bytes) == offsetof(rqb_address, bytes));
static_assert(offsetof(Address, scope) == offsetof(rqb_address, scope));
static_assert(offsetof(Address, port) == offsetof(rqb_address, port));
static_assert(offsetof(Address, family) == offsetof(rqb_address, family));
static_assert(static_cast<int>(Address::Family::ipv4) == 1 && static_cast<int>(Address::Family::ipv6) == 2);

inline rqb_address to_bridge(const Address& address) noexcept {
  rqb_address out;
  std::memcpy(&out, &address, sizeof out);
  return out;
}

inline Address from_bridge(const rqb_address& address) noexcept {
  Address out;
  out.scope = address.scope;
  out.port = address.port;
  out.family = static_cast<Address::Family>(address.family);
  std::memcpy(out.bytes.data(), address.bytes, out.bytes.size());
  return out;
}

inline rqb_connection_id to_bridge(const core::ConnectionId& id) noexcept {
  rqb_connection_id out{};
  std::memcpy(out.bytes, id.bytes.data(), core::ConnectionId::max_size);
  out.size = id.size;
  return out;
}

inline core::ConnectionId from_bridge(const rqb_connection_id& id) noexcept {
  core::ConnectionId out;
  std::memcpy(out.bytes.data(), id.bytes, core::ConnectionId::max_size);
  out.size = id.size;
  return out;
}

/// A view that holds while `text` does.
inline rqb_bytes to_bridge(std::string_view text) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

inline std::string to_string(rqb_bytes bytes) { return {reinterpret_cast<const char*>(bytes.data), bytes.size}; }

/// This thread's last failure in the bridge, as an error of riffle's; the evidence is the bridge's sentence.
Error last_error();

/// Registers the calls that keep zero-copy blocks alive. Any number of times, from any thread.
void start_bridge() noexcept;

}  // namespace riffle::quiche
