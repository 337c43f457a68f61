// What is run, and under what.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "simulation.hpp"

namespace riffle::sim {

struct Scenario {
  std::string_view name;
  std::string_view claim;  ///< the invariant, in a sentence
  void (*run)(Simulation& simulation);
};
std::span<const Scenario> scenarios() noexcept;

struct Fault {
  std::string_view name;
  std::string_view effect;
  void (*apply)(Conditions& conditions, Random& random);
};
std::span<const Fault> faults() noexcept;

/// What a run came to.
struct Outcome {
  std::uint64_t seed = 0;
  std::uint64_t hash = 0;
  std::uint64_t events = 0;
  std::uint64_t cycles = 0;
  Duration virtual_time{};
  NetworkCounts network;
  std::string conditions;
  std::vector<std::string> failures;
};

/// Threads: any; the run has a thread of its own, so that everything that is a thread's begins anew.
Outcome run(const Scenario& scenario, const Fault& fault, std::uint64_t seed, bool print = false);

}  // namespace riffle::sim
