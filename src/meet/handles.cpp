// The references that public handles count (riffle/ref.hpp).
#include "meet/listener_meet.hpp"
#include "meet/session_meet.hpp"
#include "meet/stream_meet.hpp"

namespace riffle::meet {

void retain_shared(StreamMeet* stream) noexcept { stream->retain_handle(); }
void release_shared(StreamMeet* stream) noexcept {
  if (stream->drop_handle()) stream->session->loop->attend(*stream, stream_gone);
  stream->release();
}

void retain_shared(SessionMeet* session) noexcept { session->retain_handle(); }
void release_shared(SessionMeet* session) noexcept {
  if (session->drop_handle()) session->loop->attend(*session, session_gone);
  session->release();
}

void retain_shared(ListenerMeet* listener) noexcept { listener->retain_handle(); }
void release_shared(ListenerMeet* listener) noexcept {
  listener->drop_handle();
  listener->release();
}

}  // namespace riffle::meet
