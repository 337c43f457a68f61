// The source of QUIC connections: quiche, by the bridge.
#pragma once

#include "core/quic/quic_port.hpp"

namespace riffle::quiche {

/// Purpose: quiche behind QuicStack. A configuration belongs to the first thread that makes connections with it, and
/// they to the same one; the stack itself has no state and may be shared. Errors: `configure` says which option, and
/// what BoringSSL or the system said.
class QuicheStack final : public core::QuicStack {
 public:
  QuicheStack() noexcept;
  Result<std::unique_ptr<core::QuicConfiguration>> configure(const quic::Client& options) override;
  Result<std::unique_ptr<core::QuicConfiguration>> configure(const quic::Server& options) override;
  std::size_t negotiate_version(const core::ConnectionId& scid, const core::ConnectionId& dcid,
                                std::span<std::byte> out) override;
  bool is_version_supported(std::uint32_t version) const noexcept override;
  void random(std::span<std::uint8_t> out) noexcept override;
};

}  // namespace riffle::quiche
