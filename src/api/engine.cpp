#include <riffle/engine.hpp>

#include <utility>

#include "api/waiting.hpp"
#include "meet/listener_meet.hpp"
#include "shell/engine_shell.hpp"

namespace riffle {
inline namespace v1 {
namespace {

constexpr std::uint32_t max_asking = 65'536;

template <class T>
Result<T> ask_listener(meet::ListenerMeet& listener, meet::Question question, Timeout timeout) {
  const auto asking = meet::Held<meet::AskingFor<T>>::adopt(new meet::AskingFor<T>(question));
  auto asked =
      api::ask(listener, *listener.loop, listener.asking_count, max_asking, meet::listener_wait, *asking, timeout);
  if (!asked) return std::unexpected(asked.error());
  return std::move(*asking->value);
}

}  // namespace

Engine::Engine(std::unique_ptr<shell::EngineShell> shell) noexcept : shell_(std::move(shell)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Result<Engine> Engine::start(EngineOptions options) {
  auto shell = shell::EngineShell::make(shell::make_real_platform(), nullptr, options, true);
  if (!shell) return std::unexpected(shell.error());
  return Engine(std::move(*shell));
}

Result<Engine> Engine::embedded(EngineOptions options) {
  auto shell = shell::EngineShell::make(shell::make_real_platform(), nullptr, options, false);
  if (!shell) return std::unexpected(shell.error());
  return Engine(std::move(*shell));
}

Result<Engine> Engine::over(shell::Platform& platform, EngineOptions options) {
  auto shell = shell::EngineShell::make(nullptr, &platform, options, false);
  if (!shell) return std::unexpected(shell.error());
  return Engine(std::move(*shell));
}

Session Engine::connect(quic::Client options) const { return shell_->connect(std::move(options)); }
Result<Listener> Engine::listen(quic::Server options) const { return shell_->listen(std::move(options)); }
void Engine::join() const { shell_->join(); }
void Engine::stop(std::chrono::nanoseconds deadline) const noexcept { shell_->stop(deadline); }
EngineState Engine::state() const noexcept { return shell_->state(); }
std::uint64_t Engine::active_sessions() const noexcept { return shell_->active_sessions(); }
std::vector<std::string> Engine::take_warnings() const { return shell_->take_warnings(); }
void Engine::run() const { shell_->run(); }
bool Engine::run_one(std::chrono::steady_clock::time_point deadline) const { return shell_->run_one(deadline); }
int Engine::fd() const noexcept { return shell_->fd(); }
std::chrono::steady_clock::time_point Engine::deadline() const noexcept { return shell_->deadline(); }
bool Engine::process() const { return shell_->process(); }

const Address& Listener::address() const noexcept { return shared_->address; }

Result<Session> Listener::accept(Timeout timeout) const {
  if (!shared_) return fail(Code::invalid_argument, "an empty Listener");
  return ask_listener<Session>(*shared_, meet::Question::accept_session, timeout);
}

Result<void> Listener::close() const {
  if (!shared_) return fail(Code::invalid_argument, "an empty Listener");
  shared_->loop->attend(*shared_, meet::listener_close);
  return {};
}

std::uint64_t Listener::active_sessions() const noexcept {
  return shared_ ? shared_->active_sessions.load(std::memory_order_relaxed) : 0;
}

Result<UdpStats> Listener::udp_stats(Timeout timeout) const {
  if (!shared_) return fail(Code::invalid_argument, "an empty Listener");
  return ask_listener<UdpStats>(*shared_, meet::Question::listener_stats, timeout);
}

}  // namespace v1
}  // namespace riffle
