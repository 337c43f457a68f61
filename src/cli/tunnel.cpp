// riffle tunnel (CLI-2): the near end, TCP ports here that lead to targets there.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <riffle/forward.hpp>
#include <riffle/riffle.hpp>
#include "cli/commands.hpp"
#include "cli/forward_spec.hpp"
#include "cli/ticket.hpp"

namespace riffle::cli {
namespace {

using namespace std::chrono_literals;

struct TunnelOptions {
  std::string ticket;
  std::vector<std::string> forwards;
  unsigned idle_timeout_s = 30;
  std::string key_log;
};

quic::Client client_options(const std::string& address, const Ticket& ticket, const TunnelOptions& options) {
  quic::Client client{.address = address,
                      .trust = pinned(to_hex(ticket.pin)),
                      .alpn = std::vector<std::string>{std::string(forward::alpn)}};
  client.transport.idle_timeout = std::chrono::seconds(options.idle_timeout_s);
  // A third: two PINGs may be lost before silence is taken for the end.
  client.transport.keep_alive = client.transport.idle_timeout / 3;
  client.transport.key_log_file = options.key_log;
  return client;
}

/// The first of the ticket's addresses that answers; a host has several, and not all can be reached from here.
Result<std::string> choose_address(const Engine& engine, const Ticket& ticket, const TunnelOptions& options) {
  if (ticket.addresses.size() == 1) return ticket.addresses.front();
  std::vector<Session> sessions;
  for (const std::string& address : ticket.addresses) {
    sessions.push_back(engine.connect(client_options(address, ticket, options)));
  }
  const auto until = std::chrono::steady_clock::now() + 10s;
  std::optional<Error> why;
  std::vector<bool> is_decided(sessions.size(), false);
  while (std::ranges::count(is_decided, true) < std::ssize(sessions) && std::chrono::steady_clock::now() < until) {
    for (std::size_t i = 0; i < sessions.size(); ++i) {
      if (is_decided[i]) continue;
      // In turns, the most promising first: whichever is there is found within a few turns.
      const auto connected = sessions[i].wait_connected(20ms);
      if (connected) {
        for (const Session& session : sessions) (void)session.close();
        return ticket.addresses[i];
      }
      if (connected.error() == Code::timed_out) continue;
      is_decided[i] = true;
      if (!why) why = connected.error();
    }
  }
  for (const Session& session : sessions) (void)session.close();
  return std::unexpected(why.value_or(Error(Code::handshake_timeout, ticket.addresses.front())));
}

/// "1.2 ms", of the path that is in use.
std::string round_trip(const Session& session) {
  const auto stats = session.stats();
  if (!stats) return "?";
  for (const quic::PathStats& path : stats->paths) {
    if (path.is_active) return fmt::format("{:.1f} ms", std::chrono::duration<double, std::milli>(path.rtt).count());
  }
  return "?";
}

void print_closed(const forward::Stats& carried, const std::optional<UdpStats>& udp) {
  // The direction in which most went shows how well datagrams were batched; the other one is acknowledgements.
  UdpStats::OneWay bulk;
  if (udp) bulk = udp->received.bytes >= udp->sent.bytes ? udp->received : udp->sent;
  fmt::print("closed      {} connections, {} bytes in, {} bytes out, {} datagrams, {:.1f} datagrams a call\n",
             carried.connections, carried.bytes_to_sockets, carried.bytes_to_session, bulk.datagrams,
             bulk.datagrams_per_call());
}

/// Waits for the end of the session, whoever ends it; what was counted last is left in `udp`.
Result<CloseReason> wait_for_end(const Session& session, std::optional<UdpStats>& udp) {
  for (;;) {
    // The counters cannot be asked for once the session has ended.
    if (const auto stats = session.stats(); stats) udp = stats->udp;
    auto reason = session.wait_closed(1s);
    if (reason || !(reason.error() == Code::timed_out)) return reason;
  }
}

/// What the thread that waits for signals and the main thread share.
struct Ending {
  std::mutex mutex;
  Session session;              // under mutex; empty until it is connected
  std::optional<UdpStats> udp;  // under mutex
  std::atomic<bool> is_asked = false;

