// The UDP port: what a loop needs of a datagram socket. Implemented by UdpSocket, and by the simulator's network.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <riffle/address.hpp>
#include <riffle/error.hpp>
#include <riffle/options.hpp>
#include <riffle/stats.hpp>

namespace riffle::net {

/// Datagrams that arrived together from one peer: segments of `segment` bytes, the last one possibly shorter.
struct ReceivedBatch {
  std::span<std::byte> bytes;
  std::size_t segment = 0;
  Address peer;
  Address local;  ///< the address that they were sent to (IP_PKTINFO), with the socket's port
};

/// Memory for one take of input, shared by all sockets of a loop: up to 8 GRO batches of 64 KiB, and the list that
/// describes them. A port without GRO cuts the same memory into more and smaller parts.
class ReceiveBuffers {
 public:
  static constexpr std::size_t batches = 8;
  static constexpr std::size_t batch_size = 65536;
  static constexpr std::size_t max_results = 64;
  ReceiveBuffers()
      : memory_(std::make_unique_for_overwrite<std::byte[]>(batches * batch_size)), results_(max_results) {}
  std::span<std::byte> batch(std::size_t index) noexcept { return {memory_.get() + index * batch_size, batch_size}; }
  std::span<std::byte> all() noexcept { return {memory_.get(), batches * batch_size}; }
  std::span<ReceivedBatch> results() noexcept { return results_; }

 private:
  std::unique_ptr<std::byte[]> memory_;
  std::vector<ReceivedBatch> results_;
};

enum class SendStatus : std::uint8_t {
  sent,
  would_block,  ///< nothing is lost; the caller keeps the batch and tries again when the socket is writable
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
  /// bound to a wildcard). `bytes` is not empty; every segment but the last has `segment` bytes.
  /// After `would_block` the batch stays the socket's pending one: the next call carries the same batch again, whole
  /// and wherever its bytes stand by then, and goes on behind what had already left. To give it up, call
  /// `drop_pending`.
  virtual SendStatus send(std::span<const std::byte> bytes, std::size_t segment, const Address& peer,
                          const Address& local) noexcept = 0;
  /// Gives up the batch that met `would_block`: the next `send` is a new one. For a port that sends a batch whole or
  /// not at all there is nothing to forget.
  virtual void drop_pending() noexcept {}
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
