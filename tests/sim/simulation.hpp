// One run: a client's and a server's engine, the whole stack less the sockets, on one thread in virtual time.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <riffle/riffle.hpp>
#include "random.hpp"
#include "sim_network.hpp"
#include "sim_platform.hpp"
#include "trace.hpp"
#include "virtual_clock.hpp"

namespace riffle::sim {

/// The surroundings of a run: what a fault decides for a seed.
struct Conditions {
  LinkOptions up;    ///< client to server
  LinkOptions down;  ///< server to client
  SystemFaults system;
  bool refuses_opens = false;  ///< the client's first socket cannot be opened (EMFILE)
  bool may_lose = false;       ///< any datagram may be lost, a CONNECTION_CLOSE too
  bool outlives_idle = false;  ///< a partition is longer than the idle timeout
  std::chrono::milliseconds idle_timeout{30'000};
  std::string text;  ///< for a person
};

enum class Host : std::uint8_t { client, server };
inline constexpr std::array hosts{Host::client, Host::server};

/// Purpose: holds the two engines and moves time: the earliest of network, deadlines and programs' timers is next; who
/// has something to do then does one cycle. Bounds: cycles in all, cycles without any progress, virtual time; running
/// into one is a failure of the run.
/// Threads: made, used and destroyed on one thread, which it puts under virtual time.
class Simulation {
 public:
  Simulation(std::uint64_t seed, Conditions conditions, bool print);
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  Engine& engine(Host host) noexcept { return *nodes_[static_cast<std::size_t>(host)].engine; }
  SimPlatform& platform(Host host) noexcept { return nodes_[static_cast<std::size_t>(host)].platform; }
  const Conditions& conditions() const noexcept { return conditions_; }
  Random& random() noexcept { return random_; }
  std::uint64_t seed() const noexcept { return seed_; }
  Trace& trace() noexcept { return trace_; }
  SimNetwork& network() noexcept { return network_; }
  Instant now() const noexcept { return clock_.now(); }
  std::uint64_t cycles() const noexcept { return cycles_; }

  /// Runs `action` at `now() + after`, between two cycles: a program's plain calls.
  void after(Duration after, std::function<void()> action);
  /// Runs until `done`; false, and a failure, when it did not come about within `limit` of virtual time, or never can.
  bool run_until(const char* what, Duration limit, const std::function<bool()>& done);
  /// The same where running out of time is an outcome like any other.
  bool try_until(Duration limit, const std::function<bool()>& done);
  void run_for(Duration time);
  /// The host's program does nothing any more, and nothing leaves or reaches its machine.
  void freeze(Host host);
  /// The program goes on; the machine stays unreachable.
  void thaw(Host host) { nodes_[static_cast<std::size_t>(host)].is_frozen = false; }

  /// Before what the programs' handlers stand on goes.
  void destroy_engines();

  /// Something moved: the run is not stuck.
  void note_progress() noexcept { idle_cycles_ = 0; }
  void fail(std::string what);
  bool has_failed() const noexcept { return !failures_.empty(); }
  const std::vector<std::string>& failures() const noexcept { return failures_; }

 private:
  struct Node {
    SimPlatform platform;
    std::optional<Engine> engine;
    bool is_frozen = false;
  };
  struct Timer {
    Instant at;
    std::uint64_t sequence;
    std::function<void()> action;
  };

  bool step(Instant limit);
  bool work(Node& node);
  bool fire_timers();
  Instant next_event() const;

  std::uint64_t seed_;
  Conditions conditions_;
  VirtualClock clock_;
  Random random_;
  Random system_random_;
  Trace trace_;
  SimNetwork network_;
  std::array<Node, 2> nodes_;
  std::vector<Timer> timers_;
  std::uint64_t timer_sequence_ = 0;
  std::uint64_t cycles_ = 0;
  std::uint64_t idle_cycles_ = 0;
  std::uint64_t moved_ = 0;  ///< datagrams seen by the last look at the network's counts
  std::vector<std::string> failures_;
};

}  // namespace riffle::sim
