// Waiting for something that the loop will answer: one node per caller, answered exactly once (COR-3).
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include <riffle/engine.hpp>
#include <riffle/error.hpp>
#include <riffle/session.hpp>
#include <riffle/stats.hpp>
#include "meet/attention.hpp"
#include "meet/mailbox.hpp"
#include "meet/shared.hpp"

namespace riffle::meet {

/// What a caller waits for, or asks.
enum class Question : std::uint8_t {
  connected,
  session_closed,
  accept_stream,
  session_info,
  session_stats,
  readable_streams,
  writable_streams,
  stream_open,
  stream_writable,
  stream_flushed,
  accept_session,
  listener_stats,
  listening,
};

/// Purpose: one waiting caller. Two references: the caller's and the loop's.
/// Contract: whoever wins the exchange of `state_` decides. The loop fills in the answer first, then `answer()`; the
/// caller gives up by `abandon()`. A caller whose `abandon` lost is being woken and must wait for that.
class Asking : public Shared {
 public:
  explicit Asking(Question what) noexcept : question(what) {}

  /// The loop. False when the caller has given up: the answer was not taken.
  bool answer() noexcept {
    std::uint8_t waiting = waiting_;
    if (!state_.compare_exchange_strong(waiting, answered_)) return false;
    waiter->wake();
    return true;
  }
  bool is_abandoned() const noexcept { return state_.load() == abandoned_; }
  /// The caller. False: the answer is there (or a moment away).
  bool abandon() noexcept {
    std::uint8_t waiting = waiting_;
    return state_.compare_exchange_strong(waiting, abandoned_);
  }

  Asking* next = nullptr;
  const Question question;
  Wakeable* waiter = nullptr;
  std::optional<Error> error;  ///< the answer is a failure

 private:
  static constexpr std::uint8_t waiting_ = 0, answered_ = 1, abandoned_ = 2;
  std::atomic<std::uint8_t> state_{waiting_};
};

/// A question whose answer carries a value.
template <class T>
class AskingFor final : public Asking {
 public:
  using Asking::Asking;
  std::optional<T> value;
};

/// Questions that nobody will answer any more: their callers have given up.
inline void release_all(Mailbox<Asking>& box) noexcept {
  for (Asking* asking = box.take(); asking != nullptr;) {
    Asking* next = asking->next;
    asking->release();
    asking = next;
  }
}

}  // namespace riffle::meet
