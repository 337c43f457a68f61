#include "meet/session_meet.hpp"

#include "meet/stream_meet.hpp"

namespace riffle::meet {

void OpeningBox::push(StreamMeet* stream) noexcept {
  stream->next_opening = first_.load(std::memory_order_relaxed);
  while (!first_.compare_exchange_weak(stream->next_opening, stream)) {
  }
}

StreamMeet* OpeningBox::take() noexcept {
  StreamMeet* newest = first_.exchange(nullptr);
  StreamMeet* ordered = nullptr;
  while (newest != nullptr) {
    StreamMeet* older = newest->next_opening;
    newest->next_opening = ordered;
    ordered = newest;
    newest = older;
  }
  return ordered;
}

SessionMeet::~SessionMeet() {
  for (StreamMeet* stream = opening.take(); stream != nullptr;) {
    StreamMeet* next_stream = stream->next_opening;
    stream->release();
    stream = next_stream;
  }
  release_all(asking);
}

void SessionMeet::request_close(AppCode code, std::string_view reason) {
  const std::lock_guard hold(cold_);
  if (!closing_ && !reason_) closing_ = Closing{code, std::string(reason)};
}

std::optional<SessionMeet::Closing> SessionMeet::close_request() const {
  const std::lock_guard hold(cold_);
  return closing_;
}

void SessionMeet::set_close_reason(CloseReason reason) {
  const std::lock_guard hold(cold_);
  if (!reason_) reason_ = std::move(reason);
}

std::optional<CloseReason> SessionMeet::close_reason() const {
  const std::lock_guard hold(cold_);
  return reason_;
}

}  // namespace riffle::meet
