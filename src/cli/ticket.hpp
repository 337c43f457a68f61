// The ticket: one line to copy and paste that holds all that a tunnel needs (CLI-2).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <riffle/error.hpp>
#include <riffle/forward.hpp>

namespace riffle::cli {

/// Purpose: where the server is, which key it has, and the secret that it asks for.
/// Text: "rfl1", then base32 and a checksum of six characters as in Bech32m (BIP 350): no character that is mistaken
/// for another, nothing that a double click stops at, and a typo is told as such. Whoever has it may use the server.
struct Ticket {
  std::vector<std::string> addresses;  ///< "host:port", the most promising first
  std::array<std::uint8_t, 32> pin{};  ///< SHA-256 of the SubjectPublicKeyInfo
  forward::Secret secret{};

  /// At most so many addresses, or the line grows long for nothing.
  static constexpr std::size_t most_addresses = 6;

  Result<std::string> to_text() const;
  static Result<Ticket> parse(std::string_view text);
  friend bool operator==(const Ticket&, const Ticket&) = default;
};

std::string to_hex(std::span<const std::uint8_t> bytes);
/// Fills `bytes`; false where the text is not exactly so many bytes in hex.
bool from_hex(std::string_view text, std::span<std::uint8_t> bytes);

}  // namespace riffle::cli
