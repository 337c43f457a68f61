// What other threads ask of a stream, taken by the loop (design/streams.md, "Attention instead of a command queue").
#include <utility>

#include "core/session/session.hpp"

namespace riffle::core {

void Session::on_stream_attention(meet::StreamMeet& shared, std::uint32_t bits, Instant now) {
  auto* stream = static_cast<Stream*>(shared.core);
  if (stream == nullptr) {
    on_late_attention(shared);
    return;
  }
  is_dirty_ = true;
  if ((bits & meet::stream_priority) != 0 && stream->has_id && port_ != nullptr) {
    const std::uint32_t packed = shared.priority.load();
    port_->set_priority(stream->id, static_cast<std::uint8_t>(packed >> 1), (packed & 1u) != 0);
  }
  if ((bits & meet::stream_write) != 0) take_writes(*stream, now);
  if ((bits & meet::stream_mode) != 0) {
    apply_delivery(*stream, meet::StreamMeet::unpack(shared.wanted_delivery.load()), now);
  }
  if ((bits & meet::stream_refill) != 0) on_refill(*stream, now);
  if ((bits & meet::stream_deliver) != 0 && stream->is_pushed()) queue_delivery(*stream);
  if ((bits & meet::stream_want) != 0) on_credit(*stream);
  if ((bits & meet::stream_reset) != 0 && shared.core != nullptr) {
    shutdown_stream(*stream, Side::writing, AppCode{shared.reset_code.load()}, now);
  }
  if ((bits & meet::stream_stop) != 0 && shared.core != nullptr) {
    shutdown_stream(*stream, Side::reading, AppCode{shared.stop_code.load()}, now);
  }
  if ((bits & meet::stream_gone) != 0 && shared.core != nullptr) on_handle_gone(*stream, now);
  if ((bits & meet::stream_wait) != 0 && shared.core != nullptr) take_stream_askings(*stream);
  if (shared.core == nullptr) on_late_attention(shared);  // it has ended in this very call
  is_consistent();
}

void Session::on_late_attention(meet::StreamMeet& shared) {
  // The stream is over: late writes have nowhere to go, late questions get their answer.
  for (base::SendBlock* block = shared.mailbox.take(); block != nullptr;) {
    base::SendBlock* next = block->next;
    return_credit(block->size);
    discard(block);
    block = next;
  }
  const meet::WriteState how = shared.write_state.load();
  const std::uint64_t code = shared.write_code.load();
  for (meet::Asking* asking = shared.asking.take(); asking != nullptr;) {
    meet::Asking* next = asking->next;
    const bool all_was_flushed =
        asking->question == meet::Question::stream_flushed && !is_over() && how == meet::WriteState::ended;
    const bool was_opened =
        asking->question == meet::Question::stream_open && shared.id.load() != meet::StreamMeet::no_id;
    if (all_was_flushed || was_opened) {
      answer(asking);
    } else if (how == meet::WriteState::refused) {
      answer(asking, Error(Code{static_cast<std::uint16_t>(code)}, "the stream did not open"));
    } else if (how == meet::WriteState::stopped) {
      answer(asking, Error::with_wire(Code::stream_stopped, code));
    } else {
      answer(asking, is_over() ? closed_error() : Error(Code::closed, "the stream has ended"));
    }
    asking = next;
  }
}

void Session::take_stream_askings(Stream& stream) {
  drop_abandoned(stream.first_asking);
  for (meet::Asking* asking = stream.meet->asking.take(); asking != nullptr;) {
    meet::Asking* next = asking->next;
    bool is_answered = false;
    switch (asking->question) {
      case meet::Question::stream_open:
        is_answered = stream.has_id;
        break;
      case meet::Question::stream_writable:
        is_answered = stream.meet->credit.left() > 0 && shared_->credit.left() > 0;
        break;
      case meet::Question::stream_flushed:
        is_answered = stream.in_flight == 0 && stream.first_block == nullptr;
        break;
      default:
        break;
    }
    const bool cannot_send = stream.send == SendState::reset || stream.send == SendState::stopped;
    if (is_answered && (!cannot_send || asking->question == meet::Question::stream_open)) {
      answer(asking);
    } else if (cannot_send) {
      answer(asking, stream.send == SendState::stopped ? Error::with_wire(Code::stream_stopped, raw(stream.stop_code))
                                                       : Error(Code::stream_finished, "it was shut down"));
    } else {
      // Only the loop gives credit back, so nothing comes between the look and this.
      if (asking->question == meet::Question::stream_writable && shared_->credit.left() <= 0) shared_->credit.want();
      asking->next = std::exchange(stream.first_asking, asking);
    }
    asking = next;
  }
}

void Session::on_handle_gone(Stream& stream, Instant now) {
  const bool handler_goes_on = shared_->has_handler;
  if (handler_goes_on || stream.meet->has_handles() || stream.handle_returned) return;
  // What was written and finished still goes out, also from a stream that has not opened yet.
  shutdown_stream(stream, stream.send == SendState::open ? Side::both : Side::reading, AppCode{0}, now);
}

}  // namespace riffle::core
