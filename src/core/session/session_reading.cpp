// From the transport to the application: delivery modes, receive lists, stalled readers (STR-3, STR-4).
#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "core/session/session.hpp"

namespace riffle::core {
namespace {

/// Every reader gets so much, however full the engine's budget is, or nobody could drain it.
constexpr std::uint64_t least_list = 4096;
/// A reader that has not moved for so long, with its stream parked, has stalled. A thread that is merely behind moves
/// within milliseconds; a connection that is held up by too many of them waits no longer than this.
constexpr Duration stalled_after = std::chrono::seconds(1);
/// A scratch slab is filled on behind what a handler kept while so much room is left.
constexpr std::size_t least_scratch = 16 * 1024;
constexpr std::size_t scratch_size = 64 * 1024;

}  // namespace

void Session::advance_reading(Stream& stream, Instant now) {
  if (stream.receive != ReceiveState::receiving) {
    // Stopped, or over: what still comes is thrown away so that the transport can let the stream go.
    std::byte nowhere[1024];
    while (port_->read_into(stream.id, nowhere).status == ReadInto::Status::data) {
    }
    stream.has_input = false;
    return;
  }
  if (stream.is_pushed()) {
    queue_delivery(stream);
  } else if (stream.meet) {
    fill_list(stream, now);
  } else if (has_bytes(stream, now)) {
    park(stream, now);
    if (shared_->has_handler) actions.emplace_back(action::Readable{stream.id});
  }
}

void Session::account(Stream& stream) {
  const std::uint64_t held = stream.meet ? stream.meet->reading.held_bytes() : 0;
  stock_.receive_held += held;
  stock_.receive_held -= stream.held_counted;
  stream.held_counted = held;
}

/// No more is read through its list: the budget of the engine has its bytes back.
void Session::forget_held(Stream& stream) noexcept { stock_.receive_held -= std::exchange(stream.held_counted, 0); }

std::uint64_t Session::list_room(const Stream& stream) const noexcept {
  const std::uint64_t room = stream.meet->reading.free_room();
  const std::uint64_t held = stream.meet->reading.held_bytes();
  const std::uint64_t budget =
      stock_.receive_budget > stock_.receive_held ? stock_.receive_budget - stock_.receive_held : 0;
  const std::uint64_t guaranteed = held < least_list ? least_list - held : 0;
  return std::min(room, std::max(budget, guaranteed));
}

void Session::fill_list(Stream& stream, Instant now) {
  meet::ReadPath& reading = stream.meet->reading;
  account(stream);
  bool has_news = false;
  while (stream.has_input && stream.receive == ReceiveState::receiving) {
    const std::uint64_t room = list_room(stream);
    if (room == 0) {
      if (!reading.park()) continue;
      park(stream, now);
      break;
    }
    const auto tail = reading.tail_room(room);
    const ReadInto got = port_->read_into(stream.id, tail);
    if (got.status == ReadInto::Status::data) {
      reading.publish(got.size);
      stream.received += got.size;
      stats_.bytes_received += got.size;
      account(stream);
    }
    has_news = has_news || got.status != ReadInto::Status::nothing;
    on_read_status(stream, got, now);
  }
  if (!stream.has_input && stream.is_parked) unpark(stream);
  if (!has_news) return;
  stream.meet->counters.received.store(stream.received, std::memory_order_relaxed);
  touch(stream, now);
  wake_reader(stream);
  if (shared_->has_handler) actions.emplace_back(action::Readable{stream.id});
}

void Session::on_read_status(Stream& stream, const ReadInto& got, Instant now) {
  switch (got.status) {
    case ReadInto::Status::data:
      if (got.fin) end_reading(stream, ReceiveState::ended, AppCode{0});
      break;
    case ReadInto::Status::nothing:
      stream.has_input = false;
      break;
    case ReadInto::Status::reset:
      end_reading(stream, ReceiveState::reset, got.code);
      if (shared_->has_handler) actions.emplace_back(action::PeerReset{stream.id, got.code});
      break;
    // Not an end in order: what was cut off must not look complete.
    case ReadInto::Status::gone:
      end_reading(stream, ReceiveState::done, AppCode{0});
      break;
  }
  if (got.status != ReadInto::Status::nothing) touch(stream, now);
}

void Session::end_reading(Stream& stream, ReceiveState state, AppCode code) {
  stream.has_input = false;
  stream.receive = state == ReceiveState::ended ? ReceiveState::ended : ReceiveState::done;
  stream.read_end = state == ReceiveState::ended   ? meet::ReadEnd::fin
                    : state == ReceiveState::reset ? meet::ReadEnd::reset
                                                   : meet::ReadEnd::closed;
  stream.read_code = raw(code);
  if (stream.is_parked) unpark(stream);
  if (state != ReceiveState::ended) forget_held(stream);
  if (stream.meet) {
    stream.meet->counters.fin_received.store(state == ReceiveState::ended, std::memory_order_relaxed);
    stream.meet->reading.publish_end(stream.read_end, stream.read_code);
    wake_reader(stream);
    finish_if_drained(stream, false);
  }
  maybe_finish(stream);
}

/// RD-18: the loop learns when all was read, and gives the stream back then. A handler's stream may yet become active
/// and have its end delivered, so there a reader must have looked behind the last byte.
void Session::finish_if_drained(Stream& stream, bool has_looked) {
  if (stream.receive != ReceiveState::ended || stream.is_pushed() || !stream.meet) return;
  if (stream.meet->reading.notify_when_drained() || (shared_->has_handler && !has_looked)) return;
  stream.receive = ReceiveState::done;
  maybe_finish(stream);
}

void Session::wake_reader(Stream& stream) {
  meet::StreamMeet& shared = *stream.meet;
  if (shared.wake_queued || !shared.reading.has_waiter()) return;
  shared.wake_queued = true;
  shared.retain();
  actions.emplace_back(action::WakeReader{&shared});
  is_dirty_ = true;
}

// ---- deliveries --------------------------------------------------------------------------------------------------

void Session::queue_delivery(Stream& stream) {
  if (stream.deliver_queued || stream.paused_by != nullptr) return;
  stream.deliver_queued = true;
  actions.emplace_back(action::Deliver{stream.id});
  is_dirty_ = true;
}

std::span<std::byte> Session::scratch_room() {
  if (stock_.scratch != nullptr && stock_.scratch->is_unique()) stock_.scratch_used = 0;
  if (stock_.scratch == nullptr || stock_.scratch->capacity() - stock_.scratch_used < least_scratch) {
    if (stock_.scratch != nullptr) stock_.scratch->release();
    stock_.scratch = base::Slab::make(scratch_size);
    stock_.scratch_used = 0;
  }
  return {stock_.scratch->data() + stock_.scratch_used, stock_.scratch->capacity() - stock_.scratch_used};
}

Bytes Session::take_scratch(std::size_t size) {
  stock_.scratch->retain();
  Bytes bytes(stock_.scratch, stock_.scratch->data() + stock_.scratch_used, size);
  stock_.scratch_used += static_cast<std::uint32_t>(size);
  return bytes;
}

std::optional<Delivered> Session::begin_delivery(StreamId id, Instant now) {
  Stream* stream = find(id);
  if (stream == nullptr) return std::nullopt;
  stream->deliver_queued = false;
  const bool is_wanted = stream->is_pushed() && stream->paused_by == nullptr && !stream->is_delivering &&
                         stream->receive != ReceiveState::done && stream->receive != ReceiveState::none;
  if (!is_wanted || (stream->meet && !stream->meet->reading.take_role_or_leave_word())) return std::nullopt;

  Delivered delivered;
  if (!next_bytes(*stream, delivered, now)) {
    if (stream->meet) stream->meet->reading.release();
    return std::nullopt;
  }
  stream->is_delivering = true;
  delivering_ = stream;
  if (delivered.fin) stream->receive = ReceiveState::done;
  if (stream->delivery.mode == Delivery::Mode::counted && --stream->delivery.count == 0) {
    // Counted down before the callback, which may arm it again.
    stream->delivery = passive;
    stream->used_up = true;
  }
  return delivered;
}

bool Session::next_bytes(Stream& stream, Delivered& out, Instant now) {
  if (stream.meet && !stream.meet->reading.is_empty()) {
    stream.meet->reading.take(scratch_size, out.bytes);
    account(stream);
    stream.consumed += out.bytes.size();
    out.fin = stream.receive == ReceiveState::ended && stream.meet->reading.is_empty();
    return true;
  }
  if (stream.receive == ReceiveState::ended) {
    out.fin = true;
    return true;
  }
  if (!stream.has_input) return false;
  const auto room = scratch_room();
  const ReadInto got = port_->read_into(stream.id, room);
  if (got.status == ReadInto::Status::data) {
    stream.received += got.size;
    stream.consumed += got.size;
    stats_.bytes_received += got.size;
    if (got.size != 0) out.bytes = take_scratch(got.size);
    if (stream.meet) {
      stream.meet->reading.pass_through(got.size);
      stream.meet->counters.received.store(stream.received, std::memory_order_relaxed);
    }
    touch(stream, now);
    if (!got.fin) return true;
    stream.has_input = false;
    stream.receive = ReceiveState::ended;
    stream.read_end = meet::ReadEnd::fin;
    if (stream.meet) {
      stream.meet->counters.fin_received.store(true, std::memory_order_relaxed);
      stream.meet->reading.publish_end(meet::ReadEnd::fin, 0);
    }
    out.fin = true;
    return true;
  }
  on_read_status(stream, got, now);
  return false;
}

void Session::end_delivery(StreamId id, Instant now) {
  Stream* stream = delivering_;
  delivering_ = nullptr;
  if (stream == nullptr || stream->id != id) return;  // the session ended in its callback
  stream->is_delivering = false;
  // The role first: until the mode has changed a reader learns `wrong_mode`, never `concurrent_read`.
  // (Word is left by the loop alone, so nobody has left any with us.)
  if (stream->meet) stream->meet->reading.release();
  if (std::exchange(stream->used_up, false) && !stream->is_pushed()) actions.emplace_back(action::DeliveriesUsedUp{id});
  if (!stream->is_pushed()) settle_passive(*stream, now);
  maybe_finish(*stream);
  is_consistent();
}

void Session::set_delivery(StreamId id, Delivery delivery, Instant now) {
  if (Stream* stream = find(id)) apply_delivery(*stream, delivery, now);
}

void Session::apply_delivery(Stream& stream, Delivery delivery, Instant now) {
  if (delivery.mode == Delivery::Mode::counted && delivery.count == 0) delivery = passive;
  if (delivery.mode != Delivery::Mode::passive && !shared_->has_handler) return;
  const bool was_pushed = stream.is_pushed();
  stream.delivery = delivery;
  if (stream.is_pushed()) {
    if (stream.is_parked) unpark(stream);
    if (stream.meet) {
      stream.meet->reading.set_active(true);
      stream.meet->reading.unpark();
      wake_reader(stream);  // a waiting reader learns that its mode is over
    }
    const bool has_list = stream.meet && !stream.meet->reading.is_empty();
    if (stream.has_id && (stream.has_input || has_list || stream.receive == ReceiveState::ended))
      queue_delivery(stream);
    return;
  }
  // In its own callback the switch is completed when that returns (end_delivery).
  if (was_pushed && !stream.is_delivering) settle_passive(stream, now);
}

/// The stream has become passive, and nobody of ours holds its role: what is there waits for its reader.
void Session::settle_passive(Stream& stream, Instant now) {
  const bool has_old = stream.meet && !stream.meet->reading.is_empty();
  if (stream.meet) stream.meet->reading.set_active(false);
  if (stream.receive == ReceiveState::receiving && stream.has_input) {
    advance_reading(stream, now);
  } else if (has_old && shared_->has_handler) {
    actions.emplace_back(action::Readable{stream.id});
    is_dirty_ = true;
  }
  finish_if_drained(stream, false);
}

// ---- reading by a handler ----------------------------------------------------------------------------------------

Result<Read> Session::read(StreamId id, std::size_t max, Instant now) {
  Stream* stream = find(id);
  if (stream == nullptr) return riffle::fail(Code::closed, "there is no such stream");
  if (stream->is_pushed()) return riffle::fail(Code::wrong_mode);
  Read read;
  if (stream->meet) {
    bool word = false;
    const meet::Taken role = stream->meet->reading.acquire(word);
    if (role != meet::Taken::data) return riffle::fail(Code::concurrent_read);
    const meet::Taken taken = stream->meet->reading.take(max, read.data);
    read.fin = stream->meet->reading.at_fin();
    const bool refill_wanted = stream->meet->reading.wants_refill();
    stream->meet->reading.release();
    if (refill_wanted) on_refill(*stream, now);
    if (taken == meet::Taken::reset)
      return std::unexpected(Error::with_wire(Code::stream_reset, stream->meet->reading.end_code()));
    if (taken == meet::Taken::closed) {
      const auto told = static_cast<std::uint16_t>(stream->meet->reading.end_code());
      return riffle::fail(told != 0 ? Code{told} : Code::closed, "its reading side was shut down");
    }
    read.status = taken == meet::Taken::data  ? Read::Status::data
                  : taken == meet::Taken::end ? Read::Status::end_of_stream
                                              : Read::Status::would_block;
    return read;
  }
  return read_now(*stream, max, now);
}

Result<Read> Session::read_now(Stream& stream, std::size_t max, Instant now) {
  Read read;
  if (stream.read_end == meet::ReadEnd::reset) {
    return std::unexpected(Error::with_wire(Code::stream_reset, stream.read_code));
  }
  if (stream.read_end == meet::ReadEnd::closed) {
    return riffle::fail(stream.read_code != 0 ? Code{static_cast<std::uint16_t>(stream.read_code)} : Code::closed,
                        "its reading side was shut down");
  }
  if (stream.receive != ReceiveState::receiving) {
    read.status = Read::Status::end_of_stream;
    read.fin = true;
    stream.receive = ReceiveState::done;
    maybe_finish(stream);
    return read;
  }
  const auto room = scratch_room();
  const ReadInto got = stream.has_input ? port_->read_into(stream.id, room.first(std::min(max, room.size())))
                                        : ReadInto{.status = ReadInto::Status::nothing};
  if (got.status == ReadInto::Status::data) {
    stream.received += got.size;
    stream.consumed += got.size;
    stats_.bytes_received += got.size;
    if (got.size != 0) read.data = take_scratch(got.size);
    read.fin = got.fin;
    read.status = got.size != 0 ? Read::Status::data : Read::Status::end_of_stream;
  }
  if (got.status == ReadInto::Status::nothing && stream.is_parked) unpark(stream);
  on_read_status(stream, got, now);
  if (got.status == ReadInto::Status::reset)
    return std::unexpected(Error::with_wire(Code::stream_reset, raw(got.code)));
  if (stream.receive == ReceiveState::ended) {
    stream.receive = ReceiveState::done;  // the handler has just been told
    maybe_finish(stream);
  }
  is_dirty_ = true;
  return read;
}

void Session::on_refill(Stream& stream, Instant now) {
  const bool was_ended = stream.receive == ReceiveState::ended;
  stream.meet->reading.unpark();
  account(stream);
  if (stream.is_parked) unpark(stream);
  if (stream.receive == ReceiveState::receiving && stream.has_input && !stream.is_pushed()) fill_list(stream, now);
  finish_if_drained(stream, was_ended);
  is_dirty_ = true;
}

void Session::stop_reading(Stream& stream, AppCode code, Code told) {
  if (stream.receive == ReceiveState::none || stream.receive == ReceiveState::done) return;
  if (stream.receive == ReceiveState::receiving && stream.has_id && port_ != nullptr) port_->stop(stream.id, code);
  stream.has_input = false;
  if (stream.is_parked) unpark(stream);
  stream.receive = ReceiveState::done;
  stream.read_end = meet::ReadEnd::closed;
  stream.read_code = static_cast<std::uint64_t>(told);
  stream.reading_stopped = code;
  forget_held(stream);
  unpause(stream);
  if (stream.meet) {
    stream.meet->reading.publish_end(stream.read_end, stream.read_code);
    wake_reader(stream);
  }
  is_dirty_ = true;
  maybe_finish(stream);
}

// ---- stalled readers (design/streams.md, "Flow control that keeps its promise") -----------------------------------

void Session::park(Stream& stream, Instant now) {
  if (stream.is_parked) return;
  stream.is_parked = true;
  stream.parked_since = now;
  stream.parked_at = stream.meet ? stream.meet->reading.consumed_bytes() : stream.consumed;
  stream.parked_previous = last_parked_;
  stream.parked_next = nullptr;
  (last_parked_ != nullptr ? last_parked_->parked_next : first_parked_) = &stream;
  last_parked_ = &stream;
  const bool is_too_many = ++parked_count_ > options_.limits.stalled_readers_tolerated;
  if (is_too_many && stall_check_ == never) stall_check_ = now + stalled_after;
}

void Session::unpark(Stream& stream) {
  if (!stream.is_parked) return;
  stream.is_parked = false;
  (stream.parked_previous != nullptr ? stream.parked_previous->parked_next : first_parked_) = stream.parked_next;
  (stream.parked_next != nullptr ? stream.parked_next->parked_previous : last_parked_) = stream.parked_previous;
  --parked_count_;
}

/// Many readers may be behind at one moment; stalled are those that have not moved for a while.
void Session::check_stalled(Instant now) {
  const std::uint32_t promised = options_.limits.stalled_readers_tolerated;
  stall_check_ = parked_count_ > promised ? now + stalled_after : never;
  std::uint64_t stalled = 0;
  for (Stream* stream = first_parked_; stream != nullptr; stream = stream->parked_next) {
    const std::uint64_t consumed = stream->meet ? stream->meet->reading.consumed_bytes() : stream->consumed;
    if (std::exchange(stream->parked_at, consumed) != consumed) stream->parked_since = now;
    stalled += now - stream->parked_since >= stalled_after ? 1 : 0;
  }
  if (stalled <= promised) {
    stalled_told_ = 0;
    return;
  }
  if (stalled > stalled_told_) {
    ++stats_.session_blocked_events;
    actions.emplace_back(action::SessionBlocked{stalled});
  }
  // What a stalled stream may hold in the worst case: its window in the transport and its list.
  const std::uint64_t each = options_.stream_window + options_.limits.receive_list;
  const std::uint64_t given = options_.limits.session_receive_budget;
  const std::uint64_t budget = given != 0 ? given : promised * each;
  for (Stream* stream = first_parked_; stream != nullptr && stalled * each > budget;) {
    Stream* next = stream->parked_next;
    if (now - stream->parked_since >= stalled_after) {
      --stalled;
      ++stats_.streams_stopped_for_budget;
      stop_reading(*stream, AppCode{0}, Code::budget_exhausted);
    }
    stream = next;
  }
  stalled_told_ = stalled;
}

void Session::probe_parked(Instant now) {
  // A stream that nobody reads gets no second readable event, not even for a RESET (facts/quiche.md).
  for (Stream* stream = first_parked_; stream != nullptr;) {
    Stream* next = stream->parked_next;
    has_bytes(*stream, now);
    stream = next;
  }
}

/// A read without room: whether bytes wait in the transport. If not, the stream is no longer parked, and its end, if
/// that was what came, is known.
bool Session::has_bytes(Stream& stream, Instant now) {
  const ReadInto got = port_->read_into(stream.id, {});
  if (got.status == ReadInto::Status::data && !got.fin) return true;
  if (stream.is_parked) unpark(stream);
  if (got.status != ReadInto::Status::nothing && shared_->has_handler)
    actions.emplace_back(action::Readable{stream.id});
  on_read_status(stream, got, now);
  return false;
}

}  // namespace riffle::core
