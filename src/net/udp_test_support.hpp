// What the tests of UdpSocket share: sockets on loopback, patterned batches, waiting for datagrams by poll().
#pragma once

#include <poll.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include <gtest/gtest.h>
#include "net/udp_socket.hpp"

namespace riffle::net::test {

inline constexpr int patience_ms = 10'000;  // a bound for a broken build; nothing waits for it to pass

struct Datagram {
  std::vector<std::byte> bytes;
  Address peer;
  Address local;
};

inline std::unique_ptr<UdpSocket> open_socket(const Address& local, std::optional<Address> peer = std::nullopt,
                                              const DatagramOptions& options = {},
                                              const SystemCalls& calls = SystemCalls::real()) {
  auto socket = UdpSocket::open(local, peer, options, calls);
  if (!socket) {
    ADD_FAILURE() << socket.error().message();
    return nullptr;
  }
  return std::move(*socket);
}

inline bool wait_readable(const DatagramPort& socket) {
  pollfd entry{.fd = socket.handle(), .events = POLLIN, .revents = 0};
  return ::poll(&entry, 1, patience_ms) == 1;
}

/// `size` bytes in which each position differs from its neighbours in the next segment.
inline std::vector<std::byte> pattern(std::size_t size, unsigned seed = 1) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((i * 31 + i / 251 + seed) & 0xff);
  return bytes;
}

/// Receives until `count` datagrams are there (or the patience ends), cut at their segments.
inline std::vector<Datagram> collect(DatagramPort& socket, ReceiveBuffers& buffers, std::size_t count) {
  std::vector<Datagram> out;
  while (out.size() < count && wait_readable(socket)) {
    const ReceiveOutcome outcome = socket.receive(buffers);
    EXPECT_FALSE(outcome.error.has_value()) << *outcome.error;
    for (const ReceivedBatch& batch : outcome.batches) {
      for (std::size_t at = 0; at < batch.bytes.size(); at += batch.segment) {
        const auto part = batch.bytes.subspan(at, std::min(batch.segment, batch.bytes.size() - at));
        out.push_back({{part.begin(), part.end()}, batch.peer, batch.local});
      }
    }
  }
  return out;
}

inline std::vector<std::byte> joined(const std::vector<Datagram>& datagrams) {
  std::vector<std::byte> all;
  for (const Datagram& datagram : datagrams) all.insert(all.end(), datagram.bytes.begin(), datagram.bytes.end());
  return all;
}

/// Whether this machine's loopback speaks IPv6. Tests that need it say so when they are left out.
inline bool has_ipv6() { return UdpSocket::open(Address::loopback_v6(0), std::nullopt, {}).has_value(); }

}  // namespace riffle::net::test

#define RIFFLE_NEEDS_IPV6()                                                        \
  if (!::riffle::net::test::has_ipv6()) {                                          \
    GTEST_SKIP() << "NOT TESTED: this machine has no IPv6 on its loopback device"; \
  }
