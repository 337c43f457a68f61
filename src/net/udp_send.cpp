// The sending half of UdpSocket: one batch by one sendmsg with UDP_SEGMENT, or by sendmmsg.
#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/check.hpp"
#include "net/socket_address.hpp"
#include "net/udp_counters.hpp"
#include "net/udp_socket.hpp"

namespace riffle::net {

namespace {

// The largest set of control messages: the source address and the segment size.
constexpr std::size_t control_size = CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(std::uint16_t));

// msghdr wants mutable pointers to what sendmsg only reads.
void* read_only(const std::byte* data) noexcept { return const_cast<std::byte*>(data); }

/// Appends one control message to `control`; returns the new size.
template <class T>
std::size_t append_control(std::byte* control, std::size_t used, int level, int type, const T& value) noexcept {
  std::memset(control + used, 0, CMSG_SPACE(sizeof value));  // the padding too: the kernel copies all of it
  auto* header = new (control + used) cmsghdr{};
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(sizeof value);
  std::memcpy(CMSG_DATA(header), &value, sizeof value);
  return used + CMSG_SPACE(sizeof value);
}

std::size_t segments_in(std::size_t bytes, std::size_t segment) noexcept { return (bytes + segment - 1) / segment; }

}  // namespace

struct UdpSocket::Route {
  SocketAddress to;  ///< size 0 on a connected socket: the kernel knows
  alignas(cmsghdr) std::byte source[control_size];
  std::size_t source_size = 0;

  Route(const UdpSocket& socket, const Address& peer, const Address& local) noexcept {
    if (!socket.peer_ || *socket.peer_ != peer) to = to_socket_address(peer, socket.family_);
    if (!socket.wildcard_ || local.family == Address::Family::none || local.is_any()) return;
    if (socket.family_ == AF_INET6) {
      // For an IPv4 peer the kernel takes the v4-mapped form in IPV6_PKTINFO (ip_cmsg_send).
      in6_pktinfo info{};
      info.ipi6_addr = to_in6(local);
      info.ipi6_ifindex = local.scope;
      source_size = append_control(source, 0, IPPROTO_IPV6, IPV6_PKTINFO, info);
    } else if (local.family == Address::Family::ipv4) {
      in_pktinfo info{};
      std::memcpy(&info.ipi_spec_dst, local.bytes.data(), 4);
      source_size = append_control(source, 0, IPPROTO_IP, IP_PKTINFO, info);
    }
  }

  msghdr header(iovec& io) const noexcept {
    msghdr message{};
    message.msg_name = to.size ? const_cast<sockaddr*>(&to.any) : nullptr;
    message.msg_namelen = to.size;
    message.msg_iov = &io;
    message.msg_iovlen = 1;
    message.msg_control = source_size ? const_cast<std::byte*>(source) : nullptr;
    message.msg_controllen = source_size;
    return message;
  }
};

struct UdpSocket::Attempt {
  std::size_t bytes = 0;  ///< gone; 0 with `error`
  int error = 0;
};

