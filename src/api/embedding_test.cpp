// Engines that are driven by their caller (ENG-9).
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "api/loopback_test.hpp"

namespace riffle::test {
namespace {

using std::chrono::steady_clock;

TEST_F(Loopback, RunServesOnTheCallersThread) {
  const Listener listener = listen(echo_options());
  const Engine engine = Engine::embedded().value();
  std::thread driver([&] { engine.run(); });
  const Session session = engine.connect(client_options(listener));
  EXPECT_EQ(echo(session, "run"), "run");
  engine.stop(0s);
  driver.join();
  EXPECT_EQ(engine.state(), EngineState::stopped);
  EXPECT_FALSE(engine.run_one(steady_clock::now()));
  EXPECT_FALSE(engine.process());
}

TEST_F(Loopback, RunOneWaitsNoLongerThanItsDeadline) {
  const Engine engine = Engine::embedded().value();
  const auto deadline = steady_clock::now() + 30ms;
  bool is_running = true;
  while (steady_clock::now() < deadline) is_running = engine.run_one(deadline);
  EXPECT_TRUE(is_running);
  engine.stop(0s);
  const auto give_up = steady_clock::now() + patience;
  while (engine.run_one(give_up) && steady_clock::now() < give_up) {
  }
  EXPECT_EQ(engine.state(), EngineState::stopped);
}

TEST_F(Loopback, OneThreadDrivesAnEngineCycleByCycle) {
  const Listener listener = listen(echo_options());
  const Engine engine = Engine::embedded().value();
  const auto script = std::make_shared<Script>();
  std::string got;
  bool has_ended = false;
  script->connected = [&](Context& c) { c.write(c.open().value(), "step by step", fin); };
  script->data = [&](Context&, StreamId, Bytes bytes, bool is_last) {
    got += bytes.view();
    has_ended = is_last;
  };
  quic::Client options = client_options(listener);
  options.handler = script;
  const Session session = engine.connect(options);
  const auto give_up = steady_clock::now() + patience;
  while (!has_ended && steady_clock::now() < give_up) engine.run_one(give_up);
  EXPECT_EQ(got, "step by step");
}

TEST_F(Loopback, AnEngineThatIsNeverDrivenEndsCleanly) {
  const Listener listener = listen(echo_options());
  const auto script = std::make_shared<Script>();
  Session session;
  {
    const Engine engine = Engine::embedded().value();
    quic::Client options = client_options(listener);
    options.handler = script;
    session = engine.connect(options);
  }
  EXPECT_EQ(session.wait_connected(patience).error().code(), Code::closed);
  EXPECT_LE(script->notes.count("closed"), 1);
}

/// A foreign event loop: epoll over the engine's descriptor, with the engine's deadline as its timeout.
class ForeignLoop {
 public:
  explicit ForeignLoop(const Engine& engine) : engine_(engine), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{.events = EPOLLIN, .data = {}};
    EXPECT_EQ(::epoll_ctl(epoll_, EPOLL_CTL_ADD, engine_.fd(), &event), 0);
  }
  ~ForeignLoop() { ::close(epoll_); }
  ForeignLoop(const ForeignLoop&) = delete;
  ForeignLoop& operator=(const ForeignLoop&) = delete;

  bool turn() {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
        std::clamp<std::chrono::nanoseconds>(engine_.deadline() - steady_clock::now(), 0ns, 10s));
    epoll_event event{};
    waits_ += left.count() > 0 ? 1 : 0;
    EXPECT_GE(::epoll_wait(epoll_, &event, 1, static_cast<int>(left.count())), 0);
    return engine_.process();
  }
  int waits() const { return waits_; }

 private:
  const Engine& engine_;
  int epoll_;
  int waits_ = 0;
};

TEST_F(Loopback, AForeignEventLoopDrivesClientAndServerAtOnce) {
  const Engine engine = Engine::embedded().value();
  const Listener listener = engine.listen(echo_options()).value();
  const auto script = std::make_shared<Script>();
  const std::string text = pattern(3'000'000);
  std::string got;
  std::size_t sent = 0;
  const auto send_more = [&](Context& c, StreamId id) {
    while (sent < text.size() && c.writable_bytes(id) > 0) {
      const std::size_t part = std::min<std::size_t>(100'000, text.size() - sent);
      sent += part;
      c.write(id, Bytes::copy(std::string_view(text).substr(sent - part, part)), sent == text.size());
    }
  };
  bool has_ended = false;
  script->connected = [&](Context& c) { send_more(c, c.open().value()); };
  script->writable = send_more;
  script->data = [&](Context& c, StreamId, Bytes bytes, bool is_last) {
    got += bytes.view();
    has_ended = is_last;
    if (is_last) c.close(AppCode{0}, "done");
  };
  quic::Client options = client_options(listener);
  options.handler = script;
  const Session session = engine.connect(options);

  ForeignLoop loop(engine);
  const auto give_up = steady_clock::now() + patience;
  while (session.state() != SessionState::closed && steady_clock::now() < give_up) ASSERT_TRUE(loop.turn());
  EXPECT_TRUE(has_ended);
  EXPECT_TRUE(got == text);
  engine.stop(0s);
  while (loop.turn() && steady_clock::now() < give_up) {
  }
  EXPECT_EQ(engine.state(), EngineState::stopped);
  EXPECT_GT(loop.waits(), 0) << "it slept between its turns";
}

TEST_F(Loopback, AnotherThreadsCallsWakeAForeignLoop) {
  const Listener listener = listen(echo_options());
  const Engine engine = Engine::embedded().value();
  std::atomic<bool> is_done{false};
  std::thread driver([&] {
    ForeignLoop loop(engine);
    while (!is_done.load()) loop.turn();
    while (loop.turn()) {
    }
  });
  const Session session = engine.connect(client_options(listener));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(echo(session, "turn " + std::to_string(i)), "turn " + std::to_string(i));
  is_done = true;
  engine.stop(0s);
  driver.join();
  EXPECT_EQ(engine.state(), EngineState::stopped);
}

}  // namespace
}  // namespace riffle::test
