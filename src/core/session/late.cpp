#include "core/session/late.hpp"

namespace riffle::core {
namespace {

Error reason_of(const meet::SessionMeet& session) {
  const auto reason = session.close_reason();
  return reason ? reason->error : Error(Code::closed, "the session has ended");
}

void answer(meet::SessionMeet& session, meet::Mailbox<meet::Asking>& box) {
  for (meet::Asking* asking = box.take(); asking != nullptr;) {
    meet::Asking* next = asking->next;
    if (asking->question != meet::Question::session_closed) asking->error = reason_of(session);
    asking->answer();
    session.asking_count.fetch_sub(1, std::memory_order_relaxed);
    asking->release();
    asking = next;
  }
}

}  // namespace

void settle_late(meet::SessionMeet& session) {
  for (meet::StreamMeet* stream = session.opening.take(); stream != nullptr;) {
    meet::StreamMeet* next = stream->next_opening;
    session.opening_count.fetch_sub(1);
    settle_late(*stream);
    stream->release();
    stream = next;
  }
  answer(session, session.asking);
}

void settle_late(meet::StreamMeet& stream) {
  auto open = meet::WriteState::open;
  stream.write_state.compare_exchange_strong(open, meet::WriteState::closed);
  stream.reading.publish_end(meet::ReadEnd::closed, 0);
  stream.reading.set_active(false);
  stream.is_finished.store(true);
  if (meet::Wakeable* waiter = stream.reading.take_waiter()) waiter->wake();
  for (base::SendBlock* block = stream.mailbox.take(); block != nullptr;) {
    base::SendBlock* next = block->next;
    base::SendBlock::destroy(block);
    block = next;
  }
  answer(*stream.session, stream.asking);
}

}  // namespace riffle::core
