// The thread that moves bytes between sockets and streams.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <riffle/error.hpp>
#include "base/instant.hpp"
#include "runtime/poller.hpp"
#include "shell/forward/notice.hpp"

namespace riffle::forwarding {

/// The numbers behind forward::Stats; written by the forwarding thread.
struct Counters {
  std::atomic<std::uint64_t> connections{0};
  std::atomic<std::uint64_t> active{0};
  std::atomic<std::uint64_t> failed{0};
  std::atomic<std::uint64_t> bytes_to_session{0};
  std::atomic<std::uint64_t> bytes_to_sockets{0};
};
forward::Stats snapshot(const Counters& counters) noexcept;

/// Something that wants to be called at an instant; disarmed by its end.
class Timed {
 public:
  Timed() = default;
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;
  virtual ~Timed() = default;
  virtual void on_deadline() noexcept = 0;

 private:
  friend class Pump;
  std::multimap<Instant, Timed*>::iterator place_;
  bool is_armed_ = false;
};

/// Something that has used up its share of a cycle and goes on in the next.
class Resumable {
 public:
  virtual void resume() noexcept = 0;

 protected:
  ~Resumable() = default;
};

/// Purpose: one thread with its poller, its deadlines and its mailbox; `Role` is what runs on it.
/// Threads: `post`, `mailbox`, `stop` from any, the rest on the pump's own thread or before `run_thread`.
class Pump {
 public:
  class Role {
   public:
    virtual void on_notice(Notice& notice, std::uint32_t happened) noexcept = 0;

   protected:
    ~Role() = default;
  };
  using Task = std::move_only_function<void()>;

  /// Both directions use it, one after the other; nothing stays in it.
  static constexpr std::size_t scratch_size = 64 * 1024;

  static Result<std::unique_ptr<Pump>> make();
  explicit Pump(std::shared_ptr<Mailbox> mailbox);
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;
  ~Pump() {
    stop();
    mailbox_->close();
  }

  void run_thread(Role& role);
  /// Ends the thread; the last tasks posted have run then. Twice is once.
  void stop() noexcept;
  /// For what is rare: a resolved name, a beginning, an end. Without a thread the task is dropped.
  void post(Task task);
  const std::shared_ptr<Mailbox>& mailbox() const noexcept { return mailbox_; }

  runtime::Poller& poller() noexcept { return mailbox_->poller(); }
  Instant now() const noexcept { return now_; }
  void arm(Timed& timed, Duration after);
  void disarm(Timed& timed) noexcept;
  void resume_later(Resumable& one) { resumed_.push_back(&one); }
  void not_later(Resumable& one) noexcept;
  std::span<std::byte> scratch() noexcept { return {scratch_.get(), scratch_size}; }
  /// Destroys it at the end of the cycle: it may be on the stack now.
  void bury(std::shared_ptr<void> dead) { buried_.push_back(std::move(dead)); }

 private:
  void run(Role& role);
  void run_tasks();
  void fire_deadlines() noexcept;
  void run_resumed() noexcept;

  std::shared_ptr<Mailbox> mailbox_;
  std::unique_ptr<std::byte[]> scratch_;
  std::multimap<Instant, Timed*> deadlines_;
  std::vector<Resumable*> resumed_, resuming_;
  std::vector<std::shared_ptr<void>> buried_;
  Instant now_{};
  std::mutex tasks_mutex_;
  std::vector<Task> tasks_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace riffle::forwarding
