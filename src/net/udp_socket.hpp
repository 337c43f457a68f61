// The UDP socket of a loop: batches out by GSO, batches in by GRO, and plain calls where the kernel has neither.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <riffle/address.hpp>
#include <riffle/error.hpp>
#include <riffle/stats.hpp>
#include "net/datagram_port.hpp"
#include "net/file_descriptor.hpp"
#include "net/socket_address.hpp"
#include "net/system_calls.hpp"

namespace riffle::net {

/// Purpose: DatagramPort over the kernel's UDP (UDP-1 to UDP-5).
/// Contract: non-blocking, closed on exec, don't-fragment set (RFC 9000 section 14: "UDP datagrams MUST NOT be
/// fragmented at the IP layer"). Bound to [::] it is dual-stack; IPv4 peers appear as IPv4 addresses, never v4-mapped.
/// Nothing here waits, nothing is thrown.
/// Threads: one thread at a time.
class UdpSocket final : public DatagramPort {
 public:
  /// Binds to `local` (port 0: any) and, where `peer` is given, connects: the kernel then filters by the peer, reports
  /// its ICMP errors and routes once. `local` of family none means any address of the peer's family.
  /// Errors: address_in_use, permission_denied, descriptors_exhausted, unsupported (no IPv6 here), unreachable,
  /// invalid_argument, system_error.
  static Result<std::unique_ptr<UdpSocket>> open(const Address& local, std::optional<Address> peer,
                                                 const DatagramOptions& options,
                                                 const SystemCalls& calls = SystemCalls::real());

  int handle() const noexcept override { return descriptor_.get(); }
  const Address& local() const noexcept override { return local_; }
  ReceiveOutcome receive(ReceiveBuffers& buffers) noexcept override;
  SendStatus send(std::span<const std::byte> bytes, std::size_t segment, const Address& peer,
                  const Address& local) noexcept override;
  void drop_pending() noexcept override { pending_ = {}; }
  const UdpStats& stats() const noexcept override { return stats_; }
  std::string take_warning() override { return std::exchange(warning_, {}); }

  bool uses_gso() const noexcept { return gso_; }
  bool uses_gro() const noexcept { return gro_; }

  /// The kernel's limits for one GSO send: UDP_MAX_SEGMENTS, and the largest IPv4 payload (65,535 - 20 - 8 bytes).
  static constexpr std::size_t max_segments = 64;
  static constexpr std::size_t max_batch = 65507;
  /// Without GRO: the longest datagram that a call takes until a longer one was seen (udp_receive.cpp has the sum).
  static constexpr std::size_t jumbo_slice = 9216;

 private:
  struct Route;    // where to and from where, in the kernel's form
  struct Attempt;  // what one system call did
  struct Slot;     // one message of a recvmmsg

  /// How far the batch had come that met EAGAIN; `size` 0 when there is none.
  struct Pending {
    std::size_t size = 0;
    std::size_t segment = 0;
    std::size_t done = 0;
    Address peer;
  };

  UdpSocket(FileDescriptor descriptor, int family, std::optional<Address> peer, const DatagramOptions& options,
            const SystemCalls& calls)
      : calls_(&calls),
        descriptor_(std::move(descriptor)),
        family_(family),
        peer_(peer),
        gso_(options.gso),
        gro_(options.gro) {}

  // udp_socket.cpp
  bool set(int level, int option, int value) noexcept;
  void set_options(const Address& local, std::uint32_t buffer);
  void ask_for_buffers(std::uint32_t bytes);
  std::uint32_t grow_buffer(int option, int forced, std::uint32_t bytes) noexcept;
  void warn(std::string_view text);

  // udp_send.cpp
  Attempt send_segmented(std::span<const std::byte> rest, std::size_t segment, const Route& route) noexcept;
  Attempt send_plain(std::span<const std::byte> rest, std::size_t segment, const Route& route) noexcept;
  void give_up_gso(int error);
  SendStatus refuse(std::size_t bytes, std::size_t segment, int error) noexcept;

  // udp_receive.cpp
  int receive_messages(mmsghdr* messages, unsigned count) noexcept;
  bool take_message(std::span<std::byte> bytes, const msghdr& header, const SocketAddress& from,
                    ReceivedBatch& out) noexcept;

  const SystemCalls* calls_;
  FileDescriptor descriptor_;
  int family_;
  std::optional<Address> peer_;
  Address local_;
  UdpStats stats_;
  Pending pending_;
  std::optional<int> icmp_error_;          ///< met by a send, told by the next receive
  std::uint32_t drops_seen_ = 0;           ///< the kernel's 32-bit counter, as last seen
  std::size_t plain_slice_ = jumbo_slice;  ///< bytes for each message without GRO: see udp_receive.cpp
  bool gso_;
  bool gro_;
  bool wildcard_ = false;
  std::string warning_;
};

}  // namespace riffle::net
