// Streams coming and going: opened here, opened by the peer, finished.
#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "core/session/session.hpp"

namespace riffle::core {

Stream* Session::find(StreamId id) noexcept {
  if (cached_ != nullptr && cached_->id == id) return cached_;
  Stream* stream = streams_.find(raw(id));
  if (stream != nullptr) cached_ = stream;
  return stream;
}

bool Session::is_local_id(StreamId id) const noexcept {
  // QUIC: the lowest bit says who opened it (RFC 9000 section 2.1). smux: clients take odd ids, servers even ones.
  const bool odd = (raw(id) & 1u) != 0;
  const bool is_client = shared_->role == Role::client;
  return has(port_->capabilities(), Capability::datagrams) ? odd != is_client : odd == is_client;
}

Direction Session::direction_of(StreamId id) const noexcept {
  const bool can_be_one_way = has(port_->capabilities(), Capability::unidirectional);
  return can_be_one_way && (raw(id) & 2u) != 0 ? Direction::unidirectional : Direction::bidirectional;
}

void Session::start(Stream& stream, bool is_local, Direction direction) {
  stream.session = this;
  stream.is_local = is_local;
  stream.direction = direction;
  stream.delivery = options_.delivery;
  stream.credit_limit = options_.limits.send_credit;
  stream.credit = stream.credit_limit;
  const bool one_way = direction == Direction::unidirectional;
  stream.receive = one_way && is_local ? ReceiveState::none : ReceiveState::receiving;
  stream.send = one_way && !is_local ? SendState::none : SendState::open;
}

Stream& Session::make(StreamId id, bool is_local, Direction direction) {
  Stream& stream = *stock_.streams.take();
  start(stream, is_local, direction);
  stream.id = id;
  stream.has_id = true;
  streams_.insert(raw(id), &stream);
  cached_ = &stream;
  ++stats_.streams_open;
  return stream;
}

Stream* Session::accept(StreamId id, Instant now) {
  // A stream of ours that we have let go (its bytes are over for us): nothing is left to hear.
  if (is_local_id(id)) {
    std::byte nowhere[256];
    while (port_->read_into(id, nowhere).status == ReadInto::Status::data) {
    }
    return nullptr;
  }
  if (!shared_->has_handler && accepted_count_ >= options_.limits.accept_backlog) {
    ++stats_.streams_refused;
    port_->stop(id, AppCode{0});
    if (direction_of(id) == Direction::bidirectional) port_->reset(id, AppCode{0});
    return nullptr;
  }
  Stream& stream = make(id, false, direction_of(id));
  if (heard_stops_ && stream.can_send()) probe_stop(stream);
  ++stats_.streams_accepted;
  touch(stream, now);
  if (shared_->has_handler) {
    actions.emplace_back(action::StreamOpened{id, stream.direction});
  } else {
    // Its bytes go to a list at once: a stream that waits for `accept` with a few bytes is no stalled reader.
    share(id);
    stream.in_backlog = true;
    (last_accepted_ != nullptr ? last_accepted_->next_opening : first_accepted_) = &stream;
    last_accepted_ = &stream;
    ++accepted_count_;
  }
  return &stream;
}

void Session::hand_out_accepted() {
  while (first_accepted_ != nullptr && asking_accept_ != nullptr) {
    meet::Asking* asking = std::exchange(asking_accept_, asking_accept_->next);
    if (asking->is_abandoned()) {
      answer(asking);
      continue;
    }
    Stream* stream = first_accepted_;
    first_accepted_ = std::exchange(stream->next_opening, nullptr);
    if (first_accepted_ == nullptr) last_accepted_ = nullptr;
    --accepted_count_;
    stream->in_backlog = stream->handle_returned = false;
    meet::StreamMeet* shared = share(stream->id);
    static_cast<meet::AskingFor<Ref<meet::StreamMeet>>*>(asking)->value.emplace(Ref<meet::StreamMeet>::share(shared));
    answer(asking);
    maybe_finish(*stream);  // it may have come to its end while it waited
  }
}

void Session::take_back(meet::Asking& asking) {
  if (asking.question != meet::Question::accept_stream) return;
  auto& accept = static_cast<meet::AskingFor<Ref<meet::StreamMeet>>&>(asking);
  if (!accept.value) return;
  Stream* stream = find(StreamId{(*accept.value)->id.load()});
  if (stream != nullptr && !is_over()) {
    stream->next_opening = first_accepted_;
    first_accepted_ = stream;
    if (last_accepted_ == nullptr) last_accepted_ = stream;
    ++accepted_count_;
    stream->in_backlog = stream->handle_returned = true;
  }
  accept.value.reset();
  is_dirty_ = true;
}

meet::StreamMeet* Session::share(StreamId id) {
  Stream* stream = find(id);
  if (stream == nullptr) return nullptr;
  if (!stream->meet) {
    auto shared = meet::Held<meet::StreamMeet>::adopt(new meet::StreamMeet(
        shared_, stream->direction, stream->is_local, options_.limits.receive_list, stream->credit_limit));
    shared->id.store(raw(id));
    shared->credit.overdraw(stream->credit_limit - stream->credit);
    if (!stream->can_send()) {
      shared->write_state.store(stream->send == SendState::none      ? meet::WriteState::closed
                                : stream->send == SendState::reset   ? meet::WriteState::reset
                                : stream->send == SendState::stopped ? meet::WriteState::stopped
                                                                     : meet::WriteState::ended);
      shared->write_code.store(raw(stream->stop_code));
    }
    if (stream->receive == ReceiveState::none) shared->reading.publish_end(meet::ReadEnd::fin, 0);
    if (stream->receive == ReceiveState::done) shared->reading.publish_end(stream->read_end, stream->read_code);
    auto& counters = shared->counters;
    counters.sent.store(stream->sent, std::memory_order_relaxed);
    counters.acknowledged.store(stream->acknowledged, std::memory_order_relaxed);
    counters.received.store(stream->received, std::memory_order_relaxed);
    counters.fin_sent.store(stream->send == SendState::ended, std::memory_order_relaxed);
    counters.fin_received.store(stream->read_end == meet::ReadEnd::fin, std::memory_order_relaxed);
    // A delivery under way holds the role, and gives both back when its callback returns.
    if (stream->is_delivering) shared->reading.take_role_or_leave_word();
    shared->reading.set_active(stream->is_pushed() || stream->is_delivering);
    attach_meet(*stream, std::move(shared));
  }
  return stream->meet.get();
}

void Session::attach_meet(Stream& stream, meet::Held<meet::StreamMeet> meet) {
  meet->core = &stream;
  stream.meet = std::move(meet);
  touch(stream, stream.last_activity);
  if (stream.has_input && !stream.is_pushed() && !stream.is_delivering) fill_list(stream, stream.last_activity);
}

// ---- opening -----------------------------------------------------------------------------------------------------

Result<StreamId> Session::open(Direction direction, Instant now) {
  if (is_over()) return std::unexpected(closed_error());
  if (state_ != SessionState::connected || port_ == nullptr) {
    return riffle::fail(Code::would_block, "the session is not connected yet");
  }
  if (port_->state() != PortState::established) return riffle::fail(Code::closed, "the session is ending");
  const Opened opened = port_->open(direction);
  switch (opened.status) {
    case Opened::Status::opened: {
      Stream& stream = make(opened.id, true, direction);
      ++stats_.streams_opened;
      touch(stream, now);
      publish_open_credit();
      is_dirty_ = true;
      return opened.id;
    }
    case Opened::Status::blocked:
      return riffle::fail(Code::would_block, "the peer's limit of open streams is reached");
    case Opened::Status::failed:
      break;
  }
  return riffle::fail(Code::unsupported, "this transport has no such streams: open a bidirectional one");
}

void Session::take_openings(Instant now) {
  for (meet::StreamMeet* shared = shared_->opening.take(); shared != nullptr;) {
    meet::StreamMeet* next = shared->next_opening;
    Stream& stream = *stock_.streams.take();
    start(stream, true, shared->direction);
    const auto wanted = shared->wanted_delivery.load();
    if (wanted != 0) stream.delivery = meet::StreamMeet::unpack(wanted);
    if (!shared_->has_handler) stream.delivery = passive;
    shared->reading.set_active(stream.is_pushed());
    if (stream.receive == ReceiveState::none) shared->reading.publish_end(meet::ReadEnd::fin, 0);
    shared->core = &stream;
    stream.meet = meet::Held<meet::StreamMeet>::adopt(shared);  // the mailbox's reference
    (last_opening_ != nullptr ? last_opening_->next_opening : first_opening_) = &stream;
    last_opening_ = &stream;
    shared = next;
  }
  if (is_over()) {
    for (Stream* stream = std::exchange(first_opening_, nullptr); stream != nullptr;) {
      Stream* next = std::exchange(stream->next_opening, nullptr);
      shared_->opening_count.fetch_sub(1);
      end_stream(*stream);
      stream = next;
    }
    last_opening_ = nullptr;
    return;
  }
  open_waiting(now);
}

void Session::open_waiting(Instant now) {
  if (state_ != SessionState::connected || port_ == nullptr) return;
  if (port_->state() != PortState::established) return;  // the end is near and will tell them why
  Stream* waiting = std::exchange(first_opening_, nullptr);
  last_opening_ = nullptr;
  while (waiting != nullptr) {
    Stream& stream = *waiting;
    waiting = std::exchange(stream.next_opening, nullptr);
    const Opened opened = port_->open(stream.direction);
    if (opened.status == Opened::Status::blocked && !stream.meet->fail_at_once) {
      (last_opening_ != nullptr ? last_opening_->next_opening : first_opening_) = &stream;
      last_opening_ = &stream;
      continue;
    }
    shared_->opening_count.fetch_sub(1);
    if (opened.status != Opened::Status::opened) {
      refuse_opening(stream, opened.status == Opened::Status::blocked ? Code::would_block : Code::unsupported);
      continue;
    }
    stream.id = opened.id;
    stream.has_id = true;
    streams_.insert(raw(opened.id), &stream);
    ++stats_.streams_open;
    ++stats_.streams_opened;
    stream.meet->id.store(raw(opened.id));
    touch(stream, now);
    answer_those(stream.first_asking, meet::Question::stream_open);
    // What was shut down before it opened.
    if (stream.send == SendState::reset) port_->reset(stream.id, stream.stop_code);
    if (stream.receive == ReceiveState::done) port_->stop(stream.id, stream.reading_stopped);
    schedule_send(stream);
    maybe_finish(stream);
  }
  publish_open_credit();
}

void Session::refuse_opening(Stream& stream, Code code) {
  meet::StreamMeet& shared = *stream.meet;
  if (shared.write_state.load() == meet::WriteState::open) {
    shared.write_code.store(static_cast<std::uint64_t>(code));
    auto open = meet::WriteState::open;
    shared.write_state.compare_exchange_strong(open, meet::WriteState::refused);
  }
  drop_queue(stream);
  shared.reading.publish_end(meet::ReadEnd::closed, static_cast<std::uint64_t>(code));
  wake_reader(stream);
  const Error error(code, code == Code::would_block ? "the peer's limit of open streams is reached"
                          : code == Code::closed    ? "it was shut down before it opened"
                                                    : "this transport has no such streams: open a bidirectional one");
  answer_all(stream.first_asking, &error);
  shared.core = nullptr;
  shared.is_finished.store(true);
  stream.is_finished = true;
  stream.next_free = std::exchange(finished_, &stream);
  is_dirty_ = true;
}

/// Both sides were shut down before the stream opened: nothing is left to open it for.
void Session::withdraw_opening(Stream& stream) {
  Stream* previous = nullptr;
  for (Stream* each = first_opening_; each != &stream; each = each->next_opening) previous = each;
  (previous != nullptr ? previous->next_opening : first_opening_) = stream.next_opening;
  if (last_opening_ == &stream) last_opening_ = previous;
  stream.next_opening = nullptr;
  shared_->opening_count.fetch_sub(1);
  refuse_opening(stream, Code::closed);
}

void Session::publish_open_credit() noexcept {
  for (const Direction direction : {Direction::bidirectional, Direction::unidirectional}) {
    shared_->open_credit[static_cast<std::size_t>(direction)].store(
        static_cast<std::int64_t>(std::min<std::uint64_t>(port_->streams_left(direction), 1u << 30)),
        std::memory_order_relaxed);
  }
}

// ---- ending ------------------------------------------------------------------------------------------------------

void Session::maybe_finish(Stream& stream) {
  if (stream.is_finished || !stream.has_id || stream.is_delivering || stream.in_backlog) return;
  if (!stream.receive_is_over() || !stream.send_is_over() || stream.in_flight != 0) return;
  set_blocked(stream, false);
  stream.is_finished = true;
  if (stream.is_parked) unpark(stream);
  unpause(stream);
  forget_held(stream);
  unschedule(stream);
  if (stream.first_paused != nullptr) resume_paused(stream);
  stats_.writes_blocked += stream.writes_blocked;
  actions.emplace_back(action::StreamFinished{stream.id});
  if (stream.meet) {
    stats_.writes_blocked += stream.meet->credit.times_blocked();
    const Error error(Code::closed, "the stream has ended");
    answer_all(stream.first_asking, &error);
    stream.meet->reading.set_active(false);
    stream.meet->is_finished.store(true);
    stream.meet->core = nullptr;
  }
  streams_.erase(raw(stream.id));
  if (cached_ == &stream) cached_ = nullptr;
  --stats_.streams_open;
  stream.next_free = std::exchange(finished_, &stream);
  is_dirty_ = true;
}

void Session::touch(Stream& stream, Instant now) noexcept {
  if (stream.first_activity == Instant{}) stream.first_activity = now;
  stream.last_activity = now;
  if (!stream.meet) return;
  auto& counters = stream.meet->counters;
  counters.first_activity.store(stream.first_activity.time_since_epoch().count(), std::memory_order_relaxed);
  counters.last_activity.store(now.time_since_epoch().count(), std::memory_order_relaxed);
}

void Session::set_priority(StreamId id, std::uint8_t urgency, bool incremental) noexcept {
  if (port_ != nullptr && !is_over() && find(id) != nullptr) port_->set_priority(id, urgency, incremental);
}

// ---- questions ---------------------------------------------------------------------------------------------------

SessionStats Session::stats() const noexcept {
  SessionStats stats = stats_;
  stats.streams_parked = parked_count_;
  streams_.for_each([&stats](Stream& stream) {
    stats.writes_blocked += stream.writes_blocked;
    if (stream.meet) {
      stats.receive_buffered += stream.meet->reading.held_bytes();
      stats.writes_blocked += stream.meet->credit.times_blocked();
    }
  });
  return stats;
}

bool Session::is_drained() const noexcept {
  bool drained = true;
  streams_.for_each(
      [&drained](Stream& stream) { drained = drained && stream.in_flight == 0 && stream.first_block == nullptr; });
  return drained && state_ != SessionState::handshaking;
}

void Session::list_streams(bool readable, std::vector<StreamId>& out) const {
  streams_.for_each([&](Stream& stream) {
    const bool has_data =
        stream.has_input || stream.receive == ReceiveState::ended || (stream.meet && !stream.meet->reading.is_empty());
    const std::int64_t left = stream.meet ? stream.meet->credit.left() : stream.credit;
    if (readable ? has_data : stream.can_send() && left > 0) out.push_back(stream.id);
  });
  std::sort(out.begin(), out.end());
}

}  // namespace riffle::core
