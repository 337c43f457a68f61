// The heap of deadlines against a model (law 5: one timer armed, none re-armed when it moves later).
#include "runtime/timers.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "runtime/machine.hpp"

namespace riffle::runtime {
namespace {

using std::chrono::milliseconds;

class Idle final : public Machine {
 public:
  void on_deadline(Instant) override {}
  void run_actions(Instant) override {}
  bool transmit(Instant) override { return false; }
  Instant next_deadline() const noexcept override { return never; }
  bool has_work() const noexcept override { return false; }
};

Instant at(int ms) { return Instant{} + milliseconds(ms); }

TEST(Timers, AnEmptyHeapIsNeverDue) {
  Timers timers;
  EXPECT_EQ(timers.earliest(), never);
  EXPECT_EQ(timers.pop_due(at(1000)), nullptr);
}

TEST(Timers, MachinesComeOutInTheOrderOfTheirDeadlines) {
  Timers timers;
  std::array<Idle, 5> machines;
  const std::array<int, 5> due{30, 10, 50, 20, 40};
  for (std::size_t i = 0; i < machines.size(); ++i) timers.schedule(machines[i], at(due[i]));
  EXPECT_EQ(timers.earliest(), at(10));
  for (const std::size_t expected : {1u, 3u, 0u, 4u, 2u}) EXPECT_EQ(timers.pop_due(at(100)), &machines[expected]);
  EXPECT_EQ(timers.pop_due(at(100)), nullptr);
  EXPECT_EQ(timers.earliest(), never);
}

TEST(Timers, ADeadlineThatMovedLaterFiresForNobodyAtItsOldTime) {
  Timers timers;
  Idle machine;
  timers.schedule(machine, at(10));
  timers.schedule(machine, at(90));
  EXPECT_EQ(timers.earliest(), at(10)) << "an entry that moves later stays where it is";
  EXPECT_EQ(timers.pop_due(at(10)), nullptr);
  EXPECT_EQ(timers.earliest(), at(90));
  EXPECT_EQ(timers.pop_due(at(90)), &machine);
}

TEST(Timers, ADeadlineThatMovesEarlierIsKept) {
  Timers timers;
  Idle first;
  Idle second;
  timers.schedule(first, at(20));
  timers.schedule(second, at(50));
  timers.schedule(second, at(5));
  EXPECT_EQ(timers.earliest(), at(5));
  EXPECT_EQ(timers.pop_due(at(5)), &second);
}

TEST(Timers, NeverTakesAMachineOut) {
  Timers timers;
  Idle machine;
  timers.schedule(machine, at(10));
  timers.schedule(machine, never);
  EXPECT_EQ(timers.pop_due(at(1000)), nullptr);
  EXPECT_EQ(timers.earliest(), never);
}

/// What a heap must hold: the deadline that each machine wants.
class Model {
 public:
  explicit Model(std::uint32_t seed) : random_(seed) {}

  void step() {
    Idle& machine = machines_[random_() % machines_.size()];
    switch (random_() % 4) {
      case 0:
      case 1:
        schedule(machine, random_() % 16 == 0 ? never : at(now_ + static_cast<int>(random_() % 200)));
        break;
      case 2:
        timers_.remove(machine);
        wanted_.erase(&machine);
        break;
      default:
        now_ += static_cast<int>(random_() % 40);
        fire();
        break;
    }
    Instant least = never;
    for (const auto& [each, deadline] : wanted_) least = std::min(least, deadline);
    // It may be early (the machine computes again then), never late.
    EXPECT_LE(timers_.earliest(), least);
  }

  std::size_t fired() const { return fired_; }

 private:
  void schedule(Idle& machine, Instant deadline) {
    timers_.schedule(machine, deadline);
    if (deadline == never) {
      wanted_.erase(&machine);
    } else {
      wanted_[&machine] = deadline;
    }
  }
  void fire() {
    std::set<const Machine*> expected;
    for (const auto& [machine, deadline] : wanted_) {
      if (deadline <= at(now_)) expected.insert(machine);
    }
    std::set<const Machine*> got;
    while (const Machine* machine = timers_.pop_due(at(now_))) {
      EXPECT_TRUE(got.insert(machine).second) << "a machine came out twice";
      wanted_.erase(machine);
    }
    EXPECT_EQ(got, expected);
    EXPECT_GT(timers_.earliest(), at(now_));
    fired_ += got.size();
  }

  std::mt19937 random_;
  Timers timers_;
  std::array<Idle, 40> machines_;
  std::map<const Machine*, Instant> wanted_;
  std::size_t fired_ = 0;
  int now_ = 0;
};

TEST(Timers, AgreeWithAModelOverRandomSteps) {
  const std::uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::printf("seed %u\n", seed);
  Model model(seed);
  for (int i = 0; i < 50'000 && !testing::Test::HasFailure(); ++i) model.step();
  EXPECT_GT(model.fired(), 1000u);
}

}  // namespace
}  // namespace riffle::runtime
