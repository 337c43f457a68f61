// Virtual time and seeded randomness of one thread: this program defines libc's clock_gettime and getrandom itself, and
// quiche, std::chrono and Rust's hash maps follow (facts: quiche reads the clock by `Instant::now()`).
//
// Only the thread that holds a `VirtualClock` is under its rule; every other one keeps the machine's clock and
// randomness. Timers of the kernel do not follow: whoever drives the thread also drives its deadlines.
#pragma once

#include <cstdint>

#include "base/instant.hpp"

namespace riffle::sim {

/// Purpose: while it lives, this thread's clocks stand still and move only by `advance_to`, and `getrandom` on it gives
/// bytes drawn from `seed`. Units: nanoseconds. Contract: at most one on a thread.
class VirtualClock {
 public:
  explicit VirtualClock(std::uint64_t seed) noexcept;
  ~VirtualClock();
  VirtualClock(const VirtualClock&) = delete;
  VirtualClock& operator=(const VirtualClock&) = delete;

  /// Where every run begins: late enough that "some time ago" is no negative number.
  static constexpr Instant start{std::chrono::seconds(100'000)};
  Instant now() const noexcept;
  /// Never backwards.
  void advance_to(Instant instant) noexcept;
};

}  // namespace riffle::sim
