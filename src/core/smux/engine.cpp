#include "core/smux/engine.hpp"

#include <algorithm>
#include <utility>

#include "base/check.hpp"

namespace riffle::core::smux {
namespace {

constexpr std::uint64_t last_id = 0xffffffff;

std::uint64_t first_id(const Options& options) noexcept {
  if (options.first_stream_id != 0) return options.first_stream_id;
  return options.role == Role::client ? 3 : 2;
}

}  // namespace

Engine::Engine(const Options& options, Instant now)
    : options_(options), now_(now), last_input_(now), last_output_(now), next_id_(first_id(options)) {
  RIFFLE_CHECK(validate(options).has_value(), "a smux engine was made with options that validate() refuses");
}

Engine::~Engine() {
  streams_.for_each([&](Stream& stream) {
    stream.queue.clear(pieces_);
    stream.buffer.clear(chunks_);
    delete &stream;
  });
}

// ---- streams ----

Stream* Engine::find(StreamId id) const noexcept {
  return raw(id) <= last_id ? find(static_cast<std::uint32_t>(raw(id))) : nullptr;
}

/// The peer chooses ids as it likes: keyed, so that it cannot choose them to collide (the finalizer of MurmurHash3, a
/// bijection).
std::uint64_t Engine::key(std::uint32_t id) const noexcept {
  std::uint64_t hash = id ^ options_.hash_seed;
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdu;
  hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53u;
  return hash ^ (hash >> 33);
}

Stream& Engine::add(std::uint32_t id, bool is_ours) {
  Stream& stream = *pool_.take();
  stream = Stream{};
  stream.id = id;
  stream.is_ours = is_ours;
  stream.peer_window = options_.peer_window;
  stream.update_due = true;
  streams_.insert(key(id), &stream);
  ++(is_ours ? ours_ : theirs_);
  control_.push_back(stream);
  return stream;
}

void Engine::forget_if_over(Stream& stream) {
  if (stream.sending != Stream::Sending::finished || stream.receiving != Stream::Receiving::fin_read) return;
  RIFFLE_CHECK(stream.queue.empty() && stream.buffer.empty(), "a smux stream with bytes was forgotten");
  if (receiving_ == &stream) receiving_ = nullptr;
  control_.remove(stream);  // an UPD that nobody needs any more; with an empty queue it is not `sendable`
  to_read_.remove(stream);
  to_write_.remove(stream);
  --(stream.is_ours ? ours_ : theirs_);
  streams_.erase(key(stream.id));
  pool_.give(&stream);
}

/// Counts bytes as read, and owes the peer an UPD after the first of them and after each half window, as Go does.
void Engine::consume(Stream& stream, std::uint32_t size) {
  if (size == 0) return;
  stream.consumed += size;
  const bool is_first = !std::exchange(stream.has_read, true);
  const bool is_half = stream.consumed - stream.announced_consumed >= std::max(options_.window / 2, 1u);
  if (state_ != PortState::established || stream.receiving != Stream::Receiving::open) return;
  if (!is_first && !is_half) return;
  stream.update_due = true;
  control_.push_back(stream);
}

void Engine::name_readable(Stream& stream) {
  if (stream.readable != Stream::Readable::idle || stream.is_stopped) return;
  stream.readable = Stream::Readable::queued;
  to_read_.push_back(stream);
}

// ---- the calls of the session ----

Opened Engine::open(Direction direction) noexcept {
  if (state_ != PortState::established || direction == Direction::unidirectional)
    return {.status = Opened::Status::failed};
  // Receivers do not check parity: a peer may have taken an id of ours.
  while (next_id_ <= last_id && find(static_cast<std::uint32_t>(next_id_)) != nullptr) next_id_ += 2;
  if (next_id_ > last_id) return {.status = Opened::Status::failed};
  if (ours_ >= options_.max_streams) return {.status = Opened::Status::blocked};
  Stream& stream = add(static_cast<std::uint32_t>(next_id_), true);
  stream.syn_due = true;
  next_id_ += 2;
  check();
  return {.status = Opened::Status::opened, .id = StreamId{stream.id}};
}

Error Engine::open_failure(Direction direction) const {
  if (state_ != PortState::established) return Error(Code::closed, reason_.evidence());
  if (direction == Direction::unidirectional)
    return Error(Code::unsupported, "smux has no unidirectional streams; open a bidirectional one and finish one side");
  if (next_id_ > last_id)
    return Error(Code::budget_exhausted, "all stream ids of this smux session are used up; open a new session");
  return Error(Code::budget_exhausted, std::to_string(ours_) + " streams are open, the limit is " +
                                           std::to_string(options_.max_streams) + "; finish some first");
}

Offered Engine::offer(StreamId id, base::SendBlock& block) noexcept {
  Stream* stream = find(id);
  if (state_ != PortState::established || stream == nullptr || stream->sending != Stream::Sending::open)
    return {.status = Offered::Status::gone};
  const std::uint32_t before = block.offered;
  const std::uint32_t room = options_.send_queue - std::min(options_.send_queue, stream->queue.size());
  stream->queue.push(block, std::min(room, block.size - block.offered), pieces_);
  const bool is_whole = block.offered == block.size;
  if (is_whole && block.fin) stream->sending = Stream::Sending::finishing;
  if (!is_whole) stream->wants_room = true;
  schedule(*stream);
  check();
  return {.status = is_whole ? Offered::Status::taken : Offered::Status::blocked, .size = block.offered - before};
}

ReadInto Engine::read_into(StreamId id, std::span<std::byte> to) noexcept {
  Stream* stream = find(id);
  if (stream == nullptr) return {.status = ReadInto::Status::gone};
  const std::size_t size = stream->buffer.read(to, chunks_);
  buffered_ -= size;
  consume(*stream, static_cast<std::uint32_t>(size));
  const bool is_empty = stream->buffer.empty();
  const bool has_fin = is_empty && stream->receiving == Stream::Receiving::fin_received;
  // Without room the call only asks whether something is there: the end must not be told where nobody looks.
  const bool is_probe = to.empty() && (has_fin || !is_empty);
  if (is_empty && !is_probe && stream->readable == Stream::Readable::named) stream->readable = Stream::Readable::idle;
  if (has_fin && !is_probe) {
    stream->receiving = Stream::Receiving::fin_read;
    forget_if_over(*stream);
  }
  check();
  if (size != 0 || has_fin || is_probe)
    return {.status = ReadInto::Status::data, .size = size, .fin = has_fin && !is_probe};
  return {.status = state_ == PortState::closed ? ReadInto::Status::gone : ReadInto::Status::nothing};
}

void Engine::stop(StreamId id, AppCode) noexcept {
  Stream* stream = find(id);
  if (stream == nullptr || stream->is_stopped) return;
  stream->is_stopped = true;
  to_read_.remove(*stream);
  const std::uint32_t unread = stream->buffer.size();
  stream->buffer.clear(chunks_);
  buffered_ -= unread;
  consume(*stream, unread);
  if (stream->receiving == Stream::Receiving::fin_received) stream->receiving = Stream::Receiving::fin_read;
  forget_if_over(*stream);
  check();
}

void Engine::reset(StreamId id, AppCode) noexcept {
  Stream* stream = find(id);
  if (state_ != PortState::established || stream == nullptr) return;
  if (stream->sending == Stream::Sending::open || stream->sending == Stream::Sending::finishing) {
    stream->queue.clear(pieces_);
    stream->sending = Stream::Sending::finishing;
    stream->wants_room = false;
    sendable_.remove(*stream);
    to_write_.remove(*stream);
    schedule(*stream);
  }
  // What the peer has not read does not matter any more.
  if (stream->sending == Stream::Sending::graced || (stream->sending == Stream::Sending::finishing && !stream->is_held))
    end_grace(*stream);
  check();
}

void Engine::set_priority(StreamId, std::uint8_t, bool) noexcept {}

std::optional<StreamId> Engine::next_readable() noexcept {
  Stream* stream = to_read_.pop_front();
  if (stream == nullptr) return {};
  stream->readable = Stream::Readable::named;
  return StreamId{stream->id};
}

std::optional<StreamId> Engine::next_writable() noexcept {
  Stream* stream = to_write_.pop_front();
  if (stream == nullptr) return {};
  return StreamId{stream->id};
}

std::uint64_t Engine::streams_left(Direction direction) const noexcept {
  if (state_ != PortState::established || direction == Direction::unidirectional || next_id_ > last_id) return 0;
  const std::uint64_t ids = (last_id - next_id_) / 2 + 1;
  return std::min<std::uint64_t>(ids, options_.max_streams - ours_);
}

// ---- the end ----

void Engine::close(CloseKind, std::uint64_t code, std::string_view reason) noexcept {
  end(Error::with_wire(Code::closed, code, std::string(reason)), true);
  check();
}

void Engine::on_carrier_end(Error reason) noexcept {
  if (state_ == PortState::closed) return;
  if (state_ == PortState::established) reason_ = std::move(reason);
  finish_closing();
  check();
}

void Engine::end(Error reason, bool flush) noexcept {
  if (state_ != PortState::established) return;
  reason_ = std::move(reason);
  state_ = PortState::draining;
  receiving_ = nullptr;
  while (flush && !held_.empty()) end_hold(*held_.front());
  while (flush && !graced_.empty()) end_grace(*graced_.front());
  if (!flush || !has_output()) finish_closing();
}

void Engine::finish_closing() noexcept {
  state_ = PortState::closed;
  receiving_ = nullptr;
  nop_due_ = false;
  refused_.clear();
  spill_begin_ = spill_end_ = 0;
  streams_.for_each([&](Stream& stream) {
    stream.queue.clear(pieces_);
    stream.sending = Stream::Sending::finished;
    control_.remove(stream);
    sendable_.remove(stream);
    to_write_.remove(stream);
    (stream.is_held ? held_ : graced_).remove(stream);
  });
}

bool Engine::is_consistent() const noexcept {
  const bool is_closed = state_ == PortState::closed;
  return streams_.size() == std::size_t{ours_} + theirs_ && ours_ <= options_.max_streams &&
         theirs_ <= options_.max_streams && buffered_ <= options_.receive_budget && spill_begin_ <= spill_end_ &&
         !(is_closed && has_output()) && !(is_closed && !to_write_.empty()) &&
         !(state_ != PortState::established && (receiving_ != nullptr || !held_.empty() || !graced_.empty()));
}

void Engine::check() const noexcept { RIFFLE_CHECK(is_consistent(), "the smux engine lost its books"); }

}  // namespace riffle::core::smux
