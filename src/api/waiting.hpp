// How a calling thread waits for the loop's answer.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include <riffle/error.hpp>
#include <riffle/stream.hpp>
#include "meet/asking.hpp"
#include "meet/loop_link.hpp"
#include "runtime/parker.hpp"

namespace riffle::api {

/// Sleeps until `asking` is answered, or the deadline. The error: the answer's, `timed_out`, or `closed` when the loop
/// has ended. Contract: `asking` was posted, and its poster holds a reference of its own.
Result<void> wait_for(meet::Asking& asking, runtime::Parker& parker, const meet::LoopLink& link,
                      std::chrono::steady_clock::time_point deadline);

/// Posts a question to `target`'s mailbox and waits. `bit` is the attendee's wait bit.
template <class Target>
Result<void> ask(Target& target, meet::LoopLink& link, std::atomic<std::uint32_t>& count, std::uint32_t limit,
                 std::uint32_t bit, meet::Asking& asking, Timeout timeout) {
  if (link.is_loop_thread()) return fail(Code::would_deadlock, "ask through the handler's context there");
  if (count.fetch_add(1) >= limit) {
    count.fetch_sub(1);
    return fail(Code::busy, "too many callers wait already");
  }
  runtime::Parker& parker = runtime::Parker::of_this_thread();
  asking.waiter = &parker;
  asking.retain();  // the loop's reference
  target.asking.push(&asking);
  // A loop that has ended answers nobody: one look for its last answer is enough.
  const bool is_heard = link.attend(target, bit);
  return wait_for(asking, parker, link,
                  is_heard ? runtime::deadline_after(timeout) : std::chrono::steady_clock::time_point{});
}

}  // namespace riffle::api
