// The bytes of the forwarding protocol (CLI-2): the secret, a stream's header, its status byte.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <riffle/forward.hpp>

namespace riffle::forwarding::wire {

/// A host name has at most 253 bytes (RFC 1035 section 2.3.4, less the root), an IPv6 address in brackets with a zone
/// fewer; ":65535" follows.
inline constexpr std::size_t max_target = 260;

/// u16 length, big-endian, then the target. Empty where the target is empty or too long.
inline std::string header_for(std::string_view target) {
  if (target.empty() || target.size() > max_target) return {};
  std::string header;
  header.reserve(2 + target.size());
  header += static_cast<char>(target.size() >> 8);
  header += static_cast<char>(target.size() & 0xff);
  header += target;
  return header;
}

/// Whether two secrets are equal, in a time that does not depend on where they differ.
inline bool equal_in_constant_time(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b) noexcept {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

/// Purpose: gathers a stream's header, asking for no byte beyond it, so that the payload stays in the stream.
class HeaderReader {
 public:
  /// Where the next bytes belong; empty once the header is complete or bad.
  std::span<std::byte> wanted() noexcept {
    if (is_bad_ || is_complete()) return {};
    return std::span(buffer_).subspan(filled_, needed() - filled_);
  }
  /// `count` bytes have been put there.
  void on_filled(std::size_t count) noexcept {
    filled_ += count;
    if (filled_ == 2 && (length() == 0 || length() > max_target)) is_bad_ = true;
  }
  bool is_bad() const noexcept { return is_bad_; }
  bool is_complete() const noexcept { return !is_bad_ && filled_ > 2 && filled_ == needed(); }
  std::string target() const { return {reinterpret_cast<const char*>(buffer_.data()) + 2, filled_ - 2}; }

 private:
  std::size_t length() const noexcept {
    return std::to_integer<std::size_t>(buffer_[0]) << 8 | std::to_integer<std::size_t>(buffer_[1]);
  }
  std::size_t needed() const noexcept { return filled_ < 2 ? 2 : 2 + length(); }

  std::array<std::byte, 2 + max_target> buffer_{};
  std::size_t filled_ = 0;
  bool is_bad_ = false;
};

}  // namespace riffle::forwarding::wire
