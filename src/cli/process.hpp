// What concerns the whole process: signals, descriptors, what it has used.
#pragma once

#include <csignal>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>

namespace riffle::cli {

/// Purpose: SIGINT and SIGTERM as something that is waited for. Make it before any thread is started: threads inherit
/// that the signals are blocked.
class Signals {
 public:
  /// While it lives a signal is reacted to.
  class [[nodiscard]] Watch {
   public:
    explicit Watch(std::thread thread) : thread_(std::move(thread)) {}
    Watch(Watch&&) = default;
    Watch& operator=(Watch&&) = delete;
    ~Watch();

   private:
    std::thread thread_;
  };

  Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  /// Waits for one.
  void wait() const;
  /// Calls `react` on a thread of its own when one comes; once.
  Watch on_first(std::function<void()> react) const;

 private:
  sigset_t ends_{};
};

/// As many descriptors as the system lets us have: the soft limit becomes the hard one.
void raise_descriptor_limit() noexcept;

/// What this process has used so far.
struct Usage {
  double cpu_seconds = 0;  ///< user and system
  std::int64_t max_rss_kb = 0;
};
Usage usage() noexcept;

}  // namespace riffle::cli
