// One stream as its loop sees it (COR-4).
#pragma once

#include <cstdint>
#include <utility>

#include <riffle/ids.hpp>
#include <riffle/options.hpp>
#include <riffle/stats.hpp>
#include "base/instant.hpp"
#include "base/send_block.hpp"
#include "meet/shared.hpp"
#include "meet/stream_meet.hpp"

namespace riffle::core {

class Session;

enum class ReceiveState : std::uint8_t {
  none,  ///< we only send
  receiving,
  ended,    ///< the fin has come; bytes may still wait for the reader
  reset,    ///< the peer's RESET has come
  stopped,  ///< we asked the peer to stop
  done,     ///< the application knows the end
};

enum class SendState : std::uint8_t {
  none,  ///< we only receive
  open,
  ending,   ///< a fin is queued
  ended,    ///< the transport has the fin
  reset,    ///< by us
  stopped,  ///< by the peer's STOP_SENDING
};

/// Purpose: the loop's record of a stream, pooled. Everything that other threads touch is in `meet`, which exists only
/// once the application holds a handle: a stream that only handlers use costs no atomics.
struct Stream {
  Session* session = nullptr;
  StreamId id{};
  bool has_id = false;
  bool is_local = false;
  Direction direction = Direction::bidirectional;
  meet::Held<meet::StreamMeet> meet;

  // Receiving.
  ReceiveState receive = ReceiveState::none;
  meet::ReadEnd read_end = meet::ReadEnd::open;  ///< what a reader is told behind the last byte, with `read_code`
  std::uint64_t read_code = 0;
  AppCode reading_stopped{};  ///< what the peer is told when the stream opens, if reading was shut down before
  Delivery delivery;
  bool has_input = false;       ///< the transport may have something: an edge that we keep until it says `nothing`
  bool is_parked = false;       ///< the reader has stopped; its bytes wait in the transport
  bool is_delivering = false;   ///< a callback of this stream is on the stack, or its delivery is under way
  bool deliver_queued = false;  ///< an action Deliver is on the list
  bool used_up = false;         ///< the count ran out with the delivery under way
  Stream* paused_by = nullptr;  ///< its delivery waits until that stream is writable
  Stream* first_paused = nullptr;
  Stream* next_paused = nullptr;
  std::uint64_t received = 0;
  std::uint64_t consumed = 0;
  std::uint64_t held_counted = 0;  ///< bytes of its list that the loop's budget knows of
  std::uint64_t parked_at = 0;     ///< consumed when it was parked, or when its reader last moved
  Instant parked_since{};
  Stream* parked_next = nullptr;
  Stream* parked_previous = nullptr;

  // Sending.
  SendState send = SendState::none;
  base::SendBlock* first_block = nullptr;
  base::SendBlock* last_block = nullptr;
  std::uint64_t queued = 0;  ///< bytes accepted and not yet taken by the transport
  std::int64_t credit = 0;   ///< while there is no meet
  std::int64_t credit_limit = 0;
  std::uint32_t in_flight = 0;  ///< blocks that the transport still holds
  bool in_send_list = false;
  bool is_blocked = false;      ///< the transport takes no more now; `next_writable` will name it
  bool wants_writable = false;  ///< the handler has met the end of its credit
  bool met_limit = false;       ///< a writer has used up the credit since the queue was last empty
  bool has_unflushed = false;   ///< something was written since `flushed` was last told
  Stream* next_send = nullptr;
  Stream* previous_send = nullptr;
  std::uint64_t sent = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t writes_blocked = 0;
  std::uint64_t blocked_seen = 0;
  AppCode stop_code{};
  meet::Asking* first_asking = nullptr;

  Instant first_activity{};
  Instant last_activity{};
  bool is_finished = false;
  bool in_backlog = false;         ///< opened by the peer, not yet taken by the application
  bool handle_returned = false;    ///< an accept was given up: the handle's end means nothing
  Stream* next_opening = nullptr;  ///< waiting for stream credit
  Stream* next_free = nullptr;     ///< finished list, then the pool's

  bool receive_is_over() const noexcept { return receive == ReceiveState::none || receive == ReceiveState::done; }
  bool send_is_over() const noexcept {
    return send == SendState::none || send == SendState::reset || send == SendState::stopped ||
           (send == SendState::ended && in_flight == 0);
  }
  bool met_limit_now() const noexcept { return met_limit || (meet && meet->credit.times_blocked() != blocked_seen); }
  void clear_met_limit() noexcept {
    met_limit = false;
    if (meet) blocked_seen = meet->credit.times_blocked();
  }
  bool can_send() const noexcept { return send == SendState::open; }
  bool is_pushed() const noexcept { return delivery.mode != Delivery::Mode::passive; }
};

/// The loop's stock of streams.
class StreamPool {
 public:
  StreamPool() = default;
  StreamPool(const StreamPool&) = delete;
  StreamPool& operator=(const StreamPool&) = delete;
  ~StreamPool() {
    while (free_ != nullptr) delete std::exchange(free_, free_->next_free);
  }
  Stream* take() {
    if (free_ == nullptr) return new Stream;
    Stream* stream = std::exchange(free_, free_->next_free);
    --count_;
    *stream = Stream{};
    return stream;
  }
  void give_back(Stream* stream) noexcept {
    stream->meet = {};
    if (count_ == keep) {
      delete stream;
      return;
    }
    stream->next_free = free_;
    free_ = stream;
    ++count_;
  }

 private:
  static constexpr std::size_t keep = 4096;  // about 1.5 MiB
  Stream* free_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace riffle::core
