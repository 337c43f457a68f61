#include "tests/session/fake_port.hpp"

#include <algorithm>
#include <cstring>

#include "base/check.hpp"

namespace riffle::test {

using core::Offered;
using core::PortState;
using core::ReadInto;

FakePort::FakePort(Role role, FakeWindows ours, FakeWindows theirs)
    : role_(role),
      ours_(ours),
      left_{theirs.streams_bidi, theirs.streams_uni},
      allowed_(theirs.connection),
      told_(ours.connection) {
  first_allowed_ = theirs.stream;
}

FakePort::~FakePort() {
  for (auto& [id, stream] : streams_) drop_held(stream);
}

void FakePort::join(FakePort& client, FakePort& server) {
  client.peer_ = &server;
  server.peer_ = &client;
}

core::Capabilities FakePort::capabilities() const noexcept {
  using enum core::Capability;
  return static_cast<core::Capabilities>(unidirectional) | static_cast<core::Capabilities>(half_close) |
         static_cast<core::Capabilities>(reset_codes) | static_cast<core::Capabilities>(priority) |
         static_cast<core::Capabilities>(acknowledged) | static_cast<core::Capabilities>(datagrams);
}

PortState FakePort::state() const noexcept {
  return state_ == PortState::established && !is_established ? PortState::handshaking : state_;
}

FakePort::Stream* FakePort::find(std::uint64_t id) {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : &found->second;
}

FakePort::Stream& FakePort::add(std::uint64_t id) {
  Stream& stream = streams_[id];
  const bool one_way = (id & 2) != 0;
  stream.can_receive = !one_way || !is_local(id);
  stream.can_send = !one_way || is_local(id);
  stream.allowed = first_allowed_;
  stream.told = ours_.stream;
  return stream;
}

void FakePort::grant_streams(Direction direction, std::uint64_t more) {
  say({.kind = Message::Kind::streams, .flag = direction == Direction::unidirectional, .number = more});
}

void FakePort::lose(StreamId id) {
  drop_held(*find(raw(id)));
  streams_.erase(raw(id));
}

// ---- the wire ----------------------------------------------------------------------------------------------------

core::Batch FakePort::poll_output(std::span<std::byte> buffer, Instant) noexcept {
  if (out_.empty() || is_mute || buffer.empty()) return {};
  // The messages go by memory; the byte stands for them.
  peer_->wire_.emplace_back(std::make_move_iterator(out_.begin()), std::make_move_iterator(out_.end()));
  out_.clear();
  buffer[0] = std::byte{1};
  return {.bytes = 1, .segment = 1};
}

void FakePort::on_input(std::span<std::byte>, const core::Arrival&, Instant) noexcept {
  if (wire_.empty()) return;
  const std::vector<Message> messages = std::move(wire_.front());
  wire_.pop_front();
  for (const Message& message : messages) take(message);
}

void FakePort::take(const Message& message) {
  if (state_ != PortState::established) return;
  using enum Message::Kind;
  if (message.kind == connection_window) {
    allowed_ = message.number;
    return wake_writers();
  }
  if (message.kind == streams) {
    left_[message.flag ? 1 : 0] += message.number;
    return;
  }
  if (message.kind == Message::Kind::close) {
    state_ = PortState::draining;
    reason_ = Error::with_wire(Code::peer_closed, message.number, message.bytes);
    if (message.flag) reason_ = std::move(reason_).as_application();
    return;
  }
  Stream* stream = find(message.id);
  if (stream == nullptr && (is_local(message.id) || gone_.contains(message.id))) {
    // Let go already: its bytes still count for the connection.
    consumed_ += message.kind == data ? message.bytes.size() : 0;
    return;
  }
  if (stream == nullptr) stream = &add(message.id);
  switch (message.kind) {
    case data:
      take_data(*stream, message);
      break;
    case Message::Kind::reset:
      if (stream->stopped_by_us) {
        stream->fin_read = true;
        return forget_if_over(message.id);
      }
      stream->reset_known = true;
      stream->reset_code = message.number;
      consume(message.id, *stream, stream->buffer.size());
      stream->buffer.clear();
      name(message.id, *stream);
      break;
    case Message::Kind::stop:
      if (stream->fin_sent && stream->held.empty()) break;
      stream->stop_known = true;
      stream->stop_code = message.number;
      drop_held(*stream);
      say({.kind = Message::Kind::reset, .id = message.id, .bytes = {}, .number = message.number});
      has_stops_ = true;
      if (std::exchange(stream->wants_room, false)) writable_.push_back(message.id);
      break;
    case stream_window:
      stream->allowed = message.number;
      if (std::exchange(stream->wants_room, false)) writable_.push_back(message.id);
      break;
    case acknowledge:
      while (!stream->held.empty() && stream->held.front().end <= message.number &&
             (!stream->held.front().fin || message.flag)) {
        stream->held.front().block->release();
        stream->held.pop_front();
      }
      forget_if_over(message.id);
      break;
    default:
      break;
  }
}

void FakePort::take_data(Stream& stream, const Message& message) {
  stream.received += message.bytes.size();
  if (!hold_acknowledgements) {
    say({.kind = Message::Kind::acknowledge,
         .id = message.id,
         .bytes = {},
         .flag = message.flag,
         .number = stream.received});
  }
  if (stream.stopped_by_us) {
    consume(message.id, stream, message.bytes.size());
    stream.fin_read = stream.fin_read || message.flag;
    return forget_if_over(message.id);
  }
  stream.buffer += message.bytes;
  stream.fin_known = stream.fin_known || message.flag;
  RIFFLE_CHECK(stream.received <= stream.told, "the peer sent more than its window");
  name(message.id, stream);
}

void FakePort::name(std::uint64_t id, Stream& stream) {
  if (std::exchange(stream.is_named, true)) return;
  readable_.push_back(id);
}

void FakePort::consume(std::uint64_t id, Stream& stream, std::uint64_t size) {
  stream.consumed += size;
  consumed_ += size;
  if (stream.told - stream.consumed < ours_.stream / 2) {
    stream.told = stream.consumed + ours_.stream;
    say({.kind = Message::Kind::stream_window, .id = id, .bytes = {}, .number = stream.told});
  }
  if (told_ - consumed_ < ours_.connection / 2) {
    told_ = consumed_ + ours_.connection;
    say({.kind = Message::Kind::connection_window, .bytes = {}, .number = told_});
  }
}

void FakePort::drop_held(Stream& stream) {
  for (const Held& held : stream.held) held.block->release();
  stream.held.clear();
}

void FakePort::forget_if_over(std::uint64_t id) {
  Stream& stream = *find(id);
  const bool sent_all =
      !stream.can_send || stream.was_reset || stream.stop_known || (stream.fin_sent && stream.held.empty());
  if (!sent_all || (stream.can_receive && !stream.fin_read)) return;
  const bool is_theirs = !is_local(id);
  streams_.erase(id);
  gone_.insert(id);
  if (is_theirs) grant_streams((id & 2) != 0 ? Direction::unidirectional : Direction::bidirectional, 1);
}

void FakePort::wake_writers() {
  for (auto& [id, stream] : streams_) {
    if (std::exchange(stream.wants_room, false)) writable_.push_back(id);
  }
}

void FakePort::on_deadline(Instant now) noexcept {
  if (now < deadline) return;
  deadline = never;
  if (!ends_at_deadline) return;
  state_ = PortState::closed;
  reason_ = Error(Code::idle_timeout);
}

// ---- the calls of the session --------------------------------------------------------------------------------------

core::Opened FakePort::open(Direction direction) noexcept {
  const auto which = static_cast<std::size_t>(direction);
  if (state() != PortState::established) return {.status = core::Opened::Status::failed};
  if (left_[which] == 0) return {.status = core::Opened::Status::blocked};
  --left_[which];
  const std::uint64_t id = next_[which]++ << 2 | which << 1 | (role_ == Role::server ? 1u : 0u);
  add(id);
  return {.status = core::Opened::Status::opened, .id = StreamId{id}};
}

Offered FakePort::offer(StreamId id, base::SendBlock& block) noexcept {
  Stream* stream = find(raw(id));
  if (state_ != PortState::established || stream == nullptr) return {};
  if (stream->stop_known) return {.status = Offered::Status::stopped, .code = AppCode{stream->stop_code}};
  if (stream->fin_sent || stream->was_reset || !stream->can_send) return {};
  const std::uint64_t room = std::min(stream->allowed - stream->sent, allowed_ - sent_);
  const std::uint64_t size = std::min<std::uint64_t>(room, block.size - block.offered);
  const bool is_whole = size == block.size - block.offered;
  const bool fin = is_whole && block.fin;
  if (size != 0 || fin) {
    say({.kind = Message::Kind::data,
         .id = raw(id),
         .bytes = std::string(reinterpret_cast<const char*>(block.data) + block.offered, size),
         .flag = fin});
    stream->sent += size;
    sent_ += size;
    stream->fin_sent = fin;
    block.offered += static_cast<std::uint32_t>(size);
    block.retain();
    stream->held.push_back({.block = &block, .end = stream->sent, .fin = fin});
  }
  if (!is_whole) stream->wants_room = true;
  return {.status = is_whole ? Offered::Status::taken : Offered::Status::blocked, .size = size};
}

ReadInto FakePort::read_into(StreamId id, std::span<std::byte> to) noexcept {
  Stream* stream = find(raw(id));
  if (stream == nullptr || !stream->can_receive) return {};
  if (stream->reset_known) {
    const AppCode code{stream->reset_code};
    if (stream->fin_read) return {};
    stream->fin_read = true;
    forget_if_over(raw(id));
    return {.status = ReadInto::Status::reset, .code = code};
  }
  if (stream->fin_read || stream->stopped_by_us) return {.status = ReadInto::Status::nothing};
  const std::size_t size = std::min(to.size(), stream->buffer.size());
  if (size == 0 && (!stream->fin_known || !stream->buffer.empty() || to.empty())) {
    if (!stream->buffer.empty() || stream->fin_known) return {.status = ReadInto::Status::data};
    stream->is_named = false;
    return {.status = ReadInto::Status::nothing};
  }
  std::memcpy(to.data(), stream->buffer.data(), size);
  stream->buffer.erase(0, size);
  consume(raw(id), *stream, size);
  const bool fin = stream->buffer.empty() && stream->fin_known;
  if (fin) {
    stream->fin_read = true;
    forget_if_over(raw(id));
  }
  return {.status = ReadInto::Status::data, .size = size, .fin = fin};
}

void FakePort::stop(StreamId id, AppCode code) noexcept {
  Stream* stream = find(raw(id));
  if (stream == nullptr || !stream->can_receive || stream->fin_read || stream->stopped_by_us) return;
  stream->stopped_by_us = true;
  consume(raw(id), *stream, stream->buffer.size());
  stream->buffer.clear();
  if (stream->fin_known || stream->reset_known) {
    stream->fin_read = true;
    return forget_if_over(raw(id));
  }
  say({.kind = Message::Kind::stop, .id = raw(id), .bytes = {}, .number = raw(code)});
}

void FakePort::reset(StreamId id, AppCode code) noexcept {
  Stream* stream = find(raw(id));
  if (stream == nullptr || !stream->can_send || stream->was_reset || stream->stop_known) return;
  stream->was_reset = true;
  drop_held(*stream);
  say({.kind = Message::Kind::reset, .id = raw(id), .bytes = {}, .number = raw(code)});
  forget_if_over(raw(id));
}

void FakePort::set_priority(StreamId id, std::uint8_t urgency, bool incremental) noexcept {
  priorities.emplace_back(id, urgency * 2 + (incremental ? 1 : 0));
}

std::optional<StreamId> FakePort::next_readable() noexcept {
  while (!readable_.empty()) {
    const std::uint64_t id = readable_.front();
    readable_.pop_front();
    if (streams_.contains(id)) return StreamId{id};
  }
  return std::nullopt;
}

std::optional<StreamId> FakePort::next_writable() noexcept {
  while (!writable_.empty()) {
    const std::uint64_t id = writable_.front();
    writable_.pop_front();
    if (streams_.contains(id)) return StreamId{id};
  }
  return std::nullopt;
}

std::uint64_t FakePort::streams_left(Direction direction) const noexcept {
  return state_ == PortState::established ? left_[static_cast<std::size_t>(direction)] : 0;
}

void FakePort::close(CloseKind kind, std::uint64_t code, std::string_view reason) noexcept {
  if (state_ != PortState::established) return;
  reason_ = Error::with_wire(Code::closed, code, std::string(reason));
  say({.kind = Message::Kind::close,
       .bytes = std::string(reason),
       .flag = kind == CloseKind::application,
       .number = code});
  state_ = PortState::draining;
}

}  // namespace riffle::test
