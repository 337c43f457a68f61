// A session's handle: plain calls from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <riffle/error.hpp>
#include <riffle/handler.hpp>
#include <riffle/ids.hpp>
#include <riffle/ref.hpp>
#include <riffle/stats.hpp>
#include <riffle/stream.hpp>

namespace riffle::meet {
class SessionMeet;
void retain_shared(SessionMeet* object) noexcept;
void release_shared(SessionMeet* object) noexcept;
}  // namespace riffle::meet

namespace riffle {
inline namespace v1 {

/// Where a session stands (COR-1).
enum class SessionState : std::uint8_t { init, handshaking, connected, draining, closed };
std::string_view to_string(SessionState state) noexcept;

/// What is known of a connection (CON-3).
struct SessionInfo {
  Address local, peer;
  std::string alpn;
  std::string server_name;
  std::vector<std::string> peer_certificates;  ///< DER, leaf first
  std::string trace_id;
  std::vector<std::string> connection_ids;  ///< ours, in hex
  Role role = Role::client;
  SessionState state = SessionState::init;
  bool is_resumed = false;
};

/// Everything that is counted for one session.
struct FullStats {
  SessionStats session;
  UdpStats udp;  ///< of the socket that carries it (a listener's is shared by its sessions)
  quic::ConnectionStats quic;
  std::vector<quic::PathStats> paths;
};

/// What to do when the peer's limit of streams is reached (STR-1).
enum class StreamCredit : std::uint8_t { wait, fail_at_once };

/// Purpose: one session. Threads: any; waiting calls give `would_deadlock` on a loop thread.
/// Lifetime: a reference; the session lives on in its engine until it is closed, so dropping the last handle of a
/// client session without a handler closes it with code 0.
class [[nodiscard]] Session {
 public:
  Session() noexcept = default;
  explicit Session(Ref<meet::SessionMeet> shared) noexcept : shared_(std::move(shared)) {}
  explicit operator bool() const noexcept { return static_cast<bool>(shared_); }

  /// Waits for the handshake; the error says why there will be none (CON-1, COR-3).
  Result<void> wait_connected(Timeout timeout = default_timeout) const;
  /// Waits for the end and tells it.
  Result<CloseReason> wait_closed(Timeout timeout = default_timeout) const;
  /// A stream at once; it opens when the handshake is done and the peer's limit allows (`Stream::wait_open`).
  Result<Stream> open(Direction direction = bidirectional, StreamCredit credit = StreamCredit::wait) const;
  /// The next stream that the peer has opened. For sessions without a handler.
  Result<Stream> accept_stream(Timeout timeout = default_timeout) const;
  /// Closes with an application code; succeeds however often, and whatever the state (CON-2). What was written before,
  /// by this thread, still goes out as far as the peer takes it at once.
  Result<void> close(AppCode code = AppCode{0}, std::string_view reason = {}) const;

  SessionState state() const noexcept;
  bool is_connected() const noexcept { return state() == SessionState::connected; }
  /// The reason, once closed.
  std::optional<CloseReason> close_reason() const;
  Result<SessionInfo> info(Timeout timeout = default_timeout) const;
  Result<FullStats> stats(Timeout timeout = default_timeout) const;
  /// Streams that have something to read, or room to write (STR-6).
  Result<std::vector<StreamId>> readable_streams(Timeout timeout = default_timeout) const;
  Result<std::vector<StreamId>> writable_streams(Timeout timeout = default_timeout) const;

  friend bool operator==(const Session& a, const Session& b) noexcept { return a.shared_.get() == b.shared_.get(); }

 private:
  Ref<meet::SessionMeet> shared_;
};

}  // namespace v1
}  // namespace riffle
