// How UDP system calls are counted (UDP-3).
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>

#include <riffle/stats.hpp>

namespace riffle::net {

/// One call that moved `datagrams` (at least one). The histogram's classes are 1, 2, 3–4, 5–8, … 33–64, more: the
/// class is the number of bits of `datagrams - 1`.
inline void count_call(UdpStats::OneWay& way, std::size_t datagrams, std::size_t bytes) noexcept {
  way.datagrams += datagrams;
  way.bytes += bytes;
  ++way.calls;
  const auto bits = static_cast<std::size_t>(std::bit_width(datagrams - 1));
  ++way.batch_sizes[std::min(bits, way.batch_sizes.size() - 1)];
}

}  // namespace riffle::net
