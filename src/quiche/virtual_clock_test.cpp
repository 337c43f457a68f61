#include "quiche/virtual_clock_test.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

#include <gtest/gtest.h>

namespace {
thread_local constinit bool is_virtual = false;
thread_local constinit std::int64_t virtual_ns = 0;
}  // namespace

extern "C" __attribute__((no_sanitize("address", "thread", "undefined"), visibility("default"))) int clock_gettime(
    clockid_t id, timespec* out) noexcept {
  if (is_virtual && (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE || id == CLOCK_BOOTTIME)) {
    out->tv_sec = virtual_ns / 1'000'000'000;
    out->tv_nsec = virtual_ns % 1'000'000'000;
    return 0;
  }
  return static_cast<int>(syscall(SYS_clock_gettime, id, out));
}

namespace riffle::quiche {

VirtualClock::VirtualClock() noexcept {
  virtual_ns = std::chrono::steady_clock::now().time_since_epoch().count();
  is_virtual = true;
}

VirtualClock::~VirtualClock() { is_virtual = false; }

Instant VirtualClock::now() const noexcept { return Instant(std::chrono::nanoseconds(virtual_ns)); }

void VirtualClock::advance_to(Instant instant) noexcept {
  const std::int64_t ns = instant.time_since_epoch().count();
  if (ns > virtual_ns) virtual_ns = ns;
}

TEST(VirtualClock, IsWhatSteadyClockReads) {
  VirtualClock clock;
  const Instant later = clock.now() + std::chrono::hours(1);
  clock.advance_to(later);
  EXPECT_EQ(std::chrono::steady_clock::now(), later);
}

}  // namespace riffle::quiche
