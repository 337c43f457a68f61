// Where an application's thread sleeps (ENG-3; design/streams.md).
#include "runtime/parker.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace riffle::runtime {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

TEST(Parker, AWakeBeforeTheSleepIsNotLost) {
  Parker parker;
  parker.wake();
  EXPECT_TRUE(parker.sleep_until(steady_clock::now() + hours(1)));
}

TEST(Parker, SeveralWakesAreOneToken) {
  Parker parker;
  for (int i = 0; i < 5; ++i) parker.wake();
  EXPECT_TRUE(parker.sleep_until(steady_clock::now() + hours(1)));
  EXPECT_FALSE(parker.sleep_until(steady_clock::now()));
}

TEST(Parker, ADeadlineThatPassesIsTold) {
  Parker parker;
  const auto deadline = steady_clock::now() + milliseconds(20);
  EXPECT_FALSE(parker.sleep_until(deadline));
  EXPECT_GE(steady_clock::now(), deadline);
}

TEST(Parker, ADeadlineInThePastStillTakesAPendingWake) {
  Parker parker;
  parker.wake();
  EXPECT_TRUE(parker.sleep_until(steady_clock::time_point{}));
  EXPECT_FALSE(parker.sleep_until(steady_clock::time_point{}));
}

TEST(Parker, AnotherThreadWakesASleeper) {
  Parker parker;
  std::thread waker([&] { parker.wake(); });
  parker.sleep();
  waker.join();
  EXPECT_FALSE(parker.sleep_until(steady_clock::time_point{}));
}

TEST(Parker, EachThreadHasItsOwn) {
  Parker* const mine = &Parker::of_this_thread();
  Parker* other = nullptr;
  std::thread([&] { other = &Parker::of_this_thread(); }).join();
  EXPECT_EQ(mine, &Parker::of_this_thread());
  EXPECT_NE(mine, other);
}

TEST(Parker, NoWakeIsLostOverManyRounds) {
  // A ball goes to and fro: a lost wake would hang the game, and the hour would end it as a failure.
  constexpr int rounds = 20'000;
  Parker ping;
  Parker pong;
  std::atomic<int> missed{0};
  std::thread other([&] {
    for (int i = 0; i < rounds; ++i) {
      if (!pong.sleep_until(steady_clock::now() + hours(1))) ++missed;
      ping.wake();
    }
  });
  for (int i = 0; i < rounds; ++i) {
    pong.wake();
    if (!ping.sleep_until(steady_clock::now() + hours(1))) ++missed;
  }
  other.join();
  EXPECT_EQ(missed.load(), 0);
}

TEST(DeadlineAfter, ALongTimeoutDoesNotOverflow) {
  EXPECT_EQ(deadline_after(std::chrono::nanoseconds::max()), steady_clock::time_point::max());
  const auto before = steady_clock::now();
  EXPECT_GE(deadline_after(milliseconds(5)), before + milliseconds(5));
  EXPECT_GE(deadline_after(std::chrono::nanoseconds(0)), before);
}

}  // namespace
}  // namespace riffle::runtime
