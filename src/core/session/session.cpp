// Life cycle, waiters, inputs and outputs of a session.
#include "core/session/session.hpp"

#include <algorithm>
#include <utility>

#include "base/check.hpp"

namespace riffle::core {

Session::Session(SessionOptions options, meet::Held<meet::SessionMeet> shared, LoopStock& stock)
    : options_(options), shared_(std::move(shared)), stock_(stock) {
  actions.reserve(16);
}

Session::~Session() {
  RIFFLE_CHECK(is_over() || state_ == SessionState::init, "a session was destroyed before it had ended");
  for (const Action& left : actions) {
    if (const auto* reply = std::get_if<action::Reply>(&left)) {
      reply->asking->next = nullptr;
      answer_now(reply->asking);
    }
    if (const auto* wake = std::get_if<action::WakeReader>(&left)) {
      if (meet::Wakeable* waiter = wake->stream->reading.take_waiter()) waiter->wake();
      wake->stream->release();
    }
  }
  end_actions();
  if (probe_ != nullptr) base::SendBlock::destroy(probe_);
  RIFFLE_CHECK(finished_ == nullptr, "a session was destroyed while its transport held its blocks");
  for (meet::Asking* list : {asking_connected_, asking_closed_, asking_accept_, questions_}) answer_now(list);
}

// ---- life --------------------------------------------------------------------------------------------------------

void Session::move(LifeEvent event, Instant now) {
  const auto to = next_state(state_, event);
  RIFFLE_CHECK(to.has_value(), "an event that has no meaning in the session's state");
  state_ = *to;
  handshake_deadline_ = timers_of(state_).handshake ? now + options_.handshake_timeout : never;
  if (!shared_->close_called.load()) shared_->state.store(state_);
  is_dirty_ = true;
}

void Session::begin(Instant now) {
  move(LifeEvent::begin, now);
  is_consistent();
}

void Session::adopt(StreamPort& port, Instant now) {
  RIFFLE_CHECK(port_ == nullptr, "a session has one transport");
  if (is_over()) return;
  port_ = &port;
  is_dirty_ = true;
  if (pending_close_) return;
  if (port.state() == PortState::established) on_established(now);
}

void Session::fail(Error why, Instant now) {
  if (state_ == SessionState::draining || is_over()) return;
  end({.by = CloseReason::By::transport,
       .is_application = false,
       .code = why.wire(),
       .reason = why.evidence(),
       .error = std::move(why)},
      now);
}

void Session::close(StreamPort::CloseKind kind, std::uint64_t code, std::string_view reason, Error why) {
  request_close(kind, code, reason, std::move(why), 1);
}

/// Acted on at the output that follows `takes` calls of `collect`.
void Session::request_close(StreamPort::CloseKind kind, std::uint64_t code, std::string_view reason, Error why,
                            std::uint8_t takes) {
  if (state_ == SessionState::draining || is_over()) return;
  if (!pending_close_) {
    pending_close_ = PendingClose{kind, code, std::string(reason), takes};
    end_error_ = std::move(why);
  }
  is_dirty_ = true;
  is_consistent();
}

void Session::on_established(Instant now) {
  if (state_ != SessionState::handshaking) return;
  move(LifeEvent::established, now);
  actions.emplace_back(action::Connected{});
  answer_all(asking_connected_, nullptr);
  publish_open_credit();
  open_waiting(now);
  streams_.for_each([this](Stream& stream) { schedule_send(stream); });
}

void Session::end(CloseReason reason, Instant now) {
  if (state_ == SessionState::draining || is_over()) return;
  const bool ours = reason.by == CloseReason::By::us;
  move(ours ? LifeEvent::close : LifeEvent::peer_close, now);
  reason_ = std::move(reason);
  pending_close_.reset();
  shared_->set_close_reason(reason_);
  actions.emplace_back(action::Draining{});
  const Error error = closed_error();
  streams_.for_each([this](Stream& stream) { end_stream(stream); });
  streams_.clear();
  for (Stream* stream = std::exchange(first_opening_, nullptr); stream != nullptr;) {
    Stream* next = stream->next_opening;
    shared_->opening_count.fetch_sub(1);
    end_stream(*stream);
    stream = next;
  }
  last_opening_ = nullptr;
  first_accepted_ = last_accepted_ = nullptr;
  accepted_count_ = 0;
  cached_ = delivering_ = nullptr;
  take_askings();
  answer_all(asking_connected_, &error);
  answer_all(asking_accept_, &error);
  move(LifeEvent::ended, now);
  shared_->state.store(SessionState::closed);
  answer_all(asking_closed_, nullptr);
  stats_.streams_open = 0;
  actions.emplace_back(action::Closed{});
}

void Session::end_stream(Stream& stream) {
  set_blocked(stream, false);
  drop_queue(stream);
  if (stream.is_parked) unpark(stream);
  forget_held(stream);
  if (stream.meet) {
    meet::StreamMeet& shared = *stream.meet;
    stats_.writes_blocked += shared.credit.times_blocked();
    if (stream.is_delivering) shared.reading.release();
    auto open = meet::WriteState::open;
    shared.write_state.compare_exchange_strong(open, meet::WriteState::closed);
    shared.reading.publish_end(meet::ReadEnd::closed, 0);
    shared.reading.set_active(false);  // from now on every read says `closed`, whatever the mode was
    wake_reader(stream);
    const Error error = closed_error();
    for (meet::Asking* asking = shared.asking.take(); asking != nullptr;) {
      meet::Asking* next = asking->next;
      asking->next = stream.first_asking;
      stream.first_asking = asking;
      asking = next;
    }
    answer_all(stream.first_asking, &error);
    shared.core = nullptr;
    shared.is_finished.store(true);
  }
  stats_.writes_blocked += stream.writes_blocked;
  stream.is_finished = true;
  stream.next_free = finished_;
  finished_ = &stream;
}

Error Session::closed_error() const {
  if (reason_.error.code() != Code::closed) return reason_.error;
  return Error(Code::closed, reason_.reason.empty() ? std::string("we closed it") : "we closed it: " + reason_.reason);
}

// ---- inputs ------------------------------------------------------------------------------------------------------

void Session::on_input(std::span<std::byte> input, const Arrival& arrival, Instant now) {
  if (port_ == nullptr || is_over()) return;
  port_->on_input(input, arrival, now);
  received_input_ = true;
  is_dirty_ = true;
}

void Session::on_deadline(Instant now) {
  if (is_over()) return;
  if (now >= handshake_deadline_) {
    handshake_deadline_ = never;
    Error why(
        Code::handshake_timeout,
        "no answer within " +
            std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(options_.handshake_timeout).count()) +
            " ms");
    if (port_ == nullptr) {
      fail(std::move(why), now);
    } else {
      port_->close(StreamPort::CloseKind::transport, 0, "handshake timeout");
      fail(std::move(why), now);
    }
    return;
  }
  if (now >= stall_check_) check_stalled(now);
  if (pending_close_ && now >= pending_close_->held_until) pending_close_->is_due = true;
  if (port_ != nullptr && now >= port_->next_deadline()) port_->on_deadline(now);
  is_dirty_ = true;
}

