#include "net/udp_socket.hpp"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <cerrno>

#include "net/socket_address.hpp"
#include "net/system_error.hpp"

namespace riffle::net {

Result<std::unique_ptr<UdpSocket>> UdpSocket::open(const Address& local, std::optional<Address> peer,
                                                   const DatagramOptions& options, const SystemCalls& calls) {
  const Address& names = local.family != Address::Family::none || !peer ? local : *peer;
  const int family = family_of(names);
  if (family == AF_UNSPEC) return fail(Code::invalid_argument, "a UDP socket needs a local address or a peer");
  if (peer && to_socket_address(*peer, family).size == 0) {
    return fail(Code::invalid_argument, "no way from " + local.to_string() + " to " + peer->to_string());
  }
  FileDescriptor descriptor(calls.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!descriptor) return std::unexpected(system_failure("socket for", names, errno));

  std::unique_ptr<UdpSocket> socket(new UdpSocket(std::move(descriptor), family, peer, options, calls));
  socket->set_options(local, options.socket_buffer);
  if (local.family != Address::Family::none) {
    const SocketAddress name = to_socket_address(local, family);
    if (calls.bind(socket->handle(), &name.any, name.size) != 0) {
      return std::unexpected(system_failure("bind", local, errno));
    }
  }
  if (peer) {
    const SocketAddress name = to_socket_address(*peer, family);
    if (calls.connect(socket->handle(), &name.any, name.size) != 0) {
      return std::unexpected(system_failure("connect", *peer, errno));
    }
  }
  SocketAddress bound;
  bound.size = sizeof bound.v6;
  if (calls.getsockname(socket->handle(), &bound.any, &bound.size) != 0) {
    return std::unexpected(system_failure("getsockname", local, errno));
  }
  socket->local_ = from_socket_address(bound);
  socket->wildcard_ = socket->local_.is_any();
  return socket;
}

bool UdpSocket::set(int level, int option, int value) noexcept {
  return calls_->setsockopt(handle(), level, option, &value, sizeof value) == 0;
}

// Before bind(): a datagram that came in between would lack its control messages.
void UdpSocket::set_options(const Address& local, std::uint32_t buffer) {
  // PROBE sets don't-fragment and ignores the kernel's idea of the path MTU: the transport's own discovery decides
  // (RFC 8899 section 4.1).
  bool unfragmented = set(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  if (family_ == AF_INET6) {
    set(IPPROTO_IPV6, IPV6_V6ONLY, 0);
    unfragmented = set(IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE) && unfragmented;
  }
  if (!unfragmented) warn("the kernel refused the don't-fragment option: path-MTU discovery may overestimate");
  if (local.is_any() && !peer_) {
    if (family_ == AF_INET6) {
      set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    } else {
      set(IPPROTO_IP, IP_PKTINFO, 1);
    }
  }
  set(SOL_SOCKET, SO_RXQ_OVFL, 1);
  if (gro_ && !set(SOL_UDP, UDP_GRO, 1)) {
    gro_ = false;
    warn("the kernel refused UDP_GRO: receiving by plain recvmmsg, which costs more CPU");
  }
  ask_for_buffers(buffer);
}

void UdpSocket::ask_for_buffers(std::uint32_t bytes) {
  const auto complain = [&](const char* direction, const char* setting, std::uint32_t got) {
    if (got >= bytes) return;
    warn(std::string("the kernel gave the UDP ") + direction + " buffer " + std::to_string(got) + " of " +
         std::to_string(bytes) + " bytes: set `sysctl -w " + setting + "=" + std::to_string(bytes) + "`");
  };
  complain("receive", "net.core.rmem_max", grow_buffer(SO_RCVBUF, SO_RCVBUFFORCE, bytes));
  complain("send", "net.core.wmem_max", grow_buffer(SO_SNDBUF, SO_SNDBUFFORCE, bytes));
}

/// What the kernel gave, in the unit of the request.
std::uint32_t UdpSocket::grow_buffer(int option, int forced, std::uint32_t bytes) noexcept {
  // socket(7): "The kernel doubles this value (to allow space for bookkeeping overhead)", and getsockopt returns the
  // doubled one.
  const auto given = [&] {
    int value = 0;
    socklen_t size = sizeof value;
    if (calls_->getsockopt(handle(), SOL_SOCKET, option, &value, &size) != 0 || value < 0) return 0U;
    return static_cast<std::uint32_t>(value) / 2;
  };
  set(SOL_SOCKET, option, static_cast<int>(bytes));
  if (given() < bytes) set(SOL_SOCKET, forced, static_cast<int>(bytes));  // needs CAP_NET_ADMIN; refused is no harm
  return given();
}

void UdpSocket::warn(std::string_view text) {
  if (!warning_.empty()) warning_ += "; ";
  warning_ += text;
}

}  // namespace riffle::net