  /// SIGINT or SIGTERM: the last look at the counters, then the end.
  void ask(const Engine& engine) {
    const std::lock_guard lock(mutex);
    is_asked = true;
    if (session) {
      if (const auto stats = session.stats(300ms)) udp = stats->udp;
    }
    engine.stop(300ms);
  }
  void set_session(const Session& connected) {
    const std::lock_guard lock(mutex);
    session = connected;
  }
};

int carry(const Engine& engine, const Ticket& ticket, const TunnelOptions& options,
          const std::vector<forward::Forward>& forwards, Ending& ending) {
  const auto address = choose_address(engine, ticket, options);
  if (!address) return ending.is_asked ? 0 : explain(address.error());
  auto client =
      forward::Client::start(engine, client_options(*address, ticket, options),
                             {.secret = ticket.secret, .forwards = forwards, .log = [](const std::string& line) {
                                fmt::print("{}\n", line);
                              }});
  if (!client) return ending.is_asked ? 0 : explain(client.error());

  const Session session = client->session();
  ending.set_session(session);
  const std::string rtt = round_trip(session);
  for (std::size_t i = 0; i < forwards.size(); ++i) {
    fmt::print("ready       {} → {}    quic, {}\n", client->listening()[i].to_string(), forwards[i].target, rtt);
  }
  std::optional<UdpStats> udp;
  const auto reason = wait_for_end(session, udp);
  const std::lock_guard lock(ending.mutex);
  if (ending.is_asked) {
    print_closed(client->stats(), ending.udp ? ending.udp : udp);
    return 0;
  }
  const Error error = reason ? reason->error : reason.error();
  fmt::print("lost        {}: {}\n", *address, error.message());
  print_closed(client->stats(), udp);
  return explain(error);
}

int tunnel(const TunnelOptions& options, Signals& signals) {
  const auto ticket = Ticket::parse(options.ticket);
  if (!ticket) return explain(ticket.error());
  std::vector<forward::Forward> forwards;
  for (const std::string& text : options.forwards) {
    auto parsed = parse_forward(text);
    if (!parsed) return explain(parsed.error());
    forwards.push_back(std::move(*parsed));
  }
  auto engine = Engine::start();
  if (!engine) return explain(engine.error());
  for (const std::string& warning : engine->take_warnings()) fmt::print(stderr, "riffle: {}\n", warning);
  Ending ending;
  const auto watch = signals.on_first([&] { ending.ask(*engine); });
  const int code = carry(*engine, *ticket, options, forwards, ending);
  engine->stop(300ms);
  engine->join();
  return code;
}

}  // namespace

void add_tunnel(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<TunnelOptions>();
  CLI::App* command = app.add_subcommand("tunnel", "Open TCP ports here that lead to targets beyond a `riffle serve`");
  command->add_option("ticket", options->ticket, "What `riffle serve` has printed")->required()->type_name("TICKET");
  command->add_option("-L", options->forwards, "Listen here, connect there; repeatable; port 0 takes a free one")
      ->required()
      ->type_name("[ADDR:]PORT:HOST:HOSTPORT")
      ->allow_extra_args(false);
  command
      ->add_option("--idle-timeout", options->idle_timeout_s, "Silence after which the server counts as lost, seconds")
      ->check(CLI::Range(1U, 3600U))
      ->capture_default_str();
  command->add_option("--keylog", options->key_log, "Append TLS secrets there, for Wireshark")->type_name("FILE");
  command->footer(
      "Examples:\n"
      "  riffle tunnel rfl1... -L 8080:localhost:80\n"
      "  riffle tunnel rfl1... -L 5432:db.lan:5432 -L '[::1]:2222:localhost:22'");
  command->callback([options, &chosen] { chosen = [options](Signals& signals) { return tunnel(*options, signals); }; });
}

}  // namespace riffle::cli
