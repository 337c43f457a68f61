// How any thread calls a loop's attention to an object: a bit set on the object, the object linked once into the loop's
// list, one wake when the loop sleeps. It cannot be full and allocates nothing (ENG-3; design/streams.md).
#pragma once

#include <atomic>
#include <cstdint>

namespace riffle::meet {

/// Two lines of the outside world: how a sleeping loop, or a sleeping thread, is woken.
class Wakeable {
 public:
  virtual void wake() noexcept = 0;

 protected:
  ~Wakeable() = default;
};

/// What a loop can be attentive to. A linked node must stay alive: linking retains it, the loop releases it.
template <template <class> class Atomic = std::atomic>
struct BasicAttentionNode {
  Atomic<std::uint32_t> pend{0};
  BasicAttentionNode* next = nullptr;
};

/// Purpose: the list and the sleep of one loop. All cross-checked operations are sequentially consistent, no fences.
template <template <class> class Atomic = std::atomic>
class BasicAttentionList {
 public:
  using Node = BasicAttentionNode<Atomic>;
  enum class Attended : std::uint8_t {
    already,        ///< the node was linked: the loop will see the new bits
    linked,         ///< linked now, and the loop is awake
    linked_asleep,  ///< linked now, and the caller must wake the loop
    closed,         ///< the loop has ended: nothing was linked
  };

  /// Any thread. The node is released by `take`'s caller.
  Attended attend(Node& node, std::uint32_t bits) noexcept {
    if (node.pend.fetch_or(bits) != 0) return Attended::already;
    Node* first = first_.load();
    do {
      if (first == &closed_) return Attended::closed;
      node.next = first;
    } while (!first_.compare_exchange_weak(first, &node));
    return asleep_.load() && asleep_.exchange(false) ? Attended::linked_asleep : Attended::linked;
  }

  /// The loop: everything linked so far, oldest first. Read `next` before `take_bits`: from then on the node may be
  /// linked again.
  Node* take() noexcept {
    // Only the loop closes, so a list that is open here stays open until the exchange.
    Node* first = first_.load();
    return first == nullptr || first == &closed_ ? nullptr : in_order(first_.exchange(nullptr));
  }
  static std::uint32_t take_bits(Node& node) noexcept { return node.pend.exchange(0); }

  /// The loop, at its end: what is linked so far; nothing is linked from now on.
  Node* close() noexcept { return in_order(first_.exchange(&closed_)); }
  bool is_closed() const noexcept { return first_.load() == &closed_; }

  /// The loop, before it waits: publishes that it sleeps, then looks once more. False: there is work, do not wait.
  bool fall_asleep() noexcept {
    asleep_.store(true);
    if (first_.load() == nullptr) return true;
    asleep_.store(false);
    return false;
  }
  void awake() noexcept { asleep_.store(false); }

 private:
  Node* in_order(Node* newest) noexcept {
    if (newest == &closed_) return nullptr;
    Node* ordered = nullptr;
    while (newest != nullptr) {
      Node* older = newest->next;
      newest->next = ordered;
      ordered = newest;
      newest = older;
    }
    return ordered;
  }

  alignas(64) Atomic<Node*> first_{nullptr};
  Atomic<bool> asleep_{false};
  Node closed_;  // its address marks a list that takes nothing any more
};

using AttentionNode = BasicAttentionNode<>;
using AttentionList = BasicAttentionList<>;

}  // namespace riffle::meet
