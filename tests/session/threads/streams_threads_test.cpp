// Streams under many threads: readers against deliveries and switches, writers against each other, waiters that give
// up, handles that go (STR-3, STR-5, ENG-3, COR-3). Meant for ThreadSanitizer; byte-exact in any build.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <thread>

#include "tests/session/threads/loop_thread.hpp"

namespace riffle::test {
namespace {

using namespace std::chrono_literals;
constexpr auto patience = 30s;

void must_write(const AppStream& stream, std::string_view bytes, bool end, Sleeper& sleeper) {
  while (!stream.write(bytes, end)) {
    ASSERT_EQ(stream.write_state(), meet::WriteState::open);
    stream.meet().credit.want();
    stream.meet().session->credit.want();
    if (stream.meet().credit.left() > 0 && stream.meet().session->credit.left() > 0) continue;
    const auto answer = ask<bool>(stream.meet(), *stream.meet().session, meet::stream_wait,
                                  meet::Question::stream_writable, sleeper, patience);
    ASSERT_TRUE(answer) << "a writer was forgotten";
    ASSERT_FALSE(answer->error);
  }
}

/// One stream whose bytes a thread and the loop's handler take by turns. Whoever holds the role checks what it takes
/// against the model at the position that it has then.
struct Watched {
  std::string data;
  AppStream handle;
  std::atomic<bool> is_over{false};
  std::atomic<int> wrong{0};
  std::atomic<std::uint64_t> by_handler{0}, by_reader{0};

