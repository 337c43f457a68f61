#include "virtual_clock.hpp"

#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "base/check.hpp"
#include "random.hpp"

// The sanitizers' own calls come here as well, before they can check anything.
#define RIFFLE_SIM_LIBC extern "C" __attribute__((no_sanitize("address", "thread", "undefined"), visibility("default")))

namespace {

thread_local constinit bool is_virtual = false;
thread_local constinit std::int64_t virtual_ns = 0;
thread_local constinit std::uint64_t random_state = 0;

/// The wall clock of the simulated world at the start: 2030-01-01, within the test certificate's life.
constexpr std::int64_t wall_start_s = 1'893'456'000;

constexpr std::int64_t start_ns = riffle::sim::VirtualClock::start.time_since_epoch().count();

}  // namespace

RIFFLE_SIM_LIBC int clock_gettime(clockid_t id, timespec* out) noexcept {
  const bool is_monotonic = id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE || id == CLOCK_BOOTTIME;
  const bool is_wall = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
  if (!is_virtual || (!is_monotonic && !is_wall)) return static_cast<int>(syscall(SYS_clock_gettime, id, out));
  const std::int64_t ns = is_wall ? wall_start_s * 1'000'000'000 + (virtual_ns - start_ns) : virtual_ns;
  out->tv_sec = ns / 1'000'000'000;
  out->tv_nsec = ns % 1'000'000'000;
  return 0;
}

// TLS stamps its tickets with the wall clock (BoringSSL: gettimeofday), and the stamp is in the bytes that are sent.
RIFFLE_SIM_LIBC int gettimeofday(timeval* out, void*) noexcept {
  timespec now{};
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}

RIFFLE_SIM_LIBC time_t time(time_t* out) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}

RIFFLE_SIM_LIBC ssize_t getrandom(void* out, size_t size, unsigned flags) {
  if (!is_virtual) return syscall(SYS_getrandom, out, size, flags);
  auto* to = static_cast<unsigned char*>(out);
  for (size_t done = 0; done < size;) {
    const std::uint64_t word = riffle::sim::next_word(random_state);
    const size_t part = std::min(size - done, sizeof word);
    std::memcpy(to + done, &word, part);
    done += part;
  }
  return static_cast<ssize_t>(size);
}

namespace riffle::sim {

VirtualClock::VirtualClock(std::uint64_t seed) noexcept {
  RIFFLE_CHECK(!is_virtual, "one virtual clock a thread");
  virtual_ns = start_ns;
  random_state = seed;
  is_virtual = true;
}

VirtualClock::~VirtualClock() { is_virtual = false; }

Instant VirtualClock::now() const noexcept { return Instant(std::chrono::nanoseconds(virtual_ns)); }

void VirtualClock::advance_to(Instant instant) noexcept {
  virtual_ns = std::max<std::int64_t>(virtual_ns, instant.time_since_epoch().count());
}

}  // namespace riffle::sim
