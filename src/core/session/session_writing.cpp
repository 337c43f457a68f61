// From the application to the transport: queues, credit, and who may send next (ENG-4, ENG-5, STR-2, STR-7).
#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "core/session/session.hpp"

namespace riffle::core {
namespace {

/// Writes below this are gathered into one block of `gather_block` (design/streams.md, "Writing").
constexpr std::size_t gather_below = 2048;
constexpr std::size_t gather_block = 4096;
/// What a session may have under way however full the engine's send budget is, or it could not go on.
constexpr std::int64_t least_credit = 64 * 1024;

}  // namespace

void Session::write(StreamId id, base::SendBlock* block, Instant now) {
  if (is_over()) {  // `closed` is the last that a handler hears
    discard(block);
    return;
  }
  Stream* stream = find(id);
  if (stream == nullptr || !stream->can_send()) {
    actions.emplace_back(stream != nullptr && stream->send == SendState::stopped
                             ? action::WriteFailed{id, Code::stream_stopped, raw(stream->stop_code)}
                             : action::WriteFailed{id, stream == nullptr ? Code::closed : Code::stream_finished, 0});
    discard(block);
    is_dirty_ = true;
    return;
  }
  const auto size = static_cast<std::int64_t>(block->size);
  if (stream->meet) {
    stream->meet->credit.overdraw(size);
  } else {
    stream->credit -= size;
  }
  shared_->credit.overdraw(size);
  enqueue(*stream, block, now);
  const std::int64_t session_left = shared_->credit.left();
  const std::int64_t left = std::min(stream->meet ? stream->meet->credit.left() : stream->credit, session_left);
  if (session_left <= 0) shared_->credit.want();
  if (left <= 0) {
    if (!stream->wants_writable) ++stream->writes_blocked;
    stream->wants_writable = true;
    stream->met_limit = true;
    // An answer that overran pauses the question's stream, so that an echo of one line stays bounded.
    if (delivering_ != nullptr && delivering_->paused_by == nullptr) {
      delivering_->paused_by = stream;
      delivering_->next_paused = std::exchange(stream->first_paused, delivering_);
    }
  }
}

std::int64_t Session::writable_bytes(StreamId id) noexcept {
  Stream* stream = find(id);
  if (stream == nullptr || !stream->can_send()) return 0;
  const std::int64_t session_left = shared_->credit.left();
  const std::int64_t left = std::min(stream->meet ? stream->meet->credit.left() : stream->credit, session_left);
  if (session_left <= 0) shared_->credit.want();
  if (left <= 0) {
    stream->wants_writable = true;
    stream->met_limit = true;
  }
  return left;
}

void Session::enqueue(Stream& stream, base::SendBlock* block, Instant now) {
  if (block->size == 0 && !block->fin) return base::SendBlock::destroy(block);
  stream.has_unflushed = true;
  stream.queued += block->size;
  stock_.send_held += block->size;
  stats_.send_buffered += block->size;
  if (block->fin) stream.send = SendState::ending;
  base::SendBlock* last = stream.last_block;
  if (last != nullptr && block->size == 0) {
    last->fin = last->fin || block->fin;  // a fin travels with the bytes before it
    base::SendBlock::destroy(block);
  } else if (last != nullptr && last->size + block->size <= gather_block && block->size < gather_below && !last->fin &&
             last->references() == 1 && last->append({block->data, block->size})) {
    last->fin = block->fin;
    base::SendBlock::destroy(block);
  } else {
    if (block->size < gather_below && last != nullptr && block->owner == nullptr && !block->fin) {
      // Small writes queue up: give them a block that the next ones fit into.
      base::SendBlock* gathering = base::SendBlock::make_copy({block->data, block->size}, block->fin, gather_block);
      base::SendBlock::destroy(block);
      block = gathering;
    }
    block->next = nullptr;
    block->stream = &stream;
    block->released = &stock_.released;
    (last != nullptr ? last->next : stream.first_block) = block;
    stream.last_block = block;
  }
  withhold_credit();
  touch(stream, now);
  schedule_send(stream);
}

void Session::take_writes(Stream& stream, Instant now) {
  base::SendBlock* block = stream.meet->mailbox.take();
  while (block != nullptr) {
    base::SendBlock* next = block->next;
    if (stream.can_send()) {
      enqueue(stream, block, now);
    } else {
      refuse_write(stream, block);
    }
    block = next;
  }
}

void Session::refuse_write(Stream& stream, base::SendBlock* block) {
  return_credit(block->size);
  if (stream.meet) stream.meet->credit.give_back(block->size);
  actions.emplace_back(stream.send == SendState::stopped
                           ? action::WriteFailed{stream.id, Code::stream_stopped, raw(stream.stop_code)}
                           : action::WriteFailed{stream.id, Code::stream_finished, 0});
  discard(block);
  is_dirty_ = true;
}

void Session::schedule_send(Stream& stream) {
  if (stream.in_send_list || stream.is_blocked || !stream.has_id || stream.first_block == nullptr) return;
  stream.in_send_list = true;
  stream.next_send = nullptr;
  stream.previous_send = last_send_;
  (last_send_ != nullptr ? last_send_->next_send : first_send_) = &stream;
  last_send_ = &stream;
  is_dirty_ = true;
}

void Session::unschedule(Stream& stream) noexcept {
  if (!std::exchange(stream.in_send_list, false)) return;
  (stream.previous_send != nullptr ? stream.previous_send->next_send : first_send_) = stream.next_send;
  (stream.next_send != nullptr ? stream.next_send->previous_send : last_send_) = stream.previous_send;
}

void Session::set_blocked(Stream& stream, bool blocked) noexcept {
  if (stream.is_blocked == blocked) return;
  stream.is_blocked = blocked;
  if (blocked) {
    ++blocked_count_;
  } else {
    --blocked_count_;
  }
}

void Session::refill(Instant now) {
  while (first_send_ != nullptr) {
    Stream& stream = *first_send_;
    unschedule(stream);
    if (!offer_blocks(stream, now) && !stream.is_finished) set_blocked(stream, true);
  }
}

bool Session::offer_blocks(Stream& stream, Instant now) {
  std::int64_t taken = 0;
  bool is_open = true;
  while (stream.first_block != nullptr && is_open) {
    base::SendBlock& block = *stream.first_block;
    // quiche counts a sending side as complete once its bytes are acknowledged, whether or not a fin behind them was
    // sent, and may forget the stream with it: a fin that comes alone waits until nothing else can complete the stream.
    if (block.size == 0 && stream.in_flight != 0 && has(port_->capabilities(), Capability::acknowledged)) break;
    const bool first_touch = block.offered == 0;
    const Offered offered = port_->offer(stream.id, block);
    if (first_touch && (offered.size != 0 || offered.status == Offered::Status::taken)) ++stream.in_flight;
    taken += static_cast<std::int64_t>(offered.size);
    switch (offered.status) {
      case Offered::Status::taken:
        stream.first_block = block.next;
        if (stream.first_block == nullptr) stream.last_block = nullptr;
        if (block.fin) {
          stream.send = SendState::ended;
          if (stream.meet) stream.meet->counters.fin_sent.store(true, std::memory_order_relaxed);
        }
        block.release();
        break;
      case Offered::Status::blocked:
        is_open = false;
        break;
      case Offered::Status::stopped:
        settle_taken(stream, std::exchange(taken, 0), now);
        on_stopped(stream, offered.code);
        break;
      case Offered::Status::gone:
        settle_taken(stream, std::exchange(taken, 0), now);
        reset_sending(stream, SendState::reset, AppCode{0});
        actions.emplace_back(action::WriteFailed{stream.id, Code::closed, 0});
        is_dirty_ = true;
        break;
    }
  }
  settle_taken(stream, taken, now);
  maybe_finish(stream);
  return is_open;
}

void Session::on_stopped(Stream& stream, AppCode code) {
  reset_sending(stream, SendState::stopped, code);
  if (shared_->has_handler) actions.emplace_back(action::PeerStopped{stream.id, code});
  is_dirty_ = true;
}

/// Some stream was stopped by the peer.
void Session::look_for_stops() {
  std::vector<Stream*> open;
  streams_.for_each([&open](Stream& stream) {
    if (stream.send == SendState::open || stream.send == SendState::ending) open.push_back(&stream);
  });
  for (Stream* stream : open) probe_stop(*stream);
}

/// Offering nothing tells whether it was this one.
void Session::probe_stop(Stream& stream) {
  if (probe_ == nullptr) probe_ = base::SendBlock::make_copy({}, false);
  const Offered offered = port_->offer(stream.id, *probe_);
  if (offered.status != Offered::Status::stopped) return;
  on_stopped(stream, offered.code);
  maybe_finish(stream);
}

/// What the transport took: off the books, and its credit back to the writers.
void Session::settle_taken(Stream& stream, std::int64_t taken, Instant now) {
  if (taken == 0) return;
  stream.sent += static_cast<std::uint64_t>(taken);
  stream.queued -= static_cast<std::uint64_t>(taken);
  stock_.send_held -= static_cast<std::uint64_t>(taken);
  stats_.send_buffered -= static_cast<std::uint64_t>(taken);
  stats_.bytes_sent += static_cast<std::uint64_t>(taken);
  if (stream.meet) stream.meet->counters.sent.store(stream.sent, std::memory_order_relaxed);
  touch(stream, now);
  give_credit(stream, taken);
}

void Session::give_credit(Stream& stream, std::int64_t size) {
  if (stream.meet) {
    stream.meet->credit.give_back(size);
  } else {
    stream.credit += size;
  }
  // STR-7: a writer that used its credit up while the transport took everything is held back by the credit alone.
  const auto most = static_cast<std::int64_t>(options_.limits.send_credit_max);
  if (stream.met_limit_now() && stream.first_block == nullptr && stream.credit_limit < most) {
    const std::int64_t raised = std::min(2 * stream.credit_limit, most);
    if (stream.meet) {
      stream.meet->credit.raise_limit(raised);
    } else {
      stream.credit += raised - stream.credit_limit;
    }
    stream.credit_limit = raised;
  }
  if (stream.first_block == nullptr) stream.clear_met_limit();
  return_credit(size);
  on_credit(stream);
}

/// ENG-10: once the engine's send budget is used up, a session that queues more loses what it has not used of its own
/// credit, until there is room again.
void Session::withhold_credit() {
  if (stock_.send_held <= stock_.send_budget) return;
  const std::int64_t spare = shared_->credit.left();
  if (spare <= 0) return;
  shared_->credit.overdraw(spare);
  withheld_ += spare;
}

/// The session's credit, second to a stream's own. Writers that wait for it are told of it.
void Session::return_credit(std::int64_t size) {
  withheld_ += size;
  std::int64_t given = withheld_;
  bool is_budgeted = false;
  if (stock_.send_held > stock_.send_budget) {
    // With nothing queued no event would bring the rest back: so much every session may always have under way.
    const std::int64_t missing = least_credit - shared_->credit.left();
    given = stats_.send_buffered != 0 ? 0 : std::clamp<std::int64_t>(missing, 0, withheld_);
    is_budgeted = true;
  }
  if (given == 0) return;
  withheld_ -= given;
  shared_->credit.give_back(given);
  if (state_ == SessionState::draining || is_over()) return;
  if (!shared_->credit.take_want() && !is_budgeted) return;
  streams_.for_each([this](Stream& each) { on_credit(each); });
  for (Stream* each = first_opening_; each != nullptr; each = each->next_opening) on_credit(*each);
}

void Session::on_credit(Stream& stream) {
  const std::int64_t left = stream.meet ? stream.meet->credit.left() : stream.credit;
  if (left < stream.credit_limit / 2) return;
  if (shared_->credit.left() <= 0) {
    shared_->credit.want();
    return;
  }
  const bool is_wanted = stream.meet && stream.meet->credit.take_want();
  answer_those(stream.first_asking, meet::Question::stream_writable);
  if ((std::exchange(stream.wants_writable, false) || is_wanted) && stream.can_send()) {
    if (shared_->has_handler && stream.has_id) actions.emplace_back(action::Writable{stream.id});
    is_dirty_ = true;
  }
  if (stream.first_paused != nullptr) resume_paused(stream);
}

void Session::resume_paused(Stream& stream) {
  for (Stream* paused = std::exchange(stream.first_paused, nullptr); paused != nullptr;) {
    Stream* next = std::exchange(paused->next_paused, nullptr);
    paused->paused_by = nullptr;
    if (paused->is_pushed() && paused->receive != ReceiveState::done) queue_delivery(*paused);
    paused = next;
  }
}

/// Its reading side is over, or the stream is: nobody may resume it later.
void Session::unpause(Stream& stream) noexcept {
  if (stream.paused_by == nullptr) return;
  Stream** link = &stream.paused_by->first_paused;
  while (*link != &stream) link = &(*link)->next_paused;
  *link = std::exchange(stream.next_paused, nullptr);
  stream.paused_by = nullptr;
}

/// A block that the transport never saw. The release callback of lent bytes is user code: it runs in end_actions.
void Session::discard(base::SendBlock* block) noexcept {
  if (block->owner == nullptr) {
    base::SendBlock::destroy(block);
  } else {
    block->next = std::exchange(discarded_, block);
    is_dirty_ = true;
  }
}

void Session::free_discarded() noexcept {
  for (base::SendBlock* block = std::exchange(discarded_, nullptr); block != nullptr;) {
    base::SendBlock* next = block->next;
    base::SendBlock::destroy(block);
    block = next;
  }
}

void Session::drop_queue(Stream& stream) {
  set_blocked(stream, false);
  unschedule(stream);
  base::SendBlock* block = std::exchange(stream.first_block, nullptr);
  stream.last_block = nullptr;
  while (block != nullptr) {
    base::SendBlock* next = block->next;
    if (block->offered != 0) {
      block->release();  // the transport holds a part; the rest goes with it
    } else {
      discard(block);
    }
    block = next;
  }
  stock_.send_held -= stream.queued;
  stats_.send_buffered -= stream.queued;
  auto freed = static_cast<std::int64_t>(std::exchange(stream.queued, 0));
  if (stream.meet) {
    for (base::SendBlock* late = stream.meet->mailbox.take(); late != nullptr;) {
      base::SendBlock* next = late->next;
      freed += late->size;
      discard(late);
      late = next;
    }
  }
  if (freed != 0) return_credit(freed);
}

void Session::reset_sending(Stream& stream, SendState state, AppCode code) {
  stream.send = state;
  stream.stop_code = code;
  stream.has_unflushed = false;
  drop_queue(stream);
  if (stream.meet) {
    stream.meet->write_code.store(raw(code));
    stream.meet->write_state.store(state == SendState::stopped ? meet::WriteState::stopped : meet::WriteState::reset);
    const Error error =
        Error::with_wire(state == SendState::stopped ? Code::stream_stopped : Code::stream_finished, raw(code));
    answer_all(stream.first_asking, &error);
  }
  if (stream.first_paused != nullptr) resume_paused(stream);
}

void Session::shutdown(StreamId id, Side side, AppCode code, Instant now) {
  if (Stream* stream = find(id)) shutdown_stream(*stream, side, code, now);
}

void Session::shutdown_stream(Stream& stream, Side side, AppCode code, Instant now) {
  const bool writing_is_open = stream.send == SendState::open || stream.send == SendState::ending ||
                               (stream.send == SendState::ended && stream.in_flight != 0);
  if (side != Side::reading && writing_is_open) {
    if (stream.has_id && port_ != nullptr) port_->reset(stream.id, code);
    reset_sending(stream, SendState::reset, code);
  }
  if (side != Side::writing) stop_reading(stream, code, Code::closed);
  touch(stream, now);
  maybe_finish(stream);
  if (!stream.has_id && stream.receive_is_over() && stream.send_is_over()) withdraw_opening(stream);
  is_dirty_ = true;
}

}  // namespace riffle::core
