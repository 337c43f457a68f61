#include "pair.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace riffle::sim {
namespace {

constexpr std::string_view server_address = "10.0.0.2:4433";
constexpr std::string_view server_name = "sim.test";
constexpr std::string_view certificate = RIFFLE_SIM_FOLDER "/certificate.pem";
constexpr std::string_view key = RIFFLE_SIM_FOLDER "/key.pem";

bool is_silence(const CloseReason& reason) {
  return reason.by == CloseReason::By::transport &&
         (reason.error.code() == Code::idle_timeout || reason.error.code() == Code::handshake_timeout);
}

std::string told(const CloseReason& reason) {
  return std::string(reason.by == CloseReason::By::us     ? "by us, "
                     : reason.by == CloseReason::By::peer ? "by the peer, "
                                                          : "by the transport, ") +
         (reason.is_application ? "application" : "transport") + " code " + std::to_string(reason.code) + ", \"" +
         reason.reason + "\", " + std::string(reason.error.name()) + ": " + reason.error.message();
}

}  // namespace

PairOptions Pair::usual(const Simulation& simulation) {
  PairOptions options;
  options.transport.idle_timeout = simulation.conditions().idle_timeout;
  options.transport.handshake_timeout = std::chrono::seconds(60);
  return options;
}

Pair::Pair(Simulation& simulation, const PairOptions& options, std::shared_ptr<Handler> client, MakeHandler server)
    : simulation_(simulation), client_(std::make_shared<Watched>(simulation, "client", std::move(client))) {
  auto listener = simulation.engine(Host::server)
                      .listen({.address = std::string(server_address),
                               .certificate = from_files(std::string(certificate), std::string(key)),
                               .alpn = {"sim"},
                               .handler =
                                   [this, server = std::move(server)](const Peer&) {
                                     const auto number = std::to_string(servers_.size());
                                     servers_.push_back(std::make_shared<Watched>(
                                         simulation_, servers_.empty() ? "server" : "server " + number, server()));
                                     return servers_.back();
                                   },
                               .delivery = options.delivery,
                               .limits = options.limits,
                               .transport = options.transport});
  if (!listener) {
    simulation.fail("listen: " + listener.error().message());
    return;
  }
  listener_ = std::move(*listener);
  quic::Client knock{.address = std::string(server_address),
                     .trust = ca_file(std::string(certificate)),
                     .alpn = {"sim"},
                     .server_name = std::string(server_name),
                     .delivery = options.delivery,
                     .limits = options.limits,
                     .transport = options.transport,
                     .handler = client_};
  if (simulation.conditions().refuses_opens) {
    // EMFILE: this session ends at once, with that reason, and the next one goes as if nothing had been.
    auto refused = std::make_shared<Watched>(simulation, "refused", std::make_shared<Handler>());
    simulation.platform(Host::client).refuse_opens(1);
    quic::Client first = knock;
    first.handler = refused;
    const Session session = simulation.engine(Host::client).connect(std::move(first));
    simulation.run_until("the end of a session without a socket", std::chrono::seconds(1),
                         [&] { return refused->is_closed(); });
    if (refused->is_closed() && refused->reason().error.code() != Code::descriptors_exhausted) {
      simulation.fail("EMFILE was told as " + told(refused->reason()));
    }
  }
  session_ = simulation.engine(Host::client).connect(std::move(knock));
}

Pair::~Pair() { simulation_.destroy_engines(); }

Watched* Pair::server() noexcept {
  for (const auto& end : servers_) {
    if (end->is_connected()) return end.get();
  }
  return nullptr;
}

bool Pair::are_all_closed() const noexcept {
  return client_->is_closed() && std::ranges::all_of(servers_, [](const auto& end) { return end->is_closed(); });
}

bool Pair::wait_for_ends(Duration limit) {
  return simulation_.run_until("both ends closed", limit, [this] { return are_all_closed(); });
}

