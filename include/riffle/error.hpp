// What can go wrong, as values: one code, whose fault it is, a sentence, the evidence and the next step.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace riffle {
inline namespace v1 {

/// Every failure that riffle reports. The sentence, the fault and the advice for each stand in one table
/// (src/base/error.cpp), which `explain` prints from.
enum class Code : std::uint16_t {
  // The call itself.
  invalid_argument = 1,  ///< an option or argument makes no sense; the evidence names it
  unsupported,           ///< this transport cannot do it; the evidence names the alternative
  would_block,           ///< no credit right now; wait for `writable`
  would_deadlock,        ///< a waiting call on a loop thread
  wrong_mode,            ///< a read while the stream is in an active delivery mode
  concurrent_read,       ///< another thread is reading this stream
  timed_out,             ///< the deadline of the call passed; what it waited for may still come
  too_large,             ///< more arrived, or was asked for, than the stated bound
  busy,                  ///< a bounded queue is full
  closed,                ///< the session or engine has ended; the evidence says why
  // Streams.
  stream_reset,     ///< the peer reset the stream; `wire()` is its code
  stream_stopped,   ///< the peer asked us to stop sending; `wire()` is its code
  stream_finished,  ///< our side of the stream has already been finished
  // Reaching the peer.
  name_not_found,
  unreachable,
  handshake_timeout,
  idle_timeout,
  peer_closed,  ///< the peer closed the connection; `wire()` is the code, evidence the reason
  refused,      ///< the peer refused the connection before the handshake ended
  version_unsupported,
  alpn_refused,
  certificate_rejected,  ///< we did not trust the peer's certificate; the evidence says why
  certificate_refused,   ///< the peer did not trust ours, or wanted one
  pin_mismatch,
  tls_failed,
  protocol_violation,  ///< the peer broke the protocol
  // This machine.
  address_in_use,
  permission_denied,
  file_unreadable,
  certificate_unusable,  ///< a certificate or key of ours could not be used
  descriptors_exhausted,
  out_of_space,
  budget_exhausted,  ///< a byte or count budget of riffle was reached
  system_error,      ///< another failure of the operating system; `system()` is errno
  // Ours.
  handler_failed,  ///< a callback threw; the evidence is what it threw
  internal,        ///< a defect of riffle
};

enum class Fault : std::uint8_t { caller, peer, network, machine, riffle, nobody };

/// Purpose: one failure. Cheap to make and move: no allocation unless there is evidence.
/// Threads: a plain value.
class [[nodiscard]] Error {
 public:
  explicit Error(Code code, std::string evidence = {}) : evidence_(std::move(evidence)), code_(code) {}
  static Error with_wire(Code code, std::uint64_t wire, std::string evidence = {}) {
    Error error(code, std::move(evidence));
    error.wire_ = wire;
    error.has_wire_ = true;
    return error;
  }
  static Error with_errno(Code code, int system, std::string evidence = {}) {
    Error error(code, std::move(evidence));
    error.system_ = system;
    return error;
  }

  Code code() const noexcept { return code_; }
  /// The code that was on the wire (QUIC transport or application code, RFC 9000 section 20), if there was one.
  std::uint64_t wire() const noexcept { return wire_; }
  bool has_wire() const noexcept { return has_wire_; }
  /// Whether that code is the application's (CONNECTION_CLOSE of type 0x1d), not the transport's.
  bool is_application() const noexcept { return is_application_; }
  Error as_application() && {
    is_application_ = true;
    return std::move(*this);
  }
  /// errno, or 0.
  int system() const noexcept { return system_; }
  /// What riffle saw: the name, path, address, reason or value in question.
  const std::string& evidence() const noexcept { return evidence_; }

  std::string_view name() const noexcept;      ///< "handshake_timeout"
  std::string_view sentence() const noexcept;  ///< "the peer did not finish the handshake in time"
  std::string_view advice() const noexcept;    ///< the next step, or empty
  Fault fault() const noexcept;
  /// The exit code that the command uses for it (spec/command.md).
  int exit_code() const noexcept;
  /// One line: sentence, evidence, wire code.
  std::string message() const;

  friend bool operator==(const Error& error, Code code) noexcept { return error.code_ == code; }

 private:
  std::string evidence_;
  std::uint64_t wire_ = 0;
  int system_ = 0;
  Code code_;
  bool has_wire_ = false;
  bool is_application_ = false;
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Code code, std::string evidence = {}) {
  return std::unexpected<Error>(Error(code, std::move(evidence)));
}

/// Prints what, why, the evidence and the next step on stderr and returns the exit code: `return riffle::explain(e);`
int explain(const Error& error);

}  // namespace v1
}  // namespace riffle
