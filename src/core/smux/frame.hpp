// Purpose: the smux version 2 frame: eight bytes of header, little-endian, then the payload.
// Source: Go module github.com/xtaci/smux, frame.go and session.go (recvLoop) of v1.5.57.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace riffle::core::smux {

enum class Command : std::uint8_t {
  syn = 0,  ///< opens a stream
  fin = 1,  ///< the sender will send no more on this stream
  psh = 2,  ///< data
  nop = 3,  ///< keep-alive; its stream id means nothing
  upd = 4,  ///< credit: what the receiver has consumed, and its window
};

inline constexpr std::uint8_t protocol_version = 2;
inline constexpr std::size_t header_size = 8;
inline constexpr std::size_t update_size = 8;
inline constexpr std::size_t update_frame_size = header_size + update_size;
inline constexpr std::size_t largest_payload = 65535;  ///< the length field has 16 bits

/// What UPD carries. `consumed` is all that the application has ever read, modulo 2^32; `window` is absolute: the
/// sender may have `window` bytes written and not consumed.
struct Update {
  std::uint32_t consumed = 0;
  std::uint32_t window = 0;
  friend bool operator==(const Update&, const Update&) = default;
};

/// Writes the eight bytes of a header to the front of `to`, which has room for them.
void write_header(std::span<std::byte> to, Command command, std::uint16_t length, std::uint32_t stream) noexcept;
/// Writes a whole UPD frame (16 bytes) to the front of `to`, which has room for it.
void write_update(std::span<std::byte> to, std::uint32_t stream, Update update) noexcept;

/// What the decoder found next.
struct Frame {
  enum class Kind : std::uint8_t {
    none,         ///< the input is used up; more is needed
    control,      ///< a whole SYN, FIN, NOP or UPD
    data_begins,  ///< the header of a PSH: `length` bytes follow as `data` (none when it is 0)
    data,         ///< the next piece of that PSH's payload, a view into the input
    violation,    ///< the peer broke the protocol; `Decoder::violation` says how. The decoder stays there.
  };
  Kind kind = Kind::none;
  Command command = Command::nop;
  std::uint16_t length = 0;
  std::uint32_t stream = 0;
  Update update{};                    ///< of a UPD
  std::span<const std::byte> data{};  ///< of `data`: valid as long as the input is
};

/// Purpose: finds the frames in a byte stream that arrives in pieces of any size. Buffers at most 16 bytes: payloads
/// are passed through as views. Threads: a plain object. Allocates only for the sentence of a violation.
class Decoder {
 public:
  /// Takes the next frame, or part of one, from the front of `input` and shortens `input` by it.
  Frame next(std::span<const std::byte>& input) noexcept;
  /// What the peer did wrong, and where; empty as long as it did nothing wrong.
  const std::string& violation() const noexcept { return violation_; }

 private:
  bool gather(std::span<const std::byte>& input, std::size_t wanted) noexcept;
  bool is_header_valid() noexcept;

  std::array<std::byte, update_frame_size> head_{};
  std::uint8_t have_ = 0;
  std::uint32_t stream_ = 0;
  std::uint32_t payload_left_ = 0;
  std::uint64_t frames_ = 0;  ///< whole headers seen, for the evidence
  std::string violation_;
};

}  // namespace riffle::core::smux
