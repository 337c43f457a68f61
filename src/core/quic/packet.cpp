#include "core/quic/packet.hpp"

#include <algorithm>

namespace riffle::core {
namespace {

std::uint8_t byte_at(std::span<const std::byte> bytes, std::size_t index) noexcept {
  return std::to_integer<std::uint8_t>(bytes[index]);
}

/// A length byte and as many bytes of id, at `at`, which moves on. RFC 8999 allows ids of up to 255 bytes, version 1 up
/// to 20; longer ones are none of ours.
bool take_id(std::span<const std::byte> datagram, std::size_t& at, ConnectionId& id) noexcept {
  if (at >= datagram.size()) return false;
  const std::size_t size = byte_at(datagram, at++);
  if (size > ConnectionId::max_size || datagram.size() - at < size) return false;
  for (std::size_t i = 0; i < size; ++i) id.bytes[i] = byte_at(datagram, at + i);
  id.size = static_cast<std::uint8_t>(size);
  at += size;
  return true;
}

}  // namespace

ConnectionId ConnectionId::from(std::span<const std::uint8_t> id) noexcept {
  ConnectionId result;
  result.size = static_cast<std::uint8_t>(std::min(id.size(), max_size));
  std::copy_n(id.begin(), result.size, result.bytes.begin());
  return result;
}

std::optional<PacketHeader> parse_header(std::span<const std::byte> datagram) noexcept {
  if (datagram.empty()) return std::nullopt;
  PacketHeader header;
  const std::uint8_t first = byte_at(datagram, 0);
  header.is_long = (first & 0x80u) != 0;
  std::size_t at = 1;
  if (!header.is_long) {
    if (datagram.size() - at < our_id_size) return std::nullopt;
    for (std::size_t i = 0; i < our_id_size; ++i) header.destination.bytes[i] = byte_at(datagram, at + i);
    header.destination.size = our_id_size;
    return header;
  }
  if (datagram.size() < 5) return std::nullopt;
  for (; at < 5; ++at) header.version = header.version << 8 | byte_at(datagram, at);
  if (!take_id(datagram, at, header.destination) || !take_id(datagram, at, header.source)) return std::nullopt;
  header.is_initial = header.version == 1 && (first & 0x30u) == 0;
  return header;
}

}  // namespace riffle::core
