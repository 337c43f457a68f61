#include "net/tcp_listener.hpp"

#include <netinet/in.h>

#include <cerrno>

#include "net/socket_address.hpp"
#include "net/system_error.hpp"

namespace riffle::net {

Result<TcpListener> TcpListener::open(const Address& local, const TcpListenOptions& options, const SystemCalls& calls) {
  const int family = family_of(local);
  if (family == AF_UNSPEC) return fail(Code::invalid_argument, "a TCP listener needs an address");
  FileDescriptor descriptor(calls.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!descriptor) return std::unexpected(system_failure("socket for", local, errno));
  TcpListener listener(std::move(descriptor), calls);
  const int reuse = options.reuse_address ? 1 : 0;
  calls.setsockopt(listener.handle(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
  if (family == AF_INET6) {
    const int off = 0;
    calls.setsockopt(listener.handle(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  SocketAddress name = to_socket_address(local, family);
  if (calls.bind(listener.handle(), &name.any, name.size) != 0) {
    return std::unexpected(system_failure("bind", local, errno));
  }
  if (calls.listen(listener.handle(), options.backlog) != 0) {
    return std::unexpected(system_failure("listen on", local, errno));
  }
  name.size = sizeof name.v6;
  if (calls.getsockname(listener.handle(), &name.any, &name.size) != 0) {
    return std::unexpected(system_failure("getsockname", local, errno));
  }
  listener.local_ = from_socket_address(name);
  listener.hold_reserve();
  return listener;
}

Result<std::optional<TcpSocket>> TcpListener::accept() {
  for (;;) {
    SocketAddress from;
    from.size = sizeof from.v6;
    FileDescriptor accepted(calls_->accept4(handle(), &from.any, &from.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accepted) {
      TcpSocket socket(std::move(accepted), from_socket_address(from), *calls_);
      socket.set_no_delay(true);
      return socket;
    }
    switch (const int error = errno; error) {
      case EAGAIN:
        return std::nullopt;
      case EINTR:
        break;
      // accept(2): "treat them like EAGAIN by retrying". Each stands for one connection that has gone, so this ends.
      case ECONNABORTED:
      case EPROTO:
      case ENOPROTOOPT:
      case ENETDOWN:
      case EHOSTDOWN:
      case ENETUNREACH:
      case EHOSTUNREACH:
      case ENONET:
      case EOPNOTSUPP:
        break;
      case EMFILE:
      case ENFILE:
        // The kernel takes a descriptor before it looks whether anybody waits.
        if (!turn_away()) return std::nullopt;
        [[fallthrough]];
      default:
        return std::unexpected(system_failure("accept on", local_, error));
    }
  }
}

/// False when nobody waited. Without a reserve nobody can be turned away; that counts as true, so that it is reported.
bool TcpListener::turn_away() noexcept {
  bool waited = true;
  if (reserve_) {
    reserve_.reset();
    const int unwanted = calls_->accept4(handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    waited = unwanted >= 0 || errno != EAGAIN;
    if (unwanted >= 0) {
      TcpSocket(FileDescriptor(unwanted), {}, *calls_).reset();  // closed here: the reserve takes its place below
      ++turned_away_;
    }
  }
  hold_reserve();
  return waited;
}

void TcpListener::hold_reserve() noexcept {
  // Any descriptor will do; a socket needs no file system.
  if (!reserve_) reserve_.reset(calls_->socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

}  // namespace riffle::net
