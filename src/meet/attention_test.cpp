#include "meet/attention.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "meet/loop_link.hpp"
#include "meet/mailbox.hpp"

namespace riffle::meet {
namespace {

using Attended = AttentionList::Attended;

std::vector<AttentionNode*> all(AttentionNode* first) {
  std::vector<AttentionNode*> nodes;
  for (; first != nullptr; first = first->next) nodes.push_back(first);
  return nodes;
}

// ENG-3: an object is linked once, however many bits are set; the list keeps the order of arrival.
TEST(Attention, LinksEachObjectOnceInOrder) {
  AttentionList list;
  AttentionNode a, b;
  EXPECT_EQ(list.attend(a, 1), Attended::linked);
  EXPECT_EQ(list.attend(b, 1), Attended::linked);
  EXPECT_EQ(list.attend(a, 4), Attended::already);
  EXPECT_EQ(all(list.take()), (std::vector<AttentionNode*>{&a, &b}));
  EXPECT_EQ(list.take(), nullptr);
  EXPECT_EQ(AttentionList::take_bits(a), 5u);
  EXPECT_EQ(AttentionList::take_bits(a), 0u);
}

// Between the take and `take_bits` a poster finds the node still pending: its bits are seen, and it is not linked
// again.
TEST(Attention, BitsSetBehindTheTakeAreSeenWithIt) {
  AttentionList list;
  AttentionNode a;
  list.attend(a, 1);
  ASSERT_EQ(list.take(), &a);
  EXPECT_EQ(list.attend(a, 2), Attended::already);
  EXPECT_EQ(AttentionList::take_bits(a), 3u);
  EXPECT_EQ(list.attend(a, 8), Attended::linked) << "from now on it is linked anew";
  EXPECT_EQ(list.take(), &a);
}

// A poster that links into the list of a sleeping loop wakes it, and only the first one does.
TEST(Attention, TheFirstPosterWakesASleepingLoop) {
  AttentionList list;
  AttentionNode a, b;
  EXPECT_TRUE(list.fall_asleep());
  EXPECT_EQ(list.attend(a, 1), Attended::linked_asleep);
  EXPECT_EQ(list.attend(b, 1), Attended::linked);
  EXPECT_FALSE(list.fall_asleep()) << "there is work";
  list.take();
  EXPECT_TRUE(list.fall_asleep());
  list.awake();
  AttentionList::take_bits(a);
  EXPECT_EQ(list.attend(a, 1), Attended::linked);
}

// A loop that has ended takes nothing any more, also after a stray take.
TEST(Attention, AClosedListTakesNothing) {
  AttentionList list;
  AttentionNode a, b;
  list.attend(a, 1);
  EXPECT_FALSE(list.is_closed());
  EXPECT_EQ(list.close(), &a);
  EXPECT_TRUE(list.is_closed());
  EXPECT_EQ(list.take(), nullptr);
  EXPECT_TRUE(list.is_closed());
  EXPECT_EQ(list.close(), nullptr);
  EXPECT_TRUE(list.is_closed());
  EXPECT_EQ(list.attend(b, 1), Attended::closed);
}

struct Counting final : Wakeable {
  void wake() noexcept override { ++count; }
  int count = 0;
};
struct Object final : Attendee {
  explicit Object(bool& is_gone) : Attendee(AttendeeKind::stream), gone(is_gone) {}
  ~Object() override { gone = true; }
  bool& gone;
};

// Linking holds a reference; nothing is held when it was linked already, or when the loop has ended.
TEST(LoopLink, HoldsWhatIsLinked) {
  Counting waker;
  LoopLink& link = *new LoopLink(waker, nullptr);
  bool gone = false;
  auto* object = new Object(gone);
  EXPECT_TRUE(link.attend(*object, 1));
  EXPECT_TRUE(link.attend(*object, 2));
  EXPECT_EQ(waker.count, 0);
  object->release();
  EXPECT_FALSE(gone);
  ASSERT_EQ(link.list.take(), object);
  EXPECT_EQ(AttentionList::take_bits(*object), 3u);
  EXPECT_TRUE(link.list.fall_asleep());
  EXPECT_TRUE(link.attend(*object, 1));
  EXPECT_EQ(waker.count, 1);
  ASSERT_EQ(link.list.close(), object);
  EXPECT_FALSE(link.attend(*object, 4));
  AttentionList::take_bits(*object);
  EXPECT_FALSE(link.attend(*object, 4));
  object->release();
  EXPECT_FALSE(gone);
  object->release();
  EXPECT_TRUE(gone);
  link.release();
}

TEST(LoopLink, KnowsItsThread) {
  Counting waker;
  LoopLink& link = *new LoopLink(waker, nullptr);
  EXPECT_FALSE(link.is_loop_thread());
  link.bind_thread();
  EXPECT_TRUE(link.is_loop_thread());
  link.release();
}

struct Letter {
  int number = 0;
  Letter* next = nullptr;
};

TEST(Mailbox, KeepsTheOrderOfArrival) {
  Mailbox<Letter> box;
  EXPECT_EQ(box.take(), nullptr);
  Letter letters[3]{{1}, {2}, {3}};
  EXPECT_TRUE(box.push(&letters[0]));
  EXPECT_FALSE(box.push(&letters[1]));
  EXPECT_FALSE(box.push(&letters[2]));
  int expected = 1;
  for (Letter* letter = box.take(); letter != nullptr; letter = letter->next) EXPECT_EQ(letter->number, expected++);
  EXPECT_EQ(expected, 4);
  EXPECT_EQ(box.take(), nullptr);
}

}  // namespace
}  // namespace riffle::meet
