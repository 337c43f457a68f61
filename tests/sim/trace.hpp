// The event trace of a run, hashed: two runs are the same exactly if their hashes are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/instant.hpp"

namespace riffle::sim {

/// A fast hash of bytes, eight at a time; FNV-1a's primes, with a rotation so that high bits reach low ones.
std::uint64_t hash_of(std::span<const std::byte> bytes) noexcept;
std::uint64_t hash_of(std::string_view text) noexcept;

/// Purpose: every datagram by time, ends and size, every event of a handler by time, stream, size and content. The
/// bytes of a datagram are left out: BoringSSL makes its TLS keys inside a module that the seeded generator cannot
/// reach, so that ciphertext differs from run to run, at the same times and sizes.
class Trace {
 public:
  /// `print`: every event is also a line on stdout.
  explicit Trace(bool print) noexcept : print_(print) {}

  /// `who` did or met `what`; the meaning of the numbers is the event's own.
  void note(Instant now, std::string_view who, std::string_view what, std::uint64_t a = 0, std::uint64_t b = 0,
            std::uint64_t c = 0) noexcept;
  std::uint64_t hash() const noexcept { return hash_; }
  std::uint64_t events() const noexcept { return events_; }

 private:
  void take(std::uint64_t word) noexcept;

  std::uint64_t hash_ = 0xcbf29ce484222325;
  std::uint64_t events_ = 0;
  bool print_;
};

}  // namespace riffle::sim
