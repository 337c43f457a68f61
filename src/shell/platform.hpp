// What the shell asks of the machine it runs on: the kernel, or the simulator.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <riffle/address.hpp>
#include <riffle/error.hpp>
#include <riffle/options.hpp>
#include "core/quic/quic_port.hpp"
#include "net/datagram_port.hpp"
#include "runtime/poller.hpp"

namespace riffle::shell {

/// Threads: `open_udp` and `resolve` are called by any thread, the rest by the one that makes the engine.
struct Platform {
  using Resolved = std::move_only_function<void(Result<std::vector<Address>>)>;

  virtual ~Platform() = default;
  virtual Result<std::unique_ptr<runtime::Poller>> make_poller(const EngineOptions& options) = 0;
  virtual Result<std::unique_ptr<net::DatagramPort>> open_udp(const Address& local, std::optional<Address> peer,
                                                              const net::DatagramOptions& options) = 0;
  /// Calls back once, on this thread or another.
  virtual void resolve(const HostPort& target, Resolved answer) = 0;
  virtual core::QuicStack& quic() = 0;
};

/// Linux, UDP, getaddrinfo and quiche. One for each engine.
std::unique_ptr<Platform> make_real_platform();

}  // namespace riffle::shell
