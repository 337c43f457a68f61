// One QUIC connection: the bridge behind the ports.
#pragma once

#include <memory>
#include <string>

#include <riffle_bridge.h>

#include "base/thread_token.hpp"
#include "core/quic/quic_port.hpp"

namespace riffle::quiche {

struct FreeConnection {
  void operator()(rqb_connection* connection) const noexcept { rqb_free(connection); }
};

/// Purpose: puts a connection of the bridge behind StreamPort and QuicPort; the contracts stand there.
/// Threads: the one that made it; every method traps any other (ENG-2). Destruction is not checked, for an engine's
/// loops are destroyed after their threads have been joined. Times: quiche reads CLOCK_MONOTONIC itself, so the `now`
/// of inputs is not used.
class QuicheConnection final : public core::QuicConnection {
 public:
  /// `offered_alpn` is for the evidence of a refusal; shared by all connections of a configuration.
  QuicheConnection(rqb_connection* connection, std::shared_ptr<const std::string> offered_alpn) noexcept;

  core::Capabilities capabilities() const noexcept override;
  core::PortState state() const noexcept override;
  Error end_reason() const override;
  void on_input(std::span<std::byte> input, const core::Arrival& arrival, Instant now) noexcept override;
  core::Batch poll_output(std::span<std::byte> buffer, Instant now) noexcept override;
  Instant next_deadline() const noexcept override;
  void on_deadline(Instant now) noexcept override;
  core::Opened open(Direction direction) noexcept override;
  core::Offered offer(StreamId id, base::SendBlock& block) noexcept override;
  core::ReadInto read_into(StreamId id, std::span<std::byte> to) noexcept override;
  void stop(StreamId id, AppCode code) noexcept override;
  void reset(StreamId id, AppCode code) noexcept override;
  void set_priority(StreamId id, std::uint8_t urgency, bool incremental) noexcept override;
  std::optional<StreamId> next_readable() noexcept override;
  std::optional<StreamId> next_writable() noexcept override;
  bool take_stops() noexcept override;
  std::uint64_t streams_left(Direction direction) const noexcept override;
  void close(CloseKind kind, std::uint64_t code, std::string_view reason) noexcept override;

  core::QuicInfo info() const override;
  quic::ConnectionStats stats() const override;
  std::vector<quic::PathStats> path_stats() const override;
  std::vector<core::ConnectionId> source_ids() const override;
  std::size_t source_ids_left() const noexcept override;
  bool add_source_id(const core::ConnectionId& id, const std::array<std::uint8_t, 16>& reset_token) noexcept override;
  core::ConnectionId next_retired_id() noexcept override;
  void keep_alive() noexcept override;
  Instant release_time() const noexcept override;

 private:
  rqb_connection* bridge() const noexcept {
    owner_.check();
    return connection_.get();
  }
  const rqb_snapshot& snapshot() const noexcept;

  base::OwnedByThread owner_;
  std::unique_ptr<rqb_connection, FreeConnection> connection_;
  std::shared_ptr<const std::string> offered_alpn_;
  mutable rqb_snapshot snapshot_{};
  mutable bool is_stale_ = true;    ///< something has happened since the snapshot
  mutable bool is_broken_ = false;  ///< a panic: the bridge answers no more
  std::uint64_t stops_told_ = 0;
  bool closed_by_us_ = false;
  bool version_unsupported_ = false;
};

}  // namespace riffle::quiche
