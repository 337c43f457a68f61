// The epoll poller on pipes and socket pairs; both ways of waking, both ways of waiting (ENG-9, UDP-5).
#include "runtime/epoll_poller.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace riffle::runtime {
namespace {

using namespace std::chrono_literals;

constexpr Instant start{1000s};        // any instant: the poller only takes differences
constexpr Instant soon = start + 10s;  // a bound for a broken build; nothing waits for it to pass

class Watcher final : public Pollable {
 public:
  void on_ready(bool, bool) noexcept override {}
};

struct Pair {
  std::array<int, 2> ends{-1, -1};
  Pair() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0); }
  ~Pair() {
    close_end(0);
    close_end(1);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  int watched() const { return ends[0]; }
  void write_other() const { EXPECT_EQ(::write(ends[1], "x", 1), 1); }
  void read_watched() const {
    char byte;
    EXPECT_EQ(::read(ends[0], &byte, 1), 1);
  }
  void close_end(std::size_t end) {
    if (ends[end] >= 0) ::close(ends[end]);
    ends[end] = -1;
  }
};

bool is_readable(int handle) {
  pollfd entry{.fd = handle, .events = POLLIN, .revents = 0};
  return ::poll(&entry, 1, 0) == 1;
}

class EpollPollerTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    auto made = make_epoll_poller(GetParam());
    ASSERT_TRUE(made) << made.error().message();
    poller_ = std::move(*made);
  }
  std::unique_ptr<Poller> poller_;
  Watcher first_, second_;
};

TEST_P(EpollPollerTest, ReadableDescriptorsAreNamedByTheirOwner) {
  Pair a, b;
  ASSERT_TRUE(poller_->add(a.watched(), first_, true, false));
  ASSERT_TRUE(poller_->add(b.watched(), second_, true, false));
  b.write_other();
  auto ready = poller_->wait(soon, start);
  ASSERT_EQ(ready.size(), 1u);
  EXPECT_EQ(ready[0].owner, &second_);
  EXPECT_TRUE(ready[0].readable);
  EXPECT_FALSE(ready[0].writable);
  // Level-triggered: told again until it has been read.
  EXPECT_EQ(poller_->wait(soon, start).size(), 1u);
  b.read_watched();
  EXPECT_TRUE(poller_->wait(start, start).empty());
}

TEST_P(EpollPollerTest, ChangeTakesAndGivesInterest) {
  Pair pair;
  ASSERT_TRUE(poller_->add(pair.watched(), first_, true, false));
  EXPECT_TRUE(poller_->wait(start, start).empty());
  poller_->change(pair.watched(), first_, true, true);
  auto ready = poller_->wait(soon, start);
  ASSERT_EQ(ready.size(), 1u);
  EXPECT_TRUE(ready[0].writable);
  EXPECT_FALSE(ready[0].readable);
  poller_->change(pair.watched(), first_, false, false);
  pair.write_other();
  EXPECT_TRUE(poller_->wait(start, start).empty());
  poller_->change(pair.watched(), first_, true, false);
  EXPECT_EQ(poller_->wait(soon, start).size(), 1u);
}

// Otherwise a stream that does not read while its peer goes away would keep the loop from sleeping.
TEST_P(EpollPollerTest, AHangUpOfAPausedDescriptorDoesNotSpin) {
  Pair pair;
  ASSERT_TRUE(poller_->add(pair.watched(), first_, true, false));
  poller_->change(pair.watched(), first_, false, false);
  pair.close_end(1);
  EXPECT_TRUE(poller_->wait(start, start).empty());
  EXPECT_FALSE(is_readable(poller_->fd()));  // a sleeping wait would go on sleeping
  poller_->change(pair.watched(), first_, true, false);
  auto ready = poller_->wait(soon, start);
  ASSERT_EQ(ready.size(), 1u);
  EXPECT_TRUE(ready[0].readable);
}

TEST_P(EpollPollerTest, AHangUpIsToldAsWhatTheOwnerWaitsFor) {
  Pair pair;
  ASSERT_TRUE(poller_->add(pair.watched(), first_, false, true));
  pair.close_end(1);
  auto ready = poller_->wait(soon, start);
  ASSERT_EQ(ready.size(), 1u);
  EXPECT_TRUE(ready[0].writable);
  EXPECT_FALSE(ready[0].readable);
}

