#include <riffle/bytes.hpp>

#include <gtest/gtest.h>
#include <pthread.h>

#include <string>

#include "base/thread_token.hpp"

namespace riffle {
namespace {

TEST(Bytes, CopyIsItsOwnMemory) {
  std::string text = "some text";
  const Bytes bytes = Bytes::copy(text);
  text = "other";
  EXPECT_EQ(bytes.view(), "some text");
  EXPECT_TRUE(Bytes::copy("").empty());
  EXPECT_TRUE(Bytes::adopt("").empty());
  EXPECT_FALSE(Bytes().is_unique());
}

TEST(Bytes, AdoptTakesTheStorageOver) {
  std::string text(1000, 'a');
  const char* const where = text.data();
  const Bytes bytes = Bytes::adopt(std::move(text));
  EXPECT_EQ(reinterpret_cast<const char*>(bytes.data()), where);
  EXPECT_EQ(bytes.size(), 1000u);
}

TEST(Bytes, LendReleasesOnceWithTheLastCopy) {
  int released = 0;
  {
    Bytes copy;
    {
      const Bytes bytes = Bytes::lend("lent", 4, [](void* count) noexcept { ++*static_cast<int*>(count); }, &released);
      copy = bytes;
      EXPECT_FALSE(bytes.is_unique());
    }
    EXPECT_TRUE(copy.is_unique());
    EXPECT_EQ(released, 0);
    EXPECT_EQ(copy.view(), "lent");
  }
  EXPECT_EQ(released, 1);
  const Bytes forever = Bytes::lend("static", 6, nullptr, nullptr);
  EXPECT_EQ(forever.view(), "static");
}

TEST(Bytes, SliceSharesAndIsClamped) {
  Bytes slice;
  {
    const Bytes bytes = Bytes::copy("0123456789");
    slice = bytes.slice(2, 3);
    EXPECT_EQ(bytes.slice(8, 10).view(), "89");
    EXPECT_EQ(bytes.slice(10, 1).size(), 0u);
    EXPECT_EQ(bytes.slice(99, 1).size(), 0u);
  }
  EXPECT_EQ(slice.view(), "234");
}

TEST(Bytes, MovingLeavesNothing) {
  Bytes from = Bytes::copy("x");
  const Bytes to = std::move(from);
  EXPECT_TRUE(from.empty());  // NOLINT: what is left is stated
  EXPECT_EQ(to.view(), "x");
  Bytes whole = Bytes::copy("y");
  Block* const owner = whole.detach();
  EXPECT_TRUE(whole.empty());
  owner->release();
}

// ENG-2: a call from another thread is trapped in every build type.
TEST(ThreadTokenDeathTest, ATouchByAnotherThreadIsTrapped) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  base::OwnedByThread owned;
  owned.check();
  EXPECT_DEATH(
      {
        struct Other {
          static void* run(void* object) {
            static_cast<base::OwnedByThread*>(object)->check();
            return nullptr;
          }
        };
        pthread_t thread{};
        pthread_create(&thread, nullptr, &Other::run, &owned);
        pthread_join(thread, nullptr);
      },
      "does not own it");
  EXPECT_TRUE(base::ThreadToken::current());
  EXPECT_FALSE(base::ThreadToken());
  EXPECT_EQ(base::ThreadToken::current(), base::ThreadToken::current());
}

}  // namespace
}  // namespace riffle
