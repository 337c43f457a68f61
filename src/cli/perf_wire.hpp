// The QUIC perf protocol (CLI-4): 8 bytes big-endian (how many bytes come back), any upload, fin; then the answer, fin.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <riffle/bytes.hpp>

namespace riffle::cli::perf {

inline constexpr std::string_view alpn = "perf";
inline constexpr std::size_t header_size = 8;
using Header = std::array<std::byte, header_size>;

constexpr Header header_for(std::uint64_t wanted) noexcept {
  Header header{};
  for (std::size_t i = 0; i < header_size; ++i) header[i] = static_cast<std::byte>(wanted >> 8 * (header_size - 1 - i));
  return header;
}

constexpr std::uint64_t wanted_of(const Header& header) noexcept {
  std::uint64_t wanted = 0;
  for (const std::byte byte : header) wanted = wanted << 8 | std::to_integer<std::uint64_t>(byte);
  return wanted;
}

/// What is sent wherever the protocol asks for any bytes: 1 MiB, shared, so that sending moves a reference.
inline constexpr std::size_t payload_size = std::size_t{1} << 20;
const Bytes& payload();

}  // namespace riffle::cli::perf
