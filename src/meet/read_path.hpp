// The read path where threads meet: the loop appends, one consumer at a time takes, without a lock and without a system
// call while data is there (STR-3 to STR-5; design/streams.md, "Reading", whose points are quoted as RD-n).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>

#include <riffle/bytes.hpp>
#include "base/check.hpp"
#include "base/slab.hpp"
#include "meet/attention.hpp"

namespace riffle::meet {

enum class ReadEnd : std::uint8_t { open = 0, fin = 1, reset = 2, closed = 3 };

/// What a consumer's attempt came to.
enum class Taken : std::uint8_t { data, nothing, end, reset, closed, wrong_mode, concurrent_read };

/// Purpose: the bytes of one stream between its loop and its reader. `capacity` bytes at most.
/// Threads: "loop" calls from the owner loop; "consumer" calls from any thread, where BUSY admits one.
/// After `take…` and `release` the caller passes on what they ask for: `wants_refill`, `wants_delivery`.
template <template <class> class Atomic = std::atomic>
class BasicReadPath {
 public:
  explicit BasicReadPath(std::uint32_t capacity) noexcept : capacity_(capacity) {}
  BasicReadPath(const BasicReadPath&) = delete;
  BasicReadPath& operator=(const BasicReadPath&) = delete;
  ~BasicReadPath() {
    base::Slab* slab = first_;
    if (head_ != nullptr) slab = head_;
    while (slab != nullptr) slab = release_slab(slab);
  }

  // ---- loop ----------------------------------------------------------------------------------------------------

  /// RD-4: how much may be appended.
  std::uint64_t free_room() const noexcept {
    const std::uint64_t held = produced_bytes() - consumed_.load();
    return held < capacity_ ? capacity_ - held : 0;
  }
  std::uint64_t produced_bytes() const noexcept { return produced_.load(std::memory_order_relaxed) >> 2; }
  std::uint64_t consumed_bytes() const noexcept { return consumed_.load(std::memory_order_relaxed); }
  std::uint64_t held_bytes() const noexcept { return produced_bytes() - consumed_.load(); }
  bool is_empty() const noexcept { return held_bytes() == 0; }
  ReadEnd end() const noexcept { return static_cast<ReadEnd>(produced_.load(std::memory_order_relaxed) & 3u); }

  /// Room at the tail for at most `want` bytes, at least one. Small at first: an idle stream holds little.
  std::span<std::byte> tail_room(std::size_t want) {
    if (tail_ == nullptr || tail_used_ == tail_->capacity()) {
      link(base::Slab::make(want <= 4096 && produced_bytes() == 0 ? 4096 - sizeof(base::Slab) : 16384));
    }
    return {tail_->data() + tail_used_, std::min<std::size_t>(want, tail_->capacity() - tail_used_)};
  }
  /// RD-4: makes `size` bytes of the tail visible.
  void publish(std::size_t size) noexcept {
    tail_used_ += static_cast<std::uint32_t>(size);
    produced_.store(produced_.load(std::memory_order_relaxed) + (static_cast<std::uint64_t>(size) << 2));
  }
  /// Appends bytes [offset, offset + size) of a slab that was filled elsewhere; takes one reference over.
  void donate(base::Slab* slab, std::uint32_t offset, std::uint32_t size) {
    // The consumer starts every slab but the first at 0, so a slab filled further on is copied.
    if (offset == 0) {
      link(slab);
      publish(size);
      return;
    }
    std::size_t done = 0;
    while (done < size) {
      const auto room = tail_room(size - done);
      std::memcpy(room.data(), slab->data() + offset + done, room.size());
      publish(room.size());
      done += room.size();
    }
    slab->release();
  }
  /// Bytes that went to a handler without touching the list (RD-15). The list is empty and BUSY is ours.
  void pass_through(std::size_t size) noexcept {
    consumed_.store(consumed_.load(std::memory_order_relaxed) + size);
    produced_.store(produced_.load(std::memory_order_relaxed) + (static_cast<std::uint64_t>(size) << 2));
  }
  /// RD-17: the end stands behind what was produced. The first end counts, but `closed` overrides an open one only.
  void publish_end(ReadEnd end, std::uint64_t code) noexcept {
    const std::uint64_t produced = produced_.load(std::memory_order_relaxed);
    if ((produced & 3u) != 0) return;
    end_code_ = code;
    produced_.store(produced | static_cast<std::uint64_t>(end));
  }
  std::uint64_t end_code() const noexcept { return end_code_; }

