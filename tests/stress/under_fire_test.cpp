// Engines that are destroyed, stopped and started while threads use everything that they own (ENG-1, ENG-3).
#include <atomic>
#include <memory>
#include <optional>
#include <thread>

#include "tests/stress/rig.hpp"

namespace riffle::stress {
namespace {

/// Whatever a thread may be told of a session that another one, the peer or the engine has ended.
bool is_an_end(const Error& error) {
  switch (error.code()) {
    case Code::closed:
    case Code::peer_closed:
    case Code::stream_reset:
    case Code::stream_stopped:
    case Code::stream_finished:
    case Code::timed_out:
    case Code::would_block:
    case Code::refused:
    case Code::unreachable:
      return true;
    default:
      return false;
  }
}

/// Uses a session until it is over.
void use(const Session& session, std::mt19937 random) {
  std::string text(20'000, '\0');
  const auto expect_end = [](const auto& result) {
    if (!result) {
      EXPECT_TRUE(is_an_end(result.error())) << result.error().message();
    }
  };
  for (std::uint32_t key = 0; session.state() != SessionState::closed; ++key) {
    auto stream = session.open();
    expect_end(stream);
    if (!stream) return;
    Text::fill(key, 0, text);
    expect_end(stream->write(Bytes::copy(text), random() % 4 == 0 ? Fin::no : fin, 5s));
    switch (random() % 6) {
      case 0:
        expect_end(stream->shutdown(Side::both, AppCode{1}));
        break;
      case 1:
        expect_end(session.stats(5s));
        break;
      case 2:
        expect_end(session.info(5s));
        break;
      case 3:
        expect_end(stream->wait_flushed(5s));
        break;
      default: {
        const auto got = stream->read(30'000, 1s);
        expect_end(got);
        if (got) {
          EXPECT_TRUE(Text::is(key, 0, got->data.view()));
        }
        break;
      }
    }
  }
}

TEST(UnderFire, EnginesEndWhileFourThreadsUseThem) {
  const std::uint32_t chosen = seed();
  std::mt19937 random(chosen);
  const Engine server = Engine::start().value();
  const Listener listener = server.listen(echo_options()).value();
  const auto end = Clock::now() + duration();
  int rounds = 0;
  for (; (Clock::now() < end || rounds < 3) && !testing::Test::HasFailure(); ++rounds) {
    std::optional<Engine> client = Engine::start().value();
    const Session session = client->connect(client_options(listener));
    if (random() % 4 != 0) {
      ASSERT_TRUE(session.wait_connected(patience));
    }
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i < 4; ++i) {
      threads.emplace_back([session, seed_of_thread = random()] {
        use(session, std::mt19937(static_cast<std::uint32_t>(seed_of_thread)));
      });
    }
    // Some work first: how much is up to chance.
    const std::uint64_t until = random() % 200;
    while (session.state() != SessionState::closed) {
      const auto stats = session.stats(5s);
      if (!stats || stats->session.streams_opened >= until) break;
    }
    switch (random() % 3) {
      case 0:
        break;
      case 1:
        client->stop(std::chrono::milliseconds(random() % 20));
        break;
      default:
        ASSERT_TRUE(session.close(AppCode{2}));
        break;
    }
    client.reset();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(session.state(), SessionState::closed);
  }
  std::printf("%d engines ended under fire\n", rounds);
}

TEST(UnderFire, AServersEngineEndsWhileClientsUseIt) {
  const std::uint32_t chosen = seed();
  std::mt19937 random(chosen);
  const Engine client = Engine::start().value();
  const auto end = Clock::now() + duration();
  int rounds = 0;
  for (; (Clock::now() < end || rounds < 3) && !testing::Test::HasFailure(); ++rounds) {
    std::optional<Engine> server = Engine::start().value();
    const Listener listener = server->listen(echo_options()).value();
    std::vector<std::thread> threads;
    std::vector<Session> sessions;
    for (int i = 0; i < 4; ++i) {
      sessions.push_back(client.connect(client_options(listener)));
      ASSERT_TRUE(sessions.back().wait_connected(patience));
      threads.emplace_back([session = sessions.back(), seed_of_thread = random()] {
        use(session, std::mt19937(static_cast<std::uint32_t>(seed_of_thread)));
      });
    }
    while (sessions[0].state() != SessionState::closed) {
      const auto stats = sessions[0].stats(5s);
      if (!stats || stats->session.streams_opened >= 20) break;
    }
    server.reset();
    // The close of a server that could send no more may not arrive: then the clients end it.
    for (const Session& session : sessions) {
      if (!session.wait_closed(1s)) {
        ASSERT_TRUE(session.close());
      }
    }
    for (std::thread& thread : threads) thread.join();
  }
  std::printf("%d servers ended under fire\n", rounds);
}

}  // namespace
}  // namespace riffle::stress
