// Our frames: control first, then data in turns.
#include <algorithm>
#include <cstring>

#include "base/check.hpp"
#include "core/smux/engine.hpp"

namespace riffle::core::smux {
namespace {

/// At the end of a buffer that holds something already, less payload than this waits for the next one: a header for
/// each few bytes would cost more than the room is worth.
constexpr std::size_t least_payload = 512;

}  // namespace

/// Puts the stream where its sending side now belongs: among those with data and window, or towards its FIN.
void Engine::schedule(Stream& stream) {
  if (stream.is_held) return;
  if (!stream.queue.empty()) {
    if (stream.window_left() != 0) sendable_.push_back(stream);
    return;
  }
  if (stream.sending != Stream::Sending::finishing) return;
  if (options_.half_close_grace != Duration::zero() && stream.receiving != Stream::Receiving::open &&
      state_ == PortState::established) {
    if (stream.in_flight() > stream.peer_window / 2) return;  // the peer's next UPD leads here again
    stream.sending = Stream::Sending::graced;
    stream.due = now_ + options_.half_close_grace;
    graced_.push_back(stream);
    return;
  }
  stream.sending = Stream::Sending::fin_due;
  control_.push_back(stream);
}

bool Engine::has_output() const noexcept {
  return spill_begin_ != spill_end_ || nop_due_ || !refused_.empty() || !control_.empty() || !sendable_.empty();
}

Batch Engine::poll_output(std::span<std::byte> buffer, Instant now) noexcept {
  now_ = now;
  std::size_t size = drain_spill(buffer);
  if (spill_begin_ == spill_end_) size += fill(buffer.subspan(size));
  if (size == 0 && !buffer.empty() && has_output()) {
    // Smaller than the smallest frame: make one aside and give it in parts.
    spill_begin_ = 0;
    spill_end_ = static_cast<std::uint8_t>(fill(spill_));
    size = drain_spill(buffer);
  }
  if (size != 0) last_output_ = now;
  if (state_ == PortState::draining && size == 0 && !has_output()) finish_closing();
  check();
  return {.bytes = size, .segment = 0};
}

std::size_t Engine::drain_spill(std::span<std::byte> to) noexcept {
  const std::size_t size = std::min<std::size_t>(to.size(), spill_end_ - spill_begin_);
  if (size == 0) return 0;
  std::memcpy(to.data(), &spill_[spill_begin_], size);
  spill_begin_ = static_cast<std::uint8_t>(spill_begin_ + size);
  return size;
}

/// Whole frames only. Control before each data frame, since that may have set free a FIN.
std::size_t Engine::fill(std::span<std::byte> to) {
  std::size_t size = 0;
  for (;;) {
    size += fill_control(to.subspan(size));
    if (nop_due_ || !refused_.empty() || !control_.empty()) break;
    const std::size_t frame = fill_data(to.subspan(size), size == 0);
    if (frame == 0) break;
    size += frame;
  }
  return size;
}

std::size_t Engine::fill_control(std::span<std::byte> to) {
  std::size_t size = 0;
  // A control frame is 8 or 16 bytes: with room for 16 there is always one more.
  while (to.size() - size >= update_frame_size) {
    if (nop_due_) {
      nop_due_ = false;
      write_header(to.subspan(size), Command::nop, 0, 0);
      size += header_size;
    } else if (!refused_.empty()) {
      write_header(to.subspan(size), Command::fin, 0, refused_.back());
      refused_.pop_back();
      size += header_size;
    } else if (Stream* stream = control_.front(); stream != nullptr) {
      size += fill_stream_control(*stream, to.subspan(size));
    } else {
      break;
    }
  }
  return size;
}

/// Writes the stream's next control frame; the stream leaves the list with its last. `to` has room for an UPD.
std::size_t Engine::fill_stream_control(Stream& stream, std::span<std::byte> to) {
  std::size_t size = header_size;
  bool is_finished = false;
  if (stream.syn_due) {
    stream.syn_due = false;
    write_header(to, Command::syn, 0, stream.id);
  } else if (stream.update_due) {
    stream.update_due = false;
    stream.announced_consumed = stream.consumed;
    stream.announced_window = stream.has_read ? options_.window : options_.first_window;
    write_update(to, stream.id, {.consumed = stream.announced_consumed, .window = stream.announced_window});
    size = update_frame_size;
  } else {
    RIFFLE_CHECK(stream.sending == Stream::Sending::fin_due, "a smux stream without a control frame was in their list");
    stream.sending = Stream::Sending::finished;
    write_header(to, Command::fin, 0, stream.id);
    is_finished = true;
  }
  if (!stream.update_due && stream.sending != Stream::Sending::fin_due) control_.remove(stream);
  if (is_finished) forget_if_over(stream);
  return size;
}

/// One data frame of the stream whose turn it is, or nothing.
std::size_t Engine::fill_data(std::span<std::byte> to, bool is_first) {
  Stream* stream = sendable_.front();
  if (stream == nullptr || to.size() < update_frame_size) return 0;
  if (stream->turn_left == 0) stream->turn_left = options_.quantum;
  const std::uint32_t wanted =
      std::min({stream->queue.size(), stream->window_left(), stream->turn_left, options_.max_frame_size});
  const std::size_t room = to.size() - header_size;
  if (room < wanted && room < least_payload && !is_first) return 0;
  const auto length = static_cast<std::uint32_t>(std::min<std::size_t>(wanted, room));
  write_header(to, Command::psh, static_cast<std::uint16_t>(length), stream->id);
  stream->queue.copy_out(to.subspan(header_size, length), pieces_);
  stream->written += length;
  stream->turn_left -= length;

  const bool is_done = stream->queue.empty() || stream->window_left() == 0;
  if (is_done || stream->turn_left == 0) {
    sendable_.remove(*stream);
    stream->turn_left = 0;
    if (is_done && stream->queue.empty())
      schedule(*stream);
    else if (!is_done)
      sendable_.push_back(*stream);
  }
  if (stream->wants_room && stream->queue.size() <= options_.send_queue / 2 &&
      stream->queue.pieces() <= SendQueue::max_pieces / 2) {
    stream->wants_room = false;
    if (state_ == PortState::established) to_write_.push_back(*stream);
  }
  return header_size + length;
}

}  // namespace riffle::core::smux
