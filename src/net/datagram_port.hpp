// The UDP port: what a loop needs of a datagram socket. Implemented by UdpSocket, and by the simulator's network.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <riffle/address.hpp>
#include <riffle/error.hpp>
#include <riffle/options.hpp>
#include <riffle/stats.hpp>

namespace riffle::net {

/// Memory for one take of input, shared by all sockets of a loop: up to 8 GRO batches of 64 KiB.
class ReceiveBuffers {
 public:
  static constexpr std::size_t batches = 8;
  static constexpr std::size_t batch_size = 65536;
  ReceiveBuffers() : memory_(std::make_unique_for_overwrite<std::byte[]>(batches * batch_size)) {}
  std::span<std::byte> batch(std::size_t index) noexcept { return {memory_.get() + index * batch_size, batch_size}; }

 private:
  std::unique_ptr<std::byte[]> memory_;
};

/// Datagrams that arrived together from one peer: segments of `segment` bytes, the last one possibly shorter.
struct ReceivedBatch {
  std::span<std::byte> bytes;
  std::size_t segment = 0;
  Address peer;
  Address local;  ///< the address that they were sent to (IP_PKTINFO), with the socket's port
};

enum class SendStatus : std::uint8_t {
  sent,
  would_block,  ///< nothing was sent; the caller keeps the batch and tries again when the socket is writable
  too_long,     ///< a datagram above the path's MTU: dropped, as a probe that was lost
  failed,       ///< dropped; counted
};

struct ReceiveOutcome {
  std::span<const ReceivedBatch> batches;  ///< valid until the next receive with the same buffers
  bool more = false;                       ///< the socket may hold more
  std::optional<int> error;                ///< errno of a socket error (ECONNREFUSED from ICMP, EBADF, …)
};

class DatagramPort {
 public:
  virtual ~DatagramPort() = default;
  /// What the poller watches.
  virtual int handle() const noexcept = 0;
  virtual const Address& local() const noexcept = 0;
  virtual ReceiveOutcome receive(ReceiveBuffers& buffers) noexcept = 0;
  /// One batch: `bytes` in segments of `segment`, to `peer`, from `local` (its address is honoured where the socket is
  /// bound to a wildcard).
  virtual SendStatus send(std::span<const std::byte> bytes, std::size_t segment, const Address& peer,
                          const Address& local) noexcept = 0;
  virtual const UdpStats& stats() const noexcept = 0;
  /// Something that the user should hear once (a smaller socket buffer than asked for, GSO refused); empty when told.
  virtual std::string take_warning() = 0;
};

struct DatagramOptions {
  std::uint32_t socket_buffer = 4 * 1024 * 1024;
  bool gso = true;
  bool gro = true;
};

}  // namespace riffle::net
