// How sessions end: a close from either side in the midst of a transfer, silence, a peer that is gone.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "pair.hpp"
#include "scenario_runs.hpp"
#include "transfer.hpp"

namespace riffle::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// A transfer too large to come to its end before something happens to it.
struct Unfinished {
  TransferPlan plan;
  std::shared_ptr<TransferHandler> client;
  std::vector<std::shared_ptr<TransferHandler>> servers;
  Pair pair;

  Unfinished(Simulation& simulation, const PairOptions& options)
      : plan{.key = simulation.seed(), .streams = 4, .least = 4'000'000, .most = 8'000'000},
        client(std::make_shared<TransferHandler>(simulation, Role::client, plan)),
        pair(simulation, options, client, [this, &simulation] {
          return servers.emplace_back(std::make_shared<TransferHandler>(simulation, Role::server, plan));
        }) {}
};

/// Both ends are connected, and then some time goes by. False: they were cut off before, which was checked.
bool go_on_for_a_while(Simulation& simulation, Pair& pair, Duration most) {
  simulation.try_until(seconds(300), [&] { return pair.is_connected() || pair.client().is_closed(); });
  if (pair.is_connected()) {
    simulation.try_until(simulation.random().duration(Duration{0}, most), [&] { return pair.client().is_closed(); });
  }
  if (pair.was_cut_off()) return false;
  if (!pair.is_connected() && !simulation.conditions().outlives_idle) simulation.fail("no connection came about");
  return !simulation.has_failed() && pair.is_connected();
}

/// RFC 9000 section 10.1: "endpoints MUST increase the idle timeout period to be at least three times the current Probe
/// Timeout (PTO)"; a partition of 5 s lets the PTO grow to some 20 s before the connection has recovered.
constexpr auto worst_probes = seconds(120);

void draw_idle_timeout(Simulation& simulation, PairOptions& options) {
  if (simulation.conditions().outlives_idle) return;
  const std::uint64_t least = simulation.conditions().may_lose ? 60'000 : 6'000;
  options.transport.idle_timeout = milliseconds(simulation.random().between(least, 2 * least));
}

void run_close(Simulation& simulation, Host by) {
  Unfinished transfer(simulation, Pair::usual(simulation));
  Pair& pair = transfer.pair;
  if (!go_on_for_a_while(simulation, pair, milliseconds(500))) return pair.finish();
  const AppCode code{simulation.random().below(std::uint64_t{1} << 40)};
  const std::string reason = "enough, seed " + std::to_string(simulation.seed() % 1000);
  const Session& closing = by == Host::client ? pair.session() : pair.server()->session();
  for (std::uint64_t times = simulation.random().between(1, 3); times > 0; --times) {
    if (!closing.close(code, reason)) simulation.fail("a close failed: it must succeed, however often (CON-2)");
  }
  if (closing.state() != SessionState::closed) simulation.fail("who has called close must see closed (CON-2)");
  pair.expect_close(by, code, reason);
  pair.finish();
}

}  // namespace

void run_close_client(Simulation& simulation) { run_close(simulation, Host::client); }

void run_close_server(Simulation& simulation) { run_close(simulation, Host::server); }

void run_idle_timeout(Simulation& simulation) {
  const TransferPlan plan{.key = simulation.seed(), .streams = 2, .least = 0, .most = 20'000};
  auto client = std::make_shared<TransferHandler>(simulation, Role::client, plan);
  PairOptions options = Pair::usual(simulation);
  draw_idle_timeout(simulation, options);
  Pair pair(simulation, options, client,
            [&] { return std::make_shared<TransferHandler>(simulation, Role::server, plan); });
  simulation.try_until(seconds(300), [&] { return client->is_complete() || pair.client().is_closed(); });
  if (pair.was_cut_off()) return pair.finish();
  if (!client->is_complete()) simulation.fail("the transfer before the silence did not come to its end");
  pair.expect_silence();
  if (simulation.has_failed()) return;
  // RFC 9000 section 10.1: "An endpoint restarts its idle timer when a packet from its peer is received and processed
  // successfully", and with the first ack-eliciting packet that it sends after that, which a PTO may put off.
  for (const Host host : hosts) {
    const Watched& end = host == Host::client ? pair.client() : *pair.server();
    const Duration silence = end.closed_at() - simulation.network().last_arrival(simulation.platform(host).host());
    // A datagram that comes long behind its successors may belong to keys that are gone: it does not count.
    const bool is_early = silence + simulation.conditions().up.reorder_by < options.transport.idle_timeout;
    const bool is_late = silence > options.transport.idle_timeout + worst_probes;
    if (is_early || is_late) {
      simulation.fail(end.who() + " ended after " + std::to_string(silence / milliseconds(1)) +
                      " ms of silence, with an idle timeout of " +
                      std::to_string(options.transport.idle_timeout.count()) + " ms");
    }
  }
  pair.finish();
}

void run_vanished_peer(Simulation& simulation) {
  PairOptions options = Pair::usual(simulation);
  draw_idle_timeout(simulation, options);
  Unfinished transfer(simulation, options);
  Pair& pair = transfer.pair;
  if (!go_on_for_a_while(simulation, pair, milliseconds(800))) return pair.finish();
  const Host gone = hosts[simulation.random().below(hosts.size())];
  Watched& survivor = gone == Host::client ? *pair.server() : pair.client();
  simulation.freeze(gone);
  simulation.run_until("the survivor saw that its peer is gone", 2 * options.transport.idle_timeout + worst_probes,
                       [&] { return survivor.is_closed(); });
  simulation.thaw(gone);
  pair.expect_silence();
  pair.finish();
}

}  // namespace riffle::sim
