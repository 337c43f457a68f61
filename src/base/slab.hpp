// A pooled, reference-counted piece of memory that bytes from the transport are read into.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>

#include <riffle/bytes.hpp>
#include "base/block_pool.hpp"

namespace riffle::base {

class Slab final : public Block {
 public:
  static constexpr std::uint32_t open_ended = std::numeric_limits<std::uint32_t>::max();

  /// At least `bytes` of room, from this thread's pool. One reference, the caller's.
  static Slab* make(std::size_t bytes) {
    const std::size_t whole = BlockPool::usable(sizeof(Slab) + bytes);
    void* memory = BlockPool::here().take(whole);
    return new (memory) Slab(static_cast<std::uint32_t>(whole - sizeof(Slab)));
  }

  std::byte* data() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
  std::uint32_t capacity() const noexcept { return capacity_; }

  /// The receive list's links (meet/read_path.hpp): written by the loop before the bytes behind them are published.
  Slab* next = nullptr;
  /// Where the bytes end and `next` goes on. Atomic because a reader may look while the loop closes the slab; which of
  /// the two values it sees makes no difference to the bytes that it may already take.
  std::atomic<std::uint32_t> limit{open_ended};
  std::uint32_t end() const noexcept {
    const std::uint32_t closed_at = limit.load(std::memory_order_relaxed);
    return closed_at < capacity_ ? closed_at : capacity_;
  }

 private:
  explicit Slab(std::uint32_t capacity) noexcept
      : Block([](Block* block) noexcept {
          auto* self = static_cast<Slab*>(block);
          self->~Slab();
          BlockPool::give_back(self);
        }),
        capacity_(capacity) {}
  ~Slab() = default;

  std::uint32_t capacity_;
};

}  // namespace riffle::base
