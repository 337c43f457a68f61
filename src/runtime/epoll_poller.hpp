// The system calls behind the epoll poller, as a table, so that a test can be an older or an exhausted kernel.
#pragma once

#include <sys/epoll.h>

#include <ctime>

#include "runtime/poller.hpp"

namespace riffle::runtime {

/// Contract: each behaves as the libc function of its name. The table must outlive the poller.
struct EpollCalls {
  int (*epoll_create1)(int flags);
  int (*epoll_ctl)(int epoll, int operation, int handle, epoll_event* event);
  int (*epoll_wait)(int epoll, epoll_event* events, int most, int timeout_ms);
  int (*epoll_pwait2)(int epoll, epoll_event* events, int most, const timespec* timeout, const sigset_t* mask);
  int (*eventfd)(unsigned value, int flags);
  int (*pipe2)(int ends[2], int flags);

  /// The kernel's own; lives for ever.
  static const EpollCalls& real() noexcept;
};

/// `make_epoll_poller` over another kernel.
Result<std::unique_ptr<Poller>> make_epoll_poller(bool eventfd, const EpollCalls& calls);

}  // namespace riffle::runtime
