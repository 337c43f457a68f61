// A queue whose links are inside its elements: nothing is allocated, and any element can leave at any time.
#pragma once

namespace riffle::core::smux {

template <class T>
struct Hook {
  T* prev = nullptr;
  T* next = nullptr;
  bool linked = false;
};

/// Purpose: first in, first out over the hook `hook` of T. An element is in the list once at most.
/// Lifetime: elements must leave before they die.
template <class T, Hook<T> T::* hook>
class IntrusiveList {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  T* front() const noexcept { return first_; }

  /// Appends; does nothing when it is in the list already.
  void push_back(T& element) noexcept {
    Hook<T>& link = element.*hook;
    if (link.linked) return;
    link = {.prev = last_, .next = nullptr, .linked = true};
    (last_ != nullptr ? (last_->*hook).next : first_) = &element;
    last_ = &element;
  }
  /// Takes out; does nothing when it is not in the list.
  void remove(T& element) noexcept {
    Hook<T>& link = element.*hook;
    if (!link.linked) return;
    (link.prev != nullptr ? (link.prev->*hook).next : first_) = link.next;
    (link.next != nullptr ? (link.next->*hook).prev : last_) = link.prev;
    link = {};
  }
  T* pop_front() noexcept {
    T* element = first_;
    if (element != nullptr) remove(*element);
    return element;
  }

 private:
  T* first_ = nullptr;
  T* last_ = nullptr;
};

}  // namespace riffle::core::smux
