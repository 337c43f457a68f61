#include "trace.hpp"

#include <bit>
#include <cstdio>
#include <cstring>

#include "virtual_clock.hpp"

namespace riffle::sim {
namespace {

constexpr std::uint64_t prime = 0x100000001b3;

constexpr std::uint64_t fold(std::uint64_t hash, std::uint64_t word) noexcept {
  return std::rotl((hash ^ word) * prime, 29);
}

}  // namespace

std::uint64_t hash_of(std::span<const std::byte> bytes) noexcept {
  std::uint64_t hash = fold(0xcbf29ce484222325, bytes.size());
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t part = bytes.size() < sizeof word ? bytes.size() : sizeof word;
    std::memcpy(&word, bytes.data(), part);
    hash = fold(hash, word);
    bytes = bytes.subspan(part);
  }
  return hash ^ (hash >> 32);
}

std::uint64_t hash_of(std::string_view text) noexcept {
  return hash_of(std::as_bytes(std::span(text.data(), text.size())));
}

void Trace::take(std::uint64_t word) noexcept { hash_ = fold(hash_, word); }

void Trace::note(Instant now, std::string_view who, std::string_view what, std::uint64_t a, std::uint64_t b,
                 std::uint64_t c) noexcept {
  ++events_;
  take(static_cast<std::uint64_t>(now.time_since_epoch().count()));
  take(hash_of(who));
  take(hash_of(what));
  take(a);
  take(b);
  take(c);
  if (!print_) return;
  const double seconds = std::chrono::duration<double>(now - VirtualClock::start).count();
  std::printf("%12.6f  %-8.*s %-24.*s %8llu %8llu %016llx\n", seconds, static_cast<int>(who.size()), who.data(),
              static_cast<int>(what.size()), what.data(), static_cast<unsigned long long>(a),
              static_cast<unsigned long long>(b), static_cast<unsigned long long>(c));
}

}  // namespace riffle::sim
