// The engine: a loop, what lives on it, and the calls that reach it from other threads.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <riffle/engine.hpp>
#include <riffle/options.hpp>
#include "meet/mailbox.hpp"
#include "shell/configurations.hpp"
#include "shell/listener.hpp"
#include "shell/loop_context.hpp"
#include "shell/platform.hpp"
#include "shell/session_driver.hpp"

namespace riffle::shell {

/// Purpose: everything behind riffle::Engine. Threads: the public calls from any thread; the private ones on the
/// loop's.
class EngineShell final : public runtime::LoopOwner, public SessionHome, public SessionOwner {
 public:
  /// `platform` is borrowed where `owned` is null.
  static Result<std::unique_ptr<EngineShell>> make(std::unique_ptr<Platform> owned, Platform* platform,
                                                   const EngineOptions& options, bool own_thread);
  ~EngineShell() override;

  Session connect(quic::Client options);
  Result<Listener> listen(quic::Server options);
  void stop(std::chrono::nanoseconds deadline) noexcept;
  void join();
  EngineState state() const noexcept { return control_->state.load(); }
  std::uint64_t active_sessions() const noexcept { return control_->active.load(std::memory_order_relaxed); }
  std::vector<std::string> take_warnings();

  void run();
  bool run_one(Instant deadline);
  bool process();
  int fd() const noexcept { return poller_->fd(); }
  Instant deadline() const noexcept { return wait_limit(loop_.deadline()); }

 private:
  /// A connect or listen on its way, and what came of a name's resolution.
  struct Command {
    virtual ~Command() = default;
    virtual void run(EngineShell& engine, Instant now) = 0;
    Command* next = nullptr;
  };
  struct ConnectCommand;
  struct ListenCommand;
  struct ResolvedCommand;

  enum Bit : std::uint32_t { bit_command = 1, bit_stop = 2 };

  /// What other threads may touch, also while the engine is being destroyed (a resolver's late answer).
  struct Control final : meet::Attendee {
    Control() : Attendee(meet::AttendeeKind::engine) {}
    ~Control() override;
    bool post(Command* command, std::uint32_t limit) noexcept;
    meet::Mailbox<Command> commands;
    std::atomic<std::uint32_t> command_count{0};
    std::atomic<EngineState> state{EngineState::running};
    std::atomic<std::int64_t> stop_after{0};
    std::atomic<std::uint64_t> active{0};
    std::mutex warnings_lock;
    std::vector<std::string> warnings;
    meet::Held<meet::LoopLink> link;
  };

  EngineShell(std::unique_ptr<Platform> owned, Platform& platform, std::shared_ptr<runtime::Poller> poller,
              const EngineOptions& options);
  Session fail_at_once(quic::Client options, Error why);
  void begin_connect(ConnectCommand& command, Instant now);

  // LoopOwner.
  void on_attention(meet::Attendee& attendee, std::uint32_t bits, Instant now) override;
  void on_released(Instant now) override;
  void on_cycle_end(Instant now) override;

  SessionDriver& add_session(SessionDriver::Parts parts, SessionOwner& owner) override;
  void note_session_over() override { has_spent_ = true; }
  void on_session_connected(SessionDriver& driver, Instant now) override;
  void on_session_over(SessionDriver& driver, Instant now) override;
  /// A stopping engine looks at its sessions now and then.
  Instant wait_limit(Instant limit) const noexcept;
  void take_commands(Instant now);
  void begin_stopping(Instant now);
  void go_on_stopping(Instant now);
  void destroy_spent();
  void destroy(std::size_t index);
  void shut_down();
  void warn(std::string text);

  std::unique_ptr<Platform> owned_platform_;
  Platform& platform_;
  std::shared_ptr<runtime::Poller> poller_;
  meet::Held<meet::LoopLink> link_;
  meet::Held<Control> control_;
  runtime::Loop loop_;
  core::LoopStock stock_;
  net::ReceiveBuffers buffers_;
  LoopContext context_;
  Configurations configurations_;
  std::vector<std::unique_ptr<SessionDriver>> sessions_;
  std::vector<std::unique_ptr<ListenerDriver>> listeners_;
  bool has_spent_ = false;
  Instant stop_at_ = never;
  bool is_shut_down_ = false;
  std::thread thread_;
};

}  // namespace riffle::shell
