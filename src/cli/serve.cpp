// riffle serve (CLI-2): the far end of tunnels.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <riffle/forward.hpp>
#include <riffle/riffle.hpp>
#include "cli/addresses.hpp"
#include "cli/commands.hpp"
#include "cli/state.hpp"
#include "cli/ticket.hpp"

namespace riffle::cli {
namespace {

struct ServeOptions {
  std::vector<std::string> listen, allow, advertise;
  std::string state, ticket_file, key_log;
};

/// Where nothing is named: all addresses of the host, QUIC's customary port.
constexpr const char* default_listen = "[::]:4433";
constexpr const char* default_listen_v4 = "0.0.0.0:4433";

/// So many connections one tunnel may have open at once; the server's own bound is for all tunnels together.
constexpr std::uint64_t streams_at_once = 16'384;

quic::Server server_options(const std::string& address, const ServeOptions& options, const State& state,
                            const forward::Server& forwarding) {
  quic::Server server{.address = address,
                      .certificate = state.certificate,
                      .alpn = std::vector<std::string>{std::string(forward::alpn)},
                      .handler = forwarding.handler(),
                      .delivery = passive};
  server.transport.max_streams_bidi = streams_at_once;
  server.transport.max_streams_uni = 0;
  server.transport.key_log_file = options.key_log;
  return server;
}

Result<std::vector<Listener>> open_listeners(const Engine& engine, const ServeOptions& options, const State& state,
                                             const forward::Server& forwarding) {
  std::vector<Listener> listeners;
  for (const std::string& address : options.listen) {
    auto listener = engine.listen(server_options(address, options, state, forwarding));
    if (!listener) return std::unexpected(listener.error());
    listeners.push_back(std::move(*listener));
  }
  if (!listeners.empty()) return listeners;
  auto listener = engine.listen(server_options(default_listen, options, state, forwarding));
  const bool is_taken =
      !listener && (listener.error() == Code::address_in_use || listener.error() == Code::permission_denied);
  // A host without IPv6 has no [::].
  if (!listener && !is_taken) listener = engine.listen(server_options(default_listen_v4, options, state, forwarding));
  if (!listener) return std::unexpected(listener.error());
  listeners.push_back(std::move(*listener));
  return listeners;
}

Result<Ticket> make_ticket(const ServeOptions& options, const State& state, const std::vector<Listener>& listeners) {
  const auto pin = pin_of(state.certificate);
  if (!pin) return std::unexpected(pin.error());
  Ticket ticket{.addresses = options.advertise, .secret = state.secret};
  if (!from_hex(*pin, ticket.pin)) return fail(Code::internal, "the pin is " + *pin);
  if (!ticket.addresses.empty()) return ticket;
  for (const Listener& listener : listeners) {
    for (const std::string& address : reachable_addresses(listener.address())) {
      if (std::ranges::find(ticket.addresses, address) == ticket.addresses.end()) ticket.addresses.push_back(address);
    }
  }
  return ticket;
}

std::string command_for(const std::string& ticket, const std::vector<std::string>& allow) {
  std::string command = "riffle tunnel " + ticket + " ";
  unsigned port = 8080;
  for (const std::string& target : allow) command += fmt::format(" -L {}:{}", port++, target);
  return command;
}

Result<void> announce(const ServeOptions& options, const State& state, const std::vector<Listener>& listeners) {
  const auto ticket = make_ticket(options, state, listeners);
  if (!ticket) return std::unexpected(ticket.error());
  const auto text = ticket->to_text();
  if (!text) return std::unexpected(text.error());
  if (!options.ticket_file.empty()) {
    if (auto written = write_private_file(options.ticket_file, *text + "\n"); !written) return written;
  }
  std::string addresses;
  for (const Listener& listener : listeners) {
    addresses += (addresses.empty() ? "" : ", ") + listener.address().to_string();
  }
  fmt::print("listening   udp {}     key kept in {}\n", addresses, options.state);
  fmt::print("on the other machine:  {}\n", command_for(*text, options.allow));
  return {};
}

int serve(ServeOptions options, Signals& signals) {
  if (options.allow.empty()) {
    return usage_error(
        "serve forwards only to what --allow names, and none was given\n"
        "  for example: riffle serve --allow localhost:80");
  }
  if (options.state.empty()) {
    auto folder = default_state_folder();
    if (!folder) return explain(folder.error());
    options.state = std::move(*folder);
  }
  forward::ServerOptions forwarding_options{.allow = options.allow};
  if (auto valid = forwarding_options.validate(); !valid) return explain(valid.error());
  const auto state = load_or_make_state(options.state);
  if (!state) return explain(state.error());

  forwarding_options.secret = state->secret;
  forwarding_options.log = [](const std::string& line) { fmt::print("{}\n", line); };
  auto forwarding = forward::Server::make(std::move(forwarding_options));
  if (!forwarding) return explain(forwarding.error());
  {
    auto engine = Engine::start();
    if (!engine) return explain(engine.error());
    const auto listeners = open_listeners(*engine, options, *state, *forwarding);
    if (!listeners) return explain(listeners.error());
    for (const std::string& warning : engine->take_warnings()) fmt::print(stderr, "riffle: {}\n", warning);
    if (auto announced = announce(options, *state, *listeners); !announced) return explain(announced.error());

    signals.wait();
    engine->stop(std::chrono::milliseconds(500));
    engine->join();
  }
  const forward::Stats stats = forwarding->stats();
  fmt::print("closed      {} connections, {} bytes in, {} bytes out\n", stats.connections, stats.bytes_to_sockets,
             stats.bytes_to_session);
  return 0;
}

}  // namespace

void add_serve(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command =
      app.add_subcommand("serve", "Let other machines reach TCP ports here, through one QUIC session each");
  command->add_option("--listen", options->listen, "UDP address to listen on; repeatable (default [::]:4433)")
      ->type_name("ADDR:PORT")
      ->allow_extra_args(false);
  command
      ->add_option("--allow", options->allow, "A target that may be connected to, as tunnels must write it; repeatable")
      ->type_name("HOST:PORT")
      ->allow_extra_args(false);
  command->add_option("--state", options->state, "Folder of key, certificate and secret (default ~/.config/riffle)")
      ->type_name("DIR");
  command->add_option("--ticket-file", options->ticket_file, "Write the ticket there too (mode 0600)")
      ->type_name("FILE");
  command
      ->add_option("--advertise", options->advertise,
                   "An address to put into the ticket instead of the host's; repeatable")
      ->type_name("HOST:PORT")
      ->allow_extra_args(false);
  command->add_option("--keylog", options->key_log, "Append TLS secrets there, for Wireshark")->type_name("FILE");
  command->footer(
      "Examples:\n"
      "  riffle serve --allow localhost:80\n"
      "  riffle serve --listen 0.0.0.0:443 --advertise relay.example:443 --allow db.lan:5432 --allow localhost:22\n"
      "Whoever has the ticket may use what --allow names. A new --state folder makes a new ticket.");
  command->callback([options, &chosen] { chosen = [options](Signals& signals) { return serve(*options, signals); }; });
}

}  // namespace riffle::cli
