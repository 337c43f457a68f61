// The engine: a loop thread that owns every protocol object, and the calls that bring sessions and listeners to it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <riffle/error.hpp>
#include <riffle/options.hpp>
#include <riffle/session.hpp>
#include <riffle/stats.hpp>

namespace riffle::shell {
class EngineShell;
struct Platform;
}  // namespace riffle::shell

namespace riffle::meet {
class ListenerMeet;
void retain_shared(ListenerMeet* object) noexcept;
void release_shared(ListenerMeet* object) noexcept;
}  // namespace riffle::meet

namespace riffle {
inline namespace v1 {

enum class EngineState : std::uint8_t { running, stopping, stopped };

/// Purpose: a socket that takes sessions in. Threads: any. Lifetime: a reference; the listener lives in its engine
/// until `close`.
class [[nodiscard]] Listener {
 public:
  Listener() noexcept = default;
  explicit Listener(Ref<meet::ListenerMeet> shared) noexcept : shared_(std::move(shared)) {}
  /// Where it listens: the real port, also where 0 was asked for.
  const Address& address() const noexcept;
  /// The next session; for listeners without a handler (SRV-5).
  Result<Session> accept(Timeout timeout = default_timeout) const;
  /// Stops taking sessions in; those that are there go on.
  Result<void> close() const;
  std::uint64_t active_sessions() const noexcept;
  Result<UdpStats> udp_stats(Timeout timeout = default_timeout) const;

 private:
  Ref<meet::ListenerMeet> shared_;
};

/// Purpose: owns the loop (ENG-1). Threads: `connect`, `listen`, `stop`, `join`, `state` from any; the driving calls
/// (`run`, `run_one`, `process`, …) from one thread, which is then the loop's.
/// Lifetime: destroying it stops it (deadline 0) and joins; handles that outlive it give `closed`.
class [[nodiscard]] Engine {
 public:
  /// With a loop thread of its own.
  static Result<Engine> start(EngineOptions options = {});
  /// Without threads: the caller drives it by `run`, `run_one`, or `fd`/`deadline`/`process` (ENG-9).
  static Result<Engine> embedded(EngineOptions options = {});
  /// Over another kernel: the simulator's clock and network. For tests.
  static Result<Engine> over(shell::Platform& platform, EngineOptions options = {});

  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  /// A session at once, closed already if it could not even begin: its reason tells (CON-1).
  Session connect(quic::Client options) const;
  Result<Listener> listen(quic::Server options) const;

  /// Waits for the end of the loop thread (`stop`, from any thread or a signal handler's thread).
  void join() const;
  /// Drains: no new sessions; open ones are closed once what was written is flushed, or the deadline passed. Returns at
  /// once; `join` waits. Safe from callbacks.
  void stop(std::chrono::nanoseconds deadline = std::chrono::seconds(1)) const noexcept;
  EngineState state() const noexcept;
  std::uint64_t active_sessions() const noexcept;
  /// What the user should know once: a smaller socket buffer than asked for, GSO refused. Empty mostly.
  std::vector<std::string> take_warnings() const;

  // Driving an embedded engine.
  /// Runs until stopped.
  void run() const;
  /// One cycle: waits for work until `deadline` at most; false once stopped.
  bool run_one(std::chrono::steady_clock::time_point deadline) const;
  /// Readable whenever `process` has work (level-triggered).
  int fd() const noexcept;
  /// When `process` wants to run at the latest; `time_point::max()` if only `fd` matters.
  std::chrono::steady_clock::time_point deadline() const noexcept;
  /// One cycle without waiting; false once stopped.
  bool process() const;

 private:
  explicit Engine(std::unique_ptr<shell::EngineShell> shell) noexcept;
  std::unique_ptr<shell::EngineShell> shell_;
};

}  // namespace v1
}  // namespace riffle
