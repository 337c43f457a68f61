// Handlers: what happens on a session, told as it happens, on the session's loop thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <riffle/bytes.hpp>
#include <riffle/error.hpp>
#include <riffle/ids.hpp>
#include <riffle/options.hpp>
#include <riffle/stream.hpp>

namespace riffle::shell {
class SessionDriver;
}

namespace riffle {
inline namespace v1 {

class Session;

/// Why a session ended. `error.code()` is `closed` when our side closed it.
struct CloseReason {
  enum class By : std::uint8_t { us, peer, transport };
  By by = By::transport;
  bool is_application = false;  ///< `code` is the application's, not QUIC's
  std::uint64_t code = 0;
  std::string reason;  ///< the text that came with it
  Error error{Code::closed};
};

/// Purpose: what a callback may do. Valid during the callback only.
/// Actions take effect when the callback has returned; none waits, none throws.
/// Threads: the loop thread that runs the callback.
class Context {
 public:
  /// Sends data behind what was written before. Taken whole, also without credit: a write in a data callback overruns
  /// by at most that delivery, whose stream then pauses until this one is writable again (design/streams.md).
  /// A stream that can no longer send answers with `on_write_failed`.
  void write(StreamId stream, Bytes data, Fin end = Fin::no) noexcept;
  void write(StreamId stream, Bytes data, bool end) noexcept {
    write(stream, std::move(data), end ? Fin::yes : Fin::no);
  }
  void write(StreamId stream, std::string_view text, Fin end = Fin::no) noexcept;
  void finish(StreamId stream) noexcept { write(stream, Bytes{}, Fin::yes); }
  /// Bytes that the stream's credit still allows; 0 or less: `on_writable` will follow.
  std::int64_t writable_bytes(StreamId stream) noexcept;
  /// Reads at most `max` bytes of a passive stream.
  Result<Read> read(StreamId stream, std::size_t max = 64 * 1024) noexcept;
  /// Opens a stream; `would_block` when the peer's limit is reached.
  Result<StreamId> open(Direction direction = bidirectional) noexcept;
  void set_delivery(StreamId stream, Delivery delivery) noexcept;
  void set_priority(StreamId stream, std::uint8_t urgency, bool incremental) noexcept;
  /// Refuses a stream that the peer opened: both sides end with `code`.
  void refuse(StreamId stream, AppCode code) noexcept { shutdown(stream, Side::both, code); }
  void shutdown(StreamId stream, Side side, AppCode code) noexcept;
  /// Closes the connection; `on_closed` follows.
  void close(AppCode code, std::string_view reason) noexcept;
  /// A handle that other threads may use, also after the callback.
  Stream stream(StreamId stream) noexcept;
  Session session() noexcept;

 private:
  friend class shell::SessionDriver;
  explicit Context(shell::SessionDriver& driver) noexcept : driver_(driver) {}
  shell::SessionDriver& driver_;
};

/// Purpose: a session's callbacks (HND-1). One handler serves one session, made by the listener's factory or given to
/// `connect`. Contract: callbacks of one session never overlap; `on_closed` comes exactly once and last. A callback
/// that throws closes its session with `handler_failed` and touches no other (ENG-7).
/// Threads: the session's loop thread. Never block in one.
class Handler {
 public:
  virtual ~Handler() = default;
  virtual void on_connected(Context&) {}
  virtual void on_stream_opened(Context&, StreamId, Direction) {}          ///< by the peer
  virtual void on_stream_readable(Context&, StreamId) {}                   ///< a passive stream has data or its end
  virtual void on_stream_data(Context&, StreamId, Bytes, bool /*fin*/) {}  ///< an active stream's data
  virtual void on_stream_finished(Context&, StreamId) {}                   ///< both sides are over, all is flushed
  virtual void on_writable(Context&, StreamId) {}                          ///< credit is back above the low mark
  virtual void on_flushed(Context&, StreamId) {}                           ///< all that was written is acknowledged
  virtual void on_write_failed(Context&, StreamId, const Error&) {}
  virtual void on_stream_reset(Context&, StreamId, AppCode) {}  ///< the peer's RESET_STREAM
  virtual void on_stop_sending(Context&, StreamId, AppCode) {}  ///< the peer's STOP_SENDING
  virtual void on_deliveries_used_up(Context&, StreamId) {}     ///< `active_times` went down to passive
  virtual void on_draining(Context&) {}
  virtual void on_session_blocked(Context&, std::uint64_t /*stalled_streams*/) {}  ///< more readers stall than promised
  virtual void on_closed(Context&, const CloseReason&) {}
};

}  // namespace v1
}  // namespace riffle
