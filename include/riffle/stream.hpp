// A stream's handle: plain calls from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <riffle/bytes.hpp>
#include <riffle/error.hpp>
#include <riffle/ids.hpp>
#include <riffle/options.hpp>
#include <riffle/ref.hpp>
#include <riffle/stats.hpp>

namespace riffle::meet {
class StreamMeet;
void retain_shared(StreamMeet* object) noexcept;
void release_shared(StreamMeet* object) noexcept;
}  // namespace riffle::meet

namespace riffle {
inline namespace v1 {

/// How long a waiting call may wait. Zero: not at all.
using Timeout = std::chrono::nanoseconds;
inline constexpr Timeout forever = Timeout::max();
inline constexpr Timeout default_timeout = std::chrono::seconds(30);

/// What a write came to. Expected conditions are values: `would_block` is no error.
enum class WriteStatus : std::uint8_t {
  accepted,     ///< riffle owns all of the bytes
  would_block,  ///< no credit, nothing was taken; `writable` follows
};

/// What a read came to.
struct Read {
  enum class Status : std::uint8_t { data, would_block, end_of_stream };
  Bytes data;
  bool fin = false;  ///< these are the last bytes
  Status status = Status::would_block;
};

struct ReadCount {
  std::size_t size = 0;
  bool fin = false;
  Read::Status status = Read::Status::would_block;
};

/// Purpose: one stream of a session (QUIC or smux alike).
/// Threads: every call may come from any thread, several threads may write at once (each write is atomic, in order of
/// arrival), one may read at a time. Waiting calls (those with a timeout) give `would_deadlock` on a loop thread when
/// they would have to wait.
/// Lifetime: a reference; copies share. In a session without a handler, the last one that dies before the stream's ends
/// have been written and read stops what is left with code 0; with a handler the stream goes on. After the end of the
/// session or engine every call gives `closed` with the reason.
class [[nodiscard]] Stream {
 public:
  Stream() noexcept = default;
  explicit Stream(Ref<meet::StreamMeet> shared) noexcept : shared_(std::move(shared)) {}
  explicit operator bool() const noexcept { return static_cast<bool>(shared_); }

  /// The id, once the loop has opened the stream; empty until then.
  std::optional<StreamId> id() const noexcept;
  /// Waits until the stream has its id, that is, until the peer's limit allowed it.
  Result<StreamId> wait_open(Timeout timeout = default_timeout) const;

  /// Writes all of `data`, waiting for credit where there is none (ENG-4, STR-2).
  Result<void> write(Bytes data, Fin end = Fin::no, Timeout timeout = default_timeout) const;
  Result<void> write(std::string_view text, Fin end = Fin::no, Timeout timeout = default_timeout) const;
  /// The same without waiting: taken whole while credit is above 0, else `would_block` and nothing is taken (ENG-5).
  Result<WriteStatus> try_write(const Bytes& data, Fin end = Fin::no) const;
  Result<WriteStatus> try_write(std::span<const std::byte> data, Fin end = Fin::no) const;
  /// Takes min(size, credit) bytes and says how many; 0 when there is no credit.
  Result<std::size_t> write_some(std::span<const std::byte> data) const;
  /// Several pieces as one write, in order, with one fin behind them.
  Result<void> write_gather(std::span<const Bytes> pieces, Fin end = Fin::no, Timeout timeout = default_timeout) const;
  /// Ends our side in order, behind what was written.
  Result<void> finish() const;
  /// Waits until there is send credit again.
  Result<void> wait_writable(Timeout timeout = default_timeout) const;
  /// Waits until everything written so far is flushed: acknowledged by the peer's transport (QUIC), or written to the
  /// carrier (smux).
  Result<void> wait_flushed(Timeout timeout = default_timeout) const;

  /// The next bytes, at most `max`, as soon as there are any. At the end: `end_of_stream`. Takes no lock and makes no
  /// system call while data is there (STR-5).
  Result<Read> read(std::size_t max = 64 * 1024, Timeout timeout = default_timeout) const;
  Result<Read> try_read(std::size_t max = 64 * 1024) const;
  /// The same into memory of the caller's.
  Result<ReadCount> read_into(std::span<std::byte> to, Timeout timeout = default_timeout) const;
  Result<ReadCount> try_read_into(std::span<std::byte> to) const;
  /// Everything up to the end; more than `max` bytes is `too_large`. `timeout` is for the whole.
  Result<Bytes> read_to_end(std::size_t max, Timeout timeout = default_timeout) const;

  /// Ends a side abruptly: reading sends STOP_SENDING, writing sends RESET_STREAM, with `code` (STR-6).
  Result<void> shutdown(Side side, AppCode code) const;
  /// Switches the delivery mode at any time (STR-3); what is buffered is delivered on a switch to active. The loop acts
  /// on it: a read right behind a switch to passive may still meet `wrong_mode`.
  Result<void> set_delivery(Delivery delivery) const;
  /// Urgency 0 (first) to 255, 127 at first (RFC 9218 in spirit); incremental streams share by turns.
  Result<void> set_priority(std::uint8_t urgency, bool incremental) const;
  /// Whether both sides are over: everything read to the end, everything written.
  bool is_finished() const noexcept;
  /// Relaxed counters: a snapshot that costs the loop nothing.
  StreamStats stats() const noexcept;

  friend bool operator==(const Stream& a, const Stream& b) noexcept { return a.shared_.get() == b.shared_.get(); }

 private:
  friend class Context;
  Ref<meet::StreamMeet> shared_;
};

}  // namespace v1
}  // namespace riffle
