// The read path, single-threaded, point by point (design/streams.md, "Reading"; quoted as RD-n).
#include "meet/read_path.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace riffle::meet {
namespace {

using Wait = ReadPath::Wait;

struct Counting final : Wakeable {
  void wake() noexcept override { ++count; }
  int count = 0;
};

/// As the loop does it: never more than fits.
std::size_t append(ReadPath& path, std::string_view bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const std::uint64_t free = path.free_room();
    if (free == 0) break;
    const auto room = path.tail_room(std::min<std::size_t>(free, bytes.size() - done));
    EXPECT_GE(room.size(), 1u);
    std::memcpy(room.data(), bytes.data() + done, room.size());
    path.publish(room.size());
    done += room.size();
  }
  return done;
}
std::string take(ReadPath& path, std::size_t max) {
  Bytes bytes;
  return path.take(max, bytes) == Taken::data ? std::string(bytes.view()) : std::string();
}
std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 131 + i / 251);
  return text;
}
void acquire(ReadPath& path) {
  bool word = false;
  ASSERT_EQ(path.acquire(word), Taken::data);
  ASSERT_FALSE(word);
}

// RD-3, RD-4, RD-6: bytes go through slabs of growing size, in order, lent or copied; never more than fits.
TEST(ReadPath, CarriesBytesInOrderWithinItsCapacity) {
  ReadPath path(50'000);
  const std::string data = pattern(300'000);
  std::size_t in = 0;
  std::string out;
  acquire(path);
  for (int turn = 0; out.size() < data.size(); ++turn) {
    in += append(path, std::string_view(data).substr(in));
    EXPECT_LE(path.held_bytes(), 50'000u);
    EXPECT_EQ(path.free_room(), 50'000 - path.held_bytes());
    if (turn % 2 == 0) {
      out += take(path, 7'777);
    } else {
      std::string to(9'999, '\0');
      std::size_t size = 0;
      ASSERT_EQ(path.take_into(std::as_writable_bytes(std::span(to)), size), Taken::data);
      out.append(to, 0, size);
    }
  }
  EXPECT_TRUE(out == data);
  EXPECT_TRUE(path.is_empty());
  EXPECT_EQ(path.consumed_bytes(), data.size());
  std::string none(1, '\0');
  std::size_t size = 0;
  EXPECT_EQ(path.take_into(std::as_writable_bytes(std::span(none)), size), Taken::nothing);
}

// RD-4: a list that holds nothing yet begins small.
TEST(ReadPath, BeginsWithASmallSlab) {
  ReadPath path(100'000);
  EXPECT_LE(path.tail_room(100).size(), 100u);
  ReadPath bulk(100'000);
  EXPECT_GT(bulk.tail_room(100'000).size(), 8'000u);
}

// RD-15: a filled slab is taken over without a copy when it begins at 0, else copied.
TEST(ReadPath, TakesADonatedSlabOver) {
  ReadPath path(100'000);
  append(path, "first ");
  base::Slab* whole = base::Slab::make(10'000);
  std::memcpy(whole->data(), "second ", 7);
  path.donate(whole, 0, 7);
  base::Slab* part = base::Slab::make(10'000);
  std::memcpy(part->data() + 5, "third", 5);
  path.donate(part, 5, 5);
  append(path, " fourth");
  acquire(path);
  std::string out;
  for (std::string piece = take(path, 100); !piece.empty(); piece = take(path, 100)) out += piece;
  EXPECT_EQ(out, "first second third fourth");
}

// RD-15: what went past the list counts as produced and consumed.
TEST(ReadPath, PassesThrough) {
  ReadPath path(100);
  path.pass_through(1000);
  EXPECT_TRUE(path.is_empty());
  EXPECT_EQ(path.free_room(), 100u);
  EXPECT_EQ(path.produced_bytes(), 1000u);
}

// RD-5, RD-6, RD-7: a full list parks; the reader is told to say so when half of the capacity is free, not before.
TEST(ReadPath, AsksForARefillAtHalfTheCapacity) {
  ReadPath path(1000);
  EXPECT_EQ(append(path, std::string(2000, 'x')), 1000u);
  EXPECT_FALSE(path.wants_refill());
  EXPECT_TRUE(path.park());
  acquire(path);
  take(path, 499);
  EXPECT_FALSE(path.wants_refill());
  take(path, 1);
  EXPECT_TRUE(path.wants_refill());
  EXPECT_TRUE(path.wants_refill()) << "repeating it does no harm";
  path.unpark();
  EXPECT_FALSE(path.wants_refill());
}

// RD-5: a reader that has drained it meanwhile needs no notice: go on at once.
TEST(ReadPath, DoesNotParkOnceTheReaderHasMadeRoom) {
  ReadPath path(1000);
  append(path, std::string(1000, 'x'));
  acquire(path);
  for (int i = 0; i < 10; ++i) take(path, 1000);
  EXPECT_FALSE(path.park());
  EXPECT_FALSE(path.wants_refill());
}

// ENG-10: a list that the engine's budget stopped, far from full, asks when half of what it holds was read.
TEST(ReadPath, AListThatABudgetStoppedAsksToo) {
  ReadPath path(1'000'000);
  append(path, std::string(4096, 'x'));
  EXPECT_TRUE(path.park());
  acquire(path);
  take(path, 2047);
  EXPECT_FALSE(path.wants_refill());
  take(path, 1);
  EXPECT_TRUE(path.wants_refill());
}

// RD-9: one consumer at a time; ACTIVE excludes readers; the role is given back.
TEST(ReadPath, AdmitsOneConsumer) {
  ReadPath path(100);
  bool word = false;
  EXPECT_EQ(path.acquire(word), Taken::data);
  EXPECT_EQ(path.acquire(word), Taken::concurrent_read);
  path.set_active(true);
  EXPECT_TRUE(path.is_active());
  EXPECT_EQ(path.acquire(word), Taken::wrong_mode);
  EXPECT_FALSE(path.release());
  EXPECT_EQ(path.acquire(word), Taken::wrong_mode) << "nobody has the role, but its mode is active";
  EXPECT_FALSE(word);
  path.set_active(false);
  EXPECT_EQ(path.acquire(word), Taken::data);
}

// RD-10, RD-14: a loop that finds the role taken leaves word; whoever gives it back passes the word on, once.
TEST(ReadPath, LeavesWordWithTheOneWhoHasTheRole) {
  ReadPath path(100);
  acquire(path);
  EXPECT_FALSE(path.take_role_or_leave_word());
  EXPECT_TRUE(path.release());
  EXPECT_TRUE(path.take_role_or_leave_word());
  EXPECT_FALSE(path.release()) << "the word was passed on already";
}

// RD-11, RD-12: a waiter is woken by whoever clears WAITER, exactly once.
TEST(ReadPath, WakesAWaiterOnce) {
  ReadPath path(100);
  Counting waker, second;
  EXPECT_EQ(path.take_waiter(), nullptr);
  EXPECT_EQ(path.begin_wait(waker), Wait::sleep);
  EXPECT_TRUE(path.has_waiter());
  EXPECT_EQ(path.begin_wait(second), Wait::concurrent_read);
  append(path, "x");
  EXPECT_EQ(path.take_waiter(), &waker);
  EXPECT_EQ(path.take_waiter(), nullptr);
  EXPECT_FALSE(path.cancel_wait()) << "the wake is on its way";
  path.end_wait();
  EXPECT_EQ(path.begin_wait(second), Wait::again) << "there is something to read";
  EXPECT_FALSE(path.has_waiter());
}

TEST(ReadPath, AWaitMayBeGivenUp) {
  ReadPath path(100);
  Counting waker;
  EXPECT_EQ(path.begin_wait(waker), Wait::sleep);
  EXPECT_TRUE(path.cancel_wait());
  EXPECT_EQ(path.take_waiter(), nullptr);
  EXPECT_EQ(path.begin_wait(waker), Wait::sleep);
  EXPECT_TRUE(path.cancel_wait());
}

// RD-11: ready are data, any end, and the active mode.
TEST(ReadPath, NobodySleepsOnAnEndOrOnAnActiveStream) {
  Counting waker;
  for (const ReadEnd end : {ReadEnd::fin, ReadEnd::reset, ReadEnd::closed}) {
    ReadPath path(100);
    path.publish_end(end, 5);
    EXPECT_EQ(path.begin_wait(waker), Wait::again);
  }
  ReadPath path(100);
  path.set_active(true);
  EXPECT_EQ(path.begin_wait(waker), Wait::again);
}

// RD-17: the end stands behind the bytes, with its code; the first end counts.
TEST(ReadPath, TellsTheEndBehindTheBytes) {
  const std::pair<ReadEnd, Taken> ends[]{
      {ReadEnd::fin, Taken::end}, {ReadEnd::reset, Taken::reset}, {ReadEnd::closed, Taken::closed}};
  for (const auto& [end, told] : ends) {
    ReadPath path(100);
    append(path, "ab");
    path.publish_end(end, 99);
    path.publish_end(ReadEnd::closed, 1);
    EXPECT_EQ(path.end(), end);
    EXPECT_EQ(path.end_code(), 99u);
    acquire(path);
    EXPECT_FALSE(path.at_fin());
    EXPECT_EQ(take(path, 1), "a");
    EXPECT_FALSE(path.at_fin());
    EXPECT_EQ(take(path, 1), "b");
    EXPECT_EQ(path.at_fin(), end == ReadEnd::fin);
    Bytes bytes;
    EXPECT_EQ(path.take(1, bytes), told);
  }
}

// RD-18: after the fin the loop learns when all was read.
TEST(ReadPath, NoticesTheReaderOfTheLastByte) {
  ReadPath path(100);
  append(path, "abc");
  path.publish_end(ReadEnd::fin, 0);
  EXPECT_TRUE(path.notify_when_drained());
  acquire(path);
  take(path, 2);
  EXPECT_FALSE(path.wants_refill());
  take(path, 1);
  EXPECT_TRUE(path.wants_refill());
  EXPECT_FALSE(path.notify_when_drained());
}

// STR-5: lent bytes outlive their path.
TEST(ReadPath, LentBytesOutliveIt) {
  Bytes bytes;
  const std::string data = pattern(5000);
  {
    ReadPath path(10'000);
    append(path, data);
    acquire(path);
    ASSERT_EQ(path.take(2000, bytes), Taken::data);
  }
  EXPECT_EQ(bytes.view(), data.substr(0, 2000));
}

}  // namespace
}  // namespace riffle::meet
