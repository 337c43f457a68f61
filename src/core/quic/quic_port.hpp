// What QUIC has beyond streams, and how connections come to be. Implemented over quiche by src/quiche.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <riffle/address.hpp>
#include <riffle/options.hpp>
#include <riffle/stats.hpp>
#include "core/session/stream_port.hpp"

namespace riffle::core {

/// A QUIC connection id, at most 20 bytes (RFC 9000 section 17.2).
struct ConnectionId {
  static constexpr std::size_t max_size = 20;
  std::array<std::uint8_t, max_size> bytes{};
  std::uint8_t size = 0;

  static ConnectionId from(std::span<const std::uint8_t> id) noexcept;
  std::span<const std::uint8_t> span() const noexcept { return {bytes.data(), size}; }
  friend bool operator==(const ConnectionId&, const ConnectionId&) = default;
};

struct QuicInfo {
  std::string alpn;
  std::string server_name;
  std::vector<std::string> peer_certificates;  ///< DER, leaf first
  std::string trace_id;
  bool is_resumed = false;
};

class QuicPort {
 public:
  virtual ~QuicPort() = default;
  virtual QuicInfo info() const = 0;
  virtual quic::ConnectionStats stats() const = 0;
  virtual std::vector<quic::PathStats> path_stats() const = 0;
  /// Our connection ids that are in use, for the routing table.
  virtual std::vector<ConnectionId> source_ids() const = 0;
  /// Spare ids that the peer may still be given; each comes with its reset token (RFC 9000 section 10.3).
  virtual std::size_t source_ids_left() const noexcept = 0;
  virtual bool add_source_id(const ConnectionId& id, const std::array<std::uint8_t, 16>& reset_token) noexcept = 0;
  /// Ids that the peer has retired, one a call, empty when there are none: they leave the routing table.
  virtual ConnectionId next_retired_id() noexcept = 0;
  /// Makes the next packet ack-eliciting (a PING if there is nothing else), for keep-alive.
  virtual void keep_alive() noexcept = 0;
  /// When the transport would like its next packet to leave, if it paces (BBR2 only); asked for *before* filling.
  virtual Instant release_time() const noexcept = 0;
};

/// One QUIC connection behind both ports.
class QuicConnection : public StreamPort, public QuicPort {};

/// TLS context and transport parameters, made once from options and shared by every connection of one loop (CFG-5).
/// One configuration belongs to one loop thread.
class QuicConfiguration {
 public:
  virtual ~QuicConfiguration() = default;
  virtual Result<std::unique_ptr<QuicConnection>> connect(const std::string& server_name, const ConnectionId& scid,
                                                          const Address& local, const Address& peer) = 0;
  /// `original_dcid` only after a Retry.
  virtual Result<std::unique_ptr<QuicConnection>> accept(const ConnectionId& scid, const ConnectionId* original_dcid,
                                                         const Address& local, const Address& peer) = 0;
};

/// The source of QUIC configurations: quiche in the product.
class QuicStack {
 public:
  virtual ~QuicStack() = default;
  /// Loads certificates, keys and trust; every error names the option.
  virtual Result<std::unique_ptr<QuicConfiguration>> configure(const quic::Client& options) = 0;
  virtual Result<std::unique_ptr<QuicConfiguration>> configure(const quic::Server& options) = 0;
  /// Writes a version-negotiation packet (RFC 9000 section 17.2.1) into `out`; 0 if it does not fit.
  virtual std::size_t negotiate_version(const ConnectionId& scid, const ConnectionId& dcid,
                                        std::span<std::byte> out) = 0;
  virtual bool is_version_supported(std::uint32_t version) const noexcept = 0;
  /// Fills `out` from a cryptographically strong generator.
  virtual void random(std::span<std::uint8_t> out) noexcept = 0;
};

}  // namespace riffle::core
