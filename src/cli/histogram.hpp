// Latencies, counted in buckets of three digits.
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace riffle::cli {

/// Purpose: counts durations so that any quantile is known to 0.1 %: each power of two is split into 1,024 buckets.
/// From 1 ns to 18 minutes; what is longer counts as that. Cost: one increment, 240 KiB.
class Histogram {
 public:
  void add(std::chrono::nanoseconds duration) noexcept {
    ++buckets_[bucket_of(duration.count() < 0 ? 0 : static_cast<std::uint64_t>(duration.count()))];
    ++count_;
  }
  void add(const Histogram& other) noexcept {
    for (std::size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
  }
  std::uint64_t count() const noexcept { return count_; }
  /// The smallest duration that at least `part` (0 to 1) of all do not exceed; 0 without any.
  double quantile_us(double part) const noexcept {
    const double wanted = part * static_cast<double>(count_);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen > 0 && static_cast<double>(seen) >= wanted) return middle_ns(i) / 1000;
    }
    return 0;
  }

 private:
  static constexpr unsigned digits = 10;  // 2^10 buckets a power of two: 0.1 %
  static constexpr unsigned top = 40;     // 2^40 ns = 18 minutes
  static constexpr std::size_t per_power = std::size_t{1} << digits;

  static std::size_t bucket_of(std::uint64_t ns) noexcept {
    if (ns >= std::uint64_t{1} << top) ns = (std::uint64_t{1} << top) - 1;
    if (ns < per_power) return static_cast<std::size_t>(ns);
    const unsigned shift = static_cast<unsigned>(std::bit_width(ns)) - 1 - digits;
    return (shift + 1) * per_power + static_cast<std::size_t>((ns >> shift) - per_power);
  }
  static double middle_ns(std::size_t bucket) noexcept {
    if (bucket < per_power) return static_cast<double>(bucket);
    const std::size_t shift = bucket / per_power - 1;
    const double width = static_cast<double>(std::uint64_t{1} << shift);
    return (static_cast<double>(bucket % per_power + per_power) + 0.5) * width;
  }

  std::vector<std::uint64_t> buckets_ = std::vector<std::uint64_t>((top - digits + 1) * per_power);
  std::uint64_t count_ = 0;
};

}  // namespace riffle::cli
