// Everything that is bounded, at its full case (ENG-10). Where each bound is tested:
//
//   EngineOptions::command_queue           here, ACommandQueueThatIsFull…
//   EngineOptions::receive_budget          here, UnreadBytesOfAllSessions…; tests/session: TheReceiveBudgetOfTheEngine…
//   EngineOptions::send_budget             here, UnsentBytesOfAllSessions…; tests/session: TheSendBudgetOfTheEngine…
//   callers that wait, session             here, TooManyCallersAtOnce…
//   callers that wait, listener            here, TooManyAcceptors…
//   streams on their way to be opened      here, TooManyOpens…
//   quic::Server::max_sessions             listener_test: AServerThatIsFull…; core/quic: Decision
//   quic::Server::max_handshakes           listener_test: BeyondTheHandshakesInProgress…; core/quic: Decision
//   quic::Server::accept_backlog           listener_test: BeyondTheAcceptBacklog…
//   StreamLimits::accept_backlog           here, PeersStreamsBeyondTheBacklog…; tests/session: AFullBacklog…
//   StreamLimits::receive_list             here, AnUnreadStreamHolds…
//   StreamLimits::send_credit              here, AStreamsCreditIsUsedUp…; tests/session: AWriteWithoutCredit…
//   StreamLimits::session_send_credit      here, TheSessionsCreditIsUsedUp…; tests/session: TheSessionsCreditIsShared
//   StreamLimits::session_receive_budget   tests/session: the stalled readers
//   Transport::max_streams_*               here, ThePeersLimitOfStreams…; tests/session: WaitForStreamCredit
//   names being resolved                   net: Resolver
#include <array>
#include <thread>

#include "api/loopback_test.hpp"

