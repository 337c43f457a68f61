// Counters that any thread may read: plain values, copied out.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

#include <riffle/address.hpp>

namespace riffle {
inline namespace v1 {

/// UDP traffic of an engine or listener (UDP-3). Sent and received are apart.
struct UdpStats {
  struct OneWay {
    std::uint64_t datagrams = 0;
    std::uint64_t bytes = 0;
    std::uint64_t calls = 0;        ///< system calls that moved at least one datagram
    std::uint64_t would_block = 0;  ///< calls that ended in EAGAIN
    /// Calls by datagrams moved: 1, 2, 3–4, 5–8, 9–16, 17–32, 33–64, more.
    std::array<std::uint64_t, 8> batch_sizes{};
    double datagrams_per_call() const noexcept {
      return calls ? static_cast<double>(datagrams) / static_cast<double>(calls) : 0;
    }
  };
  OneWay sent;
  OneWay received;
  std::uint64_t kernel_drops = 0;   ///< SO_RXQ_OVFL: datagrams that the socket's full buffer lost
  std::uint64_t send_failures = 0;  ///< datagrams that the kernel refused (unreachable, too long, no buffers)
};

/// One stream (COR-4, STR-4). Units: bytes.
struct StreamStats {
  std::uint64_t bytes_sent = 0;          ///< taken by the transport
  std::uint64_t bytes_acknowledged = 0;  ///< flushed
  std::uint64_t bytes_received = 0;      ///< read from the transport
  std::uint64_t bytes_consumed = 0;      ///< given to the application
  std::uint64_t receive_buffered = 0;    ///< held for a reader now
  std::uint64_t send_buffered = 0;       ///< accepted and not yet taken by the transport
  std::uint64_t writes_blocked = 0;      ///< writes that met no credit
  std::chrono::steady_clock::time_point first_activity{};
  std::chrono::steady_clock::time_point last_activity{};
  bool fin_sent = false;
  bool fin_received = false;
};

/// One session's own queues (CON-5).
struct SessionStats {
  std::uint64_t streams_open = 0;
  std::uint64_t streams_opened = 0;
  std::uint64_t streams_accepted = 0;
  std::uint64_t streams_refused = 0;  ///< beyond a budget
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t send_buffered = 0;
  std::uint64_t receive_buffered = 0;
  std::uint64_t streams_parked = 0;  ///< readers that have stopped, with data waiting in the transport
  std::uint64_t writes_blocked = 0;
  std::uint64_t session_blocked_events = 0;
  std::uint64_t streams_stopped_for_budget = 0;  ///< stalled longest, when the receive budget was used up
};

namespace quic {

/// quiche's view of one connection (CON-5).
struct ConnectionStats {
  std::uint64_t packets_received = 0;
  std::uint64_t packets_sent = 0;
  std::uint64_t packets_lost = 0;
  std::uint64_t packets_lost_spuriously = 0;
  std::uint64_t packets_retransmitted = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_acknowledged = 0;
  std::uint64_t bytes_lost = 0;
  std::uint64_t stream_bytes_retransmitted = 0;
  std::uint64_t datagrams_sent = 0;
  std::uint64_t datagrams_received = 0;
  std::uint64_t paths = 0;
  std::uint64_t streams_reset_by_us = 0;
  std::uint64_t streams_stopped_by_us = 0;
  std::uint64_t streams_reset_by_peer = 0;
  std::uint64_t streams_stopped_by_peer = 0;
  std::uint64_t data_blocked_sent = 0;
  std::uint64_t stream_data_blocked_sent = 0;
  std::uint64_t data_blocked_received = 0;
  std::uint64_t stream_data_blocked_received = 0;
  std::uint64_t streams_blocked_bidi_received = 0;
  std::uint64_t streams_blocked_uni_received = 0;
  std::uint64_t path_challenges_received = 0;
  std::chrono::nanoseconds bytes_in_flight_duration{};
};

struct PathStats {
  Address local;
  Address peer;
  bool is_active = false;
  std::uint64_t packets_received = 0;
  std::uint64_t packets_sent = 0;
  std::uint64_t packets_lost = 0;
  std::uint64_t packets_retransmitted = 0;
  std::uint64_t pto_count = 0;
  std::chrono::nanoseconds rtt{};
  std::chrono::nanoseconds min_rtt{};
  std::chrono::nanoseconds max_rtt{};
  std::chrono::nanoseconds rtt_variance{};
  std::uint64_t congestion_window = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_lost = 0;
  std::uint64_t stream_bytes_retransmitted = 0;
  std::uint64_t mtu = 0;
  std::uint64_t delivery_rate = 0;  ///< bytes per second
};

}  // namespace quic
}  // namespace v1
}  // namespace riffle
