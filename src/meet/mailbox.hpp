// A list that any thread pushes to and one thread takes whole: no ABA, no bound of its own (what is pushed is bounded
// by credit or counted).
#pragma once

#include <atomic>

namespace riffle::meet {

/// T has a member `T* next`.
template <class T, template <class> class Atomic = std::atomic>
class Mailbox {
 public:
  /// Any thread. True when the box was empty.
  bool push(T* item) noexcept {
    T* first = first_.load(std::memory_order_relaxed);
    do {
      item->next = first;
    } while (!first_.compare_exchange_weak(first, item, std::memory_order_seq_cst, std::memory_order_relaxed));
    return first == nullptr;
  }
  /// One thread: everything, in the order of arrival, linked by `next`.
  T* take() noexcept {
    if (first_.load(std::memory_order_relaxed) == nullptr) return nullptr;
    T* newest = first_.exchange(nullptr);
    T* ordered = nullptr;
    while (newest != nullptr) {
      T* older = newest->next;
      newest->next = ordered;
      ordered = newest;
      newest = older;
    }
    return ordered;
  }

 private:
  Atomic<T*> first_{nullptr};
};

}  // namespace riffle::meet
