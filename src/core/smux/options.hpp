// What can be set on a smux engine.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include <riffle/error.hpp>
#include <riffle/ids.hpp>
#include "base/instant.hpp"

namespace riffle::core::smux {

/// What a Go sender may have in flight before it has seen any UPD (`initialPeerWindow` in the module's stream.go). A
/// receiver must have room for it whatever it announces.
inline constexpr std::uint32_t unasked_window = 256 * 1024;

struct Options {
  Role role = Role::client;

  /// A NOP is sent when nothing else was for so long; 0: never. (Go: every 10 s.)
  Duration keep_alive_interval = std::chrono::seconds(10);
  /// The session ends when nothing was received for so long; 0: never. (Go: 30 s.)
  Duration keep_alive_timeout = std::chrono::seconds(30);

  /// Largest payload of a data frame that we send, 1 to 65535 bytes. (Go: 32768.) We accept any size.
  std::uint32_t max_frame_size = 32768;
  /// Bytes that a stream may send before it is the next stream's turn.
  std::uint32_t quantum = 32768;

  /// Receive window of a stream, in bytes, from its first read on.
  std::uint32_t window = 256 * 1024;
  /// The window announced at SYN and at accept, at most `window`: an unread stream holds no more than that (of a peer
  /// that waits for it). 16 KiB here and in the peer's `peer_window` keeps 10,000 unread streams within 160 MiB
  /// (MUX-6).
  std::uint32_t first_window = 256 * 1024;
  /// What we assume of the peer's window until its first UPD. (Go: 256 KiB.)
  std::uint32_t peer_window = unasked_window;

  /// All bytes received and not read, over all streams. More ends the session with `budget_exhausted` (MUX-6).
  std::size_t receive_budget = 256u * 1024 * 1024;
  /// Bytes of a stream's blocks that the engine takes before `offer` says `blocked`.
  std::uint32_t send_queue = 256 * 1024;

  /// Open streams of each side. A peer's stream beyond it is refused with FIN.
  std::uint32_t max_streams = 65536;
  /// The first id that `open` gives; 0: 3 for a client, 2 for a server, as the Go module does.
  std::uint32_t first_stream_id = 0;

  /// How long an acceptor keeps its own data and FIN back while the opener has sent nothing but SYN; 0: not at all. Go
  /// sends SYN before it registers the stream, so that earlier frames may be lost there.
  Duration accept_hold = std::chrono::milliseconds(2);
  /// How long our FIN waits, towards a peer that has half-closed, after that peer has read all but half a window; 0:
  /// not at all. Go throws away what its reader has not read when our FIN arrives after its own.
  Duration half_close_grace = Duration::zero();

  /// Keys the table of streams, whose ids the peer chooses: the shell passes a random number, a test a fixed one.
  std::uint64_t hash_seed = 0;
};

/// Says what is wrong with the options, if anything is.
Result<void> validate(const Options& options);

}  // namespace riffle::core::smux
