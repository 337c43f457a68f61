// What a loop drives: a protocol machine with its side effects.
#pragma once

#include <cstddef>
#include <limits>

#include "base/instant.hpp"

namespace riffle::runtime {

/// Contract: see "One cycle of a loop" in the architecture. Everything runs on the loop's thread.
class Machine {
 public:
  Machine() = default;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  virtual ~Machine() = default;

  virtual void on_deadline(Instant now) = 0;
  /// Step 5: its actions in order, deliveries, wakes.
  virtual void run_actions(Instant now) = 0;
  /// Step 6: true when more waits to be sent than the budget allowed.
  virtual bool transmit(Instant now) = 0;
  virtual Instant next_deadline() const noexcept = 0;
  /// Whether the next cycle has work for it without any new input.
  virtual bool has_work() const noexcept = 0;

 private:
  friend class Timers;
  friend class Loop;
  static constexpr std::size_t no_timer = std::numeric_limits<std::size_t>::max();
  std::size_t timer_index_ = no_timer;
  Instant armed_ = never;
  Instant wanted_ = never;
  Machine* next_dirty_ = nullptr;
  bool is_dirty_ = false;
};

}  // namespace riffle::runtime
