// From a session's callbacks to the forwarding thread: which stream has something to do.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>

#include <riffle/forward.hpp>
#include <riffle/handler.hpp>
#include <riffle/ref.hpp>
#include <riffle/session.hpp>
#include "runtime/poller.hpp"

namespace riffle::forwarding {

/// What happened; bits, so that telling it twice is telling it once.
enum Happened : std::uint32_t {
  stream_readable = 1,
  stream_writable = 2,
  stream_stopped = 4,  ///< the peer will take no more of our bytes
  stream_opened = 8,
  session_connected = 16,
  session_closed = 32,
};

class SessionLink;

/// Who on the forwarding thread is told.
class NoticeTarget {
 public:
  virtual ~NoticeTarget() = default;
  virtual void on_notice(std::uint32_t happened) noexcept = 0;
};

/// Purpose: one stream (or the session itself) as both threads know it. It is linked into the mailbox once, however
/// often something happens, so the mailbox is bounded by the number of streams and allocates nothing.
/// Threads: `happened`, `next` by the mailbox; `target` by the forwarding thread only; the rest is fixed when made.
struct Notice {
  std::atomic<std::uint32_t> references{1};
  std::atomic<std::uint32_t> happened{0};
  std::atomic<bool> is_forgotten{false};
  Notice* next = nullptr;  ///< in the mailbox
  std::shared_ptr<SessionLink> link;
  std::optional<StreamId> id;  ///< none: the session itself
  Stream stream;               ///< for streams that the peer opened
  NoticeTarget* target = nullptr;
};
inline void retain_shared(Notice* notice) noexcept { notice->references.fetch_add(1, std::memory_order_relaxed); }
inline void release_shared(Notice* notice) noexcept {
  if (notice->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete notice;
}

/// Purpose: the intrusive list of notices with something to tell, and the wake of the thread that reads it.
/// Threads: `post` from any; `take`, `wait` from the forwarding thread. Sequentially consistent, as in
/// design/streams.md: the reader says that it sleeps, looks again, then sleeps; a poster looks after it has linked.
/// Lifetime: shared; it outlives the thread, so that late callbacks find it.
class Mailbox {
 public:
  explicit Mailbox(std::unique_ptr<runtime::Poller> poller) noexcept : poller_(std::move(poller)) {}
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;
  ~Mailbox() { close(); }

  void post(Notice& notice, std::uint32_t happened) noexcept;
  /// Nobody will read any more: what is there is let go, and what comes too. (A notice keeps its session's link, which
  /// keeps the mailbox: a list that nobody takes would keep all of them.)
  void close() noexcept;
  /// Makes the forwarding thread look around.
  void wake() noexcept;
  /// Everything that is there, oldest first; each is given to `told(notice, happened)` and released.
  template <class Told>
  void take(Told&& told) {
    Notice* notice = reversed(head_.exchange(nullptr));
    while (notice != nullptr) {
      Ref<Notice> held = Ref<Notice>::adopt(notice);
      // `next` first: once `happened` is empty the notice may be linked again.
      notice = notice->next;
      const std::uint32_t happened = held->happened.exchange(0);
      told(*held, happened);
    }
  }
  std::span<const runtime::Ready> wait(Instant deadline, Instant now) noexcept;
  runtime::Poller& poller() noexcept { return *poller_; }

 private:
  static Notice* reversed(Notice* head) noexcept;

  std::unique_ptr<runtime::Poller> poller_;
  std::atomic<Notice*> head_{nullptr};
  std::atomic<bool> asleep_{false};
  std::atomic<bool> is_closed_{false};
};

/// Purpose: what the session's loop and the forwarding thread share of one session.
class SessionLink {
 public:
  explicit SessionLink(std::shared_ptr<Mailbox> mailbox) noexcept : mailbox_(std::move(mailbox)) {}
  SessionLink(const SessionLink&) = delete;
  SessionLink& operator=(const SessionLink&) = delete;

  Mailbox& mailbox() noexcept { return *mailbox_; }
  /// Forwarding thread: nothing more needs to be told about the stream. Until the loop looks, it may be all the same.
  void forget(Notice& notice) noexcept;
  /// How many were forgotten and are still known to the loop.
  std::atomic<std::size_t> forgotten{0};

  // Written by the loop before it posts `session_connected` or `session_closed`, read by the forwarding thread after.
  Session session;
  Address peer;
  std::optional<CloseReason> reason;

 private:
  std::shared_ptr<Mailbox> mailbox_;
};

/// Purpose: the handler of a forwarding session: posts what happens and does nothing else.
class SessionEvents final : public Handler {
 public:
  SessionEvents(std::shared_ptr<Mailbox> mailbox, Address peer);

  void on_connected(Context& context) override;
  void on_stream_opened(Context& context, StreamId stream, Direction direction) override;
  void on_stream_readable(Context&, StreamId stream) override { post(stream, stream_readable); }
  void on_writable(Context&, StreamId stream) override { post(stream, stream_writable); }
  void on_write_failed(Context&, StreamId stream, const Error&) override { post(stream, stream_stopped); }
  // A reset is seen by whoever reads on.
  void on_stream_reset(Context&, StreamId stream, AppCode) override { post(stream, stream_readable); }
  void on_stop_sending(Context&, StreamId stream, AppCode) override { post(stream, stream_stopped); }
  void on_closed(Context& context, const CloseReason& reason) override;

  const std::shared_ptr<SessionLink>& link() const noexcept { return link_; }

 private:
  void post(StreamId stream, std::uint32_t happened);
  Notice& notice_of(StreamId stream);
  void collect_forgotten() noexcept;

  std::shared_ptr<SessionLink> link_;
  Ref<Notice> session_;
  std::unordered_map<std::uint64_t, Ref<Notice>> streams_;
};

}  // namespace riffle::forwarding
