// The port between the one Session and what carries it: QUIC by quiche, smux by core/smux, a scripted fake in tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <riffle/address.hpp>
#include <riffle/error.hpp>
#include <riffle/ids.hpp>
#include "base/instant.hpp"
#include "base/send_block.hpp"

namespace riffle::core {

/// What a transport can do beyond bidirectional streams. What it lacks, the session refuses with `unsupported`.
enum class Capability : std::uint32_t {
  unidirectional = 1u << 0,
  half_close = 1u << 1,
  reset_codes = 1u << 2,  ///< RESET and STOP carry an application code
  priority = 1u << 3,
  acknowledged = 1u << 4,  ///< `flushed` means acknowledged by the peer, not merely written
  datagrams = 1u << 5,     ///< the carrier keeps message borders (QUIC), or is a byte stream (smux)
};
using Capabilities = std::uint32_t;
constexpr bool has(Capabilities set, Capability one) noexcept { return (set & static_cast<std::uint32_t>(one)) != 0; }

/// Where a carrier's input came from and went to. For byte streams both are empty.
struct Arrival {
  Address local;
  Address peer;
};

/// What `poll_output` put into the buffer: `bytes` in all, in segments of `segment` bytes, the last one possibly
/// shorter (the shape of UDP_SEGMENT). 0 bytes: nothing to send now. For a byte stream segment is 0.
struct Batch {
  std::size_t bytes = 0;
  std::size_t segment = 0;
  Address local;
  Address peer;
};

enum class PortState : std::uint8_t {
  handshaking,
  established,
  draining,  ///< closed by either side; what is left is to let packets in flight die (RFC 9000 section 10.2)
  closed,
};

struct Opened {
  enum class Status : std::uint8_t { opened, blocked, failed } status = Status::failed;
  StreamId id{};
};

struct Offered {
  enum class Status : std::uint8_t {
    taken,    ///< `size` bytes (and the fin, when all were taken) belong to the transport now
    blocked,  ///< nothing, or only `size`, was taken; `next_writable` will name the stream
    stopped,  ///< the peer sent STOP_SENDING with `code`; the stream's sending side is over
    gone,     ///< the stream or the connection no longer exists
  } status = Status::gone;
  std::size_t size = 0;
  AppCode code{};
};

struct ReadInto {
  enum class Status : std::uint8_t {
    data,     ///< `size` bytes, and the end if `fin` (size may be 0 with fin)
    nothing,  ///< nothing now; `next_readable` will name the stream
    reset,    ///< the peer reset it with `code`
    gone,     ///< the stream no longer exists
  } status = Status::gone;
  std::size_t size = 0;
  bool fin = false;
  AppCode code{};
};

/// The contract of every transport machine:
/// - Inputs only change state. Outputs are pulled: `poll_output`, `next_readable`, `next_writable`, `state`.
/// - Nothing here reads a clock, blocks, throws, or calls user code. Blocks that the transport lets go are pushed on
///   their `released` list.
/// - One thread, the owner loop's; the quiche adapter traps any other (ENG-2).
class StreamPort {
 public:
  virtual ~StreamPort() = default;

  virtual Capabilities capabilities() const noexcept = 0;
  virtual PortState state() const noexcept = 0;
  /// Why it ended; meaningful from `draining` on. `Code::closed` means that we closed it ourselves.
  virtual Error end_reason() const = 0;

  /// One datagram (QUIC), or any number of bytes (smux). `input` may be overwritten: decryption is in place.
  virtual void on_input(std::span<std::byte> input, const Arrival& arrival, Instant now) noexcept = 0;
  /// Fills `buffer` with what is to be sent next. Called until it gives 0 bytes, or the shell's budget is spent.
  virtual Batch poll_output(std::span<std::byte> buffer, Instant now) noexcept = 0;
  /// The next instant at which `on_deadline` wants to run, or `never`.
  virtual Instant next_deadline() const noexcept = 0;
  virtual void on_deadline(Instant now) noexcept = 0;

  /// Takes the next stream id, if the peer's limit allows.
  virtual Opened open(Direction direction) noexcept = 0;
  /// Offers block's bytes [block.offered, block.size), and its fin behind them. The transport takes what fits, counts
  /// it in `block.offered`, and holds a reference for as long as it needs the bytes.
  virtual Offered offer(StreamId id, base::SendBlock& block) noexcept = 0;
  /// Reads in order into `to`. Reading gives the peer credit: read only what there is room for.
  virtual ReadInto read_into(StreamId id, std::span<std::byte> to) noexcept = 0;
  /// Asks the peer to stop sending (STOP_SENDING); what is buffered is thrown away.
  virtual void stop(StreamId id, AppCode code) noexcept = 0;
  /// Ends our sending side abruptly (RESET_STREAM); what is not yet acknowledged is dropped.
  virtual void reset(StreamId id, AppCode code) noexcept = 0;
  virtual void set_priority(StreamId id, std::uint8_t urgency, bool incremental) noexcept = 0;

  /// Edge-like: each names a stream once; it is named again after it was drained to `nothing` / `blocked`. A stream of
  /// the peer is first heard of here.
  virtual std::optional<StreamId> next_readable() noexcept = 0;
  virtual std::optional<StreamId> next_writable() noexcept = 0;
  /// Whether the peer has stopped streams since the last call (STOP_SENDING). `next_writable` need not name a stream
  /// that has nothing queued, so the session looks at its own: an offer, also of nothing, says `stopped`.
  virtual bool take_stops() noexcept { return false; }
  /// How many more streams the peer lets us open now.
  virtual std::uint64_t streams_left(Direction direction) const noexcept = 0;

  enum class CloseKind : std::uint8_t { transport, application };
  virtual void close(CloseKind kind, std::uint64_t code, std::string_view reason) noexcept = 0;
};

}  // namespace riffle::core
