// Time as the core sees it: a value that is handed in, never read.
#pragma once

#include <chrono>

namespace riffle {

using Instant = std::chrono::steady_clock::time_point;
using Duration = std::chrono::nanoseconds;
inline constexpr Instant never = Instant::max();

}  // namespace riffle
