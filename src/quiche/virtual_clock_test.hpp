// Virtual time for the tests of this room: quiche reads CLOCK_MONOTONIC by libc's clock_gettime, and this program has
// its own.
#pragma once

#include "base/instant.hpp"

namespace riffle::quiche {

/// While it lives, this thread's monotonic clock stands still at `now` and moves only by `advance_to`.
class VirtualClock {
 public:
  VirtualClock() noexcept;
  ~VirtualClock();
  VirtualClock(const VirtualClock&) = delete;
  VirtualClock& operator=(const VirtualClock&) = delete;

  Instant now() const noexcept;
  /// Never backwards.
  void advance_to(Instant instant) noexcept;
};

}  // namespace riffle::quiche
