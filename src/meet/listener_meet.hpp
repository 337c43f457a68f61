// Where a listener's loop and its application threads meet.
#pragma once

#include <atomic>
#include <cstdint>

#include <riffle/address.hpp>
#include "meet/asking.hpp"
#include "meet/loop_link.hpp"
#include "meet/mailbox.hpp"

namespace riffle::meet {

enum ListenerBit : std::uint32_t {
  listener_wait = 1u << 0,  ///< `asking` has nodes
  listener_close = 1u << 1,
};

class ListenerMeet final : public Attendee {
 public:
  explicit ListenerMeet(Held<LoopLink> its_loop) : Attendee(AttendeeKind::listener), loop(std::move(its_loop)) {}
  ~ListenerMeet() override { release_all(asking); }

  const Held<LoopLink> loop;
  void* core = nullptr;  ///< the loop's listener; loop only
  Address address;       ///< set before the handle is given out
  std::atomic<std::uint64_t> active_sessions{0};
  std::atomic<bool> is_closed{false};
  Mailbox<Asking> asking;
  std::atomic<std::uint32_t> asking_count{0};
};

}  // namespace riffle::meet
