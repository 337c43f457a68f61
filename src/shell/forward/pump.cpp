#include "shell/forward/pump.hpp"

#include <algorithm>
#include <utility>

namespace riffle::forwarding {

forward::Stats snapshot(const Counters& counters) noexcept {
  constexpr auto relaxed = std::memory_order_relaxed;
  return {.connections = counters.connections.load(relaxed),
          .active = counters.active.load(relaxed),
          .failed = counters.failed.load(relaxed),
          .bytes_to_session = counters.bytes_to_session.load(relaxed),
          .bytes_to_sockets = counters.bytes_to_sockets.load(relaxed)};
}

Result<std::unique_ptr<Pump>> Pump::make() {
  auto poller = runtime::make_epoll_poller();
  if (!poller) return std::unexpected(poller.error());
  return std::make_unique<Pump>(std::make_shared<Mailbox>(std::move(*poller)));
}

Pump::Pump(std::shared_ptr<Mailbox> mailbox)
    : mailbox_(std::move(mailbox)), scratch_(std::make_unique_for_overwrite<std::byte[]>(scratch_size)) {}

void Pump::run_thread(Role& role) {
  thread_ = std::thread([this, &role] { run(role); });
}

void Pump::stop() noexcept {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(tasks_mutex_);
    is_stopping_ = true;
  }
  mailbox_->wake();
  thread_.join();
}

void Pump::post(Task task) {
  {
    const std::lock_guard lock(tasks_mutex_);
    if (is_stopping_) return;
    tasks_.push_back(std::move(task));
  }
  mailbox_->wake();
}

void Pump::arm(Timed& timed, Duration after) {
  disarm(timed);
  timed.place_ = deadlines_.emplace(now_ + after, &timed);
  timed.is_armed_ = true;
}

void Pump::disarm(Timed& timed) noexcept {
  if (std::exchange(timed.is_armed_, false)) deadlines_.erase(timed.place_);
}

void Pump::not_later(Resumable& one) noexcept {
  std::erase(resumed_, &one);
  std::ranges::replace(resuming_, &one, nullptr);
}

void Pump::run(Role& role) {
  now_ = std::chrono::steady_clock::now();
  for (;;) {
    run_tasks();
    mailbox_->take([&role](Notice& notice, std::uint32_t happened) { role.on_notice(notice, happened); });
    run_resumed();
    fire_deadlines();
    buried_.clear();
    {
      const std::lock_guard lock(tasks_mutex_);
      if (is_stopping_ && tasks_.empty()) return;
    }
    const Instant next = deadlines_.empty() ? never : deadlines_.begin()->first;
    const auto all_ready = mailbox_->wait(resumed_.empty() ? next : now_, now_);
    now_ = std::chrono::steady_clock::now();
    for (const runtime::Ready& ready : all_ready) {
      if (ready.owner != nullptr) ready.owner->on_ready(ready.readable, ready.writable);
    }
    buried_.clear();
  }
}

void Pump::run_tasks() {
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(tasks_mutex_);
    tasks.swap(tasks_);
  }
  for (Task& task : tasks) task();
}

void Pump::fire_deadlines() noexcept {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_) {
    Timed* timed = deadlines_.begin()->second;
    disarm(*timed);
    timed->on_deadline();
  }
}

void Pump::run_resumed() noexcept {
  resuming_.swap(resumed_);
  for (std::size_t i = 0; i < resuming_.size(); ++i) {
    if (resuming_[i] != nullptr) resuming_[i]->resume();
  }
  resuming_.clear();
}

}  // namespace riffle::forwarding
