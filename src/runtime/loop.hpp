// One loop: one cycle after the other, one clock read, one take of the attention list, one flush for each dirty
// machine, one wait (law 5; design/architecture.md, "One cycle of a loop").
#pragma once

#include <cstdint>

#include "base/instant.hpp"
#include "meet/loop_link.hpp"
#include "runtime/machine.hpp"
#include "runtime/poller.hpp"
#include "runtime/timers.hpp"

namespace riffle::runtime {

/// What the loop leaves to its owner.
class LoopOwner {
 public:
  virtual ~LoopOwner() = default;
  virtual void on_attention(meet::Attendee& attendee, std::uint32_t bits, Instant now) = 0;
  /// Between the inputs and the actions: blocks that transports have let go.
  virtual void on_released(Instant now) = 0;
  /// The end of a cycle: what has ended may be destroyed.
  virtual void on_cycle_end(Instant now) = 0;
};

class Loop {
 public:
  Loop(Poller& poller, meet::LoopLink& link, LoopOwner& owner) noexcept : poller_(poller), link_(link), owner_(owner) {}

  /// Waits for work until `limit` at most, then does one cycle. The wait is measured from the clock as the last cycle
  /// read it: a caller that paused since then calls `resume` first.
  void run_cycle(Instant limit);
  void resume() noexcept;
  /// One cycle with what is there, then leaves the loop asleep, so that a poster makes `fd` readable (ENG-9).
  void process();
  /// When the next cycle is due: at once (the epoch) while there is work.
  Instant deadline() const noexcept { return first_dirty_ != nullptr || more_input_ ? Instant{} : timers_.earliest(); }

  void mark_dirty(Machine& machine) noexcept;
  /// A socket has more input than one take of it: another cycle comes after the flush.
  void expect_more_input() noexcept { more_input_ = true; }
  /// The machine is about to be destroyed.
  void forget(Machine& machine) noexcept;
  Instant now() const noexcept { return now_; }
  Poller& poller() noexcept { return poller_; }

 private:
  void wait(Instant limit);
  void work();
  void take_attention();

  Poller& poller_;
  meet::LoopLink& link_;
  LoopOwner& owner_;
  Timers timers_;
  std::span<const Ready> ready_;
  Machine* first_dirty_ = nullptr;
  Machine* last_dirty_ = nullptr;
  Machine* flushing_ = nullptr;
  Instant now_{};
  bool more_input_ = false;
};

}  // namespace riffle::runtime