namespace riffle::test {
namespace {

using std::chrono::steady_clock;

/// meet::SessionMeet::max_asking, max_opening, and the listener's own.
constexpr int most_at_once = 65'536;

TEST_F(Loopback, ACommandQueueThatIsFullTurnsConnectsAndListensAway) {
  const Listener listener = listen(echo_options());
  const Engine engine = Engine::embedded({.command_queue = 3}).value();
  std::vector<Session> sessions;
  for (int i = 0; i < 3; ++i) sessions.push_back(engine.connect(client_options(listener)));
  const Session refused = engine.connect(client_options(listener));
  EXPECT_EQ(refused.state(), SessionState::closed);
  EXPECT_EQ(refused.close_reason()->error.code(), Code::busy);
  EXPECT_NE(refused.close_reason()->error.evidence().find("command_queue"), std::string::npos);
  EXPECT_EQ(engine.listen(server_options()).error().code(), Code::busy);
  const auto give_up = steady_clock::now() + patience;
  for (const Session& session : sessions) {
    while (!session.is_connected() && steady_clock::now() < give_up) engine.run_one(give_up);
    EXPECT_TRUE(session.is_connected());
  }
  EXPECT_TRUE(engine.listen(server_options())) << "there is room again";
}

TEST_F(Loopback, TooManyCallersAtOnceAreToldThatItIsBusy) {
  const Listener listener = listen(echo_options());
  const Engine engine = Engine::embedded().value();
  const Session session = engine.connect(client_options(listener));
  // Nobody drives the loop: what was asked stays asked, though its caller has given up.
  for (int i = 0; i < most_at_once; ++i) ASSERT_EQ(session.wait_connected(0s).error().code(), Code::timed_out) << i;
  EXPECT_EQ(session.wait_connected(0s).error().code(), Code::busy);
  EXPECT_EQ(session.info(0s).error().code(), Code::busy);
  std::thread driver([&] { engine.run(); });
  const auto give_up = steady_clock::now() + patience;
  Result<void> connected = fail(Code::busy);
  while (!connected && connected.error() == Code::busy && steady_clock::now() < give_up)
    connected = session.wait_connected(patience);
  EXPECT_TRUE(connected);
  engine.stop(0s);
  driver.join();
}

TEST_F(Loopback, TooManyAcceptorsAtOnceAreToldThatItIsBusy) {
  const Engine engine = Engine::embedded().value();
  const Listener listener = engine.listen(server_options()).value();
  for (int i = 0; i < most_at_once; ++i) ASSERT_EQ(listener.accept(0s).error().code(), Code::timed_out) << i;
  EXPECT_EQ(listener.accept(0s).error().code(), Code::busy);
  std::thread driver([&] { engine.run(); });
  const Session session = connect(client_options(listener));
  const auto give_up = steady_clock::now() + patience;
  Result<Session> accepted = fail(Code::busy);
  while (!accepted && accepted.error() == Code::busy && steady_clock::now() < give_up)
    accepted = listener.accept(patience);
  EXPECT_TRUE(accepted);
  engine.stop(0s);
  driver.join();
}

TEST_F(Loopback, TooManyOpensAtOnceAreToldThatItIsBusy) {
  const Listener listener = listen(echo_options());
  const Engine engine = Engine::embedded().value();
  const Session session = engine.connect(client_options(listener));
  std::vector<Stream> streams;
  for (int i = 0; i < most_at_once; ++i) {
    auto stream = session.open();
    ASSERT_TRUE(stream) << i;
    streams.push_back(std::move(*stream));
  }
  EXPECT_EQ(session.open().error().code(), Code::busy);
  std::thread driver([&] { engine.run(); });
  // The peer allows 1,024 at once: those come first, the others wait.
  EXPECT_TRUE(streams.front().wait_open(patience));
  EXPECT_TRUE(streams[1023].wait_open(patience));
  EXPECT_EQ(streams.back().wait_open(0s).error().code(), Code::timed_out);
  engine.stop(0s);
  driver.join();
  EXPECT_EQ(streams.back().wait_open(patience).error().code(), Code::closed);
}

TEST_F(Loopback, ThePeersLimitOfStreamsIsWaitedForOrToldAtOnce) {
  // STR-1
  quic::Server options = server_options();
  options.transport.max_streams_bidi = 2;
  const Listener listener = listen(options);
  const Session near = connect(client_options(listener));
  const Session far = listener.accept(patience).value();
  const Stream first = near.open().value();
  const Stream second = near.open().value();
  ASSERT_TRUE(first.write("1", fin, patience));
  ASSERT_TRUE(second.wait_open(patience));
  EXPECT_EQ(near.open(bidirectional, StreamCredit::fail_at_once).error().code(), Code::would_block);
  const auto other_kind = near.open(unidirectional, StreamCredit::fail_at_once);
  EXPECT_TRUE(other_kind) << "each kind has a limit of its own";
  const Stream third = near.open().value();
  EXPECT_EQ(third.wait_open(0s).error().code(), Code::timed_out);
  const Stream in = far.accept_stream(patience).value();
  ASSERT_TRUE(in.read_to_end(10, patience));
  ASSERT_TRUE(in.finish());
  ASSERT_TRUE(first.read_to_end(10, patience));
  EXPECT_TRUE(third.wait_open(patience)) << "a stream that is over makes room for another";
}

TEST_F(Loopback, PeersStreamsBeyondTheBacklogAreRefused) {
  quic::Server options = server_options();
  options.limits.accept_backlog = 2;
  const Listener listener = listen(options);
  const Session near = connect(client_options(listener));
  const Session far = listener.accept(patience).value();
  std::vector<Stream> streams;
  for (int i = 0; i < 3; ++i) {
    streams.push_back(near.open().value());
    ASSERT_TRUE(streams.back().write("x", Fin::no, patience));
    ASSERT_TRUE(streams.back().wait_open(patience));
  }
  const auto refused = streams.back().read(10, patience);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::stream_reset) << refused.error().message();
  EXPECT_TRUE(far.accept_stream(patience));
  EXPECT_TRUE(far.accept_stream(patience));
  EXPECT_EQ(far.accept_stream(0s).error().code(), Code::timed_out);
  EXPECT_EQ(far.stats(patience)->session.streams_refused, 1u);
}

TEST_F(ConnectedPair, AnUnreadStreamHoldsNoMoreThanItsList) {
  // STR-4: the peer's window reopens only as the application consumes.
  const Stream out = near.open().value();
  ASSERT_TRUE(out.write("x", Fin::no, patience));
  const Stream in = far.accept_stream(patience).value();
  const Bytes piece = Bytes::adopt(pattern(64 * 1024));
  std::uint64_t accepted = 1;
  // Until the peer's list, its window and our credit are all full.
  for (;;) {
    const auto written = out.try_write(piece);
    ASSERT_TRUE(written);
    if (*written == WriteStatus::accepted) {
      accepted += piece.size();
    } else if (!out.wait_writable(300ms)) {
      break;
    }
  }
  const StreamStats held = in.stats();
  const StreamLimits limits;
  const quic::Transport transport;
  EXPECT_LE(held.receive_buffered, limits.receive_list);
  EXPECT_LE(accepted,
            transport.stream_window + limits.receive_list + limits.send_credit_max + piece.size() + 64 * 1024);
  EXPECT_GT(out.stats().writes_blocked, 0u);
  // And all of it comes once somebody reads.
  std::uint64_t got = 0;
  ASSERT_TRUE(out.finish());
  for (;;) {
    const auto read = in.read(1 << 20, patience);
    ASSERT_TRUE(read);
    got += read->data.size();
    if (read->fin || read->status == Read::Status::end_of_stream) break;
  }
  EXPECT_EQ(got, accepted);
}

TEST_F(Loopback, AStreamsCreditIsUsedUpByOneWriteAndNoMoreIsTaken) {
  // ENG-4, ENG-5: taken whole while credit is above 0, then nothing. An engine that stands still gives none back.
  const Listener listener = listen(server_options());
  const Engine engine = Engine::embedded().value();
  const Session session = engine.connect(client_options(listener));
  const Stream stream = session.open().value();
  EXPECT_EQ(stream.try_write(Bytes::adopt(pattern(1 << 20))).value(), WriteStatus::accepted);
  EXPECT_EQ(stream.try_write(Bytes::copy("x")).value(), WriteStatus::would_block);
  const std::array<std::byte, 4> some{};
  EXPECT_EQ(stream.write_some(some).value(), 0u);
  EXPECT_EQ(stream.write("x", Fin::no, 1ms).error().code(), Code::timed_out);
  EXPECT_EQ(session.open()->try_write(Bytes::copy("x")).value(), WriteStatus::accepted)
      << "credit is each stream's own";
  EXPECT_EQ(stream.stats().send_buffered, 1u << 20);
  EXPECT_GE(stream.stats().writes_blocked, 3u);
  EXPECT_TRUE(stream.finish()) << "a fin needs no credit";
}

TEST_F(Loopback, TheSessionsCreditIsUsedUpByAllItsStreamsTogether) {
  const Listener listener = listen(server_options());
  const Engine engine = Engine::embedded().value();
  quic::Client options = client_options(listener);
  options.limits.send_credit = 4096;
  options.limits.session_send_credit = 10'000;
  const Session session = engine.connect(options);
  const Bytes piece = Bytes::adopt(pattern(4096));
  std::vector<WriteStatus> statuses;
  for (int i = 0; i < 5; ++i) statuses.push_back(session.open()->try_write(piece).value());
  using enum WriteStatus;
  EXPECT_EQ(statuses, (std::vector{accepted, accepted, accepted, would_block, would_block}));
}

/// Writes to every session until none takes anything more; returns what was taken.
std::uint64_t fill(const std::vector<Stream>& streams) {
  const Bytes piece = Bytes::adopt(pattern(16 * 1024));
  std::uint64_t taken = 0;
  for (bool is_moving = true; is_moving;) {
    is_moving = false;
    for (const Stream& stream : streams) {
      while (stream.try_write(piece).value() == WriteStatus::accepted) {
        taken += piece.size();
        is_moving = true;
      }
    }
    // The transport may still make room: only silence on all of them is the end.
    for (const Stream& stream : streams) is_moving = is_moving || stream.wait_writable(100ms).has_value();
  }
  return taken;
}

TEST_F(Loopback, UnsentBytesOfAllSessionsStayWithinTheEnginesBudget) {
  constexpr std::uint64_t budget = 1 << 20;
  quic::Server far = server_options();
  far.transport.stream_window = 64 * 1024;
  far.limits.receive_list = 4096;
  far.limits.stalled_readers_tolerated = 1;
  const Listener listener = listen(far);
  const Engine engine = Engine::start({.send_budget = budget}).value();
  std::vector<Session> sessions;
  std::vector<Stream> streams;
  for (int i = 0; i < 8; ++i) {
    sessions.push_back(engine.connect(client_options(listener)));
    ASSERT_TRUE(sessions.back().wait_connected(patience));
    streams.push_back(sessions.back().open().value());
  }
  fill(streams);
  std::uint64_t buffered = 0;
  for (const Session& session : sessions) buffered += session.stats(patience)->session.send_buffered;
  // Each session keeps 64 KiB of credit (and one write more) whatever the others do.
  EXPECT_LE(buffered, budget + 8 * (64 + 16 + 256) * 1024u);
  EXPECT_GE(buffered, budget / 2);
}

TEST_F(Loopback, UnreadBytesOfAllSessionsStayWithinTheEnginesBudget) {
  constexpr std::uint64_t budget = 256 * 1024;
  const Engine engine = Engine::start({.receive_budget = budget}).value();
  const Listener listener = engine.listen(server_options()).value();
  std::vector<Session> sessions, far;
  std::vector<Stream> streams, unread;
  for (int i = 0; i < 4; ++i) {
    sessions.push_back(connect(client_options(listener)));
    far.push_back(listener.accept(patience).value());
    streams.push_back(sessions.back().open().value());
    ASSERT_TRUE(streams.back().write("x", Fin::no, patience));
    unread.push_back(far.back().accept_stream(patience).value());
  }
  fill(streams);
  std::uint64_t held = 0;
  for (const Stream& stream : unread) held += stream.stats().receive_buffered;
  EXPECT_LE(held, budget);
  EXPECT_GT(held, 0u);
  for (std::size_t i = 0; i < streams.size(); ++i) {
    ASSERT_TRUE(streams[i].finish());
    EXPECT_TRUE(unread[i].read_to_end(64u << 20, patience)) << "nothing was lost";
  }
}

}  // namespace
}  // namespace riffle::test
