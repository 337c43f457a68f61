// The receiving half of UdpSocket: one recvmmsg of GRO batches, or of plain datagrams.
#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "net/socket_address.hpp"
#include "net/udp_counters.hpp"
#include "net/udp_socket.hpp"

namespace riffle::net {
namespace {

// Without GRO the 512 KiB of the buffers are cut into 56 parts of 9,216 bytes: a jumbo Ethernet frame's 8,972 or 8,952
// bytes fit, and 56 datagrams a call are within 2 % of the cost of 64. A socket that meets a longer datagram (the
// loopback device carries 65,507 bytes) changes to 8 parts of 64 KiB for good, at the price of that one datagram.
constexpr std::size_t most_messages = 56;
static_assert(UdpSocket::jumbo_slice * most_messages <= ReceiveBuffers::batches * ReceiveBuffers::batch_size);
static_assert(most_messages <= ReceiveBuffers::max_results);

template <class T>
T control_value(const cmsghdr& header) noexcept {
  T value;
  std::memcpy(&value, CMSG_DATA(&header), sizeof value);
  return value;
}

}  // namespace

struct UdpSocket::Slot {
  iovec io;
  SocketAddress from;
  // Source address, segment size, drop counter; rounded up.
  alignas(cmsghdr) std::byte control[128];

  void prepare(std::span<std::byte> memory, mmsghdr& message, bool named) noexcept {
    io = {.iov_base = memory.data(), .iov_len = memory.size()};
    message = {};
    message.msg_hdr.msg_iov = &io;
    message.msg_hdr.msg_iovlen = 1;
    message.msg_hdr.msg_control = control;
    message.msg_hdr.msg_controllen = sizeof control;
    if (named) {
      message.msg_hdr.msg_name = &from.any;
      message.msg_hdr.msg_namelen = sizeof from.v6;
    }
  }
};

ReceiveOutcome UdpSocket::receive(ReceiveBuffers& buffers) noexcept {
  const std::size_t slice = gro_ ? ReceiveBuffers::batch_size : plain_slice_;
  const auto memory = buffers.all();
  const std::size_t count = std::min(most_messages, memory.size() / slice);
  std::array<Slot, most_messages> slots;
  std::array<mmsghdr, most_messages> messages;
  for (std::size_t i = 0; i < count; ++i) slots[i].prepare(memory.subspan(i * slice, slice), messages[i], !peer_);

  ReceiveOutcome outcome;
  outcome.error = std::exchange(icmp_error_, std::nullopt);
  const int got = receive_messages(messages.data(), static_cast<unsigned>(count));
  if (got < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      ++stats_.received.would_block;
    } else {
      outcome.error = errno;
    }
    return outcome;
  }
  const auto filled = static_cast<std::size_t>(got);
  const auto results = buffers.results();
  std::size_t batches = 0;
  std::size_t datagrams = 0;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < filled; ++i) {
    ReceivedBatch& batch = results[batches];
    if (!take_message(memory.subspan(i * slice, messages[i].msg_len), messages[i].msg_hdr, slots[i].from, batch)) {
      ++datagrams;
      continue;
    }
    datagrams += (batch.bytes.size() + batch.segment - 1) / batch.segment;
    bytes += batch.bytes.size();
    ++batches;
  }
  if (filled > 0) count_call(stats_.received, datagrams, bytes);
  outcome.batches = results.first(batches);
  outcome.more = filled == count;
  return outcome;
}

int UdpSocket::receive_messages(mmsghdr* messages, unsigned count) noexcept {
  // EMSGSIZE is what ICMP's "fragmentation needed" leaves on a connected socket: the transport finds the path's MTU by
  // itself (RFC 8899), so it is taken and forgotten. Each call takes one such report; four bound the loop.
  int got = -1;
  for (int round = 0; round < 4; ++round) {
    got = calls_->recvmmsg(handle(), messages, count, MSG_DONTWAIT, nullptr);
    if (got >= 0 || (errno != EINTR && errno != EMSGSIZE)) break;
  }
  return got;
}

/// False for what has nothing to give on: an empty datagram, or one that was longer than its part of the buffers.
bool UdpSocket::take_message(std::span<std::byte> bytes, const msghdr& header, const SocketAddress& from,
                             ReceivedBatch& out) noexcept {
  out.bytes = bytes;
  out.segment = bytes.size();
  out.peer = peer_ ? *peer_ : from_socket_address(from);
  out.local = local_;
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
       control = CMSG_NXTHDR(const_cast<msghdr*>(&header), control)) {
    if (control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO) {
      if (const int segment = control_value<int>(*control); segment > 0) {
        out.segment = std::min(bytes.size(), static_cast<std::size_t>(segment));
      }
    } else if (control->cmsg_level == SOL_SOCKET && control->cmsg_type == SO_RXQ_OVFL) {
      // The kernel's counter has 32 bits and runs on: the difference survives its wrap.
      const auto drops = control_value<std::uint32_t>(*control);
      stats_.kernel_drops += static_cast<std::uint32_t>(drops - drops_seen_);
      drops_seen_ = drops;
    } else if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
      out.local = from_in4(control_value<in_pktinfo>(*control).ipi_addr, local_.port);
    } else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
      const auto info = control_value<in6_pktinfo>(*control);
      out.local = from_in6(info.ipi6_addr, local_.port, info.ipi6_ifindex);
    }
  }
  if ((header.msg_flags & MSG_TRUNC) != 0) {
    plain_slice_ = ReceiveBuffers::batch_size;
    return false;
  }
  return !bytes.empty();
}

}  // namespace riffle::net
