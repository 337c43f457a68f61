// What the engine knows of one stream.
#pragma once

#include <cstdint>

#include "base/instant.hpp"
#include "core/smux/intrusive_list.hpp"
#include "core/smux/receive_buffer.hpp"
#include "core/smux/send_queue.hpp"

namespace riffle::core::smux {

struct Stream {
  /// Where the sending side is. `held` and `graced` wait for the opener, or for the peer's reader, or for the clock.
  enum class Sending : std::uint8_t { open, finishing, graced, fin_due, finished };
  enum class Receiving : std::uint8_t { open, fin_received, fin_read };
  /// Edge-like naming: idle → queued (in the list) → named → idle again once drained.
  enum class Readable : std::uint8_t { idle, queued, named };

  std::uint32_t id = 0;
  bool is_ours = false;     ///< we opened it
  bool is_held = false;     ///< accepted, and the opener has sent nothing but SYN
  bool is_stopped = false;  ///< what arrives is thrown away
  bool wants_room = false;  ///< `offer` said blocked
  bool syn_due = false;
  bool update_due = false;
  bool has_read = false;  ///< the first read is answered by an UPD
  Sending sending = Sending::open;
  Receiving receiving = Receiving::open;
  Readable readable = Readable::idle;

  // Sending. The sums are modulo 2^32, as on the wire.
  SendQueue queue;
  std::uint32_t written = 0;
  std::uint32_t peer_consumed = 0;
  std::uint32_t peer_window = 0;
  std::uint32_t turn_left = 0;  ///< what is left of its quantum

  // Receiving.
  ReceiveBuffer buffer;
  std::uint32_t received = 0;
  std::uint32_t consumed = 0;
  std::uint32_t announced_consumed = 0;
  std::uint32_t announced_window = 0;

  Instant due = never;  ///< end of the hold, or of the grace

  Hook<Stream> control;   ///< SYN, UPD or FIN to write
  Hook<Stream> sendable;  ///< data to write, and window for it
  Hook<Stream> to_read;
  Hook<Stream> to_write;
  Hook<Stream> timer;

  std::uint32_t in_flight() const noexcept { return written - peer_consumed; }
  std::uint32_t window_left() const noexcept { return peer_window > in_flight() ? peer_window - in_flight() : 0; }
};
/// MUX-10: an idle stream costs at most 512 bytes, in all rooms together.
static_assert(sizeof(Stream) <= 256);

}  // namespace riffle::core::smux