SendStatus UdpSocket::send(std::span<const std::byte> bytes, std::size_t segment, const Address& peer,
                           const Address& local) noexcept {
  RIFFLE_CHECK(!bytes.empty() && segment > 0, "an empty UDP batch");
  std::size_t done = 0;
  if (pending_.size == bytes.size() && pending_.segment == segment && pending_.peer == peer) done = pending_.done;
  pending_ = {};
  const Route route(*this, peer, local);
  if (!peer_ && route.to.size == 0) return refuse(bytes.size() - done, segment, EAFNOSUPPORT);

  bool told = false;  // whether a report about an earlier datagram has been taken
  int suspect = 0;    // why the kernel refused this batch as GSO; whether GSO is to blame is seen by sending it plainly
  while (done < bytes.size()) {
    const auto rest = bytes.subspan(done);
    const bool segmented = gso_ && suspect == 0 && rest.size() > segment && segment * 2 <= max_batch;
    const Attempt attempt = segmented ? send_segmented(rest, segment, route) : send_plain(rest, segment, route);
    if (attempt.error == 0) {
      done += attempt.bytes;
      if (suspect != 0) give_up_gso(std::exchange(suspect, 0));
    } else if (attempt.error == EINTR) {
      continue;
    } else if (attempt.error == EAGAIN || attempt.error == EWOULDBLOCK) {
      ++stats_.sent.would_block;
      pending_ = {.size = bytes.size(), .segment = segment, .done = done, .peer = peer};
      return SendStatus::would_block;
    } else if (segmented && attempt.error == EIO) {
      give_up_gso(EIO);  // the device cannot checksum segments: it never will
    } else if (peer_ && !told && (attempt.error == ECONNREFUSED || attempt.error == EMSGSIZE)) {
      // On a connected socket this may be what ICMP said about an earlier datagram; this one was then not tried.
      told = true;
      if (attempt.error == ECONNREFUSED) icmp_error_ = attempt.error;
    } else if (segmented && (attempt.error == EINVAL || attempt.error == EMSGSIZE)) {
      suspect = attempt.error;
    } else {
      return refuse(bytes.size() - done, segment, attempt.error);
    }
  }
  return SendStatus::sent;
}

UdpSocket::Attempt UdpSocket::send_segmented(std::span<const std::byte> rest, std::size_t segment,
                                             const Route& route) noexcept {
  const std::size_t most = std::min(max_segments, max_batch / segment) * segment;
  const std::size_t size = std::min(rest.size(), most);
  iovec io{.iov_base = read_only(rest.data()), .iov_len = size};
  msghdr message = route.header(io);
  alignas(cmsghdr) std::byte control[control_size];
  if (size > segment) {
    std::memcpy(control, route.source, route.source_size);
    message.msg_controllen =
        append_control(control, route.source_size, SOL_UDP, UDP_SEGMENT, static_cast<std::uint16_t>(segment));
    message.msg_control = control;
  }
  if (calls_->sendmsg(handle(), &message, MSG_NOSIGNAL) < 0) return {.error = errno};
  count_call(stats_.sent, segments_in(size, segment), size);
  return {.bytes = size};
}

UdpSocket::Attempt UdpSocket::send_plain(std::span<const std::byte> rest, std::size_t segment,
                                         const Route& route) noexcept {
  std::array<iovec, max_segments> io;
  std::array<mmsghdr, max_segments> messages;
  const std::size_t count = std::min(max_segments, segments_in(rest.size(), segment));
  for (std::size_t i = 0; i < count; ++i) {
    const auto datagram = rest.subspan(i * segment, std::min(segment, rest.size() - i * segment));
    io[i] = {.iov_base = read_only(datagram.data()), .iov_len = datagram.size()};
    messages[i] = {.msg_hdr = route.header(io[i]), .msg_len = 0};
  }
  std::size_t sent = 1;
  if (count == 1) {
    if (calls_->sendmsg(handle(), &messages[0].msg_hdr, MSG_NOSIGNAL) < 0) return {.error = errno};
  } else {
    const int result = calls_->sendmmsg(handle(), messages.data(), static_cast<unsigned>(count), MSG_NOSIGNAL);
    if (result < 0) return {.error = errno};
    sent = static_cast<std::size_t>(result);
  }
  const std::size_t bytes = std::min(sent * segment, rest.size());
  count_call(stats_.sent, sent, bytes);
  return {.bytes = bytes};
}

void UdpSocket::give_up_gso(int error) {
  gso_ = false;
  warn("the kernel refused UDP_SEGMENT (" + std::generic_category().message(error) +
       "): sending by sendmmsg, which costs more CPU");
}

/// ENOBUFS too ends here: the queue of the device is full, the socket stays writable, so that waiting for it would
/// spin. The datagrams count as lost, which the transport repairs at its own pace.
SendStatus UdpSocket::refuse(std::size_t bytes, std::size_t segment, int error) noexcept {
  stats_.send_failures += segments_in(bytes, segment);
  return error == EMSGSIZE ? SendStatus::too_long : SendStatus::failed;
}

}  // namespace riffle::net
