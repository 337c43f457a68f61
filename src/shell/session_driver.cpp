// The driver's part in a loop's cycle.
#include "shell/session_driver.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include "meet/stream_meet.hpp"

namespace riffle::shell {
namespace {

/// So many batches a machine may send in one cycle before the others have their turn: 16 × 64 KiB.
constexpr int batches_per_cycle = 16;
/// Room for the one datagram that carries a close.
constexpr std::size_t closing_datagram = 1500;
/// The application code that a session is closed with when its handler threw.
constexpr std::uint64_t handler_fault_code = 0x72666c65;  // "rfle"

}  // namespace

SessionDriver::SessionDriver(LoopContext& context, SessionOwner& owner, Parts parts)
    : context_(context),
      owner_(owner),
      parts_(std::move(parts)),
      session_(parts_.session, parts_.shared, context.stock) {
  parts_.shared->core = this;
}

SessionDriver::~SessionDriver() {
  context_.loop.forget(*this);
  if (endpoint_ != nullptr) endpoint_->forget(*this);
  parts_.shared->core = nullptr;
}

bool SessionDriver::is_spent() const noexcept {
  if (!session_.is_over() || has_work()) return false;
  return connection_ == nullptr || connection_->state() == core::PortState::closed;
}

bool SessionDriver::has_said_goodbye() const noexcept {
  if (connection_ == nullptr || connection_->state() == core::PortState::closed) return true;
  if (session_.close_reason().by == CloseReason::By::peer) return true;
  return sent_close_ && !endpoint_->is_blocked();
}

void SessionDriver::drop_transport() noexcept {
  if (endpoint_ != nullptr) endpoint_->forget(*this);
  for (Attempt& attempt : attempts_) attempt.endpoint->forget(*this);
  attempts_.clear();
  connection_ = nullptr;
  endpoint_ = nullptr;
  owned_connection_.reset();
  owned_endpoint_.reset();
}

void SessionDriver::serve(std::unique_ptr<core::QuicConnection> connection, UdpEndpoint& endpoint, Instant now) {
  owned_connection_ = std::move(connection);
  connection_ = owned_connection_.get();
  endpoint_ = &endpoint;
  session_.begin(now);
  session_.adopt(*connection_, now);
  context_.loop.mark_dirty(*this);
}

void SessionDriver::fail(Error why, Instant now) {
  session_.fail(std::move(why), now);
  context_.loop.mark_dirty(*this);
}

void SessionDriver::close(core::StreamPort::CloseKind kind, std::uint64_t code, std::string_view reason, Error why) {
  session_.close(kind, code, reason, std::move(why));
  context_.loop.mark_dirty(*this);
}

// ---- inputs ------------------------------------------------------------------------------------------------------

void SessionDriver::on_routed_datagram(std::span<std::byte> datagram, const core::Arrival& arrival, Instant now) {
  if (session_.is_over()) {
    if (connection_ != nullptr) connection_->on_input(datagram, arrival, now);
  } else {
    session_.on_input(datagram, arrival, now);
  }
  note_activity(now);
  context_.loop.mark_dirty(*this);
}

void SessionDriver::on_attention(meet::Attendee& attendee, std::uint32_t bits, Instant now) {
  if (attendee.kind == meet::AttendeeKind::session) {
    session_.on_session_attention(bits, now);
  } else {
    session_.on_stream_attention(static_cast<meet::StreamMeet&>(attendee), bits, now);
  }
  context_.loop.mark_dirty(*this);
}

void SessionDriver::on_deadline(Instant now) {
  if (now >= next_attempt_at_) next_attempt(now);
  for (Attempt& attempt : attempts_) {
    if (now >= attempt.connection->next_deadline()) attempt.connection->on_deadline(now);
  }
  if (connection_ != nullptr && session_.is_over()) {
    if (now >= connection_->next_deadline()) connection_->on_deadline(now);
    return;
  }
  if (now >= keep_alive_at_ && connection_ != nullptr) {
    connection_->keep_alive();
    keep_alive_at_ = now + parts_.keep_alive;
  }
  if (now >= session_.next_deadline()) session_.on_deadline(now);
}

Instant SessionDriver::next_deadline() const noexcept {
  Instant earliest = std::min({session_.next_deadline(), next_attempt_at_, keep_alive_at_});
  for (const Attempt& attempt : attempts_) earliest = std::min(earliest, attempt.connection->next_deadline());
  if (session_.is_over()) earliest = connection_ != nullptr ? connection_->next_deadline() : never;
  return earliest;
}

void SessionDriver::note_activity(Instant now) noexcept {
  if (parts_.keep_alive.count() > 0 && session_.state() == SessionState::connected) {
    keep_alive_at_ = now + parts_.keep_alive;
  }
}

// ---- actions -----------------------------------------------------------------------------------------------------

void SessionDriver::run_actions(Instant now) {
  if (!attempts_.empty()) check_attempts(now);
  session_.collect(now);
  answer_questions();
  // A callback may append further actions; they run in this cycle too.
  for (std::size_t i = 0; i < session_.actions.size(); ++i) {
    const core::Action action = session_.actions[i];
    run(action, now);
  }
  session_.end_actions();
  if (session_.is_over() && !std::exchange(told_over_, true)) {
    addresses_.clear();
    next_attempt_at_ = keep_alive_at_ = never;
    owner_.on_session_over(*this, now);
  }
}

template <class F>
void SessionDriver::call(F&& callback) {
  if (!parts_.handler) return;
  Context context(*this);
  try {
    callback(*parts_.handler, context);
  } catch (const std::exception& error) {
    on_handler_fault(error.what());
  } catch (...) {
    on_handler_fault("something that is no std::exception");
  }
}

void SessionDriver::on_handler_fault(const char* what) {
  session_.close(core::StreamPort::CloseKind::application, handler_fault_code, "the handler failed",
                 Error(Code::handler_failed, what));
}

void SessionDriver::run(const core::Action& action, Instant now) {
  using namespace core::action;
  std::visit(
      [&]<class A>(const A& a) {
        if constexpr (std::is_same_v<A, Deliver>) {
          deliver(a.stream, now);
        } else if constexpr (std::is_same_v<A, Reply>) {
          reply(*a.asking);
        } else if constexpr (std::is_same_v<A, WakeReader>) {
          a.stream->wake_queued = false;
          if (meet::Wakeable* waiter = a.stream->reading.take_waiter()) waiter->wake();
          a.stream->release();
        } else if constexpr (std::is_same_v<A, Connected>) {
          note_activity(now);
          owner_.on_session_connected(*this, now);
          call([](Handler& h, Context& c) { h.on_connected(c); });
        } else {
          call([&](Handler& h, Context& c) {
            if constexpr (std::is_same_v<A, StreamOpened>) h.on_stream_opened(c, a.stream, a.direction);
            if constexpr (std::is_same_v<A, Readable>) h.on_stream_readable(c, a.stream);
            if constexpr (std::is_same_v<A, Writable>) h.on_writable(c, a.stream);
            if constexpr (std::is_same_v<A, Flushed>) h.on_flushed(c, a.stream);
            if constexpr (std::is_same_v<A, WriteFailed>)
              h.on_write_failed(c, a.stream,
                                a.code == Code::stream_stopped ? Error::with_wire(a.code, a.wire) : Error(a.code));
            if constexpr (std::is_same_v<A, PeerReset>) h.on_stream_reset(c, a.stream, a.code);
            if constexpr (std::is_same_v<A, PeerStopped>) h.on_stop_sending(c, a.stream, a.code);
            if constexpr (std::is_same_v<A, DeliveriesUsedUp>) h.on_deliveries_used_up(c, a.stream);
            if constexpr (std::is_same_v<A, StreamFinished>) h.on_stream_finished(c, a.stream);
            if constexpr (std::is_same_v<A, SessionBlocked>) h.on_session_blocked(c, a.stalled);
            if constexpr (std::is_same_v<A, Draining>) h.on_draining(c);
            if constexpr (std::is_same_v<A, Closed>) h.on_closed(c, session_.close_reason());
          });
        }
      },
      action);
}

void SessionDriver::deliver(StreamId id, Instant now) {
  while (auto delivered = session_.begin_delivery(id, now)) {
    call([&](Handler& h, Context& c) { h.on_stream_data(c, id, std::move(delivered->bytes), delivered->fin); });
    session_.end_delivery(id, now);
  }
}

void SessionDriver::reply(meet::Asking& asking) {
  if (!asking.answer()) session_.take_back(asking);
  parts_.shared->asking_count.fetch_sub(1, std::memory_order_relaxed);
  asking.release();
}

// ---- questions ---------------------------------------------------------------------------------------------------

void SessionDriver::answer_questions() {
  while (meet::Asking* asking = session_.take_question()) {
    switch (asking->question) {
      case meet::Question::session_info:
        static_cast<meet::AskingFor<SessionInfo>*>(asking)->value = info();
        break;
      case meet::Question::session_stats:
        static_cast<meet::AskingFor<FullStats>*>(asking)->value = stats();
        break;
      case meet::Question::readable_streams:
      case meet::Question::writable_streams:
        session_.list_streams(asking->question == meet::Question::readable_streams,
                              static_cast<meet::AskingFor<std::vector<StreamId>>*>(asking)->value.emplace());
        break;
      default:
        asking->error = Error(Code::internal, "a question that no session knows");
        break;
    }
    reply(*asking);
  }
}

SessionInfo SessionDriver::info() const {
  SessionInfo info;
  info.role = parts_.shared->role;
  info.state = session_.state();
  info.server_name = parts_.server_name;
  if (connection_ == nullptr) return info;
  core::QuicInfo quic = connection_->info();
  info.alpn = std::move(quic.alpn);
  if (!quic.server_name.empty()) info.server_name = std::move(quic.server_name);
  info.peer_certificates = std::move(quic.peer_certificates);
  info.trace_id = std::move(quic.trace_id);
  info.is_resumed = quic.is_resumed;
  for (const core::ConnectionId& id : connection_->source_ids()) {
    std::string hex;
    for (const std::uint8_t byte : id.span()) {
      hex += "0123456789abcdef"[byte >> 4];
      hex += "0123456789abcdef"[byte & 15];
    }
    info.connection_ids.push_back(std::move(hex));
  }
  for (const quic::PathStats& path : connection_->path_stats()) {
    if (!path.is_active) continue;
    info.local = path.local;
    info.peer = path.peer;
  }
  return info;
}

FullStats SessionDriver::stats() const {
  FullStats stats;
  stats.session = session_.stats();
  if (endpoint_ != nullptr) stats.udp = endpoint_->port().stats();
  if (connection_ != nullptr) {
    stats.quic = connection_->stats();
    stats.paths = connection_->path_stats();
  }
  return stats;
}

// ---- outputs -----------------------------------------------------------------------------------------------------

bool SessionDriver::transmit(Instant now) {
  bool has_more = false;
  for (Attempt& attempt : attempts_) has_more |= transmit_from(attempt.connection.get(), *attempt.endpoint, now);
  if (connection_ == nullptr) return has_more;
  return transmit_from(nullptr, *endpoint_, now) || has_more;
}

/// From `port` if it is an attempt that the session does not know of yet, else from the session.
bool SessionDriver::transmit_from(core::StreamPort* port, UdpEndpoint& endpoint, Instant now) {
  for (int i = 0; i < batches_per_cycle; ++i) {
    if (endpoint.is_blocked()) {
      endpoint.wait_for_room(*this);
      return false;
    }
    std::span<std::byte> buffer(*context_.batch);
    const bool is_closing = port == nullptr && session_.is_over();
    // quiche, offered more room, sends ACKs of the Handshake space without end when an
    // application's close meets a full congestion window before the handshake is confirmed.
    if (is_closing) buffer = buffer.first(closing_datagram);
    const core::Batch batch = port != nullptr ? port->poll_output(buffer, now) : session_.poll_output(buffer, now);
    if (batch.bytes == 0) return false;
    endpoint.send(std::span(*context_.batch).first(batch.bytes), batch);
    note_activity(now);
    if (port == nullptr && session_.is_over()) {
      sent_close_ = true;
      return false;
    }
  }
  return true;
}

}  // namespace riffle::shell
