// TcpSocket and TcpListener on loopback, and with injected faults.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include "net/socket_address.hpp"
#include "net/tcp_listener.hpp"
#include "net/tcp_socket.hpp"

namespace riffle::net {
namespace {

using Status = TcpMoved::Status;

constexpr int patience_ms = 10'000;  // a bound for a broken build; nothing waits for it to pass

bool wait_for(int handle, short events) {
  pollfd entry{.fd = handle, .events = events, .revents = 0};
  return ::poll(&entry, 1, patience_ms) == 1;
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

struct Connection {
  TcpListener listener;
  TcpSocket client;
  TcpSocket server;
};

TcpListener listen_on(const Address& local, const SystemCalls& calls = SystemCalls::real()) {
  auto listener = TcpListener::open(local, {}, calls);
  if (!listener) throw std::runtime_error(listener.error().message());
  return std::move(*listener);
}

TcpSocket next_connection(TcpListener& listener) {
  EXPECT_TRUE(wait_for(listener.handle(), POLLIN));
  auto accepted = listener.accept();
  if (!accepted || !*accepted) throw std::runtime_error("nothing to accept");
  return std::move(**accepted);
}

TcpSocket connected_to(const Address& peer, const SystemCalls& calls = SystemCalls::real()) {
  auto socket = TcpSocket::connect(peer, calls);
  if (!socket) throw std::runtime_error(socket.error().message());
  EXPECT_TRUE(wait_for(socket->handle(), POLLOUT));
  const auto result = socket->connect_result();
  EXPECT_TRUE(result && *result);
  return std::move(*socket);
}

Connection connection(const SystemCalls& client_calls = SystemCalls::real()) {
  TcpListener listener = listen_on(Address::loopback_v4(0));
  TcpSocket client = connected_to(listener.local(), client_calls);
  TcpSocket server = next_connection(listener);
  return {std::move(listener), std::move(client), std::move(server)};
}

std::string read_once(const TcpSocket& socket) {
  EXPECT_TRUE(wait_for(socket.handle(), POLLIN));
  std::string text(1000, '\0');
  const auto got = socket.read(std::as_writable_bytes(std::span(text)));
  EXPECT_TRUE(got);
  text.resize(got ? got->bytes : 0);
  return text;
}

TEST(Tcp, BytesGoBothWaysAndTheAddressesAgree) {
  Connection pair = connection();
  EXPECT_EQ(pair.client.peer(), pair.listener.local());
  EXPECT_EQ(pair.server.peer(), pair.client.local());
  EXPECT_EQ(pair.client.write(bytes_of("question"))->bytes, 8u);
  EXPECT_EQ(read_once(pair.server), "question");
  const std::vector<std::span<const std::byte>> parts{bytes_of("an"), bytes_of(""), bytes_of("swer")};
  EXPECT_EQ(pair.server.write_parts(parts)->bytes, 6u);
  EXPECT_EQ(read_once(pair.client), "answer");
}

TEST(Tcp, DescriptorsDoNotBlockAreClosedOnExecAndSendAtOnce) {
  Connection pair = connection();
  for (const int handle : {pair.listener.handle(), pair.client.handle(), pair.server.handle()}) {
    EXPECT_TRUE(::fcntl(handle, F_GETFL) & O_NONBLOCK);
    EXPECT_TRUE(::fcntl(handle, F_GETFD) & FD_CLOEXEC);
  }
  for (const int handle : {pair.client.handle(), pair.server.handle()}) {
    int value = 0;
    socklen_t size = sizeof value;
    ASSERT_EQ(::getsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    EXPECT_NE(value, 0);
  }
}

TEST(Tcp, NothingToReadAndNothingToAcceptAreValues) {
  Connection pair = connection();
  std::byte byte;
  EXPECT_EQ(pair.client.read({&byte, 1})->status, Status::would_block);
  EXPECT_FALSE(pair.listener.accept()->has_value());
}

TEST(Tcp, HalfCloseEndsOneDirectionOnly) {
  Connection pair = connection();
  ASSERT_TRUE(pair.client.shutdown_write());
  ASSERT_TRUE(wait_for(pair.server.handle(), POLLIN));
  std::byte byte;
  EXPECT_EQ(pair.server.read({&byte, 1})->status, Status::end_of_stream);
  EXPECT_EQ(pair.server.write(bytes_of("still here"))->bytes, 10u);
  EXPECT_EQ(read_once(pair.client), "still here");
}

TEST(Tcp, AFullSocketTakesAPartAndThenNothing) {
  Connection pair = connection();
  const std::vector<std::byte> block(1 << 20);
  std::size_t written = 0;
  for (int round = 0; round < 1000; ++round) {
    const auto moved = pair.client.write(block);
    ASSERT_TRUE(moved);
    if (moved->status == Status::would_block) break;
    written += moved->bytes;
  }
  EXPECT_EQ(pair.client.write(block)->status, Status::would_block);
  std::vector<std::byte> sink(1 << 20);
  for (std::size_t read = 0; read < written;) {
    ASSERT_TRUE(wait_for(pair.server.handle(), POLLIN));
    read += pair.server.read(sink)->bytes;
  }
  EXPECT_TRUE(wait_for(pair.client.handle(), POLLOUT));
}

TEST(Tcp, AResetIsSeenAsThePeersClose) {
  Connection pair = connection();
  pair.client.reset();
  EXPECT_FALSE(pair.client.is_open());
  ASSERT_TRUE(wait_for(pair.server.handle(), POLLIN));
  std::byte byte;
  const auto read = pair.server.read({&byte, 1});
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Code::peer_closed);
  EXPECT_EQ(read.error().system(), ECONNRESET);
  const auto written = pair.server.write(bytes_of("x"));  // no SIGPIPE
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code(), Code::peer_closed);
  EXPECT_FALSE(pair.server.shutdown_write());
}

TEST(Tcp, APortWithoutAListenerRefuses) {
  // Bound and not listening: the port is nobody else's while the test runs.
  const FileDescriptor silent(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  SocketAddress name = to_socket_address(Address::loopback_v4(0), AF_INET);
  ASSERT_EQ(::bind(silent.get(), &name.any, name.size), 0);
  ASSERT_EQ(::getsockname(silent.get(), &name.any, &name.size), 0);
  auto socket = TcpSocket::connect(from_socket_address(name));
  if (socket) {
    ASSERT_TRUE(wait_for(socket->handle(), POLLOUT));
    const auto result = socket->connect_result();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), Code::refused);
  } else {
    EXPECT_EQ(socket.error().code(), Code::refused);
  }
}

TEST(Tcp, ADualStackListenerShowsIpv4PeersAsIpv4) {
  auto opened = TcpListener::open(Address::any_v6(0));
  if (!opened) GTEST_SKIP() << "NOT TESTED: this machine has no IPv6";
  TcpSocket v4 = connected_to(Address::loopback_v4(opened->local().port));
  EXPECT_EQ(next_connection(*opened).peer(), v4.local());
  TcpSocket v6 = connected_to(Address::loopback_v6(opened->local().port));
  EXPECT_EQ(next_connection(*opened).peer(), v6.local());
}

TEST(Tcp, ListeningTwiceSaysTheAddress) {
  TcpListener first = listen_on(Address::loopback_v4(0));
  const auto second = TcpListener::open(first.local());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::address_in_use);
  EXPECT_EQ(second.error().evidence(), first.local().to_string());
}

