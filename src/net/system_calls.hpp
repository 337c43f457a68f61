// The system calls that sockets make, as a table, so that a test can make the kernel fail.
#pragma once

#include <sys/socket.h>

#include <ctime>

namespace riffle::net {

/// Purpose: the calls whose failure riffle promises to survive (ENOBUFS, EMFILE, EAGAIN, EIO on GSO, short writes).
/// Contract: each behaves as the libc function of its name. A socket keeps a pointer to its table: it must outlive it.
/// Cost: one indirect call, against 300 ns and more for the system call itself.
struct SystemCalls {
  int (*socket)(int family, int type, int protocol);
  int (*bind)(int socket, const sockaddr* address, socklen_t size);
  int (*connect)(int socket, const sockaddr* address, socklen_t size);
  int (*listen)(int socket, int backlog);
  int (*accept4)(int socket, sockaddr* address, socklen_t* size, int flags);
  int (*getsockname)(int socket, sockaddr* address, socklen_t* size);
  int (*getpeername)(int socket, sockaddr* address, socklen_t* size);
  int (*shutdown)(int socket, int how);
  int (*setsockopt)(int socket, int level, int option, const void* value, socklen_t size);
  int (*getsockopt)(int socket, int level, int option, void* value, socklen_t* size);
  ssize_t (*sendmsg)(int socket, const msghdr* message, int flags);
  int (*sendmmsg)(int socket, mmsghdr* messages, unsigned count, int flags);
  ssize_t (*recv)(int socket, void* buffer, std::size_t size, int flags);
  int (*recvmmsg)(int socket, mmsghdr* messages, unsigned count, int flags, timespec* timeout);

  /// The kernel's own; lives for ever.
  static const SystemCalls& real() noexcept;
};

}  // namespace riffle::net
