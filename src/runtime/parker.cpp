#include "runtime/parker.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>
#include <limits>

namespace riffle::runtime {
namespace {

/// FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time, so a spurious wake needs no new arithmetic.
void futex_wait(std::atomic<std::uint32_t>& word, const timespec* deadline) noexcept {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_BITSET_PRIVATE, 0u, deadline, nullptr,
            FUTEX_BITSET_MATCH_ANY);
}

}  // namespace

Parker& Parker::of_this_thread() noexcept {
  static thread_local Parker parker;
  return parker;
}

void Parker::wake() noexcept {
  token_.store(1);
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&token_), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

bool Parker::take_token() noexcept { return token_.exchange(0) != 0; }

bool Parker::sleep_until(std::chrono::steady_clock::time_point deadline) noexcept {
  if (deadline == std::chrono::steady_clock::time_point::max()) {
    sleep();
    return true;
  }
  const auto since_boot = deadline.time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_boot);
  const timespec at{.tv_sec = static_cast<time_t>(seconds.count()),
                    .tv_nsec = static_cast<long>(std::chrono::nanoseconds(since_boot - seconds).count())};
  while (!take_token()) {
    if (std::chrono::steady_clock::now() >= deadline) return take_token();
    futex_wait(token_, &at);
  }
  return true;
}

void Parker::sleep() noexcept {
  while (!take_token()) futex_wait(token_, nullptr);
}

std::chrono::steady_clock::time_point deadline_after(std::chrono::nanoseconds timeout) noexcept {
  const auto now = std::chrono::steady_clock::now();
  const auto left = std::chrono::steady_clock::time_point::max() - now;
  return timeout >= left ? std::chrono::steady_clock::time_point::max() : now + timeout;
}

}  // namespace riffle::runtime