Instant Session::next_deadline() const noexcept {
  if (is_over()) return never;
  const Instant port = port_ != nullptr ? port_->next_deadline() : never;
  const Instant close = pending_close_ && !pending_close_->is_due ? pending_close_->held_until : never;
  return std::min({port, handshake_deadline_, stall_check_, stops_due_, close});
}

void Session::on_session_attention(std::uint32_t bits, Instant now) {
  is_dirty_ = true;
  if ((bits & meet::session_open) != 0) take_openings(now);
  if ((bits & meet::session_wait) != 0) take_askings();
  if ((bits & meet::session_close) != 0) {
    if (const auto closing = shared_->close_request()) {
      // A close comes after the writes that the same thread posted before it; they may have been linked behind this
      // take, so it is acted on after the next one.
      request_close(StreamPort::CloseKind::application, raw(closing->code), closing->reason, Error(Code::closed), 2);
    }
  }
  if ((bits & meet::session_gone) != 0 && !shared_->has_handler && !shared_->has_handles()) {
    request_close(StreamPort::CloseKind::application, 0, "", Error(Code::closed), 2);
  }
  is_consistent();
}

void Session::on_released(base::SendBlock& block, Instant now) {
  auto& stream = *static_cast<Stream*>(block.stream);
  RIFFLE_CHECK(stream.in_flight > 0, "a block came back twice");
  --stream.in_flight;
  stream.acknowledged += block.offered;
  if (stream.meet) stream.meet->counters.acknowledged.store(stream.acknowledged, std::memory_order_relaxed);
  if (stream.is_finished || stream.in_flight != 0) return;
  schedule_send(stream);  // a fin that waited for this
  if (stream.first_block == nullptr && stream.has_unflushed) {
    stream.has_unflushed = false;
    actions.emplace_back(action::Flushed{stream.id});
    answer_those(stream.first_asking, meet::Question::stream_flushed);
  }
  touch(stream, now);
  maybe_finish(stream);
  is_dirty_ = true;
}

