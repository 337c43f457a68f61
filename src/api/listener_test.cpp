// Listeners: ports, families, limits, accepting, closing (SRV-1, SRV-2, SRV-5, ENG-10).
#include <atomic>
#include <cstdio>
#include <thread>

#include "api/loopback_test.hpp"

namespace riffle::test {
namespace {

std::string port_of(const Listener& listener) { return std::to_string(listener.address().port); }

bool has_ipv6() {
  const auto engine = Engine::start();
  return engine && engine->listen(server_options("[::1]:0")).has_value();
}

TEST_F(Loopback, PortZeroTakesAFreePortAndNamesIt) {
  const Listener first = listen(server_options());
  const Listener second = listen(server_options());
  EXPECT_NE(first.address().port, 0);
  EXPECT_NE(first.address().port, second.address().port);
  EXPECT_EQ(first.address(), Address::loopback_v4(first.address().port));
}

TEST_F(Loopback, AnAddressInUseIsNamed) {
  const Listener listener = listen(server_options());
  const auto second = server.listen(server_options("127.0.0.1:" + port_of(listener)));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::address_in_use);
  EXPECT_NE(second.error().evidence().find(port_of(listener)), std::string::npos);
}

TEST_F(Loopback, TwoListenersOnOneEngineServeSideBySide) {
  const Listener first = listen(echo_options());
  const Listener second = listen(echo_options());
  const Session to_first = connect(client_options(first));
  const Session to_second = connect(client_options(second));
  EXPECT_EQ(echo(to_first, "one"), "one");
  EXPECT_EQ(echo(to_second, "two"), "two");
  EXPECT_EQ(first.active_sessions(), 1u);
  EXPECT_EQ(second.active_sessions(), 1u);
  EXPECT_EQ(server.active_sessions(), 2u);
}

TEST_F(Loopback, AServerWithoutAHandlerAccepts) {
  const Listener listener = listen(server_options());
  const Session near = connect(client_options(listener));
  const Session far = listener.accept(patience).value();
  EXPECT_EQ(far.info(patience)->peer, near.info(patience)->local);
  EXPECT_EQ(listener.accept(0s).error().code(), Code::timed_out);
}

TEST_F(Loopback, AcceptWaitsItsTimeAndNoLonger) {
  const Listener listener = listen(server_options());
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(listener.accept(20ms).error().code(), Code::timed_out);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 20ms);
  // A caller that gave up takes no session away from the next one.
  const Session near = connect(client_options(listener));
  EXPECT_TRUE(listener.accept(patience));
}

TEST_F(Loopback, AskingAgainAndAgainNeverFillsTheListOfCallers) {
  // More often than callers may wait at once (ENG-10).
  const Listener listener = listen(server_options());
  for (int i = 0; i < 70'000; ++i) {
    const auto accepted = listener.accept(0s);
    // The loop may be behind for a moment; it catches up.
    ASSERT_TRUE(!accepted && (accepted.error() == Code::timed_out || accepted.error() == Code::busy));
  }
  const Session session = connect(client_options(listener));
  EXPECT_TRUE(listener.accept(patience));
}

TEST_F(Loopback, ManyAcceptorsGetOneSessionEach) {
  const Listener listener = listen(server_options());
  std::atomic<int> accepted{0};
  std::vector<std::thread> acceptors;
  for (int i = 0; i < 4; ++i) {
    acceptors.emplace_back([&] {
      if (listener.accept(patience)) ++accepted;
    });
  }
  std::vector<Session> sessions;
  for (int i = 0; i < 4; ++i) sessions.push_back(connect(client_options(listener)));
  for (std::thread& acceptor : acceptors) acceptor.join();
  EXPECT_EQ(accepted.load(), 4);
  EXPECT_EQ(listener.accept(0s).error().code(), Code::timed_out);
}

