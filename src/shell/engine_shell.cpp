// The engine's life on its loop: commands, sessions, listeners, the end.
#include "shell/engine_shell.hpp"

#include <algorithm>
#include <utility>

#include "core/session/late.hpp"
#include "meet/stream_meet.hpp"
#include "shell/session_parts.hpp"

namespace riffle::shell {
namespace {

/// While the engine drains, it looks at its sessions at least so often.
constexpr auto drain_step = std::chrono::milliseconds(5);
/// How much longer than its deadline an engine stays for closes that could not be sent yet: quiche sends none while its
/// congestion window is full, before a probe timeout (RFC 9002 section 6.2) has passed.
constexpr auto goodbye_grace = std::chrono::milliseconds(250);

}  // namespace

EngineShell::Control::~Control() {
  for (Command* command = commands.take(); command != nullptr;) delete std::exchange(command, command->next);
}

bool EngineShell::Control::post(Command* command, std::uint32_t limit) noexcept {
  if (command_count.fetch_add(1) >= limit) {
    command_count.fetch_sub(1);
    return false;
  }
  commands.push(command);
  link->attend(*this, bit_command);
  return true;
}

Result<std::unique_ptr<EngineShell>> EngineShell::make(std::unique_ptr<Platform> owned, Platform* platform,
                                                       const EngineOptions& options, bool own_thread) {
  if (auto valid = options.validate(); !valid) return std::unexpected(valid.error());
  if (owned) platform = owned.get();
  auto poller = platform->make_poller(options);
  if (!poller) return std::unexpected(poller.error());
  std::unique_ptr<EngineShell> engine(
      new EngineShell(std::move(owned), *platform, std::shared_ptr<runtime::Poller>(std::move(*poller)), options));
  if (own_thread) engine->thread_ = std::thread([raw_engine = engine.get()] { raw_engine->run(); });
  return engine;
}

EngineShell::EngineShell(std::unique_ptr<Platform> owned, Platform& platform, std::shared_ptr<runtime::Poller> poller,
                         const EngineOptions& options)
    : owned_platform_(std::move(owned)),
      platform_(platform),
      poller_(std::move(poller)),
      link_(meet::Held<meet::LoopLink>::adopt(new meet::LoopLink(*poller_, poller_))),
      control_(meet::Held<Control>::adopt(new Control)),
      loop_(*poller_, *link_, *this),
      context_{.platform = platform_,
               .loop = loop_,
               .link = link_,
               .stock = stock_,
               .buffers = buffers_,
               .options = options},
      configurations_(platform_.quic()) {
  control_->link = link_;
  stock_.receive_budget = options.receive_budget;
  stock_.send_budget = options.send_budget;
  // Asleep from the start: what is posted before the first cycle makes `fd` readable too (ENG-9).
  link_->list.fall_asleep();
}

EngineShell::~EngineShell() {
  stop(std::chrono::nanoseconds(0));
  if (thread_.joinable()) {
    thread_.join();
  } else if (!is_shut_down_) {
    while (run_one(never)) {
    }
  }
}

// ---- from any thread ---------------------------------------------------------------------------------------------

void EngineShell::stop(std::chrono::nanoseconds deadline) noexcept {
  EngineState running = EngineState::running;
  control_->stop_after.store(std::max<std::int64_t>(deadline.count(), 0));
  control_->state.compare_exchange_strong(running, EngineState::stopping);
  if (control_->state.load() != EngineState::stopped) link_->attend(*control_, bit_stop);
}

void EngineShell::join() {
  for (;;) {
    const EngineState state = control_->state.load();
    if (state == EngineState::stopped) return;
    control_->state.wait(state);
  }
}

std::vector<std::string> EngineShell::take_warnings() {
  const std::lock_guard hold(control_->warnings_lock);
  return std::exchange(control_->warnings, {});
}

void EngineShell::warn(std::string text) {
  if (text.empty()) return;
  const std::lock_guard hold(control_->warnings_lock);
  control_->warnings.push_back(std::move(text));
}

// ---- driving -----------------------------------------------------------------------------------------------------

void EngineShell::run() {
  link_->bind_thread();
  loop_.resume();
  while (!is_shut_down_) loop_.run_cycle(wait_limit(never));
}

Instant EngineShell::wait_limit(Instant limit) const noexcept {
  return stop_at_ == never ? limit : std::min(limit, loop_.now() + drain_step);
}

bool EngineShell::run_one(Instant deadline) {
  if (is_shut_down_) return false;
  link_->bind_thread();
  loop_.resume();
  loop_.run_cycle(wait_limit(deadline));
  return !is_shut_down_;
}

bool EngineShell::process() {
  if (is_shut_down_) return false;
  link_->bind_thread();
  loop_.process();
  return !is_shut_down_;
}

// ---- the loop's owner --------------------------------------------------------------------------------------------

void EngineShell::on_attention(meet::Attendee& attendee, std::uint32_t bits, Instant now) {
  switch (attendee.kind) {
    case meet::AttendeeKind::engine:
      if ((bits & bit_command) != 0) take_commands(now);
      if ((bits & bit_stop) != 0) begin_stopping(now);
      break;
    case meet::AttendeeKind::listener: {
      auto& listener = static_cast<meet::ListenerMeet&>(attendee);
      if (auto* driver = static_cast<ListenerDriver*>(listener.core)) {
        driver->on_attention(bits);
        has_spent_ = true;
      } else {
        ListenerDriver::settle_late(listener);
      }
      break;
    }
    case meet::AttendeeKind::session: {
      auto& session = static_cast<meet::SessionMeet&>(attendee);
      if (auto* driver = static_cast<SessionDriver*>(session.core)) {
        driver->on_attention(attendee, bits, now);
      } else {
        core::settle_late(session);
      }
      break;
    }
    case meet::AttendeeKind::stream: {
      auto& stream = static_cast<meet::StreamMeet&>(attendee);
      if (auto* driver = static_cast<SessionDriver*>(stream.session->core)) {
        driver->on_attention(attendee, bits, now);
      } else {
        core::settle_late(stream);
      }
      break;
    }
  }
}

void EngineShell::take_commands(Instant now) {
  for (Command* command = control_->commands.take(); command != nullptr;) {
    const std::unique_ptr<Command> taken(command);
    command = command->next;
    control_->command_count.fetch_sub(1);
    taken->run(*this, now);
  }
}

void EngineShell::on_released(Instant now) {
  base::SendBlock* block = std::exchange(stock_.released.first, nullptr);
  while (block != nullptr) {
    base::SendBlock* next = block->next;
    auto* stream = static_cast<core::Stream*>(block->stream);
    auto* driver = static_cast<SessionDriver*>(stream->session->shared().core);
    stream->session->on_released(*block, now);
    if (driver != nullptr) loop_.mark_dirty(*driver);
    base::SendBlock::destroy(block);  // the user's release callback, if the bytes were lent
    block = next;
  }
}

void EngineShell::on_cycle_end(Instant now) {
  if (stop_at_ != never) go_on_stopping(now);
  if (has_spent_) destroy_spent();
  if (stop_at_ != never && sessions_.empty()) shut_down();
}

// ---- sessions ----------------------------------------------------------------------------------------------------

SessionDriver& EngineShell::add_session(SessionDriver::Parts parts, SessionOwner& owner) {
  sessions_.push_back(std::make_unique<SessionDriver>(context_, owner, std::move(parts)));
  control_->active.store(sessions_.size(), std::memory_order_relaxed);
  return *sessions_.back();
}

void EngineShell::on_session_connected(SessionDriver&, Instant) {}
void EngineShell::on_session_over(SessionDriver&, Instant) { has_spent_ = true; }

void EngineShell::destroy_spent() {
  has_spent_ = false;
  for (std::size_t i = 0; i < sessions_.size();) {
    SessionDriver& driver = *sessions_[i];
    const bool need_not_linger = stop_at_ != never && driver.session().is_over() && !driver.has_work() &&
                                 (driver.has_said_goodbye() || loop_.now() >= stop_at_ + goodbye_grace);
    if (driver.is_spent() || need_not_linger) {
      destroy(i);
    } else {
      has_spent_ = has_spent_ || driver.session().is_over();
      ++i;
    }
  }
  std::erase_if(listeners_, [](const auto& listener) { return listener->is_spent(); });
}

void EngineShell::destroy(std::size_t index) {
  std::swap(sessions_[index], sessions_.back());
  SessionDriver& driver = *sessions_.back();
  for (const auto& listener : listeners_) {
    if (listener->owns(driver)) listener->on_destroyed(driver);
  }
  driver.drop_transport();
  on_released(loop_.now());  // what its transport held
  sessions_.pop_back();
  control_->active.store(sessions_.size(), std::memory_order_relaxed);
}

// ---- the end -----------------------------------------------------------------------------------------------------

void EngineShell::begin_stopping(Instant now) {
  stop_at_ = std::min(stop_at_, now + std::chrono::nanoseconds(control_->stop_after.load()));
  for (const auto& listener : listeners_) listener->close();
  has_spent_ = true;
}

void EngineShell::go_on_stopping(Instant now) {
  for (const auto& driver : sessions_) {
    core::Session& session = driver->session();
    if (session.is_over()) continue;
    if (now >= stop_at_ || session.is_drained()) {
      driver->close(core::StreamPort::CloseKind::application, 0, "the engine was stopped",
                    Error(Code::closed, "the engine was stopped"));
    }
  }
  has_spent_ = true;
}

void EngineShell::shut_down() {
  // What was posted until now still gets its answer; from now on `attend` says that nobody looks.
  meet::AttentionNode* node = link_->list.close();
  while (node != nullptr) {
    meet::AttentionNode* next = node->next;
    auto& attendee = static_cast<meet::Attendee&>(*node);
    on_attention(attendee, meet::AttentionList::take_bits(*node), loop_.now());
    attendee.release();
    node = next;
  }
  while (!sessions_.empty()) {
    sessions_.back()->fail(Error(Code::closed, "the engine was stopped"), loop_.now());
    sessions_.back()->run_actions(loop_.now());
    destroy(sessions_.size() - 1);
  }
  listeners_.clear();
  is_shut_down_ = true;
  control_->state.store(EngineState::stopped);
  control_->state.notify_all();
}

}  // namespace riffle::shell