  /// RD-5: no room. True: parked, `wants_refill` will say when to go on. False: there is room again, go on now.
  bool park() noexcept {
    // The engine's budget may stop a list that is far from full: then half of what it holds must be read first.
    const std::uint64_t held = held_bytes();
    const std::uint64_t half = capacity_ / 2;
    const std::uint64_t threshold = produced_bytes() - (held > half ? half : held / 2);
    notify_at_.store(threshold);
    if (consumed_.load() < threshold) return true;
    notify_at_.store(not_parked);
    return false;
  }
  /// RD-18: after the fin the loop wants to learn when all was read.
  bool notify_when_drained() noexcept {
    notify_at_.store(produced_bytes());
    return consumed_.load() < produced_bytes();
  }
  /// RD-7.
  void unpark() noexcept { notify_at_.store(not_parked); }

  /// Loop, after publishing: a waiter that comes later sees what was published.
  bool has_waiter() const noexcept { return (ctl_.load() & waiter_bit) != 0; }
  /// RD-12: takes the waiter off, if there is one, for the caller to wake.
  Wakeable* take_waiter() noexcept {
    if ((ctl_.load() & waiter_bit) == 0) return nullptr;
    return (ctl_.fetch_and(~waiter_bit) & waiter_bit) != 0 ? waiter_.load() : nullptr;
  }
  /// RD-13.
  void set_active(bool active) noexcept {
    if (active) {
      ctl_.fetch_or(active_bit);
    } else {
      ctl_.fetch_and(~active_bit);
    }
  }
  bool is_active() const noexcept { return (ctl_.load() & active_bit) != 0; }
  /// RD-14: takes the consumer role for a delivery, or leaves word (DELIVER) with the one who has it.
  bool take_role_or_leave_word() noexcept {
    std::uint32_t seen = ctl_.load();
    for (;;) {
      const std::uint32_t wanted = (seen & busy_bit) != 0 ? seen | deliver_bit : seen | busy_bit;
      if (ctl_.compare_exchange_weak(seen, wanted)) return (seen & busy_bit) == 0;
    }
  }

  // ---- consumer ------------------------------------------------------------------------------------------------

  /// RD-9: `data` means that the role is ours. `word`: the loop wanted to deliver meanwhile and must be told (DELIVER).
  Taken acquire(bool& word) noexcept {
    const std::uint32_t before = ctl_.fetch_or(busy_bit);
    if ((before & busy_bit) != 0) return (before & active_bit) != 0 ? Taken::wrong_mode : Taken::concurrent_read;
    if ((before & active_bit) != 0) {
      word = release();
      return Taken::wrong_mode;
    }
    return Taken::data;
  }
  /// RD-6, lending: at most `max` bytes that lie together. The role must be ours.
  Taken take(std::size_t max, Bytes& out) noexcept {
    const Available there = look(max);
    if (there.size == 0) return there.state;
    head_->retain();
    out = Bytes(head_, head_->data() + head_used_, there.size);
    advance(there.size);
    consumed_.store(consumed_.load(std::memory_order_relaxed) + there.size);
    return Taken::data;
  }
  /// RD-6, copying. `size` is what was copied.
  Taken take_into(std::span<std::byte> to, std::size_t& size) noexcept {
    size = 0;
    Taken state = Taken::nothing;
    while (size < to.size()) {
      const Available there = look(to.size() - size);
      state = there.state;
      if (there.size == 0) break;
      std::memcpy(to.data() + size, head_->data() + head_used_, there.size);
      advance(there.size);
      size += there.size;
      consumed_.store(consumed_.load(std::memory_order_relaxed) + there.size);
    }
    return size != 0 ? Taken::data : state;
  }
  /// Whether everything up to the fin was consumed; the role must be ours.
  bool at_fin() const noexcept {
    const std::uint64_t produced = produced_.load();
    return (produced & 3u) == static_cast<std::uint64_t>(ReadEnd::fin) &&
           (produced >> 2) == consumed_.load(std::memory_order_relaxed);
  }
  /// RD-6: after a take, whether the loop must be told to go on (REFILL). Repeating it does no harm.
  bool wants_refill() const noexcept { return consumed_.load() >= notify_at_.load(); }
  /// RD-10: true when the loop wanted to deliver meanwhile and must be told (DELIVER).
  bool release() noexcept { return (ctl_.fetch_and(~(busy_bit | deliver_bit)) & deliver_bit) != 0; }

