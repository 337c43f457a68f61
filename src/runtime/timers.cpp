#include "runtime/timers.hpp"

#include "runtime/machine.hpp"

namespace riffle::runtime {

void Timers::schedule(Machine& machine, Instant deadline) {
  machine.wanted_ = deadline;
  if (machine.timer_index_ == Machine::no_timer) {
    if (deadline == never) return;
    heap_.push_back(&machine);
    machine.armed_ = deadline;
    machine.timer_index_ = heap_.size() - 1;
    sift_up(machine.timer_index_);
  } else if (deadline < machine.armed_) {
    machine.armed_ = deadline;
    sift_up(machine.timer_index_);
  }
}

void Timers::remove(Machine& machine) noexcept {
  const std::size_t index = machine.timer_index_;
  if (index == Machine::no_timer) return;
  machine.timer_index_ = Machine::no_timer;
  Machine* last = heap_.back();
  heap_.pop_back();
  if (last == &machine) return;
  place(index, last);
  sift_up(index);
  sift_down(last->timer_index_);
}

Instant Timers::earliest() const noexcept { return heap_.empty() ? never : heap_.front()->armed_; }

Machine* Timers::pop_due(Instant now) noexcept {
  while (!heap_.empty() && heap_.front()->armed_ <= now) {
    Machine& machine = *heap_.front();
    remove(machine);
    if (machine.wanted_ <= now) return &machine;
    schedule(machine, machine.wanted_);  // it had moved later meanwhile
  }
  return nullptr;
}

void Timers::place(std::size_t index, Machine* machine) noexcept {
  heap_[index] = machine;
  machine->timer_index_ = index;
}

void Timers::sift_up(std::size_t index) noexcept {
  Machine* machine = heap_[index];
  while (index > 0) {
    const std::size_t parent = (index - 1) / 2;
    if (heap_[parent]->armed_ <= machine->armed_) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, machine);
}

void Timers::sift_down(std::size_t index) noexcept {
  Machine* machine = heap_[index];
  for (;;) {
    std::size_t child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->armed_ < heap_[child]->armed_) ++child;
    if (machine->armed_ <= heap_[child]->armed_) break;
    place(index, heap_[child]);
    index = child;
  }
  place(index, machine);
}

}  // namespace riffle::runtime
