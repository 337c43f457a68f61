// A handler that watches another one: every event is traced, and what holds for every handler is checked (HND-1).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include <riffle/riffle.hpp>
#include "simulation.hpp"

namespace riffle::sim {

/// Purpose: see above. What it checks: `on_connected` at most once and before any stream's event; `on_closed` exactly
/// once (`is_closed`) and last; a stream is opened once, gets no data behind its end, is finished once and says nothing
/// afterwards.
class Watched final : public Handler {
 public:
  Watched(Simulation& simulation, std::string who, std::shared_ptr<Handler> inner)
      : simulation_(simulation), who_(std::move(who)), inner_(std::move(inner)) {}

  bool is_connected() const noexcept { return connected_; }
  bool is_closed() const noexcept { return reason_.has_value(); }
  const CloseReason& reason() const { return *reason_; }
  Instant connected_at() const noexcept { return connected_at_; }
  Instant closed_at() const noexcept { return closed_at_; }
  const std::string& who() const noexcept { return who_; }
  /// A handle for plain calls; empty until connected.
  const Session& session() const noexcept { return session_; }

  void on_connected(Context& context) override;
  void on_stream_opened(Context& context, StreamId stream, Direction direction) override;
  void on_stream_readable(Context& context, StreamId stream) override;
  void on_stream_data(Context& context, StreamId stream, Bytes data, bool fin) override;
  void on_stream_finished(Context& context, StreamId stream) override;
  void on_writable(Context& context, StreamId stream) override;
  void on_flushed(Context& context, StreamId stream) override;
  void on_write_failed(Context& context, StreamId stream, const Error& error) override;
  void on_stream_reset(Context& context, StreamId stream, AppCode code) override;
  void on_stop_sending(Context& context, StreamId stream, AppCode code) override;
  void on_deliveries_used_up(Context& context, StreamId stream) override;
  void on_draining(Context& context) override;
  void on_session_blocked(Context& context, std::uint64_t stalled_streams) override;
  void on_closed(Context& context, const CloseReason& reason) override;

 private:
  struct Seen {
    bool opened = false;
    bool ended = false;
    bool finished = false;
  };
  void note(const char* what, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0);
  Seen& note_stream(const char* what, StreamId stream, std::uint64_t b = 0, std::uint64_t c = 0);
  void wrong(const std::string& what);

  Simulation& simulation_;
  std::string who_;
  std::shared_ptr<Handler> inner_;
  std::map<StreamId, Seen> streams_;
  bool connected_ = false;
  std::optional<CloseReason> reason_;
  Instant connected_at_{};
  Instant closed_at_{};
  Session session_;
};

}  // namespace riffle::sim