TEST(Tcp, AnAddressIsNeeded) {
  EXPECT_EQ(TcpSocket::connect({}).error().code(), Code::invalid_argument);
  EXPECT_EQ(TcpListener::open({}).error().code(), Code::invalid_argument);
}

// With the real limit of the process: the waiting connection is turned away, the reserve is held again, and the
// listener goes on as soon as there are descriptors.
TEST(Tcp, WithoutDescriptorsAConnectionIsTurnedAwayAndSaidSo) {
  TcpListener listener = listen_on(Address::loopback_v4(0));
  TcpSocket clients[] = {connected_to(listener.local()), connected_to(listener.local())};
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int free = ::dup(0);
  ASSERT_GE(free, 0);
  ::close(free);
  const rlimit tight{.rlim_cur = static_cast<rlim_t>(free), .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  for (TcpSocket& client : clients) {
    const auto accepted = listener.accept();
    EXPECT_EQ(accepted ? Code::internal : accepted.error().code(), Code::descriptors_exhausted);
    EXPECT_TRUE(wait_for(client.handle(), POLLIN));
    std::byte byte;
    const auto read = client.read({&byte, 1});
    EXPECT_EQ(read ? Code::internal : read.error().code(), Code::peer_closed);
  }
  EXPECT_EQ(listener.turned_away(), 2u);
  const auto idle = listener.accept();
  EXPECT_TRUE(idle.has_value()) << idle.error().message();  // nothing waits any more: the loop may sleep
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  TcpSocket later = connected_to(listener.local());
  EXPECT_EQ(next_connection(listener).peer(), later.local());
}

int injected = 0;

SystemCalls failing() {
  SystemCalls calls = SystemCalls::real();
  calls.socket = [](int, int, int) {
    errno = injected;
    return -1;
  };
  return calls;
}

TEST(TcpFaults, DescriptorsThatHaveRunOutAreSaidAtOpen) {
  static const SystemCalls calls = failing();
  injected = EMFILE;
  EXPECT_EQ(TcpSocket::connect(Address::loopback_v4(1), calls).error().code(), Code::descriptors_exhausted);
  EXPECT_EQ(TcpListener::open(Address::loopback_v4(0), {}, calls).error().code(), Code::descriptors_exhausted);
}

TEST(TcpFaults, ConnectErrorsAreSaidAtOnceOrInTheResult) {
  static SystemCalls calls;
  calls = SystemCalls::real();
  calls.connect = [](int, const sockaddr*, socklen_t) {
    errno = injected;
    return -1;
  };
  injected = ENETUNREACH;
  EXPECT_EQ(TcpSocket::connect(Address::loopback_v4(1), calls).error().code(), Code::unreachable);
  injected = EINPROGRESS;
  const auto begun = TcpSocket::connect(Address::loopback_v4(1), calls);
  ASSERT_TRUE(begun);
  EXPECT_FALSE(*begun->connect_result());  // not yet
  calls.getsockopt = [](int, int, int, void* value, socklen_t*) {
    *static_cast<int*>(value) = ETIMEDOUT;
    return 0;
  };
  EXPECT_EQ(begun->connect_result().error().code(), Code::unreachable);
}

TEST(TcpFaults, InterruptedCallsAreRepeatedAndShortWritesAreReported) {
  static SystemCalls calls;
  calls = SystemCalls::real();
  static int interruptions = 0;
  calls.recv = [](int socket, void* buffer, std::size_t size, int flags) {
    if (interruptions-- > 0) return errno = EINTR, ssize_t{-1};
    return ::recv(socket, buffer, size, flags);
  };
  calls.sendmsg = [](int socket, const msghdr* message, int flags) {
    if (interruptions-- > 0) return errno = EINTR, ssize_t{-1};
    msghdr part = *message;
    iovec first{.iov_base = part.msg_iov[0].iov_base, .iov_len = 3};
    part.msg_iov = &first;
    part.msg_iovlen = 1;
    return ::sendmsg(socket, &part, flags);
  };
  Connection pair = connection(calls);
  interruptions = 2;
  EXPECT_EQ(pair.client.write(bytes_of("question"))->bytes, 3u);
  ASSERT_TRUE(pair.server.write(bytes_of("answer")));
  ASSERT_TRUE(wait_for(pair.client.handle(), POLLIN));
  interruptions = 2;
  EXPECT_EQ(read_once(pair.client), "answer");
}

TEST(TcpFaults, ConnectionsThatHaveGoneBeforeAcceptAreSkipped) {
  static SystemCalls calls;
  calls = SystemCalls::real();
  static std::vector<int> errors;
  calls.accept4 = [](int socket, sockaddr* address, socklen_t* size, int flags) {
    if (errors.empty()) return ::accept4(socket, address, size, flags);
    errno = errors.back();
    errors.pop_back();
    return -1;
  };
  TcpListener listener = listen_on(Address::loopback_v4(0), calls);
  TcpSocket client = connected_to(listener.local());
  errors = {ECONNABORTED, EINTR, EPROTO};
  EXPECT_EQ(next_connection(listener).peer(), client.local());
  errors = {EBADF};
  EXPECT_EQ(listener.accept().error().code(), Code::system_error);
}

TEST(TcpFaults, ListeningErrorsAreSaid) {
  static SystemCalls calls;
  calls = SystemCalls::real();
  calls.listen = [](int, int) {
    errno = EADDRINUSE;
    return -1;
  };
  EXPECT_EQ(TcpListener::open(Address::loopback_v4(0), {}, calls).error().code(), Code::address_in_use);
  calls.bind = [](int, const sockaddr*, socklen_t) {
    errno = EACCES;
    return -1;
  };
  EXPECT_EQ(TcpListener::open(Address::loopback_v4(80), {}, calls).error().code(), Code::permission_denied);
}

}  // namespace
}  // namespace riffle::net