TEST_P(EpollPollerTest, RemovalDuringDispatchBlanksLaterEntries) {
  Pair a, b;
  ASSERT_TRUE(poller_->add(a.watched(), first_, true, false));
  ASSERT_TRUE(poller_->add(b.watched(), second_, true, false));
  a.write_other();
  b.write_other();
  auto ready = poller_->wait(soon, start);
  ASSERT_EQ(ready.size(), 2u);
  const bool first_is_ahead = ready[0].owner == &first_;
  poller_->remove(first_is_ahead ? b.watched() : a.watched());
  EXPECT_NE(ready[0].owner, nullptr);
  EXPECT_EQ(ready[1].owner, nullptr);
  EXPECT_FALSE(ready[1].readable);
  EXPECT_EQ(poller_->wait(soon, start).size(), 1u);
}

TEST_P(EpollPollerTest, ARemovedDescriptorCanBeAddedByAnotherOwner) {
  Pair pair;
  ASSERT_TRUE(poller_->add(pair.watched(), first_, true, false));
  poller_->remove(pair.watched());
  poller_->remove(pair.watched());  // twice is no harm
  ASSERT_TRUE(poller_->add(pair.watched(), second_, true, false));
  pair.write_other();
  EXPECT_EQ(poller_->wait(soon, start)[0].owner, &second_);
}

TEST_P(EpollPollerTest, AWakeBeforeTheWaitEndsIt) {
  poller_->wake();
  poller_->wake();
  EXPECT_TRUE(is_readable(poller_->fd()));
  EXPECT_TRUE(poller_->wait(never, start).empty());
  EXPECT_FALSE(is_readable(poller_->fd()));  // both wakes are used up
}

TEST_P(EpollPollerTest, EachWakeFromAnotherThreadEndsAWait) {
  for (int round = 0; round < 200; ++round) {
    std::jthread other([this] { poller_->wake(); });
    EXPECT_TRUE(poller_->wait(never, start).empty());
  }
}

TEST_P(EpollPollerTest, MoreWakesThanAPipeHoldsAreOneWake) {
  for (int i = 0; i < 20'000; ++i) poller_->wake();  // a pipe holds 8,192 of 8 bytes
  EXPECT_TRUE(poller_->wait(never, start).empty());
  EXPECT_TRUE(poller_->wait(start, start).empty());
  EXPECT_FALSE(is_readable(poller_->fd()));
  poller_->wake();
  EXPECT_TRUE(is_readable(poller_->fd()));
}

// ENG-9
TEST_P(EpollPollerTest, AForeignLoopSeesWhenThereIsSomethingToDo) {
  Pair pair;
  ASSERT_TRUE(poller_->add(pair.watched(), first_, true, false));
  EXPECT_FALSE(is_readable(poller_->fd()));
  pair.write_other();
  EXPECT_TRUE(is_readable(poller_->fd()));
  pair.read_watched();
  EXPECT_FALSE(is_readable(poller_->fd()));
}

TEST_P(EpollPollerTest, TheDeadlineIsKeptToTheMicrosecond) {
  const auto before = std::chrono::steady_clock::now();
  EXPECT_TRUE(poller_->wait(before + 300us, before).empty());
  const auto waited = std::chrono::steady_clock::now() - before;
  EXPECT_GE(waited, 300us);
  EXPECT_TRUE(poller_->wait(start - 5s, start).empty());  // a deadline that has passed
}

TEST_P(EpollPollerTest, MoreThanOneTakeOfEventsIsFair) {
  std::vector<std::unique_ptr<Pair>> pairs;
  std::vector<Watcher> owners(300);
  for (Watcher& owner : owners) {
    pairs.push_back(std::make_unique<Pair>());
    ASSERT_TRUE(poller_->add(pairs.back()->watched(), owner, true, false));
    pairs.back()->write_other();
  }
  std::vector<bool> seen(owners.size());
  for (int take = 0; take < 2; ++take) {
    for (const Ready& ready : poller_->wait(soon, start)) {
      seen[static_cast<std::size_t>(static_cast<Watcher*>(ready.owner) - owners.data())] = true;
    }
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), 300);
}