// ---- outputs -----------------------------------------------------------------------------------------------------

void Session::collect(Instant now) {
  is_dirty_ = false;
  if (is_over()) return;
  if (pending_close_ && pending_close_->takes_left > 0 && --pending_close_->takes_left > 0) is_dirty_ = true;
  if (port_ != nullptr) collect_from_port(now);
  if (pending_close_ && pending_close_->takes_left == 0 && (port_ == nullptr || state_ == SessionState::init)) {
    end({.by = CloseReason::By::us,
         .is_application = pending_close_->kind == StreamPort::CloseKind::application,
         .code = pending_close_->code,
         .reason = pending_close_->reason,
         .error = end_error_},
        now);
  }
  hand_out_accepted();
  is_consistent();
}

void Session::collect_from_port(Instant now) {
  if (state_ == SessionState::handshaking && port_->state() == PortState::established) on_established(now);
  const bool has_input = std::exchange(received_input_, false);
  // First: a stream whose receiving side ends too may be gone from the transport once that was read.
  heard_stops_ = is_time_for_stops(has_input, now) && port_->take_stops();
  if (heard_stops_) look_for_stops();
  while (const auto id = port_->next_readable()) {
    Stream* stream = find(*id);
    if (stream == nullptr) stream = accept(*id, now);
    if (stream == nullptr) continue;
    stream->has_input = true;
    advance_reading(*stream, now);
  }
  take_writable();
  if (has_input) probe_parked(now);
  publish_open_credit();
  if (first_opening_ != nullptr &&
      port_->streams_left(Direction::bidirectional) + port_->streams_left(Direction::unidirectional) != 0) {
    open_waiting(now);
  }
  const PortState port_state = port_->state();
  if (port_state != PortState::draining && port_state != PortState::closed) return;
  // What came before the close is told before it: deliveries and notices first, the end in the next cycle.
  if (!actions.empty() && !std::exchange(end_postponed_, true)) {
    is_dirty_ = true;
    return;
  }
  Error why = port_->end_reason();
  const bool ours = why.code() == Code::closed;
  const bool peers = why.code() == Code::peer_closed || why.code() == Code::refused;
  end({.by = ours    ? CloseReason::By::us
             : peers ? CloseReason::By::peer
                     : CloseReason::By::transport,
       .is_application = why.is_application(),
       .code = why.wire(),
       .reason = why.evidence(),
       .error = std::move(why)},
      now);
}

/// Asking quiche whether the peer has sent STOP_SENDING costs a walk over the session's streams. With few of them that
/// is nothing; with many it is done at most once in `stops_interval`.
bool Session::is_time_for_stops(bool has_input, Instant now) noexcept {
  constexpr std::size_t few_streams = 32;
  constexpr auto stops_interval = std::chrono::milliseconds(5);
  if (has_input && streams_.size() > few_streams) stops_due_ = std::min(stops_due_, stops_looked_ + stops_interval);
  const bool is_due = now >= stops_due_ || (has_input && streams_.size() <= few_streams);
  if (!is_due) return false;
  stops_due_ = never;
  stops_looked_ = now;
  return true;
}

/// A transport names streams when the peer gives credit, or when its own queue has drained.
void Session::take_writable() {
  if (blocked_count_ == 0) return;
  while (const auto id = port_->next_writable()) {
    if (Stream* stream = find(*id)) {
      set_blocked(*stream, false);
      schedule_send(*stream);
    }
  }
}

void Session::end_actions() {
  actions.clear();
  free_discarded();
  for (Stream** link = &finished_; *link != nullptr;) {
    Stream* stream = *link;
    if (stream->in_flight != 0) {
      link = &stream->next_free;  // its blocks come back before the transport goes; see on_released
      continue;
    }
    *link = stream->next_free;
    stock_.streams.give_back(stream);
  }
}

/// A close is a packet too: quiche keeps it back while the congestion window is full, and the peer would hear of it by
/// its idle timeout alone. So a close behind streams that had to wait is held until one of them could go on.
bool Session::is_time_to_close(Instant now) noexcept {
  constexpr auto longest_hold = std::chrono::milliseconds(250);  // a peer that answers at all answers by then
  if (pending_close_->held_until == never) {
    bool has_blocked = false;
    streams_.for_each([&has_blocked](const Stream& stream) { has_blocked = has_blocked || stream.is_blocked; });
    if (!has_blocked) return true;
    pending_close_->held_until = now + longest_hold;
    return false;
  }
  return pending_close_->is_due || port_->next_writable().has_value();
}

