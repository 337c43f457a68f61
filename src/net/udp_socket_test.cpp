// UdpSocket against the kernel's loopback (UDP-1 to UDP-5).
#include "net/udp_socket.hpp"

#include <fcntl.h>
#include <netinet/in.h>

#include <numeric>
#include <tuple>

#include "net/udp_counters.hpp"
#include "net/udp_test_support.hpp"

namespace riffle::net {
namespace {

using test::collect;
using test::joined;
using test::open_socket;
using test::pattern;

int option_of(const UdpSocket& socket, int level, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  EXPECT_EQ(::getsockopt(socket.handle(), level, option, &value, &size), 0);
  return value;
}

// UDP-1 and UDP-5: every combination of the switches moves the same bytes in the same segments.
class UdpPaths : public testing::TestWithParam<std::tuple<bool, bool, bool>> {};

TEST_P(UdpPaths, ABatchArrivesSegmentBySegment) {
  const auto [gso, gro, ipv6] = GetParam();
  if (ipv6) RIFFLE_NEEDS_IPV6();
  const DatagramOptions options{.gso = gso, .gro = gro};
  const Address any_port = ipv6 ? Address::loopback_v6(0) : Address::loopback_v4(0);
  auto receiver = open_socket(any_port, std::nullopt, options);
  auto sender = open_socket(any_port, std::nullopt, options);
  ASSERT_TRUE(receiver && sender);

  const auto batch = pattern(40 * 1200 + 700);
  ASSERT_EQ(sender->send(batch, 1200, receiver->local(), sender->local()), SendStatus::sent);
  ReceiveBuffers buffers;
  const auto datagrams = collect(*receiver, buffers, 41);

  ASSERT_EQ(datagrams.size(), 41u);
  EXPECT_EQ(joined(datagrams), batch);
  EXPECT_EQ(datagrams.front().bytes.size(), 1200u);
  EXPECT_EQ(datagrams.back().bytes.size(), 700u);
  EXPECT_EQ(datagrams.front().peer, sender->local());
  EXPECT_EQ(datagrams.front().local, receiver->local());
  EXPECT_EQ(sender->uses_gso(), gso);
  EXPECT_EQ(receiver->uses_gro(), gro);
  EXPECT_EQ(sender->stats().sent.datagrams, 41u);
  EXPECT_EQ(sender->stats().sent.bytes, batch.size());
  EXPECT_EQ(sender->stats().sent.calls, 1u);
  EXPECT_EQ(receiver->stats().received.datagrams, 41u);
  EXPECT_EQ(receiver->stats().received.bytes, batch.size());
}

TEST_P(UdpPaths, MoreThanOneCallCarriesGoesInSeveral) {
  const auto [gso, gro, ipv6] = GetParam();
  if (ipv6) RIFFLE_NEEDS_IPV6();
  const DatagramOptions options{.gso = gso, .gro = gro};
  const Address any_port = ipv6 ? Address::loopback_v6(0) : Address::loopback_v4(0);
  auto receiver = open_socket(any_port, std::nullopt, options);
  auto sender = open_socket(any_port, receiver->local(), options);
  ASSERT_TRUE(receiver && sender);

  const auto batch = pattern(100 * 1000 + 1);  // 101 datagrams: above 64 segments and above 65,507 bytes
  ASSERT_EQ(sender->send(batch, 1000, receiver->local(), sender->local()), SendStatus::sent);
  ReceiveBuffers buffers;
  const auto datagrams = collect(*receiver, buffers, 101);
  EXPECT_EQ(joined(datagrams), batch);
  EXPECT_EQ(sender->stats().sent.calls, 2u);
}

INSTANTIATE_TEST_SUITE_P(Loopback, UdpPaths, testing::Combine(testing::Bool(), testing::Bool(), testing::Bool()),
                         [](const auto& test_case) {
                           std::string name = std::get<0>(test_case.param) ? "Gso" : "NoGso";
                           name += std::get<1>(test_case.param) ? "Gro" : "NoGro";
                           return name + (std::get<2>(test_case.param) ? "Ipv6" : "Ipv4");
                         });

// UDP-3: at least 20 datagrams per system call on both sides of a bulk transfer.
TEST(UdpSocket, GsoAndGroMoveTwentyDatagramsPerCall) {
  auto receiver = open_socket(Address::loopback_v4(0));
  auto sender = open_socket(Address::loopback_v4(0), receiver->local());
  ReceiveBuffers buffers;
  const auto batch = pattern(45 * 1350);
  for (int round = 0; round < 50; ++round) {
    ASSERT_EQ(sender->send(batch, 1350, receiver->local(), sender->local()), SendStatus::sent);
    ASSERT_EQ(collect(*receiver, buffers, 45).size(), 45u);
  }
  EXPECT_GE(sender->stats().sent.datagrams_per_call(), 20);
  EXPECT_GE(receiver->stats().received.datagrams_per_call(), 20);
  EXPECT_EQ(sender->stats().sent.batch_sizes[6], 50u);  // the class 33–64
}

TEST(UdpSocket, OneDatagramIsABatchOfOne) {
  auto receiver = open_socket(Address::loopback_v4(0));
  auto sender = open_socket(Address::loopback_v4(0));
  ReceiveBuffers buffers;
  ASSERT_EQ(sender->send(pattern(512), 1200, receiver->local(), sender->local()), SendStatus::sent);
  ASSERT_TRUE(test::wait_readable(*receiver));
  const ReceiveOutcome outcome = receiver->receive(buffers);
  ASSERT_EQ(outcome.batches.size(), 1u);
  EXPECT_EQ(outcome.batches[0].segment, 512u);
  EXPECT_FALSE(outcome.more);
  EXPECT_EQ(sender->stats().sent.batch_sizes[0], 1u);
  EXPECT_TRUE(receiver->receive(buffers).batches.empty());
  EXPECT_EQ(receiver->stats().received.would_block, 1u);
}

TEST(UdpSocket, AFullTakeSaysThatThereMayBeMore) {
  const DatagramOptions plain{.gso = false, .gro = false};
  auto receiver = open_socket(Address::loopback_v4(0), std::nullopt, plain);
  auto sender = open_socket(Address::loopback_v4(0), std::nullopt, plain);
  ASSERT_EQ(sender->send(pattern(60 * 100), 100, receiver->local(), sender->local()), SendStatus::sent);
  ReceiveBuffers buffers;
  const ReceiveOutcome first = receiver->receive(buffers);  // loopback delivers within the send
  EXPECT_EQ(first.batches.size(), 56u);
  EXPECT_TRUE(first.more);
  const ReceiveOutcome second = receiver->receive(buffers);
  EXPECT_EQ(second.batches.size(), 4u);
  EXPECT_FALSE(second.more);
}

TEST(UdpSocket, AnEmptyDatagramIsCountedAndNotGivenOn) {
  auto receiver = open_socket(Address::loopback_v4(0));
  const FileDescriptor raw(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const SocketAddress to = to_socket_address(receiver->local(), AF_INET);
  ASSERT_EQ(::sendto(raw.get(), nullptr, 0, 0, &to.any, to.size), 0);
  ReceiveBuffers buffers;
  ASSERT_TRUE(test::wait_readable(*receiver));
  EXPECT_TRUE(receiver->receive(buffers).batches.empty());
  EXPECT_EQ(receiver->stats().received.datagrams, 1u);
}

// Without GRO a datagram above 9,216 bytes costs itself, and the next one of its size arrives.
TEST(UdpSocket, WithoutGroTheSocketLearnsOfLongDatagrams) {
  const DatagramOptions plain{.gso = false, .gro = false};
  auto receiver = open_socket(Address::loopback_v4(0), std::nullopt, plain);
  auto sender = open_socket(Address::loopback_v4(0), std::nullopt, plain);
  const auto longest = pattern(65507);
  ReceiveBuffers buffers;
  ASSERT_EQ(sender->send(longest, longest.size(), receiver->local(), sender->local()), SendStatus::sent);
  ASSERT_TRUE(test::wait_readable(*receiver));
  EXPECT_TRUE(receiver->receive(buffers).batches.empty());
  ASSERT_EQ(sender->send(longest, longest.size(), receiver->local(), sender->local()), SendStatus::sent);
  EXPECT_EQ(joined(collect(*receiver, buffers, 1)), longest);
}

TEST(UdpSocket, TheDescriptorDoesNotBlockAndIsClosedOnExec) {
  auto socket = open_socket(Address::loopback_v4(0));
  EXPECT_TRUE(::fcntl(socket->handle(), F_GETFL) & O_NONBLOCK);
  EXPECT_TRUE(::fcntl(socket->handle(), F_GETFD) & FD_CLOEXEC);
}

// UDP-4
TEST(UdpSocket, DontFragmentIsSetForBothFamilies) {
  auto v4 = open_socket(Address::loopback_v4(0));
  EXPECT_EQ(option_of(*v4, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_PROBE);
  RIFFLE_NEEDS_IPV6();
  auto dual = open_socket(Address::any_v6(0));
  EXPECT_EQ(option_of(*dual, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_PROBE);
  EXPECT_EQ(option_of(*dual, IPPROTO_IPV6, IPV6_MTU_DISCOVER), IPV6_PMTUDISC_PROBE);
  EXPECT_EQ(option_of(*dual, IPPROTO_IPV6, IPV6_V6ONLY), 0);
}

// UDP-4
TEST(UdpSocket, ADatagramThatNoPacketCarriesIsTooLong) {
  auto receiver = open_socket(Address::loopback_v4(0));
  auto sender = open_socket(Address::loopback_v4(0), receiver->local());
  const auto giant = pattern(65520);
  EXPECT_EQ(sender->send(giant, giant.size(), receiver->local(), sender->local()), SendStatus::too_long);
  EXPECT_EQ(sender->stats().send_failures, 1u);
  EXPECT_TRUE(sender->uses_gso());
}

TEST(UdpSocket, AWildcardSocketAnswersFromTheAddressThatWasAsked) {
  auto server = open_socket(Address::any_v4(0));
  auto client = open_socket(Address::loopback_v4(0));
  Address second = Address::loopback_v4(server->local().port);
  second.bytes[3] = 2;  // 127.0.0.2
  ReceiveBuffers buffers;
  ASSERT_EQ(client->send(pattern(100), 100, second, client->local()), SendStatus::sent);
  const auto asked = collect(*server, buffers, 1);
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].local, second);
  ASSERT_EQ(server->send(pattern(2400), 1200, asked[0].peer, asked[0].local), SendStatus::sent);
  const auto answer = collect(*client, buffers, 2);
  ASSERT_EQ(answer.size(), 2u);
  EXPECT_EQ(answer[0].peer, second);
}

TEST(UdpSocket, ADualStackSocketShowsIpv4PeersAsIpv4) {
  RIFFLE_NEEDS_IPV6();
  auto server = open_socket(Address::any_v6(0));
  Address second = Address::loopback_v4(server->local().port);
  second.bytes[3] = 2;
  auto v4 = open_socket(Address::loopback_v4(0), second);  // connected: hears only 127.0.0.2
  auto v6 = open_socket(Address::loopback_v6(0), Address::loopback_v6(server->local().port));
  ReceiveBuffers buffers;
  const Address six = Address::loopback_v6(server->local().port);
  for (const auto& [client, target] : {std::pair(v4.get(), second), std::pair(v6.get(), six)}) {
    ASSERT_EQ(client->send(pattern(300), 100, target, client->local()), SendStatus::sent);
    const auto asked = collect(*server, buffers, 3);
    ASSERT_EQ(asked.size(), 3u);
    EXPECT_EQ(asked[0].peer, client->local());
    EXPECT_EQ(asked[0].local, target);
    ASSERT_EQ(server->send(pattern(300, 9), 100, asked[0].peer, asked[0].local), SendStatus::sent);
    EXPECT_EQ(joined(collect(*client, buffers, 3)), pattern(300, 9));
  }
}

TEST(UdpSocket, AnIpv6SocketReachesAnIpv4PeerByMapping) {
  RIFFLE_NEEDS_IPV6();
  auto receiver = open_socket(Address::loopback_v4(0));
  auto sender = open_socket(Address::any_v6(0), receiver->local());
  EXPECT_EQ(sender->local().family, Address::Family::ipv4);
  ReceiveBuffers buffers;
  ASSERT_EQ(sender->send(pattern(50), 50, receiver->local(), sender->local()), SendStatus::sent);
  EXPECT_EQ(collect(*receiver, buffers, 1).at(0).peer, sender->local());
}

TEST(UdpSocket, WithoutALocalAddressThePeersFamilyIsUsed) {
  auto receiver = open_socket(Address::loopback_v4(0));
  auto sender = open_socket(Address{}, receiver->local());
  EXPECT_EQ(sender->local().family, Address::Family::ipv4);
  EXPECT_NE(sender->local().port, 0);
  EXPECT_FALSE(sender->local().is_any());
}

TEST(UdpSocket, AnAddressIsNeeded) {
  const auto socket = UdpSocket::open(Address{}, std::nullopt, {});
  ASSERT_FALSE(socket);
  EXPECT_EQ(socket.error().code(), Code::invalid_argument);
  const auto mixed = UdpSocket::open(Address::loopback_v4(0), Address::loopback_v6(1), {});
  ASSERT_FALSE(mixed);
  EXPECT_EQ(mixed.error().code(), Code::invalid_argument);
}

TEST(UdpSocket, APortInUseIsSaidWithTheAddress) {
  auto first = open_socket(Address::loopback_v4(0));
  const auto second = UdpSocket::open(first->local(), std::nullopt, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::address_in_use);
  EXPECT_EQ(second.error().evidence(), first->local().to_string());
  EXPECT_EQ(second.error().system(), EADDRINUSE);
}

TEST(UdpSocket, AConnectedSocketReportsThatNobodyListens) {
  auto gone = open_socket(Address::loopback_v4(0));
  const Address target = gone->local();
  gone.reset();
  auto client = open_socket(Address::loopback_v4(0), target);
  ReceiveBuffers buffers;
  // The second send meets the first one's ICMP answer and goes out all the same.
  EXPECT_EQ(client->send(pattern(10), 10, target, client->local()), SendStatus::sent);
  EXPECT_EQ(client->send(pattern(10), 10, target, client->local()), SendStatus::sent);
  EXPECT_EQ(client->stats().sent.datagrams, 2u);
  EXPECT_EQ(client->receive(buffers).error, ECONNREFUSED);
}

// UDP-3
TEST(UdpSocket, WhatTheFullBufferLosesIsCounted) {
  const DatagramOptions small{.socket_buffer = 4096, .gso = false, .gro = false};
  auto receiver = open_socket(Address::loopback_v4(0), std::nullopt, small);
  auto sender = open_socket(Address::loopback_v4(0), receiver->local());
  ReceiveBuffers buffers;
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(sender->send(pattern(1000), 1000, receiver->local(), sender->local()), SendStatus::sent);
  }
  while (!receiver->receive(buffers).batches.empty()) {
  }
  const std::uint64_t arrived = receiver->stats().received.datagrams;
  EXPECT_LT(arrived, 100u);
  // The counter travels with the next datagram.
  ASSERT_EQ(sender->send(pattern(1000), 1000, receiver->local(), sender->local()), SendStatus::sent);
  ASSERT_EQ(collect(*receiver, buffers, 1).size(), 1u);
  EXPECT_EQ(receiver->stats().kernel_drops, 100 - arrived);
}

TEST(UdpSocket, TheHistogramCountsEveryCallOnce) {
  UdpStats::OneWay way;
  for (std::size_t datagrams : {1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64, 65, 500}) count_call(way, datagrams, 1);
  const std::array<std::uint64_t, 8> expected{1, 1, 2, 2, 2, 2, 2, 2};
  EXPECT_EQ(way.batch_sizes, expected);
  EXPECT_EQ(std::accumulate(expected.begin(), expected.end(), std::uint64_t{0}), way.calls);
}

}  // namespace
}  // namespace riffle::net
