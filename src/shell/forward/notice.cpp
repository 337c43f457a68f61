#include "shell/forward/notice.hpp"

#include <utility>

namespace riffle::forwarding {

void Mailbox::close() noexcept {
  is_closed_.store(true);
  take([](Notice&, std::uint32_t) {});
}

void Mailbox::post(Notice& notice, std::uint32_t happened) noexcept {
  if (notice.happened.fetch_or(happened) != 0) return;  // linked already
  retain_shared(&notice);
  Notice* head = head_.load();
  do {
    notice.next = head;
  } while (!head_.compare_exchange_weak(head, &notice));
  if (is_closed_.load()) {
    close();  // it was linked behind the last look of whoever closed it
    return;
  }
  if (asleep_.load() && asleep_.exchange(false)) poller_->wake();
}

void Mailbox::wake() noexcept {
  asleep_.store(false);
  poller_->wake();
}

std::span<const runtime::Ready> Mailbox::wait(Instant deadline, Instant now) noexcept {
  asleep_.store(true);
  const auto ready = poller_->wait(head_.load() != nullptr ? now : deadline, now);
  asleep_.store(false);
  return ready;
}

Notice* Mailbox::reversed(Notice* head) noexcept {
  Notice* result = nullptr;
  while (head != nullptr) {
    Notice* next = head->next;
    head->next = result;
    result = std::exchange(head, next);
  }
  return result;
}

void SessionLink::forget(Notice& notice) noexcept {
  notice.target = nullptr;
  if (!notice.is_forgotten.exchange(true)) forgotten.fetch_add(1);
}

SessionEvents::SessionEvents(std::shared_ptr<Mailbox> mailbox, Address peer)
    : link_(std::make_shared<SessionLink>(std::move(mailbox))), session_(Ref<Notice>::adopt(new Notice)) {
  link_->peer = peer;
  session_->link = link_;
}

void SessionEvents::on_connected(Context& context) {
  link_->session = context.session();
  link_->mailbox().post(*session_, session_connected);
}

void SessionEvents::on_stream_opened(Context& context, StreamId stream, Direction direction) {
  if (direction != Direction::bidirectional) {
    context.refuse(stream, forward::bad_header);
    return;
  }
  // The forwarding thread reads, as far as its sockets take.
  context.set_delivery(stream, passive);
  collect_forgotten();
  Notice& notice = notice_of(stream);
  notice.stream = context.stream(stream);
  link_->mailbox().post(notice, stream_opened);
}

void SessionEvents::on_closed(Context&, const CloseReason& reason) {
  link_->reason = reason;
  streams_.clear();
  link_->mailbox().post(*session_, session_closed);
}

void SessionEvents::post(StreamId stream, std::uint32_t happened) {
  collect_forgotten();
  link_->mailbox().post(notice_of(stream), happened);
}

Notice& SessionEvents::notice_of(StreamId stream) {
  Ref<Notice>& known = streams_[raw(stream)];
  if (!known) {
    known = Ref<Notice>::adopt(new Notice);
    known->link = link_;
    known->id = stream;
  }
  return *known;
}

void SessionEvents::collect_forgotten() noexcept {
  // Only when half of them are: so the search costs each stream a constant.
  if (link_->forgotten.load(std::memory_order_relaxed) * 2 <= streams_.size()) return;
  const std::size_t erased =
      std::erase_if(streams_, [](const auto& entry) { return entry.second->is_forgotten.load(); });
  link_->forgotten.fetch_sub(erased);
}

}  // namespace riffle::forwarding
