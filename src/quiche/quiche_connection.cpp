#include "quiche/quiche_connection.hpp"

#include <utility>

#include "quiche/bridge_values.hpp"
#include "quiche/end_reason.hpp"
#include "quiche/tsan.hpp"

namespace riffle::quiche {
namespace {

std::uint8_t* bytes_of(std::span<std::byte> span) noexcept { return reinterpret_cast<std::uint8_t*>(span.data()); }

Instant instant_of(int64_t ns) noexcept { return ns == RQB_NEVER ? never : Instant(std::chrono::nanoseconds(ns)); }

EndFacts::Close close_of(const rqb_close_info& info) {
  return {.present = info.present != 0,
          .is_application = info.is_application != 0,
          .code = info.code,
          .reason = to_string(info.reason)};
}

EndFacts::Evidence evidence_of(std::uint8_t kind) noexcept {
  switch (kind) {
    case RQB_EVIDENCE_CERTIFICATE:
      return EndFacts::Evidence::certificate;
    case RQB_EVIDENCE_PIN:
      return EndFacts::Evidence::pin;
    case RQB_EVIDENCE_ALPN:
      return EndFacts::Evidence::alpn;
    case RQB_EVIDENCE_TLS:
      return EndFacts::Evidence::tls;
    default:
      return EndFacts::Evidence::none;
  }
}

core::Offered offered_of(const rqb_offered& offered) noexcept {
  using Status = core::Offered::Status;
  switch (offered.status) {
    case RQB_OFFER_TAKEN:
      return {Status::taken, offered.size, {}};
    case RQB_OFFER_BLOCKED:
      return {Status::blocked, offered.size, {}};
    case RQB_OFFER_STOPPED:
      return {Status::stopped, 0, AppCode{offered.code}};
    default:
      return {Status::gone, 0, {}};
  }
}

core::ReadInto read_of(const rqb_read& read) noexcept {
  using Status = core::ReadInto::Status;
  switch (read.status) {
    case RQB_READ_DATA:
      return {Status::data, read.size, read.fin != 0, {}};
    case RQB_READ_NOTHING:
      return {Status::nothing, 0, false, {}};
    case RQB_READ_RESET:
      return {Status::reset, 0, false, AppCode{read.code}};
    default:
      return {Status::gone, 0, false, {}};
  }
}

}  // namespace

QuicheConnection::QuicheConnection(rqb_connection* connection, std::shared_ptr<const std::string> offered_alpn) noexcept
    : connection_(connection), offered_alpn_(std::move(offered_alpn)) {}

const rqb_snapshot& QuicheConnection::snapshot() const noexcept {
  rqb_connection* const connection = bridge();
  if (is_stale_) {
    is_stale_ = false;
    if (rqb_snapshot_of(connection, &snapshot_) != RQB_OK) {
      is_broken_ = true;
      snapshot_.is_closed = 1;
      snapshot_.deadline_ns = RQB_NEVER;
      snapshot_.streams_left_bidi = 0;
      snapshot_.streams_left_uni = 0;
      snapshot_.source_ids_left = 0;
    }
  }
  return snapshot_;
}

core::Capabilities QuicheConnection::capabilities() const noexcept {
  owner_.check();
  using enum core::Capability;
  return static_cast<core::Capabilities>(unidirectional) | static_cast<core::Capabilities>(half_close) |
         static_cast<core::Capabilities>(reset_codes) | static_cast<core::Capabilities>(priority) |
         static_cast<core::Capabilities>(acknowledged) | static_cast<core::Capabilities>(datagrams);
}

core::PortState QuicheConnection::state() const noexcept {
  const rqb_snapshot& now = snapshot();
  if (now.is_closed) return core::PortState::closed;
  if (now.is_draining || now.is_closing) return core::PortState::draining;
  return now.is_established ? core::PortState::established : core::PortState::handshaking;
}

Error QuicheConnection::end_reason() const {
  const rqb_snapshot& now = snapshot();
  rqb_close_info local{};
  rqb_close_info peer{};
  rqb_evidence evidence{};
  rqb_info info{};
  if (is_broken_ || rqb_info_of(bridge(), &info) != RQB_OK || rqb_local_error(bridge(), &local) != RQB_OK ||
      rqb_peer_error(bridge(), &peer) != RQB_OK || rqb_evidence_of(bridge(), &evidence) != RQB_OK) {
    return last_error();
  }
  return quiche::end_reason({
      .is_server = info.is_server != 0,
      .was_established = now.is_established != 0,
      .closed_by_us = closed_by_us_,
      .timed_out = now.is_timed_out != 0,
      .version_unsupported = version_unsupported_,
      .local = close_of(local),
      .peer = close_of(peer),
      .evidence = evidence_of(evidence.kind),
      .evidence_text = to_string(evidence.text),
      .offered_alpn = *offered_alpn_,
  });
}

void QuicheConnection::on_input(std::span<std::byte> input, const core::Arrival& arrival, Instant) noexcept {
  const rqb_address from = to_bridge(arrival.peer);
  const rqb_address to = to_bridge(arrival.local);
  tsan_writes(input.data(), input.size());
  const int32_t code = rqb_recv(bridge(), bytes_of(input), input.size(), &from, &to);
  if (code == RQB_E_VERSION) version_unsupported_ = true;
  is_stale_ = true;
}

core::Batch QuicheConnection::poll_output(std::span<std::byte> buffer, Instant) noexcept {
  rqb_batch batch;
  is_stale_ = true;
  if (rqb_send_batch(bridge(), bytes_of(buffer), buffer.size(), &batch) != RQB_OK) return {};
  tsan_writes(buffer.data(), batch.bytes);
  return {.bytes = batch.bytes,
          .segment = batch.segment,
          .local = from_bridge(batch.local),
          .peer = from_bridge(batch.peer)};
}

Instant QuicheConnection::next_deadline() const noexcept { return instant_of(snapshot().deadline_ns); }

void QuicheConnection::on_deadline(Instant) noexcept {
  rqb_on_timeout(bridge());
  is_stale_ = true;
}

core::Opened QuicheConnection::open(Direction direction) noexcept {
  std::uint64_t id = 0;
  const int32_t code = rqb_stream_open(bridge(), direction == Direction::bidirectional ? 1 : 0, &id);
  if (code == RQB_OK) {
    is_stale_ = true;
    return {core::Opened::Status::opened, StreamId{id}};
  }
  const core::PortState now = state();
  const bool may_come = now == core::PortState::handshaking || now == core::PortState::established;
  return {code == RQB_DONE && may_come ? core::Opened::Status::blocked : core::Opened::Status::failed, {}};
}

core::Offered QuicheConnection::offer(StreamId id, base::SendBlock& block) noexcept {
  const std::byte* const data = block.data + block.offered;
  const std::size_t size = block.size - block.offered;
  tsan_reads(data, size);
  rqb_offered offered;
  if (rqb_stream_offer(bridge(), raw(id), &block, reinterpret_cast<const std::uint8_t*>(data), size, block.fin ? 1 : 0,
                       &offered) != RQB_OK) {
    return {};
  }
  block.offered += static_cast<std::uint32_t>(offered.size);
  return offered_of(offered);
}

core::ReadInto QuicheConnection::read_into(StreamId id, std::span<std::byte> to) noexcept {
  rqb_read read;
  if (rqb_stream_read(bridge(), raw(id), bytes_of(to), to.size(), &read) != RQB_OK) return {};
  tsan_writes(to.data(), read.size);
  return read_of(read);
}

void QuicheConnection::stop(StreamId id, AppCode code) noexcept { rqb_stream_stop(bridge(), raw(id), raw(code)); }

void QuicheConnection::reset(StreamId id, AppCode code) noexcept { rqb_stream_reset(bridge(), raw(id), raw(code)); }

void QuicheConnection::set_priority(StreamId id, std::uint8_t urgency, bool incremental) noexcept {
  rqb_stream_priority(bridge(), raw(id), urgency, incremental ? 1 : 0);
}

std::optional<StreamId> QuicheConnection::next_readable() noexcept {
  const std::uint64_t id = rqb_readable_next(bridge());
  if (id == RQB_NO_STREAM) return std::nullopt;
  return StreamId{id};
}

std::optional<StreamId> QuicheConnection::next_writable() noexcept {
  const std::uint64_t id = rqb_writable_next(bridge());
  if (id == RQB_NO_STREAM) return std::nullopt;
  return StreamId{id};
}

/// quiche names a stopped stream as writable only if it was not writable before; but it counts the stops.
bool QuicheConnection::take_stops() noexcept {
  rqb_stats now{};
  if (rqb_stats_of(bridge(), &now) != RQB_OK) return false;
  return std::exchange(stops_told_, now.streams_stopped_by_peer) != now.streams_stopped_by_peer;
}

std::uint64_t QuicheConnection::streams_left(Direction direction) const noexcept {
  const rqb_snapshot& now = snapshot();
  return direction == Direction::bidirectional ? now.streams_left_bidi : now.streams_left_uni;
}

void QuicheConnection::close(CloseKind kind, std::uint64_t code, std::string_view reason) noexcept {
  const std::uint8_t is_application = kind == CloseKind::application ? 1 : 0;
  if (rqb_close(bridge(), is_application, code, to_bridge(reason)) == RQB_OK) closed_by_us_ = true;
  is_stale_ = true;
}

core::QuicInfo QuicheConnection::info() const {
  core::QuicInfo out;
  rqb_info info;
  if (rqb_info_of(bridge(), &info) != RQB_OK) return out;
  out.alpn = to_string(info.alpn);
  out.server_name = to_string(info.server_name);
  out.trace_id = to_string(info.trace_id);
  out.is_resumed = info.is_resumed != 0;
  for (std::size_t i = 0; i < info.peer_certificates; ++i) {
    rqb_bytes der;
    if (rqb_peer_certificate(bridge(), i, &der) == RQB_OK) out.peer_certificates.push_back(to_string(der));
  }
  return out;
}

quic::ConnectionStats QuicheConnection::stats() const {
  rqb_stats in{};
  rqb_stats_of(bridge(), &in);
  return {
      .packets_received = in.packets_received,
      .packets_sent = in.packets_sent,
      .packets_lost = in.packets_lost,
      .packets_lost_spuriously = in.packets_lost_spuriously,
      .packets_retransmitted = in.packets_retransmitted,
      .bytes_sent = in.bytes_sent,
      .bytes_received = in.bytes_received,
      .bytes_acknowledged = in.bytes_acknowledged,
      .bytes_lost = in.bytes_lost,
      .stream_bytes_retransmitted = in.stream_bytes_retransmitted,
      .datagrams_sent = in.datagrams_sent,
      .datagrams_received = in.datagrams_received,
      .paths = in.paths,
      .streams_reset_by_us = in.streams_reset_by_us,
      .streams_stopped_by_us = in.streams_stopped_by_us,
      .streams_reset_by_peer = in.streams_reset_by_peer,
      .streams_stopped_by_peer = in.streams_stopped_by_peer,
      .data_blocked_sent = in.data_blocked_sent,
      .stream_data_blocked_sent = in.stream_data_blocked_sent,
      .data_blocked_received = in.data_blocked_received,
      .stream_data_blocked_received = in.stream_data_blocked_received,
      .streams_blocked_bidi_received = in.streams_blocked_bidi_received,
      .streams_blocked_uni_received = in.streams_blocked_uni_received,
      .path_challenges_received = in.path_challenges_received,
      .bytes_in_flight_duration = std::chrono::nanoseconds(in.bytes_in_flight_duration_ns),
  };
}

std::vector<quic::PathStats> QuicheConnection::path_stats() const {
  std::size_t count = 0;
  std::vector<rqb_path_stats> paths;
  // The first call counts, the second one fills.
  rqb_path_stats_of(bridge(), nullptr, 0, &count);
  paths.resize(count);
  if (rqb_path_stats_of(bridge(), paths.data(), paths.size(), &count) != RQB_OK) return {};
  std::vector<quic::PathStats> out;
  out.reserve(paths.size());
  for (const rqb_path_stats& in : paths) {
    out.push_back({
        .local = from_bridge(in.local),
        .peer = from_bridge(in.peer),
        .is_active = in.is_active != 0,
        .packets_received = in.packets_received,
        .packets_sent = in.packets_sent,
        .packets_lost = in.packets_lost,
        .packets_retransmitted = in.packets_retransmitted,
        .pto_count = in.pto_count,
        .rtt = std::chrono::nanoseconds(in.rtt_ns),
        .min_rtt = std::chrono::nanoseconds(in.min_rtt_ns),
        .max_rtt = std::chrono::nanoseconds(in.max_rtt_ns),
        .rtt_variance = std::chrono::nanoseconds(in.rtt_variance_ns),
        .congestion_window = in.congestion_window,
        .bytes_sent = in.bytes_sent,
        .bytes_received = in.bytes_received,
        .bytes_lost = in.bytes_lost,
        .stream_bytes_retransmitted = in.stream_bytes_retransmitted,
        .mtu = in.mtu,
        .delivery_rate = in.delivery_rate,
    });
  }
  return out;
}

std::vector<core::ConnectionId> QuicheConnection::source_ids() const {
  std::size_t count = 0;
  std::vector<rqb_connection_id> ids;
  rqb_source_ids(bridge(), nullptr, 0, &count);
  ids.resize(count);
  if (rqb_source_ids(bridge(), ids.data(), ids.size(), &count) != RQB_OK) return {};
  std::vector<core::ConnectionId> out;
  out.reserve(ids.size());
  for (const rqb_connection_id& id : ids) out.push_back(from_bridge(id));
  return out;
}

std::size_t QuicheConnection::source_ids_left() const noexcept {
  return static_cast<std::size_t>(snapshot().source_ids_left);
}

bool QuicheConnection::add_source_id(const core::ConnectionId& id,
                                     const std::array<std::uint8_t, 16>& reset_token) noexcept {
  const rqb_connection_id in = to_bridge(id);
  is_stale_ = true;
  return rqb_new_source_id(bridge(), &in, reset_token.data()) == RQB_OK;
}

core::ConnectionId QuicheConnection::next_retired_id() noexcept {
  rqb_connection_id id;
  is_stale_ = true;
  if (rqb_retired_id_next(bridge(), &id) != RQB_OK) return {};
  return from_bridge(id);
}

void QuicheConnection::keep_alive() noexcept { rqb_send_ack_eliciting(bridge()); }

Instant QuicheConnection::release_time() const noexcept {
  int64_t ns = 0;
  // 0 is the clock's zero: long past, so the packet may leave now.
  rqb_release_time(bridge(), &ns);
  return instant_of(ns);
}

}  // namespace riffle::quiche
