#include "meet/credit.hpp"

#include <gtest/gtest.h>

#include "meet/asking.hpp"

namespace riffle::meet {
namespace {

// ENG-4, ENG-5: taken whole while there is any; without, nothing is taken and it is counted.
TEST(Credit, IsTakenWholeOrNotAtAll) {
  Credit credit(10);
  EXPECT_TRUE(credit.take(9));
  EXPECT_TRUE(credit.take(100));
  EXPECT_EQ(credit.left(), -99);
  EXPECT_FALSE(credit.take(1));
  EXPECT_EQ(credit.left(), -99);
  EXPECT_EQ(credit.times_blocked(), 1u);
  credit.give_back(99);
  EXPECT_FALSE(credit.take(1)) << "0 is none";
  credit.give_back(1);
  EXPECT_TRUE(credit.take(1));
}

TEST(Credit, IsTakenInPart) {
  Credit credit(10);
  EXPECT_EQ(credit.take_some(4), 4);
  EXPECT_EQ(credit.take_some(40), 6);
  EXPECT_EQ(credit.take_some(1), 0);
  EXPECT_EQ(credit.times_blocked(), 1u);
  credit.overdraw(5);
  EXPECT_EQ(credit.left(), -5);
  EXPECT_EQ(credit.take_some(1), 0);
}

// STR-7: writable is told once for each WANT, at the low mark: half of the limit.
TEST(Credit, TellsWantOnceAtTheLowMark) {
  Credit credit(10);
  EXPECT_TRUE(credit.take(10));
  EXPECT_FALSE(credit.take_want());
  credit.want();
  credit.give_back(4);
  EXPECT_FALSE(credit.take_want());
  credit.give_back(1);
  EXPECT_TRUE(credit.is_above_low_mark());
  EXPECT_TRUE(credit.take_want());
  EXPECT_FALSE(credit.take_want());
}

TEST(Credit, GrowsByItsLimit) {
  Credit credit(10);
  EXPECT_TRUE(credit.take(10));
  credit.raise_limit(25);
  EXPECT_EQ(credit.left(), 15);
  EXPECT_EQ(credit.limit(), 25);
}

struct Counting final : Wakeable {
  void wake() noexcept override { ++count; }
  int count = 0;
};

// COR-3: either the loop answers or the caller gives up; each once.
TEST(Asking, IsAnsweredOrAbandonedButNotBoth) {
  Counting waker;
  auto answered = Held<AskingFor<int>>::adopt(new AskingFor<int>(Question::connected));
  answered->waiter = &waker;
  EXPECT_TRUE(answered->answer());
  EXPECT_EQ(waker.count, 1);
  EXPECT_FALSE(answered->answer());
  EXPECT_FALSE(answered->abandon()) << "the caller must wait for its wake";
  EXPECT_EQ(waker.count, 1);
  EXPECT_FALSE(answered->is_abandoned());

  auto abandoned = Held<AskingFor<int>>::adopt(new AskingFor<int>(Question::connected));
  abandoned->waiter = &waker;
  EXPECT_TRUE(abandoned->abandon());
  EXPECT_TRUE(abandoned->is_abandoned());
  EXPECT_FALSE(abandoned->answer());
  EXPECT_EQ(waker.count, 1);
}

TEST(Asking, NodesLeftInABoxAreReleased) {
  Mailbox<Asking> box;
  auto held = Held<AskingFor<int>>::adopt(new AskingFor<int>(Question::connected));
  held->retain();
  box.push(held.get());
  box.push(new AskingFor<int>(Question::connected));  // the leak checker sees whether it goes
  release_all(box);
  EXPECT_EQ(box.take(), nullptr);
}

}  // namespace
}  // namespace riffle::meet
