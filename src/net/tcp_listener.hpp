// A non-blocking TCP listener.
#pragma once

#include <cstdint>
#include <optional>

#include <riffle/address.hpp>
#include <riffle/error.hpp>
#include "net/file_descriptor.hpp"
#include "net/system_calls.hpp"
#include "net/tcp_socket.hpp"

namespace riffle::net {

struct TcpListenOptions {
  /// Connections that the kernel holds ready; above net.core.somaxconn (4,096 by default) it is cut to that.
  int backlog = 1024;
  /// Bind although connections of an earlier listener linger in TIME_WAIT (SO_REUSEADDR).
  bool reuse_address = true;
};

/// Purpose: accepts connections. Bound to [::] it is dual-stack; IPv4 peers appear as IPv4 addresses.
/// Threads: one thread at a time.
class TcpListener {
 public:
  /// Errors: address_in_use, permission_denied, descriptors_exhausted, unsupported, invalid_argument, system_error.
  static Result<TcpListener> open(const Address& local, const TcpListenOptions& options = {},
                                  const SystemCalls& calls = SystemCalls::real());

  /// The next connection; nothing when there is none yet. `descriptors_exhausted`: a connection waited and there was no
  /// descriptor for it. It has been closed by means of one held in reserve, as it would otherwise keep the listener
  /// readable and the loop awake; call again.
  Result<std::optional<TcpSocket>> accept();

  int handle() const noexcept { return descriptor_.get(); }
  const Address& local() const noexcept { return local_; }
  /// Connections closed for want of descriptors.
  std::uint64_t turned_away() const noexcept { return turned_away_; }

 private:
  TcpListener(FileDescriptor descriptor, const SystemCalls& calls) noexcept
      : calls_(&calls), descriptor_(std::move(descriptor)) {}
  bool turn_away() noexcept;
  void hold_reserve() noexcept;

  const SystemCalls* calls_;
  FileDescriptor descriptor_;
  FileDescriptor reserve_;
  Address local_;
  std::uint64_t turned_away_ = 0;
};

}  // namespace riffle::net