TEST_P(EpollPollerTest, ADescriptorThatCannotBeWatchedIsAnError) {
  const int closed = ::dup(0);
  ::close(closed);
  const auto added = poller_->add(closed, first_, true, false);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code(), Code::system_error);
  EXPECT_EQ(added.error().system(), EBADF);
}

INSTANTIATE_TEST_SUITE_P(Wakes, EpollPollerTest, testing::Bool(),
                         [](const auto& way) { return way.param ? "Eventfd" : "Pipe"; });

// Faults of the system and older kernels.
struct Kernel {
  int last_timeout_ms = -2;
  int events = 0;
  int error = 0;
};
Kernel kernel;

EpollCalls old_kernel() {
  EpollCalls calls = EpollCalls::real();
  calls.epoll_pwait2 = [](int, epoll_event*, int, const timespec*, const sigset_t*) {
    errno = ENOSYS;
    return -1;
  };
  calls.epoll_wait = [](int epoll, epoll_event* events, int most, int timeout_ms) {
    kernel.last_timeout_ms = timeout_ms;
    return ::epoll_wait(epoll, events, most, 0);
  };
  return calls;
}

TEST(EpollPollerFaults, WithoutPwait2MillisecondsAreRoundedUp) {
  static const EpollCalls calls = old_kernel();
  kernel = {};
  auto poller = std::move(*make_epoll_poller(true, calls));
  poller->wait(start + 1us, start);
  EXPECT_EQ(kernel.last_timeout_ms, 1);
  poller->wait(start + 2ms, start);
  EXPECT_EQ(kernel.last_timeout_ms, 2);
  poller->wait(start, start);
  EXPECT_EQ(kernel.last_timeout_ms, 0);
  poller->wait(never, start);
  EXPECT_EQ(kernel.last_timeout_ms, -1);
  poller->wait(start + 24h * 365, start);
  EXPECT_EQ(kernel.last_timeout_ms, std::numeric_limits<int>::max());
  poller->wake();
  EXPECT_TRUE(is_readable(poller->fd()));
}

TEST(EpollPollerFaults, ASignalEndsTheWaitWithNothing) {
  static EpollCalls calls;
  calls = EpollCalls::real();
  calls.epoll_pwait2 = [](int, epoll_event*, int, const timespec*, const sigset_t*) {
    errno = EINTR;
    return -1;
  };
  auto poller = std::move(*make_epoll_poller(true, calls));
  poller->wake();
  EXPECT_TRUE(poller->wait(never, start).empty());
}

TEST(EpollPollerFaults, DescriptorsThatHaveRunOutAreSaid) {
  static EpollCalls calls;
  calls = EpollCalls::real();
  const auto refused = [](bool eventfd) {
    auto made = make_epoll_poller(eventfd, calls);
    EXPECT_FALSE(made);
    return made ? Code::internal : made.error().code();
  };
  calls.eventfd = [](unsigned, int) {
    errno = EMFILE;
    return -1;
  };
  EXPECT_EQ(refused(true), Code::descriptors_exhausted);
  calls.pipe2 = [](int*, int) {
    errno = ENFILE;
    return -1;
  };
  EXPECT_EQ(refused(false), Code::descriptors_exhausted);
  calls.epoll_create1 = [](int) {
    errno = EMFILE;
    return -1;
  };
  EXPECT_EQ(refused(true), Code::descriptors_exhausted);
}

TEST(EpollPollerFaults, WatchesThatHaveRunOutAreSaid) {
  static EpollCalls calls;
  calls = EpollCalls::real();
  auto poller = std::move(*make_epoll_poller(true, calls));
  calls.epoll_ctl = [](int, int, int, epoll_event*) {
    errno = ENOSPC;
    return -1;
  };
  Pair pair;
  Watcher owner;
  const auto added = poller->add(pair.watched(), owner, true, false);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code(), Code::descriptors_exhausted);
}

TEST(EpollPollerDeath, ChangingWhatWasNotAddedTraps) {
  auto poller = std::move(*make_epoll_poller());
  Watcher owner;
  EXPECT_DEATH(poller->change(0, owner, true, true), "not added");
}

}  // namespace
}  // namespace riffle::runtime