  // ---- waiting (RD-11) -----------------------------------------------------------------------------------------

  enum class Wait : std::uint8_t { sleep, again, concurrent_read };
  /// `sleep`: the waiter will be woken exactly once, by whoever clears WAITER. `again`: something is there already.
  Wait begin_wait(Wakeable& waiter) noexcept {
    Wakeable* none = nullptr;
    if (!waiter_.compare_exchange_strong(none, &waiter)) return Wait::concurrent_read;
    ctl_.fetch_or(waiter_bit);
    if (!is_ready()) return Wait::sleep;
    // Ready after all. If the bit is no longer ours, somebody wakes us: the wake must be consumed first.
    if ((ctl_.fetch_and(~waiter_bit) & waiter_bit) == 0) return Wait::sleep;
    waiter_.store(nullptr);
    return Wait::again;
  }
  /// The deadline passed. False: somebody has cleared WAITER and wakes us now: sleep for it, then `end_wait`.
  bool cancel_wait() noexcept {
    if ((ctl_.fetch_and(~waiter_bit) & waiter_bit) == 0) return false;
    waiter_.store(nullptr);
    return true;
  }
  /// After the wake.
  void end_wait() noexcept { waiter_.store(nullptr); }

 private:
  static constexpr std::uint32_t busy_bit = 1, waiter_bit = 2, deliver_bit = 4, active_bit = 8;
  static constexpr std::uint64_t not_parked = std::numeric_limits<std::uint64_t>::max();

  struct Available {
    std::size_t size = 0;
    Taken state = Taken::nothing;
  };

  bool is_ready() const noexcept {
    const std::uint64_t produced = produced_.load();
    return (produced >> 2) != consumed_.load() || (produced & 3u) != 0 || (ctl_.load() & active_bit) != 0;
  }

  /// The bytes at the head that lie together, at most `max`.
  Available look(std::size_t max) noexcept {
    const std::uint64_t produced = produced_.load();
    const std::uint64_t there = (produced >> 2) - consumed_.load(std::memory_order_relaxed);
    if (there == 0) {
      switch (static_cast<ReadEnd>(produced & 3u)) {
        case ReadEnd::open:
          return {0, Taken::nothing};
        case ReadEnd::fin:
          return {0, Taken::end};
        case ReadEnd::reset:
          return {0, Taken::reset};
        case ReadEnd::closed:
          return {0, Taken::closed};
      }
    }
    if (head_ == nullptr) head_ = first_;
    while (head_used_ == head_->end()) {
      head_ = release_slab(head_);
      head_used_ = 0;
    }
    const std::size_t in_slab = head_->end() - head_used_;
    return {std::min({max, in_slab, static_cast<std::size_t>(there)}), Taken::data};
  }
  void advance(std::size_t size) noexcept { head_used_ += static_cast<std::uint32_t>(size); }

  void link(base::Slab* slab) noexcept {
    if (tail_ == nullptr) {
      first_ = slab;
    } else {
      tail_->limit.store(tail_used_, std::memory_order_relaxed);
      tail_->next = slab;
    }
    tail_ = slab;
    tail_used_ = 0;
  }
  static base::Slab* release_slab(base::Slab* slab) noexcept {
    base::Slab* next = slab->next;
    slab->release();
    return next;
  }

  // Loop line: written by the loop only.
  alignas(64) Atomic<std::uint64_t> produced_{0};  // bytes << 2 | ReadEnd
  Atomic<std::uint64_t> notify_at_{not_parked};
  base::Slab* first_ = nullptr;
  base::Slab* tail_ = nullptr;
  std::uint64_t end_code_ = 0;
  std::uint32_t tail_used_ = 0;
  const std::uint32_t capacity_;

  // Consumer line: written by the holder of BUSY only.
  alignas(64) Atomic<std::uint64_t> consumed_{0};
  base::Slab* head_ = nullptr;
  std::uint32_t head_used_ = 0;

  // Control line: read-modify-write of all.
  alignas(64) Atomic<std::uint32_t> ctl_{0};
  Atomic<Wakeable*> waiter_{nullptr};
};

using ReadPath = BasicReadPath<>;

}  // namespace riffle::meet
