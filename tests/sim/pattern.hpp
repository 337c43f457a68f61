// Data that both ends can compute: every byte of a stream follows from the stream's key and the byte's place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <riffle/bytes.hpp>
#include "random.hpp"

namespace riffle::sim {

constexpr std::byte pattern_at(std::uint64_t key, std::uint64_t place) noexcept {
  return static_cast<std::byte>(mix(key, place / 8) >> (place % 8 * 8));
}

inline Bytes make_pattern(std::uint64_t key, std::uint64_t place, std::size_t size) {
  std::string text(size, '\0');
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const std::uint64_t at = place + i;
    if (i == 0 || at % 8 == 0) word = mix(key, at / 8);
    text[i] = static_cast<char>(word >> (at % 8 * 8));
  }
  return Bytes::adopt(std::move(text));
}

/// The place of the first byte that is not what it must be.
inline std::optional<std::uint64_t> find_mismatch(std::uint64_t key, std::uint64_t place,
                                                  std::span<const std::byte> bytes) {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::uint64_t at = place + i;
    if (i == 0 || at % 8 == 0) word = mix(key, at / 8);
    if (bytes[i] != static_cast<std::byte>(word >> (at % 8 * 8))) return at;
  }
  return std::nullopt;
}

}  // namespace riffle::sim