Batch Session::poll_output(std::span<std::byte> buffer, Instant now) {
  if (port_ == nullptr) return {};
  const bool is_held = pending_close_ && pending_close_->held_until != never;
  if (state_ == SessionState::connected && port_->state() == PortState::established && !is_held) {
    take_writable();
    refill(now);
  }
  Batch batch = port_->poll_output(buffer, now);
  if (batch.bytes == 0 && pending_close_ && pending_close_->takes_left == 0 && is_time_to_close(now)) {
    const PendingClose closing = *std::exchange(pending_close_, std::nullopt);
    port_->close(closing.kind, closing.code, closing.reason);
    batch = port_->poll_output(buffer, now);
    end({.by = CloseReason::By::us,
         .is_application = closing.kind == StreamPort::CloseKind::application,
         .code = closing.code,
         .reason = closing.reason,
         .error = end_error_},
        now);
  }
  return batch;
}

// ---- waiters -----------------------------------------------------------------------------------------------------

void Session::answer(meet::Asking* asking, std::optional<Error> error) {
  asking->error = std::move(error);
  actions.emplace_back(action::Reply{asking});
  is_dirty_ = true;
}

void Session::answer_all(meet::Asking*& list, const Error* error) {
  for (meet::Asking* asking = std::exchange(list, nullptr); asking != nullptr;) {
    meet::Asking* next = asking->next;
    answer(asking, error != nullptr ? std::optional<Error>(*error) : std::nullopt);
    asking = next;
  }
}

/// Those of the list that asked this.
void Session::answer_those(meet::Asking*& list, meet::Question question) {
  for (meet::Asking** link = &list; *link != nullptr;) {
    meet::Asking* asking = *link;
    if (asking->question != question) {
      link = &asking->next;
      continue;
    }
    *link = asking->next;
    answer(asking);
  }
}

/// Callers that have given up, so that asking again and again with short deadlines fills no list.
void Session::drop_abandoned(meet::Asking*& list) {
  for (meet::Asking** link = &list; *link != nullptr;) {
    meet::Asking* asking = *link;
    if (!asking->is_abandoned()) {
      link = &asking->next;
      continue;
    }
    *link = asking->next;
    answer(asking);
  }
}

/// At the session's destruction, when no action will be run any more.
void Session::answer_now(meet::Asking* list) noexcept {
  while (list != nullptr) {
    meet::Asking* asking = std::exchange(list, list->next);
    if (!asking->error) asking->error = closed_error();
    asking->answer();
    shared_->asking_count.fetch_sub(1, std::memory_order_relaxed);
    asking->release();
  }
}

void Session::take_askings() {
  drop_abandoned(asking_connected_);
  drop_abandoned(asking_closed_);
  drop_abandoned(asking_accept_);
  for (meet::Asking* asking = shared_->asking.take(); asking != nullptr;) {
    meet::Asking* next = asking->next;
    switch (asking->question) {
      case meet::Question::connected:
        if (state_ == SessionState::connected) {
          answer(asking);
        } else if (is_over()) {
          answer(asking, closed_error());
        } else {
          asking->next = std::exchange(asking_connected_, asking);
        }
        break;
      case meet::Question::session_closed:
        if (is_over()) {
          answer(asking);
        } else {
          asking->next = std::exchange(asking_closed_, asking);
        }
        break;
      case meet::Question::accept_stream:
        if (is_over()) {
          answer(asking, closed_error());
        } else {
          // First come, first served.
          meet::Asking** last = &asking_accept_;
          while (*last != nullptr) last = &(*last)->next;
          asking->next = nullptr;
          *last = asking;
        }
        break;
      default:
        asking->next = std::exchange(questions_, asking);
        break;
    }
    asking = next;
  }
}

meet::Asking* Session::take_question() noexcept {
  if (questions_ == nullptr) return nullptr;
  meet::Asking* asking = questions_;
  questions_ = asking->next;
  return asking;
}

void Session::is_consistent() const noexcept {
  RIFFLE_CHECK((first_send_ == nullptr) == (last_send_ == nullptr), "the send list has lost an end");
  RIFFLE_CHECK((first_opening_ == nullptr) == (last_opening_ == nullptr), "the opening list has lost an end");
  RIFFLE_CHECK(!is_over() || streams_.size() == 0, "a closed session has streams");
  RIFFLE_CHECK(parked_count_ == 0 || first_parked_ != nullptr, "the parked streams are miscounted");
}

}  // namespace riffle::core
