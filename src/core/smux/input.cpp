// The peer's frames, and the clock.
#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "core/smux/engine.hpp"

namespace riffle::core::smux {
namespace {

/// Refusals that wait for room in the output. A peer that opens so many streams too many and takes no answer is given
/// up; 1,024 is the accept backlog of the Go module.
constexpr std::size_t most_refusals = 1024;

}  // namespace

void Engine::on_input(std::span<std::byte> input, const Arrival&, Instant now) noexcept {
  now_ = now;
  if (state_ != PortState::established || input.empty()) return;
  last_input_ = now;
  std::span<const std::byte> rest = input;
  while (state_ == PortState::established) {
    const Frame frame = decoder_.next(rest);
    if (frame.kind == Frame::Kind::none) break;
    switch (frame.kind) {
      case Frame::Kind::control:
        on_control(frame);
        break;
      case Frame::Kind::data_begins:
        on_data_begins(frame);
        break;
      case Frame::Kind::data:
        on_data(frame.data);
        break;
      default:
        violation(decoder_.violation());
        break;
    }
  }
  check();
}

void Engine::violation(std::string sentence) { end(Error(Code::protocol_violation, std::move(sentence)), true); }

void Engine::on_control(const Frame& frame) {
  if (frame.command == Command::nop) return;
  if (frame.command == Command::syn) return on_syn(frame.stream);
  Stream* stream = find(frame.stream);
  if (stream == nullptr) return;
  end_hold(*stream);
  if (frame.command == Command::upd)
    on_update(*stream, frame.update);
  else
    on_fin(*stream);
}

void Engine::on_syn(std::uint32_t id) {
  if (find(id) != nullptr) return;  // a duplicate is ignored (session.go, recvLoop)
  if (theirs_ >= options_.max_streams) {
    if (refused_.size() == most_refusals)
      return end(Error(Code::budget_exhausted, "the peer opened more than " + std::to_string(options_.max_streams) +
                                                   " smux streams and took no refusal"),
                 true);
    return refused_.push_back(id);
  }
  Stream& stream = add(id, false);
  name_readable(stream);
  if (options_.accept_hold == Duration::zero()) return;
  stream.is_held = true;
  stream.due = now_ + options_.accept_hold;
  held_.push_back(stream);
}

void Engine::on_update(Stream& stream, Update update) {
  // In flight is the signed difference; negative means that the peer has read what we never wrote (stream.go).
  const std::uint32_t in_flight = stream.written - update.consumed;
  if (in_flight >= (1u << 31))
    return violation("smux UPD of stream " + std::to_string(stream.id) + " says that " +
                     std::to_string(update.consumed) + " bytes were consumed, only " + std::to_string(stream.written) +
                     " were written (both modulo 2^32)");
  stream.peer_consumed = update.consumed;
  stream.peer_window = std::min(update.window, (1u << 31) - 1);
  if (stream.window_left() == 0) {
    // The window was lowered under what is on its way: its turn ends here.
    sendable_.remove(stream);
    stream.turn_left = 0;
  }
  schedule(stream);
}

void Engine::on_fin(Stream& stream) {
  if (stream.receiving != Stream::Receiving::open) return;
  stream.receiving = stream.is_stopped ? Stream::Receiving::fin_read : Stream::Receiving::fin_received;
  name_readable(stream);
  forget_if_over(stream);
}

void Engine::on_data_begins(const Frame& frame) {
  receiving_ = nullptr;
  Stream* stream = find(frame.stream);
  if (stream == nullptr || stream->receiving != Stream::Receiving::open) return;
  end_hold(*stream);
  // The peer knows of no credit but what was written out, and may not know of that yet.
  const std::uint32_t limit = std::max(unasked_window, stream->announced_window);
  const std::uint32_t unconsumed = stream->received - stream->announced_consumed;
  if (frame.length > limit - unconsumed)
    return violation("smux stream " + std::to_string(stream->id) + " has " + std::to_string(unconsumed) +
                     " bytes unread and was sent " + std::to_string(frame.length) + " more, its window is " +
                     std::to_string(limit));
  if (!stream->is_stopped && frame.length > options_.receive_budget - buffered_)
    return end(
        Error(Code::budget_exhausted,
              "the unread bytes of " + std::to_string(streams_.size()) + " smux streams passed receive_budget, " +
                  std::to_string(options_.receive_budget) + " bytes; read them, or lower first_window"),
        true);
  stream->received += frame.length;
  receiving_ = stream;
}

void Engine::on_data(std::span<const std::byte> data) {
  if (receiving_ == nullptr) return;
  if (receiving_->is_stopped) return consume(*receiving_, static_cast<std::uint32_t>(data.size()));
  receiving_->buffer.append(data, chunks_);
  buffered_ += data.size();
  name_readable(*receiving_);
}

void Engine::end_hold(Stream& stream) {
  if (!std::exchange(stream.is_held, false)) return;
  held_.remove(stream);
  schedule(stream);
}

void Engine::end_grace(Stream& stream) {
  graced_.remove(stream);
  stream.sending = Stream::Sending::fin_due;
  control_.push_back(stream);
}

Instant Engine::next_deadline() const noexcept {
  if (state_ != PortState::established) return never;
  Instant next = never;
  if (options_.keep_alive_interval != Duration::zero() && !nop_due_)
    next = std::min(next, last_output_ + options_.keep_alive_interval);
  if (options_.keep_alive_timeout != Duration::zero()) next = std::min(next, last_input_ + options_.keep_alive_timeout);
  if (!held_.empty()) next = std::min(next, held_.front()->due);
  if (!graced_.empty()) next = std::min(next, graced_.front()->due);
  return next;
}

void Engine::on_deadline(Instant now) noexcept {
  now_ = now;
  if (state_ != PortState::established) return;
  if (options_.keep_alive_timeout != Duration::zero() && now - last_input_ >= options_.keep_alive_timeout) {
    const auto silence = std::chrono::duration_cast<std::chrono::milliseconds>(now - last_input_).count();
    end(Error(Code::idle_timeout, "the smux peer was silent for " + std::to_string(silence) + " ms"), false);
    return check();
  }
  if (options_.keep_alive_interval != Duration::zero() && now - last_output_ >= options_.keep_alive_interval)
    nop_due_ = true;
  while (!held_.empty() && held_.front()->due <= now) end_hold(*held_.front());
  while (!graced_.empty() && graced_.front()->due <= now) end_grace(*graced_.front());
  check();
}

}  // namespace riffle::core::smux
