// One cycle of a loop, step by step, over scripted machines and a scripted poller (law 5; architecture, "One cycle of a
// loop").
#include "runtime/loop.hpp"

#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace {

/// Every read of the clock by this thread comes through here: the executable's definition comes before libc's.
thread_local int clock_reads = 0;

}  // namespace

extern "C" __attribute__((no_sanitize("address", "thread", "undefined"), visibility("default"))) int clock_gettime(
    clockid_t id, timespec* to) noexcept {
  ++clock_reads;
  return static_cast<int>(syscall(SYS_clock_gettime, id, to));
}

namespace riffle::runtime {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Log = std::vector<std::string>;

class ScriptedPoller final : public Poller {
 public:
  explicit ScriptedPoller(Log& log) : log_(log) {}
  Result<void> add(int, Pollable&, bool, bool) override { return {}; }
  void change(int, Pollable&, bool, bool) noexcept override {}
  void remove(int) noexcept override {}
  std::span<const Ready> wait(Instant deadline, Instant now) noexcept override {
    measured_from = now;
    log_.emplace_back(deadline == Instant{} ? "look" : "wait");
    waited_until = deadline;
    if (while_waiting) std::exchange(while_waiting, nullptr)();
    given_ = std::exchange(ready, {});
    return given_;
  }
  void wake() noexcept override { ++wakes; }
  int fd() const noexcept override { return -1; }

  std::vector<Ready> ready;  ///< what the next wait returns
  std::function<void()> while_waiting;
  Instant waited_until{};
  Instant measured_from{};
  int wakes = 0;

 private:
  Log& log_;
  std::vector<Ready> given_;
};

class ScriptedMachine final : public Machine {
 public:
  ScriptedMachine(std::string name, Log& log) : name_(std::move(name)), log_(log) {}
  void on_deadline(Instant now) override {
    log_.push_back(name_ + ".deadline");
    seen.push_back(now);
    deadline = never;
  }
  void run_actions(Instant now) override {
    log_.push_back(name_ + ".actions");
    seen.push_back(now);
    if (in_actions) in_actions();
  }
  bool transmit(Instant now) override {
    log_.push_back(name_ + ".transmit");
    seen.push_back(now);
    if (in_transmit) in_transmit();
    return has_more;
  }
  Instant next_deadline() const noexcept override { return deadline; }
  bool has_work() const noexcept override { return work; }

  std::function<void()> in_actions;
  std::function<void()> in_transmit;
  std::vector<Instant> seen;
  Instant deadline = never;
  bool has_more = false;
  bool work = false;

 private:
  std::string name_;
  Log& log_;
};

class Socket final : public Pollable {
 public:
  explicit Socket(std::function<void()> action) : action_(std::move(action)) {}
  void on_ready(bool, bool) noexcept override { action_(); }

 private:
  std::function<void()> action_;
};

class Target final : public meet::Attendee {
 public:
  Target() : Attendee(meet::AttendeeKind::engine) {}
};

class LoopTest : public testing::Test, private LoopOwner {
 protected:
  LoopTest()
      : poller(log),
        link(meet::Held<meet::LoopLink>::adopt(new meet::LoopLink(poller, nullptr))),
        loop(poller, *link, *this) {}
  Log take_log() { return std::exchange(log, {}); }

  Log log;
  ScriptedPoller poller;
  meet::Held<meet::LoopLink> link;
  Loop loop;
  ScriptedMachine first{"first", log};
  ScriptedMachine second{"second", log};
  meet::Held<Target> target = meet::Held<Target>::adopt(new Target);
  meet::Held<Target> other = meet::Held<Target>::adopt(new Target);
  std::function<void(std::uint32_t)> in_attention;

