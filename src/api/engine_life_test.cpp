// An engine's life: draining, destruction at any moment, handles that outlive it, waiting calls on its thread
// (ENG-1, ENG-2, ENG-3, ENG-6).
#include <array>
#include <atomic>
#include <map>
#include <optional>
#include <thread>

#include "api/loopback_test.hpp"

namespace riffle::test {
namespace {

/// Takes everything and counts it.
struct Sink : Handler {
  std::atomic<std::size_t> got{0};
  std::atomic<bool> has_ended{false};
  Notes notes;
  void on_stream_data(Context&, StreamId, Bytes bytes, bool is_last) override {
    got += bytes.size();
    if (is_last) has_ended = true;
  }
  void on_closed(Context&, const CloseReason&) override { notes.add("closed"); }
};

TEST_F(Loopback, StopDrainsWhatWasWritten) {
  // ENG-1: "queued writes flushed while the deadline lasts".
  const auto sink = std::make_shared<Sink>();
  quic::Server options = server_options();
  options.handler = [&](const Peer&) { return sink; };
  const Listener listener = listen(options);
  quic::Client client_side = client_options(listener);
  client_side.limits.send_credit = client_side.limits.send_credit_max = 16 * 1024 * 1024;
  const Session session = connect(client_side);
  const std::string text = pattern(8'000'000);
  const Stream stream = session.open().value();
  ASSERT_TRUE(stream.write(text, fin, patience));
  client.stop(patience);
  client.join();
  EXPECT_EQ(client.state(), EngineState::stopped);
  ASSERT_TRUE(sink->notes.wait_for("closed"));
  EXPECT_EQ(sink->got.load(), text.size());
  EXPECT_TRUE(sink->has_ended.load());
  EXPECT_EQ(session.close_reason()->error.code(), Code::closed);
}

TEST_F(Loopback, StopWithoutTimeDoesNotWaitForAPeerThatTakesNothing) {
  const Listener listener = listen(server_options());
  const Session session = connect(client_options(listener));
  const Session far = listener.accept(patience).value();
  const Stream stream = session.open().value();
  while (stream.try_write(Bytes::copy(pattern(100'000))).value() == WriteStatus::accepted) {
  }
  ASSERT_TRUE(far.accept_stream(patience));  // and nobody reads it
  client.stop(0s);
  client.join();
  EXPECT_EQ(session.state(), SessionState::closed);
  EXPECT_EQ(far.wait_closed(patience)->reason, "the engine was stopped");
}

TEST_F(Loopback, AStoppingEngineTakesNoNewSessions) {
  const Listener listener = listen(echo_options());
  const Session session = connect(client_options(listener));
  server.stop(0s);
  server.join();
  EXPECT_EQ(server.listen(server_options()).error().code(), Code::closed);
  EXPECT_EQ(listener.accept(patience).error().code(), Code::closed);
  EXPECT_EQ(session.wait_closed(patience)->by, CloseReason::By::peer);
  server.stop(1s);  // again, and after the end
  EXPECT_EQ(server.state(), EngineState::stopped);
}

TEST_F(Loopback, StopMayBeCalledFromACallback) {
  const auto script = std::make_shared<Script>();
  script->connected = [&](Context&) { client.stop(0s); };
  const Listener listener = listen(server_options());
  quic::Client options = client_options(listener);
  options.handler = script;
  const Session session = client.connect(options);
  client.join();
  EXPECT_EQ(script->notes.count("connected"), 1);
  EXPECT_EQ(script->notes.all().back(), "closed");
}

TEST_F(Loopback, HandlesThatOutliveTheirEngineSayClosedAtOnce) {
  const Listener listener = listen(echo_options());
  Session session;
  Stream stream, unopened;
  Listener own;
  {
    const Engine doomed = Engine::start().value();
    own = doomed.listen(server_options()).value();
    session = doomed.connect(client_options(listener));
    ASSERT_TRUE(session.wait_connected(patience));
    stream = session.open().value();
    ASSERT_TRUE(stream.write("!", Fin::no, patience));
    EXPECT_EQ(stream.read(5, patience)->data.view(), "!");
    unopened = session.open().value();
  }
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(session.state(), SessionState::closed);
  EXPECT_EQ(session.wait_connected(patience).error().code(), Code::closed);
  EXPECT_EQ(session.wait_closed(patience)->error.code(), Code::closed);
  EXPECT_EQ(session.open().error().code(), Code::closed);
  EXPECT_EQ(session.accept_stream(patience).error().code(), Code::closed);
  EXPECT_EQ(session.info(patience).error().code(), Code::closed);
  EXPECT_EQ(session.stats(patience).error().code(), Code::closed);
  EXPECT_EQ(session.readable_streams(patience).error().code(), Code::closed);
  EXPECT_TRUE(session.close());
  for (const Stream& each : {stream, unopened}) {
    EXPECT_EQ(each.read(5, patience).error().code(), Code::closed);
    EXPECT_EQ(each.write("x", Fin::no, patience).error().code(), Code::closed);
    EXPECT_EQ(each.finish().error().code(), Code::closed);
    EXPECT_EQ(each.wait_writable(patience).error().code(), Code::closed);
    EXPECT_EQ(each.wait_flushed(patience).error().code(), Code::closed);
    EXPECT_TRUE(each.shutdown(Side::both, AppCode{0}));
    EXPECT_TRUE(each.set_delivery(passive));
    EXPECT_TRUE(each.is_finished());
  }
  EXPECT_EQ(own.accept(patience).error().code(), Code::closed);
  EXPECT_EQ(own.udp_stats(patience).error().code(), Code::closed);
  EXPECT_TRUE(own.close());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s) << "no call waited for a loop that is gone";
}

TEST_F(Loopback, HandlesOfASessionThatEndedLongAgoSayClosed) {
  const Listener listener = listen(echo_options());
  const Session session = connect(client_options(listener));
  const Stream stream = session.open().value();
  ASSERT_TRUE(session.close());
  ASSERT_TRUE(session.wait_closed(patience));
  const auto give_up = std::chrono::steady_clock::now() + patience;
  while (client.active_sessions() != 0 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  ASSERT_EQ(client.active_sessions(), 0u) << "the engine has let go of it";
  EXPECT_EQ(session.stats(patience).error().code(), Code::closed);
  EXPECT_EQ(session.info(patience).error().code(), Code::closed);
  EXPECT_EQ(stream.wait_flushed(patience).error().code(), Code::closed);
  EXPECT_EQ(stream.read(1, patience).error().code(), Code::closed);
  EXPECT_EQ(session.wait_closed(patience)->by, CloseReason::By::us);
}

TEST_F(Loopback, DestructionAtAnyMomentAnswersWhoWaits) {
  const Listener listener = listen(server_options());
  std::vector<std::thread> waiters;
  std::atomic<int> closed{0};
  const auto expect_closed = [&](Code code) {
    if (code == Code::closed) ++closed;
  };
  {
    const Engine doomed = Engine::start().value();
    const Session session = doomed.connect(client_options(listener));
    ASSERT_TRUE(session.wait_connected(patience));
    const Stream stream = session.open().value();
    ASSERT_TRUE(stream.wait_open(patience));
    const Listener own = doomed.listen(server_options()).value();
    waiters.emplace_back([=] { expect_closed(session.accept_stream(forever).error().code()); });
    waiters.emplace_back([=] { expect_closed(session.wait_closed(forever)->error.code()); });
    waiters.emplace_back([=] { expect_closed(stream.read(1, forever).error().code()); });
    waiters.emplace_back([=] { expect_closed(own.accept(forever).error().code()); });
  }
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_EQ(closed.load(), 4);
}

TEST_F(Loopback, EnginesComeAndGoWithEverythingAlive) {
  const Listener listener = listen(echo_options());
  for (int round = 0; round < 30; ++round) {
    Engine engine = Engine::start().value();
    const Session session = engine.connect(client_options(listener));
    const Stream stream = session.open().value();
    EXPECT_TRUE(stream.try_write(Bytes::copy(pattern(50'000))));
    if (round % 3 == 1) {
      EXPECT_TRUE(session.wait_connected(patience));
    }
    if (round % 3 == 2) {
      EXPECT_TRUE(stream.read(10, patience));
    }
    if (round % 2 == 0) engine = Engine::start().value();  // the old one ends here
    EXPECT_EQ(engine.state(), EngineState::running);
  }
  EXPECT_EQ(echo(connect(client_options(listener)), "the server is well"), "the server is well");
}

TEST_F(Loopback, EveryWaitingCallOnTheLoopsThreadSaysThatItWouldDeadlock) {
  // Law 3; HND-5.
  const Listener listener = listen(server_options());
  const auto script = std::make_shared<Script>();
  std::map<std::string, Code> codes;
  std::optional<Listener> own;
  own = client.listen(server_options()).value();
  const auto code_of = [](const auto& result) { return result ? Code{0} : result.error().code(); };
  script->connected = [&](Context& c) {
    const Session session = c.session();
    const StreamId id = c.open().value();
    const Stream stream = c.stream(id);
    c.set_delivery(id, passive);
    const Session other = client.connect(client_options(listener));
    codes["connect"] = code_of(other.wait_connected(1s));
    codes["accept_stream"] = code_of(other.accept_stream(1s));
    codes["wait_closed"] = code_of(session.wait_closed(1s));
    codes["info"] = code_of(session.info(1s));
    codes["stats"] = code_of(session.stats(1s));
    codes["readable_streams"] = code_of(session.readable_streams(1s));
    codes["writable_streams"] = code_of(session.writable_streams(1s));
    codes["accept"] = code_of(own->accept(1s));
    codes["udp_stats"] = code_of(own->udp_stats(1s));
    codes["wait_flushed"] = code_of(stream.wait_flushed(1s));
    codes["read"] = code_of(stream.read(10, 1s));
    std::array<std::byte, 8> to{};
    codes["read_into"] = code_of(stream.read_into(to, 1s));
    codes["read_to_end"] = code_of(stream.read_to_end(10, 1s));
    codes["wait_open"] = code_of(session.open()->wait_open(1s));
    while (stream.try_write(Bytes::copy(pattern(50'000))).value() == WriteStatus::accepted) {
    }
    codes["write"] = code_of(stream.write("x", Fin::no, 1s));
    const std::array pieces{Bytes::copy("x"), Bytes::copy("y")};
    codes["write_gather"] = code_of(stream.write_gather(pieces, Fin::no, 1s));
    codes["wait_writable"] = code_of(stream.wait_writable(1s));
    script->notes.add("done");
  };
  quic::Client options = client_options(listener);
  options.handler = script;
  options.delivery = passive;
  const Session session = client.connect(options);
  ASSERT_TRUE(script->notes.wait_for("done"));
  EXPECT_EQ(codes.size(), 17u);
  for (const auto& [call, code] : codes) EXPECT_EQ(code, Code::would_deadlock) << call;
}

TEST(EngineState, GoesFromRunningToStopped) {
  const Engine engine = Engine::start().value();
  EXPECT_EQ(engine.state(), EngineState::running);
  EXPECT_EQ(engine.active_sessions(), 0u);
  engine.stop();
  engine.join();
  EXPECT_EQ(engine.state(), EngineState::stopped);
  engine.join();
}

}  // namespace
}  // namespace riffle::test
