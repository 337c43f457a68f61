#include "net/tcp_socket.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "net/socket_address.hpp"
#include "net/system_error.hpp"

namespace riffle::net {
namespace {

bool is_would_block(int system) noexcept { return system == EAGAIN || system == EWOULDBLOCK; }

}  // namespace

Result<TcpSocket> TcpSocket::connect(const Address& peer, const SystemCalls& calls) {
  const int family = family_of(peer);
  if (family == AF_UNSPEC) return fail(Code::invalid_argument, "a TCP connection needs an address");
  FileDescriptor descriptor(calls.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!descriptor) return std::unexpected(system_failure("socket for", peer, errno));
  TcpSocket socket(std::move(descriptor), peer, calls);
  socket.set_no_delay(true);
  const SocketAddress name = to_socket_address(peer, family);
  // connect(2): after EINTR the connection is established asynchronously, as after EINPROGRESS.
  if (calls.connect(socket.handle(), &name.any, name.size) != 0 && errno != EINPROGRESS && errno != EINTR) {
    return std::unexpected(system_failure("connect", peer, errno));
  }
  return socket;
}

Result<bool> TcpSocket::connect_result() const {
  int error = 0;
  socklen_t size = sizeof error;
  if (calls_->getsockopt(handle(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return std::unexpected(system_failure("connect", peer_, error));
  SocketAddress name;
  name.size = sizeof name.v6;
  if (calls_->getpeername(handle(), &name.any, &name.size) == 0) return true;
  if (errno == ENOTCONN) return false;
  return std::unexpected(system_failure("connect", peer_, errno));
}

Result<TcpMoved> TcpSocket::read(std::span<std::byte> into) const {
  for (;;) {
    const ssize_t got = calls_->recv(handle(), into.data(), into.size(), 0);
    if (got > 0) return TcpMoved{.bytes = static_cast<std::size_t>(got)};
    if (got == 0 && into.empty()) return TcpMoved{};
    if (got == 0) return TcpMoved{.status = TcpMoved::Status::end_of_stream};
    if (errno == EINTR) continue;
    if (is_would_block(errno)) return TcpMoved{.status = TcpMoved::Status::would_block};
    return std::unexpected(system_failure("read from", peer_, errno));
  }
}

Result<TcpMoved> TcpSocket::write_parts(std::span<const std::span<const std::byte>> parts) const {
  std::array<iovec, max_parts> io;
  const std::size_t count = std::min(parts.size(), max_parts);
  for (std::size_t i = 0; i < count; ++i) {
    io[i] = {.iov_base = const_cast<std::byte*>(parts[i].data()), .iov_len = parts[i].size()};
  }
  msghdr message{};
  message.msg_iov = io.data();
  message.msg_iovlen = count;
  for (;;) {
    const ssize_t sent = calls_->sendmsg(handle(), &message, MSG_NOSIGNAL);
    if (sent >= 0) return TcpMoved{.bytes = static_cast<std::size_t>(sent)};
    if (errno == EINTR) continue;
    if (is_would_block(errno)) return TcpMoved{.status = TcpMoved::Status::would_block};
    return std::unexpected(system_failure("write to", peer_, errno));
  }
}

Result<void> TcpSocket::shutdown_write() const {
  if (calls_->shutdown(handle(), SHUT_WR) == 0) return {};
  return std::unexpected(system_failure("shutdown of", peer_, errno));
}

void TcpSocket::reset() noexcept {
  // socket(7): with a linger time of zero close() discards what is unsent, and TCP answers with RST.
  const linger now{.l_onoff = 1, .l_linger = 0};
  calls_->setsockopt(handle(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close();
}

void TcpSocket::set_no_delay(bool on) const noexcept {
  const int value = on ? 1 : 0;
  calls_->setsockopt(handle(), IPPROTO_TCP, TCP_NODELAY, &value, sizeof value);
}

Address TcpSocket::local() const noexcept {
  SocketAddress name;
  name.size = sizeof name.v6;
  if (calls_->getsockname(handle(), &name.any, &name.size) != 0) return {};
  return from_socket_address(name);
}

}  // namespace riffle::net
