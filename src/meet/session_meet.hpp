// Where a session's loop and its application threads meet.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include <riffle/options.hpp>
#include <riffle/session.hpp>
#include "meet/asking.hpp"
#include "meet/credit.hpp"
#include "meet/loop_link.hpp"
#include "meet/mailbox.hpp"

namespace riffle::meet {

class StreamMeet;

enum SessionBit : std::uint32_t {
  session_open = 1u << 0,   ///< `opening` has streams
  session_wait = 1u << 1,   ///< `asking` has nodes
  session_close = 1u << 2,  ///< `closing` says with what
  session_gone = 1u << 3,   ///< the last handle has gone
};

/// Streams on their way to be opened: their links are a member of their own, for they may be attended meanwhile.
class OpeningBox {
 public:
  void push(StreamMeet* stream) noexcept;
  /// In the order of arrival, linked by `next_opening`.
  StreamMeet* take() noexcept;

 private:
  std::atomic<StreamMeet*> first_{nullptr};
};

class SessionMeet final : public Attendee {
 public:
  /// So many callers may wait, and so many opens be on their way, at once (ENG-10).
  static constexpr std::uint32_t max_asking = 65'536;
  static constexpr std::uint32_t max_opening = 65'536;

  SessionMeet(Held<LoopLink> its_loop, Role which, StreamLimits its_limits, bool handled)
      : Attendee(AttendeeKind::session),
        loop(std::move(its_loop)),
        role(which),
        limits(its_limits),
        has_handler(handled),
        credit(static_cast<std::int64_t>(its_limits.session_send_credit)) {}
  ~SessionMeet() override;

  const Held<LoopLink> loop;
  const Role role;
  const StreamLimits limits;
  const bool has_handler;
  void* core = nullptr;  ///< the loop's driver; loop only

  std::atomic<SessionState> state{SessionState::init};
  /// A thread that has called close sees closed at once (CON-2).
  std::atomic<bool> close_called{false};
  Credit credit;  ///< second to the stream's own
  OpeningBox opening;
  std::atomic<std::uint32_t> opening_count{0};
  Mailbox<Asking> asking;
  std::atomic<std::uint32_t> asking_count{0};
  /// How many more streams may be opened now, as the loop last saw it: bidirectional, unidirectional.
  std::array<std::atomic<std::int64_t>, 2> open_credit{};

  /// The first close counts. Cold: taken at close and when the reason is asked for, never on the packet path.
  struct Closing {
    AppCode code{};
    std::string reason;
  };
  void request_close(AppCode code, std::string_view reason);
  std::optional<Closing> close_request() const;
  void set_close_reason(CloseReason reason);
  std::optional<CloseReason> close_reason() const;

 private:
  mutable std::mutex cold_;
  std::optional<Closing> closing_;
  std::optional<CloseReason> reason_;
};

}  // namespace riffle::meet