  void check(std::uint64_t end, std::string_view bytes) {
    if (data.compare(end - bytes.size(), bytes.size(), bytes) != 0) ++wrong;
  }
};

void read_and_switch(Watched& watched, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Sleeper sleeper;
  meet::StreamMeet& stream = watched.handle.meet();
  while (!watched.is_over.load()) {
    const auto dice = random() % 100;
    if (dice < 6) {
      const Delivery modes[]{active, passive, active_once, active_times(3)};
      watched.handle.set_delivery(modes[random() % 4]);
      continue;
    }
    bool word = false;
    meet::Taken taken = stream.reading.acquire(word);
    std::uint32_t bits = word ? std::uint32_t{meet::stream_deliver} : 0;
    if (taken == meet::Taken::data) {
      Bytes bytes;
      taken = stream.reading.take(1 + random() % 5000, bytes);
      if (taken == meet::Taken::data) {
        watched.check(stream.reading.consumed_bytes(), bytes.view());
        watched.by_reader += bytes.size();
      }
      if (taken == meet::Taken::end) watched.is_over = true;
      if (stream.reading.wants_refill()) bits |= meet::stream_refill;
      if (stream.reading.release()) bits |= meet::stream_deliver;
    }
    if (bits != 0) stream.session->loop->attend(stream, bits);
    if (taken == meet::Taken::wrong_mode && dice < 50) watched.handle.set_delivery(passive);
    if (taken != meet::Taken::nothing && taken != meet::Taken::wrong_mode) continue;
    // Wait, now and then with a deadline that passes.
    if (stream.reading.begin_wait(sleeper) != meet::ReadPath::Wait::sleep) continue;
    const auto limit = random() % 2 == 0 ? 50us : std::chrono::microseconds(2'000'000);
    if (!sleeper.sleep_for(limit)) {
      if (stream.reading.cancel_wait()) continue;
      sleeper.sleep();
    }
    stream.reading.end_wait();
  }
}

TEST(StreamsThreads, ReadersSwitchesAndDeliveriesLoseNothing) {
  constexpr std::size_t streams = 2, size = 1'500'000;
  RigOptions options;
  options.server.has_handler = true;
  options.server.delivery = passive;
  options.server.limits.receive_list = 30'000;
  options.server.grants.stream = 40'000;
  options.client.limits.send_credit = options.client.limits.send_credit_max = 50'000;
  std::array<Watched, streams> watched;
  std::counting_semaphore<> opened{0};
  {
    LoopThread loop(options, [&](Rig& rig) {
      rig.server.on_event = [&](const Event& event) {
        if (event.kind != Event::Kind::opened) return;
        watched[raw(event.stream) / 4].handle = rig.server.share(event.stream);
        opened.release();
      };
      rig.server.on_data = [&](StreamId id, const Bytes& bytes, bool end) {
        Watched& stream = watched[raw(id) / 4];
        stream.check(stream.handle.meet().reading.consumed_bytes(), bytes.view());
        stream.by_handler += bytes.size();
        if (end) stream.is_over = true;
      };
    });
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < streams; ++i) watched[i].data = random_bytes(size, i);
    std::array<AppStream, streams> ours;
    for (std::size_t i = 0; i < streams; ++i) {
      ours[i] = loop.client().open();
      ASSERT_TRUE(ours[i].write(watched[i].data.substr(0, 1)));
      opened.acquire();
    }
    for (std::size_t i = 0; i < streams; ++i) {
      threads.emplace_back([&, i] {
        Sleeper sleeper;
        std::mt19937_64 random(i);
        for (std::size_t done = 1; done < size;) {
          const std::size_t part = std::min<std::size_t>(1 + random() % 9'000, size - done);
          must_write(ours[i], std::string_view(watched[i].data).substr(done, part), done + part == size, sleeper);
          if (testing::Test::HasFatalFailure()) return;
          done += part;
        }
      });
      threads.emplace_back([&, i] { read_and_switch(watched[i], 77 + i); });
    }
    for (std::thread& thread : threads) thread.join();
    for (Watched& stream : watched) {
      EXPECT_EQ(stream.wrong.load(), 0);
      EXPECT_EQ(stream.by_handler.load() + stream.by_reader.load(), size);
      EXPECT_GT(stream.by_handler.load(), 0u);
      EXPECT_GT(stream.by_reader.load(), 0u);
    }
    for (Watched& stream : watched) stream.handle.drop();
  }
}

// Several writers on one stream: each write stays whole, each writer's writes stay in order.
TEST(StreamsThreads, WritesOfManyThreadsStayWholeAndInOrder) {
  struct Head {
    std::uint32_t thread, number, size;
  };
  constexpr std::uint32_t writers = 4, writes = 400;
  RigOptions options;
  options.server.has_handler = true;
  options.client.limits.send_credit = options.client.limits.send_credit_max = 20'000;
  options.client.limits.session_send_credit = 30'000;
  options.server.grants.stream = 30'000;
  std::string received;
  std::binary_semaphore done{0};
  LoopThread loop(options, [&](Rig& rig) {
    rig.server.on_data = [&](StreamId, const Bytes& bytes, bool end) {
      received += bytes.view();
      if (end) done.release();
    };
  });
  AppStream stream = loop.client().open();
  std::vector<std::thread> threads;
  for (std::uint32_t thread = 0; thread < writers; ++thread) {
    threads.emplace_back([&, thread] {
      Sleeper sleeper;
      std::mt19937_64 random(thread);
      for (std::uint32_t number = 0; number < writes; ++number) {
        const Head head{thread, number, static_cast<std::uint32_t>(random() % (number % 8 == 0 ? 12'000 : 300))};
        std::string record(sizeof head, '\0');
        std::memcpy(record.data(), &head, sizeof head);
        record += random_bytes(head.size, thread * 100'000 + number);
        must_write(stream, record, false, sleeper);
        if (testing::Test::HasFatalFailure()) return;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(stream.finish());
  ASSERT_TRUE(done.try_acquire_for(patience));
  std::array<std::uint32_t, writers> next{};
  std::size_t at = 0;
  while (at < received.size()) {
    Head head{};
    ASSERT_LE(at + sizeof head, received.size());
    std::memcpy(&head, received.data() + at, sizeof head);
    ASSERT_LT(head.thread, writers);
    ASSERT_EQ(head.number, next[head.thread]++);
    at += sizeof head;
    ASSERT_TRUE(received.compare(at, head.size, random_bytes(head.size, head.thread * 100'000 + head.number)) == 0);
    at += head.size;
  }
  for (const std::uint32_t count : next) EXPECT_EQ(count, writes);
}

// COR-3: waiters with deadlines, from many threads: each is answered or has given up; none is forgotten.
TEST(StreamsThreads, WaitersThatGiveUpRaceTheirAnswers) {
  RigOptions options;
  options.server.has_handler = true;
  std::atomic<int> answered{0}, abandoned{0};
  LoopThread loop(options, [](Rig&) {});
  std::vector<std::thread> threads;
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937_64 random(seed);
      Sleeper sleeper;
      AppStream stream = loop.client().open();
      meet::SessionMeet& session = loop.client().meet();
      for (int i = 0; i < 1500; ++i) {
        const std::chrono::microseconds limit(random() % 60);
        std::shared_ptr<void> answer;
        switch (random() % 4) {
          case 0:
            answer = ask<bool>(session, session, meet::session_wait, meet::Question::connected, sleeper, limit);
            break;
          case 1:
            answer = ask<bool>(session, session, meet::session_wait, meet::Question::session_closed, sleeper, limit);
            break;
          case 2:
            stream.write("x");
            answer =
                ask<bool>(stream.meet(), session, meet::stream_wait, meet::Question::stream_flushed, sleeper, limit);
            break;
          default:
            answer = ask<bool>(stream.meet(), session, meet::stream_wait, meet::Question::stream_open, sleeper, limit);
            break;
        }
        ++(answer ? answered : abandoned);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered + abandoned, 4500);
  EXPECT_GT(answered.load(), 0);
}

// Streams opened, written, accepted, read, shut down and dropped by threads at random; at last the session is closed
// under them. The books of both sides are even afterwards (Host::tear_down).
TEST(StreamsThreads, HandlesComeAndGoWhileTheSessionEnds) {
  RigOptions options;
  options.server.grants.streams_bidi = 20;
  std::atomic<int> released{0}, made{0};
  {
    LoopThread loop(options, [](Rig&) {});
    std::atomic<bool> stop{false};
    std::atomic<int> rounds{0};
    std::vector<std::thread> threads;
    for (std::uint64_t seed = 0; seed < 2; ++seed) {
      threads.emplace_back([&, seed] {
        std::mt19937_64 random(seed);
        Sleeper sleeper;
        const std::string text(6000, 'x');
        while (!stop.load()) {
          ++rounds;
          AppStream stream = loop.client().open();
          for (std::uint64_t i = random() % 5; i-- > 0;) {
            ++made;
            const Bytes bytes = Bytes::lend(
                text.data(), text.size(), [](void* count) noexcept { ++*static_cast<std::atomic<int>*>(count); },
                &released);
            stream.write(bytes, i == 0);
          }
          if (random() % 3 == 0) stream.shutdown(Side::both, 1);
          if (random() % 3 == 0) {
            ask<bool>(stream.meet(), *stream.meet().session, meet::stream_wait, meet::Question::stream_open, sleeper,
                      std::chrono::microseconds(random() % 500));
          }
        }
      });
      threads.emplace_back([&, seed] {
        std::mt19937_64 random(seed);
        Sleeper sleeper;
        meet::SessionMeet& session = loop.server().meet();
        while (!stop.load()) {
          auto answer = ask<Ref<meet::StreamMeet>>(session, session, meet::session_wait, meet::Question::accept_stream,
                                                   sleeper, std::chrono::microseconds(random() % 2000));
          if (!answer || !answer->value) continue;
          AppStream stream(std::exchange(*answer->value, {}));
          std::string got;
          if (random() % 2 == 0) stream.drain(got);
          if (random() % 2 == 0) stream.finish();
        }
      });
    }
    while (rounds.load() < 1500) std::this_thread::yield();
    loop.client().close(1, "enough");
    while (rounds.load() < 2000) std::this_thread::yield();
    stop = true;
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(made.load(), released.load());
}

}  // namespace
}  // namespace riffle::test
