// A non-blocking TCP connection, for the forwarder and for byte-stream carriers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <riffle/address.hpp>
#include <riffle/error.hpp>
#include "net/file_descriptor.hpp"
#include "net/system_calls.hpp"

namespace riffle::net {

/// What a read or write did. `would_block` and `end_of_stream` are no errors.
struct TcpMoved {
  enum class Status : std::uint8_t {
    moved,          ///< `bytes` were moved (may be fewer than asked for)
    would_block,    ///< nothing; wait until the socket is readable or writable
    end_of_stream,  ///< the peer has sent its FIN; reading only
  };
  Status status = Status::moved;
  std::size_t bytes = 0;
};

/// Purpose: owns one TCP connection. Contract: never blocks, never raises SIGPIPE, closed on exec; sends without
/// Nagle's delay unless told otherwise. Errors of a live connection: peer_closed (ECONNRESET, EPIPE), unreachable,
/// system_error. Threads: one thread at a time.
class TcpSocket {
 public:
  /// Begins to connect. The socket is writable when there is an answer: ask `connect_result`.
  static Result<TcpSocket> connect(const Address& peer, const SystemCalls& calls = SystemCalls::real());
  /// Takes over a connected descriptor (from accept).
  TcpSocket(FileDescriptor descriptor, const Address& peer, const SystemCalls& calls = SystemCalls::real()) noexcept
      : calls_(&calls), descriptor_(std::move(descriptor)), peer_(peer) {}

  /// True: connected. False: not yet. Else why not: refused, unreachable, …
  Result<bool> connect_result() const;

  Result<TcpMoved> read(std::span<std::byte> into) const;
  Result<TcpMoved> write(std::span<const std::byte> bytes) const { return write_parts({&bytes, 1}); }
  /// Gathers up to 64 parts in one system call. Fewer bytes than given may go.
  Result<TcpMoved> write_parts(std::span<const std::span<const std::byte>> parts) const;
  /// Sends FIN; reading goes on (half-close).
  Result<void> shutdown_write() const;
  /// Closes so that the peer sees a reset (RFC 9293 section 3.10.7.4), not an orderly end.
  void reset() noexcept;
  void close() noexcept { descriptor_.reset(); }
  void set_no_delay(bool on) const noexcept;

  int handle() const noexcept { return descriptor_.get(); }
  bool is_open() const noexcept { return static_cast<bool>(descriptor_); }
  const Address& peer() const noexcept { return peer_; }
  /// Our end's address; family none if the system does not say.
  Address local() const noexcept;

  static constexpr std::size_t max_parts = 64;

 private:
  const SystemCalls* calls_;
  FileDescriptor descriptor_;
  Address peer_;
};

}  // namespace riffle::net
