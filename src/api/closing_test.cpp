// The end of a session, from every side and at every moment (CON-2, COR-3, HND-1).
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <stdexcept>
#include <thread>

#include "api/loopback_test.hpp"

namespace riffle::test {
namespace {

TEST_F(ConnectedPair, ThePeerHearsCodeAndReason) {
  ASSERT_TRUE(far.close(AppCode{7}, "enough for today"));
  const auto reason = near.wait_closed(patience);
  ASSERT_TRUE(reason);
  EXPECT_EQ(reason->by, CloseReason::By::peer);
  EXPECT_TRUE(reason->is_application);
  EXPECT_EQ(reason->code, 7u);
  EXPECT_EQ(reason->reason, "enough for today");
  EXPECT_EQ(reason->error.code(), Code::peer_closed);
  EXPECT_EQ(reason->error.wire(), 7u);
  EXPECT_EQ(near.wait_connected(0s).error().code(), Code::peer_closed);
}

TEST_F(ConnectedPair, OurOwnCloseIsToldAsOurs) {
  ASSERT_TRUE(near.close(AppCode{3}, "done"));
  const auto reason = near.wait_closed(patience);
  ASSERT_TRUE(reason);
  EXPECT_EQ(reason->by, CloseReason::By::us);
  EXPECT_TRUE(reason->is_application);
  EXPECT_EQ(reason->code, 3u);
  EXPECT_EQ(reason->reason, "done");
  EXPECT_EQ(reason->error.code(), Code::closed);
}

TEST_F(ConnectedPair, AThreadThatHasCalledCloseSeesClosedAtOnce) {
  const Stream stream = near.open().value();
  ASSERT_TRUE(stream.wait_open(patience));
  ASSERT_TRUE(near.close());
  EXPECT_EQ(near.state(), SessionState::closed);
  EXPECT_FALSE(near.is_connected());
  EXPECT_EQ(near.wait_connected(patience).error().code(), Code::closed);
  EXPECT_EQ(near.open().error().code(), Code::closed);
  EXPECT_EQ(near.accept_stream(patience).error().code(), Code::closed);
  EXPECT_EQ(stream.write("late", Fin::no, patience).error().code(), Code::closed);
  EXPECT_EQ(stream.try_write(Bytes::copy("late")).error().code(), Code::closed);
  EXPECT_TRUE(near.wait_closed(patience));
}

TEST_F(ConnectedPair, CloseTwiceSucceedsTwiceAndTheFirstCounts) {
  ASSERT_TRUE(near.close(AppCode{1}, "first"));
  ASSERT_TRUE(near.close(AppCode{2}, "second"));
  EXPECT_EQ(near.wait_closed(patience)->code, 1u);
  ASSERT_TRUE(near.close(AppCode{3}, "third"));
  EXPECT_EQ(near.wait_closed(patience)->reason, "first");
  EXPECT_EQ(far.wait_closed(patience)->code, 1u);
}

TEST_F(ConnectedPair, CloseAfterThePeersCloseSucceedsAndThePeersReasonStays) {
  ASSERT_TRUE(far.close(AppCode{9}, "peer"));
  ASSERT_TRUE(near.wait_closed(patience));
  ASSERT_TRUE(near.close(AppCode{1}, "ours"));
  const auto reason = near.close_reason();
  ASSERT_TRUE(reason);
  EXPECT_EQ(reason->by, CloseReason::By::peer);
  EXPECT_EQ(reason->code, 9u);
}

TEST_F(ConnectedPair, OneOfManyThreadsThatCloseIsHeardAndAllSeeClosed) {
  std::atomic<int> ready{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::uint64_t i = 1; i <= 8; ++i) {
    threads.emplace_back([&, i] {
      ++ready;
      while (ready.load() < 8) std::this_thread::yield();
      if (!near.close(AppCode{i}, "thread")) ++wrong;
      if (near.state() != SessionState::closed || near.is_connected()) ++wrong;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  const auto ours = near.wait_closed(patience);
  const auto theirs = far.wait_closed(patience);
  ASSERT_TRUE(ours && theirs);
  EXPECT_EQ(ours->code, theirs->code);
  EXPECT_GE(ours->code, 1u);
  EXPECT_LE(ours->code, 8u);
}

TEST_F(Loopback, WhatTheSameThreadWroteBeforeItsCloseGoesOutFirst) {
  const auto script = std::make_shared<Script>();
  std::string got;  // the loop's until `closed` was told
  script->data = [&](Context&, StreamId, Bytes bytes, bool) { got += bytes.view(); };
  quic::Server options = server_options();
  options.handler = [&](const Peer&) { return script; };
  const Listener listener = listen(options);
  const Session session = connect(client_options(listener));
  const Stream out = session.open().value();
  ASSERT_TRUE(out.write("last words", fin, patience));
  ASSERT_TRUE(session.close());
  ASSERT_TRUE(script->notes.wait_for("closed"));
  EXPECT_EQ(got, "last words");
  EXPECT_EQ(script->notes.all().back(), "closed");
}

TEST_F(ConnectedPair, EveryWaitingCallIsAnsweredByTheEnd) {
  // COR-3: each waiter once, on every way out.
  const Stream stream = near.open().value();
  ASSERT_TRUE(stream.wait_open(patience));
  std::atomic<int> answered{0};
  const auto expect_peer_closed = [&](Code code) { answered += code == Code::peer_closed ? 1 : 0; };
  std::vector<std::thread> waiters;
  waiters.emplace_back([&] { expect_peer_closed(near.accept_stream(forever).error().code()); });
  waiters.emplace_back([&] { expect_peer_closed(stream.read(100, forever).error().code()); });
  waiters.emplace_back([&] { expect_peer_closed(near.wait_closed(forever)->error.code()); });
  waiters.emplace_back([&] { expect_peer_closed(near.wait_closed(forever)->error.code()); });
  ASSERT_TRUE(far.close(AppCode{5}));
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_EQ(answered.load(), 4);
}

TEST_F(ConnectedPair, TheLastHandleOfAClientClosesItWithCodeZero) {
  near = Session();
  const auto reason = far.wait_closed(patience);
  ASSERT_TRUE(reason);
  EXPECT_EQ(reason->by, CloseReason::By::peer);
  EXPECT_EQ(reason->code, 0u);
}

TEST_F(Loopback, CloseWhileHandshakingIsSeenAtOnceAndToldOnce) {
  // A socket that never answers keeps the handshake going.
  const int silent = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(silent, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(silent, reinterpret_cast<sockaddr*>(&address), &size), 0);

  const auto script = std::make_shared<Script>();
  const Session session = client.connect({.address = "127.0.0.1:" + std::to_string(ntohs(address.sin_port)),
                                          .trust = insecure_no_verification(),
                                          .alpn = {"test"},
                                          .handler = script});
  std::optional<Error> told;
  std::thread waiter([&] { told = session.wait_connected(forever).error(); });
  ASSERT_TRUE(session.close(AppCode{4}, "never mind"));
  EXPECT_EQ(session.state(), SessionState::closed);
  waiter.join();
  ASSERT_TRUE(told);
  EXPECT_EQ(told->code(), Code::closed);
  EXPECT_EQ(session.wait_closed(patience)->by, CloseReason::By::us);
  EXPECT_TRUE(script->notes.wait_for("closed"));
  EXPECT_EQ(script->notes.count("connected"), 0);
  ::close(silent);
}

TEST_F(Loopback, OnClosedComesOnceAndLast) {
  // HND-1, for both ends, whoever closes.
  const auto near = std::make_shared<Script>();
  const auto far = std::make_shared<Script>();
  quic::Server options = server_options();
  options.handler = [&](const Peer&) { return far; };
  const Listener listener = listen(options);
  quic::Client client_side = client_options(listener);
  client_side.handler = near;
  const Session session = connect(client_side);
  const Stream stream = session.open().value();
  ASSERT_TRUE(stream.write("hello", Fin::no, patience));
  ASSERT_TRUE(far->notes.wait_for("data"));
  ASSERT_TRUE(session.close(AppCode{1}));
  ASSERT_TRUE(near->notes.wait_for("closed"));
  ASSERT_TRUE(far->notes.wait_for("closed"));
  server.stop(0s);
  client.stop(0s);
  server.join();
  client.join();
  for (const auto& script : {near, far}) {
    EXPECT_EQ(script->notes.count("closed"), 1);
    EXPECT_EQ(script->notes.count("draining"), 1);
    EXPECT_EQ(script->notes.all().back(), "closed");
  }
}

TEST_F(Loopback, OnClosedComesOnceAndLastWhenTheEngineIsDestroyed) {
  const auto script = std::make_shared<Script>();
  std::optional<CloseReason> reason;
  script->closed = [&](Context&, const CloseReason& why) { reason = why; };
  const Listener listener = listen(echo_options());
  {
    Engine doomed = Engine::start().value();
    quic::Client options = client_options(listener);
    options.handler = script;
    ASSERT_TRUE(doomed.connect(options).wait_connected(patience));
  }
  EXPECT_EQ(script->notes.count("closed"), 1);
  EXPECT_EQ(script->notes.all().back(), "closed");
  ASSERT_TRUE(reason);
  EXPECT_EQ(reason->error.code(), Code::closed);
}

TEST_F(Loopback, AHandlerMayCloseFromItsCallback) {
  // HND-2
  const auto script = std::make_shared<Script>();
  script->connected = [](Context& c) {
    c.close(AppCode{77}, "go away");
    c.close(AppCode{78}, "again");
    EXPECT_EQ(c.session().state(), SessionState::closed);
  };
  quic::Server options = server_options();
  options.handler = [&](const Peer&) { return script; };
  const Listener listener = listen(options);
  const Session session = client.connect(client_options(listener));
  const auto reason = session.wait_closed(patience);
  ASSERT_TRUE(reason);
  EXPECT_EQ(reason->error.code(), Code::peer_closed) << reason->error.message();
  EXPECT_EQ(reason->code, 77u);
  EXPECT_EQ(reason->reason, "go away");
}

TEST_F(Loopback, AHandlerThatThrowsEndsItsOwnSessionOnly) {
  // ENG-7: in each callback that a peer can provoke.
  quic::Server options = server_options();
  std::atomic<int> failures{0};
  options.handler = [&](const Peer&) {
    auto script = std::make_shared<Script>();
    script->data = [](Context& c, StreamId id, Bytes bytes, bool is_last) {
      if (bytes.view() == "!") throw std::runtime_error("by design");
      if (bytes.view() == "?") throw 42;
      c.write(id, std::move(bytes), is_last);
    };
    script->closed = [&](Context&, const CloseReason& reason) {
      if (reason.error.code() == Code::handler_failed) ++failures;
      throw std::runtime_error("the last callback fails, too");
    };
    return script;
  };
  const Listener listener = listen(options);
  const Session bystander = connect(client_options(listener));
  const Stream kept = bystander.open().value();
  ASSERT_TRUE(kept.write("before ", Fin::no, patience));
  for (const char* text : {"!", "?"}) {
    const Session victim = connect(client_options(listener));
    ASSERT_TRUE(victim.open()->write(text, fin, patience));
    const auto reason = victim.wait_closed(patience);
    ASSERT_TRUE(reason);
    EXPECT_EQ(reason->by, CloseReason::By::peer);
    EXPECT_TRUE(reason->is_application);
  }
  ASSERT_TRUE(kept.write("and after", fin, patience));
  EXPECT_EQ(kept.read_to_end(100, patience)->view(), "before and after");
  EXPECT_EQ(failures.load(), 2);
}

TEST_F(Loopback, ACloseBehindAFullWindowIsHeard) {
  // CON-2: quiche keeps a CONNECTION_CLOSE back while the congestion window is full.
  quic::Server options = server_options();
  options.handler = [](const Peer&) {
    auto script = std::make_shared<Script>();
    script->data = [](Context& c, StreamId id, Bytes, bool) {
      c.write(id, std::string(8 << 20, 'x'));
      c.close(AppCode{7}, "enough");
    };
    return script;
  };
  const Listener listener = listen(std::move(options));
  const Session session = connect(client_options(listener));
  const Stream stream = session.open().value();
  ASSERT_TRUE(stream.write("go"));
  const auto reason = session.wait_closed(patience);  // far below the idle timeout of 30 s
  ASSERT_TRUE(reason) << reason.error().message();
  EXPECT_EQ(reason->by, CloseReason::By::peer);
  EXPECT_EQ(reason->code, 7u);
  EXPECT_EQ(reason->reason, "enough");
}

}  // namespace
}  // namespace riffle::test
