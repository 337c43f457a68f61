// The scenarios that are whole transfers: a handshake, one stream, a hundred.
#include "scenarios.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <thread>

#include "pair.hpp"
#include "scenario_runs.hpp"
#include "transfer.hpp"

namespace riffle::sim {

Conditions make_conditions(const Fault& fault, std::uint64_t seed);

namespace {

using std::chrono::seconds;

constexpr AppCode done_code{42};
constexpr std::string_view done_reason = "done";

/// 2 MB through 20 % loss by a window of two packets and 60 ms: two minutes; every other case is far quicker.
constexpr auto transfer_limit = seconds(600);

}  // namespace

void run_handshake(Simulation& simulation) {
  Pair pair(simulation, Pair::usual(simulation), std::make_shared<Handler>(),
            [] { return std::make_shared<Handler>(); });
  simulation.try_until(seconds(120), [&] { return pair.is_connected() || pair.client().is_closed(); });
  if (pair.was_cut_off()) return pair.finish();
  if (!pair.is_connected()) simulation.fail("the handshake did not come about");
  if (pair.session().state() != SessionState::connected) simulation.fail("connected, and its handle does not say so");
  static_cast<void>(pair.session().close(done_code, done_reason));
  if (pair.session().state() != SessionState::closed) simulation.fail("who has called close must see closed (CON-2)");
  pair.expect_close(Host::client, done_code, done_reason);
  pair.finish();
}

namespace {

void run_transfer(Simulation& simulation, const TransferPlan& plan, const PairOptions& options) {
  auto client = std::make_shared<TransferHandler>(simulation, Role::client, plan);
  std::vector<std::shared_ptr<TransferHandler>> servers;
  Pair pair(simulation, options, client,
            [&] { return servers.emplace_back(std::make_shared<TransferHandler>(simulation, Role::server, plan)); });
  const auto is_complete = [&] {
    return client->is_complete() && std::ranges::any_of(servers, [](const auto& s) { return s->is_complete(); });
  };
  simulation.try_until(transfer_limit, [&] { return is_complete() || pair.client().is_closed(); });
  if (pair.was_cut_off()) return pair.finish();
  if (!is_complete()) {
    simulation.fail("the transfer did not come to its end: " + std::to_string(client->finished()) + " of " +
                    std::to_string(plan.streams) + " streams, " + std::to_string(client->received()) +
                    " bytes received by the client");
  }
  static_cast<void>(pair.session().close(done_code, done_reason));
  pair.expect_close(Host::client, done_code, done_reason);
  pair.finish();
}

}  // namespace

void run_one_stream(Simulation& simulation) {
  const std::uint64_t size = simulation.random().between(0, 800'000);
  run_transfer(simulation, {.key = simulation.seed(), .streams = 1, .least = size / 2, .most = size},
               Pair::usual(simulation));
}

void run_hundred_streams(Simulation& simulation) {
  PairOptions options = Pair::usual(simulation);
  // Sometimes fewer at once than there are: the rest waits for the peer's limit (STR-1).
  options.transport.max_streams_bidi = simulation.random().between(5, 120);
  run_transfer(simulation, {.key = simulation.seed(), .streams = 100, .least = 0, .most = 12'000}, options);
}

namespace {

/// Of real time. The longest run takes some seconds under the sanitizers.
constexpr auto longest_run = std::chrono::seconds(120);

constexpr std::array all{
    Scenario{"handshake", "both ends are connected; the client's close ends both", run_handshake},
    Scenario{"one_stream", "every byte arrives once and in order, both ways", run_one_stream},
    Scenario{"hundred_streams", "the same for a hundred streams, also where the peer allows fewer at once",
             run_hundred_streams},
    Scenario{"mode_switches", "delivery modes change at random, and no byte is lost, doubled or told in the wrong mode",
             run_mode_switches},
    Scenario{"stalled_reader", "16 of 64 readers stall and slow nobody; the 17th is told", run_stalled_reader},
    Scenario{"close_client", "the client closes in mid-transfer; each end is told once, and last", run_close_client},
    Scenario{"close_server", "the same from the server's side", run_close_server},
    Scenario{"idle_timeout", "after a silence both ends say so, in time", run_idle_timeout},
    Scenario{"vanished_peer", "one end is gone in mid-transfer; the other notices in time", run_vanished_peer},
};

}  // namespace

std::span<const Scenario> scenarios() noexcept { return all; }

Outcome run(const Scenario& scenario, const Fault& fault, std::uint64_t seed, bool print) {
  // Rust's hash maps draw their keys once for each thread.
  std::packaged_task<Outcome()> task([&] {
    Outcome outcome{.seed = seed};
    const std::uint64_t mixed = mix(mix(seed, hash_of(scenario.name)), hash_of(fault.name));
    Simulation simulation(mixed, make_conditions(fault, mixed), print);
    scenario.run(simulation);
    outcome.hash = simulation.trace().hash();
    outcome.events = simulation.trace().events();
    outcome.cycles = simulation.cycles();
    outcome.virtual_time = simulation.now() - VirtualClock::start;
    outcome.network = simulation.network().counts();
    outcome.conditions = simulation.conditions().text;
    outcome.failures = simulation.failures();
    return outcome;
  });
  std::future<Outcome> outcome = task.get_future();
  std::thread thread(std::move(task));
  if (outcome.wait_for(longest_run) != std::future_status::ready) {
    // A loop within one cycle: its thread cannot be ended, but its seed can be told.
    std::printf("FAILED: %s under %s, seed %llu: does not come back from a cycle\n", scenario.name.data(),
                fault.name.data(), static_cast<unsigned long long>(seed));
    std::fflush(stdout);
    std::_Exit(3);
  }
  thread.join();
  return outcome.get();
}

}  // namespace riffle::sim
