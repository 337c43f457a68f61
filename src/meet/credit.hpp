// Send credit where threads meet: writers take it, the loop gives it back as the transport takes the bytes
// (ENG-5, STR-7; design/streams.md, "Writing").
#pragma once

#include <atomic>
#include <cstdint>

namespace riffle::meet {

/// Purpose: how many more bytes may be accepted. May go negative by one write (a write is taken whole).
/// Threads: any may take; the loop gives.
template <template <class> class Atomic = std::atomic>
class BasicCredit {
 public:
  explicit BasicCredit(std::int64_t limit) noexcept : credit_(limit), limit_(limit) {}

  /// Takes `size` whole while there is credit. False: none was there, nothing was taken, and it was counted.
  bool take(std::int64_t size) noexcept {
    // No subtracting first and giving back on failure: the dip would hide credit that the loop returns meanwhile, and
    // `take_want` would tell nobody.
    std::int64_t seen = credit_.load();
    while (seen > 0) {
      if (credit_.compare_exchange_weak(seen, seen - size)) return true;
    }
    blocked_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  /// Takes min(size, credit); 0 when there is none.
  std::int64_t take_some(std::int64_t size) noexcept {
    std::int64_t seen = credit_.load();
    for (;;) {
      if (seen <= 0) {
        blocked_.fetch_add(1, std::memory_order_relaxed);
        return 0;
      }
      const std::int64_t part = size < seen ? size : seen;
      if (credit_.compare_exchange_weak(seen, seen - part)) return part;
    }
  }
  /// Takes it whatever is left: a write inside a data callback.
  void overdraw(std::int64_t size) noexcept { credit_.fetch_sub(size); }

  void give_back(std::int64_t size) noexcept { credit_.fetch_add(size); }
  /// More room for a stream that drains fast.
  void raise_limit(std::int64_t limit) noexcept {
    const std::int64_t before = limit_.load(std::memory_order_relaxed);
    limit_.store(limit, std::memory_order_relaxed);
    credit_.fetch_add(limit - before);
  }

  std::int64_t left() const noexcept { return credit_.load(); }
  std::int64_t limit() const noexcept { return limit_.load(std::memory_order_relaxed); }
  /// The low-water mark: `writable` is told once half of the limit is free again.
  bool is_above_low_mark() const noexcept { return credit_.load() >= limit() / 2; }
  std::uint64_t times_blocked() const noexcept { return blocked_.load(std::memory_order_relaxed); }

  /// WANT: set by a writer that met no credit, before it looks once more.
  void want() noexcept { want_.store(true); }
  /// The loop, after giving back. True once for each WANT, when the low mark is reached.
  bool take_want() noexcept { return want_.load() && is_above_low_mark() && want_.exchange(false); }

 private:
  Atomic<std::int64_t> credit_;
  Atomic<std::int64_t> limit_;
  Atomic<std::uint64_t> blocked_{0};
  Atomic<bool> want_{false};
};

using Credit = BasicCredit<>;

}  // namespace riffle::meet
