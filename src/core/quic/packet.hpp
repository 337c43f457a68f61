// What every version of QUIC has in common (RFC 8999): enough of a packet's header to route its datagram.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/quic/quic_port.hpp"

namespace riffle::core {

/// Our own ids all have this size, so a short header's id needs no length on the wire.
inline constexpr std::size_t our_id_size = 16;
/// RFC 9000 section 14.1: "A server MUST discard an Initial packet that is carried in a UDP datagram with a payload
/// that is smaller than the smallest allowed maximum datagram size of 1200 bytes."
inline constexpr std::size_t smallest_initial = 1200;

struct PacketHeader {
  bool is_long = false;
  bool is_initial = false;    ///< of version 1 (RFC 9000 section 17.2.2); false for unknown versions
  std::uint32_t version = 0;  ///< long headers only; 0 is version negotiation
  ConnectionId destination;
  ConnectionId source;  ///< long headers only
};

/// The header of a datagram's first packet; nothing if it is none of QUIC's.
std::optional<PacketHeader> parse_header(std::span<const std::byte> datagram) noexcept;

}  // namespace riffle::core