void Pair::expect_reason(const Watched& end, bool right) {
  if (!right) simulation_.fail(end.who() + " ended with the wrong reason: " + told(end.reason()));
}

void Pair::expect_close(Host by, AppCode code, std::string_view reason) {
  // If the CONNECTION_CLOSE is lost, the other end has but silence to go by.
  if (!wait_for_ends(std::chrono::seconds(600))) return;
  Watched* const server_end = server();
  Watched& closer = by == Host::client || server_end == nullptr ? *client_ : *server_end;
  const CloseReason& ours = closer.reason();
  const bool is_ours = ours.by == CloseReason::By::us && ours.is_application && ours.code == raw(code) &&
                       ours.error.code() == Code::closed;
  expect_reason(closer, is_ours);
  // quiche 0.30 puts its CONNECTION_CLOSE under the congestion window, and while the handshake is not confirmed its
  // probes carry nothing of 1-RTT: a client that fills the first window and closes before it is confirmed is not heard.
  const bool is_young =
      by == Host::client &&
      (server_end == nullptr || closer.closed_at() < server_end->connected_at() + std::chrono::seconds(2));
  const bool may_be_silent = simulation_.conditions().may_lose || is_young;
  for (Watched* other : {client_.get(), server_end}) {
    if (other == nullptr || other == &closer) continue;
    const CloseReason& theirs = other->reason();
    const bool is_told = theirs.by == CloseReason::By::peer && theirs.is_application && theirs.code == raw(code) &&
                         theirs.reason == reason && theirs.error.code() == Code::peer_closed;
    expect_reason(*other, is_told || (may_be_silent && is_silence(theirs)));
  }
}

void Pair::expect_silence() {
  if (!wait_for_ends(std::chrono::seconds(600))) return;
  expect_reason(*client_, is_silence(client_->reason()));
  if (Watched* const end = server()) expect_reason(*end, is_silence(end->reason()));
}

bool Pair::was_cut_off() {
  if (!simulation_.conditions().outlives_idle || simulation_.has_failed()) return false;
  const bool any = client_->is_closed() || (server() != nullptr && server()->is_closed());
  if (any) expect_silence();
  return any;
}

void Pair::finish() {
  if (simulation_.has_failed()) return;
  for (const auto& end : servers_) {
    // Never connected: a late duplicate of a first datagram, which ends by its handshake's timeout, or a damaged one.
    if (end->is_connected() || !end->is_closed()) continue;
    const bool is_junk = simulation_.conditions().up.corrupt > 0 && end->reason().by == CloseReason::By::transport;
    expect_reason(*end, is_silence(end->reason()) || is_junk);
  }
  if (std::ranges::count_if(servers_, [](const auto& end) { return end->is_connected(); }) > 1) {
    simulation_.fail("one client made two connected sessions");
  }
  const auto left = [this](Host host) { return simulation_.engine(host).active_sessions(); };
  // RFC 9000 section 10.2: "at least three times the current PTO interval" after the end; a peer that answered nothing
  // has let the PTO grow.
  const bool is_empty = simulation_.try_until(std::chrono::seconds(300), [&] {
    return are_all_closed() && left(Host::client) == 0 && left(Host::server) == 0;
  });
  if (!is_empty) {
    simulation_.fail("sessions are left: " + std::to_string(left(Host::client)) + " in the client's engine, " +
                     std::to_string(left(Host::server)) + " in the server's");
  }
  for (const Host host : hosts) simulation_.engine(host).stop(Duration{0});
  simulation_.run_until("both engines stopped", std::chrono::seconds(10), [this] {
    return std::ranges::all_of(hosts, [&](Host h) { return simulation_.engine(h).state() == EngineState::stopped; });
  });
  if (!simulation_.has_failed() && simulation_.network().bound() != 0) simulation_.fail("a socket was left open");
}

}  // namespace riffle::sim
