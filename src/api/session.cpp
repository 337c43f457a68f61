#include <riffle/session.hpp>

#include <utility>

#include "api/stream_errors.hpp"
#include "api/waiting.hpp"
#include "meet/session_meet.hpp"
#include "meet/stream_meet.hpp"

namespace riffle {
inline namespace v1 {
namespace {

/// Asks the session's loop; the value stands in the answer.
template <class T>
Result<T> ask_session(meet::SessionMeet& session, meet::Question question, Timeout timeout) {
  const auto asking = meet::Held<meet::AskingFor<T>>::adopt(new meet::AskingFor<T>(question));
  auto asked = api::ask(session, *session.loop, session.asking_count, meet::SessionMeet::max_asking, meet::session_wait,
                        *asking, timeout);
  if (!asked) return std::unexpected(asked.error());
  if (!asking->value) return fail(Code::internal, "an answer without a value");
  return std::move(*asking->value);
}

Result<void> wait_session(meet::SessionMeet& session, meet::Question question, Timeout timeout) {
  const auto asking = meet::Held<meet::AskingFor<bool>>::adopt(new meet::AskingFor<bool>(question));
  return api::ask(session, *session.loop, session.asking_count, meet::SessionMeet::max_asking, meet::session_wait,
                  *asking, timeout);
}

const Error& no_session() {
  static const Error error(Code::invalid_argument, "an empty Session");
  return error;
}

bool is_over(const meet::SessionMeet& session) {
  return session.close_called.load() || session.state.load() == SessionState::closed || session.loop->list.is_closed();
}

}  // namespace

Result<void> Session::wait_connected(Timeout timeout) const {
  if (!shared_) return std::unexpected(no_session());
  if (is_over(*shared_)) return std::unexpected(api::closed_error(*shared_));
  if (state() == SessionState::connected) return {};
  return wait_session(*shared_, meet::Question::connected, timeout);
}

Result<CloseReason> Session::wait_closed(Timeout timeout) const {
  if (!shared_) return std::unexpected(no_session());
  if (!shared_->close_reason()) {
    if (auto waited = wait_session(*shared_, meet::Question::session_closed, timeout); !waited) {
      if (waited.error().code() != Code::closed) return std::unexpected(waited.error());
    }
  }
  if (auto reason = shared_->close_reason()) return *std::move(reason);
  return std::unexpected(api::closed_error(*shared_));
}

Result<Stream> Session::open(Direction direction, StreamCredit credit) const {
  if (!shared_) return std::unexpected(no_session());
  if (is_over(*shared_)) return std::unexpected(api::closed_error(*shared_));
  meet::SessionMeet& session = *shared_;
  const bool at_once = credit == StreamCredit::fail_at_once;
  if (at_once && session.open_credit[static_cast<std::size_t>(direction)].fetch_sub(1) <= 0) {
    session.open_credit[static_cast<std::size_t>(direction)].fetch_add(1);
    return fail(Code::would_block, state() == SessionState::connected ? "the peer's limit of open streams is reached"
                                                                      : "the session is not connected yet");
  }
  if (session.opening_count.fetch_add(1) >= meet::SessionMeet::max_opening) {
    session.opening_count.fetch_sub(1);
    return fail(Code::busy, "too many streams wait to be opened already");
  }
  auto* shared = new meet::StreamMeet(meet::Held<meet::SessionMeet>::share(&session), direction, true,
                                      session.limits.receive_list, session.limits.send_credit);
  shared->fail_at_once = at_once;
  Stream stream(Ref<meet::StreamMeet>::share(shared));
  session.opening.push(shared);  // with the first reference
  if (!session.loop->attend(session, meet::session_open)) return std::unexpected(api::closed_error(session));
  return stream;
}

Result<Stream> Session::accept_stream(Timeout timeout) const {
  if (!shared_) return std::unexpected(no_session());
  if (shared_->has_handler)
    return fail(Code::unsupported, "the session has a handler: it takes streams in on_stream_opened");
  if (is_over(*shared_)) return std::unexpected(api::closed_error(*shared_));
  auto shared = ask_session<Ref<meet::StreamMeet>>(*shared_, meet::Question::accept_stream, timeout);
  if (!shared) return std::unexpected(shared.error());
  return Stream(std::move(*shared));
}

Result<void> Session::close(AppCode code, std::string_view reason) const {
  if (!shared_) return std::unexpected(no_session());
  shared_->request_close(code, reason);
  shared_->close_called.store(true);
  shared_->state.store(SessionState::closed);
  shared_->loop->attend(*shared_, meet::session_close);
  return {};
}

SessionState Session::state() const noexcept {
  if (!shared_) return SessionState::closed;
  return is_over(*shared_) ? SessionState::closed : shared_->state.load();
}

std::optional<CloseReason> Session::close_reason() const { return shared_ ? shared_->close_reason() : std::nullopt; }

Result<SessionInfo> Session::info(Timeout timeout) const {
  if (!shared_) return std::unexpected(no_session());
  return ask_session<SessionInfo>(*shared_, meet::Question::session_info, timeout);
}

Result<FullStats> Session::stats(Timeout timeout) const {
  if (!shared_) return std::unexpected(no_session());
  return ask_session<FullStats>(*shared_, meet::Question::session_stats, timeout);
}

Result<std::vector<StreamId>> Session::readable_streams(Timeout timeout) const {
  if (!shared_) return std::unexpected(no_session());
  return ask_session<std::vector<StreamId>>(*shared_, meet::Question::readable_streams, timeout);
}

Result<std::vector<StreamId>> Session::writable_streams(Timeout timeout) const {
  if (!shared_) return std::unexpected(no_session());
  return ask_session<std::vector<StreamId>>(*shared_, meet::Question::writable_streams, timeout);
}

}  // namespace v1
}  // namespace riffle
