// Seeded randomness whose numbers are the same with every compiler and library.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/instant.hpp"

namespace riffle::sim {

/// SplitMix64 (Steele, Lea, Flood 2014).
constexpr std::uint64_t next_word(std::uint64_t& state) noexcept {
  std::uint64_t word = state += 0x9e3779b97f4a7c15;
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
  word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
  return word ^ (word >> 31);
}

/// One seed out of several numbers, so that neighbours have nothing in common.
constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t state = a ^ (b * 0xd6e8feb86659fd93 + 0x2545f4914f6cdd1d);
  return next_word(state);
}

class Random {
 public:
  explicit constexpr Random(std::uint64_t seed) noexcept : state_(seed) {}
  constexpr std::uint64_t word() noexcept { return next_word(state_); }
  /// From 0 to bound - 1; the bias is below bound / 2^64.
  constexpr std::uint64_t below(std::uint64_t bound) noexcept { return bound < 2 ? 0 : word() % bound; }
  constexpr std::uint64_t between(std::uint64_t least, std::uint64_t most) noexcept {
    return least + below(most - least + 1);
  }
  constexpr bool chance(double probability) noexcept {
    return static_cast<double>(word() >> 11) * 0x1p-53 < probability;
  }
  constexpr double fraction(double least, double most) noexcept {
    return least + (most - least) * (static_cast<double>(word() >> 11) * 0x1p-53);
  }
  constexpr Duration duration(Duration least, Duration most) noexcept {
    return least + Duration(static_cast<std::int64_t>(below(static_cast<std::uint64_t>((most - least).count()) + 1)));
  }

 private:
  std::uint64_t state_;
};

}  // namespace riffle::sim
