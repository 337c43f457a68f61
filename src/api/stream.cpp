// A stream's plain calls: the writing side and what is common; reading is in stream_reading.cpp.
#include <riffle/stream.hpp>

#include <algorithm>
#include <utility>

#include "api/stream_errors.hpp"
#include "api/waiting.hpp"
#include "base/send_block.hpp"
#include "meet/stream_meet.hpp"

namespace riffle {
namespace api {

Error write_error(const meet::StreamMeet& stream) {
  switch (stream.write_state.load()) {
    case meet::WriteState::open:
      break;
    case meet::WriteState::ended:
      return Error(Code::stream_finished, "a fin was written");
    case meet::WriteState::reset:
      return Error(Code::stream_finished, "it was shut down");
    case meet::WriteState::stopped:
      return Error::with_wire(Code::stream_stopped, stream.write_code.load());
    case meet::WriteState::closed:
      return closed_error(*stream.session);
    case meet::WriteState::refused: {
      const auto code = static_cast<Code>(stream.write_code.load());
      return Error(
          code, code == Code::would_block ? "the peer's limit of open streams is reached" : "the stream never opened");
    }
  }
  return Error(Code::internal, "no error");
}

Error closed_error(const meet::SessionMeet& session) {
  if (const auto reason = session.close_reason()) {
    if (reason->error.code() != Code::closed) return reason->error;
    return Error(Code::closed, reason->reason.empty() ? reason->error.evidence() : reason->reason);
  }
  return Error(Code::closed, session.close_called.load() ? "close was called" : "the engine has ended");
}

}  // namespace api

inline namespace v1 {
namespace {

/// A block counts its bytes in 32 bits; longer writes go in pieces.
constexpr std::size_t largest_piece = std::size_t{1} << 30;

bool is_over(const meet::StreamMeet& stream) {
  return stream.write_state.load() != meet::WriteState::open || stream.session->close_called.load() ||
         stream.session->loop->list.is_closed();
}

Error over_error(const meet::StreamMeet& stream) {
  return stream.write_state.load() != meet::WriteState::open ? api::write_error(stream)
                                                             : api::closed_error(*stream.session);
}

/// Takes the stream's credit and the session's, or neither.
bool take_credit(meet::StreamMeet& stream, std::int64_t size) {
  if (!stream.credit.take(size)) return false;
  if (stream.session->credit.take(size)) return true;
  stream.credit.give_back(size);
  return false;
}

/// Takes credit, and leaves word where there is none (WANT, then one more look).
bool take_credit_or_want(meet::StreamMeet& stream, std::int64_t size) {
  if (take_credit(stream, size)) return true;
  stream.credit.want();
  stream.session->credit.want();
  return stream.credit.left() > 0 && stream.session->credit.left() > 0 && take_credit(stream, size);
}

/// Our side ends with this write: only one writer may say so.
bool end_writing(meet::StreamMeet& stream) {
  auto open = meet::WriteState::open;
  return stream.write_state.compare_exchange_strong(open, meet::WriteState::ended);
}

void post(meet::StreamMeet& stream, base::SendBlock* block) {
  stream.mailbox.push(block);
  stream.session->loop->attend(stream, meet::stream_write);
}

Result<WriteStatus> write_block(meet::StreamMeet& stream, std::size_t size, Fin end, auto&& make_block) {
  if (is_over(stream)) return std::unexpected(over_error(stream));
  if (size != 0 && !take_credit_or_want(stream, static_cast<std::int64_t>(size))) return WriteStatus::would_block;
  if (end == Fin::yes && !end_writing(stream)) {
    stream.credit.give_back(static_cast<std::int64_t>(size));
    stream.session->credit.give_back(static_cast<std::int64_t>(size));
    return std::unexpected(over_error(stream));
  }
  post(stream, make_block());
  return WriteStatus::accepted;
}

Result<void> ask_stream(meet::StreamMeet& stream, meet::Question question, Timeout timeout) {
  auto* asking = new meet::AskingFor<bool>(question);
  const auto held = meet::Held<meet::Asking>::adopt(asking);
  return api::ask(stream, *stream.session->loop, stream.session->asking_count, meet::SessionMeet::max_asking,
                  meet::stream_wait, *asking, timeout);
}

Timeout left_until(std::chrono::steady_clock::time_point deadline) {
  if (deadline == std::chrono::steady_clock::time_point::max()) return forever;
  return std::max(Timeout{0}, Timeout(deadline - std::chrono::steady_clock::now()));
}

const Error& no_stream() {
  static const Error error(Code::invalid_argument, "an empty Stream");
  return error;
}

}  // namespace

std::optional<StreamId> Stream::id() const noexcept {
  if (!shared_) return std::nullopt;
  const std::uint64_t id = shared_->id.load();
  return id == meet::StreamMeet::no_id ? std::nullopt : std::optional(StreamId{id});
}

Result<StreamId> Stream::wait_open(Timeout timeout) const {
  if (!shared_) return std::unexpected(no_stream());
  if (const auto known = id()) return *known;
  const auto asked = ask_stream(*shared_, meet::Question::stream_open, timeout);
  // A stream that has opened and ended meanwhile did open.
  if (const auto known = id()) return *known;
  return std::unexpected(asked ? api::write_error(*shared_) : asked.error());
}

Result<WriteStatus> Stream::try_write(const Bytes& data, Fin end) const {
  if (!shared_) return std::unexpected(no_stream());
  if (data.size() > largest_piece) return fail(Code::too_large, "at most 1 GiB at once; `write` takes more");
  return write_block(*shared_, data.size(), end, [&] { return base::SendBlock::make(data, end == Fin::yes); });
}

Result<WriteStatus> Stream::try_write(std::span<const std::byte> data, Fin end) const {
  if (!shared_) return std::unexpected(no_stream());
  if (data.size() > largest_piece) return fail(Code::too_large, "at most 1 GiB at once; `write` takes more");
  return write_block(*shared_, data.size(), end, [&] { return base::SendBlock::make_copy(data, end == Fin::yes); });
}

Result<std::size_t> Stream::write_some(std::span<const std::byte> data) const {
  if (!shared_) return std::unexpected(no_stream());
  if (is_over(*shared_)) return std::unexpected(over_error(*shared_));
  const auto wanted = static_cast<std::int64_t>(std::min(data.size(), largest_piece));
  std::int64_t part = shared_->credit.take_some(wanted);
  if (part > 0) {
    const std::int64_t of_session = shared_->session->credit.take_some(part);
    shared_->credit.give_back(part - of_session);
    part = of_session;
  }
  if (part <= 0) {
    shared_->credit.want();
    shared_->session->credit.want();
    return std::size_t{0};
  }
  post(*shared_, base::SendBlock::make_copy(data.first(static_cast<std::size_t>(part)), false));
  return static_cast<std::size_t>(part);
}

Result<void> Stream::write(Bytes data, Fin end, Timeout timeout) const {
  if (!shared_) return std::unexpected(no_stream());
  const auto deadline = runtime::deadline_after(timeout);
  std::size_t done = 0;
  do {
    const Bytes piece = data.slice(done, largest_piece);
    const bool is_last = done + piece.size() == data.size();
    auto written = try_write(piece, is_last ? end : Fin::no);
    if (!written) return std::unexpected(written.error());
    if (*written == WriteStatus::accepted) {
      done += piece.size();
      continue;
    }
    if (auto room = wait_writable(left_until(deadline)); !room) return room;
  } while (done < data.size());
  return {};
}

Result<void> Stream::write(std::string_view text, Fin end, Timeout timeout) const {
  return write(Bytes::copy(text), end, timeout);
}

Result<void> Stream::write_gather(std::span<const Bytes> pieces, Fin end, Timeout timeout) const {
  std::size_t size = 0;
  for (const Bytes& piece : pieces) size += piece.size();
  std::string whole;
  whole.reserve(size);
  for (const Bytes& piece : pieces) whole += piece.view();
  return write(Bytes::adopt(std::move(whole)), end, timeout);
}

Result<void> Stream::finish() const {
  if (!shared_) return std::unexpected(no_stream());
  auto written = try_write(Bytes{}, Fin::yes);  // a fin needs no credit
  if (!written) return std::unexpected(written.error());
  return {};
}

Result<void> Stream::wait_writable(Timeout timeout) const {
  if (!shared_) return std::unexpected(no_stream());
  if (is_over(*shared_)) return std::unexpected(over_error(*shared_));
  shared_->credit.want();
  shared_->session->credit.want();
  if (shared_->credit.left() > 0 && shared_->session->credit.left() > 0) return {};
  return ask_stream(*shared_, meet::Question::stream_writable, timeout);
}

Result<void> Stream::wait_flushed(Timeout timeout) const {
  if (!shared_) return std::unexpected(no_stream());
  return ask_stream(*shared_, meet::Question::stream_flushed, timeout);
}

Result<void> Stream::shutdown(Side side, AppCode code) const {
  if (!shared_) return std::unexpected(no_stream());
  std::uint32_t bits = 0;
  if (side != Side::reading) {
    shared_->reset_code.store(raw(code));
    bits |= meet::stream_reset;
    auto open = meet::WriteState::open;
    shared_->write_state.compare_exchange_strong(open, meet::WriteState::reset);
  }
  if (side != Side::writing) {
    shared_->stop_code.store(raw(code));
    bits |= meet::stream_stop;
  }
  shared_->session->loop->attend(*shared_, bits);
  return {};
}

Result<void> Stream::set_delivery(Delivery delivery) const {
  if (!shared_) return std::unexpected(no_stream());
  if (delivery.mode != Delivery::Mode::passive && !shared_->session->has_handler) {
    return fail(Code::unsupported, "active delivery needs a handler to deliver to; read instead");
  }
  shared_->wanted_delivery.store(meet::StreamMeet::pack(delivery));
  shared_->session->loop->attend(*shared_, meet::stream_mode);
  return {};
}

Result<void> Stream::set_priority(std::uint8_t urgency, bool incremental) const {
  if (!shared_) return std::unexpected(no_stream());
  shared_->priority.store(static_cast<std::uint32_t>(urgency) << 1 | (incremental ? 1u : 0u));
  shared_->session->loop->attend(*shared_, meet::stream_priority);
  return {};
}

bool Stream::is_finished() const noexcept { return shared_ && shared_->is_finished.load(); }

StreamStats Stream::stats() const noexcept {
  StreamStats stats;
  if (!shared_) return stats;
  const auto& counters = shared_->counters;
  const auto instant = [](const std::atomic<std::int64_t>& at) {
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(at.load(std::memory_order_relaxed)));
  };
  stats.bytes_sent = counters.sent.load(std::memory_order_relaxed);
  stats.bytes_acknowledged = counters.acknowledged.load(std::memory_order_relaxed);
  stats.bytes_received = counters.received.load(std::memory_order_relaxed);
  stats.bytes_consumed = shared_->reading.consumed_bytes();
  stats.receive_buffered = shared_->reading.held_bytes();
  const std::int64_t queued = shared_->credit.limit() - shared_->credit.left();
  stats.send_buffered = queued > 0 ? static_cast<std::uint64_t>(queued) : 0;
  stats.writes_blocked = shared_->credit.times_blocked();
  stats.first_activity = instant(counters.first_activity);
  stats.last_activity = instant(counters.last_activity);
  stats.fin_sent = counters.fin_sent.load(std::memory_order_relaxed);
  stats.fin_received = counters.fin_received.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace v1
}  // namespace riffle
