// Why a connection does not come to be, told apart (CON-1, COR-3, SRV-2).
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>
#include <string>
#include <vector>

#include "api/loopback_test.hpp"

namespace riffle::test {
namespace {

/// A UDP socket that takes everything and says nothing.
class SilentSocket {
 public:
  SilentSocket() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    socklen_t size = sizeof address;
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~SilentSocket() { close_now(); }
  SilentSocket(const SilentSocket&) = delete;
  SilentSocket& operator=(const SilentSocket&) = delete;
  void close_now() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// Answers one Initial with a version that nobody speaks (RFC 9000 section 17.2.1).
  void negotiate_version() const {
    std::array<std::uint8_t, 2048> initial{};
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    const auto got = ::recvfrom(fd_, initial.data(), initial.size(), 0, reinterpret_cast<sockaddr*>(&peer), &size);
    ASSERT_GE(got, 1200);
    std::vector<std::uint8_t> answer{0x80, 0, 0, 0, 0};
    // The ids change places: 5 bytes of type and version, then each id behind its length.
    const std::size_t destination = 5;
    const std::size_t source = destination + 1 + initial[destination];
    for (const std::size_t at : {source, destination}) {
      for (std::size_t i = 0; i <= initial[at]; ++i) answer.push_back(initial[at + i]);
    }
    answer.insert(answer.end(), {0x5a, 0x6a, 0x7a, 0x8a});
    EXPECT_EQ(::sendto(fd_, answer.data(), answer.size(), 0, reinterpret_cast<const sockaddr*>(&peer), size),
              static_cast<ssize_t>(answer.size()));
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  int fd_;
  std::uint16_t port_ = 0;
};

quic::Client options_for(std::string address) {
  return {.address = std::move(address), .trust = pinned(pin_of(identity()).value()), .alpn = {"test"}};
}

TEST_F(Loopback, ANameThatDoesNotExistIsToldAsSuch) {
  // RFC 6761 section 6.4: names below "invalid" never resolve.
  const Error error = connect_error(options_for("no-such-host.invalid:443"));
  EXPECT_EQ(error.code(), Code::name_not_found) << error.message();
  EXPECT_NE(error.evidence().find("no-such-host.invalid"), std::string::npos);
}

TEST_F(Loopback, APortWhereNobodyListensIsUnreachableLongBeforeTheHandshakeTimeout) {
  SilentSocket gone;
  gone.close_now();
  quic::Client options = options_for(gone.address());
  options.transport.handshake_timeout = std::chrono::hours(1);
  const Error error = connect_error(options);
  EXPECT_EQ(error.code(), Code::unreachable) << error.message();
  EXPECT_NE(error.evidence().find(gone.address()), std::string::npos) << error.message();
}

TEST_F(Loopback, ASilentPeerIsAHandshakeTimeout) {
  const SilentSocket silent;
  quic::Client options = options_for(silent.address());
  options.transport.handshake_timeout = 100ms;
  const Error error = connect_error(options);
  EXPECT_EQ(error.code(), Code::handshake_timeout) << error.message();
}

TEST_F(Loopback, TheCallersDeadlineIsNoEndOfTheSession) {
  // COR-3: each caller has its own deadline.
  const SilentSocket silent;
  const Session session = client.connect(options_for(silent.address()));
  EXPECT_EQ(session.wait_connected(10ms).error().code(), Code::timed_out);
  EXPECT_NE(session.state(), SessionState::closed);
}

TEST_F(Loopback, ACertificateOfAnUnknownIssuerIsRejected) {
  const Listener listener = listen(server_options());
  quic::Client options = client_options(listener);
  options.trust = ca_pem(make_self_signed({"127.0.0.1"})->chain_pem);
  const Error error = connect_error(options);
  EXPECT_EQ(error.code(), Code::certificate_rejected) << error.message();
  EXPECT_FALSE(error.evidence().empty());
}

TEST_F(Loopback, VerificationIsOnByDefault) {
  const Listener listener = listen(server_options());
  quic::Client options{.address = client_options(listener).address, .alpn = {"test"}};
  EXPECT_EQ(connect_error(options).code(), Code::certificate_rejected);
}

TEST_F(Loopback, ACertificateForAnotherNameIsRejected) {
  const Listener listener = listen(server_options());
  quic::Client options = client_options(listener);
  options.trust = ca_pem(identity().chain_pem);
  options.server_name = "other.test";
  const Error error = connect_error(options);
  EXPECT_EQ(error.code(), Code::certificate_rejected) << error.message();
  options.server_name = "riffle.test";
  EXPECT_TRUE(client.connect(options).wait_connected(patience));
}

TEST_F(Loopback, AnotherKeyThanThePinnedIsAPinMismatch) {
  const Listener listener = listen(server_options());
  quic::Client options = client_options(listener);
  options.trust = pinned(std::string(64, 'a'));
  const Error error = connect_error(options);
  EXPECT_EQ(error.code(), Code::pin_mismatch) << error.message();
}

TEST_F(Loopback, ProtocolsThatDoNotMeetAreRefusedAndNamed) {
  // CON-1; RFC 9001 section 8.1: no_application_protocol is 0x178.
  const Listener listener = listen(server_options());
  quic::Client options = client_options(listener);
  options.alpn = std::vector<std::string>{"chess", "go"};
  const Error error = connect_error(options);
  EXPECT_EQ(error.code(), Code::alpn_refused) << error.message();
  EXPECT_EQ(error.wire(), 0x178u);
  EXPECT_NE(error.evidence().find("chess"), std::string::npos) << error.message();
  EXPECT_NE(error.evidence().find("go"), std::string::npos) << error.message();
}

TEST_F(Loopback, AReservedVersionProvokesNegotiationAndThenConnects) {
  // CFG-1, SRV-3; RFC 9000 section 6.2: the client "selects a mutually supported version", here 1.
  const Listener listener = listen(echo_options());
  quic::Client options = client_options(listener);
  options.transport.version = 0x1a2a3a4a;
  EXPECT_EQ(echo(connect(options), "hello"), "hello");
}

TEST_F(Loopback, APeerThatSpeaksNoneOfOurVersionsIsToldAsSuch) {
  const SilentSocket other;
  quic::Client options = options_for(other.address());
  options.transport.handshake_timeout = std::chrono::hours(1);
  const Session session = client.connect(options);
  other.negotiate_version();
  const auto connected = session.wait_connected(patience);
  ASSERT_FALSE(connected);
  EXPECT_EQ(connected.error().code(), Code::version_unsupported) << connected.error().message();
}

TEST_F(Loopback, AFactoryThatReturnsNothingRefuses) {
  // SRV-2, SRV-5
  quic::Server refusing = server_options();
  refusing.handler = [](const Peer&) { return nullptr; };
  const Listener listener = listen(refusing);
  quic::Client options = client_options(listener);
  options.transport.handshake_timeout = std::chrono::hours(1);
  const Error error = connect_error(options);
  EXPECT_EQ(error.code(), Code::refused) << error.message();
  EXPECT_EQ(error.wire(), 2u) << "CONNECTION_REFUSED, RFC 9000 section 20.1";
}

TEST_F(Loopback, AFactoryThatThrowsRefusesAndTheListenerGoesOn) {
  // ENG-7
  quic::Server options = echo_options();
  options.handler = [count = 0](const Peer& peer) mutable -> std::shared_ptr<Handler> {
    EXPECT_EQ(peer.address.family, Address::Family::ipv4);
    EXPECT_NE(peer.address.port, 0);
    if (count++ == 0) throw std::runtime_error("the factory failed");
    return std::make_shared<Echo>();
  };
  const Listener listener = listen(options);
  EXPECT_EQ(connect_error(client_options(listener)).code(), Code::refused);
  EXPECT_EQ(echo(connect(client_options(listener)), "still there"), "still there");
}

TEST_F(Loopback, AClientWithoutACertificateIsTurnedAwayWhereOneIsAskedFor) {
  // CFG-3 (mTLS). TLS 1.3 tells the client after its own side of the handshake: by `wait_closed` at the latest.
  quic::Server options = server_options();
  options.client_trust = ca_pem(identity().chain_pem);
  const Listener listener = listen(options);
  const Session session = client.connect(client_options(listener));
  const auto reason = session.wait_closed(patience);
  ASSERT_TRUE(reason) << reason.error().message();
  EXPECT_EQ(reason->error.code(), Code::certificate_refused) << reason->error.message();
}

TEST_F(Loopback, AHandlerHearsOfAConnectThatCouldNotEvenBegin) {
  // HND-1: `closed` exactly once and last, on every way out.
  quic::Client options = options_for("127.0.0.1:1");
  const auto script = std::make_shared<Script>();
  std::string why;
  script->closed = [&](Context&, const CloseReason& reason) { why = reason.error.evidence(); };
  options.handler = script;
  options.alpn = std::vector<std::string>{};
  const Session session = client.connect(options);
  EXPECT_EQ(session.state(), SessionState::closed);
  EXPECT_EQ(session.close_reason()->error.code(), Code::invalid_argument);
  ASSERT_TRUE(script->notes.wait_for("closed"));
  client.stop(0s);
  client.join();
  EXPECT_EQ(script->notes.all(), (std::vector<std::string>{"draining", "closed"}));
  EXPECT_NE(why.find("alpn"), std::string::npos) << why;
}

TEST_F(Loopback, AnEngineThatWasStoppedSaysSo) {
  const SilentSocket silent;
  client.stop(0s);
  client.join();
  EXPECT_EQ(connect_error(options_for(silent.address())).code(), Code::closed);
  EXPECT_EQ(client.listen(server_options()).error().code(), Code::closed);
}

TEST_F(Loopback, LocalhostConnectsAtOnceThoughOnlyOneOfItsAddressesListens) {
  // CON-1; RFC 8305: a refused first address costs no timeout.
  const Listener listener = listen(echo_options("127.0.0.1:0"));
  quic::Client options = options_for("localhost:" + std::to_string(listener.address().port));
  options.transport.handshake_timeout = std::chrono::hours(1);
  const Session session = connect(options);
  EXPECT_EQ(echo(session, "hello"), "hello");
  EXPECT_EQ(session.info(patience)->peer, listener.address());
}

}  // namespace
}  // namespace riffle::test
