// Bringing sessions and listeners to the loop, from any thread.
#include <optional>
#include <utility>

#include "shell/engine_shell.hpp"
#include "shell/session_parts.hpp"

namespace riffle::shell {

struct EngineShell::ConnectCommand final : Command {
  quic::Client options;
  meet::Held<meet::SessionMeet> shared;
  std::shared_ptr<core::QuicConfiguration> configuration;
  HostPort target;
  std::optional<Error> failure;  ///< it failed before it began; the handler is told on its loop, as ever

  explicit ConnectCommand(quic::Client its_options) : options(std::move(its_options)) {}
  void run(EngineShell& engine, Instant now) override { engine.begin_connect(*this, now); }
};

struct EngineShell::ResolvedCommand final : Command {
  meet::Held<meet::SessionMeet> shared;
  Result<std::vector<Address>> addresses;

  ResolvedCommand(meet::Held<meet::SessionMeet> its_session, Result<std::vector<Address>> result)
      : shared(std::move(its_session)), addresses(std::move(result)) {}
  void run(EngineShell&, Instant now) override {
    auto* driver = static_cast<SessionDriver*>(shared->core);
    if (driver == nullptr || driver->session().is_over()) return;
    if (addresses) {
      driver->connect(std::move(*addresses), now);
    } else {
      driver->fail(addresses.error(), now);
    }
  }
};

struct EngineShell::ListenCommand final : Command {
  std::unique_ptr<ListenerDriver> listener;
  std::unique_ptr<net::DatagramPort> port;

  void run(EngineShell& engine, Instant) override {
    std::string warning = port->take_warning();
    // The poller refuses only when descriptors or kernel memory are exhausted; the listener is closed then.
    if (auto begun = listener->begin(std::move(port)); !begun) {
      engine.warn("a listener could not begin: " + begun.error().message());
      listener->close();
    }
    if (engine.stop_at_ != never) listener->close();  // it was on its way when the engine was stopped
    engine.warn(std::move(warning));
    engine.listeners_.push_back(std::move(listener));
  }
};

/// The session is closed from the start. Its handler still hears `on_closed`, exactly once and on the loop (HND-1), for
/// which as many commands again as may be under way have room.
Session EngineShell::fail_at_once(quic::Client options, Error why) {
  auto shared = meet::Held<meet::SessionMeet>::adopt(
      new meet::SessionMeet(link_, Role::client, options.limits, options.handler != nullptr));
  shared->set_close_reason(
      {.by = CloseReason::By::transport, .is_application = false, .code = 0, .reason = why.evidence(), .error = why});
  shared->state.store(SessionState::closed);
  Session session(Ref<meet::SessionMeet>::share(shared.get()));
  if (options.handler != nullptr && state() == EngineState::running) {
    shared->close_called.store(true);  // the state that the handle shows stays what it is
    auto command = std::make_unique<ConnectCommand>(std::move(options));
    command->shared = std::move(shared);
    command->failure = std::move(why);
    if (control_->post(command.get(), 2 * context_.options.command_queue)) static_cast<void>(command.release());
  }
  return session;
}

Session EngineShell::connect(quic::Client options) {
  if (auto valid = options.validate(); !valid) return fail_at_once(std::move(options), valid.error());
  if (state() != EngineState::running) {
    return fail_at_once(std::move(options), Error(Code::closed, "the engine was stopped"));
  }
  auto target = HostPort::parse(options.address.get());
  if (!target) return fail_at_once(std::move(options), target.error());
  auto configuration = configurations_.find_or_make(options);
  if (!configuration) return fail_at_once(std::move(options), configuration.error());

  auto command = std::make_unique<ConnectCommand>(std::move(options));
  command->shared = meet::Held<meet::SessionMeet>::adopt(
      new meet::SessionMeet(link_, Role::client, command->options.limits, command->options.handler != nullptr));
  command->configuration = std::move(*configuration);
  command->target = std::move(*target);
  Session session(Ref<meet::SessionMeet>::share(command->shared.get()));
  if (!control_->post(command.get(), context_.options.command_queue)) {
    return fail_at_once(std::move(command->options), Error(Code::busy, "EngineOptions::command_queue is used up"));
  }
  static_cast<void>(command.release());
  return session;
}

void EngineShell::begin_connect(ConnectCommand& command, Instant now) {
  quic::Client& options = command.options;
  const bool has_handler = options.handler != nullptr;
  SessionDriver& driver =
      add_session({.shared = command.shared,
                   .handler = std::move(options.handler),
                   .session = session_options(options.limits, options.transport, options.delivery, has_handler),
                   .configuration = std::move(command.configuration),
                   .keep_alive = options.transport.keep_alive,
                   .server_name = options.server_name.empty() ? command.target.host : options.server_name},
                  *this);
  if (command.failure || stop_at_ != never) {
    driver.fail(command.failure.value_or(Error(Code::closed, "the engine was stopped")), now);
    return;
  }
  driver.session().begin(now);
  loop_.mark_dirty(driver);
  // The answer may come on another thread, and when the engine is gone: it is posted to what outlives the engine.
  platform_.resolve(command.target, [control = control_, shared = command.shared](Result<std::vector<Address>> result) {
    auto resolved = std::make_unique<ResolvedCommand>(shared, std::move(result));
    if (control->state.load() == EngineState::stopped) return;
    control->commands.push(resolved.release());
    control->command_count.fetch_add(1);
    if (control->link) control->link->attend(*control, bit_command);
  });
}

Result<Listener> EngineShell::listen(quic::Server options) {
  if (auto valid = options.validate(); !valid) return std::unexpected(valid.error());
  if (state() != EngineState::running) return fail(Code::closed, "the engine was stopped");
  auto target = HostPort::parse(options.address.get());
  if (!target) return std::unexpected(target.error());
  const std::string host = target->host.empty() ? "[::]" : target->to_string();
  auto address = target->host.empty() ? Result<Address>(Address::any_v6(target->port)) : Address::parse(host);
  if (!address && target->host == "localhost") address = Address::loopback_v4(target->port);
  if (!address) {
    return fail(Code::invalid_argument, "quic::Server::address must be numeric, not '" + options.address.get() + "'");
  }
  auto configuration = platform_.quic().configure(options);
  if (!configuration) return std::unexpected(configuration.error());
  auto port = platform_.open_udp(*address, std::nullopt, context_.datagram_options());
  if (!port) return std::unexpected(port.error());

  auto shared = meet::Held<meet::ListenerMeet>::adopt(new meet::ListenerMeet(link_));
  shared->address = (*port)->local();
  Listener listener(Ref<meet::ListenerMeet>::share(shared.get()));
  auto command = std::make_unique<ListenCommand>();
  command->port = std::move(*port);
  command->listener = std::make_unique<ListenerDriver>(context_, *this, std::move(options), std::move(*configuration),
                                                       std::move(shared));
  if (!control_->post(command.get(), context_.options.command_queue)) {
    return fail(Code::busy, "EngineOptions::command_queue is used up");
  }
  static_cast<void>(command.release());
  return listener;
}

}  // namespace riffle::shell
