// A UDP socket on the simulated network, with the faults of a kernel.
#pragma once

#include <deque>
#include <string>

#include "net/datagram_port.hpp"
#include "sim_network.hpp"
#include "virtual_clock.hpp"

namespace riffle::sim {

/// What a kernel may do to a program that is right in every way. Probabilities are for each call.
struct SystemFaults {
  double would_block = 0;  ///< EAGAIN: a part of the batch may have left already (GSO refused with EIO, then sendmmsg)
  double no_buffers = 0;   ///< ENOBUFS: the rest of the batch is lost
  double short_receive = 0;  ///< one datagram only, though more are there
  double spurious = 0;       ///< readiness is told for nothing
};

/// The world that a socket is in.
struct SocketWorld {
  SimNetwork& network;
  VirtualClock& clock;
  Trace& trace;
  Random& random;
  const SystemFaults& faults;
  std::string broken_contract;  ///< the first breach of the port's contract by the shell; empty mostly
};

/// Threads: the simulation's. Lifetime: bound to its address until it is destroyed.
class SimSocket final : public net::DatagramPort, private Receiver {
 public:
  /// Null: the address is taken.
  static std::unique_ptr<SimSocket> open(SocketWorld& world, int handle, const Address& local,
                                         std::optional<Address> peer, const net::DatagramOptions& options);
  ~SimSocket() override;

  int handle() const noexcept override { return handle_; }
  const Address& local() const noexcept override { return local_; }
  net::ReceiveOutcome receive(net::ReceiveBuffers& buffers) noexcept override;
  net::SendStatus send(std::span<const std::byte> bytes, std::size_t segment, const Address& peer,
                       const Address& local) noexcept override;
  void drop_pending() noexcept override { pending_ = {}; }
  const UdpStats& stats() const noexcept override { return stats_; }
  std::string take_warning() override { return {}; }

  bool is_readable() const noexcept { return !queue_.empty(); }
  bool is_writable() const noexcept { return world_.clock.now() >= writable_at_; }
  /// When it will be writable again; `never` if it is.
  Instant next_change() const noexcept { return is_writable() ? never : writable_at_; }

 private:
  /// The batch that met EAGAIN.
  struct Pending {
    std::size_t size = 0;
    std::size_t done = 0;
    std::uint64_t hash = 0;
  };

  SimSocket(SocketWorld& world, int handle, std::optional<Address> peer, const net::DatagramOptions& options) noexcept
      : world_(world), handle_(handle), peer_(peer), options_(options) {}
  bool on_arrival(Datagram datagram) noexcept override;
  net::SendStatus block(std::span<const std::byte> bytes, std::size_t done) noexcept;
  std::size_t take_batch(std::span<std::byte> memory, std::size_t most, net::ReceivedBatch& out) noexcept;

  SocketWorld& world_;
  int handle_;
  std::optional<Address> peer_;
  net::DatagramOptions options_;
  Address local_;
  std::deque<Datagram> queue_;
  std::size_t queued_bytes_ = 0;
  Instant writable_at_{};
  Pending pending_;
  UdpStats stats_;
};

}  // namespace riffle::sim