TEST_F(Loopback, ClosingAListenerAnswersWhoWaitsAndLeavesSessionsAlone) {
  const Listener listener = listen(server_options());
  const Session near = connect(client_options(listener));
  const Session far = listener.accept(patience).value();
  std::thread acceptor([&] { EXPECT_EQ(listener.accept(forever).error().code(), Code::closed); });
  ASSERT_TRUE(listener.close());
  acceptor.join();
  ASSERT_TRUE(listener.close());
  EXPECT_EQ(listener.accept(patience).error().code(), Code::closed);

  const Stream out = near.open().value();
  ASSERT_TRUE(out.write("still here", fin, patience));
  EXPECT_EQ(far.accept_stream(patience)->read_to_end(100, patience)->view(), "still here");
  quic::Client late = client_options(listener);
  late.transport.handshake_timeout = 200ms;
  EXPECT_EQ(connect_error(late).code(), Code::handshake_timeout) << "a listener that was closed answers nobody new";
}

TEST_F(Loopback, AClosedListenerGivesItsPortBackWithItsLastSession) {
  const Listener listener = listen(echo_options());
  const Session session = connect(client_options(listener));
  ASSERT_TRUE(listener.close());
  ASSERT_TRUE(session.close());
  // The socket lives as long as the connection's draining period: a few round trips.
  const auto give_up = std::chrono::steady_clock::now() + patience;
  Result<Listener> again = fail(Code::busy);
  while (!again && std::chrono::steady_clock::now() < give_up)
    again = server.listen(echo_options("127.0.0.1:" + port_of(listener)));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(echo(connect(client_options(*again)), "again"), "again");
}

TEST_F(Loopback, AServerThatIsFullRefusesTheNextAndHasRoomLater) {
  // SRV-2, ENG-10: max_sessions.
  quic::Server options = echo_options();
  options.max_sessions = 2;
  const Listener listener = listen(options);
  Session first = connect(client_options(listener));
  const Session second = connect(client_options(listener));
  const Error error = connect_error(client_options(listener));
  EXPECT_EQ(error.code(), Code::refused) << error.message();
  EXPECT_EQ(error.wire(), 2u);
  EXPECT_EQ(echo(second, "unhurt"), "unhurt");
  ASSERT_TRUE(first.close());
  const auto give_up = std::chrono::steady_clock::now() + patience;
  bool has_room = false;
  while (!has_room && std::chrono::steady_clock::now() < give_up) {
    has_room = client.connect(client_options(listener)).wait_connected(patience).has_value();
  }
  EXPECT_TRUE(has_room);
}

TEST_F(Loopback, BeyondTheHandshakesInProgressNewOnesAreIgnored) {
  // SRV-2, ENG-10: max_handshakes.
  quic::Server options = echo_options();
  options.max_handshakes = 1;
  const Listener listener = listen(options);
  // An engine that its caller has stopped driving: its handshake stays half done.
  const Engine sleepy = Engine::embedded().value();
  const Session half = sleepy.connect(client_options(listener));
  while (listener.active_sessions() == 0) sleepy.run_one(std::chrono::steady_clock::now() + 1ms);
  if (half.state() == SessionState::handshaking) {
    quic::Client late = client_options(listener);
    late.transport.handshake_timeout = 200ms;
    EXPECT_EQ(connect_error(late).code(), Code::handshake_timeout);
  }
  const auto give_up = std::chrono::steady_clock::now() + patience;
  while (!half.is_connected() && std::chrono::steady_clock::now() < give_up)
    sleepy.run_one(std::chrono::steady_clock::now() + 1ms);
  ASSERT_TRUE(half.is_connected());
  EXPECT_EQ(echo(connect(client_options(listener)), "now there is room"), "now there is room");
}

TEST_F(Loopback, BeyondTheAcceptBacklogASessionIsRefused) {
  // ENG-10: accept_backlog.
  quic::Server options = server_options();
  options.accept_backlog = 2;
  const Listener listener = listen(options);
  const Session first = connect(client_options(listener));
  const Session second = connect(client_options(listener));
  // It may see itself connected for a moment: the server's handshake ends after the client's.
  const Session third = client.connect(client_options(listener));
  const auto reason = third.wait_closed(patience);
  ASSERT_TRUE(reason);
  EXPECT_EQ(reason->error.wire(), 2u) << reason->error.message();
  EXPECT_FALSE(reason->is_application);
  const auto one = listener.accept(patience);
  const auto two = listener.accept(patience);
  ASSERT_TRUE(one && two);
  EXPECT_EQ(listener.accept(0s).error().code(), Code::timed_out);
  EXPECT_TRUE(first.is_connected() && second.is_connected());
  const Session fourth = connect(client_options(listener));
  EXPECT_TRUE(listener.accept(patience)) << "there is room again";
}

