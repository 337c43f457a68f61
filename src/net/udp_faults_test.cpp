// UdpSocket when the kernel refuses: each fault is injected at the system call.
#include <netinet/udp.h>

#include <cerrno>
#include <deque>

#include "net/udp_socket.hpp"
#include "net/udp_test_support.hpp"

namespace riffle::net {
namespace {

using test::collect;
using test::joined;
using test::open_socket;
using test::pattern;

/// What the kernel will say: for each call its errno in turn, 0 to let the real one happen.
struct Faults {
  std::deque<int> sendmsg;
  std::deque<int> sendmmsg;
  std::deque<unsigned> sendmmsg_takes;  // so many messages at most
  std::deque<int> recvmmsg;
  int socket = 0;
  int bind = 0;
  int connect = 0;
  int refused_level = -1;
  int refused_option = -1;
  int buffer_given = -1;
  bool refuses_segments = false;  // EIO or EINVAL for every UDP_SEGMENT
  int refusal = EIO;
};
Faults faults;

int next(std::deque<int>& list) {
  if (list.empty()) return 0;
  const int value = list.front();
  list.pop_front();
  return value;
}

bool has_segment(const msghdr& message) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(const_cast<msghdr*>(&message), c)) {
    if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_SEGMENT) return true;
  }
  return false;
}

template <class R>
R failed(int error) {
  errno = error;
  return -1;
}

const SystemCalls& faulty() {
  static const SystemCalls calls = [] {
    SystemCalls table = SystemCalls::real();
    table.socket = [](int family, int type, int protocol) {
      return faults.socket ? failed<int>(faults.socket) : ::socket(family, type, protocol);
    };
    table.bind = [](int socket, const sockaddr* address, socklen_t size) {
      return faults.bind ? failed<int>(faults.bind) : ::bind(socket, address, size);
    };
    table.connect = [](int socket, const sockaddr* address, socklen_t size) {
      return faults.connect ? failed<int>(faults.connect) : ::connect(socket, address, size);
    };
    table.setsockopt = [](int socket, int level, int option, const void* value, socklen_t size) {
      const bool refused = level == faults.refused_level && option == faults.refused_option;
      return refused ? failed<int>(ENOPROTOOPT) : ::setsockopt(socket, level, option, value, size);
    };
    table.getsockopt = [](int socket, int level, int option, void* value, socklen_t* size) {
      if (faults.buffer_given < 0) return ::getsockopt(socket, level, option, value, size);
      *static_cast<int*>(value) = faults.buffer_given;
      return 0;
    };
    table.sendmsg = [](int socket, const msghdr* message, int flags) -> ssize_t {
      if (faults.refuses_segments && has_segment(*message)) return failed<ssize_t>(faults.refusal);
      const int error = next(faults.sendmsg);
      return error ? failed<ssize_t>(error) : ::sendmsg(socket, message, flags);
    };
    table.sendmmsg = [](int socket, mmsghdr* messages, unsigned count, int flags) {
      if (const int error = next(faults.sendmmsg)) return failed<int>(error);
      if (!faults.sendmmsg_takes.empty()) {
        count = std::min(count, faults.sendmmsg_takes.front());
        faults.sendmmsg_takes.pop_front();
        if (count == 0) return failed<int>(EAGAIN);
      }
      return ::sendmmsg(socket, messages, count, flags);
    };
    table.recvmmsg = [](int socket, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
      const int error = next(faults.recvmmsg);
      return error ? failed<int>(error) : ::recvmmsg(socket, messages, count, flags, timeout);
    };
    return table;
  }();
  return calls;
}

class UdpFaults : public testing::Test {
 protected:
  void SetUp() override {
    faults = {};
    receiver_ = open_socket(Address::loopback_v4(0));
    ASSERT_TRUE(receiver_);
  }
  void TearDown() override { faults = {}; }

  std::unique_ptr<UdpSocket> sender(const DatagramOptions& options = {}) {
    return open_socket(Address::loopback_v4(0), std::nullopt, options, faulty());
  }
  SendStatus send(UdpSocket& socket, const std::vector<std::byte>& batch, std::size_t segment = 1000) {
    return socket.send(batch, segment, receiver_->local(), socket.local());
  }

  std::unique_ptr<UdpSocket> receiver_;
  ReceiveBuffers buffers_;
};

