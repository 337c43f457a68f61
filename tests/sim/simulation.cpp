#include "simulation.hpp"

#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "riffle_bridge_sim.h"

namespace riffle::sim {
namespace {

/// What a cycle costs in virtual time: about what a small one costs a real machine (facts: 10 µs a round trip).
constexpr auto cycle_cost = std::chrono::microseconds(5);
/// 100 streams under 20 % loss need some tens of thousands.
constexpr std::uint64_t most_cycles = 3'000'000;
/// A cycle may find nothing to do (a deadline that moved later fires early); so many in a row are a livelock.
constexpr std::uint64_t most_idle_cycles = 2'000;
constexpr std::size_t most_failures = 8;

constexpr std::string_view client_host = "10.0.0.1:0";
constexpr std::string_view server_host = "10.0.0.2:0";

Address host(std::string_view text) { return Address::parse(text).value(); }

}  // namespace

Simulation::Simulation(std::uint64_t seed, Conditions conditions, bool print)
    : seed_(seed),
      conditions_(std::move(conditions)),
      clock_(mix(seed, 1)),
      random_(mix(seed, 2)),
      system_random_(mix(seed, 3)),
      trace_(print),
      network_(mix(seed, 4), trace_),
      nodes_{Node{{network_, clock_, trace_, system_random_, host(client_host), conditions_.system}, {}, false},
             Node{{network_, clock_, trace_, system_random_, host(server_host), conditions_.system}, {}, false}} {
  rqb_sim_seed(mix(seed, 5));
  network_.set_link(host(client_host), host(server_host), conditions_.up);
  network_.set_link(host(server_host), host(client_host), conditions_.down);
  EngineOptions options;
  options.gso = options.gro = !random_.chance(0.2);
  for (Node& node : nodes_) {
    auto engine = Engine::over(node.platform, options);
    RIFFLE_CHECK(engine.has_value(), "an engine over the simulated platform");
    node.engine.emplace(std::move(*engine));
  }
}

Simulation::~Simulation() { destroy_engines(); }

void Simulation::destroy_engines() {
  timers_.clear();
  for (Node& node : nodes_) {
    if (node.engine) node.engine->stop(Duration{0});
  }
  // A destructor would wait for what stopping takes, and here time moves only by us.
  for (Node& node : nodes_) {
    for (std::uint64_t i = 0; node.engine && node.engine->process(); ++i) {
      RIFFLE_CHECK(i < most_cycles, "a stopped engine does not come to its end");
      clock_.advance_to(now() + std::chrono::milliseconds(1));
    }
    node.engine.reset();
  }
}

void Simulation::fail(std::string what) {
  if (failures_.size() >= most_failures) return;
  trace_.note(now(), "run", "failed", failures_.size());
  failures_.push_back(std::move(what));
}

void Simulation::freeze(Host host) {
  network_.vanish(platform(host).host());
  nodes_[static_cast<std::size_t>(host)].is_frozen = true;
  trace_.note(now(), host == Host::client ? "client" : "server", "vanished");
}

void Simulation::after(Duration after, std::function<void()> action) {
  timers_.push_back({.at = now() + after, .sequence = timer_sequence_++, .action = std::move(action)});
}

// ---- time --------------------------------------------------------------------------------------------------------

Instant Simulation::next_event() const {
  Instant earliest = network_.next_arrival();
  for (const Timer& timer : timers_) earliest = std::min(earliest, timer.at);
  for (const Node& node : nodes_) {
    if (node.is_frozen) continue;
    earliest = std::min({earliest, node.engine->deadline(), node.platform.poller().next_change()});
  }
  return earliest;
}

bool Simulation::fire_timers() {
  bool any = false;
  for (;;) {
    const auto next = std::ranges::min_element(timers_, {}, [](const Timer& t) { return std::pair(t.at, t.sequence); });
    if (next == timers_.end() || next->at > now()) return any;
    const auto action = std::move(next->action);
    timers_.erase(next);
    action();
    note_progress();
    any = true;
  }
}

bool Simulation::work(Node& node) {
  if (node.is_frozen || (!node.platform.poller().has_work() && node.engine->deadline() > now())) return false;
  node.engine->process();
  ++cycles_;
  ++idle_cycles_;
  clock_.advance_to(now() + cycle_cost);
  if (!node.platform.broken_contract().empty()) fail(node.platform.broken_contract());
  return true;
}

/// One instant. False: nothing will ever happen again, or a bound was met.
bool Simulation::step(Instant limit) {
  network_.deliver(now());
  const bool fired = fire_timers();
  const std::size_t first = random_.below(nodes_.size());
  const bool one = work(nodes_[first]);
  const bool other = work(nodes_[1 - first]);
  const NetworkCounts& counts = network_.counts();
  if (const std::uint64_t moved = counts.sent + counts.delivered; std::exchange(moved_, moved) != moved)
    note_progress();
  if (has_failed()) return false;
  if (idle_cycles_ > most_idle_cycles) {
    fail("livelock: " + std::to_string(idle_cycles_) + " cycles in which nothing was sent, received or told");
    return false;
  }
  if (cycles_ > most_cycles) {
    fail("more than " + std::to_string(most_cycles) + " cycles");
    return false;
  }
  if (fired || one || other) return true;
  const Instant next = next_event();
  if (next == never) return false;
  clock_.advance_to(std::min(next, limit));
  return true;
}

bool Simulation::try_until(Duration limit, const std::function<bool()>& done) {
  const Instant until = now() + limit;
  while (!done()) {
    if (now() >= until || !step(until)) return done();
  }
  return true;
}

bool Simulation::run_until(const char* what, Duration limit, const std::function<bool()>& done) {
  const Instant until = now() + limit;
  if (try_until(limit, done)) return true;
  if (has_failed()) return false;
  const bool is_stuck = now() < until;
  fail(std::string(is_stuck ? "stuck: nothing will happen any more, yet not " : "not within ") +
       (is_stuck ? "" : std::to_string(std::chrono::duration_cast<std::chrono::seconds>(limit).count()) + " s: ") +
       what);
  return false;
}

void Simulation::run_for(Duration time) {
  const Instant until = now() + time;
  while (now() < until && step(until)) {
  }
  clock_.advance_to(until);
}

}  // namespace riffle::sim
