#include "runtime/loop.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace riffle::runtime {

void Loop::run_cycle(Instant limit) {
  wait(limit);
  work();
}

void Loop::resume() noexcept { now_ = std::chrono::steady_clock::now(); }

void Loop::process() {
  link_.list.awake();
  ready_ = poller_.wait(Instant{}, now_);
  work();
  if (!link_.list.fall_asleep()) poller_.wake();
}

void Loop::wait(Instant limit) {
  const Instant until = std::min(limit, deadline());
  // Posters need not wake a loop that will look at its list anyway.
  const bool may_sleep = until > now_ && link_.list.fall_asleep();
  ready_ = poller_.wait(may_sleep ? until : Instant{}, now_);
  link_.list.awake();
}

void Loop::work() {
  now_ = std::chrono::steady_clock::now();
  more_input_ = false;
  take_attention();
  for (const Ready& ready : ready_) {
    if (ready.owner != nullptr) ready.owner->on_ready(ready.readable, ready.writable);
  }
  while (Machine* due = timers_.pop_due(now_)) {
    due->on_deadline(now_);
    mark_dirty(*due);
  }
  owner_.on_released(now_);

  flushing_ = std::exchange(first_dirty_, nullptr);
  last_dirty_ = nullptr;
  for (Machine* machine = flushing_; machine != nullptr; machine = machine->next_dirty_) machine->run_actions(now_);
  while (flushing_ != nullptr) {
    Machine& machine = *flushing_;
    flushing_ = machine.next_dirty_;
    machine.next_dirty_ = nullptr;
    machine.is_dirty_ = false;
    const bool has_more = machine.transmit(now_);
    timers_.schedule(machine, machine.next_deadline());
    if (has_more || machine.has_work()) mark_dirty(machine);
  }
  owner_.on_cycle_end(now_);
}

void Loop::take_attention() {
  meet::AttentionNode* node = link_.list.take();
  while (node != nullptr) {
    // Read before the bits are emptied: from then on the node may be linked again.
    meet::AttentionNode* next = node->next;
    auto& attendee = static_cast<meet::Attendee&>(*node);
    const std::uint32_t bits = meet::AttentionList::take_bits(*node);
    owner_.on_attention(attendee, bits, now_);
    attendee.release();
    node = next;
  }
}

void Loop::mark_dirty(Machine& machine) noexcept {
  if (machine.is_dirty_) return;
  machine.is_dirty_ = true;
  machine.next_dirty_ = nullptr;
  (last_dirty_ != nullptr ? last_dirty_->next_dirty_ : first_dirty_) = &machine;
  last_dirty_ = &machine;
}

void Loop::forget(Machine& machine) noexcept {
  timers_.remove(machine);
  if (!machine.is_dirty_) return;
  machine.is_dirty_ = false;
  Machine* previous = nullptr;
  for (Machine* each = first_dirty_; each != nullptr; previous = each, each = each->next_dirty_) {
    if (each != &machine) continue;
    (previous != nullptr ? previous->next_dirty_ : first_dirty_) = machine.next_dirty_;
    if (last_dirty_ == &machine) last_dirty_ = previous;
    break;
  }
}

}  // namespace riffle::runtime
