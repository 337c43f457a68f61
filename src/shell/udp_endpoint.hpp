// A UDP socket in a loop: input routed to whoever it is for, one pending batch when the kernel's buffer is full
// (UDP-2).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "core/session/stream_port.hpp"
#include "net/datagram_port.hpp"
#include "runtime/loop.hpp"

namespace riffle::shell {

/// Who gets an endpoint's input.
class DatagramSink {
 public:
  virtual void on_datagram(std::span<std::byte> datagram, const core::Arrival& arrival, Instant now) = 0;
  /// The socket reported an error (ECONNREFUSED by ICMP, EBADF, …).
  virtual void on_socket_error(const class UdpEndpoint& endpoint, int system, Instant now) = 0;

 protected:
  ~DatagramSink() = default;
};

class UdpEndpoint final : public runtime::Pollable {
 public:
  static Result<std::unique_ptr<UdpEndpoint>> make(std::unique_ptr<net::DatagramPort> port, runtime::Loop& loop,
                                                   net::ReceiveBuffers& buffers, DatagramSink& sink);
  ~UdpEndpoint() override;

  void on_ready(bool readable, bool writable) noexcept override;
  /// Sends, or keeps the batch until the socket is writable. Contract: not while `is_blocked()`.
  void send(std::span<const std::byte> bytes, const core::Batch& batch) noexcept;
  bool is_blocked() const noexcept { return !pending_.empty(); }
  /// Marked dirty once the socket is writable again.
  void wait_for_room(runtime::Machine& machine);
  void forget(runtime::Machine& machine) noexcept;
  net::DatagramPort& port() noexcept { return *port_; }

 private:
  UdpEndpoint(std::unique_ptr<net::DatagramPort> port, runtime::Loop& loop, net::ReceiveBuffers& buffers,
              DatagramSink& sink) noexcept
      : port_(std::move(port)), loop_(loop), buffers_(buffers), sink_(sink) {}
  void receive() noexcept;
  void send_pending() noexcept;

  std::unique_ptr<net::DatagramPort> port_;
  runtime::Loop& loop_;
  net::ReceiveBuffers& buffers_;
  DatagramSink& sink_;
  std::vector<std::byte> pending_;
  core::Batch pending_shape_;
  std::vector<runtime::Machine*> waiting_;
};

}  // namespace riffle::shell