TEST_F(Loopback, ASessionWhoseClientGaveUpInTheBacklogIsStillHandedOut) {
  const Listener listener = listen(server_options());
  const Session near = connect(client_options(listener));
  const Stream stream = near.open().value();
  ASSERT_TRUE(stream.write("hello", Fin::no, patience));
  ASSERT_TRUE(stream.wait_flushed(patience));  // the server, too, has finished the handshake now
  ASSERT_TRUE(near.close(AppCode{6}));
  const auto far = listener.accept(patience);
  ASSERT_TRUE(far);
  EXPECT_EQ(far->wait_closed(patience)->code, 6u);
}

TEST_F(Loopback, IPv6Works) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no IPv6 loopback";
  const Listener listener = listen(echo_options("[::1]:0"));
  quic::Client options = client_options(listener);
  options.address = "[::1]:" + port_of(listener);
  const Session session = connect(options);
  EXPECT_EQ(echo(session, "six"), "six");
  EXPECT_EQ(session.info(patience)->peer, Address::loopback_v6(listener.address().port));
}

TEST_F(Loopback, AWildcardListenerServesBothFamilies) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no IPv6 loopback";
  for (const char* address : {"[::]:0", ":0"}) {
    const Listener listener = listen(echo_options(address));
    quic::Client options = client_options(listener);
    EXPECT_EQ(echo(connect(options), "four"), "four") << address;
    options.address = "[::1]:" + port_of(listener);
    EXPECT_EQ(echo(connect(options), "six"), "six") << address;
  }
}

TEST_F(Loopback, AListenersSocketIsCounted) {
  const Listener listener = listen(echo_options());
  EXPECT_EQ(echo(connect(client_options(listener)), "counted"), "counted");
  const auto stats = listener.udp_stats(patience);
  ASSERT_TRUE(stats);
  EXPECT_GT(stats->received.datagrams, 0u);
  EXPECT_GT(stats->received.bytes, 1200u);
  EXPECT_GT(stats->sent.datagrams, 0u);
  EXPECT_EQ(stats->send_failures, 0u);
}

TEST(EmptyHandles, SayThatTheyAreEmpty) {
  const Listener listener;
  EXPECT_EQ(listener.accept(0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(listener.close().error().code(), Code::invalid_argument);
  EXPECT_EQ(listener.udp_stats(0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(listener.active_sessions(), 0u);
  const Session session;
  EXPECT_FALSE(session);
  EXPECT_EQ(session.state(), SessionState::closed);
  EXPECT_FALSE(session.close_reason());
  EXPECT_EQ(session.wait_connected(0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(session.wait_closed(0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(session.open().error().code(), Code::invalid_argument);
  EXPECT_EQ(session.accept_stream(0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(session.close().error().code(), Code::invalid_argument);
  EXPECT_EQ(session.info(0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(session.stats(0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(session.readable_streams(0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(session.writable_streams(0s).error().code(), Code::invalid_argument);
  const Stream stream;
  EXPECT_FALSE(stream);
  EXPECT_FALSE(stream.id());
  EXPECT_FALSE(stream.is_finished());
  EXPECT_EQ(stream.stats().bytes_sent, 0u);
  EXPECT_EQ(stream.write("x", Fin::no, 0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(stream.write_some({}).error().code(), Code::invalid_argument);
  EXPECT_EQ(stream.finish().error().code(), Code::invalid_argument);
  EXPECT_EQ(stream.read(1, 0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(stream.read_into({}, 0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(stream.wait_open(0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(stream.wait_writable(0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(stream.wait_flushed(0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(stream.shutdown(Side::both, AppCode{0}).error().code(), Code::invalid_argument);
  EXPECT_EQ(stream.set_delivery(passive).error().code(), Code::invalid_argument);
  EXPECT_EQ(stream.set_priority(1, true).error().code(), Code::invalid_argument);
}

}  // namespace
}  // namespace riffle::test
