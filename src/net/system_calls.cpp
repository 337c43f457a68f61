#include "net/system_calls.hpp"

namespace riffle::net {

const SystemCalls& SystemCalls::real() noexcept {
  // glibc declares some of these as overloads or unions of pointers: the lambdas settle the types.
  static constexpr SystemCalls calls{
      .socket = [](int family, int type, int protocol) { return ::socket(family, type, protocol); },
      .bind = [](int socket, const sockaddr* address, socklen_t size) { return ::bind(socket, address, size); },
      .connect = [](int socket, const sockaddr* address, socklen_t size) { return ::connect(socket, address, size); },
      .listen = [](int socket, int backlog) { return ::listen(socket, backlog); },
      .accept4 = [](int socket, sockaddr* address, socklen_t* size,
                    int flags) { return ::accept4(socket, address, size, flags); },
      .getsockname = [](int socket, sockaddr* address,
                        socklen_t* size) { return ::getsockname(socket, address, size); },
      .getpeername = [](int socket, sockaddr* address,
                        socklen_t* size) { return ::getpeername(socket, address, size); },
      .shutdown = [](int socket, int how) { return ::shutdown(socket, how); },
      .setsockopt = [](int socket, int level, int option, const void* value,
                       socklen_t size) { return ::setsockopt(socket, level, option, value, size); },
      .getsockopt = [](int socket, int level, int option, void* value,
                       socklen_t* size) { return ::getsockopt(socket, level, option, value, size); },
      .sendmsg = [](int socket, const msghdr* message, int flags) { return ::sendmsg(socket, message, flags); },
      .sendmmsg = [](int socket, mmsghdr* messages, unsigned count,
                     int flags) { return ::sendmmsg(socket, messages, count, flags); },
      .recv = [](int socket, void* buffer, std::size_t size, int flags) { return ::recv(socket, buffer, size, flags); },
      .recvmmsg = [](int socket, mmsghdr* messages, unsigned count, int flags,
                     timespec* timeout) { return ::recvmmsg(socket, messages, count, flags, timeout); },
  };
  return calls;
}

}  // namespace riffle::net
