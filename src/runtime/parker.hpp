// Where a thread of the application sleeps until the loop, or its deadline, wakes it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "meet/attention.hpp"

namespace riffle::runtime {

/// Purpose: a semaphore of one, by futex. One for each thread, alive as long as the thread, so that a late wake never
/// meets a dead object.
class Parker final : public meet::Wakeable {
 public:
  static Parker& of_this_thread() noexcept;
  void wake() noexcept override;
  /// True: woken. False: the deadline passed, and no wake is pending.
  bool sleep_until(std::chrono::steady_clock::time_point deadline) noexcept;
  void sleep() noexcept;

 private:
  bool take_token() noexcept;
  std::atomic<std::uint32_t> token_{0};
};

/// `now + timeout` without overflow.
std::chrono::steady_clock::time_point deadline_after(std::chrono::nanoseconds timeout) noexcept;

}  // namespace riffle::runtime