// UDP-2
TEST_F(UdpFaults, AFullSocketKeepsTheBatch) {
  auto socket = sender();
  faults.sendmsg = {EAGAIN};
  const auto batch = pattern(20'000);
  EXPECT_EQ(send(*socket, batch), SendStatus::would_block);
  EXPECT_EQ(socket->stats().sent.would_block, 1u);
  EXPECT_EQ(socket->stats().sent.calls, 0u);
  EXPECT_EQ(send(*socket, batch), SendStatus::sent);
  EXPECT_EQ(joined(collect(*receiver_, buffers_, 20)), batch);
}

// UDP-2: what had left before EAGAIN does not leave again, even when the caller has moved the bytes.
TEST_F(UdpFaults, EagainInTheMiddleOfABatchGoesOnWhereItStopped) {
  auto socket = sender({.gso = false});
  faults.sendmmsg_takes = {7, 0, 5, 0};
  const auto batch = pattern(20'000);
  EXPECT_EQ(send(*socket, batch), SendStatus::would_block);
  EXPECT_EQ(socket->stats().sent.datagrams, 7u);
  EXPECT_EQ(send(*socket, batch), SendStatus::would_block);
  EXPECT_EQ(socket->stats().sent.datagrams, 12u);
  const auto moved = batch;
  EXPECT_EQ(send(*socket, moved), SendStatus::sent);
  EXPECT_EQ(socket->stats().sent.datagrams, 20u);
  EXPECT_EQ(joined(collect(*receiver_, buffers_, 20)), batch);
  // The next batch of the same shape is a new one.
  EXPECT_EQ(send(*socket, batch), SendStatus::sent);
  EXPECT_EQ(joined(collect(*receiver_, buffers_, 20)), batch);
}

TEST_F(UdpFaults, APendingBatchCanBeGivenUp) {
  auto socket = sender({.gso = false});
  faults.sendmmsg_takes = {3, 0};
  EXPECT_EQ(send(*socket, pattern(10'000, 1)), SendStatus::would_block);
  socket->drop_pending();
  const auto next_batch = pattern(10'000, 2);
  EXPECT_EQ(send(*socket, next_batch), SendStatus::sent);
  auto arrived = collect(*receiver_, buffers_, 13);
  ASSERT_EQ(arrived.size(), 13u);
  arrived.erase(arrived.begin(), arrived.begin() + 3);
  EXPECT_EQ(joined(arrived), next_batch);
}

TEST_F(UdpFaults, ABatchToAnotherPeerIsNotTakenForThePendingOne) {
  auto other = open_socket(Address::loopback_v4(0));
  auto socket = sender({.gso = false});
  faults.sendmmsg_takes = {3, 0};
  const auto batch = pattern(10'000);
  EXPECT_EQ(send(*socket, batch), SendStatus::would_block);
  EXPECT_EQ(socket->send(batch, 1000, other->local(), socket->local()), SendStatus::sent);
  EXPECT_EQ(joined(collect(*other, buffers_, 10)), batch);
}

// UDP-1: said once, and for good.
TEST_F(UdpFaults, EioOnGsoSwitchesToSendmmsg) {
  auto socket = sender();
  faults.refuses_segments = true;
  const auto batch = pattern(20'500);
  EXPECT_EQ(send(*socket, batch), SendStatus::sent);
  EXPECT_EQ(joined(collect(*receiver_, buffers_, 21)), batch);
  EXPECT_FALSE(socket->uses_gso());
  EXPECT_NE(socket->take_warning().find("UDP_SEGMENT"), std::string::npos);
  faults.refuses_segments = false;
  faults.sendmsg = {EIO};  // would be met by another GSO send
  EXPECT_EQ(send(*socket, batch), SendStatus::sent);
  EXPECT_EQ(faults.sendmsg.size(), 1u);
  EXPECT_EQ(socket->take_warning(), "");
}

TEST_F(UdpFaults, EinvalAndEmsgsizeOnGsoSwitchWhenPlainDatagramsGo) {
  for (const int refusal : {EINVAL, EMSGSIZE}) {
    auto socket = sender();
    faults.refuses_segments = true;
    faults.refusal = refusal;
    const auto batch = pattern(20'000);
    EXPECT_EQ(send(*socket, batch), SendStatus::sent);
    EXPECT_EQ(joined(collect(*receiver_, buffers_, 20)), batch);
    EXPECT_FALSE(socket->uses_gso());
    EXPECT_NE(socket->take_warning(), "");
  }
}

// A path that became narrower is no reason to lose GSO: plain datagrams of that size do not go either.
TEST_F(UdpFaults, SegmentsAboveTheMtuAreTooLongAndGsoStays) {
  auto socket = sender();
  faults.refuses_segments = true;
  faults.refusal = EINVAL;
  faults.sendmmsg = {EMSGSIZE};
  EXPECT_EQ(send(*socket, pattern(20'000)), SendStatus::too_long);
  EXPECT_TRUE(socket->uses_gso());
  EXPECT_EQ(socket->stats().send_failures, 20u);
  EXPECT_EQ(socket->take_warning(), "");
}

// ENOBUFS leaves the socket writable: waiting would spin, so it is a loss.
TEST_F(UdpFaults, EnobufsIsADropThatIsCounted) {
  auto socket = sender();
  faults.sendmsg = {ENOBUFS};
  EXPECT_EQ(send(*socket, pattern(9'500)), SendStatus::failed);
  EXPECT_EQ(socket->stats().send_failures, 10u);
  EXPECT_EQ(socket->stats().sent.would_block, 0u);
  const auto batch = pattern(3'000, 5);
  EXPECT_EQ(send(*socket, batch), SendStatus::sent);
  EXPECT_EQ(joined(collect(*receiver_, buffers_, 3)), batch);
}

TEST_F(UdpFaults, AFailureInTheMiddleCountsOnlyWhatWasLeft) {
  auto socket = sender({.gso = false});
  faults.sendmmsg_takes = {4};
  faults.sendmmsg = {0, ENOBUFS};
  EXPECT_EQ(send(*socket, pattern(10'000)), SendStatus::failed);
  EXPECT_EQ(socket->stats().sent.datagrams, 4u);
  EXPECT_EQ(socket->stats().send_failures, 6u);
}

TEST_F(UdpFaults, AnInterruptedCallIsRepeated) {
  auto socket = sender();
  faults.sendmsg = {EINTR, EINTR};
  EXPECT_EQ(send(*socket, pattern(2'000)), SendStatus::sent);
  auto hearing = open_socket(Address::loopback_v4(0), std::nullopt, {}, faulty());
  faults.recvmmsg = {EINTR};
  EXPECT_EQ(socket->send(pattern(2'000), 1000, hearing->local(), socket->local()), SendStatus::sent);
  EXPECT_EQ(collect(*hearing, buffers_, 2).size(), 2u);
}

TEST_F(UdpFaults, AnIcmpReportDoesNotCostTheBatchThatMeetsIt) {
  auto socket = open_socket(Address::loopback_v4(0), receiver_->local(), {}, faulty());
  faults.sendmsg = {ECONNREFUSED};
  const auto batch = pattern(5'000);
  EXPECT_EQ(send(*socket, batch), SendStatus::sent);
  EXPECT_EQ(joined(collect(*receiver_, buffers_, 5)), batch);
  const ReceiveOutcome outcome = socket->receive(buffers_);
  EXPECT_EQ(outcome.error, ECONNREFUSED);
  EXPECT_FALSE(socket->receive(buffers_).error.has_value());
}

TEST_F(UdpFaults, ReceiveErrorsAreToldAndFragmentationReportsAreNot) {
  auto socket = open_socket(Address::loopback_v4(0), receiver_->local(), {}, faulty());
  faults.recvmmsg = {EBADF};
  EXPECT_EQ(socket->receive(buffers_).error, EBADF);
  faults.recvmmsg = {EMSGSIZE};
  EXPECT_FALSE(socket->receive(buffers_).error.has_value());
}

TEST_F(UdpFaults, OpeningSaysWhatTheSystemRefused) {
  const auto code = [](int Faults::* where, int error) {
    faults = {};
    faults.*where = error;
    const auto socket = UdpSocket::open(Address::loopback_v4(443), Address::loopback_v4(9), {}, faulty());
    EXPECT_FALSE(socket);
    EXPECT_EQ(socket.error().system(), error);
    EXPECT_NE(socket.error().evidence().find("127.0.0.1"), std::string::npos) << socket.error().evidence();
    return socket.error().code();
  };
  EXPECT_EQ(code(&Faults::socket, EMFILE), Code::descriptors_exhausted);
  EXPECT_EQ(code(&Faults::socket, ENFILE), Code::descriptors_exhausted);
  EXPECT_EQ(code(&Faults::socket, EAFNOSUPPORT), Code::unsupported);
  EXPECT_EQ(code(&Faults::bind, EADDRINUSE), Code::address_in_use);
  EXPECT_EQ(code(&Faults::bind, EACCES), Code::permission_denied);
  EXPECT_EQ(code(&Faults::bind, EADDRNOTAVAIL), Code::system_error);
}

TEST_F(UdpFaults, AnUnreachablePeerIsSaidAtOpen) {
  faults.connect = ENETUNREACH;
  const auto socket = UdpSocket::open(Address::loopback_v4(0), Address::loopback_v4(9), {}, faulty());
  ASSERT_FALSE(socket);
  EXPECT_EQ(socket.error().code(), Code::unreachable);
}

// UDP-4: one warning, with the setting and the value.
TEST_F(UdpFaults, ASmallerBufferIsSaidOnceWithTheSetting) {
  faults.buffer_given = 425984;  // the kernel's doubled 212,992
  auto socket = sender();
  const std::string warning = socket->take_warning();
  EXPECT_NE(warning.find("212992 of 4194304"), std::string::npos) << warning;
  EXPECT_NE(warning.find("sysctl -w net.core.rmem_max=4194304"), std::string::npos) << warning;
  EXPECT_NE(warning.find("sysctl -w net.core.wmem_max=4194304"), std::string::npos) << warning;
  EXPECT_EQ(socket->take_warning(), "");
}

TEST_F(UdpFaults, AKernelWithoutGroIsUsedWithoutIt) {
  faults.refused_level = SOL_UDP;
  faults.refused_option = UDP_GRO;
  auto socket = sender();
  EXPECT_FALSE(socket->uses_gro());
  EXPECT_NE(socket->take_warning().find("UDP_GRO"), std::string::npos);
}

TEST_F(UdpFaults, ARefusedDontFragmentIsSaid) {
  faults.refused_level = IPPROTO_IP;
  faults.refused_option = IP_MTU_DISCOVER;
  EXPECT_NE(sender()->take_warning().find("don't-fragment"), std::string::npos);
}

}  // namespace
}  // namespace riffle::net
