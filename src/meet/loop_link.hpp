// What every handle knows of its loop: where to post, whom to wake, and which thread it is.
#pragma once

#include <atomic>
#include <memory>

#include "base/thread_token.hpp"
#include "meet/attention.hpp"
#include "meet/shared.hpp"

namespace riffle::meet {

/// What kind of object a loop is attentive to.
enum class AttendeeKind : std::uint8_t { engine, listener, session, stream };

class Attendee : public Shared, public AttentionNode {
 public:
  explicit Attendee(AttendeeKind what) noexcept : kind(what) {}
  const AttendeeKind kind;
};

/// Purpose: outlives its loop, because handles hold it. Threads: any, but for `bind_thread`.
class LoopLink final : public Shared {
 public:
  /// Keeps the poller alive for as long as anybody may want to wake it.
  LoopLink(Wakeable& waker, std::shared_ptr<void> keep_alive) noexcept
      : waker_(waker), keep_alive_(std::move(keep_alive)) {}

  /// False: the loop has ended, nobody will look at it.
  bool attend(Attendee& attendee, std::uint32_t bits) noexcept {
    attendee.retain();
    const auto attended = list.attend(attendee, bits);
    if (attended == AttentionList::Attended::linked_asleep) waker_.wake();
    if (attended == AttentionList::Attended::already || attended == AttentionList::Attended::closed) attendee.release();
    return !list.is_closed();
  }
  bool is_loop_thread() const noexcept {
    return thread_.load(std::memory_order_relaxed) == base::ThreadToken::current().anchor();
  }
  void bind_thread() noexcept { thread_.store(base::ThreadToken::current().anchor(), std::memory_order_relaxed); }

  AttentionList list;

 private:
  Wakeable& waker_;
  std::shared_ptr<void> keep_alive_;
  std::atomic<const void*> thread_{nullptr};
};

}  // namespace riffle::meet
