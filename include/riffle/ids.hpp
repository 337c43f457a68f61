// Strong types for what the wire and the API count.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace riffle {
inline namespace v1 {

/// A stream's id within its session. QUIC (RFC 9000 section 2.1): client bidirectional 0, 4, 8…, client
/// unidirectional 2, 6…; server 1, 5… and 3, 7…. smux: client 3, 5, 7…, server 2, 4….
enum class StreamId : std::uint64_t {};
constexpr std::uint64_t raw(StreamId id) noexcept { return static_cast<std::uint64_t>(id); }

/// An application's error code, as carried by RESET_STREAM, STOP_SENDING and CONNECTION_CLOSE (0 to 2^62 - 1).
enum class AppCode : std::uint64_t {};
constexpr std::uint64_t raw(AppCode code) noexcept { return static_cast<std::uint64_t>(code); }

enum class Direction : std::uint8_t { bidirectional, unidirectional };
inline constexpr Direction bidirectional = Direction::bidirectional;
inline constexpr Direction unidirectional = Direction::unidirectional;

enum class Side : std::uint8_t { reading, writing, both };

enum class Role : std::uint8_t { client, server };

/// Whether a write ends the stream's sending side.
enum class Fin : bool { no = false, yes = true };
inline constexpr Fin fin = Fin::yes;

}  // namespace v1
}  // namespace riffle
