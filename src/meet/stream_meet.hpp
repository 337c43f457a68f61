// Where a stream's loop and its application threads meet.
#pragma once

#include <atomic>
#include <cstdint>

#include <riffle/ids.hpp>
#include <riffle/options.hpp>
#include <riffle/stats.hpp>
#include "base/send_block.hpp"
#include "meet/asking.hpp"
#include "meet/credit.hpp"
#include "meet/loop_link.hpp"
#include "meet/mailbox.hpp"
#include "meet/read_path.hpp"
#include "meet/session_meet.hpp"

namespace riffle::meet {

/// What a stream's loop is told. None of it can meet a full queue.
enum StreamBit : std::uint32_t {
  stream_write = 1u << 0,     ///< the mailbox has blocks
  stream_refill = 1u << 1,    ///< the reader has made room
  stream_deliver = 1u << 2,   ///< the reader has given the role back
  stream_mode = 1u << 3,      ///< `wanted_delivery` has changed
  stream_stop = 1u << 4,      ///< shut down reading with `stop_code`
  stream_reset = 1u << 5,     ///< shut down writing with `reset_code`
  stream_wait = 1u << 6,      ///< `asking` has nodes
  stream_want = 1u << 7,      ///< a writer wants to know of credit
  stream_gone = 1u << 8,      ///< the last handle has gone
  stream_priority = 1u << 9,  ///< `priority` has changed
};

/// How our sending side stands, for writers on any thread.
enum class WriteState : std::uint8_t {
  open,
  ended,    ///< a fin was written
  reset,    ///< shut down by us
  stopped,  ///< by the peer, with `write_code`
  closed,   ///< the session ended
  refused,  ///< the stream never opened: no stream credit, or the transport has no such streams
};

class StreamMeet final : public Attendee {
 public:
  static constexpr std::uint64_t no_id = ~std::uint64_t{0};

  StreamMeet(Held<SessionMeet> owner, Direction way, bool opened_here, std::uint32_t receive_list,
             std::int64_t send_credit)
      : Attendee(AttendeeKind::stream),
        session(std::move(owner)),
        direction(way),
        is_local(opened_here),
        reading(receive_list),
        credit(send_credit) {}
  ~StreamMeet() override {
    for (base::SendBlock* block = mailbox.take(); block != nullptr;) {
      base::SendBlock* next_block = block->next;
      base::SendBlock::destroy(block);
      block = next_block;
    }
    release_all(asking);
  }

  const Held<SessionMeet> session;
  const Direction direction;
  const bool is_local;
  StreamMeet* next_opening = nullptr;    ///< in the session's mailbox of opens
  bool fail_at_once = false;             ///< without stream credit the open fails; set before it is posted
  std::atomic<std::uint64_t> id{no_id};  ///< set once by the loop
  void* core = nullptr;                  ///< the loop's Stream; loop only; null before and after

  bool wake_queued = false;  ///< loop only: an action wakes its reader already

  ReadPath reading;
  Credit credit;
  Mailbox<base::SendBlock> mailbox;
  Mailbox<Asking> asking;
  std::atomic<WriteState> write_state{WriteState::open};
  std::atomic<std::uint64_t> write_code{0};
  std::atomic<bool> is_finished{false};

  // Requests: stored before their bit is set; the last one counts.
  std::atomic<std::uint64_t> wanted_delivery{0};  ///< packed by `pack`
  std::atomic<std::uint64_t> stop_code{0};
  std::atomic<std::uint64_t> reset_code{0};
  std::atomic<std::uint32_t> priority{0};  ///< urgency << 1 | incremental

  // Counters, relaxed, written by the loop only.
  struct Counters {
    std::atomic<std::uint64_t> sent{0}, acknowledged{0}, received{0};
    std::atomic<std::int64_t> first_activity{0}, last_activity{0};
    std::atomic<bool> fin_sent{false}, fin_received{false};
  } counters;

  static std::uint64_t pack(Delivery delivery) noexcept {
    return static_cast<std::uint64_t>(delivery.mode) << 32 | delivery.count;
  }
  static Delivery unpack(std::uint64_t packed) noexcept {
    return {static_cast<Delivery::Mode>(packed >> 32), static_cast<std::uint32_t>(packed)};
  }
};

}  // namespace riffle::meet
