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
  end_actions();
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
  if (state_ == SessionState::draining || is_over()) return;
  if (!pending_close_) {
    // A close comes after the writes that the same thread posted before it: it is acted on after the next take.
    pending_close_ = PendingClose{kind, code, std::string(reason), 1};
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
  while (Stream* stream = streams_.any()) {
    end_stream(*stream);
    streams_.erase(raw(stream->id));
  }
  for (Stream* stream = std::exchange(first_opening_, nullptr); stream != nullptr;) {
    Stream* next = stream->next_opening;
    end_stream(*stream);
    stream = next;
  }
  last_opening_ = nullptr;
  first_accepted_ = last_accepted_ = nullptr;
  accepted_count_ = 0;
  cached_ = nullptr;
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
  drop_queue(stream);
  if (stream.in_send_list) stream.in_send_list = false;  // the whole list is dropped below
  first_send_ = last_send_ = nullptr;
  if (stream.is_parked) unpark(stream);
  if (stream.meet) {
    meet::StreamMeet& shared = *stream.meet;
    stock_.receive_held -= std::min(stock_.receive_held, shared.reading.held_bytes());
    auto open = meet::WriteState::open;
    shared.write_state.compare_exchange_strong(open, meet::WriteState::closed);
    shared.reading.publish_end(meet::ReadEnd::closed, 0);
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
    Error why(Code::handshake_timeout,
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
  if (port_ != nullptr && now >= port_->next_deadline()) port_->on_deadline(now);
  is_dirty_ = true;
}

Instant Session::next_deadline() const noexcept {
  if (is_over()) return never;
  const Instant port = port_ != nullptr ? port_->next_deadline() : never;
  return std::min(port, handshake_deadline_);
}

void Session::on_session_attention(std::uint32_t bits, Instant now) {
  is_dirty_ = true;
  if ((bits & meet::session_open) != 0) take_openings(now);
  if ((bits & meet::session_wait) != 0) take_askings();
  if ((bits & meet::session_close) != 0) {
    if (const auto closing = shared_->close_request()) {
      close(StreamPort::CloseKind::application, raw(closing->code), closing->reason, Error(Code::closed));
    }
  }
  if ((bits & meet::session_gone) != 0 && !shared_->has_handler && !shared_->has_handles()) {
    close(StreamPort::CloseKind::application, 0, "", Error(Code::closed));
  }
  is_consistent();
}

void Session::on_released(base::SendBlock& block, Instant now) {
  auto& stream = *static_cast<Stream*>(block.stream);
  RIFFLE_CHECK(stream.in_flight > 0, "a block came back twice");
  --stream.in_flight;
  stream.acknowledged += block.size;
  if (stream.meet) stream.meet->counters.acknowledged.store(stream.acknowledged, std::memory_order_relaxed);
  if (stream.is_finished || stream.in_flight != 0) return;
  if (stream.first_block == nullptr && stream.has_unflushed) {
    stream.has_unflushed = false;
    actions.emplace_back(action::Flushed{stream.id});
    for (meet::Asking** link = &stream.first_asking; *link != nullptr;) {
      meet::Asking* asking = *link;
      if (asking->question != meet::Question::stream_flushed) {
        link = &asking->next;
        continue;
      }
      *link = asking->next;
      answer(asking);
    }
  }
  touch(stream, now);
  maybe_finish(stream);
  is_dirty_ = true;
}

// ---- outputs -----------------------------------------------------------------------------------------------------

void Session::collect(Instant now) {
  is_dirty_ = false;
  if (is_over()) return;
  check_stalled();
  if (port_ != nullptr) {
    if (state_ == SessionState::handshaking && port_->state() == PortState::established) on_established(now);
    while (const auto id = port_->next_readable()) {
      Stream* stream = find(*id);
      if (stream == nullptr) stream = accept(*id, now);
      if (stream == nullptr) continue;
      stream->has_input = true;
      advance_reading(*stream, now);
    }
    if (received_input_) {
      received_input_ = false;
      probe_parked(now);
      while (const auto id = port_->next_writable()) {
        if (Stream* stream = find(*id)) {
          stream->is_blocked = false;
          schedule_send(*stream);
        }
      }
      publish_open_credit();
      if (first_opening_ != nullptr) open_waiting(now);
    }
    // Only now: what came before the close has been read out.
    const PortState port_state = port_->state();
    if (port_state == PortState::draining || port_state == PortState::closed) {
      Error why = port_->end_reason();
      const bool ours = why.code() == Code::closed;
      const bool peers = why.code() == Code::peer_closed;
      end({.by = ours ? CloseReason::By::us : peers ? CloseReason::By::peer : CloseReason::By::transport,
           .is_application = why.is_application(),
           .code = why.wire(),
           .reason = why.evidence(),
           .error = std::move(why)},
          now);
    }
  }
  if (pending_close_ && pending_close_->takes_left == 0 && (port_ == nullptr || state_ == SessionState::init)) {
    end({.by = CloseReason::By::us,
         .is_application = pending_close_->kind == StreamPort::CloseKind::application,
         .code = pending_close_->code,
         .reason = pending_close_->reason,
         .error = end_error_},
        now);
  }
  hand_out_accepted();
  if (pending_close_ && pending_close_->takes_left > 0) {
    --pending_close_->takes_left;
    is_dirty_ = true;
  }
  is_consistent();
}

void Session::end_actions() {
  actions.clear();
  while (finished_ != nullptr) {
    Stream* stream = finished_;
    if (stream->in_flight != 0) break;  // its blocks come back before the transport goes; see on_released
    finished_ = stream->next_free;
    stock_.streams.give_back(stream);
  }
}

Batch Session::poll_output(std::span<std::byte> buffer, Instant now) {
  if (port_ == nullptr) return {};
  if (state_ == SessionState::connected) refill(now);
  Batch batch = port_->poll_output(buffer, now);
  if (batch.bytes == 0 && pending_close_ && pending_close_->takes_left == 0) {
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

void Session::take_askings() {
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
      default: asking->next = std::exchange(questions_, asking); break;
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
