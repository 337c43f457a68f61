// From "host:port" to addresses, in the order in which Happy Eyeballs tries them.
#pragma once

#include <netdb.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <riffle/address.hpp>
#include <riffle/error.hpp>

namespace riffle::net {

/// The system's name service, as a table, so that a test can be a slow or a broken one.
struct NameCalls {
  int (*getaddrinfo)(const char* host, const char* service, const addrinfo* hints, addrinfo** out);
  void (*freeaddrinfo)(addrinfo* list);
  static const NameCalls& real() noexcept;
};

/// What needs no name service: numeric addresses (with a zone, "fe80::1%eth0"), and "localhost" with all names below it
/// (RFC 6761 section 6.3: "Name resolution APIs and libraries SHOULD recognize localhost names as special and SHOULD
/// always return the IP loopback address"). Nothing for any other host.
std::optional<std::vector<Address>> resolve_locally(const HostPort& target);

/// Asks the system; waits for it. At least one address, without repetition, interleaved.
/// Errors: name_not_found with the host and what the system says, invalid_argument for an empty host.
Result<std::vector<Address>> resolve(const HostPort& target, const NameCalls& calls = NameCalls::real());

/// RFC 8305 section 4: "the first address family … SHOULD be followed by an endpoint of the other address family". IPv6
/// first, then in turns, each family in the order in which the system has sorted it (RFC 6724).
std::vector<Address> interleaved(const std::vector<Address>& addresses);

/// Purpose: looks names up on one thread of its own, begun by the first look-up that needs it.
/// Contract: each look-up that was accepted is answered exactly once; at most `bound` wait behind the one in progress.
/// Threads: `look_up` may be called by any thread. The answer comes on the resolver's thread, or, where no name service
/// is needed, on the caller's before `look_up` returns; a callback that belongs to a loop posts to it. A callback may
/// look further names up; it must not destroy the resolver, and must not throw. Lifetime: the destructor answers what
/// still waits with `closed` and joins; it has to wait for a getaddrinfo in progress, which ends by the timeouts of
/// resolv.conf(5).
class Resolver {
 public:
  using Callback = std::move_only_function<void(Result<std::vector<Address>>)>;

  explicit Resolver(std::size_t bound = 256, const NameCalls& calls = NameCalls::real()) noexcept
      : calls_(&calls), bound_(bound) {}
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  ~Resolver();

  /// `busy` when the queue is full, `closed` when the resolver is ending: `callback` is then not called.
  Result<void> look_up(HostPort target, Callback callback);

 private:
  struct Question {
    HostPort target;
    Callback callback;
  };
  void run();

  const NameCalls* calls_;
  const std::size_t bound_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Question> questions_;  // under mutex_
  bool ending_ = false;             // under mutex_
  std::thread thread_;              // started under mutex_
};

}  // namespace riffle::net