 private:
  void on_attention(meet::Attendee& attendee, std::uint32_t bits, Instant) override {
    log.push_back((&attendee == target.get() ? "target:" : "other:") + std::to_string(bits));
    if (in_attention) in_attention(bits);
  }
  void on_released(Instant) override { log.emplace_back("released"); }
  void on_cycle_end(Instant) override { log.emplace_back("end"); }
};

TEST_F(LoopTest, ACycleRunsItsStepsInOrder) {
  first.deadline = steady_clock::now() - milliseconds(1);
  loop.mark_dirty(first);
  loop.run_cycle(Instant{});  // arms its deadline
  take_log();

  Socket socket([&] {
    log.emplace_back("input");
    loop.mark_dirty(second);
  });
  poller.ready = {{.owner = &socket, .readable = true, .writable = false}, {.owner = nullptr}};
  link->attend(*target, 1);
  link->attend(*other, 4);
  link->attend(*target, 2);
  loop.run_cycle(never);
  EXPECT_EQ(take_log(), (Log{"look", "target:3", "other:4", "input", "first.deadline", "released", "second.actions",
                             "first.actions", "second.transmit", "first.transmit", "end"}));
}

TEST_F(LoopTest, ACycleReadsTheClockOnce) {
  loop.mark_dirty(first);
  loop.mark_dirty(second);
  link->attend(*target, 1);
  first.deadline = steady_clock::now() + hours(1);
  const int before = clock_reads;
  loop.run_cycle(never);
  EXPECT_EQ(clock_reads - before, 1);
  for (const ScriptedMachine* machine : {&first, &second}) {
    for (const Instant seen : machine->seen) EXPECT_EQ(seen, loop.now());
  }
}

TEST_F(LoopTest, AMachineThatIsMarkedTwiceRunsOnce) {
  loop.mark_dirty(first);
  loop.mark_dirty(first);
  loop.run_cycle(never);
  EXPECT_EQ(take_log(), (Log{"look", "released", "first.actions", "first.transmit", "end"}));
}

TEST_F(LoopTest, WhatIsLeftToSendStaysDirtyAndTheNextCycleDoesNotWait) {
  first.has_more = true;
  loop.mark_dirty(first);
  loop.run_cycle(never);
  EXPECT_EQ(loop.deadline(), Instant{});
  take_log();
  first.has_more = false;
  loop.run_cycle(never);
  EXPECT_EQ(take_log(), (Log{"look", "released", "first.actions", "first.transmit", "end"}));
  EXPECT_EQ(loop.deadline(), never);
  loop.run_cycle(never);
  EXPECT_EQ(take_log(), (Log{"wait", "released", "end"}));
}

TEST_F(LoopTest, AMachineThatHasWorkOfItsOwnRunsAgain) {
  first.work = true;
  loop.mark_dirty(first);
  loop.run_cycle(never);
  take_log();
  first.work = false;
  loop.run_cycle(never);
  EXPECT_EQ(take_log(), (Log{"look", "released", "first.actions", "first.transmit", "end"}));
}

TEST_F(LoopTest, AMachineThatAnotherMarksInItsActionsRunsInTheNextCycle) {
  first.in_actions = [&] { loop.mark_dirty(second); };
  loop.mark_dirty(first);
  loop.run_cycle(never);
  take_log();
  loop.run_cycle(never);
  EXPECT_EQ(take_log(), (Log{"look", "released", "second.actions", "second.transmit", "end"}));
}

TEST_F(LoopTest, AMachineThatMarksItselfWhileItSendsIsNotLost) {
  first.in_transmit = [&] {
    loop.mark_dirty(first);
    loop.mark_dirty(second);
  };
  loop.mark_dirty(first);
  loop.run_cycle(never);
  first.in_transmit = nullptr;
  take_log();
  loop.run_cycle(never);
  EXPECT_EQ(take_log(),
            (Log{"look", "released", "first.actions", "second.actions", "first.transmit", "second.transmit", "end"}));
}

TEST_F(LoopTest, MoreInputMeansAnotherCycleAfterTheFlush) {
  Socket socket([&] { loop.expect_more_input(); });
  poller.ready = {{.owner = &socket, .readable = true, .writable = false}};
  loop.run_cycle(never);
  take_log();
  loop.run_cycle(never);
  EXPECT_EQ(take_log(), (Log{"look", "released", "end"}));
  loop.run_cycle(never);
  EXPECT_EQ(take_log(), (Log{"wait", "released", "end"}));
}

TEST_F(LoopTest, TheWaitEndsAtTheEarlierOfDeadlineAndLimit) {
  const Instant base = steady_clock::now();
  first.deadline = base + hours(1);
  second.deadline = base + hours(2);
  loop.mark_dirty(first);
  loop.mark_dirty(second);
  loop.run_cycle(never);
  loop.run_cycle(never);
  EXPECT_EQ(poller.waited_until, base + hours(1));
  loop.run_cycle(base + milliseconds(900'000));
  EXPECT_EQ(poller.waited_until, base + milliseconds(900'000));
}

TEST_F(LoopTest, AfterAPauseTheWaitIsMeasuredFromTheClockAsItIsNow) {
  const Instant before = steady_clock::now();
  loop.resume();
  loop.run_cycle(before + hours(1));
  EXPECT_GE(poller.measured_from, before);
  EXPECT_EQ(poller.waited_until, before + hours(1));
}

TEST_F(LoopTest, AnAwakeLoopIsNotWokenAndASleepingOneIsWokenOnce) {
  link->attend(*target, 1);
  EXPECT_EQ(poller.wakes, 0) << "a loop that runs will look at its list anyway";
  loop.run_cycle(never);
  poller.while_waiting = [&] {
    link->attend(*target, 1);
    link->attend(*other, 1);
    link->attend(*target, 2);
  };
  take_log();
  loop.run_cycle(never);
  EXPECT_EQ(poller.wakes, 1);
  EXPECT_EQ(take_log(), (Log{"wait", "target:3", "other:1", "released", "end"}));
}

TEST_F(LoopTest, WhatWasPostedBeforeTheSleepKeepsTheLoopAwake) {
  link->attend(*target, 8);
  loop.run_cycle(never);
  EXPECT_EQ(take_log(), (Log{"look", "target:8", "released", "end"}));
}

TEST_F(LoopTest, WhatIsPostedWhileTheListIsWorkedOffComesInTheNextCycle) {
  in_attention = [&](std::uint32_t bits) {
    if (bits == 1) link->attend(*target, 2);
  };
  link->attend(*target, 1);
  loop.run_cycle(never);
  EXPECT_EQ(take_log(), (Log{"look", "target:1", "released", "end"}));
  loop.run_cycle(never);
  EXPECT_EQ(take_log(), (Log{"look", "target:2", "released", "end"}));
}

TEST_F(LoopTest, AForgottenMachineIsNeitherRunNorTimed) {
  ScriptedMachine third{"third", log};
  first.deadline = second.deadline = third.deadline = steady_clock::now() + hours(1);
  for (ScriptedMachine* machine : {&first, &second, &third}) loop.mark_dirty(*machine);
  loop.run_cycle(never);
  for (ScriptedMachine* machine : {&first, &second, &third}) loop.mark_dirty(*machine);
  for (ScriptedMachine* machine : {&second, &third, &first}) loop.forget(*machine);
  EXPECT_EQ(loop.deadline(), never);
  loop.mark_dirty(second);
  take_log();
  loop.run_cycle(Instant{});
  EXPECT_EQ(take_log(), (Log{"look", "released", "second.actions", "second.transmit", "end"}));
}

TEST_F(LoopTest, AnEmbeddedLoopIsLeftAsleepSoThatAPosterWakesIt) {
  // ENG-9
  loop.process();
  EXPECT_EQ(poller.wakes, 0);
  link->attend(*target, 1);
  EXPECT_EQ(poller.wakes, 1);
  take_log();
  loop.process();
  EXPECT_EQ(take_log(), (Log{"look", "target:1", "released", "end"}));
}

TEST_F(LoopTest, AnEmbeddedLoopThatWasPostedToMeanwhileWakesItself) {
  // ENG-9: nobody else would, for it was awake.
  loop.mark_dirty(first);
  first.in_actions = [&] { link->attend(*target, 1); };
  loop.process();
  EXPECT_EQ(poller.wakes, 1);
  first.in_actions = [] {};
  loop.process();  // takes what was posted
}

TEST(EmbeddedLoop, ItsDescriptorIsReadableWhenSomebodyPosts) {
  // ENG-9, over the kernel.
  struct Owner final : LoopOwner {
    void on_attention(meet::Attendee&, std::uint32_t bits, Instant) override { got |= bits; }
    void on_released(Instant) override {}
    void on_cycle_end(Instant) override {}
    std::uint32_t got = 0;
  } owner;
  auto made = make_epoll_poller();
  ASSERT_TRUE(made);
  const std::shared_ptr<Poller> poller(std::move(*made));
  const auto link = meet::Held<meet::LoopLink>::adopt(new meet::LoopLink(*poller, poller));
  Loop loop(*poller, *link, owner);
  loop.process();
  pollfd watched{.fd = poller->fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&watched, 1, 0), 0);

  const auto target = meet::Held<Target>::adopt(new Target);
  std::thread poster([&] { link->attend(*target, 5); });
  EXPECT_EQ(::poll(&watched, 1, 30'000), 1);
  poster.join();
  loop.process();
  EXPECT_EQ(owner.got, 5u);
  EXPECT_EQ(::poll(&watched, 1, 0), 0) << "what was told is off the descriptor";
}

}  // namespace
}  // namespace riffle::runtime
